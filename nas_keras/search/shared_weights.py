"""`SharedWeights`: all architectures of a space use one set of weights (ENAS).

Two phases take turns. In the first the weights are trained on the training
text, one architecture of the controller's for each minibatch; in the second
the controller is, by the rewards of its architectures with the weights as
they are. One compiled step serves all architectures: they are data to it.
Axes: B batch, A decisions, U updates.
"""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from nas_keras.controllers.controller import Controller
from nas_keras.search import checkpoints
from nas_keras.search.architecture_layers import layer_maker
from nas_keras.search.child_trainer import check_reward
from nas_keras.search.child_trainer import task_config
from nas_keras.search.cluster import Cluster
from nas_keras.search.evaluator import Evaluator
from nas_keras.search.evaluator import guarded
from nas_keras.search.noise import noise
from nas_keras.search.rewards import REWARDS
from nas_keras.search.trial import Evaluation
from nas_keras.search.trial import SearchError
from nas_keras.spaces.space import Space
from nas_keras.tasks import language_model_training as training
from nas_keras.tasks.language_model import LanguageModelTask

# Apart from the seeds of a search's own noise.
_NOISE_SEED = 2**62
_UPDATES_PER_REPORT = 50
_MAX_SKIPPED = 0.5  # Of the updates of a phase.


class SharedWeights(Evaluator):
    """Scores architectures by weights that all of them share.

    Give it to `search` in the place of a `ChildTrainer`: before the
    architectures of every `steps_per_phase`-th update are sampled, the weights
    are trained for a while on those that the controller proposes. In a tree
    space all architectures have the same matrices; in the space of ENAS there
    is a matrix for each node, node that it reads, and activation.

    A minibatch begins with states of zero, since the one before it was of
    another architecture; so does the text of a reward. An update whose loss is
    above twice that of a uniform guess, or whose gradient is not finite, is
    skipped: one architecture that explodes is not to spoil what all use.

    Workers of a cluster train on their part of every minibatch, with the same
    architecture, and average their gradients. Their weights are equal; those
    of another number of workers differ by rounding, and where there is dropout
    by its masks.

    Args:
        space: Made by `tree_space` or `enas_recurrent_space`.
        task: The text, the model, and the training of the shared weights: all
            phases together have its `num_updates`, or its `num_epochs`.
        reward: `"c/ppl"`, the paper's; `"c/ppl^2"` or `"-loss"`.
        c: The constant of the first two.
        num_phases: Phases of training the weights; in later steps of the
            search the weights stay as they are.
        steps_per_phase: Updates of the controller after each.
        windows_per_reward: Windows of the validation text that a reward is
            measured on, the same for all architectures of an update; the next
            update takes the next ones. 0: all.
        seed: Of the initial weights, and of the architectures that they are
            trained with.
        on_updated: Is told of updates done and of updates in all.

    Raises:
        ValueError: If an argument breaks its rule.

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.2.
    """

    is_repeatable = False  # The weights change.

    def __init__(
        self,
        space: Space,
        task: LanguageModelTask,
        reward: str = "c/ppl",
        c: float = 80.0,
        num_phases: int = 10,
        steps_per_phase: int = 10,
        windows_per_reward: int = 1,
        seed: int = 0,
        on_updated: Callable[[int, int], None] = lambda done, total: None,
    ):
        make_layer = layer_maker(space, task.config, shared=True)
        check_reward(reward, c)
        for name, value, low in (
            ("num_phases", num_phases, 1),
            ("steps_per_phase", steps_per_phase, 1),
            ("windows_per_reward", windows_per_reward, 0),
            ("seed", seed, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(
                    f"{name} must be an int. Received: {name}={value!r}."
                )
            if value < low:
                raise ValueError(
                    f"{name} must be at least {low}. Received: "
                    f"{name}={value!r}."
                )
        self.space = space
        self.task = task
        self.reward = reward
        self.c = c
        self.num_phases = num_phases
        self.steps_per_phase = steps_per_phase
        self.windows_per_reward = windows_per_reward
        self.seed = seed
        self.on_updated = on_updated
        self.model = task.model_of(make_layer)
        self._weights = _TrainedWeights(task, self.model)
        self._validation = _Scored(task, self.model)
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
        rows = self._weights.cluster.broadcast_array(np.array(rows, np.int32))
        losses = []
        for index, row in enumerate(rows, start=1):
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
        """Returns an evaluator by the whole validation text.

        It never trains: the weights are those that this one then has. With it
        architectures are derived from a trained controller.
        """
        return _Scorer(self)

    def score_all(self, tokens: np.ndarray) -> list[Evaluation]:
        """Returns evaluations by the whole validation text."""
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

        def score(row):
            loss_nats = self._validation.loss(row, first, num)
            level = self.task.corpus.level
            metrics = training.loss_metrics("validation", loss_nats, level)
            return REWARDS[self.reward](loss_nats, self.c), metrics

        return [guarded(lambda row=row: score(row)) for row in rows]


class _Scorer(Evaluator):
    """Scores by a `SharedWeights`' weights as they are."""

    def __init__(self, shared: SharedWeights):
        self.shared = shared

    def evaluate(self, tokens: np.ndarray, seed: int) -> list[Evaluation]:
        return self.shared.score_all(tokens)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "shared": self.shared.config()}


class _TrainedWeights:
    """The shared weights and their optimizer, a worker's part of them."""

    def __init__(self, task: LanguageModelTask, model):
        self._model = model
        self._config = task.config
        # The whole batch's: a worker has some of its rows.
        self._all_streams = training.streams(task.corpus.train, task.config)
        self._num_windows = training.num_windows(self._all_streams, task.config)
        self._max_loss_nats = 2 * math.log(task.corpus.vocabulary_size)
        self.num_updates = (
            task.config.num_updates
            or task.config.num_epochs * self._num_windows
        )
        self._variables = model.trainable_variables
        self._optimizer = training.optimizer_of(
            task.config, self.num_updates, self._num_windows
        )
        self._optimizer.build(self._variables)
        self._slots = [np.array(v) for v in self._optimizer.variables]
        self._update = None
        self.cluster = Cluster()
        self.distribute(self.cluster)

    @property
    def num_traces(self) -> int:
        return self._update.experimental_get_tracing_count()

    def distribute(self, cluster: Cluster) -> None:
        """Takes this worker's rows of every minibatch."""
        batch_size = self._config.batch_size
        if batch_size % cluster.size:
            raise ValueError(
                "The batch_size of a task must be a multiple of the number of "
                f"workers, {cluster.size}. Received: batch_size={batch_size}."
            )
        was_alone = self._update is not None and self.cluster.size == 1
        self.cluster = cluster
        if was_alone and cluster.size == 1:
            return  # What is compiled is the same.
        rows = cluster.share(range(batch_size))
        self._streams = self._all_streams[rows[0] : rows[-1] + 1]
        self._local = dataclasses.replace(
            self._config, batch_size=batch_size // cluster.size
        )
        self._gradients = tf.function(
            self._loss_and_gradients,
            jit_compile=training.uses_xla(self._config),
        )
        self._update = tf.function(self._apply)

    def begin(self, seed: int) -> None:
        """Sets weights, optimizer and random generators to their beginning."""
        # Masks of dropout differ from worker to worker.
        training.begin(self._model, seed + self.cluster.index)
        weights = training.initial_weights(
            [tuple(v.shape) for v in self._variables],
            self._config.init_scale,
            seed,
        )
        self._assign([*weights, *self._slots])

    def update(self, tokens: np.ndarray, number: int) -> float:
        """Returns the loss in nats, NaN if the update was skipped."""
        with self.cluster.watched():
            window = tf.constant(number % self._num_windows)
            loss = self._update(tf.constant(tokens), window, self._streams)
            return float(loss)

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
            seed = (seed + self.cluster.index) % 2**31  # See `begin`.
            generator.assign(np.array([seed, count]))

    def _generators(self) -> list[Any]:
        return [
            variable
            for variable in self._model.non_trainable_variables
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

    def _loss_and_gradients(self, tokens, inputs, targets):
        choose(self._model, tokens)
        states = self._model.initial_states(self._local.batch_size)
        with tf.GradientTape() as tape:
            loss, _ = training.loss_of(
                self._model, inputs, targets, states, True
            )
        gradients = tape.gradient(loss, self._variables)
        # Of an embedding they are better dense, of node kernels sparse: the
        # rows of one architecture, all different.
        return loss, [
            gradient
            if variable.name == "node_kernels"
            else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(
                gradients, self._variables, strict=True
            )
        ]

    def _apply(self, tokens, window, data):
        # Not inside, where XLA would compile anew for every window.
        inputs, targets = training.window_of(data, window, self._local)
        loss, gradients = self._gradients(tokens, inputs, targets)
        if self.cluster.size > 1:
            loss, gradients = self._averaged(loss, gradients)
        gradients, norm = tf.clip_by_global_norm(
            gradients, self._config.clip_norm
        )
        is_of_use = tf.math.is_finite(norm) & (loss <= self._max_loss_nats)

        def apply():
            self._optimizer.apply(gradients, self._variables)
            return loss

        return tf.cond(is_of_use, apply, lambda: tf.constant(math.nan))

    def _averaged(self, loss, gradients):
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


class _Scored:
    """The validation text and the loss of an architecture on a part of it."""

    def __init__(self, task: LanguageModelTask, model):
        self._model = model
        self._config = task.config
        tokens = task.corpus.validation
        if task.config.max_validation_tokens:
            tokens = tokens[: task.config.max_validation_tokens]
        self._data = training.streams(tokens, task.config)
        self.num_windows = training.num_windows(self._data, task.config)
        self._losses = tf.function(
            self._sum_of_losses, jit_compile=training.uses_xla(task.config)
        )

    def loss(self, tokens: tuple[int, ...], first: int, num: int) -> float:
        """Returns the mean loss in nats over `num` windows from `first` on.

        Raises:
            FloatingPointError: If it is not finite, or above 100 nats.
        """
        total = self._losses(
            tf.constant(tokens, tf.int32),
            tf.constant(first % self.num_windows),
            tf.constant(num),
        )
        loss_nats = float(total) / num
        if not loss_nats < training.MAX_LOSS_NATS:
            raise FloatingPointError(
                f"diverged: the validation loss is {loss_nats:.4g} nats"
            )
        return loss_nats

    def _sum_of_losses(self, tokens, first, num):
        choose(self._model, tokens)

        def score(index, total, states):
            window = (first + index) % self.num_windows
            data = training.window_of(self._data, window, self._config)
            loss, states = training.loss_of(self._model, *data, states, False)
            return index + 1, total + loss, states

        states = self._model.initial_states(self._config.batch_size)
        _, total, _ = tf.while_loop(
            lambda index, *_: index < num,
            score,
            (tf.constant(0), tf.constant(0.0), states),
        )
        return total


def choose(model, tokens: tf.Tensor) -> None:
    """Sets the architecture of all recurrent layers of a model, in a graph."""
    for layer in model.recurrent:
        layer.tokens.assign(tokens)


def _values(gradient):
    is_sparse = isinstance(gradient, tf.IndexedSlices)
    return gradient.values if is_sparse else gradient


def _with_values(gradient, values):
    if not isinstance(gradient, tf.IndexedSlices):
        return values
    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
