"""`ImageTraining`, how an image network is trained; `ImageConfig`, all of it.

No TensorFlow, no Keras.
"""

import dataclasses
from typing import Any

from nas_keras.convnets.files import load_convnet
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.data.image_sources import ImageData
from nas_keras.data.images import ImageSet
from nas_keras.data.images import describe
from nas_keras.settings import Settings
from nas_keras.settings import boolean
from nas_keras.settings import fraction
from nas_keras.settings import instance
from nas_keras.settings import not_negative
from nas_keras.settings import one_of
from nas_keras.settings import positive
from nas_keras.settings import refuse
from nas_keras.settings import setting
from nas_keras.settings import text
from nas_keras.settings import threads
from nas_keras.settings import whole
from nas_keras.tasks.task import Task
from nas_keras.tasks.training.schedules import Constant
from nas_keras.tasks.training.schedules import Cosine
from nas_keras.tasks.training.schedules import CosineRestarts
from nas_keras.tasks.training.schedules import Step
from nas_keras.tasks.training.variables import PRECISIONS

NetSpec = ConvNetSpec | MicroNetSpec


class Sgd(Settings):
    """Gradient descent with momentum."""

    momentum: float = setting(0.9, "Momentum.", fraction())
    nesterov: bool = setting(
        True, "Whether the momentum is Nesterov's.", boolean()
    )


class Adam(Settings):
    """Adam, with Keras's constants."""


OPTIMIZERS = {"nesterov": Sgd(), "sgd": Sgd(nesterov=False), "adam": Adam()}
SCHEDULES = {
    "constant": Constant,
    "step": Step,
    "cosine": Cosine,
    "cosine_restarts": CosineRestarts,
}
# What networks that share their weights have only in this way.
_FIXED_WHEN_SHARED = {
    "drop_path": 0.0,
    "auxiliary_weight": 0.0,
    "norm_epsilon": 0.0,
    "precision": "float32",
}


class ImageTraining(Settings):
    """How an image network is trained, whatever its layers and its images.

    Example:

    >>> round(ImageTraining(schedule=Step()).rate_at(5.0), 6)
    0.01
    """

    noun = "network"  # What an architecture of its task is.
    data_class = ImageData

    norm_epsilon: float = setting(
        0.0,
        "Number added to the variance in batch normalization; 0: the network's "
        "own.",
        not_negative(),
    )
    dropout: float = setting(
        0.0, "Dropout rate of what the last layer reads.", fraction()
    )
    drop_path: float = setting(
        0.0,
        "Share of an image's paths through the cells that are dropped, in the "
        "last cell at the end of the training (ENAS); networks without cells "
        "have no such paths.",
        fraction(),
    )
    auxiliary_weight: float = setting(
        0.0,
        "Weight of the loss of the auxiliary head, which networks of cells may "
        "have; 0: no such head.",
        not_negative(),
    )
    batch_size: int = setting(
        128,
        "Images of an update; the images that an epoch leaves over are others "
        "each time.",
        whole(1),
    )
    num_epochs: int = setting(10, "Passes over the training images.", whole(1))
    optimizer: Sgd | Adam = setting(Sgd(), "Optimizer.", instance(OPTIMIZERS))
    learning_rate: float = setting(0.1, "Largest learning rate.", positive())
    schedule: Constant | Step | Cosine | CosineRestarts = setting(
        Cosine(), "Schedule of the learning rate.", instance(SCHEDULES)
    )
    weight_decay: float = setting(
        1e-4,
        "Factor of each weight of a kernel that is added to its gradient; as a "
        "penalty, half of it times the sum of squares.",
        not_negative(),
    )
    clip_norm: float = setting(
        0.0,
        "Largest global norm of the gradient, before the decay; 0: it is not "
        "clipped.",
        not_negative(),
    )
    label_smoothing: float = setting(
        0.0,
        "Share of the label's probability that is spread evenly over the "
        "classes.",
        fraction(),
    )
    padding: int = setting(
        4,
        "Zeros around an image, of which the training sees a random crop of "
        "the original size.",
        whole(0),
        unit="pixels",
    )
    flip: bool = setting(
        True, "Whether a random half of the images is mirrored.", boolean()
    )
    cutout: int = setting(
        0,
        "Side of a square at a random place that is zeroed (DeVries & Taylor, "
        "2017); 0: none.",
        whole(0),
        unit="pixels",
    )
    normalization: str = setting(
        "channel",
        "Normalization of pixels: 'channel', by mean and deviation of each "
        "channel over the training images; or 'whitening', of each image over "
        "itself.",
        one_of(("channel", "whitening")),
    )
    precision: str = setting(
        "float32", "Keras dtype policy.", one_of(PRECISIONS)
    )
    select: str = setting(
        "best",
        "Weights that are kept: of the 'best' epoch, by the validation "
        "accuracy and, where it is equal, the loss; or of the 'last'.",
        one_of(("best", "last")),
    )
    scored_epochs: int = setting(
        0,
        "Last epochs after which validation images are scored, of which the "
        "best may be kept; 0: all epochs.",
        whole(0),
    )
    snapshot_updates: int = setting(
        500, "Updates between snapshots, besides one an epoch.", whole(1)
    )

    def _check(self) -> None:
        schedule = self.schedule
        if isinstance(schedule, Cosine):
            lowest = schedule.min_learning_rate
            if lowest > self.learning_rate:
                rule = f"at most learning_rate={self.learning_rate}"
                refuse("min_learning_rate", rule, lowest)

    def task(self, images: ImageSet) -> Task:
        """Returns the task of training networks so on images."""
        from nas_keras.tasks.images.task import ImageTask

        return ImageTask(self, images)

    def rate_at(self, epochs: float) -> float:
        """Returns the learning rate of an update.

        Args:
            epochs: Epochs done so far, with the fraction of the present one.
        """
        return self.schedule.rate_at(
            self.learning_rate, epochs, self.num_epochs
        )

    def check_images(self, images: ImageSet) -> None:
        """Refuses images that the training has no use for.

        Raises:
            ValueError: If there are fewer than one batch, or they are so small
                that padding or cutout could leave nothing of them.
        """
        total = len(images.train.labels)
        if self.batch_size > total:
            rule = f"at most the {total} training images of {images.name!r}"
            refuse("batch_size", rule, self.batch_size)
        side = min(images.image_shape[:2])
        for name in ("padding", "cutout"):
            if getattr(self, name) >= side:
                rule = f"below {side}, the shorter side of the images"
                refuse(name, rule, getattr(self, name))


class ImageConfig(Settings):
    """An image network trained from its beginning to its test figures."""

    preset: str = setting(
        dataclasses.MISSING, "Name of the preset it began as.", text()
    )
    network: str = setting(
        "resnet_20", "Name of a network, or path of its JSON file.", text()
    )
    filters: int = setting(
        0,
        "Filters of the network's first layers; the others have in proportion "
        "to theirs. 0: as the network has them.",
        whole(0),
    )
    data: ImageData = setting(ImageData(), "Images.", instance(ImageData))
    training: ImageTraining = setting(
        ImageTraining(), "Training.", instance(ImageTraining)
    )
    seed: int = setting(
        0, "Seed of all chance but that of the split.", whole(0)
    )
    num_threads: int = setting(
        0,
        "Threads of TensorFlow's operations; 0: one for each core.",
        threads(),
    )

    def spec(self, network: NetSpec | None = None) -> NetSpec:
        """Returns the network that is trained.

        Args:
            network: Network in the place of the one that is named.

        Raises:
            ValueError: As `load_convnet` and `resized` raise.
        """
        return resized(network or load_convnet(self.network), self.filters)

    def settings(self, spec: NetSpec, images: ImageSet) -> dict[str, Any]:
        """Returns what the results depend on, JSON-able.

        Images and network are known by what they hold, not by their paths.
        """
        settings = self.to_dict()
        del settings["data"]["image_dir"]
        return {
            **settings,
            "network": {"name": spec.name, "fingerprint": spec.fingerprint},
            "images": describe(images),
        }


def check_shared(training: ImageTraining, prefix: str = "") -> None:
    """Refuses what networks that share their weights do not have.

    Args:
        training: Training of the shared weights.
        prefix: What stands before a field's name in the message.

    Raises:
        ValueError: If a field is not as it must be.
    """
    for name, value in _FIXED_WHEN_SHARED.items():
        received = getattr(training, name)
        if received != value:
            rule = f"{value!r} where weights are shared"
            refuse(f"{prefix}{name}", rule, received)


def resized(spec: NetSpec, filters: int) -> NetSpec:
    """Returns a network with other numbers of filters, in proportion.

    Args:
        spec: A network.
        filters: Filters of its stem or its cells, or if it has neither, of its
            first convolution; 0: as it is.

    Raises:
        ValueError: If a layer does not get a whole number of filters, or
            there is none that has filters.
    """
    if not filters:
        return spec
    if not isinstance(spec, ConvNetSpec):
        return dataclasses.replace(spec, filters=filters)
    old = spec.filters or next((k.filters for k in spec.layers if k.filters), 0)
    if not old:
        raise ValueError(
            f"filters must be 0 for {spec.name!r}, which has no convolution. "
            f"Received: filters={filters}."
        )
    layers = []
    for number, layer in enumerate(spec.layers):
        width, rest = divmod(layer.filters * filters, old)
        if rest or (layer.filters and not width):
            raise ValueError(
                f"filters must give each layer of {spec.name!r} a whole number "
                f"of filters. Received: filters={filters}, which are "
                f"{old} in the file; layer {number} has {layer.filters}."
            )
        layers.append(dataclasses.replace(layer, filters=width))
    stem = filters if spec.filters else 0
    return dataclasses.replace(spec, layers=tuple(layers), filters=stem)
