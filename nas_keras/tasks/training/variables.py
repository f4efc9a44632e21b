"""The variables of a training, as named arrays: what its snapshots hold.

Keras and NumPy only.
"""

import abc
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np


class TrainingVariables(abc.ABC):
    """What owns a model's weights and all else that its updates change."""

    @property
    @abc.abstractmethod
    def variables(self) -> dict[str, Sequence[keras.Variable]]:
        """The variables by group; the model's weights are `"weight"`."""

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

    def _named(self) -> dict[str, keras.Variable]:
        return {
            f"{name}/{place:04d}": variable
            for name, group in self.variables.items()
            for place, variable in enumerate(group)
        }
