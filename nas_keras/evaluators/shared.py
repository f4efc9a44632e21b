"""`SharedWeights`: all architectures of a space use one set of weights (ENAS).

Two phases take turns. In the first the weights are trained on the training
data, one architecture of the controller's for each minibatch; in the second
the controller is, by the rewards of its architectures with the weights as
they are. One compiled step serves all architectures: they are data to it.
Axes: B batch, A decisions, U updates.
"""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import Protocol

import numpy as np
from absl import logging

from nas_keras.controllers.controller import Controller
from nas_keras.distribute.cluster import Cluster
from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.evaluators.evaluator import guarded
from nas_keras.evaluators.from_scratch import task_config
from nas_keras.evaluators.rewards import check_reward
from nas_keras.evaluators.rewards import reward_of
from nas_keras.evaluators.shared_images import halves_of_images
from nas_keras.evaluators.shared_text import halves_of_text
from nas_keras.evaluators.shared_training import TrainedWeights
from nas_keras.evaluators.trial import Evaluation
from nas_keras.evaluators.trial import SearchError
from nas_keras.search.noise import noise
from nas_keras.spaces.space import Space
from nas_keras.storage import checkpoints
from nas_keras.tasks.images.task import ImageTask
from nas_keras.tasks.language_model.model import LanguageModelTask

# Apart from the seeds of a search's own noise.
_NOISE_SEED = 2**62
_UPDATES_PER_REPORT = 50
_MAX_SKIPPED = 0.5  # Of the updates of a phase.


class SharedWeights(Evaluator):
    """Scores architectures by weights that all of them share.

    Give it to `search` in the place of a `ChildTrainer`: before the
    architectures of every `steps_per_phase`-th update are sampled, the weights
    are trained for a while on those that the controller proposes. In a tree
    space all architectures have the same matrices; in the recurrent space of
    ENAS there is a matrix for each node, node that it reads, and activation;
    in its macro space each layer has weights for each operation, in its micro
    space each branch of a node for each operation and node that it may read.

    Of text, a minibatch begins with states of zero, since the one before it
    was of another architecture; so does the text of a reward. An update whose
    loss is above twice that of a uniform guess, or whose gradient is not
    finite, is skipped: one architecture that explodes is not to spoil what all
    use.

    Workers of a cluster train on their part of every minibatch, with the same
    architecture, and average their gradients. Their weights are equal; those
    of another number of workers differ by rounding, and where there is dropout
    by its masks; of images, by the statistics of a batch, each worker's own.

    Args:
        space: Made by `tree_space` or `enas_recurrent_space`; for images, by
            `enas_macro_space` or `enas_micro_space`.
        task: The data, the model, and the training of the shared weights: all
            phases together have its `num_updates`, or its `num_epochs`. A
            `LanguageModelTask` or an `ImageTask`.
        reward: Of text `"c/ppl"`, the paper's and the default, `"c/ppl^2"` or
            `"-loss"`; of images `"accuracy"`, the paper's and the default, or
            `"accuracy^3"`.
        c: The constant of the first two.
        num_phases: Phases of training the weights; in later steps of the
            search the weights stay as they are.
        steps_per_phase: Updates of the controller after each.
        windows_per_reward: Windows of the validation text, or batches of the
            validation images, that a reward is measured on, the same for all
            architectures of an update; the next update takes the next ones.
            0: all.
        seed: Of the initial weights, and of the architectures that they are
            trained with.
        on_updated: Is told of updates done and of updates in all.

    Raises:
        ValueError: If an argument breaks its rule.

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), sections 2.2 to
        2.4.
    """

    is_repeatable = False  # The weights change.

    def __init__(
        self,
        space: Space,
        task: LanguageModelTask | ImageTask,
        reward: str | None = None,
        c: float = 80.0,
        num_phases: int = 10,
        steps_per_phase: int = 10,
        windows_per_reward: int = 1,
        seed: int = 0,
        on_updated: Callable[[int, int], None] = lambda done, total: None,
    ):
        is_of_images = isinstance(task, ImageTask)
        reward = reward or ("accuracy" if is_of_images else "c/ppl")
        check_reward(reward, c, is_of_images)
        for name, value, low in (
            ("num_phases", num_phases, 1),
            ("steps_per_phase", steps_per_phase, 1),
            ("windows_per_reward", windows_per_reward, 0),
            ("seed", seed, 0),
        ):
            _check_int(name, value, low)
        self.space = space
        self.task = task
        self.reward = reward
        self.c = c
        self.num_phases = num_phases
        self.steps_per_phase = steps_per_phase
        self.windows_per_reward = windows_per_reward
        self.seed = seed
        self.on_updated = on_updated
        self._weights: TrainedWeights
        self._validation: _Validation
        if isinstance(task, ImageTask):
            self._weights, self._validation = halves_of_images(
                space, task, seed
            )
        else:
            self._weights, self._validation = halves_of_text(space, task)
        self.model = self._weights.model
        self._folder: Path | None = None
        self._step = 0
        self._begin()

    @property
    def num_updates(self) -> int:
        """Updates of the weights in all phases together."""
        return self._weights.num_updates

    @property
    def num_traces(self) -> int:
        """How often the training step has been traced: 1, once used."""
        return self._weights.num_traces

    def open(self, folder: Path | None, step: int, cluster: Cluster) -> bool:
        self._folder = None if folder is None else folder / "shared_weights"
        self._weights.distribute(cluster)
        self._begin()
        phases = min(-(-step // self.steps_per_phase), self.num_phases)
        if not phases:
            return True
        message = b""
        if cluster.is_chief and self._folder is not None:
            arrays = checkpoints.load(self._folder, phases)
            message = checkpoints.encode(arrays) if arrays else b""
        message = cluster.broadcast(message)
        if not message:
            return False
        self._weights.restore(checkpoints.decode(message))
        return True

    def prepare(self, step: int, controller: Controller) -> None:
        self._step = step
        phase, offset = divmod(step, self.steps_per_phase)
        if offset or phase >= self.num_phases:
            return
        first, last = (
            self.num_updates * k // self.num_phases for k in (phase, phase + 1)
        )
        if first < last:
            shape = (last - first, len(self.space.choices))
            samples = controller.sample(
                noise(_NOISE_SEED + self.seed, phase, shape)
            )
            self.train(samples.tokens, first)
        if self._folder is not None and self._weights.cluster.is_chief:
            arrays = self._weights.state()
            checkpoints.save(self._folder, phase + 1, arrays)

    def train(self, tokens: np.ndarray, first: int = 0) -> float:
        """Trains the weights, one architecture for each minibatch.

        Args:
            tokens: int [U, A].
            first: Updates before these: where in the text, and in the
                schedule of the learning rate, to go on.

        Returns:
            The mean loss in nats, of updates that were not skipped.

        Raises:
            ValueError: If there is no row, or one is not an architecture of
                the space.
            SearchError: If more than half of the updates were skipped.
            PeerLostError: If a worker is lost.
        """
        rows = [self.space.validate(row) for row in np.asarray(tokens)]
        if not rows:
            raise ValueError("tokens must have a row. Received: none.")
        chosen = self._weights.cluster.broadcast_array(np.array(rows, np.int32))
        losses = []
        for index, row in enumerate(chosen, start=1):
            losses.append(self._weights.update(row, first + index - 1))
            if index % _UPDATES_PER_REPORT == 0 or index == len(rows):
                self.on_updated(first + index, self.num_updates)
        finite = [loss for loss in losses if math.isfinite(loss)]
        num_skipped = len(losses) - len(finite)
        if num_skipped > _MAX_SKIPPED * len(losses):
            raise SearchError(
                f"The shared weights do not train: {num_skipped} of "
                f"{len(losses)} updates had a loss above twice that of a "
                "uniform guess, or no finite gradient. A lower learning rate "
                "or clip_norm may help."
            )
        mean = math.fsum(finite) / len(finite)
        logging.debug(
            "Shared weights: %d updates, %d skipped, mean loss %.4f nats.",
            len(losses),
            num_skipped,
            mean,
        )
        return mean

    def evaluate(self, tokens: np.ndarray, seed: int) -> list[Evaluation]:
        """Returns the evaluations of `tokens` int [B, A], in order.

        They depend on the weights as they are, not on `seed`.
        """
        num = self.windows_per_reward or self._validation.num_windows
        return self._scores(tokens, self._step * num, num)

    def scorer(self) -> Evaluator:
        """Returns an evaluator by all validation data.

        It never trains: the weights are those that this one then has. With it
        architectures are derived from a trained controller.
        """
        return _Scorer(self)

    def score_all(self, tokens: np.ndarray) -> list[Evaluation]:
        """Returns evaluations by all validation data."""
        return self._scores(tokens, 0, self._validation.num_windows)

    def config(self) -> dict[str, Any]:
        return {
            **super().config(),
            "reward": self.reward,
            "c": self.c,
            "num_phases": self.num_phases,
            "steps_per_phase": self.steps_per_phase,
            "windows_per_reward": self.windows_per_reward,
            "seed": self.seed,
            **task_config(self.task),
        }

    def _begin(self) -> None:
        self._weights.begin(self.seed)
        self._step = 0

    def _scores(
        self, tokens: np.ndarray, first: int, num: int
    ) -> list[Evaluation]:
        rows = [self.space.validate(row) for row in np.asarray(tokens)]

        def score(row: tuple[int, ...]) -> tuple[float, dict[str, float]]:
            metrics = self._validation.metrics(row, first, num)
            return reward_of(self.reward, self.c, metrics), metrics

        return [guarded(functools.partial(score, row)) for row in rows]


class _Validation(Protocol):
    """The validation data, and how an architecture does on some of them."""

    num_windows: int

    def metrics(
        self, tokens: tuple[int, ...], first: int, num: int
    ) -> dict[str, float]:
        """Returns the figures over `num` windows from `first` on."""


class _Scorer(Evaluator):
    """Scores by a `SharedWeights`' weights as they are."""

    def __init__(self, shared: SharedWeights):
        self.shared = shared

    def evaluate(self, tokens: np.ndarray, seed: int) -> list[Evaluation]:
        return self.shared.score_all(tokens)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "shared": self.shared.config()}


def _check_int(name: str, value: int, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be an int. Received: {name}={value!r}.")
    if value < low:
        raise ValueError(
            f"{name} must be at least {low}. Received: {name}={value!r}."
        )
