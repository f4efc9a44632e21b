"""What learning rates fall by: pure functions of what is done."""

import math


def cosine(done: float, total: float = 1.0) -> float:
    """Returns the share of a rate that is left: from 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * done / total))


def parts_over(fraction: float, begin: float, num: int) -> int:
    """Returns how many parts of what follows a fraction are over.

    Args:
        fraction: Of the training that is done, from `begin` on.
        begin: Fraction that the parts begin at.
        num: Parts, all equal.
    """
    return int((fraction - begin) / (1 - begin) * num)
