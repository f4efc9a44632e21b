"""A long training: epochs, snapshots, recovery, and its figures.

    train_language_model(config, corpus, workdir) -> Epoch, Epoch, ...

Everything that the rest of a training depends on is in its snapshots, and all
chance is a function of the seed and the place: killed anywhere and continued,
it ends with the same weights. Axes: B batch, T time steps, L tokens of a
stream.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from nas_keras.cells.spec import CellSpec
from nas_keras.cells.spec import load_spec
from nas_keras.data.text import Corpus
from nas_keras.storage import checkpoints
from nas_keras.storage import configuration
from nas_keras.storage import files
from nas_keras.storage import locks
from nas_keras.tasks.language_model import LanguageModelTask
from nas_keras.tasks.language_model_scoring import loss_of_text
from nas_keras.tasks.language_model_steps import LanguageModelSteps
from nas_keras.tasks.language_model_steps import States
from nas_keras.tasks.scores import loss_metrics
from nas_keras.tasks.training_config import TrainingConfig
from nas_keras.tasks.training_config import TrainingError
from nas_keras.tasks.windows import rate_at
from nas_keras.tasks.windows import stream_array
from nas_keras.tasks.windows import windows_of

MAX_ROLLBACKS = 3
# A uniform guess among a million tokens costs 14 nats: beyond this, finite or
# not, a model has diverged.
_MAX_LOSS_NATS = 100.0


class _Diverged(Exception):
    """A loss or a weight that is of no use; holds what it was."""


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


@dataclasses.dataclass(frozen=True)
class Update:
    """How far an epoch has come, for a display.

    Attributes:
        epoch: From 1.
        window: Windows done of it.
        num_windows: Windows of it.
        num_tokens: Predicted by this update.
        tokens_left: To be predicted until the training ends.
        train_loss_nats: Mean over the epoch so far.
        elapsed_s: Of this update.
    """

    epoch: int
    window: int
    num_windows: int
    num_tokens: int
    tokens_left: int
    train_loss_nats: float
    elapsed_s: float


@dataclasses.dataclass
class _Place:
    """Where a training is; what of a snapshot is no array."""

    epoch: int = 0  # From 0.
    window: int = 0  # In the epoch.
    updates: int = 0
    loss_sum: float = 0.0  # Of the epoch's windows.
    average_from: int | None = None  # Update that averages begin with.
    elapsed_s: float = 0.0  # Of the epoch.
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)


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
    configuration.check(workdir, settings)
    workdir.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(workdir):
        for folder in (workdir, workdir / "checkpoints", workdir / "best"):
            files.remove_temporary(folder)
        configuration.write(workdir, settings)
        yield from _Training(config, spec, corpus, workdir, on_update).run()


class _Training:
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
        self._workdir = workdir
        self._on_update = on_update
        self._recipe = config.sized(spec, corpus)
        self._task = LanguageModelTask(self._recipe, corpus)
        self._steps = LanguageModelSteps(self._task, spec, config)
        self._text = stream_array(corpus.train, self._recipe.batch_size)
        per_epoch = len(self._windows(0))
        self._num_epochs = (
            self._recipe.num_epochs or self._recipe.num_updates / per_epoch
        )
        self._place = _Place()
        self._states: list[States] = []
        # Not in the snapshots: one that is gone back to stays as it is.
        self._rollbacks = 0
        if self._rollbacks_path.exists():
            self._rollbacks = files.read_json(self._rollbacks_path)["number"]

    def _windows(self, epoch: int) -> list[tuple[int, int]]:
        return windows_of(
            self._text.shape[1],
            self._recipe.num_steps,
            epoch,
            self._config.seed,
            self._config.vary_steps,
        )

    def run(self) -> Iterator[Epoch]:
        if not self._restore():
            self._states = self._first_states()
            self._save()
        for record in self._place.history:
            yield Epoch(**record)
        while not self._is_done():
            try:
                epoch = self._run_epoch()
            except _Diverged as error:
                self._roll_back(str(error))
            else:
                yield epoch
        if not (self._workdir / "result.json").exists():
            self._write_result()

    def _is_done(self) -> bool:
        done, recipe = self._place, self._recipe
        if recipe.num_epochs:
            return done.epoch >= recipe.num_epochs
        is_between = done.window == 0  # The last epoch may be a part of one.
        return done.updates >= recipe.num_updates and is_between

    def _first_states(self) -> list[States]:
        parts = self._config.micro_batches
        return self._steps.first_states(self._recipe.batch_size, parts)

    def _run_epoch(self) -> Epoch:
        """Runs an epoch from where it is to its end."""
        place, windows = self._place, self._windows(self._place.epoch)
        num_windows = len(windows)
        if self._recipe.num_updates:
            left = self._recipe.num_updates - place.updates
            windows = windows[: place.window + left]
        rate = 0.0
        while place.window < len(windows):
            begin_s = time.monotonic()
            start, length = windows[place.window]
            rate = self._rate(place.window / num_windows)
            loss_nats, self._states = self._steps.update(
                self._text[:, start : start + length + 1],
                self._states,
                rate * length / self._recipe.num_steps,
                self._average_rate(),
            )
            if not loss_nats < _MAX_LOSS_NATS:
                raise _Diverged(f"a training loss of {loss_nats:.4g} nats")
            place.window += 1
            place.updates += 1
            place.loss_sum += loss_nats
            elapsed_s = time.monotonic() - begin_s
            place.elapsed_s += elapsed_s
            self._on_update(
                Update(
                    place.epoch + 1,
                    place.window,
                    len(windows),
                    length * self._recipe.batch_size,
                    self._tokens_left(place.window / num_windows),
                    place.loss_sum / place.window,
                    elapsed_s,
                )
            )
            is_last = place.window == len(windows)
            if (
                not place.updates % self._config.snapshot_updates
                and not is_last
            ):
                self._save()
        return self._end_epoch(rate)

    def _tokens_left(self, fraction: float) -> int:
        epochs = self._num_epochs - self._place.epoch - fraction
        return max(0, round(epochs * self._text.size))

    def _rate(self, fraction: float) -> float:
        """Returns the rate of an update at a fraction of the epoch."""
        epochs = self._place.epoch + fraction
        rate = rate_at(self._recipe, epochs, self._num_epochs)
        return rate * 0.5**self._rollbacks

    def _average_rate(self) -> float:
        """Returns 1 / number of averaged weights, those of the update too."""
        begin, updates = self._place.average_from, self._place.updates
        return 1.0 if begin is None else 1.0 / (updates + 1 - begin)

    def _end_epoch(self, rate: float) -> Epoch:
        place, begin_s = self._place, time.monotonic()
        self._finite_arrays()  # Before any are kept as the best.
        weights = self._steps.result_arrays()
        loss_nats = self._validation_loss(weights)
        if not loss_nats < _MAX_LOSS_NATS:
            raise _Diverged(f"a validation loss of {loss_nats:.4g} nats")
        earlier = [past["validation_loss_nats"] for past in place.history]
        place.elapsed_s += time.monotonic() - begin_s
        epoch = Epoch(
            epoch=place.epoch + 1,
            updates=place.updates,
            learning_rate=rate,
            train_loss_nats=place.loss_sum / place.window,
            validation_loss_nats=loss_nats,
            averaged=place.average_from is not None,
            rollbacks=self._rollbacks,
            elapsed_s=place.elapsed_s,
        )
        if not earlier or loss_nats < min(earlier):
            arrays = {f"{k:04d}": array for k, array in enumerate(weights)}
            checkpoints.save(self._workdir / "best", place.updates, arrays)
        if self._begins_to_average(loss_nats, earlier):
            place.average_from = place.updates
        place.history.append(dataclasses.asdict(epoch))
        place.epoch += 1
        place.window, place.loss_sum, place.elapsed_s = 0, 0.0, 0.0
        self._states = self._first_states()
        self._save()
        return epoch

    def _begins_to_average(
        self, loss_nats: float, earlier: list[float]
    ) -> bool:
        """Algorithm 1 of Merity et al. (2017)."""
        patience = self._config.average_patience
        return (
            self._config.average == "nonmonotone"
            and self._place.average_from is None
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

    def _finite_arrays(self) -> dict[str, np.ndarray]:
        arrays = self._steps.arrays()
        for part, states in enumerate(self._states):
            for layer, tensors in enumerate(states):
                for place, tensor in enumerate(tensors):
                    name = f"state/{part:04d}/{layer:04d}/{place:04d}"
                    arrays[name] = np.array(tensor).astype(np.float32)
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise _Diverged(f"a {name.split('/')[0]} that is not finite")
        return arrays

    def _save(self) -> None:
        arrays = self._finite_arrays()
        text = json.dumps(dataclasses.asdict(self._place))
        arrays["place"] = np.frombuffer(text.encode(), np.uint8)
        checkpoints.save(self._folder, self._place.updates, arrays)

    @property
    def _folder(self) -> Path:
        return self._workdir / "checkpoints"

    @property
    def _rollbacks_path(self) -> Path:
        return self._workdir / "rollbacks.json"

    def _restore(self) -> bool:
        """Goes to the newest snapshot, if there is one."""
        found = checkpoints.latest(self._folder)
        if found is None:
            if (self._folder / "manifest.json").exists():
                raise ValueError(
                    f"{self._folder}: all snapshots are damaged. Remove the "
                    "folder to train from the beginning."
                )
            return False
        _, arrays = found
        self._place = _Place(**json.loads(arrays["place"].tobytes()))
        self._steps.restore(arrays)
        self._states = self._first_states()
        for part, states in enumerate(self._states):
            for layer, tensors in enumerate(states):
                for place, tensor in enumerate(tensors):
                    name = f"state/{part:04d}/{layer:04d}/{place:04d}"
                    tensors[place] = self._steps.tensor(arrays[name], tensor)
        return True

    def _roll_back(self, reason: str) -> None:
        """Goes back to the newest snapshot and halves the rate."""
        epoch, updates = self._place.epoch + 1, self._place.updates
        if updates == 0 and not self._rollbacks:
            raise TrainingError(
                f"diverged before the first update: {reason}, of the first "
                "weights. Choose a smaller init_scale; for some cells there is "
                "none that serves many layers or units."
            )
        if checkpoints.newest_step(self._folder) == updates:
            # A loss is of the weights before its update: those were bad.
            checkpoints.forget_newest(self._folder)
        self._restore()
        if self._rollbacks == MAX_ROLLBACKS:
            raise TrainingError(
                f"diverged in epoch {epoch}, at update {updates}: {reason}. "
                f"Gone back {MAX_ROLLBACKS} times already, with half the rate "
                "each; choose a smaller learning_rate or clip_norm."
            )
        self._rollbacks += 1
        files.write_json(self._rollbacks_path, {"number": self._rollbacks})
        logging.warning(
            "Diverged in epoch %d, at update %d: %s. Back to update %d, with "
            "half the rate: time %d of %d.",
            epoch,
            updates,
            reason,
            self._place.updates,
            self._rollbacks,
            MAX_ROLLBACKS,
        )

    # The end.

    def _write_result(self) -> None:
        self._steps.set_weights(best_weights(self._workdir))
        metrics: dict[str, float] = {}
        texts = {
            "validation": self._corpus.validation,
            "test": self._corpus.test,
        }
        for part, tokens in texts.items():
            self._put(metrics, part, loss_of_text(self._steps, tokens))
            if self._config.dynamic_rate:
                self._put_dynamic(metrics, part, tokens)
        history = self._place.history
        best = min(history, key=lambda past: past["validation_loss_nats"])
        result = {
            "metrics": metrics,
            "best_epoch": best["epoch"],
            "epochs": len(history),
            "updates": self._place.updates,
            "rollbacks": self._rollbacks,
            "elapsed_s": sum(past["elapsed_s"] for past in history),
            "cell": self._spec.to_dict(),
            "units": self._recipe.units,
            "parameters": self._task.num_parameters(self._spec),
            "vocabulary_size": self._corpus.vocabulary_size,
            "config": self._config.settings(self._spec, self._corpus),
            "environment": configuration.environment(),
        }
        files.write_json(self._workdir / "result.json", result)

    def _put(
        self, metrics: dict[str, float], part: str, loss_nats: float
    ) -> None:
        if not loss_nats < _MAX_LOSS_NATS:
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
        if loss_nats < _MAX_LOSS_NATS:
            self._put(metrics, f"{part}_dynamic", loss_nats)
        else:
            logging.warning(
                "Dynamic evaluation diverged on the %s text, with "
                "dynamic_rate=%g: it is left out of the result.",
                part,
                self._config.dynamic_rate,
            )


def best_weights(workdir: Path) -> list[np.ndarray]:
    """Returns the weights of the epoch that was best on validation.

    Raises:
        ValueError: If there are none, or they are damaged.
    """
    folder = Path(workdir) / "best"
    step = checkpoints.newest_step(folder)
    # Not an older one in its place: that is not the best.
    arrays = None if step is None else checkpoints.load(folder, step)
    if arrays is None:
        raise ValueError(f"{folder}: no best weights that are whole.")
    return [array for _, array in sorted(arrays.items())]
