"""A small grid of configurations: what Zoph & Le vary after their search.

How they are trained is the business of `image_grid_training.py`. No TensorFlow,
no Keras.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from nas_keras.tasks.image_config import ImageConfig

Grid = Mapping[str, Sequence[Any]]
# What decides the images is no choice of a training.
_FIXED = ("preset", "dataset", "num_validation", "max_train", "split_seed")
_KINDS = {
    field.name: field.type
    for field in dataclasses.fields(ImageConfig)
    if field.name not in _FIXED and field.type is not bool
}

# What the grid of Zoph & Le after their search varies: rate, decay, epsilon,
# epoch of the decay. Which values they tried is not published: these are ours.
PAPER_GRID = {
    "learning_rate": (0.05, 0.1),
    "weight_decay": (1e-4, 5e-4),
    "norm_epsilon": (1e-5, 1e-3),
    "decay_from": (0.5, 0.7),
}


def grid_changes(config: ImageConfig, grid: Grid) -> list[dict[str, Any]]:
    """Returns the changes of each training of a grid, the last name fastest.

    Args:
        config: What is changed.
        grid: Values by the names of attributes of the configuration.

    Raises:
        ValueError: If the grid is empty or has an empty list, a name is none
            of an attribute that may vary, or a value is out of range.
    """
    for name, values in grid.items():
        if name not in _KINDS:
            raise ValueError(
                f"A grid must be of some of {list(_KINDS)}. Received: {name!r}."
            )
        if not values:
            raise ValueError(
                f"A grid must have values of each name. Received: {name}=()."
            )
    if not grid:
        raise ValueError("A grid must have a name with values.")
    changes = [
        dict(zip(grid, values, strict=True))
        for values in itertools.product(*grid.values())
    ]
    for its in changes:
        dataclasses.replace(config, **its)
    return changes


def grid_from_text(text: str) -> dict[str, list[Any]]:
    """Returns the values of a grid by the names of attributes.

    Args:
        text: Such as `"learning_rate=0.05,0.1 seed=0,1"`; `"paper"`, for
            those of `PAPER_GRID`; or nothing, for none.

    Raises:
        ValueError: If it is otherwise.
    """
    if text == "paper":
        return {name: list(values) for name, values in PAPER_GRID.items()}
    grid: dict[str, list[Any]] = {}
    for part in text.split():
        name, _, values = part.partition("=")
        kind = _KINDS.get(name)
        try:
            if kind is None or name in grid:
                raise ValueError
            grid[name] = [kind(value) for value in values.split(",")]
        except ValueError:
            raise ValueError(
                "A grid must be 'paper', or NAME=VALUE,VALUE for some of "
                f"{list(_KINDS)}, once each. Received: {part!r} in {text!r}."
            ) from None
    return grid


def folder_of(number: int) -> str:
    """Returns the folder of a training of a grid, below its workdir."""
    return f"grid/{number:02d}"
