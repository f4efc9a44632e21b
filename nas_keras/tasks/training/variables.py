"""The variables of a training: their dtypes, first values, named arrays.

Needs NumPy only.
"""

import abc
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

# Keras dtype policies that models are trained in. float16 would need its
# losses scaled.
PRECISIONS = ("float32", "mixed_bfloat16")


def initial_weights(
    shapes: Sequence[Sequence[int]], scale: float, seed: int
) -> list[np.ndarray]:
    """Returns float32 arrays uniform in [-scale, scale].

    Each depends on `seed`, its place and its shape alone.
    """
    arrays = []
    for place, shape in enumerate(shapes):
        bits = np.random.Philox(key=np.array([seed, place], np.uint64))
        uniform = np.random.Generator(bits).random(shape, np.float32)
        arrays.append((2 * uniform - 1) * np.float32(scale))
    return arrays


class TrainingVariables(abc.ABC):
    """Owner of a model's weights and of all else that updates change."""

    @property
    @abc.abstractmethod
    def variables(self) -> dict[str, Sequence[Any]]:
        """Keras variables by group; the model's weights are `"weight"`."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the values of all variables by name."""
        return {name: np.array(v) for name, v in self._named().items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Sets all variables to what `arrays` has returned."""
        for name, variable in self._named().items():
            variable.assign(arrays[name])

    def weights(self) -> list[np.ndarray]:
        """Returns the model's trainable weights."""
        return [np.array(w) for w in self.variables["weight"]]

    def set_weights(self, arrays: Sequence[np.ndarray]) -> None:
        """Sets the model's trainable weights."""
        weights = self.variables["weight"]
        for weight, array in zip(weights, arrays, strict=True):
            weight.assign(array)

    def _named(self) -> dict[str, Any]:
        return {
            f"{name}/{place:04d}": variable
            for name, group in self.variables.items()
            for place, variable in enumerate(group)
        }
