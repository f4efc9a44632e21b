"""Trains cells from scratch, side by side, at equal parameter counts.

A search ranks its children by short trainings; what they are worth is what
this measures: each cell as a `NASRNN`, in the same recipe, with several seeds.
"""

import dataclasses
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from nas_keras.cells.spec import CellSpec
from nas_keras.search.evaluator import guarded
from nas_keras.search.journal import Journal
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
    """

    spec: CellSpec
    origin: str
    trial: int | None = None


def best_distinct(
    trials: Sequence[Trial], num: int, origin: str
) -> list[Candidate]:
    """Returns the `num` best cells of a search, no architecture twice."""
    feasible = [t for t in trials if t.evaluation.reward is not None]
    feasible.sort(key=lambda trial: -trial.evaluation.reward)
    found: dict[str, Candidate] = {}
    for trial in feasible:
        if len(found) < num:
            candidate = Candidate(trial.spec, origin, trial.id)
            found.setdefault(trial.spec.fingerprint, candidate)
    return list(found.values())


def retrain(
    candidates: Sequence[Candidate],
    task: LanguageModelTask,
    num_parameters: int,
    num_seeds: int,
    journal: Journal,
) -> Iterator[dict[str, Any]]:
    """Trains every candidate with every seed; yields the journal's records.

    What the journal holds already is yielded from there.

    Args:
        candidates: Cells.
        task: Text and recipe; the units are chosen for each cell.
        num_parameters: Most weights of a model; each has the most units
            that fit.
        num_seeds: Seeds 0 to `num_seeds - 1`.
        journal: Of `retrained.jsonl`.
    """
    done = {_key(record): record for record in journal.records}
    for candidate in candidates:
        sized = task.with_parameters(candidate.spec, num_parameters)
        trainer = None
        for seed in range(num_seeds):
            record = _record(candidate, sized, seed)
            if _key(record) in done:
                yield done[_key(record)]
                continue
            if trainer is None:
                model = sized.model(candidate.spec)
                trainer = LanguageModelTrainer(sized, model)
            record |= _trained(trainer, seed)
            journal.append(record)
            yield record


def _record(
    candidate: Candidate, task: LanguageModelTask, seed: int
) -> dict[str, Any]:
    return {
        "cell": candidate.spec.name,
        "origin": candidate.origin,
        "trial": candidate.trial,
        "fingerprint": candidate.spec.fingerprint,
        "spec": candidate.spec.to_dict(),
        "units": task.config.units,
        "num_parameters": task.num_parameters(candidate.spec),
        "seed": seed,
    }


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record[name] for name in _KEY)


def _trained(trainer: LanguageModelTrainer, seed: int) -> dict[str, Any]:
    def score():
        metrics = trainer.train(seed, splits=("validation", "test"))
        return -metrics["validation_loss_nats"], metrics

    evaluation = guarded(score)
    return {
        "metrics": dict(evaluation.metrics),
        "elapsed_s": evaluation.elapsed_s,
        "infeasible": evaluation.infeasible,
    }
