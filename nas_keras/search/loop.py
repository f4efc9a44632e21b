"""`search()`: sample, evaluate, learn, and lose nothing on the way.

The journal holds every finished trial and is what a run is rebuilt from:
noise is a function of (seed, step), so with the journal's rewards the
controller can be replayed from any older state. A checkpoint only saves the
replay. Axes: B architectures a step, A decisions each.
"""

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from nas_keras.cells.spec import CellSpec
from nas_keras.cells.spec import save_spec
from nas_keras.controllers.baseline import BaselineState
from nas_keras.controllers.baseline import EMABaseline
from nas_keras.controllers.controller import Controller
from nas_keras.controllers.controller import Samples
from nas_keras.controllers.controller import float32_below_one
from nas_keras.search import checkpoints
from nas_keras.search import configuration
from nas_keras.search import files
from nas_keras.search.evaluator import Evaluator
from nas_keras.search.evaluator import guarded
from nas_keras.search.journal import Journal
from nas_keras.search.journal import write_csv
from nas_keras.search.trial import RECORD_TYPES
from nas_keras.search.trial import Evaluation
from nas_keras.search.trial import SearchError
from nas_keras.search.trial import Trial
from nas_keras.search.trial import evaluation_of_record


def search(
    controller: Controller,
    evaluator: Evaluator,
    num_trials: int,
    workdir: str | os.PathLike | None = None,
    batch_size: int = 8,
    cluster: None = None,
    seed: int = 0,
    *,
    evaluation_seed: int | None = None,
    baseline: EMABaseline = EMABaseline(),  # noqa: B008  (frozen)
    max_consecutive_failures: int = 10,
    settings: Mapping[str, Any] | None = None,
    is_locked: bool = False,
) -> Iterator[Trial]:
    """Searches a space; yields every trial as it is finished.

    The caller owns the loop: what it does between two trials, the search
    waits for. With a `workdir` the search can be stopped anywhere and goes on
    when it is called again with the same arguments; trials that were finished
    are yielded again, from the journal, and never evaluated again. The result
    does not depend on the interruption. `num_trials` may grow from one call to
    the next.

    Args:
        controller: Proposes, and learns after every full batch.
        evaluator: Scores. It is given one row at a time.
        num_trials: Architectures to evaluate in all.
        workdir: Folder of the journal, the checkpoints, `config.json`,
            `best_cell.json` and `trials.csv`; None to write nothing.
        batch_size: B, architectures for one update of the controller.
        cluster: None: one process. Searches over several are not built yet.
        seed: Of the sampling noise.
        evaluation_seed: Of the evaluations; default `seed`.
        baseline: Turns rewards into advantages.
        max_consecutive_failures: Infeasible trials in a row that end the run.
        settings: What else the run depends on, JSON-able, kept in
            `config.json`; a workdir of other settings is refused.
        is_locked: Whether the caller holds the workdir's lock already.

    Yields:
        `Trial`, ids 0 to `num_trials - 1` in order.

    Raises:
        ValueError: If an argument breaks its rule, the workdir was written by
            another configuration or is in use, or its journal is damaged.
        SearchError: After `max_consecutive_failures` infeasible trials.

    Example:

    >>> from nas_keras import controllers, search, spaces
    >>> space = spaces.Space([spaces.Choice("width", (8, 16))])
    >>> evaluator = search.FunctionEvaluator(space, lambda spec: spec["width"])
    >>> controller = controllers.RandomController(space)
    >>> trials = search.search(controller, evaluator, num_trials=4)
    >>> max(trial.evaluation.reward for trial in trials)
    16.0
    """
    _check_int("num_trials", num_trials, 1)
    _check_int("batch_size", batch_size, 1)
    _check_int("max_consecutive_failures", max_consecutive_failures, 1)
    _check_int("seed", seed, 0)
    if evaluation_seed is None:
        evaluation_seed = seed
    _check_int("evaluation_seed", evaluation_seed, 0)
    if cluster is not None:
        raise ValueError(
            "cluster must be None: a search runs in one process. Received: "
            f"cluster={cluster!r}."
        )
    config = {
        "space": controller.space.name,
        "choices": [
            [choice.name, choice.options] for choice in controller.space.choices
        ],
        "controller": controller.config(),
        "evaluator": evaluator.config(),
        "batch_size": batch_size,
        "seed": seed,
        "evaluation_seed": evaluation_seed,
        "baseline": dataclasses.asdict(baseline),
        "settings": dict(settings or {}),
    }
    run = _Run(
        controller, evaluator, num_trials, batch_size, seed, evaluation_seed,
        baseline, max_consecutive_failures,
    )  # fmt: skip
    if workdir is None:
        return run.trials(None)
    return _in_workdir(run, Path(workdir), config, is_locked)


def _check_int(name: str, value: int, low: int) -> None:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if not is_int or not low <= value < 2**63:
        raise ValueError(
            f"{name} must be an int of at least {low}, below 2**63. Received: "
            f"{name}={value!r}."
        )


def _in_workdir(
    run: "_Run", workdir: Path, config: Mapping[str, Any], is_locked: bool
) -> Iterator[Trial]:
    configuration.check(workdir, config)
    workdir.mkdir(parents=True, exist_ok=True)
    lock = contextlib.nullcontext() if is_locked else files.exclusive(workdir)
    with lock:
        journal = Journal(workdir / "trials.jsonl", RECORD_TYPES)
        if len(journal.records) > run.num_trials:
            raise ValueError(
                f"workdir {str(workdir)!r} holds {len(journal.records)} "
                "trials: a run can be made longer, not shorter. Received: "
                f"num_trials={run.num_trials}."
            )
        configuration.write(workdir, {**config, "num_trials": run.num_trials})
        yield from run.trials(workdir, journal)


def noise(seed: int, step: int, shape: tuple[int, int]) -> np.ndarray:
    """Returns the uniform noise [B, A] of a step, float32 in [0, 1).

    Each row is the same for every B that has it.
    """
    bits = np.random.Philox(key=np.array([seed, step], np.uint64))
    return float32_below_one(np.random.Generator(bits).random(shape))


@dataclasses.dataclass
class _Run:
    """One call of `search`: arguments, and the state that steps change."""

    controller: Controller
    evaluator: Evaluator
    num_trials: int
    batch_size: int
    seed: int
    evaluation_seed: int
    baseline: EMABaseline
    max_consecutive_failures: int
    baseline_state: BaselineState = BaselineState()
    failures_in_a_row: int = 0
    best: float = -math.inf
    steps: Journal | None = None

    def trials(
        self, workdir: Path | None, journal: Journal | None = None
    ) -> Iterator[Trial]:
        stored = self._stored(journal)
        first_step = 0
        if workdir is not None:
            self.steps = Journal(workdir / "steps.jsonl", {"step": (int,)})
            first_step = self._restore(workdir, len(stored))
        for step in range(-(-self.num_trials // self.batch_size)):
            batch = []
            samples = None
            if step >= first_step:
                shape = (self.batch_size, len(self.controller.space.choices))
                samples = self.controller.sample(noise(self.seed, step, shape))
            first_id = step * self.batch_size
            last_id = min(first_id + self.batch_size, self.num_trials)
            for trial_id in range(first_id, last_id):
                row = trial_id - first_id
                tokens = None if samples is None else samples.tokens[row]
                if trial_id in stored:
                    trial = self._stored_trial(stored[trial_id], tokens)
                    self._is_best(trial)
                else:
                    trial = self._new_trial(trial_id, tokens)
                    # The cell first: a trial in the journal has been kept.
                    if self._is_best(trial) and workdir is not None:
                        _write_best(trial, workdir)
                    if journal is not None:
                        journal.append(trial.to_record(self.batch_size))
                batch.append(trial)
                yield trial
                if trial_id not in stored:
                    self._count_failure(trial.evaluation)
            if samples is not None and len(batch) == self.batch_size:
                self._update(step, samples, batch, workdir)
        if journal is not None:
            write_csv(workdir / "trials.csv", journal.records)

    def _stored(self, journal: Journal | None) -> dict[int, dict[str, Any]]:
        records = journal.records if journal else []
        stored = {record["id"]: record for record in records}
        if sorted(stored) != list(range(len(records))):
            raise ValueError(
                f"{journal.path}: trials are missing or given twice among the "
                f"{len(records)} lines. Restore the file from a copy; nothing "
                "was changed."
            )
        return stored

    def _restore(self, workdir: Path, num_stored: int) -> int:
        """Returns the step to go on with, the state of which is restored."""
        snapshot = checkpoints.latest(workdir / "checkpoints")
        if snapshot is None:
            if num_stored >= self.batch_size:
                logging.warning(
                    "No usable checkpoint: replaying %d trials of the journal.",
                    num_stored,
                )
            return 0
        step, arrays = snapshot
        if num_stored < step * self.batch_size:
            raise ValueError(
                f"{workdir}: the checkpoint has seen {step * self.batch_size} "
                f"trials and the journal holds {num_stored}. Restore "
                "trials.jsonl from a copy; nothing was changed."
            )
        mean, variance, lowest, num_batches = arrays.pop("baseline").tolist()
        self.baseline_state = BaselineState(
            mean, variance, lowest, int(num_batches)
        )
        self.controller.restore(arrays)
        logging.info("Going on after %d updates.", step)
        return step

    def _stored_trial(
        self, record: Mapping[str, Any], tokens: np.ndarray | None
    ) -> Trial:
        stored = tuple(record["tokens"])
        if tokens is not None and stored != tuple(tokens.tolist()):
            raise ValueError(
                f"Trial {record['id']} of the journal is {list(stored)}, but "
                f"the controller proposes {tokens.tolist()}: the journal was "
                "written by another program version or machine. Choose "
                "another workdir; nothing was changed."
            )
        spec, _ = self._decode(stored)
        return Trial(record["id"], stored, spec, evaluation_of_record(record))

    def _new_trial(self, trial_id: int, tokens: np.ndarray) -> Trial:
        row = tuple(tokens.tolist())
        spec, failure = self._decode(row)
        evaluation = failure or self._evaluate(tokens[None])
        return Trial(trial_id, row, spec, evaluation)

    def _decode(self, tokens: tuple[int, ...]) -> tuple[Any, Evaluation | None]:
        """Returns what tokens mean, or that they mean nothing."""
        try:
            return self.controller.space.decode(tokens), None
        except Exception as error:  # A user's function: see `guarded`.
            return None, guarded(lambda error=error: _raise(error))

    def _evaluate(self, tokens: np.ndarray) -> Evaluation:
        try:
            evaluations = self.evaluator.evaluate(tokens, self.evaluation_seed)
        except Exception as error:  # A child never ends the run.
            return guarded(lambda error=error: _raise(error))
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

    def _count_failure(self, evaluation: Evaluation) -> None:
        if evaluation.infeasible is None:
            self.failures_in_a_row = 0
            return
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= self.max_consecutive_failures:
            raise SearchError(
                f"{self.failures_in_a_row} architectures in a row were "
                f"infeasible; the last: {evaluation.infeasible}."
            )

    def _is_best(self, trial: Trial) -> bool:
        reward = trial.evaluation.reward
        if reward is None or reward <= self.best:
            return False
        self.best = reward
        return True

    def _update(
        self,
        step: int,
        samples: Samples,
        batch: list[Trial],
        workdir: Path | None,
    ) -> None:
        rewards = [trial.evaluation.reward for trial in batch]
        advantage, self.baseline_state = self.baseline.advantages(
            rewards, self.baseline_state
        )
        metrics = self.controller.update(samples, advantage)
        if not all(map(math.isfinite, metrics.values())):
            raise SearchError(
                f"The controller diverged at update {step}: {metrics}. Its "
                "state is that of the update before."
            )
        if workdir is None:
            return
        if step >= len(self.steps.records):
            mean = self.baseline_state.mean
            self.steps.append({"step": step, "baseline": mean, **metrics})
        arrays = self.controller.state()
        state = dataclasses.astuple(self.baseline_state)
        arrays["baseline"] = np.array(state, np.float64)
        checkpoints.save(workdir / "checkpoints", step + 1, arrays)


def _write_best(trial: Trial, workdir: Path) -> None:
    if isinstance(trial.spec, CellSpec):
        provenance = {
            **trial.spec.provenance,
            "run": str(workdir),
            "trial": trial.id,
            "reward": trial.evaluation.reward,
        }
        spec = dataclasses.replace(trial.spec, provenance=provenance)
        save_spec(spec, workdir / "best_cell.json")


def _raise(error: Exception) -> Any:
    raise error
