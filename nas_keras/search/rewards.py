"""Validation loss to reward. Pure functions; no TensorFlow, no Keras."""

import math
from collections.abc import Callable

# Validation loss in nats and the constant c -> what a controller maximises.
REWARDS: dict[str, Callable[[float, float], float]] = {
    "c/ppl^2": lambda loss_nats, c: c * math.exp(-2 * loss_nats),
    "c/ppl": lambda loss_nats, c: c * math.exp(-loss_nats),
    "-loss": lambda loss_nats, c: -loss_nats,
}
