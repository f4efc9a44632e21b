"""Checks that the specs of image networks share. No TensorFlow, no Keras."""

import numbers
from collections.abc import Sequence
from typing import Any

from nas_keras.checks import checked_int


def listed(value: Any, name: str) -> Sequence[Any]:
    """Returns an argument that must be a list or a tuple."""
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"{name} must be a list. Received: {name}={value!r:.80}."
        )
    return value


def pair(value: Any, name: str) -> tuple[int, int]:
    """Returns (height, width) of an argument: an int for both, or two."""
    if isinstance(value, numbers.Integral):
        value = (value, value)
    if len(listed(value, name)) != 2:
        raise ValueError(
            f"{name} must be an int or (height, width). Received: "
            f"{name}={value!r:.80}."
        )
    height, width = (checked_int(side, name, 1) for side in value)
    return height, width


def one_of(known: Sequence[str], value: Any, name: str) -> None:
    """Raises a `ValueError` if an argument is none of those known."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(
            f"{name} must be one of {list(known)}. Received: "
            f"{name}={value!r:.80}."
        )
