"""The searches of a run: the controller's, and a random one of equal budget.

A search whose networks grow is several, one for each depth, each begun with
the controller of the one before.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import Protocol

from nas_keras.controllers.config import Random
from nas_keras.controllers.controller import Controller
from nas_keras.controllers.controller import FrozenController
from nas_keras.controllers.growth import grown
from nas_keras.distribute.cluster import Cluster
from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.evaluators.shared import SharedWeights
from nas_keras.evaluators.trial import Trial
from nas_keras.experiment.experiment import Experiment
from nas_keras.experiment.finals import Candidate
from nas_keras.experiment.finals import best_distinct
from nas_keras.search.loop import search
from nas_keras.spaces.space import Space

# Apart from one another: the seeds of searches.
_RANDOM_SEED, _DERIVING_SEED, _DEPTH_SEED = 1_000_003, 2_000_003, 10_000_019


class Display(Protocol):
    """What shows how far a phase is."""

    def advance(
        self, place: int, elapsed_s: float, reward: float | None = None,
        *, text: str = "",
    ) -> None:  # fmt: skip
        """Shows that an item is done, at most once for each place."""

    def note(self, text: str) -> None:
        """Shows what is going on between two items."""


class Silent:
    """A display that shows nothing."""

    def advance(self, *arguments: Any, **words: Any) -> None:
        """Shows nothing."""

    def note(self, text: str) -> None:
        """Shows nothing."""


# Label, total, what an item is, number of workers -> the display of a phase.
MakeDisplay = Callable[
    [str, int, str, int], contextlib.AbstractContextManager[Display]
]


def silent(
    label: str, total: int, noun: str, num_workers: int
) -> contextlib.AbstractContextManager[Display]:
    """Returns a display that shows nothing, for a phase."""
    return contextlib.nullcontext(Silent())


@dataclasses.dataclass(frozen=True)
class _Stage:
    """A depth of a search, or all of it; or what is derived at its end.

    Attributes:
        name: Name in labels, and of its folder; empty if it is all of a search.
        space: The space of its architectures.
        evaluator: The evaluator of that space.
        num_trials: Its trials.
        seed: Added to the seed of the search.
    """

    name: str
    space: Space
    evaluator: Evaluator
    num_trials: int
    seed: int


class Searches:
    """The searches of a run: they share evaluators, settings and cluster.

    Args:
        experiment: The configuration and the data.
        workdir: The workdir, held by this cluster.
        make_display: Makes the display of a phase.
        cluster: The workers.
    """

    def __init__(
        self,
        experiment: Experiment,
        workdir: Path,
        make_display: MakeDisplay,
        cluster: Cluster,
    ):
        self._experiment = experiment
        self._config = config = experiment.config
        self._workdir = workdir
        self._make_display = make_display
        self._cluster = cluster
        self._display: Display = Silent()  # Of the phase that is on.
        self._stages = []
        for number, (settings, num_trials) in enumerate(config.stages()):
            space = settings.make()
            name = f"depth_{settings.layers:02d}" if config.growth else ""
            evaluator = config.evaluator.make(
                space, experiment.task, config.seed, self._note
            )
            seed = number * _DEPTH_SEED
            self._stages.append(
                _Stage(name, space, evaluator, num_trials, seed)
            )

    def _note(self, text: str) -> None:
        self._display.note(text)

    def finalists(self) -> list[Candidate]:
        """Returns the best of the search and of the random baseline."""
        config, workdir = self._config, self._workdir
        is_random = isinstance(config.controller, Random)
        trials = self._run("search", workdir, config.seed, config.controller)
        finalists = self._best(trials, "random" if is_random else "controller")
        if is_random or not config.random_baseline:
            return finalists
        # Other proposals than the controller's, the same seed of the children.
        seed = config.seed + _RANDOM_SEED
        folder = workdir / "random"
        trials = self._run("random search", folder, seed, Random())
        return finalists + self._best(trials, "random")

    def _best(self, trials: list[Trial], origin: str) -> list[Candidate]:
        decode = self._config.make_final_space().decode
        return best_distinct(trials, self._config.finals.top, origin, decode)

    def _run(
        self, label: str, folder: Path, seed: int, settings: Any
    ) -> list[Trial]:
        """Returns the trials of a search that its best are among.

        Children trained from scratch are all of them, of all depths. Rewards
        by shared weights are on few data and of changing weights: there, the
        trials are architectures derived from the trained controller.
        """
        trials: list[Trial] = []
        before: Controller | None = None
        for stage in self._stages:
            controller = settings.make(stage.space, self._config.seed)
            if before is not None:
                state = grown(before.state(), before, controller)
                controller.restore(state)
            its_trials = self._search(label, controller, stage, folder, seed)
            # Numbered as one search.
            trials += [
                dataclasses.replace(trial, id=len(trials) + place)
                for place, trial in enumerate(its_trials)
            ]
            before = controller
        if not isinstance(stage.evaluator, SharedWeights):
            return trials
        deriving = _Stage(
            "derived",
            stage.space,
            stage.evaluator.scorer(),
            self._config.evaluator.derive_trials,
            _DERIVING_SEED,
        )
        frozen = FrozenController(controller)
        return self._search(label, frozen, deriving, folder, seed)

    def _search(
        self,
        label: str,
        controller: Controller,
        stage: _Stage,
        folder: Path,
        seed: int,
    ) -> list[Trial]:
        """Returns the trials of a stage."""
        config = self._config
        label = f"{label} {stage.name}".strip()
        with self._make_display(
            label, stage.num_trials, "children", self._cluster.size
        ) as display:
            self._display = display

            def show(trial: Trial) -> None:
                score = trial.evaluation
                display.advance(trial.id, score.elapsed_s, score.reward)

            trials = []
            for trial in search(
                controller,
                stage.evaluator,
                stage.num_trials,
                folder / stage.name,
                batch_size=config.batch_size,
                cluster=self._cluster,
                seed=seed + stage.seed,
                evaluation_seed=config.seed,
                settings=self._experiment.settings,
                evaluate_again=config.evaluate_again,
                is_held=folder / stage.name == self._workdir,
                on_evaluated=show,
            ):
                show(trial)
                trials.append(trial)
        return trials
