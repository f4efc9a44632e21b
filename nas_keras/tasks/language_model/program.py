"""Language models of all cells of a space, each by one compiled program.

The architecture is data to the program: `tokens` of its recurrent layers. Its
updates and scores are those of every training (`LanguageModelSteps`). Axes: B
batch, T time steps, L tokens of a stream, A decisions. TensorFlow only.
"""

import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np

from nas_keras.cells.language.spec import CellSpec
from nas_keras.spaces.space import Space
from nas_keras.tasks.language_model.model import LanguageModel
from nas_keras.tasks.language_model.model import begin
from nas_keras.tasks.language_model.model import losses_of
from nas_keras.tasks.language_model.steps import LanguageModelSteps
from nas_keras.tasks.language_model.steps import stream_array
from nas_keras.tasks.language_model.steps import window_at
from nas_keras.tasks.task import Metrics
from nas_keras.tasks.task import Program
from nas_keras.tasks.task import SharedProgram
from nas_keras.tasks.training.loop import MAX_LOSS_NATS
from nas_keras.tasks.training.loop import MOST_AT_ONCE
from nas_keras.tasks.training.scores import loss_metrics
from nas_keras.tasks.training.variables import initial_weights

if TYPE_CHECKING:
    import tensorflow as tf

    from nas_keras.tasks.language_model.task import LanguageModelTask

# Settings of a full training that a program has no use for, at the values
# that they must have.
_LEFT_OUT = {
    "average": "none",
    "dynamic_rate": 0.0,
    "micro_batches": 1,
    "precision": "float32",
    "select": "last",
    "use_bias": False,
    "vary_steps": False,
}


class LanguageModelTrainer:
    """Trains one model, from a seed, as often as asked.

    It compiles once. All trainings are in memory, without snapshots.

    Args:
        task: `LanguageModelTask`.
        model: The task's model. Each training sets all its variables anew;
            after it they hold the result.

    Attributes:
        model: The model.
        num_windows: Windows of the training text.
        num_updates: Updates of a training.
    """

    def __init__(self, task: "LanguageModelTask", model: LanguageModel):
        self.task = task
        self.model = model
        corpus = task.corpus
        self._steps = LanguageModelSteps(model, len(corpus.train))
        self.num_windows = self._steps.num_windows
        self.num_updates = self._steps.num_updates
        self._streams = keras.ops.convert_to_tensor(
            stream_array(corpus.train, task.config.batch_size), "int32"
        )

    @property
    def num_traces(self) -> int:
        """How often the training step has been traced: 1, once used."""
        return self._steps.num_traces

    def train(
        self, seed: int, splits: Sequence[str] = ("validation",)
    ) -> Metrics:
        """Trains from scratch and returns the metrics.

        Args:
            seed: Seed of initial weights and dropout.
            splits: Parts of the corpus to score, of `validation`, `test`.

        Returns:
            `train_loss_nats`, the mean over the last updates, and for each
            split `..._loss_nats`, `..._perplexity` and, for characters,
            `..._bits_per_char`.

        Raises:
            FloatingPointError: If the loss is not finite, or above 100 nats.
        """
        self._steps.begin(seed)
        states = self.model.initial_states(self.task.config.batch_size)
        loss_nats = math.nan
        for start in range(0, self.num_updates, MOST_AT_ONCE):
            stop = min(start + MOST_AT_ONCE, self.num_updates)
            losses, states = self._steps.updates(
                self._streams, start, stop - start, states
            )
            total = np.float32(0)
            for loss in losses:
                total += loss
            loss_nats = float(total) / (stop - start)
            if not loss_nats < MAX_LOSS_NATS:
                raise FloatingPointError(
                    f"diverged: the training loss is {loss_nats:.4g} nats "
                    f"within updates {start} to {stop}"
                )
        metrics = {"train_loss_nats": loss_nats}
        for split in splits:
            metrics |= self.score(split)
        return metrics

    def score(self, split: str) -> Metrics:
        """Returns the metrics of the model as it is on a part of the corpus.

        The part is cut into `batch_size` streams, whose whole windows are
        scored; see `LanguageModelSteps.score_windows`.

        Raises:
            FloatingPointError: If the loss is not finite, or above 100 nats.
        """
        config, corpus = self.task.config, self.task.corpus
        tokens = config.scored(corpus, split)
        streams = stream_array(tokens, config.batch_size)
        loss_nats = self._steps.score_windows(streams)
        return _checked_metrics(split, loss_nats, corpus.level)


class LanguageModelProgram(Program):
    """Trains the language model of any cell of a space.

    A cell's result is that of its `NASRNN` trained in the same way; in the
    space of ENAS, whose kernels `NASRNN` packs by cell, up to the first
    weights.

    Args:
        task: `LanguageModelTask`. Snapshots and the scores of epochs are not
            for a program: its `snapshot_updates` and `evaluation_batch_size`
            have no effect.
        space: A space of recurrent cells.

    Raises:
        ValueError: If the space has no recurrent supernet, or the task's
            config asks for what a program does not do.
    """

    def __init__(self, task: "LanguageModelTask", space: Space):
        self._model = supernet_model(task, space, shared=False)
        self._trainer = LanguageModelTrainer(task, self._model)

    @property
    def num_traces(self) -> int:
        return self._trainer.num_traces

    def train(self, tokens: Sequence[int], seed: int) -> Metrics:
        _choose(self._model, np.array(tokens, np.int32))
        return self._trainer.train(seed)


class SharedLanguageModel(SharedProgram):
    """A language model whose weights all cells of a space share.

    Args:
        task: `LanguageModelTask`, as for `LanguageModelProgram`.
        space: A space of recurrent cells.

    Raises:
        ValueError: As for `LanguageModelProgram`.
    """

    def __init__(self, task: "LanguageModelTask", space: Space):
        config, corpus = task.config, task.corpus
        self._config = config
        self.model = supernet_model(task, space, shared=True)
        self._steps = LanguageModelSteps(self.model, len(corpus.train))
        self.optimizer = self._steps.optimizer
        self.batch_size = config.batch_size
        self.num_updates = self._steps.num_updates
        self.num_classes = corpus.vocabulary_size
        self._level = corpus.level
        # The whole batch's: a worker has some of its rows.
        self._text = stream_array(corpus.train, config.batch_size)
        scored = config.scored(corpus, "validation")
        self._scored = stream_array(scored, config.batch_size)
        self.num_batches = self._steps.windows_in(self._scored)
        self._compiled: Callable[..., Any]  # By `take`.

    def take(self, rows: Sequence[int]) -> None:
        import tensorflow as tf

        self._num_rows = len(rows)
        self._streams = tf.constant(
            self._text[rows[0] : rows[-1] + 1], tf.int32
        )
        self._compiled = tf.function(
            self._differentiated,
            jit_compile=self._config.uses_xla,
            autograph=False,
        )

    def begin(self, seed: int, worker: int) -> list[np.ndarray]:
        # Masks of dropout differ from worker to worker.
        begin(self.model, seed + worker)
        return initial_weights(
            [tuple(v.shape) for v in self.model.trainable_variables],
            self._config.init_scale,
            seed,
        )

    def inputs(self, number: int) -> tuple[Any, ...]:
        return keras.ops.convert_to_tensor(number, "int32"), self._streams

    def loss_and_gradients(
        self, tokens: "tf.Tensor", *inputs: "tf.Tensor"
    ) -> tuple["tf.Tensor", list[Any]]:
        number, streams = inputs
        self.optimizer.learning_rate = self._steps.rate_of(number)
        num_steps = self._config.num_steps
        first = number % self._steps.num_windows * num_steps
        # Not inside, where XLA would compile anew for every window.
        return self._compiled(tokens, *window_at(streams, first, num_steps))

    def _differentiated(
        self, tokens: "tf.Tensor", inputs: "tf.Tensor", targets: "tf.Tensor"
    ) -> tuple["tf.Tensor", list[Any]]:
        import tensorflow as tf

        _choose(self.model, tokens)
        states = self.model.initial_states(self._num_rows)
        with tf.GradientTape() as tape:
            losses = losses_of(self.model, inputs, targets, states, True)
            loss = tf.reduce_mean(losses.nats)
            objective = loss + losses.penalty
        variables = self.model.trainable_variables
        gradients = tape.gradient(objective, variables)
        # Of an embedding they are better dense, of node kernels sparse: the
        # rows of one architecture, all different.
        return loss, [
            gradient
            if variable.name == "node_kernels"
            else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]

    def regularized(
        self, gradients: list[Any]
    ) -> tuple[list[Any], "tf.Tensor"]:
        import tensorflow as tf

        gradients, norm = tf.clip_by_global_norm(
            gradients, self._config.clip_norm
        )
        decay = self._config.weight_decay
        if not decay:
            return gradients, norm
        variables = self.model.trainable_variables
        return [
            _decayed(gradient, variable, decay)
            for gradient, variable in zip(gradients, variables, strict=True)
        ], norm

    def metrics(self, tokens: Sequence[int], first: int, num: int) -> Metrics:
        _choose(self.model, np.array(tokens, np.int32))
        first %= self.num_batches
        loss_nats = self._steps.score_windows(self._scored, first, num)
        return _checked_metrics("validation", loss_nats, self._level)


def supernet_model(
    task: "LanguageModelTask", space: Space, shared: bool
) -> LanguageModel:
    """Returns the model to which a space's architectures are data.

    Args:
        task: `LanguageModelTask`.
        space: A space of recurrent cells.
        shared: Whether all cells have the same weights.

    Raises:
        ValueError: If the space has no recurrent supernet, or the task's
            config asks for what a program does not do.
    """
    config = task.config
    for name, value in _LEFT_OUT.items():
        received = getattr(config, name)
        if received != value:
            raise ValueError(
                f"{name} must be {value!r} where the architecture is data, in "
                f"the space {space.name!r}. Received: task.config.{name}="
                f"{received!r}."
            )
    supernet = space.load_supernet(CellSpec)
    model = LanguageModel(
        config,
        task.corpus.vocabulary_size,
        lambda units: supernet(
            units,
            space.structure,
            shared=shared,
            recurrent_dropout=config.recurrent_dropout,
            jit_compile=config.jit_compile is not False,
        ),
    )
    model.build()
    return model


def _choose(model: LanguageModel, tokens: Any) -> None:
    """Sets the architecture of all recurrent layers of a model."""
    for layer in model.recurrent:
        layer.tokens.assign(tokens)


def _checked_metrics(split: str, loss_nats: float, level: str) -> Metrics:
    if not loss_nats < MAX_LOSS_NATS:
        raise FloatingPointError(
            f"diverged: the {split} loss is {loss_nats:.4g} nats"
        )
    return loss_metrics(split, loss_nats, level)


def _decayed(gradient: Any, variable: Any, weight_decay: float) -> Any:
    """Returns a gradient plus `weight_decay` times the weights it is of.

    Of a gradient of some rows, only those rows decay.
    """
    import tensorflow as tf

    weights = tf.convert_to_tensor(variable)
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient + weight_decay * weights
    rows = tf.gather(weights, gradient.indices)
    return tf.IndexedSlices(
        gradient.values + weight_decay * rows,
        gradient.indices,
        gradient.dense_shape,
    )
