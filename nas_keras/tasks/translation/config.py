"""What a translation model and its training are configured by.

`TranslationModelConfig` is the model's shape, `TranslationTraining` how one of
any cell is trained, `TranslationConfig` all of a training. No TensorFlow, no
Keras.
"""

import dataclasses
from typing import Any

from nas_keras.cells.language.sizing import most_units
from nas_keras.cells.language.spec import CellSpec
from nas_keras.data.parallel import ParallelCorpus
from nas_keras.data.parallel_sources import PairData
from nas_keras.data.subwords import KINDS
from nas_keras.settings import Settings
from nas_keras.settings import boolean
from nas_keras.settings import fraction
from nas_keras.settings import instance
from nas_keras.settings import not_negative
from nas_keras.settings import one_of
from nas_keras.settings import positive
from nas_keras.settings import setting
from nas_keras.settings import text
from nas_keras.settings import threads
from nas_keras.settings import whole
from nas_keras.tasks.training.schedules import Constant
from nas_keras.tasks.training.schedules import Cosine
from nas_keras.tasks.training.schedules import Halving

SCHEDULES = {"constant": Constant, "cosine": Cosine, "halving": Halving}
_WU = "Wu et al. (2016), equation 14"


class TranslationModelConfig(Settings):
    """The shape of a `TranslationModel`."""

    units: int = setting(
        256, "Width of embeddings, layers and attention, H.", whole(1)
    )
    num_layers: int = setting(
        2,
        "Layers of the encoder, and of the decoder; the first one of the "
        "encoder reads in both directions.",
        whole(1),
    )
    attention: str = setting(
        "normed_bahdanau",
        "Attention.",
        one_of(("normed_bahdanau", "scaled_luong")),
    )
    attention_timing: str = setting(
        "current",
        "Context that the upper layers of the decoder are fed at a step: "
        "'current', that of the bottom layer's output at this step; "
        "'previous', that of the step before.",
        one_of(("current", "previous")),
    )
    shared_embeddings: bool = setting(
        True,
        "Whether source and target have one vocabulary and one embedding.",
        boolean(),
    )
    tied: bool = setting(
        True,
        "Whether the softmax shares the target embedding's matrix.",
        boolean(),
    )
    use_bias: bool = setting(
        True,
        "Whether the cells' linear terms of other than x have a bias.",
        boolean(),
    )
    dropout: float = setting(
        0.2,
        "Dropout rate of the input of every layer, by one mask a sentence.",
        fraction(),
    )
    output_dropout: float = setting(
        0.0, "Dropout rate of what the softmax reads.", fraction()
    )
    init_scale: float = setting(
        0.1, "Matrices begin uniform in [-init_scale, init_scale].", positive()
    )

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


class TranslationTraining(Settings):
    """How a translation model of any cell is trained, on any pairs."""

    vocabulary_size: int = setting(
        4_000,
        "Subwords, special ones included; of each language if "
        "`shared_embeddings` is false.",
        whole(1),
    )
    subword_kind: str = setting(
        "bpe", "Kind of sentencepiece's subwords.", one_of(KINDS)
    )
    max_length: int = setting(
        50, "Longest sentence to train on.", whole(1), unit="subwords"
    )
    parameters: int = setting(
        0,
        "Most weights of the model, from which its units follow; 0: the units "
        "are those of the model.",
        whole(0),
    )
    model: TranslationModelConfig = setting(
        TranslationModelConfig(), "Model.", instance(TranslationModelConfig)
    )
    batch_tokens: int = setting(
        2_000,
        "Most target subwords of a batch, padding included; 0 if "
        "`batch_sentences` says how large it is.",
        whole(0),
    )
    batch_sentences: int = setting(
        0, "Sentences of a batch; 0 if `batch_tokens` says.", whole(0)
    )
    bucket_width: int = setting(
        4,
        "Sentences are put together whose lengths differ by less than this.",
        whole(1),
        unit="subwords",
    )
    num_updates: int = setting(
        0, "Optimizer steps; 0 if `num_epochs` says how many.", whole(0)
    )
    num_epochs: int = setting(
        10,
        "Passes over the training pairs; 0 if `num_updates` says how many.",
        whole(0),
    )
    optimizer: str = setting("adam", "Optimizer.", one_of(("sgd", "adam")))
    learning_rate: float = setting(1e-3, "Largest learning rate.", positive())
    warmup_updates: int = setting(
        0, "Updates over which the rate rises to the largest.", whole(0)
    )
    schedule: Constant | Cosine | Halving = setting(
        Cosine(), "Schedule of the learning rate.", instance(SCHEDULES)
    )
    clip_norm: float = setting(
        1.0, "Largest global norm of the gradient.", positive()
    )
    loss_mean: str = setting(
        "tokens",
        "Whether the loss is a mean over target 'tokens', or, as in GNMT, the "
        "sum of a sentence's, a mean over 'sentences'.",
        one_of(("tokens", "sentences")),
    )
    label_smoothing: float = setting(
        0.1,
        "Share of the target's probability that is spread evenly over the "
        "vocabulary.",
        fraction(),
    )
    average_epochs: int = setting(
        1, "Last epochs whose weights are averaged.", whole(1)
    )
    beam: int = setting(5, "Hypotheses that the final search keeps.", whole(1))
    length_penalty: float = setting(1.0, f"Alpha of {_WU}.", not_negative())
    coverage_penalty: float = setting(0.0, f"Beta of {_WU}.", not_negative())
    num_scored: int = setting(
        0,
        "Validation pairs translated after each epoch; 0: all.",
        whole(0),
    )
    snapshot_updates: int = setting(
        500, "Updates between snapshots, besides one an epoch.", whole(1)
    )

    def _check(self) -> None:
        for one, other in (
            ("num_updates", "num_epochs"),
            ("batch_tokens", "batch_sentences"),
        ):
            values = getattr(self, one), getattr(self, other)
            if bool(values[0]) == bool(values[1]):
                raise ValueError(
                    f"One of {one} and {other} must be positive, the other 0. "
                    f"Received: {one}={values[0]}, {other}={values[1]}."
                )
        if 0 < self.batch_tokens < self.max_length + 1:
            raise ValueError(
                "batch_tokens must hold one sentence, of max_length subwords "
                f"and its end. Received: batch_tokens={self.batch_tokens}, "
                f"max_length={self.max_length}."
            )

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
            return self.model.replace(units=units)

        def count(units: int) -> int:
            return of(units).num_parameters(spec, source_size, target_size)

        return of(most_units(count, self.parameters, spec.name))


class TranslationConfig(Settings):
    """A whole training of a translation model, to its test figures."""

    preset: str = setting(
        dataclasses.MISSING, "Name of the preset it began as.", text()
    )
    cell: str = setting(
        "lstm", "Name of a cell, or path of its JSON file.", text()
    )
    data: PairData = setting(PairData(), "Pairs.", instance(PairData))
    training: TranslationTraining = setting(
        TranslationTraining(), "Training.", instance(TranslationTraining)
    )
    seed: int = setting(0, "Seed of all chance.", whole(0))
    num_threads: int = setting(
        0,
        "Threads of TensorFlow's operations; 0: one for each core.",
        threads(),
    )

    def settings(
        self, spec: CellSpec, corpus: ParallelCorpus
    ) -> dict[str, Any]:
        """Returns what the results depend on, JSON-able.

        Text and cell are known by what they hold, not by their paths.
        """
        return {**self.to_dict(), **known_by(spec, corpus)}


def known_by(spec: CellSpec, corpus: ParallelCorpus) -> dict[str, Any]:
    """Returns what a cell and pairs are known by, JSON-able."""
    return {
        "cell": {"name": spec.name, "fingerprint": spec.fingerprint},
        "corpus": {"name": corpus.name, "sha256": corpus.sha256},
    }
