"""What a training leaves in its workdir: whose it is, and weights.

Snapshots, from which a training goes on, are `training_loop.py`'s. Needs NumPy
only.
"""

import contextlib
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_keras.storage import checkpoints
from nas_keras.storage import configuration
from nas_keras.storage import files
from nas_keras.storage import locks


@contextlib.contextmanager
def exclusive_workdir(
    workdir: Path, settings: Mapping[str, Any], folders: Sequence[str]
) -> Iterator[None]:
    """Holds the workdir of a training, made and cleaned up, for this process.

    Args:
        workdir: It need not exist.
        settings: As for `configuration.check`.
        folders: Its own folders that files are written to.

    Raises:
        ValueError: If it belongs to another configuration or is in use;
            nothing is written then.
    """
    configuration.check(workdir, settings)
    workdir.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(workdir):
        for folder in ("", *folders):
            files.remove_temporary(workdir / folder)
        configuration.write(workdir, settings)
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


def best_arrays(workdir: Path) -> list[np.ndarray]:
    """Returns the weights that a training has kept as its best.

    Raises:
        ValueError: If there are none, or they are damaged.
    """
    folder = Path(workdir) / "best"
    step = checkpoints.newest_step(folder)
    # Not an older one in its place: that is not the best.
    weights = None if step is None else load_weights(folder, step)
    if weights is None:
        raise ValueError(f"{folder}: no best weights that are whole.")
    return weights
