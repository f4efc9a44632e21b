"""`Subject`: what a search is for, cells on text or image networks.

The loop, the controllers and the journals are the same for both; what differs
is asked of a subject.
"""

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_keras.evaluators.from_scratch import ChildTrainer
from nas_keras.evaluators.shared import SharedWeights
from nas_keras.evaluators.trial import Trial
from nas_keras.experiment.config import SearchConfig
from nas_keras.experiment.finals import Candidate
from nas_keras.experiment.finals import Trainings
from nas_keras.experiment.settings import SearchData
from nas_keras.experiment.settings import published
from nas_keras.experiment.settings import settings_of
from nas_keras.experiment.settings import whole_of
from nas_keras.spaces.space import Space


class Subject(abc.ABC):
    """What a search is for.

    Args:
        config: `SearchConfig`.
        data: What architectures are trained on.

    Attributes:
        file: Name of the file of the best found architecture.
        figure: The metric that retrained architectures are ranked by.
        is_more_better: Whether more of it is better.
    """

    file: str
    figure: str
    is_more_better: bool

    def __init__(self, config: SearchConfig, data: SearchData):
        self.config = config
        self.data = data

    @property
    def settings(self) -> dict[str, Any]:
        """What the workdir belongs to, JSON-able."""
        return settings_of(self.config, self.data)

    @property
    def whole(self) -> dict[str, Any]:
        """Everything a finished run depends on, JSON-able."""
        return whole_of(self.config, self.data)

    def evaluator(self, space: Space) -> ChildTrainer | SharedWeights:
        """Returns what scores the architectures of a space."""
        config, task = self.config, self.task(self.config.child)
        if config.evaluator == "scratch":
            return ChildTrainer(
                space, task, config.reward, config.reward_constant
            )
        return SharedWeights(
            space,
            task,
            config.reward,
            config.reward_constant,
            num_phases=config.num_phases,
            steps_per_phase=config.steps_per_phase,
            windows_per_reward=config.windows_per_reward,
            seed=config.seed,
        )

    def published(self) -> list[Candidate]:
        """Returns the named architectures to retrain."""
        return [Candidate(spec, "published") for spec in published(self.config)]

    def drawn(self) -> list[Candidate]:
        """Returns architectures drawn at random, not selected, to retrain."""
        return []

    def matched_to(self, best: Any) -> list[Candidate]:
        """Returns architectures made to be as costly as the best found."""
        return []

    def spec_of(self, trial: Trial) -> Any:
        """Returns what is retrained of a trial."""
        return trial.spec

    @abc.abstractmethod
    def task(self, training: Any) -> Any:
        """Returns the task of a training of this kind."""

    @abc.abstractmethod
    def trainings(self) -> Trainings:
        """Returns how architectures are retrained."""

    @abc.abstractmethod
    def save(self, spec: Any, folder: Path) -> None:
        """Writes the best found architecture into the workdir."""

    @abc.abstractmethod
    def describe(self, metrics: Mapping[str, float]) -> str:
        """Returns the figure in words; the metrics have it."""
