"""What is done to a language model: windows of text, compiled steps, scores.

All trainings take these steps, whole ones (`training`) and those of a space's
program. On TensorFlow and on JAX. Axes: B batch, T time steps, L tokens of a
stream, V vocabulary, N predictions.
"""

import contextlib
import functools
import math
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from nas_keras.tasks.language_model.config import rate_at
from nas_keras.tasks.language_model.model import LanguageModel
from nas_keras.tasks.language_model.model import Losses
from nas_keras.tasks.language_model.model import begin
from nas_keras.tasks.language_model.model import losses_of
from nas_keras.tasks.training import compilation
from nas_keras.tasks.training.gradients import apply
from nas_keras.tasks.training.gradients import clipped
from nas_keras.tasks.training.gradients import decayed
from nas_keras.tasks.training.gradients import plain_optimizer
from nas_keras.tasks.training.loop import MOST_AT_ONCE
from nas_keras.tasks.training.variables import TrainingVariables

# States of one part of a batch: a list of tensors for each recurrent layer.
States = list[list[Any]]
Window = tuple[int, int]  # Its first step, and how many it has.

# Merity et al. (2017), section 4.1: 19 of 20 windows have T steps on average,
# the others half of it; standard deviation 5, at least 5.
_HALF_FRACTION = 0.05
_DEVIATION = 5.0
_LEAST = 5
# Tokens and steps of a window of scored text, at most: they are no part of the
# score, as states are carried.
_SCORED_TOKENS = 1_280
_SCORED_STEPS = 512


# Windows: the tokens that an update sees.


def stream_array(tokens: np.ndarray, batch_size: int) -> np.ndarray:
    """Returns a text as B streams, int32 [B, L]; less than B are left over."""
    length = len(tokens) // batch_size
    return tokens[: length * batch_size].reshape(batch_size, length)


def windows_of(
    length: int, num_steps: int, epoch: int, seed: int, vary: bool
) -> list[Window]:
    """Returns the first step and the number of steps of an epoch's windows.

    Args:
        length: L.
        num_steps: T.
        epoch: From 0; with the seed, it decides the lengths.
        seed: Seed of the training.
        vary: Whether windows have lengths of their own. Else they have T
            steps, and what is left over is not trained on.
    """
    last = length - 1  # A window's last target is the token after it.
    if not vary:
        return [(k * num_steps, num_steps) for k in range(last // num_steps)]
    rng = np.random.default_rng([seed, epoch])
    windows, first = [], 0
    while first < last:
        is_half = rng.random() < _HALF_FRACTION
        mean = num_steps / 2 if is_half else num_steps
        steps = max(_LEAST, int(rng.normal(mean, _DEVIATION)))
        steps = min(steps, last - first)
        windows.append((first, steps))
        first += steps
    return windows


def window_at(streams: Any, first: Any, num_steps: int) -> tuple[Any, Any]:
    """Returns inputs and targets [B, T] of a window of streams [B, L].

    Args:
        streams: Tensor int32 [B, L].
        first: First step of the window, int32 [].
        num_steps: T.
    """
    size = (streams.shape[0], num_steps + 1)
    tokens = keras.ops.slice(streams, (0, first), size)
    tokens = keras.ops.reshape(tokens, size)  # To a shape that is known.
    return tokens[:, :-1], tokens[:, 1:]


# Steps: what is done to a model, compiled.


class LanguageModelSteps(TrainingVariables):
    """A model with its optimizer, and the compiled steps that change them.

    Args:
        model: `LanguageModel`; its config is that of the training.
        num_tokens: Tokens of the training text.

    Attributes:
        model: The model.
        optimizer: Its optimizer.
        num_windows: Windows of T steps in the training text.
        num_updates: Updates in all, if all windows have T steps.
    """

    def __init__(self, model: LanguageModel, num_tokens: int):
        compilation.check_backend()
        config = self._config = model.config
        self.model = model
        self.num_windows = (
            num_tokens // config.batch_size - 1
        ) // config.num_steps
        self.num_updates = (
            config.num_updates or config.num_epochs * self.num_windows
        )
        self._weights = model.trainable_variables
        self._others = model.non_trainable_variables
        self.optimizer = plain_optimizer(config.optimizer, config.learning_rate)
        self.optimizer.build(self._weights)
        self._first_slots = [np.array(v) for v in self.optimizer.variables]
        is_averaged = config.average != "none"
        self._averages = self._zeros() if is_averaged else []
        self._sums = self._zeros() if config.micro_batches > 1 else []
        self._everything = [
            *self._weights,
            *self._others,
            *self.optimizer.variables,
            *self._averages,
            *self._sums,
        ]
        # XLA would compile anew for every length of a window.
        jit_compile = config.uses_xla and not config.vary_steps
        num_varying = 2 if config.vary_steps else 0  # Inputs and targets.
        compiled = functools.partial(
            compilation.compiled,
            variables=self._everything,
            jit_compile=jit_compile,
        )
        self._updates = compiled(self._updates_program)
        self._update = compiled(self._update_program, num_varying=num_varying)
        self._add = compiled(self._add_program, num_varying=num_varying)
        self._apply = compiled(self._apply_program)
        self._score = compiled(self._score_program)
        # Once for all parts of a corpus, which differ in length.
        self._score_windows = compiled(self._windows_program, num_varying=1)
        self._adapt = compiled(self._adapt_program)

    def _zeros(self) -> list[keras.Variable]:
        return [
            keras.Variable(np.zeros(w.shape, "float32"), trainable=False)
            for w in self._weights
        ]

    @property
    def num_traces(self) -> int:
        """How often `updates` has been traced, on TensorFlow: once, if used."""
        traced: Any = self._updates
        return traced.experimental_get_tracing_count()

    # The state of a training.

    def begin(self, seed: int) -> None:
        """Sets everything to its first value.

        Args:
            seed: Seed of the first weights and of dropout.
        """
        begin(self.model, seed)
        for variable, array in zip(
            self.optimizer.variables, self._first_slots, strict=True
        ):
            variable.assign(array)
        for average, weight in zip(self._averages, self._weights, strict=False):
            average.assign(weight)

    @property
    def variables(self) -> dict[str, Sequence[keras.Variable]]:
        return {
            "weight": self._weights,
            "other": self._others,
            "optimizer": self.optimizer.variables,
            "average": self._averages,
        }

    def result_arrays(self) -> list[np.ndarray]:
        """Returns the weights that stand for the training: their averages."""
        return [np.array(v) for v in self._averages or self._weights]

    @contextlib.contextmanager
    def using(self, arrays: Sequence[np.ndarray]) -> Iterator[None]:
        """Puts other weights into the model for the time of a block."""
        held = self.weights()
        self.set_weights(arrays)
        try:
            yield
        finally:
            self.set_weights(held)

    def first_states(self, batch_size: int, parts: int = 1) -> list[States]:
        """Returns zeros, for each part of a batch."""
        rows = batch_size // parts
        return [self.model.initial_states(rows) for _ in range(parts)]

    def tensor(self, array: np.ndarray, like: Any) -> Any:
        """Returns an array as a tensor of the dtype of another."""
        dtype = keras.backend.standardize_dtype(like.dtype)
        return keras.ops.convert_to_tensor(array, dtype)

    # What is done.

    def updates(
        self,
        streams: Any,
        first: int,
        num: int,
        states: States,
        rate_factor: float = 1.0,
        average_rates: Sequence[float] = (),
    ) -> tuple[np.ndarray, States]:
        """Takes consecutive training steps in one call.

        The text is read again from its first token, with states of zero, once
        all its windows were seen.

        Args:
            streams: The training text, tensor int32 [B, L].
            first: Updates before them.
            num: How many, at most `MOST_AT_ONCE`.
            states: The states before them.
            rate_factor: Factor of the scheduled learning rates.
            average_rates: Share of the new weights in their average after each
                of them, if weights are averaged.

        Returns:
            The mean losses in nats, float32 [num]; and the states after them.
        """
        shares = np.zeros(MOST_AT_ONCE, np.float32)
        shares[: len(average_rates)] = average_rates
        losses, states = self._updates(
            streams,
            _int(first),
            _int(num),
            states,
            _float(rate_factor),
            _float(shares),
        )
        return np.array(losses)[:num], states

    def update(
        self,
        tokens: np.ndarray,
        states: list[States],
        rate: float,
        average_rate: float,
    ) -> tuple[float, list[States]]:
        """Takes a training step on a window of any length, in parts.

        Args:
            tokens: int32 [B, T+1]; each but the first is a target.
            states: The states before it, for each part of the batch.
            rate: Learning rate.
            average_rate: Share of the new weights in their average.

        Returns:
            The mean loss in nats, and the states after it.
        """
        rates = [_float(rate), _float(average_rate)]
        if not self._sums:
            loss, after = self._update(*_pair(tokens), states[0], *rates)
            return float(loss), [after]
        losses, new_states = [], []
        for rows, its in zip(
            np.split(tokens, len(states)), states, strict=True
        ):
            loss, after = self._add(*_pair(rows), its)
            losses.append(float(loss))
            new_states.append(after)
        self._apply(*rates)
        return float(np.mean(losses)), new_states

    def score(
        self, tokens: np.ndarray, states: States
    ) -> tuple[np.ndarray, States]:
        """Returns the losses in nats [B, T] of a window [B, T+1]."""
        nats, states = self._score(*_pair(tokens), states)
        return np.array(nats), states

    def score_windows(
        self, streams: np.ndarray, first: int = 0, num: int = 0
    ) -> float:
        """Returns the mean loss in nats of whole windows of streams.

        States are carried, and begin with zeros. After the last window comes
        the first. What is left of the streams, less than a window, is not
        scored: architectures are compared on equal windows.

        Args:
            streams: int32 [B, L].
            first: Window to begin with.
            num: Windows; 0: all.
        """
        num = num or self.windows_in(streams)
        states = self.model.initial_states(len(streams))
        text, total = _ints(streams), _float(0)
        for done in range(0, num, MOST_AT_ONCE):
            total, states = self._score_windows(
                text,
                _int(first + done),
                _int(min(MOST_AT_ONCE, num - done)),
                _int(self.windows_in(streams)),
                total,
                states,
            )
        return float(total) / num

    def windows_in(self, streams: np.ndarray) -> int:
        """Returns how many whole windows streams [B, L] have."""
        return (streams.shape[1] - 1) // self._config.num_steps

    def adapt(
        self, tokens: np.ndarray, states: States, rate: float
    ) -> tuple[np.ndarray, States]:
        """Scores a window, then takes a gradient step on it, clipped."""
        nats, states = self._adapt(*_pair(tokens), states, _float(rate))
        return np.array(nats), states

    # Their programs.

    def rate_of(self, number: Any) -> Any:
        """Returns the learning rate after a number of updates, tensors []."""
        done = keras.ops.cast(number, "float32")
        return rate_at(
            self._config,
            done / self.num_updates,
            done / self.num_windows,
            keras.ops,
        )

    def _gradients(
        self, inputs: Any, targets: Any, states: States
    ) -> tuple[Any, list[Any], States]:
        """Returns the mean loss in nats, gradients, and new states."""

        def objective() -> tuple[Any, tuple[Any, States]]:
            losses = losses_of(self.model, inputs, targets, states, True)
            mean = keras.ops.mean(losses.nats)
            return mean + losses.penalty, (mean, losses.states)

        _, gradients, (mean, states) = compilation.value_and_gradients(
            objective, self._weights, self._others
        )
        return mean, gradients, states

    def _updates_program(
        self,
        streams: Any,
        first: Any,
        num: Any,
        states: States,
        rate_factor: Any,
        average_rates: Any,
    ) -> tuple[Any, States]:
        num_steps = self._config.num_steps

        def update(index: Any, carried: Any) -> tuple[Any, Any]:
            number, states = carried
            window = number % self.num_windows
            states = _zeros_if(window == 0, states)
            inputs, targets = window_at(streams, window * num_steps, num_steps)
            loss, gradients, states = self._gradients(inputs, targets, states)
            rate = rate_factor * self.rate_of(number)
            self._step(gradients, rate, average_rates[index])
            return loss, (number + 1, states)

        losses, (_, states) = compilation.repeated(
            update, num, (first, states), MOST_AT_ONCE, self._everything
        )
        return losses, states

    def _update_program(
        self,
        inputs: Any,
        targets: Any,
        states: States,
        rate: Any,
        average_rate: Any,
    ) -> tuple[Any, States]:
        loss, gradients, states = self._gradients(inputs, targets, states)
        self._step(gradients, rate, average_rate)
        return loss, states

    def _add_program(
        self, inputs: Any, targets: Any, states: States
    ) -> tuple[Any, States]:
        loss, gradients, states = self._gradients(inputs, targets, states)
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign(total + gradient)
        return loss, states

    def _apply_program(self, rate: Any, average_rate: Any) -> Any:
        num = self._config.micro_batches
        self._step([total / num for total in self._sums], rate, average_rate)
        for total in self._sums:
            total.assign(keras.ops.zeros(total.shape))
        return rate

    def _step(
        self, gradients: Sequence[Any], rate: Any, average_rate: Any
    ) -> None:
        gradients = clipped(gradients, self._config.clip_norm)
        decay = self._config.weight_decay
        gradients = decayed(gradients, self._weights, decay)
        self.optimizer.learning_rate = rate
        apply(self.optimizer, gradients, self._weights)
        for average, w in zip(self._averages, self._weights, strict=False):
            average.assign(average + average_rate * (w - average))

    def _score_program(
        self, inputs: Any, targets: Any, states: States
    ) -> tuple[Any, States]:
        # keras.layers.RNN draws its masks even where it does not use them;
        # how often one scores must not change the training.
        held = [keras.ops.copy(v.value) for v in self._others]
        losses = losses_of(self.model, inputs, targets, states, False)
        for generator, state in zip(self._others, held, strict=True):
            generator.assign(state)
        return losses.nats, losses.states

    def _windows_program(
        self,
        streams: Any,
        first: Any,
        num: Any,
        num_windows: Any,
        total: Any,
        states: States,
    ) -> tuple[Any, States]:
        num_steps = self._config.num_steps

        def score(index: Any, carried: Any) -> tuple[Any, Any]:
            window, total, states = carried
            step = window % num_windows * num_steps
            inputs, targets = window_at(streams, step, num_steps)
            losses = losses_of(self.model, inputs, targets, states, False)
            total = total + keras.ops.mean(losses.nats)
            return total, (window + 1, total, losses.states)

        _, (_, total, states) = compilation.repeated(
            score, num, (first, total, states), MOST_AT_ONCE, self._everything
        )
        return total, states

    def _adapt_program(
        self, inputs: Any, targets: Any, states: States, rate: Any
    ) -> tuple[Any, States]:
        def objective() -> tuple[Any, Losses]:
            losses = losses_of(self.model, inputs, targets, states, False)
            return keras.ops.mean(losses.nats), losses

        _, gradients, losses = compilation.value_and_gradients(
            objective, self._weights, self._others
        )
        gradients = clipped(gradients, self._config.clip_norm)
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.assign(weight - rate * gradient)
        return losses.nats, losses.states


def _zeros_if(condition: Any, states: States) -> States:
    return [
        [keras.ops.where(condition, keras.ops.zeros_like(s), s) for s in layer]
        for layer in states
    ]


def _pair(tokens: np.ndarray) -> tuple[Any, Any]:
    """Returns inputs and targets, tensors int32 [B, T]."""
    return _ints(tokens[:, :-1]), _ints(tokens[:, 1:])


# Python numbers would be constants of a program, traced anew for each.


def _ints(array: np.ndarray) -> Any:
    return keras.ops.convert_to_tensor(array, "int32")


def _int(value: int) -> Any:
    return keras.ops.convert_to_tensor(value, "int32")


def _float(value: Any) -> Any:
    return keras.ops.convert_to_tensor(value, "float32")


# Scores of a text.


def loss_of_text(
    steps: LanguageModelSteps,
    tokens: np.ndarray,
    batch_size: int = 1,
    dynamic_rate: float = 0.0,
    num_steps: int | None = None,
) -> float:
    """Returns the mean loss in nats of a text's tokens but the first.

    Args:
        steps: The model, with the weights that are scored.
        tokens: int32 [N+1].
        batch_size: B, streams that the text is cut into; each begins with
            states of zero. With 1 the whole text is read in order.
        dynamic_rate: Rate of dynamic evaluation, which changes the model's
            weights; 0: none.
        num_steps: T, or None for what is fast. In dynamic evaluation, the
            tokens that are scored between two gradient steps.

    Returns:
        The mean over all N; NaN if a loss is.

    Reference:
        [Krause et al., 2018](https://arxiv.org/abs/1709.07432), section 3
        (dynamic evaluation; here by plain gradient steps, clipped like those
        of the training).
    """
    if num_steps is None:
        num_steps = min(_SCORED_STEPS, max(1, _SCORED_TOKENS // batch_size))
    states = steps.model.initial_states(batch_size)
    total, count = 0.0, 0
    for window, is_real in _scored_windows(tokens, batch_size, num_steps):
        if dynamic_rate:
            nats, states = steps.adapt(window, states, dynamic_rate)
        else:
            nats, states = steps.score(window, states)
        # The loss of padding may be anything; the sum is in float64.
        total += float(np.where(is_real, nats, 0.0).sum(dtype=np.float64))
        count += int(is_real.sum())
    return total / count


def _scored_windows(
    tokens: np.ndarray, batch_size: int, num_steps: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields windows [B, T+1], and [B, T] which of their targets count.

    Stream b has the predictions from b R on, R of them, the last ones fewer.
    """
    num = len(tokens) - 1
    length = math.ceil(num / batch_size)  # R.
    starts = np.arange(batch_size)[:, None] * length
    for first in range(0, length, num_steps):
        offsets = first + np.arange(num_steps + 1)
        places = starts + offsets
        is_real = (offsets < length) & (places < num)
        yield tokens[np.minimum(places, num)], is_real[:, :-1]
