"""The searches of a run: of the controller, and at random for as long.

A search whose networks grow is several, one for each depth, each begun with
the controller of the one before.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from nas_keras.controllers.baseline import EMABaseline
from nas_keras.controllers.controller import Controller
from nas_keras.controllers.controller import FrozenController
from nas_keras.controllers.controller import RandomController
from nas_keras.controllers.growth import grown
from nas_keras.controllers.policy_gradient import PolicyGradientController
from nas_keras.distribute.cluster import Cluster
from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.evaluators.shared import SharedWeights
from nas_keras.evaluators.trial import Trial
from nas_keras.experiment.config import SearchConfig
from nas_keras.experiment.finals import Candidate
from nas_keras.experiment.finals import best_distinct
from nas_keras.experiment.subject import Subject
from nas_keras.programs.progress import Progress
from nas_keras.search.loop import search
from nas_keras.spaces.space import Space

# Label, total, what an item is, number of workers -> the display of a phase.
MakeProgress = Callable[[str, int, str, int], Progress]

# Apart from one another: the seeds of the noise of searches.
_RANDOM_SEED, _DERIVING_SEED, _DEPTH_SEED = 1_000_003, 2_000_003, 10_000_019


@dataclasses.dataclass(frozen=True)
class _Stage:
    """A depth of a search, or all of it; or what is derived at its end.

    Attributes:
        name: In labels and of its folder; empty if it is all of a search.
        space: Of its architectures.
        evaluator: Of that space.
        num_trials: Of this stage.
        seed: Of its noise, added to that of the search.
    """

    name: str
    space: Space
    evaluator: Evaluator
    num_trials: int
    seed: int


class Searches:
    """The searches of a run: they share evaluators, settings and cluster.

    Args:
        subject: What is searched for.
        progress: Makes the display of a phase.
        cluster: The workers.
    """

    def __init__(
        self, subject: Subject, progress: MakeProgress, cluster: Cluster
    ):
        self._subject = subject
        self._config = subject.config
        self._progress = progress
        self._cluster = cluster
        self._baseline = EMABaseline(
            self._config.baseline_decay, self._config.normalize_advantage
        )
        self._stages = []
        for number, (layers, num) in enumerate(self._config.stages()):
            space = self._config.make_space(layers)
            name = f"depth_{layers:02d}" if self._config.depth_first else ""
            evaluator = subject.evaluator(space)
            seed = number * _DEPTH_SEED
            self._stages.append(_Stage(name, space, evaluator, num, seed))
        self._deriving: _Stage | None = None
        if isinstance(evaluator, SharedWeights):
            self._deriving = _Stage(
                "derived",
                space,
                evaluator.scorer(),
                self._config.derive_trials,
                _DERIVING_SEED,
            )

    def found(self, workdir: Path) -> list[Candidate]:
        """Returns the best of the search and of the random baseline."""
        config = self._config
        is_random = config.controller == "random"
        origin = "random" if is_random else "controller"
        trials = self._run("search", workdir, config.seed, is_random, True)
        found = self._best(trials, origin)
        if is_random or not config.random_baseline:
            return found
        # Other noise than the controller's, the same seed of the children.
        seed = config.seed + _RANDOM_SEED
        folder = workdir / "random"
        trials = self._run("random search", folder, seed, True, False)
        return found + self._best(trials, "random")

    def _best(self, trials: list[Trial], origin: str) -> list[Candidate]:
        return best_distinct(
            trials, self._config.retrain_top, origin, self._subject.spec_of
        )

    def _run(
        self,
        label: str,
        folder: Path,
        seed: int,
        is_random: bool,
        is_held: bool,
    ) -> list[Trial]:
        """Returns the trials of a search that its best are among.

        Those of children trained from scratch are all of them, of all depths.
        Rewards by shared weights are on few data and of changing weights:
        there, they are architectures derived from the controller once it is
        trained.
        """
        found: list[Trial] = []
        before: Controller | None = None
        for stage in self._stages:
            controller = _controller(self._config, stage.space, is_random)
            if before is not None:
                state = grown(before.state(), before, controller)
                controller.restore(state)
            trials = self._search(
                label, controller, stage, folder, seed, is_held
            )
            # Numbered as one search.
            found += [
                dataclasses.replace(trial, id=len(found) + place)
                for place, trial in enumerate(trials)
            ]
            before = controller
        if self._deriving is None:
            return found
        frozen = FrozenController(controller)
        return self._search(label, frozen, self._deriving, folder, seed, False)

    def _search(
        self,
        label: str,
        controller: Controller,
        stage: _Stage,
        folder: Path,
        seed: int,
        is_held: bool,
    ) -> list[Trial]:
        """Returns the trials of a stage."""
        config, size = self._config, self._cluster.size
        label = f"{label} {stage.name}".strip()
        with self._progress(
            label, stage.num_trials, "children", size
        ) as display:

            def show(trial: Trial) -> None:
                score = trial.evaluation
                display.advance(trial.id, score.elapsed_s, score.reward)

            if isinstance(stage.evaluator, SharedWeights):
                stage.evaluator.on_updated = lambda done, total: display.note(
                    f"training shared weights, {done:,} of {total:,} updates"
                )
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
                baseline=self._baseline,
                settings=self._subject.settings,
                evaluate_again=config.evaluate_again,
                is_held=is_held and not stage.name,
                on_evaluated=show,
            ):
                show(trial)
                trials.append(trial)
        return trials


def _controller(
    config: SearchConfig, space: Space, is_random: bool
) -> Controller:
    if is_random:
        return RandomController(space)
    return PolicyGradientController(
        space,
        loss=config.controller,
        seed=config.seed,
        units=config.controller_units,
        num_layers=config.controller_layers,
        init_scale=config.controller_init_scale,
        learning_rate=config.controller_learning_rate,
        entropy_weight=config.entropy_weight,
        entropy_bonus=config.entropy_bonus,
        temperature=config.temperature,
        tanh_constant=config.tanh_constant,
        clip=config.ppo_clip,
        num_epochs=config.ppo_epochs,
        num_minibatches=config.ppo_minibatches,
        skip_target=config.skip_target,
        skip_weight=config.skip_weight,
        skip_scale=config.skip_scale,
    )
