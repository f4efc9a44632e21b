"""Cells of equal size, for fair comparisons."""

import bisect
import os
from collections.abc import Callable

from nas_keras.cells.language.graph import WidthError
from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.checks import checked_int


def units_for_parameters(
    spec: CellSpec | str | os.PathLike,
    n: int,
    input_width: int | None = None,
    projection: int | None = None,
    use_bias: bool = False,
) -> int:
    """Returns the most units whose cell has at most `n` weights.

    So cells are compared at equal size, whatever their equations.

    Args:
        spec: `CellSpec`, the name of a cell, or the path of its JSON file.
        n: Positive int, the most weights, as `CellSpec.cost` counts them.
        input_width: Positive int, D; None for inputs as wide as the units, as
            in stacked layers.
        projection: Positive int, the width of the output, or None for the
            units.
        use_bias: Whether linear terms other than `linear(x)` have a bias.

    Raises:
        ValueError: If an argument breaks its rule, if a cell of one unit has
            more than `n` weights or a cell of any number has none, or if the
            equations fit no units but those of one width.

    Example:

    >>> units_for_parameters("lstm", 1_000_000)
    353
    >>> units_for_parameters("nascell", 1_000_000)
    250
    """
    spec = spec if isinstance(spec, CellSpec) else load_spec(spec)
    checked_int(n, "n", 1)
    if input_width is not None:
        checked_int(input_width, "input_width", 1)
    if projection is not None:
        checked_int(projection, "projection", 1)

    def parameters(units: int) -> int:
        width = units if input_width is None else input_width
        return spec.cost(width, units, projection, use_bias).parameters

    try:
        least = parameters(1)
        if least == 0:
            raise ValueError(
                f"A cell {spec.name!r} of any units has no weights."
            )
        if least > n:
            raise ValueError(
                f"n must be at least {least}, the weights of a cell "
                f"{spec.name!r} of one unit. Received: n={n}."
            )
        # A unit has a weight at least, so no more than n units have n.
        return bisect.bisect_right(range(1, n + 1), n, key=parameters)
    except WidthError as error:
        raise ValueError(
            f"cell {spec.name!r}: equation {error.equation + 1} "
            f"({spec.equations[error.equation]!r}) joins widths that differ "
            "for all units but one. Received: "
            f"input_width={input_width}, projection={projection}."
        ) from None


def most_units(count: Callable[[int], int], num: int, cell: str) -> int:
    """Returns the most units of a model that has at most `num` weights.

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
