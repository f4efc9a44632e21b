"""The compiled steps of an image network: update and score.

They own the variables of a training: weights, averages of batch normalisation,
generators, optimizer. On TensorFlow and on JAX; several replicas on TensorFlow
only. Axes: B images, H rows, W columns, C channels, K classes.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from nas_keras.convnets.drop_path import DropPath
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.network import norms_of
from nas_keras.tasks.training import compilation
from nas_keras.tasks.training.gradients import apply
from nas_keras.tasks.training.gradients import clipped
from nas_keras.tasks.training.gradients import decayed
from nas_keras.tasks.training.replicas import OneReplica
from nas_keras.tasks.training.replicas import Replicas
from nas_keras.tasks.training.variables import TrainingVariables


def losses_of(
    logits: Any, labels: Any, smoothing: float = 0.0
) -> tuple[Any, Any]:
    """Returns losses [B] in nats: with smoothed labels, and -log p.

    Args:
        logits: [B, K].
        labels: int32 [B].
        smoothing: Share that is spread evenly over the classes.

    Reference:
        [Szegedy et al., 2016](https://arxiv.org/abs/1512.00567), section 7.
    """
    log_p = keras.ops.log_softmax(keras.ops.cast(logits, "float32"))
    chosen = keras.ops.take_along_axis(log_p, labels[:, None], axis=-1)
    plain = -chosen[:, 0]
    if not smoothing:
        return plain, plain
    spread = -keras.ops.mean(log_p, axis=-1)
    return (1 - smoothing) * plain + smoothing * spread, plain


def check_replicas(config: ImageConfig, replicas: Replicas) -> None:
    """Refuses a batch that cannot be shared out evenly.

    Raises:
        ValueError: If it cannot.
    """
    if config.batch_size % replicas.num:
        raise ValueError(
            "batch_size must be a multiple of the number of replicas. "
            f"Received: batch_size={config.batch_size} for {replicas.num} "
            "replicas."
        )


class ImageSteps(TrainingVariables):
    """A model, its optimizer, and what may be done to them.

    Args:
        model: Makes the model, of one or two outputs (see `network_of`).
        config: The training.
        replicas: What trains together; batch normalisation is over the images
            of all. Each has the same part of a batch.

    Attributes:
        model: The `keras.Model`.

    Raises:
        ValueError: If Keras's backend is neither TensorFlow nor JAX, or a
            batch cannot be shared out evenly.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        config: ImageConfig,
        replicas: Replicas | None = None,
    ):
        compilation.check_backend()
        self._config = config
        self._replicas: Replicas = replicas or OneReplica()
        check_replicas(config, self._replicas)
        with self._replicas.scope():
            self.model = model()
            self._weights = self.model.trainable_variables
            self._others = self.model.non_trainable_variables
            self._optimizer = optimizer_of(config)
            self._optimizer.build(self._weights)
        if self._replicas.num > 1:
            for layer in norms_of(self.model):
                layer.synchronized = True
        self._drop_paths = [
            layer for layer in self.model.layers if isinstance(layer, DropPath)
        ]
        everything = [
            *self._weights,
            *self._others,
            *self._optimizer.variables,
        ]
        self._update = compilation.compiled(self._update_step, everything)
        self._score = compilation.compiled(self._score_step, everything)

    @property
    def variables(self) -> dict[str, Sequence[keras.Variable]]:
        """The variables by group; averages of batches count as weights."""
        weights = self.model.weights
        its = {id(variable) for variable in weights}
        return {
            "weight": weights,
            "generator": [v for v in self._others if id(v) not in its],
            "optimizer": self._optimizer.variables,
        }

    # What is done.

    def update(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        rate: float,
        progress: float,
    ) -> float:
        """Takes a training step on a batch.

        Args:
            images: float32 [B, H, W, C], normalised.
            labels: int32 [B].
            rate: Learning rate.
            progress: Of the training, in [0, 1].

        Returns:
            The mean of -log p of a label, in nats.
        """
        rates = [keras.ops.convert_to_tensor(x, "float32")
                 for x in (rate, progress)]  # fmt: skip
        with self._replicas.watched():
            return float(self._update(*_tensors(images, labels), *rates))

    def score(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns -log p of each label, in nats [B], and the classes [B]."""
        nats, classes = self._score(*_tensors(images, labels))
        return np.array(nats), np.array(classes)

    # Their programs.

    def _update_step(
        self, images: Any, labels: Any, rate: Any, progress: Any
    ) -> Any:
        for layer in self._drop_paths:
            layer.progress.assign(progress)

        def of_replica(index: Any) -> Any:
            num = self._replicas.num
            its_images, its_labels = images, labels
            if num > 1:
                its_images, its_labels = images[index::num], labels[index::num]
            *gradients, loss = self._replicas.sum(
                [x / num for x in self._gradients(its_images, its_labels)]
            )
            # The optimizer adds those of the replicas, which are equal by now.
            gradients = [g / num for g in self._regularized(gradients)]
            self._optimizer.learning_rate = rate
            apply(self._optimizer, gradients, self._weights, num)
            return loss

        return self._replicas.run(of_replica)

    def _gradients(self, images: Any, labels: Any) -> list[Any]:
        """Returns the gradients of the mean loss, and it, in nats."""
        smoothing = self._config.label_smoothing

        def objective() -> tuple[Any, Any]:
            outputs = self.model(images, training=True)
            logits, *auxiliary = keras.tree.flatten(outputs)
            smoothed, plain = losses_of(logits, labels, smoothing)
            total = keras.ops.mean(smoothed)
            for its in auxiliary:
                smoothed, _ = losses_of(its, labels, smoothing)
                weight = self._config.auxiliary_weight
                total = total + weight * keras.ops.mean(smoothed)
            return total, keras.ops.mean(plain)

        _, gradients, loss = compilation.value_and_gradients(
            objective, self._weights, self._others
        )
        return [*gradients, loss]

    def _regularized(self, gradients: Sequence[Any]) -> list[Any]:
        if self._config.clip_norm:
            gradients = clipped(gradients, self._config.clip_norm)
        decay = self._config.weight_decay
        # Kernels have several axes; scales and biases do not decay.
        return decayed(gradients, self._weights, decay, least_rank=2)

    def _score_step(self, images: Any, labels: Any) -> tuple[Any, Any]:
        outputs = self.model(images, training=False)
        logits = keras.tree.flatten(outputs)[0]
        _, plain = losses_of(logits, labels)
        return plain, keras.ops.argmax(logits, axis=-1)


def optimizer_of(config: ImageConfig) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a training, not built."""
    if config.optimizer == "adam":
        return keras.optimizers.Adam(config.learning_rate)
    return keras.optimizers.SGD(
        config.learning_rate,
        momentum=config.momentum,
        nesterov=config.optimizer == "nesterov",
    )


def _tensors(images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
    return (
        keras.ops.convert_to_tensor(images, "float32"),
        keras.ops.convert_to_tensor(labels, "int32"),
    )
