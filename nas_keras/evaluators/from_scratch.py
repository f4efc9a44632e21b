"""`ChildTrainer`: scores architectures by training a model of each."""

import dataclasses
import functools
from typing import Any
from typing import Protocol

import numpy as np

from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.evaluators.evaluator import guarded
from nas_keras.evaluators.rewards import check_reward
from nas_keras.evaluators.rewards import reward_of
from nas_keras.evaluators.trial import Evaluation
from nas_keras.spaces.space import Space
from nas_keras.supernets.recurrent import layer_maker
from nas_keras.tasks.images.children import ImageTrainer
from nas_keras.tasks.images.task import ImageTask
from nas_keras.tasks.language_model.children import LanguageModelTrainer
from nas_keras.tasks.language_model.model import LanguageModelTask


class ChildTrainer(Evaluator):
    """Trains each child from scratch and rewards its validation score.

    Cells: the architecture is data to the training step, which is compiled
    once a process, at the first child. A child's result is that of a model
    with `NASRNN(units, space.decode(tokens))`, trained in the same way; in the
    space of ENAS, whose kernels `NASRNN` packs by architecture, up to the
    initial weights. All children begin with the same weights and see the same
    text in the same order, so that they differ by their architecture alone.

    Image networks: each child is a model and a program of its own, trained as
    `nas_keras.tasks.train_images` trains it.

    Args:
        space: For text made by `tree_space` or `enas_recurrent_space`; for
            images any space that decodes to networks.
        task: `LanguageModelTask` or `ImageTask`: the data and the training.
        reward: Of text `"c/ppl^2"`, the paper's and the default; `"c/ppl"`,
            ENAS'; or `"-loss"`, the negative validation loss in nats. Of
            images `"accuracy^3"`, the paper's and the default, or
            `"accuracy"`; of the best of the last five epochs.
        c: The constant of the first two.

    Raises:
        ValueError: If an argument breaks its rule.

    Example:

    >>> from nas_keras.data import build_corpus
    >>> from nas_keras.spaces import tree_space
    >>> from nas_keras.tasks import LanguageModelConfig
    >>> corpus = build_corpus("she sells sea shells " * 60, name="shells")
    >>> config = LanguageModelConfig(units=8, batch_size=2, num_steps=4)
    >>> task = LanguageModelTask(config, corpus)
    >>> trainer = ChildTrainer(tree_space(2), task, reward="c/ppl", c=1.0)
    >>> trainer.num_traces  # The first child compiles.
    0

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), sections 4.1, 4.2.
    """

    def __init__(
        self,
        space: Space,
        task: LanguageModelTask | ImageTask,
        reward: str | None = None,
        c: float = 80.0,
    ):
        is_of_images = isinstance(task, ImageTask)
        reward = reward or ("accuracy^3" if is_of_images else "c/ppl^2")
        check_reward(reward, c, is_of_images)
        self.space = space
        self.task = task
        self.reward = reward
        self.c = c
        self._children: _Children
        if isinstance(task, ImageTask):
            self._children = _ImageChildren(space, task)
        else:
            self._children = _Cells(space, task)

    @property
    def num_traces(self) -> int:
        """How often the training step has been traced; of cells, once."""
        return self._children.num_traces

    def evaluate(self, tokens: np.ndarray, seed: int) -> list[Evaluation]:
        rows = [self.space.validate(row) for row in np.asarray(tokens)]
        return [
            guarded(functools.partial(self._score, row, seed)) for row in rows
        ]

    def _score(
        self, tokens: tuple[int, ...], seed: int
    ) -> tuple[float, dict[str, float]]:
        metrics = self._children.train(tokens, seed)
        return reward_of(self.reward, self.c, metrics), metrics

    def config(self) -> dict[str, Any]:
        return {
            **super().config(),
            "reward": self.reward,
            "c": self.c,
            **task_config(self.task),
        }


class _Children(Protocol):
    """Models of a space's architectures, one after the other."""

    @property
    def num_traces(self) -> int:
        """How often a training step has been traced."""

    def train(self, tokens: tuple[int, ...], seed: int) -> dict[str, float]:
        """Returns the figures of an architecture, trained from a seed."""


class _Cells:
    """Language models of cells, by one program."""

    def __init__(self, space: Space, task: LanguageModelTask):
        make_layer = layer_maker(space, task.config, shared=False)
        self._model = task.model_of(make_layer)
        self._trainer = LanguageModelTrainer(task, self._model)

    @property
    def num_traces(self) -> int:
        return self._trainer.num_traces

    def train(self, tokens: tuple[int, ...], seed: int) -> dict[str, float]:
        for layer in self._model.recurrent:
            layer.tokens.assign(np.array(tokens, np.int32))
        return self._trainer.train(seed)


class _ImageChildren:
    """Image networks, each a program of its own."""

    def __init__(self, space: Space, task: ImageTask):
        self._space = space
        self._trainer = ImageTrainer(task)
        self.num_traces = 0

    def train(self, tokens: tuple[int, ...], seed: int) -> dict[str, float]:
        self.num_traces += 1
        return self._trainer.train(self._space.decode(tokens), seed)


def task_config(task: LanguageModelTask | ImageTask) -> dict[str, Any]:
    """Returns what scores on a task depend on, JSON-able."""
    if isinstance(task, ImageTask):
        return task.settings()
    return {
        "task": dataclasses.asdict(task.config),
        "corpus": {"name": task.corpus.name, "sha256": task.corpus.sha256},
    }
