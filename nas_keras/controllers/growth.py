"""Searches whose networks grow: a schedule, and a controller's larger state.

NumPy only: a state is a dict of named arrays.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from nas_keras.controllers.controller import Controller


@dataclasses.dataclass(frozen=True)
class DepthSchedule:
    """How many layers the networks of a search have, and for how long.

    Attributes:
        first: Layers of the first stage.
        step: How many more each further stage has.
        samples: Architectures of a stage.
        last: Layers of the last stage.

    Raises:
        ValueError: If one is no int of at least 1, or whole steps do not lead
            from the first number of layers to the last.

    Example:

    >>> DepthSchedule(last=10).stages()
    ((6, 1600), (8, 1600), (10, 1600))

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), section 4.1.
    """

    first: int = 6
    step: int = 2
    samples: int = 1600
    last: int = 20

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            is_int = isinstance(value, int) and not isinstance(value, bool)
            if not is_int or value < 1:
                raise ValueError(
                    f"{field.name} must be an int of at least 1. Received: "
                    f"{field.name}={value!r}."
                )
        if self.last < self.first or (self.last - self.first) % self.step:
            raise ValueError(
                "last must be first and whole steps more. Received: "
                f"first={self.first}, step={self.step}, last={self.last}."
            )

    def stages(self) -> tuple[tuple[int, int], ...]:
        """Returns (layers, architectures) of each stage."""
        layers = range(self.first, self.last + 1, self.step)
        return tuple((number, self.samples) for number in layers)


def grown(
    state: Mapping[str, np.ndarray],
    old_controller: Controller,
    new_controller: Controller,
) -> dict[str, np.ndarray]:
    """Returns the state with which a controller of a larger space goes on.

    It proposes for the choices that the spaces share what the smaller does,
    with the same probabilities but for rounding, and goes on learning from
    there. Arrays of further choices are as in the new controller; so is the
    baseline, since rewards of larger networks are on another level.

    Args:
        state: Of the smaller controller.
        old_controller: The smaller controller, of which the space is read.
        new_controller: The larger controller, with its first state. It is left
            as it is: give it to `restore`.

    Raises:
        ValueError: If the larger space does not begin with the choices of the
            smaller, or the networks differ in more than their choices.

    Example:

    >>> from nas_keras.controllers import PolicyGradientController
    >>> from nas_keras.spaces import nas_conv_space
    >>> six, eight = (
    ...     PolicyGradientController(nas_conv_space(n)) for n in (6, 8)
    ... )
    >>> eight.restore(grown(six.state(), six, eight))
    """
    _check_beginning(old_controller, new_controller)
    larger = new_controller.state()
    if sorted(state) != sorted(larger):
        raise ValueError(
            "The larger controller must have the arrays of the smaller. It "
            f"lacks {sorted(set(state) - set(larger))} and has besides "
            f"{sorted(set(larger) - set(state))}."
        )
    for name, array in state.items():
        small, large = np.shape(array), np.shape(larger[name])
        if len(small) != len(large) or any(np.greater(small, large)):
            raise ValueError(
                f"{name!r} of the larger controller must be at least "
                f"{small}. Received: {large}."
            )
    return {
        name: array if name == "baseline" else _with_corner(array, state[name])
        for name, array in larger.items()
    }


def _check_beginning(old: Controller, new: Controller) -> None:
    few, many = old.space.choices, new.space.choices
    # Links that follow each other are made at one step: it must not grow.
    further = many[len(few) :]
    is_cut = further and further[0].link is not None
    if many[: len(few)] != few or (is_cut and few[-1].link is not None):
        raise ValueError(
            "The larger space must begin with the choices of the smaller, "
            f"{old.space.name}. Received: {new.space.name}."
        )


def _with_corner(array: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Returns a copy of an array that begins, in all axes, with another."""
    array = np.array(array)
    array[tuple(slice(size) for size in np.shape(corner))] = corner
    return array
