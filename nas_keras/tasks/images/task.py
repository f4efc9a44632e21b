"""`ImageTask`: what image networks are compared on. No TensorFlow, no Keras."""

import dataclasses
from typing import Any

from nas_keras.data.images import ImageSet
from nas_keras.data.images import describe
from nas_keras.tasks.images.config import ImageConfig

# Of a configuration, what a search decides itself.
_NOT_OF_THE_TASK = ("preset", "dataset", "network", "filters", "seed")


@dataclasses.dataclass(frozen=True)
class ImageTask:
    """Images, and how a network is trained on them.

    Attributes:
        config: The training; its network, filters and seed are not looked at.
        images: What networks are trained and scored on.

    Raises:
        ValueError: If there is less than a batch of training images, or no
            image to validate on.
    """

    config: ImageConfig
    images: ImageSet

    def __post_init__(self) -> None:
        self.config.check_images(self.images)
        if not len(self.images.validation.labels):
            raise ValueError(
                "images must have a validation part, by which networks are "
                f"compared. Received: none in {self.images.name!r}."
            )

    def settings(self) -> dict[str, Any]:
        """Returns what scores on the task depend on, JSON-able."""
        settings = dataclasses.asdict(self.config)
        for name in _NOT_OF_THE_TASK:
            del settings[name]
        return {"task": settings, "images": describe(self.images)}
