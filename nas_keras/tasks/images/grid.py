"""A small grid of trainings, of which validation chooses one.

    train_grid(config, grid, images, workdir) -> GridEpoch, GridEpoch, ...

Zoph & Le vary a few values after their search. Each is a whole training,
resumed like every other; the test figures that count are those of the chosen
one. Keras is imported when a grid is trained.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from nas_keras.data.images import ImageSet
from nas_keras.distribute.replicas import OneReplica
from nas_keras.distribute.replicas import Replicas
from nas_keras.settings import Change
from nas_keras.settings import Rule
from nas_keras.settings import changed
from nas_keras.settings import fields_of
from nas_keras.storage import files
from nas_keras.storage import run_config
from nas_keras.tasks.images.config import OPTIMIZERS
from nas_keras.tasks.images.config import SCHEDULES
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.training.files import exclusive_workdir
from nas_keras.tasks.training.loop import TrainingError
from nas_keras.tasks.training.loop import Update

if TYPE_CHECKING:
    from nas_keras.tasks.images.training import ImageEpoch

Grid = Mapping[str, Sequence[Any]]


# What decides the images is no choice of a training; nor is what makes none
# better: threads are the process's.
_FIXED = (
    *("preset", "data", "training", "num_threads"),
    *("scored_epochs", "snapshot_updates"),
)


def _names() -> dict[str, tuple[str, Rule]]:
    """Returns the dotted name and the rule of each setting that may vary."""
    classes = [("", ImageConfig), ("training.", ImageTraining)]
    for field, options in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        for option in options.values():
            cls = option if isinstance(option, type) else type(option)
            classes.append((f"training.{field}.", cls))
    return {
        field.name: (path + field.name, field.metadata["rule"])
        for path, cls in classes
        for field in fields_of(cls)
        if field.name not in _FIXED and field.type is not bool
    }


_NAMES = _names()

# What the grid of Zoph & Le after their search varies: rate, decay, epsilon,
# epoch of the decay. Which values they tried is not published: these are ours.
PAPER_GRID = {
    "learning_rate": (0.05, 0.1),
    "weight_decay": (1e-4, 5e-4),
    "norm_epsilon": (1e-5, 1e-3),
    "decay_from": (0.5, 0.7),
}


def grid_from_text(text: str) -> dict[str, list[Any]]:
    """Returns the values of a grid by the names of settings.

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
        try:
            if name not in _NAMES or name in grid:
                raise ValueError
            parse = _NAMES[name][1].parse
            grid[name] = [parse(value) for value in values.split(",")]
        except ValueError:
            raise ValueError(
                "A grid must be 'paper', or NAME=VALUE,VALUE for some of "
                f"{list(_NAMES)}, once each. Received: {part!r} in {text!r}."
            ) from None
    return grid


def grid_changes(config: ImageConfig, grid: Grid) -> list[dict[str, Any]]:
    """Returns the changes of each training of a grid, the last name fastest.

    Args:
        config: What is changed.
        grid: Values by the names of settings; of an optimizer or a schedule,
            its name.

    Raises:
        ValueError: If the grid is empty, a list is empty or has a value
            twice, a name is none of a setting that may vary, the schedule or
            the optimizer has no such setting, or a value is out of range.
    """
    for name, values in grid.items():
        if name not in _NAMES:
            raise ValueError(
                f"A grid must be of some of {list(_NAMES)}. Received: {name!r}."
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
        _changed(config, its)
    return changes


def _changed(config: ImageConfig, changes: Mapping[str, Any]) -> ImageConfig:
    dotted = {
        _NAMES[name][0]: Change(name, value) for name, value in changes.items()
    }
    return changed(config, dotted)


class GridTraining(NamedTuple):
    """One training of a grid.

    Attributes:
        changes: Values that it has of the grid, by name.
        config: The whole configuration.
        spec: Its network.
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
        network: Network in the place of the one that `config.network` names.

    Raises:
        ValueError: As `grid_changes` and `ImageConfig.spec` raise, or if there
            is a network beside a grid of networks.
    """
    if network is not None and "network" in grid:
        raise ValueError(
            "network must be left out with a grid of networks. Received: "
            f"network={network.name!r} and a grid of network="
            f"{tuple(grid['network'])}."
        )
    trainings = []
    for number, its in enumerate(grid_changes(config, grid)):
        with _naming(number, its):
            whole = _changed(config, its)
            trainings.append(GridTraining(its, whole, whole.spec(network)))
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


def folder_of(number: int) -> str:
    """Returns the folder of a training of a grid, below its workdir."""
    return f"grid/{number:02d}"


# Their training.


@dataclasses.dataclass(frozen=True)
class GridEpoch:
    """An epoch of one training of a grid.

    Attributes:
        number: Number of the training, from 0.
        folder: Folder of the training.
        epoch: Its `ImageEpoch`.
    """

    number: int
    folder: Path
    epoch: "ImageEpoch"


def train_grid(
    config: ImageConfig,
    grid: Grid,
    images: ImageSet,
    workdir: Path,
    on_update: Callable[[Update], None] = lambda update: None,
    replicas: Replicas | None = None,
    network: NetSpec | None = None,
) -> Iterator[GridEpoch]:
    """Trains with each of a grid's configurations, one after the other.

    One that diverges is noted; the others may do. All are checked, with their
    networks, before the first.

    Args:
        config: What the grid changes.
        grid: See `grid_changes`.
        images: They have validation images.
        workdir: Has a folder `grid/NN` for each training, and at the end a
            `result.json`: that of the training with the highest validation
            accuracy, and the table `grid` of all.
        on_update, replicas, network: As for `train_images`; a grid of networks
            leaves `network` out.

    Yields:
        A `GridEpoch` after each epoch.

    Raises:
        ValueError: As `grid_trainings` and `train_images` raise, or if there
            are no validation images; nothing is written then.
        TrainingError: If all trainings diverged.
    """
    from nas_keras.tasks.images.training import train_images

    if not len(images.validation.labels):
        raise ValueError(
            "num_validation must be positive with a grid, which validation "
            "chooses from. Received: num_validation=0."
        )
    replicas, workdir = replicas or OneReplica(), Path(workdir)
    is_chief = replicas.is_chief
    trainings = grid_trainings(config, grid, network)
    settings = grid_settings(config, grid, trainings, images)
    run_config.check(workdir, {"settings": settings})
    _check_all(trainings, images, replicas)
    rows, rest = [], (on_update, replicas, network)
    with contextlib.ExitStack() as held:
        if is_chief:
            held.enter_context(
                exclusive_workdir(workdir, {"settings": settings}, ())
            )
        for number, (its, whole, _) in enumerate(trainings):
            folder = workdir / folder_of(number)
            epochs, problem = [], ""
            try:
                for epoch in train_images(whole, images, folder, *rest):
                    epochs.append(epoch)
                    yield GridEpoch(number, folder, epoch)
            except TrainingError as error:
                problem = str(error)
            accuracy = -1.0 if problem else _accuracy(whole.training, epochs)
            rows.append({**its, "accuracy": accuracy, "problem": problem})
        best = _best(rows)
        if is_chief:
            _write_result(workdir, rows, best)


def _check_all(
    trainings: Sequence[GridTraining], images: ImageSet, replicas: Replicas
) -> None:
    """Refuses a grid with a training that would not begin."""
    from nas_keras.tasks.images import steps

    built = set()

    def check(training: GridTraining) -> None:
        its, spec = training.config.training, training.spec
        its.check_images(images)
        steps.check_replicas(its, replicas)
        # Whether there is an auxiliary head and what is dropped, a network
        # may not go with; the rest of a training goes with any.
        kind = (spec.fingerprint, its.auxiliary_weight > 0, its.drop_path > 0)
        if kind not in built:
            steps.network_of(its, spec, images.image_shape, images.num_classes)
            built.add(kind)

    check_trainings(trainings, check)


def _accuracy(training: ImageTraining, epochs: Sequence["ImageEpoch"]) -> Any:
    """Returns the validation accuracy of the weights that a training keeps."""
    accuracies: list[Any] = [
        epoch.validation_accuracy
        for epoch in epochs
        if epoch.validation_accuracy is not None
    ]
    return max(accuracies) if training.select == "best" else accuracies[-1]


def _best(rows: Sequence[Mapping[str, Any]]) -> int:
    """Returns the number of the first of the most accurate trainings."""
    best = max(range(len(rows)), key=lambda k: rows[k]["accuracy"])
    if rows[best]["problem"]:
        raise TrainingError(
            f"all {len(rows)} trainings of the grid diverged; the last: "
            f"{rows[-1]['problem']}"
        )
    return best


def _write_result(
    workdir: Path, rows: Sequence[Mapping[str, Any]], best: int
) -> None:
    result = files.read_json(workdir / folder_of(best) / "result.json")
    table = [
        {**row, "accuracy": None if row["problem"] else row["accuracy"]}
        for row in rows
    ]
    result |= {"grid": table, "chosen": best, "folder": folder_of(best)}
    files.write_json(workdir / "result.json", result)
