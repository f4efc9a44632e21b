"""The noise that architectures are sampled with, by seed and step."""

import numpy as np

from nas_keras.controllers.controller import float32_below_one


def noise(seed: int, step: int, shape: tuple[int, int]) -> np.ndarray:
    """Returns the uniform noise [B, A] of a step, float32 in [0, 1).

    Each row is the same for every B that has it.
    """
    bits = np.random.Philox(key=np.array([seed, step], np.uint64))
    return float32_below_one(np.random.Generator(bits).random(shape))
