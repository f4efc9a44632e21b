"""`SharedImages`: image networks of a space that share their weights.

The architecture is data to training and scoring; both normalize by the
statistics of the batch. Axes: B images of a batch, A decisions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nas_keras.spaces.space import Space
from nas_keras.tasks.images.batches import TrainingInput
from nas_keras.tasks.images.batches import normalization_of
from nas_keras.tasks.images.steps import losses_of
from nas_keras.tasks.images.steps import optimizer_of
from nas_keras.tasks.images.task import ImageTask
from nas_keras.tasks.task import SharedProgram


class SharedImages(SharedProgram):
    """The shared weights of a space's networks, trained and scored on images.

    An update sees images as a training does. Scores are on the validation
    images in one random order: where images come from they often stand by
    class, and a batch of one class tells nothing. The last part is filled up
    with the first images.

    Args:
        space: A `Space` whose supernet is one of image networks.
        task: The images and the recipe.

    Raises:
        ValueError: If the space has no such supernet, or the recipe asks for
            what networks with shared weights do not have.
    """

    def __init__(self, space: Space, task: ImageTask):
        task.check_shared(space)
        images = task.data
        config = self._config = task.training
        self._space = space
        self._images = images
        self.model = self._network(seed=0)
        self.optimizer = optimizer_of(config)
        self.batch_size = config.batch_size
        self.num_classes = images.num_classes
        self._normalization = normalization_of(
            config.normalization, images.train.pixels
        )
        self._input = TrainingInput(images.train, config, self._normalization)
        self._batches_per_epoch = len(self._input.batches(0))
        self.num_updates = config.num_epochs * self._batches_per_epoch
        self._scored_images = images.validation
        total = len(self._scored_images.labels)
        self._order = np.random.default_rng(0).permutation(total)
        self._score_size = min(config.batch_size, total)
        self.num_batches = -(-total // self._score_size)
        self._score = tf.function(self._scored, autograph=False)

    def _network(self, seed: int) -> Any:
        network = self._space.load_supernet()(
            self._space.structure,
            self._images.num_classes,
            self._config.dropout,
            seed,
        )
        network.build((None, *self._images.image_shape))
        return network

    def take(self, rows: Sequence[int]) -> None:
        self._rows = slice(rows[0], rows[-1] + 1)

    def begin(self, seed: int, worker: int) -> list[np.ndarray]:
        for variable in self.model.non_trainable_variables:
            if variable.name == "seed_generator_state":
                variable.assign(np.array([(seed + worker) % 2**31, 0]))
        first = self._network(seed)
        return [np.array(v) for v in first.trainable_variables]

    def inputs(self, number: int) -> tuple[Any, ...]:
        epoch, batch = divmod(number, self._batches_per_epoch)
        images, labels = self._input.batch(epoch, batch)
        rate = self._config.rate_at(number / self._batches_per_epoch)
        return (
            tf.constant(images[self._rows]),
            tf.constant(labels[self._rows]),
            tf.constant(rate, tf.float32),
        )

    def loss_and_gradients(
        self,
        tokens: tf.Tensor,
        *inputs: tf.Tensor,
    ) -> tuple[tf.Tensor, list[Any]]:
        images, labels, rate = inputs
        self.optimizer.learning_rate.assign(rate)
        smoothing = self._config.label_smoothing
        with tf.GradientTape() as tape:
            logits = self.model(images, tokens=tokens, training=True)
            smoothed, plain = losses_of(logits, labels, smoothing)
            objective = tf.reduce_mean(smoothed)
        gradients = tape.gradient(objective, self.model.trainable_variables)
        return tf.reduce_mean(plain), [
            tf.convert_to_tensor(gradient) for gradient in gradients
        ]

    def regularized(self, gradients: list[Any]) -> tuple[list[Any], tf.Tensor]:
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
                gradients, self.model.trainable_variables, strict=True
            )
        ], norm

    def metrics(
        self, tokens: Sequence[int], first: int, num: int
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
        begin = number % self.num_batches * self._score_size
        places = np.arange(begin, begin + self._score_size)
        chosen = self._order[places % len(self._order)]
        pixels, labels = self._scored_images.take(chosen)
        return tf.constant(self._normalization(pixels)), tf.constant(labels)

    def _scored(
        self, tokens: tf.Tensor, images: tf.Tensor, labels: tf.Tensor
    ) -> tf.Tensor:
        logits = self.model(images, tokens=tokens, training=False)
        _, plain = losses_of(logits, labels)
        is_right = tf.argmax(logits, axis=-1, output_type=tf.int32) == labels
        accuracy = tf.reduce_mean(tf.cast(is_right, tf.float32))
        return tf.stack([tf.reduce_mean(plain), accuracy])
