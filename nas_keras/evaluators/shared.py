"""`SharedWeights`: all architectures of a space use one set of weights (ENAS).

Two phases take turns. In the first the weights are trained on the training
data, one architecture of the controller's for each minibatch; in the second
the controller is, by the rewards of its architectures with the weights as
they are. One compiled step serves all architectures: they are data to it.
Axes: B batch, A decisions, U updates.
"""

import math
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from nas_keras.checks import checked_int
from nas_keras.controllers.controller import Controller
from nas_keras.controllers.controller import generator_of
from nas_keras.distribute.cluster import Cluster
from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.evaluators.rewards import METRIC
from nas_keras.evaluators.rewards import check_reward
from nas_keras.evaluators.rewards import reward_of
from nas_keras.evaluators.trial import Architecture
from nas_keras.evaluators.trial import Evaluation
from nas_keras.evaluators.trial import SearchError
from nas_keras.spaces.space import Space
from nas_keras.storage import checkpoints
from nas_keras.tasks.task import SharedProgram
from nas_keras.tasks.task import Task

# Apart from the seeds of a search's own proposals.
_PROPOSAL_SEED = 2**62
_UPDATES_PER_REPORT = 50
_DEFAULTS = {"perplexity": "c/ppl", "accuracy": "accuracy"}  # ENAS'.
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
        space: One whose architectures can share weights: made by `tree_space`
            or `enas_recurrent_space`; for images, by `enas_macro_space` or
            `enas_micro_space`.
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
        task: Task,
        reward: str | None = None,
        c: float = 80.0,
        num_phases: int = 10,
        steps_per_phase: int = 10,
        windows_per_reward: int = 1,
        seed: int = 0,
        on_updated: Callable[[int, int], None] = lambda done, total: None,
    ):
        super().__init__(space)
        reward = reward or _DEFAULTS.get(task.metric.name, METRIC)
        check_reward(reward, c, task.metric)
        for name, value, low in (
            ("num_phases", num_phases, 1),
            ("steps_per_phase", steps_per_phase, 1),
            ("windows_per_reward", windows_per_reward, 0),
            ("seed", seed, 0),
        ):
            checked_int(value, name, low)
        self.task = task
        self.reward = reward
        self.c = c
        self.num_phases = num_phases
        self.steps_per_phase = steps_per_phase
        self.windows_per_reward = windows_per_reward
        self.seed = seed
        self.on_updated = on_updated
        program = task.program(space, shared=True)
        if not isinstance(program, SharedProgram):
            raise ValueError(
                "space must be one whose architectures share weights in "
                f"{type(task).__name__}. Received: space={space.name!r}."
            )
        self._program = program
        self._weights = _Weights(program)
        self.model = program.model
        self._folder: Path | None = None
        self._step = 0
        self._begin()

    @property
    def num_updates(self) -> int:
        """Updates of the weights in all phases together."""
        return self._program.num_updates

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
            rng = generator_of(_PROPOSAL_SEED + self.seed, phase)
            proposals = controller.propose(last - first, rng)
            self.train(proposals.tokens, first)
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

    def score(
        self, architecture: Architecture, seed: int
    ) -> tuple[float, dict[str, float]]:
        """Scores by the weights as they are, whatever `seed` is."""
        num = self.windows_per_reward
        return self._scored(architecture, self._step * num, num)

    def scorer(self) -> Evaluator:
        """Returns an evaluator by all validation data.

        It never trains: the weights are those that this one then has. With it
        architectures are derived from a trained controller.
        """
        return _Scorer(self)

    def score_all(self, tokens: np.ndarray) -> list[Evaluation]:
        """Returns evaluations of `tokens` int [B, A] by all validation data."""
        return self.scorer().evaluate(tokens, seed=0)

    def config(self) -> dict[str, Any]:
        return {
            **super().config(),
            "reward": self.reward,
            "c": self.c,
            "num_phases": self.num_phases,
            "steps_per_phase": self.steps_per_phase,
            "windows_per_reward": self.windows_per_reward,
            "seed": self.seed,
            **self.task.settings(),
        }

    def _begin(self) -> None:
        self._weights.begin(self.seed)
        self._step = 0

    def _scored(
        self, architecture: Architecture, first: int, num: int
    ) -> tuple[float, dict[str, float]]:
        metrics = self._program.metrics(
            architecture.tokens, first, num or self._program.num_batches
        )
        reward = reward_of(self.reward, self.c, self.task.metric, metrics)
        return reward, metrics


class _Scorer(Evaluator):
    """Scores by a `SharedWeights`' weights as they are."""

    def __init__(self, shared: SharedWeights):
        super().__init__(shared.space)
        self.shared = shared

    def score(
        self, architecture: Architecture, seed: int
    ) -> tuple[float, dict[str, float]]:
        return self.shared._scored(architecture, 0, 0)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "shared": self.shared.config()}


class _Weights:
    """The weights of a `SharedProgram`, their optimizer, a worker's part.

    Args:
        program: What the weights are of.

    Attributes:
        program: As given.
        cluster: The workers.
    """

    def __init__(self, program: SharedProgram):
        self.program = program
        self.cluster = Cluster()
        self._variables = program.model.trainable_variables
        self._optimizer = program.optimizer
        self._optimizer.build(self._variables)
        self._slots = [np.array(v) for v in self._optimizer.variables]
        # An update whose loss is above twice that of a uniform guess is
        # skipped.
        self._max_loss_nats = 2 * math.log(program.num_classes)
        self._update: Any = None  # Compiled once it is distributed.
        self.distribute(self.cluster)

    @property
    def num_traces(self) -> int:
        """How often the training step has been traced."""
        return self._update.experimental_get_tracing_count()

    def distribute(self, cluster: Cluster) -> None:
        """Takes this worker's rows of every minibatch."""
        if self.program.batch_size % cluster.size:
            raise ValueError(
                "The batch_size of a task must be a multiple of the number of "
                f"workers, {cluster.size}. Received: "
                f"batch_size={self.program.batch_size}."
            )
        was_alone = self._update is not None and self.cluster.size == 1
        self.cluster = cluster
        if was_alone and cluster.size == 1:
            return  # What is compiled is the same.
        self.program.take(list(cluster.share(range(self.program.batch_size))))
        self._update = tf.function(self._apply, autograph=False)

    def begin(self, seed: int) -> None:
        """Sets weights, optimizer and random generators to their beginning."""
        first = self.program.begin(seed, self.cluster.index)
        self._assign([*first, *self._slots])

    def update(self, tokens: np.ndarray, number: int) -> float:
        """Returns the loss in nats, NaN if the update was skipped."""
        with self.cluster.watched():
            inputs = self.program.inputs(number)
            return float(self._update(tf.constant(tokens), *inputs))

    def state(self) -> dict[str, np.ndarray]:
        """Returns everything that `update` changes, as named arrays."""
        return {
            f"{index:03d}": np.array(variable)
            for index, variable in enumerate(self._all_variables())
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what the chief's `state` returned."""
        self._assign([state[name] for name in sorted(state)])
        for generator in self._generators():
            seed, count = np.array(generator).tolist()
            # Masks of dropout differ from worker to worker.
            seed = (seed + self.cluster.index) % 2**31
            generator.assign(np.array([seed, count]))

    def _generators(self) -> list[Any]:
        return [
            variable
            for variable in self.program.model.non_trainable_variables
            if variable.name == "seed_generator_state"
        ]

    def _all_variables(self) -> list[Any]:
        return [
            *self._variables,
            *self._optimizer.variables,
            *self._generators(),
        ]

    def _assign(self, arrays: list[np.ndarray]) -> None:
        for variable, array in zip(self._all_variables(), arrays, strict=False):
            variable.assign(array)

    def _apply(self, tokens: tf.Tensor, *inputs: tf.Tensor) -> tf.Tensor:
        loss, gradients = self.program.loss_and_gradients(tokens, *inputs)
        if self.cluster.size > 1:
            loss, gradients = self._averaged(loss, gradients)
        gradients, norm = self.program.regularized(gradients)
        is_of_use = tf.math.is_finite(norm) & (loss <= self._max_loss_nats)

        def apply() -> tf.Tensor:
            self._optimizer.apply(gradients, self._variables)
            return loss

        return tf.cond(is_of_use, apply, lambda: tf.constant(math.nan))

    def _averaged(
        self, loss: tf.Tensor, gradients: list[Any]
    ) -> tuple[tf.Tensor, list[Any]]:
        """Returns the means over the workers, by one exchange."""
        parts = [loss, *(_values(gradient) for gradient in gradients)]
        shapes = [part.shape for part in parts]
        joined = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
        sizes = [shape.num_elements() for shape in shapes]
        means = [
            tf.reshape(part, shape)
            for part, shape in zip(
                tf.split(self.cluster.mean(joined), sizes), shapes, strict=True
            )
        ]
        return means[0], [
            _with_values(gradient, values)
            for gradient, values in zip(gradients, means[1:], strict=True)
        ]


def _values(gradient: Any) -> tf.Tensor:
    is_sparse = isinstance(gradient, tf.IndexedSlices)
    return gradient.values if is_sparse else gradient


def _with_values(gradient: Any, values: tf.Tensor) -> Any:
    if not isinstance(gradient, tf.IndexedSlices):
        return values
    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
