"""A long training of a language model, to its figures.

    train_language_model(config, corpus, workdir) -> Epoch, Epoch, ...

Killed anywhere and continued, it ends with the same weights: see
`training_loop.py`. Axes: B batch, T time steps, L tokens of a stream.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from absl import logging

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.data.text import Corpus
from nas_keras.storage import files
from nas_keras.storage import run_config
from nas_keras.tasks.language_model.model import LanguageModelTask
from nas_keras.tasks.language_model.scoring import loss_of_text
from nas_keras.tasks.language_model.steps import LanguageModelSteps
from nas_keras.tasks.language_model.steps import States
from nas_keras.tasks.language_model.training_config import TrainingConfig
from nas_keras.tasks.language_model.windows import rate_at
from nas_keras.tasks.language_model.windows import stream_array
from nas_keras.tasks.language_model.windows import windows_of
from nas_keras.tasks.training.files import exclusive_workdir
from nas_keras.tasks.training.loop import MAX_LOSS_NATS
from nas_keras.tasks.training.loop import Diverged
from nas_keras.tasks.training.loop import TrainingError
from nas_keras.tasks.training.loop import TrainingLoop
from nas_keras.tasks.training.loop import Update
from nas_keras.tasks.training.place import Record
from nas_keras.tasks.training.scores import loss_metrics

_Window = tuple[int, int]  # Its first step, and how many it has.


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What one pass over the training text came to.

    Attributes:
        epoch: From 1.
        updates: Taken in all.
        learning_rate: Of its last update, 1 for windows of T steps.
        train_loss_nats: Mean over its updates.
        validation_loss_nats: After it, all tokens.
        averaged: Whether the weights that were scored are averages.
        rollbacks: In all.
        elapsed_s: Of training and scoring, sum of all calls that took part.
    """

    epoch: int
    updates: int
    learning_rate: float
    train_loss_nats: float
    validation_loss_nats: float
    averaged: bool
    rollbacks: int
    elapsed_s: float


def train_language_model(
    config: TrainingConfig,
    corpus: Corpus,
    workdir: Path,
    on_update: Callable[[Update], None] = lambda update: None,
) -> Iterator[Epoch]:
    """Trains a language model to its test figures, or continues to.

    Args:
        config: `TrainingConfig`.
        corpus: The text.
        workdir: Folder of `config.json`, `checkpoints/`, the best weights in
            `best/`, and at the end `result.json`. The epochs of an earlier
            call are yielded again.
        on_update: Is told of every update.

    Yields:
        An `Epoch` after each pass.

    Raises:
        ValueError: If the workdir belongs to another configuration or is in
            use, or Keras's backend is neither TensorFlow nor JAX.
        TrainingError: If the training diverged again after three times going
            back to a snapshot with half the rate.
    """
    spec = load_spec(config.cell)
    settings = {
        "settings": config.settings(spec, corpus),
        "backend": keras.backend.backend(),  # The last digits depend on it.
    }
    workdir = Path(workdir)
    config.sized(spec, corpus)  # Refuses before anything is written.
    with exclusive_workdir(workdir, settings, ("checkpoints", "best")):
        training = _Training(config, spec, corpus, workdir, on_update)
        for record in training.run():
            yield Epoch(**record)


class _Training(TrainingLoop):
    """Of windows of text; states are carried from one to the next."""

    best_by = {"validation_loss_nats": -1}

    def __init__(
        self,
        config: TrainingConfig,
        spec: CellSpec,
        corpus: Corpus,
        workdir: Path,
        on_update: Callable[[Update], None],
    ):
        self._config = config
        self._spec = spec
        self._corpus = corpus
        self._recipe = config.sized(spec, corpus)
        self._task = LanguageModelTask(self._recipe, corpus)
        self._steps = LanguageModelSteps(self._task, spec, config)
        self._text = stream_array(corpus.train, self._recipe.batch_size)
        self._states: list[States] = []
        per_epoch = len(self.batches(0))
        super().__init__(
            workdir,
            self._recipe.num_epochs or self._recipe.num_updates / per_epoch,
            self._recipe.num_updates,
            config.snapshot_updates,
            on_update,
        )

    def batches(self, epoch: int) -> list[_Window]:
        return windows_of(
            self._text.shape[1],
            self._recipe.num_steps,
            epoch,
            self._config.seed,
            self._config.vary_steps,
        )

    def num_examples(self, batch: _Window) -> int:
        return batch[1] * self._recipe.batch_size

    def begin_epoch(self) -> None:
        parts = self._config.micro_batches
        self._states = self._steps.first_states(self._recipe.batch_size, parts)

    def update(self, batch: _Window, epochs: float) -> float:
        start, length = batch
        rate = rate_at(self._recipe, epochs, self.num_epochs)
        self.rate = rate * self.rate_factor()
        loss_nats, self._states = self._steps.update(
            self._text[:, start : start + length + 1],
            self._states,
            self.rate * length / self._recipe.num_steps,
            self._average_rate(),
        )
        return loss_nats

    def _average_rate(self) -> float:
        """Returns 1 / number of averaged weights, those of the update too."""
        begin, updates = self.place.average_from, self.place.updates
        return 1.0 if begin is None else 1.0 / (updates + 1 - begin)

    def scores(self) -> Record:
        place = self.place
        loss_nats = self._validation_loss(self.result_arrays())
        if not loss_nats < MAX_LOSS_NATS:
            raise Diverged(f"a validation loss of {loss_nats:.4g} nats")
        earlier = [past["validation_loss_nats"] for past in place.history]
        averaged = place.average_from is not None
        if self._begins_to_average(loss_nats, earlier):
            place.average_from = place.updates
        return {"validation_loss_nats": loss_nats, "averaged": averaged}

    def result_arrays(self) -> list[np.ndarray]:
        return self._steps.result_arrays()

    def _begins_to_average(
        self, loss_nats: float, earlier: list[float]
    ) -> bool:
        """Algorithm 1 of Merity et al. (2017)."""
        patience = self._config.average_patience
        return (
            self._config.average == "nonmonotone"
            and self.place.average_from is None
            and len(earlier) > patience
            and loss_nats > min(earlier[:-patience])
        )

    def _validation_loss(self, weights: list[np.ndarray]) -> float:
        with self._steps.using(weights):
            return loss_of_text(
                self._steps,
                self._corpus.validation,
                self._config.evaluation_batch_size,
            )

    # Snapshots.

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = self._steps.arrays()
        for name, tensors, place in self._state_places():
            arrays[name] = np.array(tensors[place]).astype(np.float32)
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._steps.restore(arrays)
        for name, tensors, place in self._state_places():
            tensors[place] = self._steps.tensor(arrays[name], tensors[place])

    def _state_places(self) -> Iterator[tuple[str, list, int]]:
        """Yields the name of each state, and the list and place it is at."""
        for part, states in enumerate(self._states):
            for layer, tensors in enumerate(states):
                for place in range(len(tensors)):
                    yield (
                        f"state/{part:04d}/{layer:04d}/{place:04d}",
                        tensors,
                        place,
                    )

    # The end.

    def write_result(self) -> None:
        self._steps.set_weights(self.best_weights())
        metrics: dict[str, float] = {}
        texts = {
            "validation": self._corpus.validation,
            "test": self._corpus.test,
        }
        for part, tokens in texts.items():
            self._put(metrics, part, loss_of_text(self._steps, tokens))
            if self._config.dynamic_rate:
                self._put_dynamic(metrics, part, tokens)
        result = {
            "metrics": metrics,
            "best_epoch": self.best_epoch()["epoch"],
            **self.course(),
            "cell": self._spec.to_dict(),
            "units": self._recipe.units,
            "parameters": self._task.num_parameters(self._spec),
            "vocabulary_size": self._corpus.vocabulary_size,
            "config": self._config.settings(self._spec, self._corpus),
            "environment": run_config.environment(),
        }
        files.write_json(self.workdir / "result.json", result)

    def _put(
        self, metrics: dict[str, float], part: str, loss_nats: float
    ) -> None:
        if not loss_nats < MAX_LOSS_NATS:
            raise TrainingError(f"the {part} loss is {loss_nats:.4g} nats")
        metrics |= loss_metrics(part, loss_nats, self._corpus.level)

    def _put_dynamic(
        self, metrics: dict[str, float], part: str, tokens: np.ndarray
    ) -> None:
        """Adds the figures of dynamic evaluation, if it does not diverge."""
        with self._steps.using(self._steps.weights()):
            loss_nats = loss_of_text(
                self._steps,
                tokens,
                dynamic_rate=self._config.dynamic_rate,
                num_steps=self._recipe.num_steps,
            )
        if loss_nats < MAX_LOSS_NATS:
            self._put(metrics, f"{part}_dynamic", loss_nats)
        else:
            logging.warning(
                "Dynamic evaluation diverged on the %s text, with "
                "dynamic_rate=%g: it is left out of the result.",
                part,
                self._config.dynamic_rate,
            )
