"""`Experiment`: a configured search, with its data opened and checked.

All that can be wrong with a configuration is known here, before anything slow
is loaded. No TensorFlow, no Keras.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from nas_keras.evaluators.config import Shared
from nas_keras.evaluators.rewards import check_reward
from nas_keras.experiment.config import SearchConfig
from nas_keras.settings import refuse
from nas_keras.spaces.space import Space
from nas_keras.tasks.task import Task


class Experiment:
    """A search configuration and its data.

    Args:
        config: `SearchConfig`.
        data: What `config.data.open` returns.

    Attributes:
        config: As given.
        data: As given.
        task: The task of children, or of shared weights.
        final_task: The task of the finals.

    Raises:
        ValueError: If the data are too few for the trainings or too small for
            the networks, the evaluator has no reward for the task, or an
            architecture of `finals.published` cannot be loaded, has the name
            of another, or is too large.
    """

    def __init__(self, config: SearchConfig, data: Any):
        self.config = config
        self.data = data
        self.task: Task = config.child.task(data)
        self.final_task: Task = config.finals.training.task(data)
        check_reward(
            config.evaluator.reward, config.evaluator.c, self.task.metric
        )
        self._check_architectures()

    def _check_architectures(self) -> None:
        config, task = self.config, self.final_task
        finals, space = config.finals, config.space.make()
        self.task.check_space(space)
        if isinstance(config.evaluator, Shared):
            if space.supernet is None:
                rule = f"FromScratch for {space.name}, which has no supernet"
                refuse("evaluator", rule, config.evaluator)
            self.task.check_shared(space)
        self.task.check(_least(space), "the architectures of space")
        final_space = config.make_final_space()
        task.check_space(final_space)
        if finals.top or finals.random:
            least = _least(final_space)
            task.resized(least, finals.parameters)
            task.check(least, "the finalists")
        specs = self.published()
        names = [spec.name for spec in specs]
        if len(set(names)) < len(names):
            raise ValueError(
                "The architectures of finals.published must have different "
                f"names. Received: {names}."
            )
        for spec in specs:
            its_task = task.resized(spec, finals.parameters)
            its_task.check(spec, f"{spec.name!r} of finals.published")

    def published(self) -> list[Any]:
        """Returns the architectures of `finals.published` that exist now."""
        return [spec for _, spec in self._loaded() if spec is not None]

    def matched(self, best: Any) -> list[Any]:
        """Returns those of `finals.published` that are made like the best."""
        names = [name for name, spec in self._loaded() if spec is None]
        return [self.final_task.load(name, like=best) for name in names]

    def _loaded(self) -> list[tuple[str, Any]]:
        load = self.final_task.load
        return [(name, load(name)) for name in self.config.finals.published]

    @property
    def settings(self) -> dict[str, Any]:
        """What the workdir belongs to, JSON-able.

        Data and published architectures are known by what they hold, not by
        their paths.
        """
        settings = self.config.settings()
        published = {
            name if spec is None else spec.name: spec and spec.fingerprint
            for name, spec in self._loaded()
        }
        finals = {**settings["finals"], "published": published}
        paths = dict.fromkeys(self.config.data.paths)
        data = {**settings["data"], **paths, **self.task.settings()["data"]}
        return {
            **settings,
            "finals": finals,
            "data": data,
            "noun": self.task.noun,
            "metric": dataclasses.asdict(self.task.metric),
        }

    @property
    def whole(self) -> Mapping[str, Any]:
        """Everything that a finished run depends on, JSON-able."""
        return {**self.config.to_dict(), **self.settings}


def open_experiment(
    config: SearchConfig, data_dir: str | os.PathLike | None = None
) -> Experiment:
    """Returns the experiment of a configuration.

    Args:
        config: `SearchConfig`.
        data_dir: Folder of the data set's files, or of prepared TensorFlow
            Datasets.

    Raises:
        ValueError: If the data cannot be read, or as `Experiment` does.
        ImportError: If what the data need is not installed.
    """
    return Experiment(config, config.data.open(data_dir))


def _least(space: Space) -> Any:
    """Returns the architecture of the least option of every choice.

    In a space of image networks, its maps are as large as any.
    """
    return space.decode(
        [choice.options.index(min(choice.options)) for choice in space.choices]
    )
