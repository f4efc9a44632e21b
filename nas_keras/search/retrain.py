"""Trains cells from scratch, side by side, at equal parameter counts.

A search ranks its children by short trainings; what they are worth is what
this measures: each cell as a `NASRNN`, in the same recipe, with several seeds.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from collections.abc import Iterator
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
from nas_keras.tasks.language_model import LanguageModelTask
from nas_keras.tasks.language_model_training import LanguageModelTrainer

# What makes a training another one, and the types in the journal.
_KEY = {
    "cell": (str,),
    "origin": (str,),
    "trial": (int, type(None)),
    "fingerprint": (str,),
    "units": (int,),
    "num_parameters": (int,),
    "seed": (int,),
}
RECORD_TYPES = _KEY | {
    "metrics": (dict,),
    "elapsed_s": (float, int),
    "infeasible": (str, type(None)),
}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A cell to retrain.

    Attributes:
        spec: The cell.
        origin: `"controller"`, `"random"` or `"published"`.
        trial: Its id in its search, or None.
        reward: Its reward there, or None.
    """

    spec: CellSpec
    origin: str
    trial: int | None = None
    reward: float | None = None


def best_distinct(
    trials: Sequence[Trial], num: int, origin: str
) -> list[Candidate]:
    """Returns the `num` best cells of a search, no architecture twice."""
    feasible = [t for t in trials if t.evaluation.reward is not None]
    feasible.sort(key=lambda trial: -trial.evaluation.reward)
    found: dict[str, Candidate] = {}
    for trial in feasible:
        if len(found) < num:
            reward = trial.evaluation.reward
            candidate = Candidate(trial.spec, origin, trial.id, reward)
            found.setdefault(trial.spec.fingerprint, candidate)
    return list(found.values())


def retrain(
    candidates: Sequence[Candidate],
    task: LanguageModelTask,
    num_parameters: int,
    num_seeds: int,
    folder: Path,
    cluster: Cluster,
    on_trained: Callable[[int, Record], None],
) -> Iterator[Record]:
    """Trains every candidate with every seed; yields a record of each.

    What `retrained.jsonl` holds already is yielded from there. Workers share
    the trainings out.

    Args:
        candidates: Cells.
        task: Text and recipe; the units are chosen for each cell.
        num_parameters: Most weights of a model; each has the most units
            that fit.
        num_seeds: Seeds 0 to `num_seeds - 1`.
        folder: The workdir, held by this cluster.
        cluster: The workers.
        on_trained: Is told the place and the record of each training that
            this worker has done.
    """
    pending = Pending(folder / "pending_retraining")
    journal = None
    known = b""
    if cluster.is_chief:
        journal = Journal(folder / "retrained.jsonl", RECORD_TYPES)
        known = json.dumps([*journal.records, *pending.read().values()])
        known = known.encode()
    done = {
        _key(record): record for record in json.loads(cluster.broadcast(known))
    }
    trainings = [
        _Training(
            candidate,
            task.with_parameters(candidate.spec, num_parameters),
            seed,
        )
        for candidate in candidates
        for seed in range(num_seeds)
    ]
    trainers = _Trainers()

    def train(index: int) -> Record:
        record = trainers.train(trainings[index])
        on_trained(index, record)
        return record

    trained = share_out(
        [
            index
            for index, training in enumerate(trainings)
            if _key(training.record()) not in done
        ],
        train,
        cluster,
        pending,
        lambda index: _pending_key(trainings[index].record()),
    )
    for training in trainings:
        key = _key(training.record())
        record = done.get(key) or next(trained)
        if journal is not None:
            if key not in map(_key, journal.records):
                journal.append(record)
            pending.remove([_pending_key(record)])
        yield record


@dataclasses.dataclass(frozen=True)
class _Training:
    """One candidate, the task at its size, and a seed."""

    candidate: Candidate
    task: LanguageModelTask
    seed: int

    def record(self) -> Record:
        """Returns what is known of it before it is done."""
        spec = self.candidate.spec
        return {
            "cell": spec.name,
            "origin": self.candidate.origin,
            "trial": self.candidate.trial,
            "reward": self.candidate.reward,
            "fingerprint": spec.fingerprint,
            "spec": spec.to_dict(),
            "units": self.task.config.units,
            "num_parameters": self.task.num_parameters(spec),
            "seed": self.seed,
        }


class _Trainers:
    """Makes the program of a candidate once for its seeds, one at a time."""

    def __init__(self):
        self._candidate: Candidate | None = None
        self._trainer: LanguageModelTrainer | None = None

    def train(self, training: _Training) -> Record:
        if self._candidate is not training.candidate:
            model = training.task.model(training.candidate.spec)
            self._trainer = LanguageModelTrainer(training.task, model)
            self._candidate = training.candidate
        return training.record() | _trained(self._trainer, training.seed)


def _key(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in _KEY)


def _pending_key(record: Record) -> str:
    text = json.dumps(_key(record))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _trained(trainer: LanguageModelTrainer, seed: int) -> Record:
    def score():
        metrics = trainer.train(seed, splits=("validation", "test"))
        return -metrics["validation_loss_nats"], metrics

    evaluation = guarded(score)
    return {
        "metrics": dict(evaluation.metrics),
        "elapsed_s": evaluation.elapsed_s,
        "infeasible": evaluation.infeasible,
    }
