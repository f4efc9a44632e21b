"""The trials of a step: from the journal, known before, or new."""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping

import numpy as np

from nas_keras.distribute.share import Record
from nas_keras.evaluators.trial import Architecture
from nas_keras.evaluators.trial import Evaluation
from nas_keras.evaluators.trial import Trial
from nas_keras.evaluators.trial import evaluation_of_record
from nas_keras.spaces.space import Space

# Step, id -> new architecture; yields a trial and its journal line for each.
Evaluate = Callable[
    [int, Mapping[int, Architecture]], Iterator[tuple[Trial, Record]]
]


@dataclasses.dataclass
class StepTrials:
    """Makes the trials of one step after the other, from the first on.

    Attributes:
        space: The space of the architectures.
        num_trials: Trials in all steps.
        batch_size: B, trials of a step.
        is_reusing: Whether an architecture that is met again has its first
            score.
        records: Id -> the journal line of each finished trial.
        evaluate: Evaluates the new architectures of a step.
    """

    space: Space
    num_trials: int
    batch_size: int
    is_reusing: bool
    records: Mapping[int, Record]
    evaluate: Evaluate
    # The key of an architecture -> its first trial.
    _first: dict[str, int] = dataclasses.field(default_factory=dict, init=False)
    _evaluations: dict[int, Evaluation] = dataclasses.field(
        default_factory=dict, init=False
    )

    def of_step(
        self, step: int, tokens: np.ndarray | None
    ) -> Iterator[tuple[Trial, Record]]:
        """Yields the trials of a step, in order, and their journal lines.

        Args:
            step: Place of the step in the search, from 0.
            tokens: int [B, A], its architectures; None if all of its trials
                are in the journal.

        Raises:
            ValueError: If the journal has others.
            PeerLostError: If a worker is lost.
        """
        begin = step * self.batch_size
        ids = range(begin, min(begin + self.batch_size, self.num_trials))
        rows = [None] * len(ids) if tokens is None else tokens.tolist()
        architectures, known, new = {}, {}, {}
        for trial_id, row in zip(ids, rows, strict=False):
            record = self.records.get(trial_id)
            if record is not None:
                _check_tokens(record, row)
                row = record["tokens"]
            architecture = Architecture.of_tokens(self.space, row)
            architectures[trial_id] = architecture
            first = self._first_of(architecture, trial_id)
            if record is not None:
                continue
            if self.is_reusing and first != trial_id:
                known[trial_id] = first
            else:
                new[trial_id] = architecture
        evaluated = self.evaluate(step, new)
        for trial_id, architecture in architectures.items():
            if trial_id in new:
                trial, record = next(evaluated)
            elif trial_id in known:
                trial = self._known(trial_id, architecture, known[trial_id])
                record = trial.to_record(self.batch_size)
            else:
                record = self.records[trial_id]
                trial = trial_of_record(record, architecture)
            self._evaluations[trial_id] = trial.evaluation
            yield trial, record

    def _known(
        self, trial_id: int, architecture: Architecture, first: int
    ) -> Trial:
        """Returns a trial that has the score of an earlier one, at no cost."""
        evaluation = dataclasses.replace(self._evaluations[first], elapsed_s=0)
        tokens, spec = architecture.tokens, architecture.spec
        return Trial(trial_id, tokens, spec, evaluation, first)

    def _first_of(self, architecture: Architecture, trial_id: int) -> int:
        """Returns the first trial of an architecture, perhaps this one.

        A trial that failed in an earlier step does not count: perhaps what it
        needed was not there for a while.
        """
        first = self._first.setdefault(architecture.key, trial_id)
        before = self._evaluations.get(first)
        if before is not None and before.infeasible is not None:
            self._first[architecture.key] = first = trial_id
        return first


def trial_of_record(record: Record, architecture: Architecture) -> Trial:
    """Returns the trial of a journal line, whose architecture is decoded."""
    return Trial(
        record["id"],
        architecture.tokens,
        architecture.spec,
        evaluation_of_record(record),
        record["same_as"],
    )


def _check_tokens(record: Record, proposed: list[int] | None) -> None:
    if proposed not in (None, record["tokens"]):
        raise ValueError(
            f"Trial {record['id']} of the journal is {record['tokens']}, "
            f"but the controller proposes {proposed}: the journal "
            "was written by another program version or machine. Choose "
            "another workdir; nothing was changed."
        )
