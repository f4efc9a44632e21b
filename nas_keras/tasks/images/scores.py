"""How often a network is right: accuracy and confusion of a part of a set.

NumPy only. Axes: N images of a part, B of a batch, K classes.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from nas_keras.data.images import Images

SCORE_BATCH = 200

_Score = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False)
class ImageScores:
    """How near a network's classes are to the labels.

    Attributes:
        loss_nats: Mean of -log p of a label.
        accuracy: Share of the images whose class is their label, in [0, 1].
        confusion: int64 [K, K], images by label and by the network's class.
    """

    loss_nats: float
    accuracy: float
    confusion: np.ndarray

    def metrics(self, part: str) -> dict[str, float]:
        """Returns the figures by name; the error is in percent."""
        return {
            f"{part}_loss_nats": self.loss_nats,
            f"{part}_accuracy": self.accuracy,
            f"{part}_error_percent": 100 * (1 - self.accuracy),
        }


def scores_of(
    images: Images,
    num_classes: int,
    normalized: Callable[[np.ndarray], np.ndarray],
    score: _Score,
    batch_size: int = SCORE_BATCH,
) -> ImageScores:
    """Returns the scores of all images of a part, which has one at least.

    Args:
        images: The part.
        num_classes: K.
        normalized: Makes of pixels what the network reads.
        score: Returns -log p of each label [B], and the network's classes [B].
        batch_size: B. All batches have it, so that one program serves them:
            the last is filled up with images that do not count.
    """
    total = len(images.labels)
    batch_size = min(batch_size, total)
    nats, classes = [], []
    for begin in range(0, total, batch_size):
        places = np.arange(begin, begin + batch_size) % total
        pixels, labels = images.take(places)
        its_nats, its_classes = score(normalized(pixels), labels)
        nats.append(its_nats)
        classes.append(its_classes)
    found = np.concatenate(classes)[:total]
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (images.labels, found), 1)
    return ImageScores(
        float(np.mean(np.concatenate(nats)[:total], dtype=np.float64)),
        float(np.trace(confusion) / total),
        confusion,
    )
