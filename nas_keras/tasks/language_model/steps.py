"""The compiled steps of a long training: update, score, adapt.

They own the variables of a training: weights, optimizer, averages. What
happens when is the business of `language_model_epochs.py`. On TensorFlow and
on JAX. Axes: B batch, T time steps, V vocabulary.
"""

import contextlib
import functools
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from nas_keras.cells.language.spec import CellSpec
from nas_keras.tasks.language_model.model import LanguageModelTask
from nas_keras.tasks.language_model.model import Losses
from nas_keras.tasks.language_model.model import begin
from nas_keras.tasks.language_model.model import losses_of
from nas_keras.tasks.language_model.training_config import TrainingConfig
from nas_keras.tasks.training import compilation
from nas_keras.tasks.training.gradients import apply
from nas_keras.tasks.training.gradients import clipped
from nas_keras.tasks.training.gradients import decayed
from nas_keras.tasks.training.gradients import plain_optimizer
from nas_keras.tasks.training.variables import TrainingVariables

# States of one part of a batch: a list of tensors for each recurrent layer.
States = list[list[Any]]


class LanguageModelSteps(TrainingVariables):
    """A model, its optimizer, and what may be done to them.

    Args:
        task: Text and model, at its size.
        spec: The cell.
        config: The training.

    Attributes:
        model: The `LanguageModel`.
    """

    def __init__(
        self, task: LanguageModelTask, spec: CellSpec, config: TrainingConfig
    ):
        compilation.check_backend()
        self._config = config
        self._recipe = task.config
        self.model = task.model(spec, config.precision)
        self._weights = self.model.trainable_variables
        self._others = self.model.non_trainable_variables
        self._optimizer = plain_optimizer(
            task.config.optimizer, task.config.learning_rate
        )
        self._optimizer.build(self._weights)
        is_averaged = config.average != "none"
        self._averages = self._zeros() if is_averaged else []
        self._sums = self._zeros() if config.micro_batches > 1 else []
        begin(self.model, config.seed)
        for average, weight in zip(self._averages, self._weights, strict=False):
            average.assign(weight)
        everything = [
            *self._weights,
            *self._others,
            *self._optimizer.variables,
            *self._averages,
            *self._sums,
        ]
        # XLA would compile anew for every length of a window.
        jit_compile = task.config.uses_xla and not config.vary_steps
        num_varying = 2 if config.vary_steps else 0  # Inputs and targets.

        compiled = functools.partial(
            compilation.compiled, variables=everything, jit_compile=jit_compile
        )
        self._update = compiled(self._update_step, num_varying=num_varying)
        self._add = compiled(self._add_step, num_varying=num_varying)
        self._apply = compiled(self._apply_step)
        self._score = compiled(self._score_step)
        self._adapt = compiled(self._adapt_step)

    def _zeros(self) -> list[keras.Variable]:
        return [
            keras.Variable(np.zeros(w.shape, "float32"), trainable=False)
            for w in self._weights
        ]

    # The state of a training, as named arrays.

    @property
    def variables(self) -> dict[str, Sequence[keras.Variable]]:
        return {
            "weight": self._weights,
            "other": self._others,
            "optimizer": self._optimizer.variables,
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

    # What is done.

    def first_states(self, batch_size: int, parts: int = 1) -> list[States]:
        """Returns zeros, for each part of a batch."""
        rows = batch_size // parts
        return [self.model.initial_states(rows) for _ in range(parts)]

    def tensor(self, array: np.ndarray, like: Any) -> Any:
        """Returns an array as a tensor of the dtype of another."""
        dtype = keras.backend.standardize_dtype(like.dtype)
        return keras.ops.convert_to_tensor(array, dtype)

    def update(
        self,
        tokens: np.ndarray,
        states: list[States],
        rate: float,
        average_rate: float,
    ) -> tuple[float, list[States]]:
        """Takes a training step on a window.

        Args:
            tokens: int32 [B, T+1]; each but the first is a target.
            states: Before it, for each part of the batch.
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

    def adapt(
        self, tokens: np.ndarray, states: States, rate: float
    ) -> tuple[np.ndarray, States]:
        """Scores a window, then takes a gradient step on it, clipped."""
        nats, states = self._adapt(*_pair(tokens), states, _float(rate))
        return np.array(nats), states

    # Their programs.

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

    def _update_step(
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

    def _add_step(
        self, inputs: Any, targets: Any, states: States
    ) -> tuple[Any, States]:
        loss, gradients, states = self._gradients(inputs, targets, states)
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign(total + gradient)
        return loss, states

    def _apply_step(self, rate: Any, average_rate: Any) -> Any:
        num = self._config.micro_batches
        self._step([total / num for total in self._sums], rate, average_rate)
        for total in self._sums:
            total.assign(keras.ops.zeros(total.shape))
        return rate

    def _step(
        self, gradients: Sequence[Any], rate: Any, average_rate: Any
    ) -> None:
        gradients = clipped(gradients, self._recipe.clip_norm)
        decay = self._recipe.weight_decay
        gradients = decayed(gradients, self._weights, decay)
        self._optimizer.learning_rate = rate
        apply(self._optimizer, gradients, self._weights)
        for average, w in zip(self._averages, self._weights, strict=False):
            average.assign(average + average_rate * (w - average))

    def _score_step(
        self, inputs: Any, targets: Any, states: States
    ) -> tuple[Any, States]:
        # keras.layers.RNN draws its masks even where it does not use them;
        # how often one scores must not change the training.
        held = [keras.ops.copy(v.value) for v in self._others]
        losses = losses_of(self.model, inputs, targets, states, False)
        for generator, state in zip(self._others, held, strict=True):
            generator.assign(state)
        return losses.nats, losses.states

    def _adapt_step(
        self, inputs: Any, targets: Any, states: States, rate: Any
    ) -> tuple[Any, States]:
        def objective() -> tuple[Any, Losses]:
            losses = losses_of(self.model, inputs, targets, states, False)
            return keras.ops.mean(losses.nats), losses

        _, gradients, losses = compilation.value_and_gradients(
            objective, self._weights, self._others
        )
        gradients = clipped(gradients, self._recipe.clip_norm)
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.assign(weight - rate * gradient)
        return losses.nats, losses.states


def _pair(tokens: np.ndarray) -> tuple[Any, Any]:
    """Returns inputs and targets, tensors int32 [B, T]."""
    return (
        keras.ops.convert_to_tensor(tokens[:, :-1], "int32"),
        keras.ops.convert_to_tensor(tokens[:, 1:], "int32"),
    )


def _float(value: float) -> Any:
    # A Python number would be a constant of the program, traced anew for each.
    return keras.ops.convert_to_tensor(value, "float32")
