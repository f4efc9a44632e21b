"""Schedules of the learning rate: settings, and pure functions of what is done.

A schedule's `rate_at(largest, epochs, num_epochs)` is the learning rate of an
update before which `epochs` of `num_epochs` were done, the last in part.
No TensorFlow, no Keras.
"""

import math

from nas_keras.settings import Settings
from nas_keras.settings import fraction
from nas_keras.settings import not_negative
from nas_keras.settings import real
from nas_keras.settings import setting
from nas_keras.settings import whole


def cosine(done: float, total: float = 1.0) -> float:
    """Returns the share of a rate that is left: from 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * done / total))


class Constant(Settings):
    """The largest rate throughout."""

    def rate_at(
        self, largest: float, epochs: float, num_epochs: float
    ) -> float:
        """Returns the rate of an update."""
        return largest


class Cosine(Settings):
    """A cosine from the largest rate to the smallest, over all updates."""

    min_learning_rate: float = setting(
        0.0, "Learning rate that the cosine falls to.", not_negative()
    )

    def rate_at(
        self, largest: float, epochs: float, num_epochs: float
    ) -> float:
        """Returns the rate of an update."""
        return self._between(largest, min(epochs / num_epochs, 1.0))

    def _between(self, largest: float, done: float) -> float:
        low = self.min_learning_rate
        return low + (largest - low) * cosine(done)


class CosineRestarts(Cosine):
    """A cosine that begins anew, each time over more epochs.

    The rate changes from epoch to epoch, as in github.com/melodyguan/enas,
    src/utils.py.

    Reference:
        [Loshchilov & Hutter, 2017](https://arxiv.org/abs/1608.03983), equation
        5.
    """

    restart_epochs: int = setting(
        10,
        "Epochs until the first restart (Loshchilov & Hutter, 2017).",
        whole(1),
    )
    restart_factor: int = setting(
        2, "Factor by which each run is longer than the one before.", whole(1)
    )

    def rate_at(
        self, largest: float, epochs: float, num_epochs: float
    ) -> float:
        """Returns the rate of an update."""
        epoch, length = int(epochs), self.restart_epochs
        while epoch >= length:
            epoch -= length
            length *= self.restart_factor
        return self._between(largest, epoch / length)


class Step(Settings):
    """The largest rate, divided several times towards the end."""

    decay: float = setting(
        10.0,
        "Number that the rate is divided by at the beginning of each of "
        "`num_decays` equal parts of what follows `decay_from`.",
        real("at least 1", lambda v: v >= 1),
    )
    decay_from: float = setting(
        0.5, "Fraction of the training before the first division.", fraction()
    )
    num_decays: int = setting(2, "Number of divisions.", whole(1))

    def rate_at(
        self, largest: float, epochs: float, num_epochs: float
    ) -> float:
        """Returns the rate of an update."""
        done = epochs / num_epochs
        if done < self.decay_from:
            return largest
        over = _parts_over(done, self.decay_from, self.num_decays)
        # A division by the power would overflow where this comes to 0.
        return largest * self.decay ** -(1 + over)


class Halving(Settings):
    """The largest rate, halved several times towards the end."""

    decay_from: float = setting(
        0.5, "Fraction of the training before the halvings.", fraction()
    )
    num_halvings: int = setting(
        10,
        "Number of equal parts of what follows `decay_from`, at whose ends the "
        "rate is halved.",
        whole(0),
    )

    def rate_at(
        self, largest: float, epochs: float, num_epochs: float
    ) -> float:
        """Returns the rate of an update."""
        done = min(epochs / num_epochs, 1.0)
        if done <= self.decay_from:
            return largest
        over = _parts_over(done, self.decay_from, self.num_halvings)
        return largest * 0.5**over


def _parts_over(done: float, begin: float, num: int) -> int:
    """Returns how many of `num` equal parts of [begin, 1] are over."""
    return int((done - begin) / (1 - begin) * num)
