"""What tests of layers share: random values, weights, tokens; near equality."""

import numpy as np


def normal(*shape, seed=0, scale=1.0, dtype="float32"):
    values = np.random.default_rng(seed).normal(size=shape) * scale
    return values.astype(dtype)


def randomize(layer, seed=1):
    """Gives a built layer random weights: equal ones would hide swaps."""
    layer.set_weights(
        [
            normal(*w.shape, seed=seed + k, scale=0.7, dtype="float64")
            for k, w in enumerate(layer.weights)
        ]
    )
    return layer


def built(layer, *shape):
    """Builds a layer for inputs of a shape; gives it random weights."""
    layer.build((None, *shape))
    return randomize(layer)


def random_tokens(space, seed):
    rng = np.random.default_rng(seed)
    return tuple(int(rng.integers(num)) for num in space.num_options)


def near(values, want, tolerance=1e-5):
    values, want = list(values), list(want)
    assert len(values) == len(want)
    for value, expected in zip(values, want, strict=True):
        np.testing.assert_allclose(
            np.asarray(value), expected, rtol=tolerance, atol=tolerance / 10
        )
