"""Searches for recurrent cells: language models on text."""

from collections.abc import Mapping
from pathlib import Path

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import save_spec
from nas_keras.data.text import Corpus
from nas_keras.experiment.finals import Trainings
from nas_keras.experiment.subject import Subject
from nas_keras.experiment.text_kind import parameters_of_retrained
from nas_keras.search.workdir import BEST_CELL
from nas_keras.tasks.language_model.children import LanguageModelTrainer
from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.model import LanguageModelTask


class TextSearch(Subject):
    """A search for a cell, ranked by the validation loss."""

    data: Corpus
    file = BEST_CELL
    figure = "validation_loss_nats"
    is_more_better = False

    def task(self, training: LanguageModelConfig) -> LanguageModelTask:
        return LanguageModelTask(training, self.data)

    def trainings(self) -> "CellTrainings":
        return CellTrainings(
            self.task(self.config.retrain),
            parameters_of_retrained(self.config, self.data),
        )

    def save(self, spec: CellSpec, folder: Path) -> None:
        save_spec(spec, folder / self.file)

    def describe(self, metrics: Mapping[str, float]) -> str:
        perplexity = metrics["validation_perplexity"]
        return f"validation perplexity {perplexity:.4g}"


class CellTrainings(Trainings):
    """Language models of cells, at equal numbers of weights.

    Args:
        task: Text and recipe; the units are chosen for each cell.
        num_parameters: Most weights of a model; each has the most units that
            fit.
    """

    size_types = {"units": (int,), "num_parameters": (int,)}

    def __init__(self, task: LanguageModelTask, num_parameters: int):
        self._task = task
        self._num_parameters = num_parameters
        # Makes the program of a cell once for its seeds, one at a time.
        self._spec: CellSpec | None = None
        self._trainer: LanguageModelTrainer | None = None

    def size_of(self, spec: CellSpec) -> dict[str, int]:
        task = self._task_of(spec)
        return {
            "units": task.config.units,
            "num_parameters": task.num_parameters(spec),
        }

    def train(
        self, spec: CellSpec, seed: int, folder: Path
    ) -> tuple[float, dict[str, float]]:
        task = self._task_of(spec)
        if self._trainer is None or self._spec is not spec:
            self._trainer = LanguageModelTrainer(task, task.model(spec))
            self._spec = spec
        metrics = self._trainer.train(seed, splits=("validation", "test"))
        metrics["multiply_adds"] = task.multiply_adds(spec)
        return -metrics["validation_loss_nats"], metrics

    def _task_of(self, spec: CellSpec) -> LanguageModelTask:
        return self._task.with_parameters(spec, self._num_parameters)
