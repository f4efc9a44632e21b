"""Trains architectures to the end, side by side, by the same recipe.

A search ranks its children by short trainings; the finals measure, with
several seeds, what they are worth.
"""

import dataclasses
import fnmatch
import hashlib
import json
import shutil
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.share import Record
from nas_keras.distribute.share import share_out
from nas_keras.evaluators.evaluator import guarded
from nas_keras.evaluators.trial import Trial
from nas_keras.storage.journal import Journal
from nas_keras.storage.pending import Pending
from nas_keras.tasks.task import Task

# What makes a training another one, and the types in the journal.
_KEY = {
    "cell": (str,),
    "origin": (str,),
    "trial": (int, type(None)),
    "fingerprint": (str,),
    "size": (dict,),
    "seed": (int,),
}
_RESULTS = {
    "metrics": (dict,),
    "elapsed_s": (float, int),
    "infeasible": (str, type(None)),
}
_BEGUN = "retraining"  # Folder of the trainings that are on.


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An architecture to train to the end.

    Attributes:
        spec: The architecture.
        origin: `"controller"`, `"random"`, `"drawn"` at random and not
            selected, `"published"`, or `"matched"`, of equal cost.
        trial: Its id in its search, or None.
        reward: Its reward there, or None.
    """

    spec: Any
    origin: str
    trial: int | None = None
    reward: float | None = None

    @property
    def key(self) -> tuple[str, int | None]:
        """What tells finalists of searches apart."""
        return self.origin, self.trial


def best_distinct(
    trials: Sequence[Trial],
    num: int,
    origin: str,
    decode: Callable[[Sequence[int]], Any],
) -> list[Candidate]:
    """Returns the `num` best trials of a search, no architecture twice.

    Args:
        trials: The trials of the search.
        num: The most candidates to return.
        origin: Their `Candidate.origin`.
        decode: Returns the architecture to train of a trial's tokens.
    """
    feasible = [t for t in trials if t.evaluation.reward is not None]
    feasible.sort(key=lambda trial: -trial.evaluation.reward)  # type: ignore
    distinct: dict[str, Trial] = {}
    for trial in feasible:
        distinct.setdefault(trial.spec.fingerprint, trial)
    return [
        Candidate(decode(t.tokens), origin, t.id, t.evaluation.reward)
        for t in list(distinct.values())[:num]
    ]


def retrain(
    candidates: Sequence[Candidate],
    task: Task,
    parameters: int,
    num_seeds: int,
    folder: Path,
    cluster: Cluster,
    on_trained: Callable[[int, Record], None],
) -> Iterator[Record]:
    """Trains every candidate with every seed; yields a record of each.

    What `retrained.jsonl` holds already is yielded from there. Workers share
    the trainings out. A training that is on has a folder in `retraining/`,
    from which it resumes.

    Args:
        candidates: The architectures.
        task: The task, at any size.
        parameters: Most weights of each model, as for `Task.resized`.
        num_seeds: Seeds 0 to `num_seeds - 1`.
        folder: The workdir, held by this cluster.
        cluster: The workers.
        on_trained: Called with the place and the record of each training that
            this worker has done.
    """
    kept = _Records(folder, cluster)
    begun = []
    for candidate in candidates:
        its_task = task.resized(candidate.spec, parameters)
        begun += [
            (candidate.spec, its_task, _begun(candidate, its_task, seed))
            for seed in range(num_seeds)
        ]
    names = [name_of(record) for _, _, record in begun]

    def train(index: int) -> Record:
        spec, its_task, record = begun[index]
        record |= _trained(
            its_task, spec, record["seed"], kept.folder_of(names[index])
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


def name_of(record: Mapping[str, Any]) -> str:
    """Returns the name of a training's record, by what makes it one."""
    key = [record[name] for name in _KEY]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]


class _Records:
    """Records of trainings on disk, each by a name of its own.

    The chief writes them; the others only keep their own in `pending`.

    Args:
        folder: The workdir.
        cluster: The workers.

    Attributes:
        pending: The records that are not in the journal yet.
        done: Name -> record of all that there were at the beginning.
    """

    def __init__(self, folder: Path, cluster: Cluster):
        self.pending = Pending(folder / "pending_retraining")
        self._folder = folder / _BEGUN
        self._journal: Journal | None = None
        self._journaled: set[str] = set()
        known = b""
        if cluster.is_chief:
            self._journal = Journal(folder / "retrained.jsonl", _KEY | _RESULTS)
            self._journaled = set(map(name_of, self._journal.records))
            records = [*self._journal.records, *self.pending.read().values()]
            known = json.dumps(records).encode()
        self.done = {
            name_of(record): record
            for record in json.loads(cluster.broadcast(known))
        }

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

    For when all finals are done: a longer search has other candidates.
    """
    if (folder / _BEGUN).exists():
        shutil.rmtree(folder / _BEGUN)


def _begun(candidate: Candidate, task: Task, seed: int) -> Record:
    """Returns what is known of a training before it is done."""
    spec = candidate.spec
    return {
        "cell": spec.name,
        "origin": candidate.origin,
        "trial": candidate.trial,
        "reward": candidate.reward,
        "fingerprint": spec.fingerprint,
        "spec": spec.to_dict(),
        "noun": task.noun,
        "metric": dataclasses.asdict(task.metric),
        "is_baseline": fnmatch.fnmatchcase(spec.name, task.baseline),
        "size": task.labels(spec),
        "seed": seed,
    }


def _trained(task: Task, spec: Any, seed: int, folder: Path) -> Record:
    evaluation = guarded(
        lambda: (0.0, _resumed(task, spec, seed, folder)),
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


def _resumed(
    task: Task, spec: Any, seed: int, folder: Path
) -> dict[str, float]:
    """Trains, or resumes; a folder that is damaged is begun anew."""
    if folder.exists():
        try:
            return task.train(spec, seed, folder)
        except ValueError as error:
            logging.warning(
                "%s cannot be resumed: %s Training from the beginning.",
                folder,
                error,
            )
            shutil.rmtree(folder)
    return task.train(spec, seed, folder)
