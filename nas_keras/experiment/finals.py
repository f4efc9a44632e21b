"""Trains architectures from scratch, side by side, in the same recipe.

A search ranks its children by short trainings; what they are worth is what
this measures, with several seeds. What a training is, of a cell or of an image
network, is a `Trainings`.
"""

import abc
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_keras.cells.language.spec import CellSpec
from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.share import Record
from nas_keras.distribute.share import share_out
from nas_keras.evaluators.evaluator import guarded
from nas_keras.evaluators.trial import Trial
from nas_keras.storage.journal import Journal
from nas_keras.storage.pending import Pending
from nas_keras.tasks.images.config import NetSpec

# What makes a training another one, beside its size, and the types in the
# journal.
_KEY = {
    "cell": (str,),
    "origin": (str,),
    "trial": (int, type(None)),
    "fingerprint": (str,),
}
_SEED = {"seed": (int,)}
_RESULTS = {
    "metrics": (dict,),
    "elapsed_s": (float, int),
    "infeasible": (str, type(None)),
}
_BEGUN = "retraining"  # Folder of trainings that are on.


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An architecture to retrain.

    Attributes:
        spec: The cell or the network.
        origin: `"controller"`, `"random"`, `"drawn"` at random and not
            selected, `"published"`, or `"matched"`, of equal cost.
        trial: Its id in its search, or None.
        reward: Its reward there, or None.
    """

    spec: CellSpec | NetSpec
    origin: str
    trial: int | None = None
    reward: float | None = None


class Trainings(abc.ABC):
    """How the architectures of a kind are trained.

    Attributes:
        size_types: Names of the figures that `size_of` returns, and their
            types.
    """

    size_types: Mapping[str, tuple[type, ...]] = {}

    def size_of(self, spec: Any) -> dict[str, int]:
        """Returns the size of an architecture's model, if that is chosen."""
        return {}

    @abc.abstractmethod
    def train(
        self, spec: Any, seed: int, folder: Path
    ) -> tuple[float, dict[str, float]]:
        """Trains from scratch.

        Args:
            spec: The architecture.
            seed: Of all chance.
            folder: Of this training alone, for what a long one goes on from
                when it was stopped. It need not exist; it is removed once the
                figures are kept.

        Returns:
            A score, more is better, and metrics.
        """


def best_distinct(
    trials: Sequence[Trial],
    num: int,
    origin: str,
    spec_of: Callable[[Trial], Any] = lambda trial: trial.spec,
) -> list[Candidate]:
    """Returns the `num` best trials of a search, no architecture twice.

    Args:
        trials: Of the search.
        num: How many, at most.
        origin: Of a `Candidate`.
        spec_of: Returns what is to be trained of a trial.
    """
    feasible = [
        (reward, trial)
        for trial in trials
        if (reward := trial.evaluation.reward) is not None
    ]
    feasible.sort(key=lambda pair: -pair[0])
    found: dict[str, Candidate] = {}
    for reward, trial in feasible:
        if len(found) < num and trial.spec.fingerprint not in found:
            found[trial.spec.fingerprint] = Candidate(
                spec_of(trial), origin, trial.id, reward
            )
    return list(found.values())


def retrain(
    candidates: Sequence[Candidate],
    trainings: Trainings,
    num_seeds: int,
    folder: Path,
    cluster: Cluster,
    on_trained: Callable[[int, Record], None],
) -> Iterator[Record]:
    """Trains every candidate with every seed; yields a record of each.

    What `retrained.jsonl` holds already is yielded from there. Workers share
    the trainings out. A training that is on has a folder in `retraining/`.

    Args:
        candidates: Architectures.
        trainings: How they are trained.
        num_seeds: Seeds 0 to `num_seeds - 1`.
        folder: The workdir, held by this cluster.
        cluster: The workers.
        on_trained: Is told the place and the record of each training that
            this worker has done.
    """
    kept = _Records(folder, trainings, cluster)
    begun = [
        (candidate.spec, _begun(candidate, trainings, seed))
        for candidate in candidates
        for seed in range(num_seeds)
    ]
    names = [kept.name_of(record) for _, record in begun]

    def train(index: int) -> Record:
        spec, record = begun[index]
        record |= _trained(
            trainings, spec, record["seed"], kept.folder_of(names[index])
        )
        on_trained(index, record)
        return record

    trained = share_out(
        [index for index, name in enumerate(names) if name not in kept.done],
        train,
        cluster,
        kept.pending,
        names.__getitem__,
    )
    for name in names:
        record = kept.done.get(name) or next(trained)
        kept.keep(name, record)
        yield record


class _Records:
    """Records of trainings on disk, each by a name of its own.

    The chief writes them; the others only keep their own in `pending`.

    Args:
        folder: The workdir.
        trainings: How the architectures are trained.
        cluster: The workers.

    Attributes:
        pending: The records that are not in the journal yet.
        done: Name -> record of all that there were at the beginning.
    """

    def __init__(self, folder: Path, trainings: Trainings, cluster: Cluster):
        self.pending = Pending(folder / "pending_retraining")
        self._key_types = _KEY | dict(trainings.size_types) | _SEED
        self._folder = folder / _BEGUN
        self._journal: Journal | None = None
        self._journaled: set[str] = set()
        known = b""
        if cluster.is_chief:
            self._journal = Journal(
                folder / "retrained.jsonl", self._key_types | _RESULTS
            )
            self._journaled = set(map(self.name_of, self._journal.records))
            records = [*self._journal.records, *self.pending.read().values()]
            known = json.dumps(records).encode()
        self.done = {
            self.name_of(record): record
            for record in json.loads(cluster.broadcast(known))
        }

    def name_of(self, record: Record) -> str:
        """Returns what a training's record is named, by what makes it one."""
        key = [record[name] for name in self._key_types]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]

    def folder_of(self, name: str) -> Path:
        """Returns the folder of a training that is on."""
        return self._folder / name

    def keep(self, name: str, record: Record) -> None:
        """Writes the record of a training, which has no folder any more."""
        if self._journal is None:
            return
        if name not in self._journaled:
            self._journal.append(record)
            self._journaled.add(name)
        self.pending.remove([name])
        if self.folder_of(name).exists():
            shutil.rmtree(self.folder_of(name))


def remove_begun(folder: Path) -> None:
    """Removes what trainings of a workdir have left that nobody ended.

    For when all retraining is done: a longer search has other candidates.
    """
    if (folder / _BEGUN).exists():
        shutil.rmtree(folder / _BEGUN)


def _begun(candidate: Candidate, trainings: Trainings, seed: int) -> Record:
    """Returns what is known of a training before it is done."""
    spec = candidate.spec
    return {
        "cell": spec.name,
        "origin": candidate.origin,
        "trial": candidate.trial,
        "reward": candidate.reward,
        "fingerprint": spec.fingerprint,
        "spec": spec.to_dict(),
        **trainings.size_of(spec),
        "seed": seed,
    }


def _trained(
    trainings: Trainings, spec: Any, seed: int, folder: Path
) -> Record:
    evaluation = guarded(
        lambda: trainings.train(spec, seed, folder),
        passing=(OSError,),  # The disk's.
    )
    metrics = dict(evaluation.metrics)
    # Of all calls that took part, where a training tells.
    elapsed_s = metrics.pop("elapsed_s", evaluation.elapsed_s)
    return {
        "metrics": metrics,
        "elapsed_s": elapsed_s,
        "infeasible": evaluation.infeasible,
    }
