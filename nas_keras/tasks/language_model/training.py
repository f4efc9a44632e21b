"""The training of language models: epochs, snapshots, figures.

    train_language_model(config, corpus, workdir) -> Epoch, Epoch, ...
    train(config, corpus, spec, seed, folder=None) -> metrics

are the same code. Killed anywhere and resumed, it ends with the same weights:
see `TrainingLoop`. On TensorFlow and on JAX.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.data.text import Corpus
from nas_keras.storage import files
from nas_keras.storage import run_config
from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.config import TrainingConfig
from nas_keras.tasks.language_model.config import known_by
from nas_keras.tasks.language_model.config import rate_at
from nas_keras.tasks.language_model.model import cell_model
from nas_keras.tasks.language_model.steps import LanguageModelSteps
from nas_keras.tasks.language_model.steps import States
from nas_keras.tasks.language_model.steps import Window
from nas_keras.tasks.language_model.steps import loss_of_text
from nas_keras.tasks.language_model.steps import stream_array
from nas_keras.tasks.language_model.steps import windows_of
from nas_keras.tasks.training.files import exclusive_workdir
from nas_keras.tasks.training.loop import MAX_LOSS_NATS
from nas_keras.tasks.training.loop import MOST_AT_ONCE
from nas_keras.tasks.training.loop import Diverged
from nas_keras.tasks.training.loop import Record
from nas_keras.tasks.training.loop import TrainingError
from nas_keras.tasks.training.loop import TrainingLoop
from nas_keras.tasks.training.loop import Update
from nas_keras.tasks.training.scores import loss_metrics


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The figures of one pass over the training text.

    Attributes:
        epoch: From 1.
        updates: Updates since the beginning.
        learning_rate: Learning rate of its last update, for windows of T
            steps.
        train_loss_nats: Mean over its updates.
        validation_loss_nats: Loss after it, over all tokens.
        averaged: Whether the weights that were scored are averages.
        rollbacks: Rollbacks since the beginning.
        elapsed_s: Seconds of training and scoring, in all calls that took
            part.
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
    """Trains a language model to its test figures, or resumes to.

    Args:
        config: `TrainingConfig`.
        corpus: The text.
        workdir: Folder of `config.json`, `checkpoints/`, the best weights in
            `best/`, and at the end `result.json`. The epochs of an earlier
            call are yielded again.
        on_update: Called after every update.

    Yields:
        An `Epoch` after each pass.

    Raises:
        ValueError: If the workdir belongs to another configuration or is in
            use, or Keras's backend is neither TensorFlow nor JAX.
        TrainingError: If the training diverged again after three times going
            back to a snapshot with half the rate.
    """
    spec, workdir = load_spec(config.cell), Path(workdir)
    settings = config.settings(spec, corpus)
    sized = config.sized(spec, corpus)  # Refuses before anything is written.
    with _training(
        sized, corpus, spec, config.seed, workdir, settings, on_update
    ) as training:
        training.scores_epochs = True
        for record in training.run():
            yield Epoch(**record)


def train(
    config: LanguageModelConfig,
    corpus: Corpus,
    spec: CellSpec,
    seed: int,
    folder: Path | None = None,
    on_progress: Callable[[Update], None] | None = None,
) -> dict[str, float]:
    """Trains a language model as `train_language_model` does.

    Validation text is scored after an epoch only if the configuration asks for
    it. Arguments, metrics and errors: see `LanguageModelTask.train`.
    """
    settings = {"task": config.to_dict(), **known_by(corpus, spec)}
    settings["seed"] = seed
    if folder is not None and (folder / "result.json").exists():
        run_config.check(folder, {"settings": settings})
        result = files.read_json(folder / "result.json")
    else:
        with _training(
            config,
            corpus,
            spec,
            seed,
            folder,
            settings,
            on_progress or (lambda update: None),
        ) as training:
            for _ in training.run():
                pass
        result = training.result
    course = {name: result[name] for name in ("rollbacks", "elapsed_s")}
    return {**result["metrics"], **course}


@contextlib.contextmanager
def _training(
    config: LanguageModelConfig,
    corpus: Corpus,
    spec: CellSpec,
    seed: int,
    folder: Path | None,
    settings: Mapping[str, Any],
    on_update: Callable[[Update], None],
) -> Iterator["_Training"]:
    """Holds the folder and the compiled steps of a training."""
    with contextlib.ExitStack() as held:
        if folder is not None:
            whole = {
                "settings": settings,
                # The last digits depend on it.
                "backend": keras.backend.backend(),
            }
            held.enter_context(
                exclusive_workdir(folder, whole, ("checkpoints", "best"))
            )
        steps = held.enter_context(_lent_steps(config, corpus, spec))
        steps.begin(seed)
        yield _Training(
            config, corpus, spec, seed, steps, folder, settings, on_update
        )


# The steps of the last training, compiled: the next seed takes them.
_FREE: dict[tuple[Any, ...], LanguageModelSteps] = {}


@contextlib.contextmanager
def _lent_steps(
    config: LanguageModelConfig, corpus: Corpus, spec: CellSpec
) -> Iterator[LanguageModelSteps]:
    """Lends the compiled steps of a cell's model to one training at a time."""
    size, num_tokens = corpus.vocabulary_size, len(corpus.train)
    key = (config, size, num_tokens, spec, keras.backend.backend())
    steps = _FREE.pop(key, None)
    if steps is None:
        _FREE.clear()
        steps = LanguageModelSteps(cell_model(config, size, spec), num_tokens)
    yield steps
    _FREE.clear()
    _FREE[key] = steps


class _Training(TrainingLoop):
    """A training on windows of text; states go from one to the next.

    Attributes:
        scores_epochs: Whether validation text is scored after each epoch.
        result: What `result.json` holds, once it is done.
    """

    best_by = {"validation_loss_nats": -1}

    def __init__(
        self,
        config: LanguageModelConfig,
        corpus: Corpus,
        spec: CellSpec,
        seed: int,
        steps: LanguageModelSteps,
        folder: Path | None,
        settings: Mapping[str, Any],
        on_update: Callable[[Update], None],
    ):
        self._config = config
        self._corpus = corpus
        self._spec = spec
        self._seed = seed
        self._steps = steps
        self._settings = settings
        self._text = stream_array(corpus.train, config.batch_size)
        self._streams = keras.ops.convert_to_tensor(self._text, "int32")
        self._states: list[States] = []
        self.keeps_best = self.snapshots_epochs = config.select == "best"
        self.scores_epochs = self.keeps_best or config.average != "none"
        if not config.vary_steps and config.micro_batches == 1:
            self.most_at_once = MOST_AT_ONCE
        self.result: dict[str, Any] = {}
        per_epoch = len(self.batches(0))
        super().__init__(
            folder,
            config.num_epochs or config.num_updates / per_epoch,
            config.num_updates,
            config.snapshot_updates,
            on_update,
        )

    def batches(self, epoch: int) -> list[Window]:
        return windows_of(
            self._text.shape[1],
            self._config.num_steps,
            epoch,
            self._seed,
            self._config.vary_steps,
        )

    def num_examples(self, batch: Window) -> int:
        return batch[1] * self._config.batch_size

    def begin_epoch(self) -> None:
        parts = self._config.micro_batches
        self._states = self._steps.first_states(self._config.batch_size, parts)

    def update(self, batch: Window, epochs: float) -> float:
        first, length = batch
        self.rate = self._rate_at(epochs)
        loss_nats, self._states = self._steps.update(
            self._text[:, first : first + length + 1],
            self._states,
            self.rate * length / self._config.num_steps,
            self._average_rates(1)[0],
        )
        return loss_nats

    def updates(self, batches: Sequence[Window], epochs: float) -> list[float]:
        if self.most_at_once == 1:
            return super().updates(batches, epochs)
        num, done = len(batches), self.place.updates
        losses, self._states[0] = self._steps.updates(
            self._streams,
            done,
            num,
            self._states[0],
            self.rate_factor(),
            self._average_rates(num),
        )
        self.rate = self._rate_at((done + num - 1) / self._steps.num_windows)
        return losses.tolist()

    def _rate_at(self, epochs: float) -> float:
        rate = rate_at(self._config, epochs / self.num_epochs, epochs)
        return float(rate) * self.rate_factor()

    def _average_rates(self, num: int) -> list[float]:
        """Returns 1 / number of averaged weights after each of some updates."""
        begin = self.place.average_from
        if begin is None:
            return [1.0] * num
        return [1 / (self.place.updates + k + 1 - begin) for k in range(num)]

    def scores(self) -> Record:
        place, averaged = self.place, self.place.average_from is not None
        if not self.scores_epochs:
            return {"averaged": averaged}
        loss_nats = self._validation_loss(self.result_arrays())
        if not loss_nats < MAX_LOSS_NATS:
            raise Diverged(f"a validation loss of {loss_nats:.4g} nats")
        if self._begins_to_average(loss_nats):
            place.average_from = place.updates
        return {"validation_loss_nats": loss_nats, "averaged": averaged}

    def result_arrays(self) -> list[np.ndarray]:
        return self._steps.result_arrays()

    def _begins_to_average(self, loss_nats: float) -> bool:
        """Algorithm 1 of Merity et al. (2017)."""
        if (
            self._config.average == "none"
            or self.place.average_from is not None
        ):
            return False
        patience = self._config.average_patience
        earlier = self.place.history[:-patience]
        return bool(earlier) and loss_nats > min(
            past["validation_loss_nats"] for past in earlier
        )

    def _validation_loss(self, weights: list[np.ndarray]) -> float:
        with self._steps.using(weights):
            return loss_of_text(
                self._steps,
                self._config.scored(self._corpus, "validation"),
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
        best, last = self.keeps_best, self.place.history[-1]
        chosen = self.best_epoch() if best else last
        self._steps.set_weights(
            self.best_weights() if best else self.result_arrays()
        )
        metrics = {"train_loss_nats": last["train_loss_nats"]}
        for part in ("validation", "test"):
            tokens = self._config.scored(self._corpus, part)
            self._put(metrics, part, loss_of_text(self._steps, tokens))
            if self._config.dynamic_rate:
                self._put_dynamic(metrics, part, tokens)
        cost = self._config.cost(self._spec, self._corpus.vocabulary_size)
        self.result = {
            "metrics": metrics,
            "best_epoch": chosen["epoch"],
            **self.course(),
            "cell": self._spec.to_dict(),
            "units": self._config.units,
            "parameters": cost.parameters,
            "multiply_adds": cost.multiply_adds,
            "level": self._corpus.level,
            "vocabulary_size": self._corpus.vocabulary_size,
            "config": self._settings,
            "environment": run_config.environment(),
        }
        if self.workdir is not None:
            files.write_json(self.workdir / "result.json", self.result)

    def _put(
        self, metrics: dict[str, float], part: str, loss_nats: float
    ) -> None:
        if not loss_nats < MAX_LOSS_NATS:
            raise TrainingError(
                f"diverged: the {part} loss is {loss_nats:.4g} nats"
            )
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
                num_steps=self._config.num_steps,
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
