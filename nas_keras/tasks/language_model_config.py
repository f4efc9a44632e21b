"""`LanguageModelConfig`: one frozen value. No TensorFlow, no Keras."""

import bisect
import dataclasses
import math

from nas_keras.cells.spec import CellSpec
from nas_keras.data.text import Corpus

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "cosine", "step")


@dataclasses.dataclass(frozen=True)
class LanguageModelConfig:
    """A recurrent language model and its training.

    Attributes:
        units: H, width of the embedding and of each recurrent layer.
        num_layers: Recurrent layers.
        tied: Whether the softmax shares the embedding's matrix.
        use_bias: Whether the cells' linear terms of other than x have a bias.
        batch_size: B, sequences side by side.
        num_steps: T, steps of back-propagation through time; states are
            carried from one window to the next.
        num_updates: Optimizer steps; 0 if `num_epochs` says how many.
        num_epochs: Passes over the training text; 0 if `num_updates` says.
        optimizer: `"sgd"` or `"adam"`.
        learning_rate: At the first step.
        schedule: `"constant"`; `"cosine"`, to zero at the last step; or
            `"step"`, divided by `decay` after each epoch from `decay_epoch`.
        decay: See `schedule`.
        decay_epoch: See `schedule`.
        clip_norm: Largest global norm of the gradient.
        init_scale: All weights begin uniform in [-init_scale, init_scale].
        dropout: Of the inputs of recurrent layers and of the softmax, by one
            mask a sequence.
        recurrent_dropout: Of h where it enters the cells' matrices, likewise.
        embedding_dropout: Of whole words, likewise.
        max_validation_tokens: Validation tokens scored; 0 for all.
        jit_compile: Whether XLA compiles the training; None: up to 128 units,
            where it is faster on a CPU.

    Raises:
        ValueError: If a value is out of range.
    """

    units: int = 64
    num_layers: int = 1
    tied: bool = False
    use_bias: bool = False
    batch_size: int = 32
    num_steps: int = 32
    num_updates: int = 200
    num_epochs: int = 0
    optimizer: str = "adam"
    learning_rate: float = 5e-3
    schedule: str = "constant"
    decay: float = 1.0
    decay_epoch: int = 0
    clip_norm: float = 1.0
    init_scale: float = 0.08
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    embedding_dropout: float = 0.0
    max_validation_tokens: int = 0
    jit_compile: bool | None = None

    def __post_init__(self):
        for name in ("units", "num_layers", "batch_size", "num_steps"):
            self._check_int(name, 1)
        for name in (
            "num_updates",
            "num_epochs",
            "decay_epoch",
            "max_validation_tokens",
        ):
            self._check_int(name, 0)
        for name in ("learning_rate", "decay", "clip_norm", "init_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise self._error(name, "must be positive and finite")
        for name in ("dropout", "recurrent_dropout", "embedding_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise self._error(name, "must be in [0, 1)")
        if self.optimizer not in OPTIMIZERS:
            raise self._error("optimizer", f"must be one of {OPTIMIZERS}")
        if self.schedule not in SCHEDULES:
            raise self._error("schedule", f"must be one of {SCHEDULES}")
        if bool(self.num_updates) == bool(self.num_epochs):
            raise ValueError(
                "One of num_updates and num_epochs must be positive, the other "
                f"0. Received: num_updates={self.num_updates}, "
                f"num_epochs={self.num_epochs}."
            )

    def _check_int(self, name: str, low: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self._error(name, f"must be an int of at least {low}")

    def _error(self, name: str, rule: str) -> ValueError:
        return ValueError(
            f"{name} {rule}. Received: {name}={getattr(self, name)!r}."
        )


def check_length(config: LanguageModelConfig, corpus: Corpus) -> None:
    """Refuses a text that is too short for the training.

    Raises:
        ValueError: If a part of the corpus has less than one batch.
    """
    needed = config.batch_size * (config.num_steps + 1)
    for part in ("train", "validation", "test"):
        length = len(getattr(corpus, part))
        if length < needed:
            raise ValueError(
                f"The {part} part of the text {corpus.name!r} has {length} "
                "tokens; one batch takes batch_size * (num_steps + 1) = "
                f"{needed}. Give a longer text, or smaller batch_size or "
                "num_steps."
            )
    scored = config.max_validation_tokens
    if 0 < scored < needed:
        raise ValueError(
            "max_validation_tokens must be 0 or at least one batch, "
            f"batch_size * (num_steps + 1) = {needed}. Received: "
            f"max_validation_tokens={scored}."
        )


def num_parameters(
    config: LanguageModelConfig, spec: CellSpec, vocabulary_size: int
) -> int:
    """Returns the trainable weights of a model of `config.units` units."""
    units = config.units
    cell = spec.cost(units, units, use_bias=config.use_bias).parameters
    tables = vocabulary_size * units * (1 if config.tied else 2)
    return tables + vocabulary_size + config.num_layers * cell


def units_for_parameters(
    config: LanguageModelConfig,
    spec: CellSpec,
    vocabulary_size: int,
    num: int,
) -> int:
    """Returns the most units that fit `num` weights.

    Raises:
        ValueError: If a model of one unit has more.
    """

    def count(units: int) -> int:
        sized = dataclasses.replace(config, units=units)
        return num_parameters(sized, spec, vocabulary_size)

    if count(1) > num:
        raise ValueError(
            f"A model of one unit of cell {spec.name!r} has {count(1)} "
            f"parameters. Received: {num} parameters."
        )
    # A unit has a weight at least, so no more than `num` units have `num`.
    return bisect.bisect_right(range(1, num + 1), num, key=count)
