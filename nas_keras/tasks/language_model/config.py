"""What a language model and its training are configured by.

No TensorFlow, no Keras.
"""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from nas_keras import settings
from nas_keras.cells.language.sizing import most_units
from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import Cost
from nas_keras.data.sources import TextData
from nas_keras.data.text import Corpus
from nas_keras.settings import Settings
from nas_keras.settings import fraction
from nas_keras.settings import not_negative
from nas_keras.settings import one_of
from nas_keras.settings import positive
from nas_keras.settings import setting
from nas_keras.settings import whole
from nas_keras.tasks.task import Task
from nas_keras.tasks.training.variables import PRECISIONS

_MAX_XLA_UNITS = 128
DROPOUTS = (
    "embedding_dropout",
    "input_dropout",
    "layer_dropout",
    "output_dropout",
    "recurrent_dropout",
)


class LanguageModelConfig(Settings):
    """A recurrent language model and its training.

    A child of a search, a retraining and a full training differ in these
    values alone.

    Example:

    >>> config = LanguageModelConfig(units=32, num_layers=2, last_units=16)
    >>> config.layer_widths, config.uses_xla
    ((32, 16), True)
    """

    noun = "cell"  # What an architecture of its task is.
    data_class = TextData

    units: int = setting(64, "Width of each recurrent layer, H.", whole(1))
    num_layers: int = setting(1, "Recurrent layers.", whole(1))
    embedding_units: int = setting(
        0, "Width of the embedding; 0: that of the layers.", whole()
    )
    last_units: int = setting(
        0,
        "Width of the last recurrent layer of several; 0: that of the others.",
        whole(),
    )
    tied: bool = setting(
        False,
        "Whether the softmax shares the embedding's matrix. If the last layer "
        "has another width, a matrix projects its output.",
        settings.boolean(),
    )
    use_bias: bool = setting(
        False,
        "Whether the cells' linear terms of other than x have a bias.",
        settings.boolean(),
    )
    batch_size: int = setting(32, "Sequences side by side, B.", whole(1))
    num_steps: int = setting(
        32,
        "Steps of back-propagation through time, T. States are carried from "
        "one window to the next.",
        whole(1),
    )
    num_updates: int = setting(
        200, "Updates of the optimizer; 0: `num_epochs` says.", whole()
    )
    num_epochs: int = setting(
        0, "Passes over the training text; 0: `num_updates` says.", whole()
    )
    optimizer: str = setting("adam", "Optimizer.", one_of(("sgd", "adam")))
    learning_rate: float = setting(
        5e-3, "Learning rate at the first update.", positive()
    )
    schedule: str = setting(
        "constant",
        "Schedule of the learning rate: constant; cosine, to zero at the last "
        "update; step, divided by `decay` after each epoch from `decay_epoch`.",
        one_of(("constant", "cosine", "step")),
    )
    decay: float = setting(
        1.0, "Divisor of the learning rate in schedule `step`.", positive()
    )
    decay_epoch: int = setting(
        0, "First epoch, from 1, after which the rate is divided.", whole()
    )
    clip_norm: float = setting(
        1.0, "Largest global norm of the gradient.", positive()
    )
    init_scale: float = setting(
        0.08,
        "Bound of the first weights: uniform in [-init_scale, init_scale].",
        positive(),
    )
    embedding_dropout: float = setting(
        0.0,
        "Dropout of whole words, by one mask a window like all dropouts here "
        "(Gal & Ghahramani, 2016).",
        fraction(),
    )
    input_dropout: float = setting(
        0.0, "Dropout of the embedded words.", fraction()
    )
    layer_dropout: float = setting(
        0.0, "Dropout between recurrent layers.", fraction()
    )
    output_dropout: float = setting(
        0.0, "Dropout of the softmax's input.", fraction()
    )
    recurrent_dropout: float = setting(
        0.0,
        "Dropout of h where it enters the cells' matrices.",
        fraction(),
    )
    activation_penalty: float = setting(
        0.0,
        "Weight of the mean square of the softmax's input, alpha of "
        "Merity et al. (2017), section 4.7.",
        not_negative(),
    )
    slowness_penalty: float = setting(
        0.0,
        "Weight of the mean square of the last layer's change from one step "
        "to the next, beta of Merity et al. (2017), section 4.7.",
        not_negative(),
    )
    weight_decay: float = setting(
        0.0,
        "Factor of each weight that is added to its clipped gradient.",
        not_negative(),
    )
    average: str = setting(
        "none",
        "Whether weights are averaged: nonmonotone averages over all updates "
        "once validation was no better than its best of `average_patience` "
        "epochs before (Merity et al., 2017, algorithm 1).",
        one_of(("none", "nonmonotone")),
    )
    average_patience: int = setting(
        5, "Epochs that averaging waits for.", whole(1), unit="epochs"
    )
    vary_steps: bool = setting(
        False,
        "Whether windows have lengths of their own: of mean T, or T / 2 for "
        "one in twenty, with the rate in proportion (Merity et al., 2017, "
        "section 4.1). XLA does not compile them.",
        settings.boolean(),
    )
    micro_batches: int = setting(
        1,
        "Equal parts of a batch that are computed one after the other, to save "
        "memory. Must divide `batch_size`.",
        whole(1),
    )
    precision: str = setting(
        "float32", "Keras dtype policy.", one_of(PRECISIONS)
    )
    select: str = setting(
        "last",
        "Which weights are the result: the last, or those of the epoch that is "
        "best on validation text, which is then scored after each epoch.",
        one_of(("last", "best")),
    )
    evaluation_batch_size: int = setting(
        10,
        "Streams of the validation text when it is scored after an epoch. The "
        "final figures read each text as one stream.",
        whole(1),
    )
    max_validation_tokens: int = setting(
        0, "Validation tokens that are scored; 0: all.", whole()
    )
    dynamic_rate: float = setting(
        0.0,
        "Learning rate of dynamic evaluation, which trains on each window of a "
        "text after scoring it (Krause et al., 2018); 0: none.",
        not_negative(),
    )
    snapshot_updates: int = setting(500, "Updates between snapshots.", whole(1))
    jit_compile: bool | None = setting(
        None,
        "Whether XLA compiles the training. None: up to 128 units, where it is "
        "faster on a CPU; above, the loops over time alone. False: nothing.",
        settings.optional(settings.boolean()),
    )

    def _check(self) -> None:
        if self.last_units and self.num_layers == 1:
            settings.refuse("last_units", "0 with one layer", self.last_units)
        if bool(self.num_updates) == bool(self.num_epochs):
            raise ValueError(
                "One of num_updates and num_epochs must be positive, the other "
                f"0. Received: num_updates={self.num_updates}, "
                f"num_epochs={self.num_epochs}."
            )
        if self.batch_size % self.micro_batches:
            rule = f"a divisor of batch_size={self.batch_size}"
            settings.refuse("micro_batches", rule, self.micro_batches)

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

    def task(self, corpus: Corpus) -> Task:
        """Returns the task of training this model on a text."""
        from nas_keras.tasks.language_model.task import LanguageModelTask

        return LanguageModelTask(self, corpus)

    def cost(self, spec: CellSpec, vocabulary_size: int) -> Cost:
        """Returns the cost of the model of a cell.

        Returns:
            Its trainable weights, and the multiply-adds of its matrix products
            for a token; the embedding is looked up, which takes none.
        """
        width, last = self.embedding_width, self.layer_widths[-1]
        cells = [
            spec.cost(*widths, use_bias=self.use_bias)
            for widths in itertools.pairwise((width, *self.layer_widths))
        ]
        table = vocabulary_size * width
        if self.tied:
            own = last * width if last != width else 0  # The projection.
            products = own + table
        else:
            own = products = last * vocabulary_size
        return Cost(
            table
            + sum(cost.parameters for cost in cells)
            + own
            + vocabulary_size,
            sum(cost.multiply_adds for cost in cells) + products,
        )

    def resized(
        self, spec: CellSpec, vocabulary_size: int, parameters: int
    ) -> "LanguageModelConfig":
        """Returns the configuration with the most units that fit.

        Args:
            spec: The cell.
            vocabulary_size: V.
            parameters: Most weights of the model.

        Raises:
            ValueError: If a model of one unit has more.
        """

        def count(units: int) -> int:
            return (
                self.replace(units=units).cost(spec, vocabulary_size).parameters
            )

        return self.replace(units=most_units(count, parameters, spec.name))

    def check_corpus(self, corpus: Corpus) -> None:
        """Refuses a text that is too short for the training.

        Raises:
            ValueError: If a part of the corpus has less than one batch.
        """
        needed = self.batch_size * (self.num_steps + 1)
        for part in ("train", "validation", "test"):
            length = len(getattr(corpus, part))
            if length < needed:
                raise ValueError(
                    f"The {part} part of the text {corpus.name!r} has {length} "
                    "tokens; one batch takes batch_size * (num_steps + 1) = "
                    f"{needed}. Give a longer text, or smaller batch_size or "
                    "num_steps."
                )
        scored = self.max_validation_tokens
        if 0 < scored < needed:
            raise ValueError(
                "max_validation_tokens must be 0 or at least one batch, "
                f"batch_size * (num_steps + 1) = {needed}. Received: "
                f"max_validation_tokens={scored}."
            )
        most = len(self.scored(corpus, "validation")) - 1
        if self.evaluation_batch_size > most:
            settings.refuse(
                "evaluation_batch_size",
                f"at most {most}, the tokens of the validation text but one",
                self.evaluation_batch_size,
            )

    def scored(self, corpus: Corpus, part: str) -> np.ndarray:
        """Returns the tokens of a part of the corpus that are scored."""
        tokens = getattr(corpus, part)
        if part == "validation" and self.max_validation_tokens:
            return tokens[: self.max_validation_tokens]
        return tokens


def rate_at(
    config: LanguageModelConfig, share: Any, epochs: Any, ops: Any = np
) -> Any:
    """Returns the learning rate of an update.

    Args:
        config: Its `schedule` and what belongs to it.
        share: Share of all updates that are done, in [0, 1).
        epochs: Epochs that are done, with the fraction of the present one.
        ops: Functions for numbers as those are: `numpy`, or `keras.ops` for
            tensors.

    Reference:
        [Zaremba et al., 2014](https://arxiv.org/abs/1409.2329), section 4.1
        (`step`: divided by 1.2 after each epoch from the 6th of 39).
    """
    rate = config.learning_rate
    if config.schedule == "cosine":
        return rate * (0.5 * (1.0 + ops.cos(math.pi * share)))
    if config.schedule == "step":
        decays = ops.maximum(ops.floor(epochs) + 1 - config.decay_epoch, 0.0)
        return rate * ops.power(1 / config.decay, decays)
    return rate


class TrainingConfig(Settings):
    """A full training of a language model, to its test figures.

    Example:

    >>> TrainingConfig(preset="mine", cell="gru").model.units
    64
    """

    preset: str = setting(
        dataclasses.MISSING, "Name of the preset it began as.", settings.text()
    )
    data: TextData = setting(
        TextData(dataset="ptb", level="word"),
        "The text.",
        settings.instance(TextData),
    )
    cell: str = setting(
        "lstm", "Name of a cell, or path of its JSON file.", settings.text()
    )
    parameters: int = setting(
        0,
        "Most weights of the model, from which its units follow; 0: the "
        "model's own units.",
        whole(),
    )
    model: LanguageModelConfig = setting(
        LanguageModelConfig(select="best"),
        "Model and training.",
        settings.instance(LanguageModelConfig),
    )
    seed: int = setting(0, "Seed of all chance.", whole())
    num_threads: int = setting(
        0,
        "Threads of TensorFlow's operations; 0: one for each core.",
        settings.threads(),
    )

    def sized(self, spec: CellSpec, corpus: Corpus) -> LanguageModelConfig:
        """Returns the model's configuration with the units it will have.

        Raises:
            ValueError: If a model of one unit has more than `parameters`
                weights, or the text is too short.
        """
        config = self.model
        if self.parameters:
            size = corpus.vocabulary_size
            config = config.resized(spec, size, self.parameters)
        config.check_corpus(corpus)
        return config

    def settings(self, spec: CellSpec, corpus: Corpus) -> dict[str, Any]:
        """Returns what the results depend on, JSON-able.

        Text and cell are known by their content, not by their paths.
        """
        return {
            **self.to_dict(),
            **known_by(corpus, spec),
            "data": {**self.data.to_dict(), "text_file": None},
        }


def known_by(corpus: Corpus, spec: CellSpec) -> dict[str, Any]:
    """Returns what settings hold of a text and a cell, JSON-able."""
    return {
        "cell": {"name": spec.name, "fingerprint": spec.fingerprint},
        "corpus": {"name": corpus.name, "sha256": corpus.sha256},
    }
