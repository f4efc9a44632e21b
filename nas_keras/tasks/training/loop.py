"""A training of any task: epochs, snapshots, recovery from divergence.

    class Mine(TrainingLoop): ...    what a batch, an update, an epoch is
    Mine(workdir, ...).run() -> record, record, ...    one for each epoch

Everything that the rest of a training depends on is in its snapshots, and all
chance is a function of the seed and the place: killed anywhere and resumed, it
ends with the same weights, if equal updates are equal. Without a workdir the
snapshots are in memory. Needs NumPy only.
"""

import abc
import dataclasses
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

from nas_keras.distribute.replicas import OneReplica
from nas_keras.distribute.replicas import Replicas
from nas_keras.storage import checkpoints
from nas_keras.tasks.training.files import Folder
from nas_keras.tasks.training.files import Memory

Record = dict[str, Any]  # Of an epoch, JSON-able.

MAX_ROLLBACKS = 3
# A uniform guess among a million tokens costs 14 nats: beyond this, finite or
# not, a model has diverged.
MAX_LOSS_NATS = 100.0


# Updates that are taken at once, if a task can: for so long, so that SIGTERM
# and a display wait no longer, and no more of them than this.
_AT_ONCE_S = 1.0
MOST_AT_ONCE = 50


class TrainingError(FloatingPointError):
    """A training that diverged too often to resume."""


class Diverged(Exception):
    """A loss or a weight that is of no use; holds what it was."""


@dataclasses.dataclass(frozen=True)
class Update:
    """How far an epoch has come, for a display.

    Attributes:
        epoch: From 1.
        batch: Batches done of it.
        num_batches: Batches of it.
        num_examples: Tokens or images that this update saw.
        examples_left: To be seen until the training ends.
        train_loss_nats: Mean over the epoch so far.
        elapsed_s: Of this update.
    """

    epoch: int
    batch: int
    num_batches: int
    num_examples: int
    examples_left: int
    train_loss_nats: float
    elapsed_s: float


@dataclasses.dataclass
class Place:
    """Where a training is.

    Attributes:
        epoch: From 0.
        batch: In the epoch, from 0.
        updates: In all.
        loss_sum: Of the epoch's batches, nats.
        average_from: Update that averages begin with, or None.
        elapsed_s: Of the epoch.
        history: The record of each epoch that is over.
    """

    epoch: int = 0
    batch: int = 0
    updates: int = 0
    loss_sum: float = 0.0
    average_from: int | None = None
    elapsed_s: float = 0.0
    history: list[Record] = dataclasses.field(default_factory=list)

    def best_epoch(self, signs: Mapping[str, int]) -> Record:
        """Returns the record of the best epoch; of equal ones, the first.

        Args:
            signs: What of a record says so, and what if that is equal: 1 if
                more of it is better, -1 if less.
        """

        def goodness(record: Record) -> list[float]:
            return [sign * record[name] for name, sign in signs.items()]

        return max(self.history, key=goodness)

    def encoded(self) -> np.ndarray:
        """Returns the place as an array for a snapshot."""
        text = json.dumps(dataclasses.asdict(self))
        return np.frombuffer(text.encode(), np.uint8)

    @classmethod
    def decoded(cls, array: np.ndarray) -> "Place":
        """Returns what `encoded` was called of."""
        return cls(**json.loads(array.tobytes()))


class TrainingLoop(abc.ABC):
    """Takes updates, epoch after epoch, and survives what goes wrong.

    Args:
        workdir: Folder of `checkpoints/`, `best/` and `rollbacks.json`. None:
            all of that is in memory, and nothing is left to resume from.
        num_epochs: Passes over the training data; the last may be a part.
        num_updates: Updates in all, if they end the training; else 0.
        snapshot_updates: Updates between snapshots.
        on_update: Is told of every update.
        replicas: What trains together; of several processes, which call all
            of this alike, the chief scores and writes.

    Attributes:
        place: Where it is.
        rate: Learning rate of the last update.
        rollbacks: How often it went back, in all.
    """

    def __init__(
        self,
        workdir: Path | None,
        num_epochs: float,
        num_updates: int,
        snapshot_updates: int,
        on_update: Callable[[Update], None],
        replicas: Replicas | None = None,
    ):
        self.workdir = workdir
        self.place = Place()
        self.rate = 0.0
        # Not in the snapshots: one that is gone back to stays as it is.
        self.rollbacks = 0
        self.num_epochs = num_epochs
        self._num_updates = num_updates
        self._snapshot_updates = snapshot_updates
        self._on_update = on_update
        self._store: Folder | Memory = (
            Memory() if workdir is None else Folder(workdir)
        )
        self._update_s: float | None = None  # Of the last update.
        self.replicas: Replicas = replicas or OneReplica()

    # What a task has of its own.

    # Against first weights that are of no use.
    first_weights_hint = (
        "Choose a smaller init_scale; for some cells there is none that serves "
        "many layers or units."
    )

    # See `Place.best_epoch`.
    best_by: Mapping[str, int]
    # Whether the weights of the best epoch are kept.
    keeps_best = True
    # Whether there is a snapshot after each epoch too.
    snapshots_epochs = True
    # Updates that `updates` takes at once, at most.
    most_at_once = 1

    @abc.abstractmethod
    def batches(self, epoch: int) -> Sequence[Any]:
        """Returns what each update of an epoch is given."""

    @abc.abstractmethod
    def num_examples(self, batch: Any) -> int:
        """Returns how many tokens, or images, an update on a batch sees."""

    @abc.abstractmethod
    def update(self, batch: Any, epochs: float) -> float:
        """Takes an update, of `rate`, and returns its loss in nats.

        Args:
            batch: One of `batches`.
            epochs: Done so far, with the fraction of the present one.
        """

    def updates(self, batches: Sequence[Any], epochs: float) -> list[float]:
        """Takes updates and returns the loss of each in nats.

        Args:
            batches: Consecutive ones of `batches`, at most `most_at_once`.
            epochs: Done before them, with the fraction of the present one.
        """
        return [self.update(batch, epochs) for batch in batches]

    @abc.abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all that updates change."""

    @abc.abstractmethod
    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Sets all that updates change to what `arrays` has returned."""

    @abc.abstractmethod
    def begin_epoch(self) -> None:
        """Sets what does not outlive an epoch to its beginning."""

    @abc.abstractmethod
    def scores(self) -> Record:
        """Returns the scores of the epoch that is over, JSON-able.

        Raises:
            Diverged: If they are of no use.
        """

    @abc.abstractmethod
    def result_arrays(self) -> list[np.ndarray]:
        """Returns the weights that the scores are of."""

    @abc.abstractmethod
    def write_result(self) -> None:
        """Writes the figures of a training that is done."""

    # The loop.

    def run(self) -> Iterator[Record]:
        """Trains to the end, or goes on; yields the record of each epoch.

        Raises:
            TrainingError: If the training diverged again after three times
                going back to a snapshot with half the rate.
            ValueError: If all snapshots are damaged.
        """
        self.rollbacks = self._stored_rollbacks()
        self.begin_epoch()
        if not self._go_to_newest():
            self._save()
        yield from self.place.history
        while not self._is_done():
            try:
                record = self._run_epoch()
            except Diverged as error:
                self._roll_back(str(error))
            else:
                yield record
        if self.replicas.is_chief and not self._store.has_result:
            self.write_result()

    def rate_factor(self) -> float:
        """Returns what rates are multiplied by: a half for each rollback."""
        return 0.5**self.rollbacks

    def finite_arrays(self) -> dict[str, np.ndarray]:
        """Returns `arrays`.

        Raises:
            Diverged: If one is not finite.
        """
        arrays = self.arrays()
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise Diverged(f"a {name.split('/')[0]} that is not finite")
        return arrays

    def _is_done(self) -> bool:
        if not self._num_updates:
            return self.place.epoch >= self.num_epochs
        is_between = self.place.batch == 0  # The last epoch may be a part.
        return self.place.updates >= self._num_updates and is_between

    def _run_epoch(self) -> Record:
        """Runs an epoch from where it is to its end."""
        place, batches = self.place, self.batches(self.place.epoch)
        num_batches = len(batches)
        all_examples = sum(map(self.num_examples, batches))
        if self._num_updates:
            left = self._num_updates - place.updates
            batches = batches[: place.batch + left]
        while place.batch < len(batches):
            begin_s = time.monotonic()
            chosen = batches[place.batch :][: self._num_at_once()]
            losses = self.updates(
                chosen, place.epoch + place.batch / num_batches
            )
            update_s = (time.monotonic() - begin_s) / len(losses)
            self._update_s = update_s
            for batch, loss_nats in zip(chosen, losses, strict=True):
                if not loss_nats < MAX_LOSS_NATS:
                    raise Diverged(f"a training loss of {loss_nats:.4g} nats")
                place.batch += 1
                place.updates += 1
                place.loss_sum += loss_nats
                place.elapsed_s += update_s
                epochs = place.epoch + place.batch / num_batches
                left = round((self.num_epochs - epochs) * all_examples)
                self._on_update(
                    Update(
                        place.epoch + 1,
                        place.batch,
                        len(batches),
                        self.num_examples(batch),
                        max(0, left),
                        place.loss_sum / place.batch,
                        update_s,
                    )
                )
            is_last = place.batch == len(batches)
            if not place.updates % self._snapshot_updates and not is_last:
                self._save()
        return self._end_epoch()

    def _num_at_once(self) -> int:
        """Returns how many updates to take at once, up to a snapshot."""
        num = self.most_at_once
        if num > 1:  # How long the first takes, nobody knows.
            update_s = self._update_s or _AT_ONCE_S
            num = min(num, max(1, int(_AT_ONCE_S / max(update_s, 1e-9))))
        since = self.place.updates % self._snapshot_updates
        return min(num, self._snapshot_updates - since)

    def _end_epoch(self) -> Record:
        place, begin_s = self.place, time.monotonic()
        self.finite_arrays()  # Before any are kept as the best.
        record = {
            "epoch": place.epoch + 1,
            "updates": place.updates,
            "learning_rate": self.rate,
            "train_loss_nats": place.loss_sum / place.batch,
            **self._scored(),
            "rollbacks": self.rollbacks,
        }
        place.history.append(record)
        if self.replicas.is_chief and self.keeps_best:
            self._store.keep_best(
                self.best_epoch()["updates"], place.updates, self.result_arrays
            )
        place.elapsed_s += time.monotonic() - begin_s
        record["elapsed_s"] = place.elapsed_s
        place.epoch += 1
        place.batch, place.loss_sum, place.elapsed_s = 0, 0.0, 0.0
        self.begin_epoch()
        is_due = not place.updates % self._snapshot_updates
        if self.snapshots_epochs or is_due or self._is_done():
            self._save()
        return record

    def _scored(self) -> Record:
        """Returns the chief's scores of the epoch, on all processes."""
        answer: dict[str, Any] = {}
        if self.replicas.is_chief:
            try:
                answer = {"scores": self.scores()}
            except Diverged as error:
                answer = {"diverged": str(error)}
        message = json.dumps(answer).encode()
        answer = json.loads(self.replicas.broadcast(message))
        if "diverged" in answer:
            raise Diverged(answer["diverged"])
        return answer["scores"]

    # For the result.

    def best_epoch(self) -> Record:
        """Returns the record of the best epoch so far."""
        return self.place.best_epoch(self.best_by)

    def best_weights(self) -> list[np.ndarray]:
        """Returns the weights of the best epoch.

        Raises:
            ValueError: If they are damaged or gone.
        """
        return self._store.best_arrays(self.best_epoch()["updates"])

    def course(self) -> dict[str, Any]:
        """Returns what a result says of how it was come by."""
        history = self.place.history
        return {
            "epochs": len(history),
            "updates": self.place.updates,
            "rollbacks": self.rollbacks,
            "elapsed_s": sum(past["elapsed_s"] for past in history),
        }

    # Snapshots.

    def _stored_rollbacks(self) -> int:
        number = self._store.rollbacks if self.replicas.is_chief else 0
        return int(self.replicas.broadcast(str(number).encode()))

    def _save(self) -> None:
        arrays = self.finite_arrays()  # On all workers, to diverge together.
        if self.replicas.is_chief:
            arrays["place"] = self.place.encoded()
            self._store.save(self.place.updates, arrays)

    def _go_to_newest(self) -> bool:
        """Goes to the newest snapshot, if there is one."""
        message = b""
        if self.replicas.is_chief:
            found = self._store.latest()
            message = checkpoints.encode(found) if found else b""
        message = self.replicas.broadcast(message)
        if not message:
            return False
        arrays = checkpoints.decode(message)
        self.place = Place.decoded(arrays.pop("place"))
        self.restore(arrays)
        return True

    def _roll_back(self, reason: str) -> None:
        """Goes back to the newest snapshot and halves the rate."""
        epoch, updates = self.place.epoch + 1, self.place.updates
        if updates == 0 and not self.rollbacks:
            raise TrainingError(
                f"diverged before the first update: {reason}, of the first "
                f"weights. {self.first_weights_hint}"
            )
        if self.replicas.is_chief and self._store.newest_step == updates:
            # A loss is of the weights before its update: those were bad.
            self._store.forget_newest()
        self._go_to_newest()
        if self.rollbacks == MAX_ROLLBACKS:
            raise TrainingError(
                f"diverged in epoch {epoch}, at update {updates}: {reason}. "
                f"Gone back {MAX_ROLLBACKS} times already, with half the rate "
                "each; choose a smaller learning_rate or clip_norm."
            )
        self.rollbacks += 1
        if self.replicas.is_chief:
            self._store.rollbacks = self.rollbacks
        logging.warning(
            "Diverged in epoch %d, at update %d: %s. Back to update %d, with "
            "half the rate: time %d of %d.",
            epoch,
            updates,
            reason,
            self.place.updates,
            self.rollbacks,
            MAX_ROLLBACKS,
        )
