"""`LanguageModelTask`: a text to model by a recurrent network of any cell.

No TensorFlow, no Keras until something is trained.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import Cost
from nas_keras.cells.language.spec import load_spec
from nas_keras.data.text import Corpus
from nas_keras.spaces.space import Space
from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.task import Metric
from nas_keras.tasks.task import Metrics
from nas_keras.tasks.task import Program
from nas_keras.tasks.task import SharedProgram
from nas_keras.tasks.task import Task
from nas_keras.tasks.training.loop import Update


@dataclasses.dataclass(frozen=True, eq=False)
class LanguageModelTask(Task):
    """A text, and a language model and its training.

    Attributes:
        config: `LanguageModelConfig`: model and training.
        corpus: The text.

    Raises:
        ValueError: If a part of the corpus is too short for one batch.

    Example:

    >>> from nas_keras.cells import load_spec
    >>> from nas_keras.data import build_corpus
    >>> corpus = build_corpus("she sells sea shells " * 60, name="shells")
    >>> config = LanguageModelConfig(units=8, batch_size=2, num_steps=4)
    >>> LanguageModelTask(config, corpus).size(load_spec("lstm")).parameters
    631
    """

    config: LanguageModelConfig
    corpus: Corpus

    metric = Metric("perplexity", "", is_more_better=False)
    noun = "cell"
    baseline = "lstm"

    def __post_init__(self) -> None:
        self.config.check_corpus(self.corpus)

    def load(self, name: str, like: CellSpec | None = None) -> CellSpec:
        return load_spec(name)

    def labels(self, spec: CellSpec) -> dict[str, int]:
        parameters = self.size(spec).parameters
        return {"units": self.config.units, "parameters": parameters}

    def model(self, spec: CellSpec) -> Any:
        """Returns an untrained `LanguageModel` of `NASRNN`s of a cell."""
        from nas_keras.tasks.language_model.model import cell_model

        return cell_model(self.config, self.corpus.vocabulary_size, spec)

    def size(self, spec: CellSpec) -> Cost:
        """Returns the cost of a cell's model, its multiply-adds for a token."""
        return self.config.cost(spec, self.corpus.vocabulary_size)

    def resized(self, spec: CellSpec, parameters: int) -> "LanguageModelTask":
        """Returns the task with the most units that fit.

        Args:
            spec: The cell.
            parameters: Most weights of its model; 0: as many as the model of
                an LSTM of `config.units` units has.

        Raises:
            ValueError: If a model of one unit has more.
        """
        size = self.corpus.vocabulary_size
        num = parameters or self.size(load_spec("lstm")).parameters
        config = self.config.resized(spec, size, num)
        return dataclasses.replace(self, config=config)

    def train(
        self,
        spec: CellSpec,
        seed: int,
        folder: Path | None = None,
        on_progress: Callable[[Update], None] | None = None,
    ) -> Metrics:
        """Trains a language model of a cell from scratch.

        Args:
            spec: The cell.
            seed: Seed of first weights, dropout and the lengths of windows.
            folder: Folder of this training alone; with it a training that was
                stopped resumes from its last snapshot. It need not exist.
            on_progress: Called with an `Update` after every update.

        Returns:
            `train_loss_nats`, the mean over the last epoch; for validation and
            test text `..._loss_nats`, `..._perplexity` and, for characters,
            `..._bits_per_char`, over all tokens but the first, the text read as
            one stream; `rollbacks`; and `elapsed_s`, the seconds of all calls
            that took part.

        Raises:
            FloatingPointError: If the training diverged again after three
                rollbacks, each to half the rate.
            ValueError: If the folder belongs to another training, or its
                snapshots are damaged.
        """
        from nas_keras.tasks.language_model.training import train

        return train(self.config, self.corpus, spec, seed, folder, on_progress)

    def program(
        self, space: Space, shared: bool = False
    ) -> Program | SharedProgram:
        """Returns one compiled training for all cells of a space.

        Args:
            space: A space of recurrent cells.
            shared: Whether all cells share one set of weights, to be trained
                an update at a time.

        Raises:
            ValueError: If the space has no supernet of recurrent cells, or the
                configuration asks for what a program does not do.
        """
        from nas_keras.tasks.language_model import program

        if shared:
            return program.SharedLanguageModel(self, space)
        return program.LanguageModelProgram(self, space)

    def check_shared(self, space: Space) -> None:
        space.check_supernet(CellSpec)

    def scaled(
        self, updates: float = 1.0, units: float = 1.0, data: float = 1.0
    ) -> "LanguageModelTask":
        config, corpus = self.config, self.corpus
        name = "num_updates" if config.num_updates else "num_epochs"
        changes = {
            name: max(1, round(updates * getattr(config, name))),
            "units": max(1, round(units * config.units)),
        }
        num_tokens = max(1, round(data * len(corpus.train)))
        return LanguageModelTask(
            config.replace(**changes),
            dataclasses.replace(corpus, train=corpus.train[:num_tokens]),
        )

    def settings(self) -> dict[str, Any]:
        corpus = {"name": self.corpus.name, "sha256": self.corpus.sha256}
        return {"task": self.config.to_dict(), "data": corpus}
