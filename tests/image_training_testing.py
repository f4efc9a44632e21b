"""What tests of trainings of image networks share: images, a small network."""

import numpy as np

from nas_keras.convnets import ConvLayer
from nas_keras.convnets import ConvNetSpec
from nas_keras.data.images import Images
from nas_keras.data.images import image_set
from nas_keras.settings import Change
from nas_keras.settings import changed
from nas_keras.settings import fields_of
from nas_keras.tasks.images.config import OPTIMIZERS
from nas_keras.tasks.images.config import SCHEDULES
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.training import train_images

NETWORK = ConvNetSpec(
    "small",
    [
        ConvLayer("conv", filters=4),
        ConvLayer("max_pool", kernel=2, stride=2, inputs=[0]),
        ConvLayer("conv", filters=8, inputs=[1]),
    ],
)


def corners(num_validation=16):
    """Returns bright squares on noise; the corner they are in is the class."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 90, (100, 6, 6, 1), dtype=np.uint8)
    labels = rng.integers(0, 3, 100).astype(np.int32)
    for image, label in zip(pixels, labels, strict=True):
        row, column = divmod(label, 2)
        image[3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 120
    parts = Images(pixels, labels)
    return image_set(
        parts.take(np.arange(70)),
        parts.take(np.arange(70, 100)),
        ("left", "right", "below"),
        name="corners",
        num_validation=num_validation,
    )


_WITHIN = {
    "training.optimizer.": OPTIMIZERS.values(),
    "training.schedule.": SCHEDULES.values(),
    "data.": [ImageConfig("test").data],
    "training.": [ImageTraining],
}
_DOTTED = {
    field.name: path + field.name
    for path, all_settings in _WITHIN.items()
    for settings in all_settings
    for field in fields_of(settings)
}


def image_config(**changes):
    """Returns a short training; changes are by the names of all fields."""
    changes = {
        "batch_size": 10,
        "num_epochs": 3,
        "padding": 1,
        "flip": False,
        "dropout": 0.1,
        "snapshot_updates": 2,
        **changes,
    }
    return changed(
        ImageConfig("test"),
        {
            _DOTTED.get(name, name): Change(name, value)
            for name, value in changes.items()
        },
    )


def image_training(**changes):
    return image_config(**changes).training


def train(config, workdir, images=None, **options):
    images = images or corners()
    return list(
        train_images(config, images, workdir, network=NETWORK, **options)
    )
