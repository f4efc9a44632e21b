"""A small grid of configurations: what Zoph & Le vary after their search.

How they are trained is the business of `image_grid_training.py`. No TensorFlow,
no Keras.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from nas_keras.convnets.files import load_convnet
from nas_keras.data.images import ImageSet
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.images.config import check_use
from nas_keras.tasks.images.config import resized

Grid = Mapping[str, Sequence[Any]]
# What decides the images is no choice of a training; nor is what makes none
# better: threads are the process's.
_FIXED = (
    "preset",
    "dataset",
    "num_validation",
    "max_train",
    "split_seed",
    "snapshot_updates",
    "num_threads",
)
_KINDS: dict[str, Any] = {
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
        ValueError: If the grid is empty, a list is empty or has a value
            twice, a name is none of an attribute that may vary, schedule or
            optimizer ignore it, or a value is out of range.
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
        repeated = [v for k, v in enumerate(values) if v in values[:k]]
        if repeated:
            raise ValueError(
                "A grid must have each value of a name once. Received: "
                f"{repeated[0]!r} again in {name}={tuple(values)}."
            )
    if not grid:
        raise ValueError("A grid must have a name with values.")
    changes = [
        dict(zip(grid, values, strict=True))
        for values in itertools.product(*grid.values())
    ]
    for its in changes:
        check_use(dataclasses.replace(config, **its), grid)
    return changes


class GridTraining(NamedTuple):
    """One training of a grid.

    Attributes:
        changes: What it changes.
        config: The whole configuration.
        spec: Its network, as `resized` returns it.
    """

    changes: dict[str, Any]
    config: ImageConfig
    spec: NetSpec


def grid_trainings(
    config: ImageConfig, grid: Grid, network: NetSpec | None = None
) -> list[GridTraining]:
    """Returns all trainings of a grid, in the order of `grid_changes`.

    Args:
        config: What is changed.
        grid: As for `grid_changes`.
        network: To be used in place of the one that `config.network` names.

    Raises:
        ValueError: As `grid_changes`, `load_convnet` and `resized` raise, or
            if there is a network beside a grid of networks.
    """
    if network is not None and "network" in grid:
        raise ValueError(
            "network must be left out with a grid of networks. Received: "
            f"network={network.name!r} and a grid of network="
            f"{tuple(grid['network'])}."
        )
    trainings = []
    for number, its in enumerate(grid_changes(config, grid)):
        changed = dataclasses.replace(config, **its)
        with _naming(number, its):
            spec = network or load_convnet(changed.network)
            spec = resized(spec, changed.filters)
        trainings.append(GridTraining(its, changed, spec))
    return trainings


def check_trainings(
    trainings: Sequence[GridTraining],
    check: Callable[[GridTraining], None],
) -> None:
    """Calls a check of a training for each of them.

    Raises:
        ValueError: As the check; the message names the training.
    """
    for number, training in enumerate(trainings):
        with _naming(number, training.changes):
            check(training)


@contextlib.contextmanager
def _naming(number: int, changes: Mapping[str, Any]) -> Iterator[None]:
    """Has errors say which training of a grid they are of."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"training {number} of the grid, {dict(changes)}: {error}"
        ) from error


def grid_settings(
    config: ImageConfig,
    grid: Grid,
    trainings: Sequence[GridTraining],
    images: ImageSet,
) -> dict[str, Any]:
    """Returns what the results of a grid depend on, JSON-able."""
    values = {name: list(values) for name, values in grid.items()}
    # Of a grid of networks, the first.
    return {**config.settings(trainings[0].spec, images), "grid": values}


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
