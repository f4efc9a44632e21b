"""`search()`: propose, evaluate, feed back, and lose nothing on the way.

The journal holds every finished trial and is what a run is rebuilt from:
all chance is a function of (seed, step), so with the journal's evaluations the
controller can be replayed from any older state. A checkpoint only saves the
replay. Among several workers the chief proposes and owns the workdir; each
evaluates its share, all learn the same from all evaluations, so the number of
workers is not part of the result. Axes: B architectures a step, A decisions
each.
"""

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from nas_keras.checks import json_copy
from nas_keras.controllers.controller import Controller
from nas_keras.controllers.controller import Proposals
from nas_keras.controllers.controller import generator_of
from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.share import Record
from nas_keras.distribute.share import Shares
from nas_keras.distribute.share import share_out
from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.evaluators.trial import Architecture
from nas_keras.evaluators.trial import SearchError
from nas_keras.evaluators.trial import Trial
from nas_keras.search.steps import StepTrials
from nas_keras.search.steps import trial_of_record
from nas_keras.search.workdir import Opening
from nas_keras.search.workdir import Workdir
from nas_keras.search.workdir import held
from nas_keras.search.workdir import pending_key
from nas_keras.settings import refuse
from nas_keras.settings import whole
from nas_keras.storage import run_config
from nas_keras.storage.pending import Pending


def search(
    controller: Controller,
    evaluator: Evaluator,
    num_trials: int,
    workdir: str | os.PathLike | None = None,
    batch_size: int = 8,
    cluster: Cluster | None = None,
    seed: int = 0,
    *,
    evaluation_seed: int | None = None,
    max_consecutive_failures: int = 10,
    settings: Mapping[str, Any] | None = None,
    evaluate_again: bool = False,
    is_held: bool = False,
    on_evaluated: Callable[[Trial], None] = lambda trial: None,
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
        evaluator: Scores one architecture at a time.
        num_trials: Architectures to evaluate in all.
        workdir: Folder of the journal, the checkpoints, `config.json`,
            `best_cell.json` and `trials.csv`, the same on all workers; None
            to write nothing.
        batch_size: B, architectures for one update of the controller.
        cluster: The workers; default: this process alone. Each of them calls
            this function with the same arguments and gets the same trials,
            those of a batch when all have finished theirs.
        seed: Seed of the proposals.
        evaluation_seed: Seed of the evaluations; default `seed`.
        max_consecutive_failures: Infeasible trials in a row that end the run.
        settings: What else the run depends on, JSON-able, kept in
            `config.json`; a workdir of other settings is refused.
        evaluate_again: Whether an architecture that is met again is evaluated
            again. If not, it has its first score, at no cost. What is the same
            is told by `CellSpec.fingerprint`, or else by the tokens.
        is_held: Whether the caller holds the workdir already (`held`); then
            `best_cell.json` is the caller's too, once the search is over.
        on_evaluated: Is told of each trial that this worker has evaluated,
            before it is yielded.

    Yields:
        `Trial`, ids 0 to `num_trials - 1` in order.

    Raises:
        ValueError: If an argument breaks its rule, the workdir was written by
            another configuration or is in use, or its journal is damaged.
        SearchError: After `max_consecutive_failures` infeasible trials.
        PeerLostError: If a worker of the cluster is lost. All must be started
            again.

    Example:

    >>> from nas_keras import controllers, search, spaces
    >>> space = spaces.Space([spaces.Choice("width", (8, 16))])
    >>> evaluator = search.FunctionEvaluator(space, lambda spec: spec["width"])
    >>> controller = controllers.RandomController(space)
    >>> trials = search.search(controller, evaluator, num_trials=4)
    >>> max(trial.evaluation.reward for trial in trials)
    16.0
    """
    if evaluation_seed is None:
        evaluation_seed = seed
    for name, value, rule in (
        ("num_trials", num_trials, whole(1)),
        ("batch_size", batch_size, whole(1)),
        ("max_consecutive_failures", max_consecutive_failures, whole(1)),
        ("seed", seed, whole(0)),
        ("evaluation_seed", evaluation_seed, whole(0)),
    ):
        if not rule.good(value):
            refuse(name, rule.words, value)
    if workdir is not None and not os.fspath(workdir):
        refuse("workdir", "a path or None", workdir)
    cluster = cluster or Cluster()
    if batch_size < cluster.size:
        raise ValueError(
            "batch_size must be at least the number of workers, "
            f"{cluster.size}. Received: batch_size={batch_size}."
        )
    run = _Run(
        controller=controller,
        evaluator=evaluator,
        num_trials=num_trials,
        folder=None if workdir is None else Path(workdir),
        batch_size=batch_size,
        cluster=cluster,
        seed=seed,
        evaluation_seed=evaluation_seed,
        max_consecutive_failures=max_consecutive_failures,
        settings=json_copy(settings or {}, "settings"),
        evaluate_again=evaluate_again,
        is_held=is_held,
        on_evaluated=on_evaluated,
    )
    return run.trials()


@dataclasses.dataclass(kw_only=True)
class _Run:
    """One call of `search`: its arguments, and what its steps change."""

    controller: Controller
    evaluator: Evaluator
    num_trials: int
    folder: Path | None
    batch_size: int
    cluster: Cluster
    seed: int
    evaluation_seed: int
    max_consecutive_failures: int
    settings: Mapping[str, Any]
    evaluate_again: bool
    is_held: bool
    on_evaluated: Callable[[Trial], None]
    # What the steps change.
    failures_in_a_row: int = 0
    records: Mapping[int, Record] = dataclasses.field(default_factory=dict)
    store: Workdir | None = None  # The chief's, if there is a workdir.
    pending: Pending | None = None

    def _config(self) -> dict[str, Any]:
        """Returns what the results depend on, JSON-able."""
        space = self.controller.space
        return {
            "space": space.name,
            "choices": [
                [choice.name, choice.options] for choice in space.choices
            ],
            "controller": self.controller.config(),
            "evaluator": self.evaluator.config(),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "evaluation_seed": self.evaluation_seed,
            "evaluate_again": self.evaluate_again,
            "settings": self.settings,
        }

    def trials(self) -> Iterator[Trial]:
        """Yields the trials of the search."""
        config, folder = self._config(), self.folder
        limits = (self.num_trials, self.max_consecutive_failures)
        agreed = json.dumps([config, limits], sort_keys=True)
        self.cluster.check_agreement("The configuration", agreed.encode())
        if folder is None:
            yield from self._steps(self._open())
            return
        if self.cluster.is_chief:
            run_config.check(folder, config)
        with contextlib.ExitStack() as stack:
            if not self.is_held:
                stack.enter_context(held(folder, self.cluster))
            self.pending = Pending(folder / "pending")
            if self.cluster.is_chief:
                self.store = Workdir(
                    folder, config, self.num_trials, self.batch_size
                )
                stack.callback(self.store.close)
            yield from self._steps(self._open())
            if self.store is not None:
                self.store.finish(owns_best=not self.is_held)

    def _open(self) -> int:
        """Takes over what is finished; returns the step to go on with."""
        opening = self.store.opening() if self.store else Opening({})
        self._tell_of_learned(opening)
        opening = self._shared(opening)
        if not self.evaluator.open(self.folder, opening.step, self.cluster):
            logging.warning(
                "What the evaluator had learned is damaged or gone; replaying "
                "%d updates.",
                opening.step,
            )
            beginning = self.store.beginning() if self.store else {}
            opening = self._shared(Opening(opening.records, 0, beginning))
            self.evaluator.open(self.folder, 0, self.cluster)
        self.records = opening.records
        if opening.state:
            self.controller.restore(opening.state)
        return opening.step

    def _tell_of_learned(self, opening: Opening) -> None:
        """Tells of a controller that does not begin as a new one would."""
        is_new = not opening.state and self.cluster.is_chief
        if not is_new or not self.controller.has_learned:
            return
        logging.warning(
            "The controller has learned already, and this search begins with "
            "that: for searches apart, make a controller for each."
        )
        if self.store is not None and not opening.records:
            self.store.keep_beginning(self.controller.state())

    def _shared(self, opening: Opening) -> Opening:
        """Returns the chief's opening."""
        if self.cluster.size == 1:
            return opening
        if self.cluster.is_chief and not opening.state:
            # The others may have begun with other weights.
            state = self.controller.state()
            opening = dataclasses.replace(opening, state=state)
        message = self.cluster.broadcast(
            opening.to_bytes() if self.cluster.is_chief else b""
        )
        return Opening.from_bytes(message)

    def _steps(self, first_step: int) -> Iterator[Trial]:
        """Makes the steps; those before `first_step` are in the journal."""
        maker = StepTrials(
            space=self.controller.space,
            num_trials=self.num_trials,
            batch_size=self.batch_size,
            is_reusing=self.evaluator.is_repeatable and not self.evaluate_again,
            records=self.records,
            evaluate=self._evaluate,
        )
        for step in range(-(-self.num_trials // self.batch_size)):
            proposals = tokens = None
            if step >= first_step:
                self.evaluator.prepare(step, self.controller)
                proposals = self._propose(step)
                tokens = proposals.tokens
            batch = []
            trials = maker.of_step(step, tokens)
            # What is known at a time is written at a time.
            groups = [list(trials)] if self.cluster.size > 1 else zip(trials)
            for finished in groups:
                if self.store is not None:
                    self.store.keep(finished)
                for trial, _ in finished:
                    batch.append(trial)
                    yield trial
                    self._count_failure(trial)
            if proposals is not None and len(batch) == self.batch_size:
                self._feed_back(step, proposals, batch)

    def _propose(self, step: int) -> Proposals:
        """Returns the chief's proposals: machines may round differently."""
        shape = (self.batch_size, len(self.controller.space.choices))
        if not self.cluster.is_chief:
            bits = self.cluster.broadcast_array(np.zeros((3, *shape), np.int32))
            tokens, log_prob, entropy = bits
            return Proposals(
                tokens, log_prob.view(np.float32), entropy.view(np.float32)
            )
        rng = generator_of(self.seed, step)
        proposals = self.controller.propose(self.batch_size, rng)
        floats = (proposals.log_prob, proposals.entropy)
        parts = [np.asarray(part, np.float32).view(np.int32) for part in floats]
        self.cluster.broadcast_array(np.stack([proposals.tokens, *parts]))
        return proposals

    def _evaluate(
        self, step: int, new: Mapping[int, Architecture]
    ) -> Iterator[tuple[Trial, Record]]:
        """Evaluates new architectures of a step, each on one worker."""
        own: dict[int, Trial] = {}

        def evaluate(trial_id: int) -> Record:
            architecture = new[trial_id]
            evaluation = self.evaluator.evaluation(
                architecture, self.evaluation_seed
            )
            own[trial_id] = Trial(
                trial_id, architecture.tokens, architecture.spec, evaluation
            )
            self.on_evaluated(own[trial_id])
            return own[trial_id].to_record(self.batch_size)

        records = share_out(
            list(new),
            evaluate,
            self.cluster,
            self.pending,
            pending_key,
            lambda shares: self._keep_shares(step, shares),
        )
        for trial_id, record in zip(new, records, strict=True):
            trial = own.get(trial_id)
            yield trial or trial_of_record(record, new[trial_id]), record

    def _keep_shares(self, step: int, shares: Shares) -> None:
        if self.store is not None:
            self.store.keep_shares(step, shares)

    def _count_failure(self, trial: Trial) -> None:
        if trial.evaluation.infeasible is None:
            self.failures_in_a_row = 0
        elif trial.id not in self.records:
            self.failures_in_a_row += 1
        if self.failures_in_a_row >= self.max_consecutive_failures:
            self.cluster.broadcast(b"")  # The chief has written all by now.
            raise SearchError(
                f"{self.failures_in_a_row} architectures in a row were "
                f"infeasible; the last: {trial.evaluation.infeasible}."
            )

    def _feed_back(
        self, step: int, proposals: Proposals, batch: list[Trial]
    ) -> None:
        evaluations = [trial.evaluation for trial in batch]
        metrics = self.controller.feedback(proposals, evaluations)
        if not all(map(math.isfinite, metrics.values())):
            raise SearchError(
                f"The controller diverged at update {step}: {metrics}. Its "
                "state is that of the update before."
            )
        if self.store is not None:
            self.store.keep_update(step, metrics, self.controller.state())
