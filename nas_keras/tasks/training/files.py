"""What a training leaves in its workdir: settings, snapshots, weights.

Needs NumPy only.
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


class Folder:
    """Snapshots and best weights of a training, in its workdir.

    Args:
        workdir: The training's own folder.
    """

    def __init__(self, workdir: Path):
        self._workdir = workdir
        self._snapshots = workdir / "checkpoints"
        self._best = workdir / "best"

    def save(self, updates: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps a snapshot, and the one before it."""
        checkpoints.save(self._snapshots, updates, arrays)

    def latest(self) -> dict[str, np.ndarray] | None:
        """Returns the newest snapshot that is whole, or None before the first.

        Raises:
            ValueError: If all are damaged.
        """
        found = checkpoints.latest(self._snapshots)
        if found is None and (self._snapshots / "manifest.json").exists():
            raise ValueError(
                f"{self._snapshots}: all snapshots are damaged. Remove the "
                "folder to train from the beginning."
            )
        return None if found is None else found[1]

    @property
    def newest_step(self) -> int | None:
        """Updates before the newest snapshot, whole or not."""
        return checkpoints.newest_step(self._snapshots)

    def forget_newest(self) -> None:
        """Drops the newest snapshot, unless it is the only one."""
        checkpoints.forget_newest(self._snapshots)

    def keep_best(
        self,
        best_updates: int,
        updates: int,
        weights: Callable[[], Sequence[np.ndarray]],
    ) -> None:
        """Has `best/` hold the best weights of a training, and none newer.

        The training's history says which epoch was the best. Weights of an
        epoch that was killed or rolled back before its end was on record may
        have been the best then and not be now. The weights that were the best
        before stay beside the new ones, for an epoch that is begun anew.

        Args:
            best_updates: Updates up to the end of the best epoch so far.
            updates: Updates up to the end of the last epoch.
            weights: Returns the weights of the last epoch.
        """
        newest = checkpoints.newest_step(self._best)
        if best_updates == updates:
            save_weights(self._best, updates, weights())
        elif newest is not None and newest > best_updates:
            checkpoints.forget_newest(self._best)

    def best_arrays(self, updates: int | None = None) -> list[np.ndarray]:
        """Returns the weights that the training has kept as its best.

        Args:
            updates: Updates up to the end of the best epoch, as the history
                says; None: of the newest, the best between two epochs.

        Raises:
            ValueError: If there are none, or they are damaged.
        """
        step = updates
        if step is None:
            step = checkpoints.newest_step(self._best)
        # Not an older one in its place: that is not the best.
        weights = None if step is None else load_weights(self._best, step)
        if weights is None:
            after = "" if step is None else f" after {step} updates"
            raise ValueError(
                f"{self._best}: the best weights{after} are damaged or gone. "
                "Restore them from a copy, or train in another workdir."
            )
        return weights

    @property
    def rollbacks(self) -> int:
        """How often the training went back to a snapshot.

        Raises:
            ValueError: If the file is damaged; the message names it.
        """
        path = self._workdir / "rollbacks.json"
        if not path.exists():
            return 0
        stored = files.read_json(path)
        if not isinstance(stored, dict) or not isinstance(
            stored.get("number"), int
        ):
            raise ValueError(f"{path}: damaged, it has no 'number'.")
        return stored["number"]

    @rollbacks.setter
    def rollbacks(self, number: int) -> None:
        files.write_json(self._workdir / "rollbacks.json", {"number": number})

    @property
    def has_result(self) -> bool:
        """Whether the training is done and its result written."""
        return (self._workdir / "result.json").exists()


class Memory:
    """What `Folder` does, in memory: of a training that nobody resumes."""

    has_result = False

    def __init__(self) -> None:
        self.rollbacks = 0
        self._snapshots: dict[int, Mapping[str, np.ndarray]] = {}
        self._best: dict[int, list[np.ndarray]] = {}

    def save(self, updates: int, arrays: Mapping[str, np.ndarray]) -> None:
        older = {k: a for k, a in self._snapshots.items() if k < updates}
        self._snapshots = dict([*older.items()][-1:]) | {updates: arrays}

    def latest(self) -> dict[str, np.ndarray] | None:
        step = self.newest_step
        return None if step is None else dict(self._snapshots[step])

    @property
    def newest_step(self) -> int | None:
        return max(self._snapshots, default=None)

    def forget_newest(self) -> None:
        if len(self._snapshots) > 1:
            del self._snapshots[max(self._snapshots)]

    def keep_best(
        self,
        best_updates: int,
        updates: int,
        weights: Callable[[], Sequence[np.ndarray]],
    ) -> None:
        self._best = {k: w for k, w in self._best.items() if k <= best_updates}
        if best_updates == updates:
            self._best = dict([*self._best.items()][-1:])
            self._best[updates] = list(weights())

    def best_arrays(self, updates: int) -> list[np.ndarray]:
        return self._best[updates]
