"""`TranslationTask`: pairs as a task, with their subwords.

No TensorFlow, no Keras.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import Self

from absl import logging

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import Cost
from nas_keras.cells.language.spec import load_spec
from nas_keras.data.parallel import Pair
from nas_keras.data.parallel import ParallelCorpus
from nas_keras.data.subwords import Subwords
from nas_keras.data.subwords import train_subwords
from nas_keras.tasks.task import Metric
from nas_keras.tasks.task import Metrics
from nas_keras.tasks.task import Task
from nas_keras.tasks.training.loop import Update
from nas_keras.tasks.translation.batches import EncodedPairs
from nas_keras.tasks.translation.batches import encoded
from nas_keras.tasks.translation.config import TranslationTraining
from nas_keras.tasks.translation.scores import check_language


@dataclasses.dataclass(frozen=True, eq=False)
class TranslationTask(Task):
    """Pairs to learn from, and how a model of a cell is trained on them.

    `TranslationTask.of` makes one.

    Attributes:
        training: How models are trained.
        corpus: The pairs as text.
        source_subwords: Subwords of the source.
        target_subwords: Subwords of the target; the same if they are shared.
        pairs: The training pairs that are not too long.
    """

    training: TranslationTraining
    corpus: ParallelCorpus
    source_subwords: Subwords
    target_subwords: Subwords
    pairs: EncodedPairs

    metric = Metric("beam_bleu", "", is_more_better=True)
    noun = "cell"
    baseline = "lstm"

    @classmethod
    def of(cls, training: TranslationTraining, corpus: ParallelCorpus) -> Self:
        """Returns the task of a training, its subwords learned from the pairs.

        How many pairs are too long for it is logged as a warning, and how
        many such there are among those that are scored.

        Raises:
            ValueError: If the text allows no vocabulary of this size, or no
                pair is short enough.
            ImportError: If what scores translations is not installed.
        """
        check_language(corpus.target_language)
        source, target = (
            [pair[side] for pair in corpus.train] for side in (0, 1)
        )
        size, kind = training.vocabulary_size, training.subword_kind
        if training.model.shared_embeddings:
            ours = theirs = train_subwords([*source, *target], size, kind)
        else:
            ours, theirs = (
                train_subwords(lines, size, kind) for lines in (source, target)
            )
        pairs = encoded(corpus.train, ours, theirs)
        pairs = pairs.up_to(training.max_length, corpus.name)
        task = cls(training, corpus, ours, theirs, pairs)
        for part in ("validation", "test"):
            task._tell_of_long_pairs(part, training.max_length)
        return task

    @property
    def sizes(self) -> tuple[int, int]:
        """V of the source and of the target."""
        return (
            self.source_subwords.vocabulary_size,
            self.target_subwords.vocabulary_size,
        )

    def encoded(self, pairs: Sequence[Pair]) -> EncodedPairs:
        """Returns pairs as ids."""
        return encoded(pairs, self.source_subwords, self.target_subwords)

    def _tell_of_long_pairs(self, part: str, max_length: int) -> None:
        lengths = self.encoded(getattr(self.corpus, part)).lengths
        num = sum(length > max_length + 1 for length in lengths)
        if num:
            logging.warning(
                "%s: %d of the %d %s pairs are longer than max_length=%d "
                "subwords; they are scored like the others.",
                *(self.corpus.name, num, len(lengths), part, max_length),
            )

    def load(self, name: str, like: CellSpec | None = None) -> CellSpec:
        return load_spec(name)

    def labels(self, spec: CellSpec) -> dict[str, int]:
        units = self.training.sized(spec, *self.sizes).units
        return {"units": units, **super().labels(spec)}

    def size(self, spec: CellSpec) -> Cost:
        """Returns what a cell's model costs.

        Its multiply-adds are those of the cells and the softmax for one source
        and one target subword; those of the attention follow from the lengths.
        """
        model = self.training.sized(spec, *self.sizes)
        cells = sum(
            spec.cost(width, model.units, use_bias=model.use_bias).multiply_adds
            for width in model.cell_input_widths().values()
        )
        softmax = model.units * self.sizes[1]
        return Cost(model.num_parameters(spec, *self.sizes), cells + softmax)

    def resized(self, spec: CellSpec, parameters: int) -> Self:
        """Returns the task whose model of a cell has a given size.

        Args:
            spec: The cell.
            parameters: Most weights of its model.

        Raises:
            ValueError: If the smallest model has more weights.
        """
        training = self.training.replace(parameters=parameters)
        model = training.sized(spec, *self.sizes)
        training = training.replace(parameters=0, model=model)
        return dataclasses.replace(self, training=training)

    def train(
        self,
        spec: CellSpec,
        seed: int,
        folder: Path | None = None,
        on_progress: Callable[[Update], None] | None = None,
    ) -> Metrics:
        """Trains a model of a cell from scratch, as `train_translation` does.

        Args:
            spec: The cell.
            seed: Seed of all chance.
            folder: Folder of this training alone, as the workdir of
                `train_translation`; None: the training cannot be resumed.
            on_progress: Called with an `Update` after each.

        Returns:
            `train_loss_nats` of the last epoch; `validation_` and `test_`
            `loss_nats`, `perplexity`, `greedy_` and `beam_` `bleu` and `chrf`;
            `rollbacks`, `num_parameters`, `elapsed_s`.

        Raises:
            ValueError: If the folder belongs to another training or is
                damaged, or Keras's backend is not TensorFlow.
            FloatingPointError: If the training diverges.
            OSError: If the disk fails.
        """
        from nas_keras.tasks.translation import training

        return training.train(self, spec, seed, folder, on_progress)

    def scaled(
        self, updates: float = 1.0, units: float = 1.0, data: float = 1.0
    ) -> Self:
        """Returns the same task at another fidelity.

        Args:
            updates: Factor of the updates or epochs; there is one at least.
            units: Factor of the model's width, which `parameters` is not then
                looked at for.
            data: Share of the training pairs, in (0, 1], the first ones.
        """
        training, model = self.training, self.training.model
        if updates != 1.0:
            name = "num_updates" if training.num_updates else "num_epochs"
            num = max(1, round(updates * getattr(training, name)))
            training = training.replace(**{name: num})
        if units != 1.0:
            model = model.replace(units=max(1, round(units * model.units)))
            training = training.replace(parameters=0, model=model)
        num = max(1, round(data * len(self.pairs)))
        pairs = EncodedPairs(self.pairs.source[:num], self.pairs.target[:num])
        return dataclasses.replace(self, training=training, pairs=pairs)

    def settings(self) -> dict[str, Any]:
        """Returns what results depend on, JSON-able."""
        return {
            "task": self.training.to_dict(),
            "data": {
                "name": self.corpus.name,
                "sha256": self.corpus.sha256,
                "pairs": len(self.pairs),
            },
        }
