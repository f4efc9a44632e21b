"""What the chief keeps of a search on disk, and goes on from."""

import contextlib
import dataclasses
import importlib.util
import json
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.cells.language.spec import save_spec
from nas_keras.convnets.files import load_convnet
from nas_keras.convnets.files import save_convnet
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.share import Record
from nas_keras.distribute.share import Shares
from nas_keras.evaluators.trial import RECORD_TYPES
from nas_keras.evaluators.trial import Trial
from nas_keras.storage import checkpoints
from nas_keras.storage import files
from nas_keras.storage import guards
from nas_keras.storage import locks
from nas_keras.storage import run_config
from nas_keras.storage.events import ScalarLog
from nas_keras.storage.journal import Journal
from nas_keras.storage.journal import write_csv
from nas_keras.storage.pending import Pending

# Class of the best architecture of a search -> its file, which is read and
# written so.
_BEST: dict[type, tuple[str, Callable[..., Any], Callable[..., None]]] = {
    CellSpec: ("best_cell.json", load_spec, save_spec),
    ConvNetSpec: ("best_network.json", load_convnet, save_convnet),
    MicroNetSpec: ("best_network.json", load_convnet, save_convnet),
}

_VISIBLE_S = 120.0  # A network file system may show a new file this late.


@contextlib.contextmanager
def held(folder: Path, cluster: Cluster) -> Iterator[None]:
    """Holds a workdir for a cluster: the chief locks it, the others see it.

    Raises:
        ValueError: If another run holds it, or the folder of a worker is not
            that of the chief.
        PeerLostError: If a worker is lost.
    """
    if cluster.is_chief:
        folder.mkdir(parents=True, exist_ok=True)
        with locks.exclusive(folder) as holder:
            remove_temporary(folder)
            cluster.broadcast(holder.encode())
            yield
    else:
        holder = cluster.broadcast(b"").decode()
        _wait_to_see(folder, holder)
        yield


def _wait_to_see(folder: Path, holder: str) -> None:
    deadline_s = time.monotonic() + _VISIBLE_S
    while locks.holder_of(folder) != holder:
        if time.monotonic() > deadline_s:
            raise ValueError(
                f"workdir {str(folder)!r} must be a folder that all workers "
                "share. This worker does not see what the chief wrote there."
            )
        time.sleep(0.1)


@dataclasses.dataclass(frozen=True)
class Opening:
    """Where a search goes on.

    Attributes:
        records: Id -> the journal's line of each finished trial.
        step: Updates that the state has seen.
        state: Named arrays of the controller, as of `step`; empty at step 0.
    """

    records: Mapping[int, Record]
    step: int = 0
    state: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Returns the opening as a message to the other workers."""
        header = json.dumps([list(self.records.values()), self.step]).encode()
        return checkpoints.encode(
            {**self.state, "header": np.frombuffer(header, np.uint8)}
        )

    @classmethod
    def from_bytes(cls, message: bytes) -> "Opening":
        state = checkpoints.decode(message)
        records, step = json.loads(state.pop("header").tobytes())
        return cls({record["id"]: record for record in records}, step, state)


class Workdir:
    """The files of a search, written by the chief alone.

    Args:
        folder: Held by this process.
        config: What the results depend on, JSON-able, and the folder's own.
        num_trials: Trials in all.
        batch_size: B, trials of an update.

    Raises:
        ValueError: If the folder holds more trials, or is damaged.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        num_trials: int,
        batch_size: int,
    ):
        files.make_folder(folder)
        self._folder = folder
        self._batch_size = batch_size
        self._journal = Journal(folder / "trials.jsonl", RECORD_TYPES)
        self._steps = Journal(folder / "steps.jsonl", {"step": (int,)})
        self._workers = _statistics(folder / "workers.jsonl")
        self._pending = Pending(folder / "pending")
        self._events = _events(folder / "tensorboard")
        self._best: Trial | None = None
        self._has_new = False
        if len(self._journal.records) > num_trials:
            raise ValueError(
                f"workdir {str(folder)!r} holds {len(self._journal.records)} "
                "trials: a run can be made longer, not shorter. Received: "
                f"num_trials={num_trials}."
            )
        run_config.write(folder, {**config, "num_trials": num_trials})

    def opening(self) -> Opening:
        """Returns all that is finished, and the newest state that is whole.

        Raises:
            ValueError: If trials are missing that the state has seen.
        """
        journaled = self._journal.records
        records = {record["id"]: record for record in journaled}
        if sorted(records) != list(range(len(journaled))):
            raise ValueError(
                f"{self._journal.path}: trials are missing or given twice "
                f"among the {len(journaled)} lines. Restore the file from a "
                "copy; nothing was changed."
            )
        journaled_keys = set(map(pending_key, records))
        self._pending.remove(self._pending.keys() & journaled_keys)
        for record in self._pending.read().values():
            records[record["id"]] = record
        step, state = self._newest_state()
        return Opening(records, step, state)

    def _newest_state(self) -> tuple[int, Mapping[str, np.ndarray]]:
        num_stored = len(self._journal.records)
        snapshot = checkpoints.latest(self._folder / "checkpoints")
        if snapshot is None:
            if num_stored >= self._batch_size:
                logging.warning(
                    "No usable checkpoint: replaying %d trials of the journal.",
                    num_stored,
                )
            return 0, self.beginning()
        step, state = snapshot
        if num_stored < step * self._batch_size:
            raise ValueError(
                f"{self._folder}: the checkpoint has seen "
                f"{step * self._batch_size} trials and the journal holds "
                f"{num_stored}. Restore trials.jsonl from a copy; nothing was "
                "changed."
            )
        if len(self._steps.records) < step:
            logging.warning(
                "%s: updates are missing; replaying all of them.",
                self._steps.path,
            )
            return 0, self.beginning()
        logging.info("Going on after %d updates.", step)
        return step, state

    def keep(self, finished: Sequence[tuple[Trial, Record]]) -> None:
        """Writes trials that are not written yet, in the order of their ids.

        Args:
            finished: Trials and their journal lines.
        """
        before = self._best
        for trial, _ in finished:
            reward = trial.evaluation.reward
            best = self._best.evaluation.reward if self._best else None
            if reward is not None and (best is None or reward > best):
                self._best = trial
        num_written = len(self._journal.records)
        new = [pair for pair in finished if pair[0].id >= num_written]
        if not new:
            return
        self._has_new = True
        if self._best is not before:
            # The cell first: what the journal has has been kept.
            self._write_best()
        self._journal.append(*(record for _, record in new))
        self._pending.remove([pending_key(trial.id) for trial, _ in new])
        for trial, _ in new:
            score = trial.evaluation
            if score.reward is not None:
                values = {"reward": score.reward, **score.metrics}
                self._show("trial", trial.id, values)

    def keep_beginning(self, state: dict[str, np.ndarray]) -> None:
        """Writes the state before the first update, where it is no new one."""
        checkpoints.save(self._folder / "beginning", 0, state)

    def beginning(self) -> Mapping[str, np.ndarray]:
        """Returns what `keep_beginning` wrote, or nothing: a new one's."""
        return checkpoints.load(self._folder / "beginning", 0) or {}

    def keep_update(
        self, step: int, record: Mapping[str, Any], state: dict[str, np.ndarray]
    ) -> None:
        """Writes what an update did, and the state after it."""
        if step >= len(self._steps.records):
            self._steps.append({"step": step, **record})
            self._show("update", step, record)
        checkpoints.save(self._folder / "checkpoints", step + 1, state)

    def keep_shares(self, step: int, shares: Shares) -> None:
        """Writes who did how much of a step."""
        self._workers.append({"step": step, **dataclasses.asdict(shares)})

    def finish(self, owns_best: bool) -> None:
        """Writes what is made of the whole run.

        Args:
            owns_best: Whether the file of the best architecture is this
                search's alone. If not, what is there, and was there before,
                stays.
        """
        if owns_best or self._has_new or not self._has_best():
            self._write_best()
        write_csv(self._folder / "trials.csv", self._journal.records)

    def close(self) -> None:
        """Ends what is open."""
        if self._events is not None:
            self._events.close()

    def _show(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Writes TensorBoard events, if they can be."""
        if self._events is None:
            return
        tagged = {f"{kind}/{name}": values[name] for name in values}
        try:
            self._events.add(step, tagged)
        except OSError as error:  # Worth less than the run.
            logging.warning("No more events are written: %s.", error)
            self._events = None

    def _has_best(self) -> bool:
        for file, load, _ in _BEST.values():
            try:
                load(self._folder / file)
            except (ValueError, OSError):
                continue
            return True
        return False

    def _write_best(self) -> None:
        if self._best is None or type(self._best.spec) not in _BEST:
            return  # None, or an architecture of a user's space.
        spec = self._best.spec
        provenance = {
            **spec.provenance,
            "run": str(self._folder),
            "trial": self._best.id,
            "reward": self._best.evaluation.reward,
        }
        spec = dataclasses.replace(spec, provenance=provenance)
        save_best(spec, self._folder)


def save_best(spec: Any, folder: Path) -> None:
    """Writes the best architecture of a search into its workdir."""
    file, _, save = _BEST[type(spec)]
    save(spec, folder / file)


def _events(folder: Path) -> ScalarLog | None:
    """Returns a log for TensorBoard, if that is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    try:
        return ScalarLog(folder)
    except ImportError as error:  # Worth less than the run.
        logging.warning("No events are written. %s", error)
        return None


def _statistics(path: Path) -> Journal:
    """Returns a journal that is worth less than the run: no damage stops it."""
    try:
        return Journal(path, {"step": (int,)})
    except ValueError as error:
        logging.warning("%s It begins anew.", error)
        for file in (path, guards.guard_of(path)):
            file.unlink(missing_ok=True)
        return Journal(path, {"step": (int,)})


def pending_key(trial_id: int) -> str:
    """Returns the name of a trial among the pending results."""
    return f"{trial_id:08d}"


def remove_temporary(workdir: Path) -> None:
    """Removes what writers that were killed have left unfinished."""
    for part in (workdir, workdir / "random"):
        for name in (
            ".",
            "beginning",
            "checkpoints",
            "pending",
            "pending_retraining",
            "shared_weights",
        ):
            files.remove_temporary(part / name)
