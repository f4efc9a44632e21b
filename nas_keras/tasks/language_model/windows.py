"""Which tokens an update sees, and its learning rate: pure functions.

Axes: B streams side by side, L tokens of a stream, T steps of a window.
"""

import math

import numpy as np

from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.training.schedules import cosine

# Merity et al. (2017), section 4.1: 19 of 20 windows have T steps on average,
# the others half of it; standard deviation 5, at least 5.
_HALF_FRACTION = 0.05
_DEVIATION = 5.0
_LEAST = 5


def stream_array(tokens: np.ndarray, batch_size: int) -> np.ndarray:
    """Returns a text as B streams, int32 [B, L]; less than B are left over."""
    length = len(tokens) // batch_size
    return tokens[: length * batch_size].reshape(batch_size, length)


def windows_of(
    length: int, num_steps: int, epoch: int, seed: int, vary: bool
) -> list[tuple[int, int]]:
    """Returns begin and steps of each window of an epoch.

    Args:
        length: L.
        num_steps: T.
        epoch: From 0; with the seed, it decides the lengths.
        seed: Of the training.
        vary: Whether windows have lengths of their own. Else they have T
            steps, and what is left over is not trained on.
    """
    last = length - 1  # A window's last target is the token after it.
    if not vary:
        return [(k * num_steps, num_steps) for k in range(last // num_steps)]
    rng = np.random.default_rng([seed, epoch])
    windows, begin = [], 0
    while begin < last:
        is_half = rng.random() < _HALF_FRACTION
        mean = num_steps / 2 if is_half else num_steps
        steps = max(_LEAST, int(rng.normal(mean, _DEVIATION)))
        steps = min(steps, last - begin)
        windows.append((begin, steps))
        begin += steps
    return windows


def rate_at(
    config: LanguageModelConfig, epochs: float, num_epochs: float
) -> float:
    """Returns the learning rate.

    Args:
        config: Its `schedule` and what belongs to it.
        epochs: Done so far, with the fraction of the present one.
        num_epochs: In all.
    """
    rate = config.learning_rate
    if config.schedule == "cosine":
        return rate * cosine(epochs, num_epochs)
    if config.schedule == "step":
        decays = max(math.floor(epochs) + 1 - config.decay_epoch, 0)
        return rate / config.decay**decays
    return rate
