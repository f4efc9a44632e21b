"""Training and scoring of a `LanguageModel` as one compiled program.

A trainer owns its model's variables and sets all of them anew for each
training, so one compilation trains any number of children. TensorFlow only.
Axes: B batch, T time steps, V vocabulary.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.model import LanguageModel
from nas_keras.tasks.language_model.model import LanguageModelTask
from nas_keras.tasks.language_model.model import begin
from nas_keras.tasks.language_model.model import losses_of
from nas_keras.tasks.language_model.windows import stream_array
from nas_keras.tasks.training import compilation
from nas_keras.tasks.training.gradients import apply
from nas_keras.tasks.training.gradients import decayed
from nas_keras.tasks.training.gradients import plain_optimizer
from nas_keras.tasks.training.loop import MAX_LOSS_NATS
from nas_keras.tasks.training.scores import loss_metrics

# Updates in one call: short enough that Ctrl-C and a NaN are noticed soon.
_UPDATES_PER_CALL = 50


class LanguageModelTrainer:
    """Trains one model, from a seed, as often as asked.

    Args:
        task: `LanguageModelTask`.
        model: The task's model. Its trainable variables and the states of
            its random generators are set anew by each training; after it they
            hold the result.
    """

    def __init__(self, task: LanguageModelTask, model: LanguageModel):
        self.task = task
        self.model = model
        config = task.config
        self._train_data = streams(task.corpus.train, config)
        self.num_windows = num_windows(self._train_data, config)
        self.num_updates = (
            config.num_updates or config.num_epochs * self.num_windows
        )
        self._optimizer = optimizer_of(
            config, self.num_updates, self.num_windows
        )
        self._optimizer.build(model.trainable_variables)
        self._slots = [np.array(v) for v in self._optimizer.variables]
        jit_compile = config.uses_xla
        self._train = tf.function(
            self._updates, jit_compile=jit_compile, autograph=False
        )
        # Once for all parts of the corpus, which differ in length.
        self._score = compilation.compiled(
            self._losses, [], jit_compile, num_varying=1
        )

    @property
    def num_traces(self) -> int:
        """How often the training step has been traced: 1, once used."""
        return self._train.experimental_get_tracing_count()

    def train(
        self, seed: int, splits: Sequence[str] = ("validation",)
    ) -> dict[str, float]:
        """Trains from scratch and returns the metrics.

        Args:
            seed: Of initial weights and dropout.
            splits: Parts of the corpus to score, of `validation`, `test`.

        Returns:
            `train_loss_nats`, the mean over the last updates, and for each
            split `..._loss_nats`, `..._perplexity` and, for characters,
            `..._bits_per_char`.

        Raises:
            FloatingPointError: If the loss is not finite, or above 100 nats.
        """
        self._reset(seed)
        states = self.model.initial_states(self.task.config.batch_size)
        loss_nats = math.nan
        for start in range(0, self.num_updates, _UPDATES_PER_CALL):
            stop = min(start + _UPDATES_PER_CALL, self.num_updates)
            total, states = self._train(
                tf.constant(start), tf.constant(stop), self._train_data, states
            )
            loss_nats = float(total) / (stop - start)
            if not loss_nats < MAX_LOSS_NATS:
                raise FloatingPointError(
                    f"diverged: the training loss is {loss_nats:.4g} nats "
                    f"within updates {start} to {stop}"
                )
        metrics = {"train_loss_nats": loss_nats}
        for split in splits:
            metrics |= self.score(split)
        return metrics

    def score(self, split: str) -> dict[str, float]:
        """Returns the metrics of the model as it is on a part of the corpus.

        The part is cut into `batch_size` streams, each read from its begin
        with carried states; the loss is the mean over their full windows.
        What is left of the last one, less than `batch_size * (num_steps + 1)`
        tokens, is not scored.

        Raises:
            FloatingPointError: If the loss is not finite, or above 100 nats.
        """
        config, corpus = self.task.config, self.task.corpus
        tokens = getattr(corpus, split)
        if split == "validation" and config.max_validation_tokens:
            tokens = tokens[: config.max_validation_tokens]
        data = streams(tokens, config)
        states = self.model.initial_states(config.batch_size)
        windows = num_windows(data, config)
        total = self._score(data, tf.constant(windows), states)
        loss_nats = float(total) / windows
        if not loss_nats < MAX_LOSS_NATS:
            raise FloatingPointError(
                f"diverged: the {split} loss is {loss_nats:.4g} nats"
            )
        return loss_metrics(split, loss_nats, corpus.level)

    def _reset(self, seed: int) -> None:
        """Sets weights, optimizer and random generators to their beginning."""
        begin(self.model, seed)
        for variable, array in zip(
            self._optimizer.variables, self._slots, strict=True
        ):
            variable.assign(array)

    def _loss(
        self, data: tf.Tensor, window: tf.Tensor, states: Any, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, Any]:
        inputs, targets = window_of(data, window, self.task.config)
        return loss_of(self.model, inputs, targets, states, training)

    def _updates(
        self, start: tf.Tensor, stop: tf.Tensor, data: tf.Tensor, states: Any
    ) -> tuple[tf.Tensor, Any]:
        """Runs updates [start, stop); returns the sum of losses, the states."""
        variables = self.model.trainable_variables
        config = self.task.config

        def update(
            step: tf.Tensor, total: tf.Tensor, states: Any
        ) -> tuple[tf.Tensor, tf.Tensor, Any]:
            window = step % self.num_windows
            fresh = window == 0  # The text begins anew, and so do the states.
            states = tf.nest.map_structure(
                lambda s: tf.where(fresh, tf.zeros_like(s), s), states
            )
            with tf.GradientTape() as tape:
                loss, penalty, states = self._loss(data, window, states, True)
                objective = loss + penalty
            gradients = tape.gradient(objective, variables)
            gradients = [tf.convert_to_tensor(g) for g in gradients]
            gradients, _ = tf.clip_by_global_norm(gradients, config.clip_norm)
            gradients = decayed(gradients, variables, config.weight_decay)
            apply(self._optimizer, gradients, variables)
            return step + 1, total + loss, states

        _, total, states = tf.while_loop(
            lambda step, *_: step < stop,
            update,
            (start, tf.constant(0.0), states),
        )
        return total, states

    def _losses(
        self, data: tf.Tensor, windows: tf.Tensor, states: Any
    ) -> tf.Tensor:
        """Returns the sum of the losses of the first windows."""

        def score(
            window: tf.Tensor, total: tf.Tensor, states: Any
        ) -> tuple[tf.Tensor, tf.Tensor, Any]:
            loss, _, states = self._loss(data, window, states, False)
            return window + 1, total + loss, states

        _, total, _ = tf.while_loop(
            lambda window, *_: window < windows,
            score,
            (tf.constant(0), tf.constant(0.0), states),
        )
        return total


def window_of(
    data: tf.Tensor, window: tf.Tensor, config: LanguageModelConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns inputs and targets [B, T] of one window of streams [B, L]."""
    size = [config.batch_size, config.num_steps + 1]
    tokens = tf.slice(data, [0, window * config.num_steps], size)
    tokens = tf.ensure_shape(tokens, size)
    return tokens[:, :-1], tokens[:, 1:]


def loss_of(
    model: LanguageModel,
    inputs: Any,
    targets: Any,
    states: Any,
    training: bool,
) -> tuple[tf.Tensor, tf.Tensor, list[list[tf.Tensor]]]:
    """Returns mean loss in nats and penalty of a window, states after it."""
    losses = losses_of(model, inputs, targets, states, training)
    return tf.reduce_mean(losses.nats), losses.penalty, losses.states


def streams(tokens: np.ndarray, config: LanguageModelConfig) -> tf.Tensor:
    """Returns the text as B parallel streams, int32 [B, L]."""
    return tf.constant(stream_array(tokens, config.batch_size), tf.int32)


def num_windows(data: tf.Tensor, config: LanguageModelConfig) -> int:
    """Returns the windows of T steps in streams [B, L], with a target each."""
    return (int(data.shape[1]) - 1) // config.num_steps


def optimizer_of(
    config: LanguageModelConfig, num_updates: int, updates_per_epoch: int
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a training, with its schedule."""
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, num_updates)
    elif config.schedule == "step":
        rate = _StepDecay(
            rate, 1 / config.decay, config.decay_epoch, updates_per_epoch
        )
    return plain_optimizer(config.optimizer, rate)


class _StepDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Multiplies the rate by `factor` after each epoch from `first_epoch`.

    Zaremba, Sutskever & Vinyals (2014) divide by 1.2 after the 6th of 39.
    """

    def __init__(
        self,
        rate: float,
        factor: float,
        first_epoch: int,
        updates_per_epoch: int,
    ):
        self.rate = rate
        self.factor = factor
        self.first_epoch = first_epoch
        self.updates_per_epoch = updates_per_epoch

    def __call__(self, step: Any) -> Any:
        epoch = keras.ops.floor(
            keras.ops.cast(step, "float32") / self.updates_per_epoch
        )
        decays = keras.ops.maximum(epoch + 1 - self.first_epoch, 0.0)
        return self.rate * keras.ops.power(self.factor, decays)
