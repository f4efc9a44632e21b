"""The training of an image network, to its figures.

    train_images(config, images, workdir) -> ImageEpoch, ImageEpoch, ...
    train(task, spec, seed, folder=None) -> metrics

are the same code. Killed anywhere and resumed, it ends with the same weights:
see `TrainingLoop`. On TensorFlow and on JAX.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from nas_keras.convnets.build import multiply_adds
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.data.images import ImageSet
from nas_keras.distribute.replicas import OneReplica
from nas_keras.distribute.replicas import Replicas
from nas_keras.storage import files
from nas_keras.storage import run_config
from nas_keras.tasks.images.batches import normalization_of
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.images.steps import ImageScores
from nas_keras.tasks.images.steps import ImageUpdates
from nas_keras.tasks.images.steps import num_weights
from nas_keras.tasks.images.steps import usable
from nas_keras.tasks.images.steps import without_auxiliary
from nas_keras.tasks.images.task import ImageTask
from nas_keras.tasks.task import Metrics
from nas_keras.tasks.training.files import exclusive_workdir
from nas_keras.tasks.training.files import save_model
from nas_keras.tasks.training.loop import Diverged
from nas_keras.tasks.training.loop import Record
from nas_keras.tasks.training.loop import TrainingLoop
from nas_keras.tasks.training.loop import Update


@dataclasses.dataclass(frozen=True)
class ImageEpoch:
    """What one pass over the training images came to.

    Attributes:
        epoch: Number of the epoch, from 1.
        updates: Updates in all.
        learning_rate: Learning rate of the last update.
        train_loss_nats: Mean over the updates, of images as training sees
            them.
        validation_loss_nats: Loss after the epoch; None if no validation
            images were scored.
        validation_accuracy: Likewise, in [0, 1].
        rollbacks: Rollbacks in all.
        elapsed_s: Seconds of training and scoring, sum of all calls that took
            part.
    """

    epoch: int
    updates: int
    learning_rate: float
    train_loss_nats: float
    validation_loss_nats: float | None
    validation_accuracy: float | None
    rollbacks: int
    elapsed_s: float


def train_images(
    config: ImageConfig,
    images: ImageSet,
    workdir: Path,
    on_update: Callable[[Update], None] = lambda update: None,
    replicas: Replicas | None = None,
    network: NetSpec | None = None,
) -> Iterator[ImageEpoch]:
    """Trains an image network to its test figures, or resumes.

    Args:
        config: The network and its training; its data are not looked at.
        images: Images that it is trained and scored on.
        workdir: Folder of `config.json`, `checkpoints/`, the best weights in
            `best/`, and at the end `result.json` and `model.keras`, which
            takes pixels from 0 to 255. The epochs of an earlier call are
            yielded again.
        on_update: Called with every update.
        replicas: What trains together. All processes call this alike, with
            the same workdir or one of their own, of which only the chief's
            is used.
        network: Network in the place of the one that `config.network` names.

    Yields:
        An `ImageEpoch` after each pass.

    Raises:
        ValueError: If the workdir belongs to another configuration or is in
            use, images and network or batches do not fit, Keras's backend is
            neither TensorFlow nor JAX, or the weights of the best epoch are
            gone from `best/`.
        TrainingError: If the training diverged again after three times going
            back to a snapshot with half the rate.
    """
    spec = config.spec(network)
    settings = config.settings(spec, images)
    with _training(
        config.training,
        images,
        spec,
        config.seed,
        Path(workdir),
        settings,
        on_update,
        replicas,
    ) as training:
        for record in training.run():
            yield ImageEpoch(**record)


def train(
    task: ImageTask,
    spec: NetSpec,
    seed: int,
    folder: Path | None = None,
    on_progress: Callable[[Update], None] | None = None,
) -> Metrics:
    """Trains an image network; see `ImageTask.train`."""
    settings = {
        **task.settings(),
        "network": {"name": spec.name, "fingerprint": spec.fingerprint},
        "seed": seed,
    }
    training = task.training
    if not isinstance(spec, MicroNetSpec):  # It has no cells.
        training = training.replace(drop_path=0.0, auxiliary_weight=0.0)
    with _training(
        training,
        task.data,
        spec,
        seed,
        folder,
        settings,
        on_progress or (lambda update: None),
    ) as run:
        *_, last = run.run()
    result = run.result
    if folder is not None:
        result = files.read_json(folder / "result.json")
    return {
        "train_loss_nats": last["train_loss_nats"],
        **result["metrics"],
        "rollbacks": result["rollbacks"],
        "num_parameters": result["parameters"],
        "multiply_adds": result["multiply_adds"],
        "elapsed_s": result["elapsed_s"],
    }


@contextlib.contextmanager
def _training(
    training: ImageTraining,
    images: ImageSet,
    spec: NetSpec,
    seed: int,
    workdir: Path | None,
    settings: Mapping[str, Any],
    on_update: Callable[[Update], None],
    replicas: Replicas | None = None,
) -> Iterator["_Training"]:
    """Holds the workdir and the thread of a training."""
    replicas = replicas or OneReplica()
    training.check_images(images)
    whole = {
        "settings": settings,
        "backend": keras.backend.backend(),  # The last digits depend on it.
    }
    if workdir is not None:
        run_config.check(workdir, whole)
    with contextlib.ExitStack() as held:
        updates = held.enter_context(
            ImageUpdates(  # Refuses before anything is written.
                training,
                spec,
                images,
                normalization_of(training.normalization, images.train.pixels),
                seed,
                replicas,
            )
        )
        if workdir is not None and replicas.is_chief:
            held.enter_context(
                exclusive_workdir(workdir, whole, ("checkpoints", "best"))
            )
        yield _Training(
            training,
            images,
            spec,
            updates,
            workdir,
            settings,
            on_update,
            replicas,
        )


class _Training(TrainingLoop):
    """A training on batches of images; a batch is its number in the epoch.

    Attributes:
        result: What `result.json` holds, once the training is done.
    """

    first_weights_hint = "Choose fewer layers, or another network."

    def __init__(
        self,
        training: ImageTraining,
        images: ImageSet,
        spec: NetSpec,
        updates: ImageUpdates,
        workdir: Path | None,
        settings: Mapping[str, Any],
        on_update: Callable[[Update], None],
        replicas: Replicas,
    ):
        self._training = training
        self._images = images
        self._spec = spec
        self._updates = updates
        self._steps = updates.steps
        self._settings = settings
        has_validation = len(images.validation.labels) > 0
        self._takes_best = has_validation and training.select == "best"
        self.result: dict[str, Any] = {}
        super().__init__(
            workdir,
            training.num_epochs,
            0,
            training.snapshot_updates,
            on_update,
            replicas,
        )

    def batches(self, epoch: int) -> range:
        return range(self._updates.num_batches)

    def num_examples(self, batch: int) -> int:
        return self._training.batch_size

    def begin_epoch(self) -> None:
        """Batches have no state."""

    def update(self, batch: int, epochs: float) -> float:
        self.rate = self._training.rate_at(epochs) * self.rate_factor()
        return self._updates.update(self.place.epoch, batch, self.rate)

    def arrays(self) -> dict[str, np.ndarray]:
        return self._steps.arrays()

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._steps.restore(arrays)

    def scores(self) -> Record:
        scores = self._scores("validation") if self._is_scored else None
        # However large: of normalizations that have seen a few batches alone,
        # it says little.
        if scores and not math.isfinite(scores.loss_nats):
            raise Diverged(f"a validation loss of {scores.loss_nats:.4g} nats")
        return {
            "validation_loss_nats": scores and scores.loss_nats,
            "validation_accuracy": scores and scores.accuracy,
        }

    @property
    def _is_scored(self) -> bool:
        """Whether the present epoch is among those that are scored."""
        training = self._training
        num = training.scored_epochs or training.num_epochs
        return self.place.epoch >= training.num_epochs - num

    def _scores(self, part: str) -> ImageScores | None:
        """Returns the scores of a part of the images, if it has any."""
        has_any = len(getattr(self._images, part).labels) > 0
        return self._updates.scores(part) if has_any else None

    @property
    def keeps_best(self) -> bool:  # type: ignore[override]
        return self._takes_best and self._is_scored

    def best_epoch(self) -> Record:
        # In many epochs, as many of few images are right.
        def goodness(record: Record) -> tuple[float, float]:
            return record["validation_accuracy"], -record[
                "validation_loss_nats"
            ]

        history = self.place.history
        return max(
            (its for its in history if its["validation_accuracy"] is not None),
            key=goodness,
        )

    def result_arrays(self) -> list[np.ndarray]:
        return self._steps.weights()

    # The end.

    def write_result(self) -> None:
        chosen = self._choose_weights()
        found = {
            part: scores
            for part in ("validation", "test")
            if (scores := self._scores(part))
        }
        metrics: Metrics = {}
        for part, scores in found.items():
            metrics |= scores.metrics(part)
        model = self._steps.model
        self.result = {
            "metrics": metrics,
            "weights": chosen,
            **self.course(),
            "network": self._spec.to_dict(),
            "images": self._images.name,
            "class_names": list(self._images.class_names),
            "test_confusion": found["test"].confusion.tolist(),
            "parameters": num_weights(model),
            "multiply_adds": multiply_adds(without_auxiliary(model)),
            "config": self._settings,
            "environment": run_config.environment(),
        }
        if self.workdir is not None:
            path = self.workdir / "model.keras"
            save_model(usable(model, self._updates.normalization), path)
            files.write_json(self.workdir / "result.json", self.result)

    def _choose_weights(self) -> str:
        """Takes the weights that stand for the training; returns which."""
        if not self._takes_best:
            return f"epoch {self.place.history[-1]['epoch']}, the last"
        self._steps.set_weights(self.best_weights())
        return f"epoch {self.best_epoch()['epoch']}, the best"
