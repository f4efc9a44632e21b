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

from nas_keras.convnets.files import load_convnet
from nas_keras.data.images import ImageSet
from nas_keras.storage import files
from nas_keras.tasks.image_classification import ImageEpoch
from nas_keras.tasks.image_classification import train_images
from nas_keras.tasks.image_config import ImageConfig
from nas_keras.tasks.image_config import NetSpec
from nas_keras.tasks.image_config import resized
from nas_keras.tasks.image_grid import Grid
from nas_keras.tasks.image_grid import folder_of
from nas_keras.tasks.image_grid import grid_changes
from nas_keras.tasks.replicas import Replicas
from nas_keras.tasks.training_loop import TrainingError
from nas_keras.tasks.training_loop import Update
from nas_keras.tasks.training_loop import exclusive_workdir


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

    One that diverges is noted; the others may do.

    Args:
        config: What the grid changes.
        grid: See `grid_changes`.
        images: They have validation images.
        workdir: Has a folder `grid/NN` for each training, and at the end a
            `result.json`: that of the training with the highest validation
            accuracy, and the table `grid` of all.
        on_update, replicas, network: As for `train_images`.

    Yields:
        A `GridEpoch` after each epoch.

    Raises:
        ValueError: As `grid_changes` and `train_images` raise, or if there
            are no validation images.
        TrainingError: If all trainings diverged.
    """
    if not len(images.validation.labels):
        raise ValueError(
            "num_validation must be positive with a grid, which validation "
            "chooses from. Received: num_validation=0."
        )
    changes = grid_changes(config, grid)
    workdir, is_chief = Path(workdir), replicas is None or replicas.is_chief
    spec = resized(network or load_convnet(config.network), config.filters)
    settings = {**config.settings(spec, images), "grid": dict(grid)}
    held: AbstractContextManager[None] = contextlib.nullcontext()
    if is_chief:
        held = exclusive_workdir(workdir, {"settings": settings}, ())
    rows, rest = [], (on_update, replicas, network)
    with held:
        for number, its in enumerate(changes):
            changed = dataclasses.replace(config, **its)
            folder = workdir / folder_of(number)
            accuracies, problem = [], ""
            try:
                for epoch in train_images(changed, images, folder, *rest):
                    accuracies.append(epoch.validation_accuracy)
                    yield GridEpoch(number, folder, epoch)
            except TrainingError as error:
                problem = str(error)
            accuracy = -1.0
            if not problem:
                is_best = changed.select == "best"
                accuracy = max(accuracies) if is_best else accuracies[-1]
            rows.append({**its, "accuracy": accuracy, "problem": problem})
        best = _best(rows)
        if is_chief:
            _write_result(workdir, rows, best)


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
