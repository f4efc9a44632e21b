"""Searches for image networks."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

from absl import logging

from nas_keras.controllers.controller import RandomController
from nas_keras.convnets.build import build_convnet
from nas_keras.convnets.build import multiply_adds
from nas_keras.convnets.costs import resnet_of
from nas_keras.convnets.files import save_convnet
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.data.images import ImageSet
from nas_keras.evaluators.trial import Trial
from nas_keras.experiment.finals import Candidate
from nas_keras.experiment.finals import Trainings
from nas_keras.experiment.image_kind import RESNET
from nas_keras.experiment.subject import Subject
from nas_keras.search.noise import noise
from nas_keras.search.workdir import BEST_NETWORK
from nas_keras.storage import files
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.images.task import ImageTask
from nas_keras.tasks.images.training import train_images

_DRAWING_SEED = 3_000_017  # Apart from the seeds of the searches.


class ImageSearch(Subject):
    """A search for an image network, ranked by the validation accuracy."""

    data: ImageSet
    file = BEST_NETWORK
    figure = "validation_accuracy"
    is_more_better = True

    def task(self, training: ImageConfig) -> ImageTask:
        return ImageTask(training, self.data)

    def trainings(self) -> "NetworkTrainings":
        return NetworkTrainings(self.task(self.config.retrain))

    def spec_of(self, trial: Trial) -> NetSpec:
        space = self.config.make_retrain_space()
        return trial.spec if space is None else space.decode(trial.tokens)

    def drawn(self) -> list[Candidate]:
        config = self.config
        space = config.make_retrain_space() or config.make_space()
        shape = config.retrain_random, len(space.choices)
        samples = RandomController(space).sample(
            noise(config.seed + _DRAWING_SEED, 0, shape)
        )
        return [
            Candidate(space.decode(row), "drawn", number)
            for number, row in enumerate(samples.tokens.tolist())
        ]

    def matched_to(self, best: NetSpec) -> list[Candidate]:
        if RESNET not in self.config.retrain_published:
            return []
        shape, classes = self.data.image_shape, self.data.num_classes
        wanted = multiply_adds(build_convnet(best, shape, classes))
        return [Candidate(resnet_of(wanted, shape, classes), "matched")]

    def save(self, spec: NetSpec, folder: Path) -> None:
        save_convnet(spec, folder / self.file)

    def describe(self, metrics: Mapping[str, float]) -> str:
        return f"validation accuracy {100 * metrics[self.figure]:.2f} %"


class NetworkTrainings(Trainings):
    """Image networks, each of the size that its spec has.

    Args:
        task: Images and recipe. What of it is for networks of cells alone is
            left out for others, which are trained beside them.
    """

    def __init__(self, task: ImageTask):
        self._task = task

    def train(
        self, spec: NetSpec, seed: int, folder: Path
    ) -> tuple[float, dict[str, float]]:
        if folder.exists():
            try:
                return self._trained(spec, seed, folder)
            except ValueError as error:
                logging.warning(
                    "%s cannot be gone on with: %s Training from the "
                    "beginning.",
                    folder,
                    error,
                )
                shutil.rmtree(folder)
        return self._trained(spec, seed, folder)

    def _trained(
        self, spec: NetSpec, seed: int, folder: Path
    ) -> tuple[float, dict[str, float]]:
        # The size is the spec's.
        config = dataclasses.replace(self._task.config, seed=seed, filters=0)
        if not isinstance(spec, MicroNetSpec):
            config = dataclasses.replace(
                config, drop_path=0.0, auxiliary_weight=0.0
            )
        epochs = list(
            train_images(config, self._task.images, folder, network=spec)
        )
        result = files.read_json(folder / "result.json")
        metrics = {
            "train_loss_nats": epochs[-1].train_loss_nats,
            **result["metrics"],
            "rollbacks": result["rollbacks"],
            "num_parameters": result["parameters"],
            "multiply_adds": result["multiply_adds"],
            "elapsed_s": result["elapsed_s"],
        }
        return metrics["validation_accuracy"], metrics
