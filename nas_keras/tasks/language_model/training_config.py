"""`TrainingConfig`: a whole training of a language model, one frozen value.

No TensorFlow, no Keras.
"""

import dataclasses
from typing import Any

from nas_keras.cells.language.spec import CellSpec
from nas_keras.data.sources import DATASETS
from nas_keras.data.sources import is_dataset
from nas_keras.data.text import LEVELS
from nas_keras.data.text import Corpus
from nas_keras.tasks.checked_config import CheckedConfig
from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.config import check_length
from nas_keras.tasks.language_model.config import units_for_parameters

AVERAGES = ("none", "nonmonotone")
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class TrainingConfig(CheckedConfig):
    """A language model trained from its beginning to its test figures.

    Attributes:
        preset: Name of the preset it began as.
        dataset: As for `open_corpus`.
        text_file: Path of a UTF-8 text instead, or None.
        level: `"char"` or `"word"`.
        max_vocabulary: Most tokens of the vocabulary.
        cell: Name of a cell, or path of its JSON file.
        parameters: Most weights of the model, from which its units follow;
            0: the units are those of `model`.
        model: Model and training step.
        average: `"none"`, or `"nonmonotone"`: weights are averaged over all
            updates once validation has been no better than its best of
            `average_patience` epochs ago (Merity et al., 2017, section 3).
        average_patience: See `average`, epochs.
        vary_steps: Whether windows have lengths of their own: of mean T, or
            of T / 2 for one in twenty, with the rate in proportion (Merity et
            al., 2017, section 4.1). XLA does not compile them.
        micro_batches: Parts of equal size that a batch is computed in, one
            after the other, to save memory; their gradients are averaged.
        precision: Keras dtype policy: `"float32"` or `"mixed_bfloat16"`.
        evaluation_batch_size: Streams that validation text is cut into while
            training lasts. The final figures read each text as one stream.
        dynamic_rate: Rate of the gradient steps of dynamic evaluation, which
            goes on learning from the text it has been scored on (Krause et
            al., 2018); 0: none.
        snapshot_updates: Updates between snapshots, besides one an epoch.
        seed: Of all chance.
        num_threads: Of TensorFlow's operations; 0: one for each core.

    Raises:
        ValueError: If a value is out of range.
    """

    preset: str
    dataset: str = "ptb"
    text_file: str | None = None
    level: str = "word"
    max_vocabulary: int = 10_000
    cell: str = "lstm"
    parameters: int = 0
    model: LanguageModelConfig = LanguageModelConfig()
    average: str = "none"
    average_patience: int = 5
    vary_steps: bool = False
    micro_batches: int = 1
    precision: str = "float32"
    evaluation_batch_size: int = 10
    dynamic_rate: float = 0.0
    snapshot_updates: int = 500
    seed: int = 0
    num_threads: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("level", LEVELS),
            ("average", AVERAGES),
            ("precision", PRECISIONS),
        ):
            self._check_choice(name, allowed)
        rule = f"one of {DATASETS} or 'tfds:NAME'"
        self._check(is_dataset(self.dataset), "dataset", rule)
        for name, low in (
            ("max_vocabulary", 2),
            ("parameters", 0),
            ("average_patience", 1),
            ("micro_batches", 1),
            ("evaluation_batch_size", 1),
            ("snapshot_updates", 1),
            ("seed", 0),
        ):
            self._check_int(name, low)
        self._check_threads("num_threads")
        self._check_number("dynamic_rate", is_zero_good=True)
        good = self.model.batch_size % self.micro_batches == 0
        rule = f"a divisor of batch_size={self.model.batch_size}"
        self._check(good, "micro_batches", rule)
        good = self.model.max_validation_tokens == 0
        self._check(good, "model", "one with max_validation_tokens=0")

    def sized(self, spec: CellSpec, corpus: Corpus) -> LanguageModelConfig:
        """Returns the model's config with the units that it will have.

        Raises:
            ValueError: If a model of one unit has more than `parameters`
                weights, or the text is too short.
        """
        config = self.model
        if self.parameters:
            size = corpus.vocabulary_size
            units = units_for_parameters(config, spec, size, self.parameters)
            config = dataclasses.replace(config, units=units)
        check_length(config, corpus)
        most = len(corpus.validation) - 1
        rule = f"at most {most}, the tokens of the validation text but one"
        good = self.evaluation_batch_size <= most
        self._check(good, "evaluation_batch_size", rule)
        return config

    def settings(self, spec: CellSpec, corpus: Corpus) -> dict[str, Any]:
        """Returns what the results depend on, JSON-able.

        Text and cell are known by what they hold, not by their paths.
        """
        return {
            **dataclasses.asdict(self),
            "text_file": None,
            "cell": {"name": spec.name, "fingerprint": spec.fingerprint},
            "corpus": {"name": corpus.name, "sha256": corpus.sha256},
        }
