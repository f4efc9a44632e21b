"""What configurations share: checks of their values, units from a size.

No TensorFlow, no Keras.
"""

import bisect
import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import ClassVar

_MAX_THREADS = 1_024  # TensorFlow starts them all.


class CheckedConfig:
    """Checks of the attributes of a frozen configuration.

    Attributes:
        NEEDS: What some attributes need, or they are ignored: the name of
            another, and the values that it may then have.
    """

    NEEDS: ClassVar[Mapping[str, tuple[str, tuple[Any, ...]]]] = {}

    def ignored(self, names: Iterable[str]) -> dict[str, str]:
        """Returns which attributes are ignored, and where they are.

        Args:
            names: Of attributes.
        """
        found = {}
        for name in names:
            if name not in self.NEEDS:
                continue
            other, allowed = self.NEEDS[name]
            value = getattr(self, other)
            if value not in allowed:
                found[name] = (
                    f"where {other} is none of {list(allowed)}. Received: "
                    f"{other}={value!r}."
                )
        return found

    def _check(self, good: bool, name: str, rule: str) -> None:
        if not good:
            raise ValueError(
                f"{name} must be {rule}. Received: "
                f"{name}={getattr(self, name)!r}."
            )

    def _check_int(self, name: str, low: int, bits: int = 63) -> None:
        value = getattr(self, name)
        good = isinstance(value, int) and not isinstance(value, bool)
        self._check(good and value >= low, name, f"an int of at least {low}")
        self._check(value < 2**bits, name, f"below 2**{bits}")

    def _check_threads(self, name: str) -> None:
        self._check_int(name, 0)
        rule = f"at most {_MAX_THREADS}"
        self._check(getattr(self, name) <= _MAX_THREADS, name, rule)

    def _check_choice(self, name: str, allowed: Iterable[str]) -> None:
        allowed = tuple(allowed)
        self._check(getattr(self, name) in allowed, name, f"one of {allowed}")

    def _check_in_unit(self, name: str) -> None:
        self._check(0 <= getattr(self, name) < 1, name, "in [0, 1)")

    def _check_one_of(self, one: str, other: str) -> None:
        """Refuses two that say the same unless one is positive, the other 0."""
        values = getattr(self, one), getattr(self, other)
        if bool(values[0]) == bool(values[1]):
            raise ValueError(
                f"One of {one} and {other} must be positive, the other 0. "
                f"Received: {one}={values[0]}, {other}={values[1]}."
            )

    def _check_number(self, name: str, is_zero_good: bool) -> None:
        value = getattr(self, name)
        good = 0 < value < math.inf or (is_zero_good and value == 0)
        rule = (
            "finite and not negative" if is_zero_good else "positive and finite"
        )
        self._check(good, name, rule)


def most_units(count: Callable[[int], int], num: int, cell: str) -> int:
    """Returns the most units of a model that fit `num` weights.

    Args:
        count: Returns the weights of a model of a number of units.
        num: Weights.
        cell: Name of its cell, for the message.

    Raises:
        ValueError: If a model of one unit has more.
    """
    if count(1) > num:
        raise ValueError(
            f"A model of one unit of cell {cell!r} has {count(1)} "
            f"parameters. Received: {num} parameters."
        )
    # A unit has a weight at least, so no more than `num` units have `num`.
    return bisect.bisect_right(range(1, num + 1), num, key=count)
