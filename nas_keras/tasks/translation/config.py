"""`TranslationModelConfig` and `TranslationConfig`, frozen values.

No TensorFlow, no Keras.
"""

import dataclasses
from typing import Any

from nas_keras.cells.language.spec import CellSpec
from nas_keras.data.parallel import ParallelCorpus
from nas_keras.data.parallel_sources import DATASETS
from nas_keras.data.parallel_sources import is_pairs_dataset
from nas_keras.data.subwords import KINDS
from nas_keras.tasks.checked_config import CheckedConfig
from nas_keras.tasks.checked_config import most_units

ATTENTIONS = ("normed_bahdanau", "scaled_luong")
TIMINGS = ("current", "previous")
OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "cosine", "halving")
MEANS = ("tokens", "sentences")


@dataclasses.dataclass(frozen=True)
class TranslationModelConfig(CheckedConfig):
    """The shape of a `TranslationModel`.

    Attributes:
        units: H, width of embeddings, layers and attention.
        num_layers: Of the encoder, and of the decoder; of the encoder's the
            first reads in both directions.
        attention: `"normed_bahdanau"` or `"scaled_luong"`.
        attention_timing: Which context the upper layers of the decoder are
            fed at a step: `"current"`, that of the bottom layer's output at
            this step; `"previous"`, that of the step before.
        shared_embeddings: Whether source and target have one vocabulary and
            one embedding.
        tied: Whether the softmax shares the target embedding's matrix.
        use_bias: Whether the cells' linear terms of other than x have a bias.
        dropout: Of the input of every layer, by one mask a sentence.
        output_dropout: Of what the softmax reads.
        init_scale: Matrices begin uniform in [-init_scale, init_scale].

    Raises:
        ValueError: If a value is out of range.
    """

    units: int = 256
    num_layers: int = 2
    attention: str = "normed_bahdanau"
    attention_timing: str = "current"
    shared_embeddings: bool = True
    tied: bool = True
    use_bias: bool = True
    dropout: float = 0.2
    output_dropout: float = 0.0
    init_scale: float = 0.1

    def __post_init__(self) -> None:
        self._check_int("units", 1)
        self._check_int("num_layers", 1)
        self._check_choice("attention", ATTENTIONS)
        self._check_choice("attention_timing", TIMINGS)
        self._check_in_unit("dropout")
        self._check_in_unit("output_dropout")
        self._check_number("init_scale", is_zero_good=False)

    @property
    def memory_width(self) -> int:
        """M, the width of what the encoder makes of a source."""
        return self.units if self.num_layers > 1 else 2 * self.units

    def cell_input_widths(self) -> dict[str, int]:
        """Returns the width of the input of each layer's cell by its name."""
        units = self.units
        widths = {"encoder_forward": units, "encoder_backward": units}
        for number in range(1, self.num_layers):
            widths[f"encoder_{number}"] = 2 * units if number == 1 else units
        for number in range(self.num_layers):
            widths[f"decoder_{number}"] = units + self.memory_width
        return widths

    def num_parameters(
        self, spec: CellSpec, source_size: int, target_size: int
    ) -> int:
        """Returns the trainable weights of a model.

        Args:
            spec: The cell.
            source_size: V of the source.
            target_size: V of the target.
        """
        units = self.units
        cells = sum(
            spec.cost(width, units, use_bias=self.use_bias).parameters
            for width in self.cell_input_widths().values()
        )
        attention = self.memory_width * units + 1
        if self.attention == "normed_bahdanau":
            attention += units * units + 2 * units
        tables = source_size * units
        tables += 0 if self.shared_embeddings else target_size * units
        softmax = 0 if self.tied else target_size * units
        return cells + attention + tables + softmax


@dataclasses.dataclass(frozen=True)
class TranslationConfig(CheckedConfig):
    """A whole training of a translation model, to its test figures.

    Attributes:
        preset: Name of the preset it began as.
        dataset: As for `open_pairs`.
        source: Language of the source, as its files are named.
        target: Language of the target.
        test_set: Which of several test sets in files to use.
        vocabulary_size: Subwords, special ones included; of each language if
            `shared_embeddings` is false.
        subword_kind: `"bpe"` or `"unigram"`, of sentencepiece.
        max_length: Longest sentence to train on, subwords.
        cell: Name of a cell, or path of its JSON file.
        parameters: Most weights of the model, from which its units follow;
            0: the units are those of `model`.
        model: The model.
        batch_tokens: Most target subwords of a batch, padding included; 0 if
            `batch_sentences` says how large it is.
        batch_sentences: Sentences of a batch; 0 if `batch_tokens` says.
        bucket_width: Sentences are put together whose lengths differ by less
            than so many subwords.
        num_updates: Optimizer steps; 0 if `num_epochs` says how many.
        num_epochs: Passes over the training pairs; 0 if `num_updates` says.
        optimizer: `"sgd"` or `"adam"`.
        learning_rate: Largest.
        warmup_updates: Updates over which the rate rises to it.
        schedule: `"constant"`; `"cosine"`, to zero at the last update; or
            `"halving"`, at the ends of `num_halvings` equal parts of what
            follows the fraction `decay_from` of the updates.
        decay_from: See `schedule`.
        num_halvings: See `schedule`.
        clip_norm: Largest global norm of the gradient.
        loss_mean: Whether the loss is a mean over target `"tokens"`, or, as
            in GNMT, the sum of a sentence's, a mean over `"sentences"`.
        label_smoothing: Share of the target's probability that is spread
            evenly over the vocabulary.
        average_epochs: The weights of so many last epochs are averaged.
        beam: Hypotheses that the final search keeps.
        length_penalty: alpha of Wu et al. (2016), equation 14.
        coverage_penalty: beta there.
        num_scored: Validation pairs translated after each epoch; 0: all.
        snapshot_updates: Updates between snapshots, besides one an epoch.
        seed: Of all chance.
        num_threads: Of TensorFlow's operations; 0: one for each core.

    Raises:
        ValueError: If a value is out of range.
    """

    preset: str
    dataset: str = "embedded"
    source: str = "en"
    target: str = "de"
    test_set: str = ""
    vocabulary_size: int = 4_000
    subword_kind: str = "bpe"
    max_length: int = 50
    cell: str = "lstm"
    parameters: int = 0
    model: TranslationModelConfig = TranslationModelConfig()
    batch_tokens: int = 2_000
    batch_sentences: int = 0
    bucket_width: int = 4
    num_updates: int = 0
    num_epochs: int = 10
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    warmup_updates: int = 0
    schedule: str = "cosine"
    decay_from: float = 0.5
    num_halvings: int = 0
    clip_norm: float = 1.0
    loss_mean: str = "tokens"
    label_smoothing: float = 0.1
    average_epochs: int = 1
    beam: int = 5
    length_penalty: float = 1.0
    coverage_penalty: float = 0.0
    num_scored: int = 0
    snapshot_updates: int = 500
    seed: int = 0
    num_threads: int = 0

    def __post_init__(self) -> None:
        rule = f"one of {DATASETS} or 'tfds:NAME'"
        self._check(is_pairs_dataset(self.dataset), "dataset", rule)
        self._check_ints()
        self._check_choice("subword_kind", KINDS)
        self._check_choice("optimizer", OPTIMIZERS)
        self._check_choice("schedule", SCHEDULES)
        self._check_choice("loss_mean", MEANS)
        self._check_number("learning_rate", is_zero_good=False)
        self._check_number("clip_norm", is_zero_good=False)
        self._check_number("length_penalty", is_zero_good=True)
        self._check_number("coverage_penalty", is_zero_good=True)
        self._check_in_unit("label_smoothing")
        self._check_in_unit("decay_from")
        self._check_one_of("num_updates", "num_epochs")
        self._check_one_of("batch_tokens", "batch_sentences")
        if 0 < self.batch_tokens < self.max_length + 1:
            raise ValueError(
                "batch_tokens must hold one sentence, of max_length subwords "
                f"and its end. Received: batch_tokens={self.batch_tokens}, "
                f"max_length={self.max_length}."
            )

    def _check_ints(self) -> None:
        for name, low in (
            ("vocabulary_size", 1),
            ("max_length", 1),
            ("parameters", 0),
            ("batch_tokens", 0),
            ("batch_sentences", 0),
            ("bucket_width", 1),
            ("num_updates", 0),
            ("num_epochs", 0),
            ("warmup_updates", 0),
            ("num_halvings", 0),
            ("average_epochs", 1),
            ("beam", 1),
            ("num_scored", 0),
            ("snapshot_updates", 1),
            ("seed", 0),
        ):
            self._check_int(name, low)
        self._check_threads("num_threads")

    def sized(
        self, spec: CellSpec, source_size: int, target_size: int
    ) -> TranslationModelConfig:
        """Returns the model's config with the units that it will have.

        Args:
            spec: The cell.
            source_size: V of the source.
            target_size: V of the target.

        Raises:
            ValueError: If a model of one unit has more than `parameters`.
        """
        if not self.parameters:
            return self.model

        def of(units: int) -> TranslationModelConfig:
            return dataclasses.replace(self.model, units=units)

        def count(units: int) -> int:
            return of(units).num_parameters(spec, source_size, target_size)

        return of(most_units(count, self.parameters, spec.name))

    def settings(
        self, spec: CellSpec, corpus: ParallelCorpus
    ) -> dict[str, Any]:
        """Returns what the results depend on, JSON-able.

        Text and cell are known by what they hold, not by their paths.
        """
        return {
            **dataclasses.asdict(self),
            "cell": {"name": spec.name, "fingerprint": spec.fingerprint},
            "corpus": {"name": corpus.name, "sha256": corpus.sha256},
        }
