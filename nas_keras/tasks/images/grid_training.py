"""A small grid of trainings, of which validation chooses one.

    train_grid(config, grid, images, workdir) -> GridEpoch, GridEpoch, ...

Each is a whole training, continued like every other; the test figures that
count are those of the chosen one.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from nas_keras.data.images import ImageSet
from nas_keras.storage import files
from nas_keras.storage import run_config
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.images.grid import Grid
from nas_keras.tasks.images.grid import GridTraining
from nas_keras.tasks.images.grid import check_trainings
from nas_keras.tasks.images.grid import folder_of
from nas_keras.tasks.images.grid import grid_settings
from nas_keras.tasks.images.grid import grid_trainings
from nas_keras.tasks.images.network import network_of
from nas_keras.tasks.images.steps import check_replicas
from nas_keras.tasks.images.training import ImageEpoch
from nas_keras.tasks.images.training import train_images
from nas_keras.tasks.training.files import exclusive_workdir
from nas_keras.tasks.training.loop import TrainingError
from nas_keras.tasks.training.loop import Update
from nas_keras.tasks.training.replicas import OneReplica
from nas_keras.tasks.training.replicas import Replicas


@dataclasses.dataclass(frozen=True)
class GridEpoch:
    """An epoch of one training of a grid.

    Attributes:
        number: Of the training, from 0.
        folder: Of the training.
        epoch: Its `ImageEpoch`.
    """

    number: int
    folder: Path
    epoch: ImageEpoch


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
    _check(trainings, images, replicas)
    held: AbstractContextManager[None] = contextlib.nullcontext()
    if is_chief:
        held = exclusive_workdir(workdir, {"settings": settings}, ())
    rows, rest = [], (on_update, replicas, network)
    with held:
        for number, (its, changed, _) in enumerate(trainings):
            folder = workdir / folder_of(number)
            epochs, problem = [], ""
            try:
                for epoch in train_images(changed, images, folder, *rest):
                    epochs.append(epoch)
                    yield GridEpoch(number, folder, epoch)
            except TrainingError as error:
                problem = str(error)
            accuracy = -1.0 if problem else _accuracy(changed, epochs)
            rows.append({**its, "accuracy": accuracy, "problem": problem})
        best = _best(rows)
        if is_chief:
            _write_result(workdir, rows, best)


def _check(
    trainings: Sequence[GridTraining], images: ImageSet, replicas: Replicas
) -> None:
    """Refuses a grid with a training that would not begin."""
    built = set()

    def check(training: GridTraining) -> None:
        its, spec = training.config, training.spec
        its.check_images(images)
        check_replicas(its, replicas)
        # Whether there is an auxiliary head and what is dropped, a network
        # may not go with; the rest of a configuration goes with any.
        kind = (spec.fingerprint, its.auxiliary_weight > 0, its.drop_path > 0)
        if kind not in built:
            network_of(its, spec, images.image_shape, images.num_classes)
            built.add(kind)

    check_trainings(trainings, check)


def _accuracy(config: ImageConfig, epochs: Sequence[ImageEpoch]) -> Any:
    """Returns the validation accuracy of the weights that a training keeps."""
    accuracies: list[Any] = [epoch.validation_accuracy for epoch in epochs]
    return max(accuracies) if config.select == "best" else accuracies[-1]


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
