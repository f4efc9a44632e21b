"""What a training leaves in its workdir: whose it is, and weights.

Snapshots, from which a training goes on, are `training_loop.py`'s. Needs NumPy
only.
"""

import contextlib
import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_keras.storage import checkpoints
from nas_keras.storage import files
from nas_keras.storage import locks
from nas_keras.storage import run_config


@contextlib.contextmanager
def exclusive_workdir(
    workdir: Path, settings: Mapping[str, Any], folders: Sequence[str]
) -> Iterator[None]:
    """Holds the workdir of a training, made and cleaned up, for this process.

    Args:
        workdir: It need not exist.
        settings: As for `run_config.check`.
        folders: Its own folders that files are written to.

    Raises:
        ValueError: If it belongs to another configuration or is in use;
            nothing is written then.
    """
    run_config.check(workdir, settings)
    workdir.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(workdir):
        for folder in ("", *folders):
            files.remove_temporary(workdir / folder)
        run_config.write(workdir, settings)
        yield


def save_weights(
    folder: Path,
    updates: int,
    weights: Sequence[np.ndarray],
    num_kept: int = checkpoints.NUM_KEPT,
) -> None:
    """Writes weights, whole or not at all; the last ones are kept."""
    arrays = {f"{k:04d}": array for k, array in enumerate(weights)}
    checkpoints.save(folder, updates, arrays, num_kept)


def load_weights(folder: Path, updates: int) -> list[np.ndarray] | None:
    """Returns what was saved after so many updates, or None if damaged."""
    arrays = checkpoints.load(folder, updates)
    if arrays is None:
        return None
    return [array for _, array in sorted(arrays.items())]


def read_rollbacks(path: Path) -> int:
    """Returns how often a training has gone back, as its file says.

    Raises:
        ValueError: If the file is damaged; the message names it.
    """
    rollbacks = files.read_json(path)
    if not isinstance(rollbacks, dict) or not isinstance(
        rollbacks.get("number"), int
    ):
        raise ValueError(f"{path}: damaged, it has no 'number'.")
    return rollbacks["number"]


def save_model(model: Any, path: str | os.PathLike) -> None:
    """Writes a Keras model as a `.keras` file, whole or not at all."""
    path = Path(path)
    temporary = files.temporary_path(path, ".keras")
    try:
        model.save(temporary)
        data = temporary.read_bytes()
    finally:
        temporary.unlink(missing_ok=True)
    files.write_atomically(path, data)


def keep_best(
    workdir: Path,
    best_updates: int,
    updates: int,
    weights: Callable[[], Sequence[np.ndarray]],
) -> None:
    """Has `best/` hold the best weights of a training, and none newer.

    The training's history says which epoch was the best. What was written of
    an epoch that was begun anew, killed or rolled back before its end was on
    record, may have been the best then and not be now. The weights that were
    the best before stay beside the new ones, for an epoch that is begun anew.

    Args:
        workdir: Of the training.
        best_updates: Those after which the best epoch so far was over.
        updates: Those after which the last epoch was over.
        weights: Returns the weights of the last epoch.
    """
    folder = workdir / "best"
    newest = checkpoints.newest_step(folder)
    if best_updates == updates:
        save_weights(folder, updates, weights())
    elif newest is not None and newest > best_updates:
        checkpoints.forget_newest(folder)


def best_arrays(workdir: Path, updates: int | None = None) -> list[np.ndarray]:
    """Returns the weights that a training has kept as its best.

    Args:
        workdir: Of the training.
        updates: Those after which the best epoch was over, as its history
            says; None: of the newest, which is the best between two epochs.

    Raises:
        ValueError: If there are none, or they are damaged.
    """
    folder = Path(workdir) / "best"
    step = checkpoints.newest_step(folder) if updates is None else updates
    # Not an older one in its place: that is not the best.
    weights = None if step is None else load_weights(folder, step)
    if weights is None:
        after = "" if step is None else f" after {step} updates"
        raise ValueError(
            f"{folder}: the best weights{after} are damaged or gone. Restore "
            "them from a copy, or train in another workdir."
        )
    return weights
