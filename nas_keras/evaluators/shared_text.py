"""Language models whose weights the cells of a space share.

The architecture is data to training and scoring. Axes: B batch, A decisions.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nas_keras.evaluators.shared_training import TrainedWeights
from nas_keras.spaces.space import Space
from nas_keras.supernets.recurrent import layer_maker
from nas_keras.tasks.language_model import children as training
from nas_keras.tasks.language_model.model import LanguageModel
from nas_keras.tasks.language_model.model import LanguageModelTask
from nas_keras.tasks.language_model.model import begin
from nas_keras.tasks.language_model.model import initial_weights
from nas_keras.tasks.training.loop import MAX_LOSS_NATS
from nas_keras.tasks.training.scores import loss_metrics


class TrainedOnText(TrainedWeights):
    """Of one model; the architecture is that of its recurrent layers."""

    def __init__(self, task: LanguageModelTask, model: LanguageModel):
        config = task.config
        self._config = config
        # The whole batch's: a worker has some of its rows.
        self._all_streams = training.streams(task.corpus.train, config)
        self._num_windows = training.num_windows(self._all_streams, config)
        num_updates = config.num_updates or (
            config.num_epochs * self._num_windows
        )
        optimizer = training.optimizer_of(
            config, num_updates, self._num_windows
        )
        super().__init__(
            model,
            optimizer,
            config.batch_size,
            num_updates,
            task.corpus.vocabulary_size,
        )

    def _take(self, rows: Sequence[int]) -> None:
        self._streams = self._all_streams[rows[0] : rows[-1] + 1]
        self._local = dataclasses.replace(self._config, batch_size=len(rows))
        self._compiled = tf.function(
            self._differentiated,
            jit_compile=self._config.uses_xla,
            autograph=False,
        )

    def _begin(self, seed: int) -> list[np.ndarray]:
        # Masks of dropout differ from worker to worker.
        begin(self.model, seed + self.cluster.index)
        return initial_weights(
            [tuple(v.shape) for v in self._variables],
            self._config.init_scale,
            seed,
        )

    def _inputs(self, number: int) -> tuple[Any, ...]:
        return tf.constant(number % self._num_windows), self._streams

    def _loss_and_gradients(
        self, tokens: tf.Tensor, *inputs: tf.Tensor
    ) -> tuple[tf.Tensor, list[Any]]:
        window, data = inputs
        # Not inside, where XLA would compile anew for every window.
        return self._compiled(
            tokens, *training.window_of(data, window, self._local)
        )

    def _differentiated(
        self, tokens: tf.Tensor, inputs: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, list[Any]]:
        _choose(self.model, tokens)
        states = self.model.initial_states(self._local.batch_size)
        with tf.GradientTape() as tape:
            loss, penalty, _ = training.loss_of(
                self.model, inputs, targets, states, True
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

    def _regularized(self, gradients: list[Any]) -> tuple[list[Any], tf.Tensor]:
        gradients, norm = tf.clip_by_global_norm(
            gradients, self._config.clip_norm
        )
        decay = self._config.weight_decay
        if not decay:
            return gradients, norm
        return [
            _decayed(gradient, variable, decay)
            for gradient, variable in zip(
                gradients, self._variables, strict=True
            )
        ], norm


def _decayed(gradient: Any, variable: Any, weight_decay: float) -> Any:
    """Returns a gradient plus `weight_decay` times the weights it is of.

    Of a gradient of some rows, only those rows decay.
    """
    weights = tf.convert_to_tensor(variable)
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient + weight_decay * weights
    rows = tf.gather(weights, gradient.indices)
    return tf.IndexedSlices(
        gradient.values + weight_decay * rows,
        gradient.indices,
        gradient.dense_shape,
    )


class ScoredText:
    """The validation text and the loss of an architecture on a part of it."""

    def __init__(self, task: LanguageModelTask, model: LanguageModel):
        self._model = model
        self._level = task.corpus.level
        self._config = task.config
        tokens = task.corpus.validation
        if task.config.max_validation_tokens:
            tokens = tokens[: task.config.max_validation_tokens]
        self._data = training.streams(tokens, task.config)
        self.num_windows = training.num_windows(self._data, task.config)
        self._losses = tf.function(
            self._sum_of_losses,
            jit_compile=task.config.uses_xla,
            autograph=False,
        )

    def metrics(
        self, tokens: tuple[int, ...], first: int, num: int
    ) -> dict[str, float]:
        """Returns the figures over `num` windows from `first` on.

        Raises:
            FloatingPointError: If it is not finite, or above 100 nats.
        """
        total = self._losses(
            tf.constant(tokens, tf.int32),
            tf.constant(first % self.num_windows),
            tf.constant(num),
        )
        loss_nats = float(total) / num
        if not loss_nats < MAX_LOSS_NATS:
            raise FloatingPointError(
                f"diverged: the validation loss is {loss_nats:.4g} nats"
            )
        return loss_metrics("validation", loss_nats, self._level)

    def _sum_of_losses(
        self, tokens: tf.Tensor, first: tf.Tensor, num: tf.Tensor
    ) -> tf.Tensor:
        _choose(self._model, tokens)

        def score(index: Any, total: Any, states: Any) -> tuple[Any, ...]:
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


def _choose(model: LanguageModel, tokens: tf.Tensor) -> None:
    """Sets the architecture of all recurrent layers of a model, in a graph."""
    for layer in model.recurrent:
        layer.tokens.assign(tokens)


def halves_of_text(
    space: Space, task: LanguageModelTask
) -> tuple[TrainedOnText, ScoredText]:
    """Returns what trains the weights, and what scores by them.

    Raises:
        ValueError: If the space is not one of recurrent cells.
    """
    model = task.model_of(layer_maker(space, task.config, shared=True))
    return TrainedOnText(task, model), ScoredText(task, model)
