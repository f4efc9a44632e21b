"""The trials of a step: from the journal, met before, or evaluated now."""

import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import numpy as np

from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.share import Shares
from nas_keras.distribute.share import share_out
from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.evaluators.evaluator import guarded
from nas_keras.evaluators.trial import Evaluation
from nas_keras.evaluators.trial import Trial
from nas_keras.evaluators.trial import architecture_key
from nas_keras.evaluators.trial import evaluation_of_record
from nas_keras.search.workdir import pending_key
from nas_keras.spaces.space import Space
from nas_keras.storage.pending import Pending


@dataclasses.dataclass
class StepTrials:
    """Makes the trials of one step after the other, from the first on.

    Attributes:
        space: Of the architectures.
        evaluator: Scores them, one at a time.
        evaluation_seed: Of the evaluations.
        num_trials: In all steps.
        batch_size: Trials of a step.
        is_reusing: Whether an architecture that is met again has its first
            score.
        records: Id -> the journal's line of each finished trial.
        cluster: The workers, who share the evaluations.
        pending: Where they keep what is not in the journal yet, or None.
        on_evaluated: Is told of each trial that this worker has evaluated.
        on_shares: Is told the step, and who evaluated how much of it.
    """

    space: Space
    evaluator: Evaluator
    evaluation_seed: int
    num_trials: int
    batch_size: int
    is_reusing: bool
    records: Mapping[int, Mapping[str, Any]]
    cluster: Cluster
    pending: Pending | None
    on_evaluated: Callable[[Trial], None]
    on_shares: Callable[[int, Shares], None]
    # What architectures have in common -> their first trial.
    _first: dict[str, int] = dataclasses.field(default_factory=dict, init=False)
    _evaluations: dict[int, Evaluation] = dataclasses.field(
        default_factory=dict, init=False
    )

    def of_step(self, step: int, tokens: np.ndarray | None) -> Iterator[Trial]:
        """Yields the trials of a step, in order.

        Args:
            step: From 0.
            tokens: int [B, A], its architectures; None if all of its trials
                are in the journal.

        Raises:
            ValueError: If the journal has others.
            PeerLostError: If a worker is lost.
        """
        first_id = step * self.batch_size
        ids = range(first_id, min(first_id + self.batch_size, self.num_trials))
        rows = {} if tokens is None else self._new(ids, tokens)
        same_as = {trial_id: self._same_as(trial_id, rows) for trial_id in ids}
        evaluated = share_out(
            [trial_id for trial_id in rows if same_as[trial_id] is None],
            lambda trial_id: self._evaluated(trial_id, rows[trial_id]),
            self.cluster,
            self.pending,
            pending_key,
            lambda shares: self.on_shares(step, shares),
        )
        for trial_id in ids:
            record, first = self.records.get(trial_id), same_as[trial_id]
            if record is None and first is not None:
                row = tuple(rows[trial_id].tolist())
                evaluation = dataclasses.replace(
                    self._evaluations[first], elapsed_s=0.0
                )
            else:
                record = next(evaluated) if record is None else record
                row = tuple(record["tokens"])
                evaluation = evaluation_of_record(record)
            self._evaluations[trial_id] = evaluation
            spec, _ = self._decode(row)
            yield Trial(trial_id, row, spec, evaluation, first)

    def _new(self, ids: range, tokens: np.ndarray) -> dict[int, np.ndarray]:
        """Returns the architectures of trials that the journal lacks."""
        rows = {}
        for place, trial_id in enumerate(ids):
            record = self.records.get(trial_id)
            if record is None:
                rows[trial_id] = tokens[place]
            else:
                _check_tokens(record, tokens[place])
        return rows

    def _same_as(
        self, trial_id: int, rows: Mapping[int, np.ndarray]
    ) -> int | None:
        """Returns the first trial of the same architecture, if it counts.

        One that failed in an earlier step does not: perhaps what it needed
        was not there for a while.
        """
        record = self.records.get(trial_id)
        if record is None:
            tokens = tuple(rows[trial_id].tolist())
            spec, _ = self._decode(tokens)
            key = architecture_key(tokens, getattr(spec, "fingerprint", None))
        else:
            key = architecture_key(record["tokens"], record["fingerprint"])
        first = self._first.setdefault(key, trial_id)
        known = self._evaluations.get(first)
        if known is not None and known.infeasible is not None:
            self._first[key] = first = trial_id
        if record is not None:
            return record.get("same_as")  # Not of older journals.
        return first if self.is_reusing and first != trial_id else None

    def _evaluated(self, trial_id: int, tokens: np.ndarray) -> dict[str, Any]:
        """Evaluates an architecture; returns the trial's journal line."""
        row = tuple(tokens.tolist())
        spec, failure = self._decode(row)
        evaluation = failure or self._evaluate(tokens[None])
        trial = Trial(trial_id, row, spec, evaluation)
        self.on_evaluated(trial)
        return trial.to_record(self.batch_size)

    def _decode(self, tokens: tuple[int, ...]) -> tuple[Any, Evaluation | None]:
        """Returns what tokens mean, or that they mean nothing."""
        try:
            return self.space.decode(tokens), None
        except Exception as error:  # A user's function: see `guarded`.
            return None, guarded(functools.partial(_raise, error))

    def _evaluate(self, tokens: np.ndarray) -> Evaluation:
        try:
            evaluations = self.evaluator.evaluate(tokens, self.evaluation_seed)
        except Exception as error:  # A child never ends the run.
            return guarded(functools.partial(_raise, error))
        if (
            not isinstance(evaluations, list)
            or len(evaluations) != 1
            or not isinstance(evaluations[0], Evaluation)
        ):
            raise ValueError(
                f"{type(self.evaluator).__name__}.evaluate must return a list "
                f"of one Evaluation a row. Received: {evaluations!r:.200}."
            )
        return evaluations[0]


def _check_tokens(record: Mapping[str, Any], tokens: np.ndarray) -> None:
    if record["tokens"] != tokens.tolist():
        raise ValueError(
            f"Trial {record['id']} of the journal is {record['tokens']}, "
            f"but the controller proposes {tokens.tolist()}: the journal "
            "was written by another program version or machine. Choose "
            "another workdir; nothing was changed."
        )


def _raise(error: Exception) -> Any:
    raise error
