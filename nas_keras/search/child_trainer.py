"""`ChildTrainer`: scores cells by training a language model of each.

One program serves the whole space: the architecture is data to it.
"""

import dataclasses
from typing import Any

import numpy as np

from nas_keras.search.architecture_layers import layer_maker
from nas_keras.search.evaluator import Evaluator
from nas_keras.search.evaluator import guarded
from nas_keras.search.rewards import REWARDS
from nas_keras.search.trial import Evaluation
from nas_keras.spaces.space import Space
from nas_keras.tasks.language_model import LanguageModelTask
from nas_keras.tasks.language_model_training import LanguageModelTrainer


class ChildTrainer(Evaluator):
    """Trains each child from scratch and rewards its validation loss.

    The training step is compiled once a process, at the first child. A
    child's result is that of a model with `NASRNN(units, space.decode(
    tokens))`, trained in the same way; in the space of ENAS, whose kernels
    `NASRNN` packs by architecture, up to the initial weights. All children
    begin with the same weights and see the same text in the same order, so
    that they differ by their architecture alone.

    Args:
        space: Made by `tree_space` or `enas_recurrent_space`.
        task: `LanguageModelTask`: the text, the model and its training.
        reward: `"c/ppl^2"`, the paper's; `"c/ppl"`, ENAS'; or `"-loss"`, the
            negative validation loss in nats.
        c: The constant of the first two.

    Raises:
        ValueError: If an argument breaks its rule.

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), section 4.2.
    """

    def __init__(
        self,
        space: Space,
        task: LanguageModelTask,
        reward: str = "c/ppl^2",
        c: float = 80.0,
    ):
        make_layer = layer_maker(space, task.config, shared=False)
        check_reward(reward, c)
        self.space = space
        self.task = task
        self.reward = reward
        self.c = c
        self._model = task.model_of(make_layer)
        self._trainer = LanguageModelTrainer(task, self._model)

    @property
    def num_traces(self) -> int:
        """How often the training step has been traced: 1, once used."""
        return self._trainer.num_traces

    def evaluate(self, tokens: np.ndarray, seed: int) -> list[Evaluation]:
        rows = [self.space.validate(row) for row in np.asarray(tokens)]
        return [
            guarded(lambda row=row: self._train_child(row, seed))
            for row in rows
        ]

    def _train_child(
        self, tokens: tuple[int, ...], seed: int
    ) -> tuple[float, dict[str, float]]:
        for layer in self._model.recurrent:
            layer.tokens.assign(np.array(tokens, np.int32))
        metrics = self._trainer.train(seed)
        loss_nats = metrics["validation_loss_nats"]
        return REWARDS[self.reward](loss_nats, self.c), metrics

    def config(self) -> dict[str, Any]:
        return {
            **super().config(),
            "reward": self.reward,
            "c": self.c,
            **task_config(self.task),
        }


def check_reward(reward: str, c: float) -> None:
    """Refuses an unknown reward, or a constant that is not positive."""
    if reward not in REWARDS:
        raise ValueError(
            f"reward must be one of {list(REWARDS)}. Received: "
            f"reward={reward!r}."
        )
    if not c > 0:
        raise ValueError(f"c must be positive. Received: c={c!r}.")


def task_config(task: LanguageModelTask) -> dict[str, Any]:
    """Returns what scores on a task depend on, JSON-able."""
    return {
        "task": dataclasses.asdict(task.config),
        "corpus": {"name": task.corpus.name, "sha256": task.corpus.sha256},
    }
