"""The updates and the scores of one image network, wherever they are taken.

On TensorFlow and on JAX.
"""

from nas_keras.data.images import ImageSet
from nas_keras.tasks.images.batches import Normalization
from nas_keras.tasks.images.batches import TrainingInput
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.images.network import network_of
from nas_keras.tasks.images.scores import ImageScores
from nas_keras.tasks.images.scores import scores_of
from nas_keras.tasks.images.steps import ImageSteps
from nas_keras.tasks.training.replicas import Replicas


class ImageUpdates:
    """A network, its training images, and what of both makes an update.

    It has a thread, which `close`, or the end of a `with`, ends.

    Args:
        config: The training.
        spec: The network, as `resized` returns it.
        images: What it is trained and scored on.
        normalization: Of the images.
        replicas: As for `ImageSteps`.

    Attributes:
        steps: Its `ImageSteps`.
        normalization: As given.
        num_batches: Of an epoch.

    Raises:
        ValueError: As `network_of` and `ImageSteps` raise.
    """

    def __init__(
        self,
        config: ImageConfig,
        spec: NetSpec,
        images: ImageSet,
        normalization: Normalization,
        replicas: Replicas | None = None,
    ):
        self._config = config
        self._images = images
        self.normalization = normalization
        self.steps = ImageSteps(
            lambda: network_of(
                config, spec, images.image_shape, images.num_classes
            ),
            config,
            replicas,
        )
        self._input = TrainingInput(images.train, config, normalization)
        self.num_batches = len(self._input.batches(0))

    def __enter__(self) -> "ImageUpdates":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread; no update may be asked for afterwards."""
        self._input.close()

    def update(self, epoch: int, batch: int, rate: float) -> float:
        """Takes an update and returns its loss in nats.

        Args:
            epoch: From 0.
            batch: Its number in the epoch, from 0.
            rate: Learning rate.
        """
        epochs = epoch + batch / self.num_batches
        return self.steps.update(
            *self._input.batch(epoch, batch),
            rate,
            epochs / self._config.num_epochs,
        )

    def scores(self, part: str) -> ImageScores:
        """Returns the scores of a part of the images, which has some."""
        return scores_of(
            getattr(self._images, part),
            self._images.num_classes,
            self.normalization.__call__,
            self.steps.score,
        )
