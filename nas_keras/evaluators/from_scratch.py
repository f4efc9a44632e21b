"""`ChildTrainer`: scores architectures by training a model of each."""

from typing import Any

from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.evaluators.rewards import check_reward
from nas_keras.evaluators.rewards import reward_of
from nas_keras.evaluators.rewards import rewards_for
from nas_keras.evaluators.trial import Architecture
from nas_keras.spaces.space import Space
from nas_keras.tasks.task import Program
from nas_keras.tasks.task import Task


class ChildTrainer(Evaluator):
    """Trains each child from scratch and rewards its validation score.

    Where the task has a program for the space, the architecture is data to the
    training step, which is compiled once a process, at the first child. A
    child's result is then that of a model around `space.decode(tokens)`,
    trained in the same way; in the recurrent space of ENAS, whose kernels
    `NASRNN` packs by architecture, up to the initial weights. All children
    begin with the same weights and see the same data in the same order, so
    that they differ by their architecture alone.

    Otherwise each child is a model and a program of its own: `task.train`.

    Args:
        space: The `Space` of the tokens.
        task: The `Task`: data, model and training.
        reward: One of `rewards_for(task.metric)`. For perplexity `"c/ppl^2"`,
            the paper's and the default; `"c/ppl"`, ENAS'; or `"-loss"`, the
            negative validation loss in nats. For accuracy `"accuracy^3"`, the
            paper's and the default, or `"accuracy"`. For any other metric
            `"metric"`, its value, negative where less is better.
        c: The constant of the first two.

    Raises:
        ValueError: If an argument breaks its rule.

    Example:

    >>> from nas_keras.data import build_corpus
    >>> from nas_keras.spaces import tree_space
    >>> from nas_keras.tasks import LanguageModelConfig, LanguageModelTask
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
        task: Task,
        reward: str | None = None,
        c: float = 80.0,
    ):
        super().__init__(space)
        self.task = task
        self.reward = reward or rewards_for(task.metric)[0]
        self.c = c
        check_reward(self.reward, c, task.metric)
        program = task.program(space)
        self._program = program if isinstance(program, Program) else None
        self._num_models = 0

    @property
    def num_traces(self) -> int:
        """How often a training step was traced; by a program, once."""
        if self._program is not None:
            return self._program.num_traces
        return self._num_models

    def score(
        self, architecture: Architecture, seed: int
    ) -> tuple[float, dict[str, float]]:
        if self._program is not None:
            metrics = self._program.train(architecture.tokens, seed)
        else:
            self._num_models += 1
            metrics = self.task.train(architecture.spec, seed)
            # A trial says itself how long it took; its metrics are replayed.
            metrics.pop("elapsed_s", None)
        reward = reward_of(self.reward, self.c, self.task.metric, metrics)
        return reward, metrics

    def config(self) -> dict[str, Any]:
        return {
            **super().config(),
            "reward": self.reward,
            "c": self.c,
            **self.task.settings(),
        }
