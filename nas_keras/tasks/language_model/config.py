"""`LanguageModelConfig`: one frozen value. No TensorFlow, no Keras."""

import dataclasses
import itertools

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import Cost
from nas_keras.data.text import Corpus
from nas_keras.tasks.checked_config import CheckedConfig
from nas_keras.tasks.checked_config import most_units

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "cosine", "step")
_MAX_XLA_UNITS = 128
DROPOUTS = (
    "embedding_dropout",
    "input_dropout",
    "layer_dropout",
    "output_dropout",
    "recurrent_dropout",
)


@dataclasses.dataclass(frozen=True)
class LanguageModelConfig(CheckedConfig):
    """A recurrent language model and its training.

    Attributes:
        units: H, width of each recurrent layer.
        num_layers: Recurrent layers.
        embedding_units: Width of the embedding; 0: H.
        last_units: Width of the last recurrent layer of several; 0: H.
        tied: Whether the softmax shares the embedding's matrix. If the last
            layer has another width, a matrix projects its output.
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
        embedding_dropout: Of whole words, by one mask a window of text, as
            are all that follow.
        input_dropout: Of the embedded words.
        layer_dropout: Between recurrent layers.
        output_dropout: Of what the softmax reads.
        recurrent_dropout: Of h where it enters the cells' matrices.
        activation_penalty: Weight of the mean square of what the softmax
            reads, alpha of Merity et al. (2017), section 4.7.
        slowness_penalty: Weight of the mean square of the last layer's change
            from one step to the next, beta there.
        weight_decay: Times each weight, added to the clipped gradient.
        max_validation_tokens: Validation tokens scored; 0 for all.
        jit_compile: Whether XLA compiles the training; None: up to 128 units,
            where it is faster on a CPU, and above the loops over time alone,
            as `NASRNN` does by itself. False: XLA compiles nothing.

    Raises:
        ValueError: If a value is out of range.

    Example:

    >>> config = LanguageModelConfig(units=32, num_layers=2, last_units=16)
    >>> config.layer_widths, config.uses_xla
    ((32, 16), True)
    """

    units: int = 64
    num_layers: int = 1
    embedding_units: int = 0
    last_units: int = 0
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
    embedding_dropout: float = 0.0
    input_dropout: float = 0.0
    layer_dropout: float = 0.0
    output_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    activation_penalty: float = 0.0
    slowness_penalty: float = 0.0
    weight_decay: float = 0.0
    max_validation_tokens: int = 0
    jit_compile: bool | None = None

    def __post_init__(self) -> None:
        for name in ("units", "num_layers", "batch_size", "num_steps"):
            self._check_int(name, 1)
        for name in (
            "embedding_units",
            "last_units",
            "num_updates",
            "num_epochs",
            "decay_epoch",
            "max_validation_tokens",
        ):
            self._check_int(name, 0)
        for name in ("learning_rate", "decay", "clip_norm", "init_scale"):
            self._check_number(name, is_zero_good=False)
        for name in DROPOUTS:
            self._check_in_unit(name)
        for name in ("activation_penalty", "slowness_penalty", "weight_decay"):
            self._check_number(name, is_zero_good=True)
        good = not self.last_units or self.num_layers > 1
        self._check(good, "last_units", "0 with one layer")
        self._check_choice("optimizer", OPTIMIZERS)
        self._check_choice("schedule", SCHEDULES)
        self._check_one_of("num_updates", "num_epochs")

    @property
    def uses_xla(self) -> bool:
        """Whether XLA compiles the training."""
        if self.jit_compile is None:
            return self.units <= _MAX_XLA_UNITS
        return self.jit_compile

    @property
    def embedding_width(self) -> int:
        """Width of the embedding."""
        return self.embedding_units or self.units

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """Units of each recurrent layer."""
        last = self.last_units or self.units
        return (*[self.units] * (self.num_layers - 1), last)


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
    width = config.embedding_width
    softmax = _softmax_products(config, vocabulary_size)
    if config.tied:
        softmax -= width * vocabulary_size
    table = vocabulary_size * width
    cells = sum(cost.parameters for cost in _costs(config, spec))
    return table + cells + softmax + vocabulary_size


def multiply_adds(
    config: LanguageModelConfig, spec: CellSpec, vocabulary_size: int
) -> int:
    """Returns the multiply-adds of a model's matrix products, for a token.

    The embedding is looked up, which takes none.
    """
    cells = sum(cost.multiply_adds for cost in _costs(config, spec))
    return cells + _softmax_products(config, vocabulary_size)


def _costs(config: LanguageModelConfig, spec: CellSpec) -> list[Cost]:
    """Returns what each recurrent layer takes."""
    widths = (config.embedding_width, *config.layer_widths)
    return [
        spec.cost(width, units, use_bias=config.use_bias)
        for width, units in itertools.pairwise(widths)
    ]


def _softmax_products(config: LanguageModelConfig, vocabulary_size: int) -> int:
    """Returns the size of the matrices between the last layer and logits."""
    last, width = config.layer_widths[-1], config.embedding_width
    if not config.tied:
        return last * vocabulary_size
    projection = last * width if last != width else 0
    return projection + width * vocabulary_size


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

    return most_units(count, num, spec.name)
