"""Checks of arguments that several modules take."""

import numbers
from typing import Any


def positive_int(value: Any, name: str) -> int:
    """Returns an argument as an int.

    Args:
        value: What was received.
        name: Of the argument.

    Raises:
        ValueError: If it is no positive int; a bool is none.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Integral)
        or value < 1
    ):
        raise ValueError(
            f"{name} must be a positive int. Received: {name}={value!r}."
        )
    return int(value)
