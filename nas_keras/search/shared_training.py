"""The two halves of `SharedWeights`: training the weights, and scoring by them.

The architecture is data to both. Axes: B batch, A decisions.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nas_keras.search.cluster import Cluster
from nas_keras.tasks import language_model_training as training
from nas_keras.tasks.language_model import LanguageModelTask


class TrainedWeights:
    """The shared weights and their optimizer, a worker's part of them."""

    def __init__(self, task: LanguageModelTask, model):
        self._model = model
        self._config = task.config
        # The whole batch's: a worker has some of its rows.
        self._all_streams = training.streams(task.corpus.train, task.config)
        self._num_windows = training.num_windows(self._all_streams, task.config)
        self._max_loss_nats = 2 * math.log(task.corpus.vocabulary_size)
        self.num_updates = (
            task.config.num_updates
            or task.config.num_epochs * self._num_windows
        )
        self._variables = model.trainable_variables
        self._optimizer = training.optimizer_of(
            task.config, self.num_updates, self._num_windows
        )
        self._optimizer.build(self._variables)
        self._slots = [np.array(v) for v in self._optimizer.variables]
        self._update = None
        self.cluster = Cluster()
        self.distribute(self.cluster)

    @property
    def num_traces(self) -> int:
        """How often the training step has been traced."""
        return self._update.experimental_get_tracing_count()

    def distribute(self, cluster: Cluster) -> None:
        """Takes this worker's rows of every minibatch."""
        batch_size = self._config.batch_size
        if batch_size % cluster.size:
            raise ValueError(
                "The batch_size of a task must be a multiple of the number of "
                f"workers, {cluster.size}. Received: batch_size={batch_size}."
            )
        was_alone = self._update is not None and self.cluster.size == 1
        self.cluster = cluster
        if was_alone and cluster.size == 1:
            return  # What is compiled is the same.
        rows = cluster.share(range(batch_size))
        self._streams = self._all_streams[rows[0] : rows[-1] + 1]
        self._local = dataclasses.replace(
            self._config, batch_size=batch_size // cluster.size
        )
        self._gradients = tf.function(
            self._loss_and_gradients,
            jit_compile=self._config.uses_xla,
        )
        self._update = tf.function(self._apply)

    def begin(self, seed: int) -> None:
        """Sets weights, optimizer and random generators to their beginning."""
        # Masks of dropout differ from worker to worker.
        training.begin(self._model, seed + self.cluster.index)
        weights = training.initial_weights(
            [tuple(v.shape) for v in self._variables],
            self._config.init_scale,
            seed,
        )
        self._assign([*weights, *self._slots])

    def update(self, tokens: np.ndarray, number: int) -> float:
        """Returns the loss in nats, NaN if the update was skipped."""
        with self.cluster.watched():
            window = tf.constant(number % self._num_windows)
            loss = self._update(tf.constant(tokens), window, self._streams)
            return float(loss)

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
            seed = (seed + self.cluster.index) % 2**31  # See `begin`.
            generator.assign(np.array([seed, count]))

    def _generators(self) -> list[Any]:
        return [
            variable
            for variable in self._model.non_trainable_variables
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

    def _loss_and_gradients(self, tokens, inputs, targets):
        _choose(self._model, tokens)
        states = self._model.initial_states(self._local.batch_size)
        with tf.GradientTape() as tape:
            loss, penalty, _ = training.loss_of(
                self._model, inputs, targets, states, True
            )
            objective = loss + penalty
        gradients = tape.gradient(objective, self._variables)
        # Of an embedding they are better dense, of node kernels sparse: the
        # rows of one architecture, all different.
        return loss, [
            gradient
            if variable.name == "node_kernels"
            else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(
                gradients, self._variables, strict=True
            )
        ]

    def _apply(self, tokens, window, data):
        # Not inside, where XLA would compile anew for every window.
        inputs, targets = training.window_of(data, window, self._local)
        loss, gradients = self._gradients(tokens, inputs, targets)
        if self.cluster.size > 1:
            loss, gradients = self._averaged(loss, gradients)
        gradients, norm = tf.clip_by_global_norm(
            gradients, self._config.clip_norm
        )
        gradients = training.decayed(
            gradients, self._variables, self._config.weight_decay
        )
        is_of_use = tf.math.is_finite(norm) & (loss <= self._max_loss_nats)

        def apply():
            self._optimizer.apply(gradients, self._variables)
            return loss

        return tf.cond(is_of_use, apply, lambda: tf.constant(math.nan))

    def _averaged(self, loss, gradients):
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


class ScoredText:
    """The validation text and the loss of an architecture on a part of it."""

    def __init__(self, task: LanguageModelTask, model):
        self._model = model
        self._config = task.config
        tokens = task.corpus.validation
        if task.config.max_validation_tokens:
            tokens = tokens[: task.config.max_validation_tokens]
        self._data = training.streams(tokens, task.config)
        self.num_windows = training.num_windows(self._data, task.config)
        self._losses = tf.function(
            self._sum_of_losses, jit_compile=task.config.uses_xla
        )

    def loss(self, tokens: tuple[int, ...], first: int, num: int) -> float:
        """Returns the mean loss in nats over `num` windows from `first` on.

        Raises:
            FloatingPointError: If it is not finite, or above 100 nats.
        """
        total = self._losses(
            tf.constant(tokens, tf.int32),
            tf.constant(first % self.num_windows),
            tf.constant(num),
        )
        loss_nats = float(total) / num
        if not loss_nats < training.MAX_LOSS_NATS:
            raise FloatingPointError(
                f"diverged: the validation loss is {loss_nats:.4g} nats"
            )
        return loss_nats

    def _sum_of_losses(self, tokens, first, num):
        _choose(self._model, tokens)

        def score(index, total, states):
            window = (first + index) % self.num_windows
            data = training.window_of(self._data, window, self._config)
            loss, _, states = training.loss_of(
                self._model, *data, states, False
            )
            return index + 1, total + loss, states

        states = self._model.initial_states(self._config.batch_size)
        _, total, _ = tf.while_loop(
            lambda index, *_: index < num,
            score,
            (tf.constant(0), tf.constant(0.0), states),
        )
        return total


def _choose(model, tokens: tf.Tensor) -> None:
    """Sets the architecture of all recurrent layers of a model, in a graph."""
    for layer in model.recurrent:
        layer.tokens.assign(tokens)


def _values(gradient):
    is_sparse = isinstance(gradient, tf.IndexedSlices)
    return gradient.values if is_sparse else gradient


def _with_values(gradient, values):
    if not isinstance(gradient, tf.IndexedSlices):
        return values
    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
