"""What an update sees of the images: pure functions, and what runs ahead.

All chance is of (seed, epoch, place of the image), so that a batch is the
same in every process and after every restart. NumPy only.
Axes: N images of a part, B of a batch, H rows, W columns, C channels.
"""

import concurrent.futures
import functools
from typing import NamedTuple

import numpy as np

from nas_keras.data.images import Images
from nas_keras.tasks.images.config import ImageTraining

_ORDER, _DRAWS = 0, 1  # What two streams of chance are for.


class Normalization(NamedTuple):
    """How pixels become what a network reads.

    Attributes:
        mean, deviation: float32 [C] over the training images, or None: each
            image has its own, over all its pixels.
    """

    mean: np.ndarray | None
    deviation: np.ndarray | None

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Returns pixels uint8 [B, H, W, C] as float32."""
        pixels = pixels.astype(np.float32)
        mean, deviation = self.mean, self.deviation
        if mean is None:
            axes, num = (1, 2, 3), np.prod(pixels.shape[1:])
            mean = pixels.mean(axes, keepdims=True)
            # An image of one colour becomes zero.
            variance = pixels.var(axes, keepdims=True) + 1 / num
            deviation = np.sqrt(variance)
        return (pixels - mean) / deviation


def normalization_of(kind: str, pixels: np.ndarray) -> Normalization:
    """Returns the normalization of a training on uint8 [N, H, W, C].

    Args:
        kind: As in `ImageTraining`.
        pixels: Pixels of the training images.
    """
    if kind == "whitening":
        return Normalization(None, None)
    total = np.prod(pixels.shape[:3])
    # By how often each value is there: no array as large, of floats.
    counts = [
        np.bincount(pixels[..., k].ravel(), minlength=256)
        for k in range(pixels.shape[3])
    ]
    values = np.arange(256)
    means = np.array([count @ values / total for count in counts])
    squares = np.array([count @ values**2 / total for count in counts])
    deviations = np.sqrt(squares - means**2)
    deviations[deviations == 0] = 1.0  # A channel of one value becomes zero.
    return Normalization(
        means.astype(np.float32), deviations.astype(np.float32)
    )


def batches_of(
    num: int, batch_size: int, epoch: int, seed: int
) -> list[np.ndarray]:
    """Returns the batches of an epoch, each the places of its images [B].

    Args:
        num: N.
        batch_size: B; the images that are left over are in no batch.
        epoch: From 0; with the seed, it decides the order.
        seed: Of the training.
    """
    rng = np.random.default_rng([seed, epoch, _ORDER])
    order = rng.permutation(num)[: num // batch_size * batch_size]
    return list(order.reshape(-1, batch_size))


class Draws(NamedTuple):
    """What chance does to each image of an epoch, all [N].

    Attributes:
        top, left: int, of the part that is seen of the padded image.
        is_flipped: bool.
        cut_row, cut_column: int, the middle of the square that is cut out.
    """

    top: np.ndarray
    left: np.ndarray
    is_flipped: np.ndarray
    cut_row: np.ndarray
    cut_column: np.ndarray

    def take(self, places: np.ndarray) -> "Draws":
        """Returns those of some images."""
        return Draws(*(array[places] for array in self))


def draws_of(
    num: int, size: tuple[int, int], padding: int, epoch: int, seed: int
) -> Draws:
    """Returns the draws of an epoch.

    Args:
        num: N.
        size: H, W.
        padding: Zeros around an image.
        epoch: Number of the epoch, from 0.
        seed: Seed of the training.
    """
    rng = np.random.default_rng([seed, epoch, _DRAWS])
    top, left = rng.integers(0, 2 * padding + 1, (2, num))
    is_flipped = rng.random(num) < 0.5
    row, column = (rng.integers(0, length, num) for length in size)
    return Draws(top, left, is_flipped, row, column)


def augmented(
    images: np.ndarray, draws: Draws, training: ImageTraining
) -> np.ndarray:
    """Returns images as the training sees them.

    Args:
        images: float32 [B, H, W, C], normalized: the zeros that are put
            around and into an image are its mean.
        draws: Of these images.
        training: Its `padding`, `flip` and `cutout`.
    """
    if training.padding:
        images = _cropped(images, draws.top, draws.left, training.padding)
    else:
        images = images.copy()
    if training.flip:
        chosen = draws.is_flipped
        images[chosen] = images[chosen, :, ::-1]
    if training.cutout:
        middles = draws.cut_row, draws.cut_column
        rows, columns = (
            _is_cut(middle, length, training.cutout)
            for middle, length in zip(middles, images.shape[1:3], strict=True)
        )
        images[rows[:, :, None] & columns[:, None, :]] = 0.0
    return images


def _cropped(
    images: np.ndarray, top: np.ndarray, left: np.ndarray, padding: int
) -> np.ndarray:
    margins = (padding, padding)
    padded = np.pad(images, ((0, 0), margins, margins, (0, 0)))
    height, width = images.shape[1:3]
    seen = np.empty_like(images)
    for place, (y, x) in enumerate(zip(top, left, strict=True)):
        seen[place] = padded[place, y : y + height, x : x + width]
    return seen


def _is_cut(middle: np.ndarray, length: int, size: int) -> np.ndarray:
    """Returns bool [B, length]: `size` places around each middle."""
    begin = middle[:, None] - size // 2
    places = np.arange(length)
    return (places >= begin) & (places < begin + size)


class TrainingInput:
    """The batches of a training; the next is made while one is used.

    It has a thread, which `close`, or the end of a `with`, ends.

    Args:
        images: Training images.
        training: The training; nothing is made beyond its last epoch unless it
            is asked for.
        normalization: Normalization of the images.
        seed: Seed of the order and of the draws.

    Example:

    >>> grey = Images(np.zeros((6, 4, 4, 1), np.uint8), np.zeros(6, np.int32))
    >>> training = ImageTraining(batch_size=2)
    >>> whitening = normalization_of("whitening", grey.pixels)
    >>> with TrainingInput(grey, training, whitening) as inputs:
    ...     inputs.batch(0, 2)[0].shape
    (2, 4, 4, 1)
    """

    def __init__(
        self,
        images: Images,
        training: ImageTraining,
        normalization: Normalization,
        seed: int = 0,
    ):
        self._images = images
        self._training = training
        self._normalization = normalization
        self._ahead = concurrent.futures.ThreadPoolExecutor(1, "images")
        self._next: (
            tuple[
                tuple[int, int],
                concurrent.futures.Future[tuple[np.ndarray, np.ndarray]],
            ]
            | None
        ) = None
        total, *size = images.pixels.shape[:3]

        # Functions, and not methods, of which a cache would hold `self`.
        @functools.lru_cache(2)  # The epoch that is on, and the next one.
        def draws(epoch: int) -> Draws:
            return draws_of(total, tuple(size), training.padding, epoch, seed)

        @functools.lru_cache(2)
        def batches(epoch: int) -> list[np.ndarray]:
            return batches_of(total, training.batch_size, epoch, seed)

        self._draws, self._batches = draws, batches

    def __enter__(self) -> "TrainingInput":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread; no batch may be asked for afterwards."""
        self._ahead.shutdown(cancel_futures=True)
        self._next = None

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Returns the places of the images of each batch of an epoch."""
        return self._batches(epoch)

    def batch(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns a batch of an epoch as the training sees it.

        Args:
            epoch: From 0.
            number: From 0, below `len(batches(epoch))`.

        Returns:
            Images float32 [B, H, W, C] and labels int32 [B].
        """
        place = epoch, number
        if self._next is None or self._next[0] != place:
            made = self._make(place)
        else:
            made = self._next[1].result()
        number += 1
        if number == len(self.batches(epoch)):
            epoch, number = epoch + 1, 0
        self._next = None
        if epoch < self._training.num_epochs:
            place = epoch, number
            self._next = place, self._ahead.submit(self._make, place)
        return made

    def _make(self, place: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        epoch, number = place
        chosen = self.batches(epoch)[number]
        pixels, labels = self._images.take(chosen)
        draws = self._draws(epoch).take(chosen)
        images = self._normalization(pixels)
        return augmented(images, draws, self._training), labels
