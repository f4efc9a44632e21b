"""Image networks that share their weights.

The architecture is data to training and scoring; both normalise by the
statistics of the batch. Axes: B images of a batch, A decisions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nas_keras.data.images import Images
from nas_keras.evaluators.shared_training import TrainedWeights
from nas_keras.experiment.image_kind import check_shared
from nas_keras.spaces.enas_macro import EnasMacro
from nas_keras.spaces.enas_micro import EnasMicro
from nas_keras.spaces.space import Space
from nas_keras.supernets.macro import MacroNetwork
from nas_keras.supernets.micro import MicroNetwork
from nas_keras.supernets.network import SharedNetwork
from nas_keras.tasks.images.batches import TrainingInput
from nas_keras.tasks.images.batches import normalization_of
from nas_keras.tasks.images.config import rate_at
from nas_keras.tasks.images.steps import losses_of
from nas_keras.tasks.images.steps import optimizer_of
from nas_keras.tasks.images.task import ImageTask

_NETWORKS = {EnasMacro: MacroNetwork, EnasMicro: MicroNetwork}


class TrainedOnImages(TrainedWeights):
    """Of a network of the space, on images as the training sees them."""

    def __init__(self, task: ImageTask, network: SharedNetwork):
        config = self._config = task.config
        self._input = TrainingInput(
            task.images.train,
            config,
            normalization_of(config.normalization, task.images.train.pixels),
        )
        self._num_batches = len(self._input.batches(0))
        self._initial = [np.array(v) for v in network.trainable_variables]
        super().__init__(
            network,
            optimizer_of(config),
            config.batch_size,
            config.num_epochs * self._num_batches,
            task.images.num_classes,
        )

    def _take(self, rows: Sequence[int]) -> None:
        self._rows = slice(rows[0], rows[-1] + 1)

    def _begin(self, seed: int) -> list[np.ndarray]:
        for generator in self._generators():
            # Masks of dropout differ from worker to worker.
            its = (seed + self.cluster.index) % 2**31
            generator.assign(np.array([its, 0]))
        return self._initial

    def _inputs(self, number: int) -> tuple[Any, ...]:
        epoch, batch = divmod(number, self._num_batches)
        images, labels = self._input.batch(epoch, batch)
        rate = rate_at(self._config, number / self._num_batches)
        return (
            tf.constant(images[self._rows]),
            tf.constant(labels[self._rows]),
            tf.constant(rate, tf.float32),
        )

    def _loss_and_gradients(
        self,
        tokens: tf.Tensor,
        *inputs: tf.Tensor,
    ) -> tuple[tf.Tensor, list[Any]]:
        images, labels, rate = inputs
        self._optimizer.learning_rate.assign(rate)
        smoothing = self._config.label_smoothing
        with tf.GradientTape() as tape:
            logits = self.model(images, tokens=tokens, training=True)
            smoothed, plain = losses_of(logits, labels, smoothing)
            objective = tf.reduce_mean(smoothed)
        gradients = tape.gradient(objective, self._variables)
        return tf.reduce_mean(plain), [
            tf.convert_to_tensor(gradient) for gradient in gradients
        ]

    def _regularized(self, gradients: list[Any]) -> tuple[list[Any], tf.Tensor]:
        norm = tf.linalg.global_norm(gradients)
        config = self._config
        if config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(
                gradients, config.clip_norm, norm
            )
        decay = config.weight_decay
        return [
            gradient + decay * variable
            if decay and variable.name.endswith("kernel")
            else gradient
            for gradient, variable in zip(
                gradients, self._variables, strict=True
            )
        ], norm


class ScoredImages:
    """The validation images, and how an architecture does on some of them.

    In an order of chance, always the same: where images come from they often
    stand by class, and a batch of one class tells nothing.

    Attributes:
        num_windows: Batches; the last is filled up with the first images.
    """

    def __init__(self, task: ImageTask, network: SharedNetwork):
        self._network = network
        self._images: Images = task.images.validation
        self._normalization = normalization_of(
            task.config.normalization, task.images.train.pixels
        )
        total = len(self._images.labels)
        self._order = np.random.default_rng(0).permutation(total)
        self._batch_size = min(task.config.batch_size, total)
        self.num_windows = -(-total // self._batch_size)
        self._score = tf.function(self._scored, autograph=False)

    def metrics(
        self, tokens: tuple[int, ...], first: int, num: int
    ) -> dict[str, float]:
        """Returns the figures over `num` batches from `first` on.

        Raises:
            FloatingPointError: If the loss is not finite.
        """
        row = tf.constant(tokens, tf.int32)
        found = [
            np.array(self._score(row, *self._batch(first + k)))
            for k in range(num)
        ]
        loss_nats, accuracy = np.array(found, np.float64).mean(axis=0)
        if not np.isfinite(loss_nats):
            raise FloatingPointError(
                f"diverged: the validation loss is {loss_nats:.4g} nats"
            )
        return {
            "validation_loss_nats": float(loss_nats),
            "validation_accuracy": float(accuracy),
        }

    def _batch(self, number: int) -> tuple[tf.Tensor, tf.Tensor]:
        begin = number % self.num_windows * self._batch_size
        places = np.arange(begin, begin + self._batch_size)
        chosen = self._order[places % len(self._order)]
        pixels, labels = self._images.take(chosen)
        return tf.constant(self._normalization(pixels)), tf.constant(labels)

    def _scored(
        self, tokens: tf.Tensor, images: tf.Tensor, labels: tf.Tensor
    ) -> tf.Tensor:
        logits = self._network(images, tokens=tokens, training=False)
        _, plain = losses_of(logits, labels)
        is_right = tf.argmax(logits, axis=-1, output_type=tf.int32) == labels
        accuracy = tf.reduce_mean(tf.cast(is_right, tf.float32))
        return tf.stack([tf.reduce_mean(plain), accuracy])


def shared_network(space: Space, task: ImageTask, seed: int) -> SharedNetwork:
    """Returns the network whose tokens are data, with its first weights.

    Raises:
        ValueError: If the space is not one of ENAS' image networks, or the
            configuration asks for what the network does not have.
    """
    structure, classes = space.structure, task.images.num_classes
    check_shared(task.config)
    network_class = _NETWORKS.get(type(structure))
    if network_class is None:
        raise ValueError(
            "Image networks share weights in spaces made by enas_macro_space "
            f"and enas_micro_space. Received: space={space.name!r}."
        )
    network = network_class(structure, classes, task.config.dropout, seed)
    network.build((None, *task.images.image_shape))
    return network


def halves_of_images(
    space: Space, task: ImageTask, seed: int
) -> tuple[TrainedOnImages, ScoredImages]:
    """Returns what trains the weights, and what scores by them.

    Raises:
        ValueError: As `shared_network` does.
    """
    network = shared_network(space, task, seed)
    return TrainedOnImages(task, network), ScoredImages(task, network)
