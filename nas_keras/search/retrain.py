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

from nas_keras.cells.spec import CellSpec
from nas_keras.search.cluster import Cluster
from nas_keras.search.evaluator import guarded
from nas_keras.search.journal import Journal
from nas_keras.search.pending import Pending
from nas_keras.search.sharing import Record
from nas_keras.search.sharing import share_out
from nas_keras.search.trial import Trial
from nas_keras.tasks.image_config import NetSpec

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
    pending = Pending(folder / "pending_retraining")
    key_types = _KEY | dict(trainings.size_types) | _SEED
    trainings_folder = folder / "retraining"
    journal = None
    known = b""
    if cluster.is_chief:
        journal = Journal(folder / "retrained.jsonl", key_types | _RESULTS)
        records = [*journal.records, *pending.read().values()]
        known = json.dumps(records).encode()

    def key_of(record: Record) -> tuple[Any, ...]:
        return tuple(record[name] for name in key_types)

    done = {
        key_of(record): record
        for record in json.loads(cluster.broadcast(known))
    }
    begun = [
        (candidate.spec, _begun(candidate, trainings, seed))
        for candidate in candidates
        for seed in range(num_seeds)
    ]

    def folder_of(record: Record) -> Path:
        return trainings_folder / _pending_key(key_of(record))

    def train(index: int) -> Record:
        spec, record = begun[index]
        record |= _trained(trainings, spec, record["seed"], folder_of(record))
        on_trained(index, record)
        return record

    trained = share_out(
        [
            index
            for index, (_, record) in enumerate(begun)
            if key_of(record) not in done
        ],
        train,
        cluster,
        pending,
        lambda index: _pending_key(key_of(begun[index][1])),
    )
    for _, its in begun:
        key = key_of(its)
        record = done.get(key) or next(trained)
        if journal is not None:
            if key not in map(key_of, journal.records):
                journal.append(record)
            pending.remove([_pending_key(key)])
            if folder_of(its).exists():
                shutil.rmtree(folder_of(its))
        yield record
    if journal is not None and trainings_folder.exists():
        trainings_folder.rmdir()


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
    evaluation = guarded(lambda: trainings.train(spec, seed, folder))
    metrics = dict(evaluation.metrics)
    # Of all calls that took part, where a training tells.
    elapsed_s = metrics.pop("elapsed_s", evaluation.elapsed_s)
    return {
        "metrics": metrics,
        "elapsed_s": elapsed_s,
        "infeasible": evaluation.infeasible,
    }


def _pending_key(key: tuple[Any, ...]) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
