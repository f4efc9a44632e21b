"""Checks of arguments that the modules of text share."""

import os
from typing import Any


def check(good: Any, name: str, rule: str, value: Any) -> None:
    """Raises a `ValueError` of argument, rule and value, unless good."""
    message = f"{name} must be {rule}. Received: {name}={value!r}."
    if not good:
        raise ValueError(message)


def given_path(
    name: str, value: str | os.PathLike | None, rule: str
) -> str | os.PathLike:
    """Returns a path; raises a `ValueError` of argument and rule if None."""
    if value is None:
        raise ValueError(f"{name} must be {rule}. Received: {name}=None.")
    return value


def check_int(name: str, value: Any, minimum: int) -> None:
    """Raises a `ValueError` unless the value is an int and large enough."""
    good = type(value) is int and value >= minimum  # A bool is not a number.
    check(good, name, f"an integer of at least {minimum}", value)
