"""Training weights that all architectures of a space share, one for an update.

What the weights are of, and what an update sees, is the business of
`shared_text.py` and `shared_images.py`. Axes: A decisions.
"""

import abc
import math
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas_keras.distribute.cluster import Cluster


class TrainedWeights(abc.ABC):
    """The shared weights and their optimizer, a worker's part of them.

    Args:
        model: Owner of the weights and of random generators.
        optimizer: Of the weights.
        batch_size: Of all workers together.
        num_updates: In all phases.
        num_classes: Of what is predicted: an update whose loss is above twice
            that of a uniform guess is skipped.

    Attributes:
        cluster: The workers.
        model: As given.
        num_updates: In all phases.
    """

    def __init__(
        self,
        model: Any,
        optimizer: keras.optimizers.Optimizer,
        batch_size: int,
        num_updates: int,
        num_classes: int,
    ):
        self.num_updates = num_updates
        self.cluster = Cluster()
        self.model = model
        self._variables = model.trainable_variables
        self._optimizer = optimizer
        self._optimizer.build(self._variables)
        self._slots = [np.array(v) for v in self._optimizer.variables]
        self._batch_size = batch_size
        self._max_loss_nats = 2 * math.log(num_classes)
        self._update: Any = None  # Compiled once it is distributed.
        self.distribute(self.cluster)

    # What text and images have of their own.

    @abc.abstractmethod
    def _take(self, rows: Sequence[int]) -> None:
        """Has this worker train on some rows of every minibatch."""

    @abc.abstractmethod
    def _begin(self, seed: int) -> Sequence[np.ndarray]:
        """Returns the initial weights; sets the generators, of its own."""

    @abc.abstractmethod
    def _inputs(self, number: int) -> tuple[Any, ...]:
        """Returns what an update is given, tensors alike for all updates."""

    @abc.abstractmethod
    def _loss_and_gradients(
        self, tokens: tf.Tensor, *inputs: tf.Tensor
    ) -> tuple[tf.Tensor, list[Any]]:
        """Returns them for these rows; some gradients may be sparse."""

    @abc.abstractmethod
    def _regularized(self, gradients: list[Any]) -> tuple[list[Any], tf.Tensor]:
        """Returns the gradients, clipped and decayed; and their norm before."""

    # What they share.

    @property
    def num_traces(self) -> int:
        """How often the training step has been traced."""
        return self._update.experimental_get_tracing_count()

    def distribute(self, cluster: Cluster) -> None:
        """Takes this worker's rows of every minibatch."""
        if self._batch_size % cluster.size:
            raise ValueError(
                "The batch_size of a task must be a multiple of the number of "
                f"workers, {cluster.size}. Received: "
                f"batch_size={self._batch_size}."
            )
        was_alone = self._update is not None and self.cluster.size == 1
        self.cluster = cluster
        if was_alone and cluster.size == 1:
            return  # What is compiled is the same.
        self._take(list(cluster.share(range(self._batch_size))))
        self._update = tf.function(self._apply, autograph=False)

    def begin(self, seed: int) -> None:
        """Sets weights, optimizer and random generators to their beginning."""
        self._assign([*self._begin(seed), *self._slots])

    def update(self, tokens: np.ndarray, number: int) -> float:
        """Returns the loss in nats, NaN if the update was skipped."""
        with self.cluster.watched():
            inputs = self._inputs(number)
            return float(self._update(tf.constant(tokens), *inputs))

    def state(self) -> dict[str, np.ndarray]:
        """Returns everything that `update` changes, as named arrays."""
        return {
            f"{index:03d}": np.array(variable)
            for index, variable in enumerate(self._all_variables())
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what the chief's `state` returned."""
        self._assign([state[name] for name in sorted(state)])
        for generator in self._generators():
            seed, count = np.array(generator).tolist()
            # Masks of dropout differ from worker to worker.
            seed = (seed + self.cluster.index) % 2**31
            generator.assign(np.array([seed, count]))

    def _generators(self) -> list[Any]:
        return [
            variable
            for variable in self.model.non_trainable_variables
            if variable.name == "seed_generator_state"
        ]

    def _all_variables(self) -> list[Any]:
        return [
            *self._variables,
            *self._optimizer.variables,
            *self._generators(),
        ]

    def _assign(self, arrays: list[np.ndarray]) -> None:
        for variable, array in zip(self._all_variables(), arrays, strict=False):
            variable.assign(array)

    def _apply(self, tokens: tf.Tensor, *inputs: tf.Tensor) -> tf.Tensor:
        loss, gradients = self._loss_and_gradients(tokens, *inputs)
        if self.cluster.size > 1:
            loss, gradients = self._averaged(loss, gradients)
        gradients, norm = self._regularized(gradients)
        is_of_use = tf.math.is_finite(norm) & (loss <= self._max_loss_nats)

        def apply() -> tf.Tensor:
            self._optimizer.apply(gradients, self._variables)
            return loss

        return tf.cond(is_of_use, apply, lambda: tf.constant(math.nan))

    def _averaged(
        self, loss: tf.Tensor, gradients: list[Any]
    ) -> tuple[tf.Tensor, list[Any]]:
        """Returns the means over the workers, by one exchange."""
        parts = [loss, *(_values(gradient) for gradient in gradients)]
        shapes = [part.shape for part in parts]
        joined = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
        sizes = [shape.num_elements() for shape in shapes]
        means = [
            tf.reshape(part, shape)
            for part, shape in zip(
                tf.split(self.cluster.mean(joined), sizes), shapes, strict=True
            )
        ]
        return means[0], [
            _with_values(gradient, values)
            for gradient, values in zip(gradients, means[1:], strict=True)
        ]


def _values(gradient: Any) -> tf.Tensor:
    is_sparse = isinstance(gradient, tf.IndexedSlices)
    return gradient.values if is_sparse else gradient


def _with_values(gradient: Any, values: tf.Tensor) -> Any:
    if not isinstance(gradient, tf.IndexedSlices):
        return values
    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
