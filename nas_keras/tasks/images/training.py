"""A long training of an image network, to its figures.

    train_images(config, images, workdir) -> ImageEpoch, ImageEpoch, ...

Killed anywhere and continued, it ends with the same weights: see
`training_loop.py`. On TensorFlow and on JAX.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import keras
import numpy as np

from nas_keras.convnets.build import multiply_adds
from nas_keras.convnets.files import load_convnet
from nas_keras.data.images import ImageSet
from nas_keras.storage import files
from nas_keras.storage import run_config
from nas_keras.tasks.images.batches import normalization_of
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.images.config import rate_at
from nas_keras.tasks.images.config import resized
from nas_keras.tasks.images.network import num_weights
from nas_keras.tasks.images.network import usable
from nas_keras.tasks.images.network import without_auxiliary
from nas_keras.tasks.images.scores import ImageScores
from nas_keras.tasks.images.updates import ImageUpdates
from nas_keras.tasks.training.files import exclusive_workdir
from nas_keras.tasks.training.files import save_model
from nas_keras.tasks.training.loop import Diverged
from nas_keras.tasks.training.loop import TrainingLoop
from nas_keras.tasks.training.loop import Update
from nas_keras.tasks.training.place import Record
from nas_keras.tasks.training.replicas import OneReplica
from nas_keras.tasks.training.replicas import Replicas


@dataclasses.dataclass(frozen=True)
class ImageEpoch:
    """What one pass over the training images came to.

    Attributes:
        epoch: From 1.
        updates: Taken in all.
        learning_rate: Of its last update.
        train_loss_nats: Mean over its updates, of images as training sees
            them.
        validation_loss_nats: After it; None without validation images.
        validation_accuracy: Likewise, in [0, 1].
        rollbacks: In all.
        elapsed_s: Of training and scoring, sum of all calls that took part.
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
    """Trains an image network to its test figures, or continues to.

    Args:
        config: `ImageConfig`.
        images: What it is trained and scored on.
        workdir: Folder of `config.json`, `checkpoints/`, the best weights in
            `best/`, and at the end `result.json` and `model.keras`, which
            takes pixels from 0 to 255. The epochs of an earlier call are
            yielded again.
        on_update: Is told of every update.
        replicas: What trains together. All processes call this alike, with
            the same workdir or one of their own, of which only the chief's
            is used.
        network: To be used in place of the one that `config.network` names.

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
    replicas, workdir = replicas or OneReplica(), Path(workdir)
    spec = network or load_convnet(config.network)
    spec = resized(spec, config.filters)
    config.check_images(images)
    settings = {
        "settings": config.settings(spec, images),
        "backend": keras.backend.backend(),  # The last digits depend on it.
    }
    run_config.check(workdir, settings)
    updates = ImageUpdates(  # Refuses before anything is written.
        config,
        spec,
        images,
        normalization_of(config.normalization, images.train.pixels),
        replicas,
    )
    held: AbstractContextManager[None] = contextlib.nullcontext()
    if replicas.is_chief:
        held = exclusive_workdir(workdir, settings, ("checkpoints", "best"))
    with updates, held:
        training = _Training(
            config, spec, images, updates, workdir, on_update, replicas
        )
        for record in training.run():
            yield ImageEpoch(**record)


class _Training(TrainingLoop):
    """Of batches of images; a batch is its number in the epoch."""

    # In many epochs, as many of few images are right.
    best_by = {"validation_accuracy": 1, "validation_loss_nats": -1}
    first_weights_hint = "Choose fewer layers, or another network."

    def __init__(
        self,
        config: ImageConfig,
        spec: NetSpec,
        images: ImageSet,
        updates: ImageUpdates,
        workdir: Path,
        on_update: Callable[[Update], None],
        replicas: Replicas,
    ):
        self._config = config
        self._spec = spec
        self._images = images
        self._updates = updates
        self._steps = updates.steps
        has_validation = len(images.validation.labels) > 0
        self.keeps_best = has_validation and config.select == "best"
        super().__init__(
            workdir,
            config.num_epochs,
            0,
            config.snapshot_updates,
            on_update,
            replicas,
        )

    def batches(self, epoch: int) -> range:
        return range(self._updates.num_batches)

    def num_examples(self, batch: int) -> int:
        return self._config.batch_size

    def begin_epoch(self) -> None:
        """Batches have no state."""

    def update(self, batch: int, epochs: float) -> float:
        self.rate = rate_at(self._config, epochs) * self.rate_factor()
        return self._updates.update(self.place.epoch, batch, self.rate)

    def arrays(self) -> dict[str, np.ndarray]:
        return self._steps.arrays()

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._steps.restore(arrays)

    def scores(self) -> Record:
        scores = self._scores("validation")
        # However large: of normalisations that have seen a few batches alone,
        # it says little.
        if scores and not math.isfinite(scores.loss_nats):
            raise Diverged(f"a validation loss of {scores.loss_nats:.4g} nats")
        return {
            "validation_loss_nats": scores and scores.loss_nats,
            "validation_accuracy": scores and scores.accuracy,
        }

    def _scores(self, part: str) -> ImageScores | None:
        """Returns the scores of a part of the images, if it has any."""
        has_any = len(getattr(self._images, part).labels) > 0
        return self._updates.scores(part) if has_any else None

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
        metrics: dict[str, float] = {}
        for part, scores in found.items():
            metrics |= scores.metrics(part)
        model = self._steps.model
        result = {
            "metrics": metrics,
            "weights": chosen,
            **self.course(),
            "network": self._spec.to_dict(),
            "images": self._images.name,
            "class_names": list(self._images.class_names),
            "test_confusion": found["test"].confusion.tolist(),
            "parameters": num_weights(model),
            "multiply_adds": multiply_adds(without_auxiliary(model)),
            "config": self._config.settings(self._spec, self._images),
            "environment": run_config.environment(),
        }
        path = self.workdir / "model.keras"
        save_model(usable(model, self._updates.normalization), path)
        files.write_json(self.workdir / "result.json", result)

    def _choose_weights(self) -> str:
        """Takes the weights that stand for the training; returns which."""
        if not self.keeps_best:
            return f"epoch {self.place.history[-1]['epoch']}, the last"
        self._steps.set_weights(self.best_weights())
        return f"epoch {self.best_epoch()['epoch']}, the best"
