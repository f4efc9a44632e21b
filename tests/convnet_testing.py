"""What tests of image networks share: one of each kind, random weights."""

import dataclasses

import keras
import numpy as np

from nas_keras.convnets import ConvLayer
from nas_keras.convnets import ConvNetSpec
from nas_keras.convnets import ConvNode
from nas_keras.convnets import DropPath
from nas_keras.convnets import MicroNetSpec

IMAGE = (7, 6, 3)
CLASSES = 4
CONCAT = ConvNetSpec(
    "concat",
    [
        ConvLayer("conv", (3, 5), (2, 1), 4),
        ConvLayer("conv", (4, 1), (1, 3), 3),  # No input: the image.
        ConvLayer("max_pool", (3, 2), (2, 2), inputs=[0]),
        ConvLayer("separable_conv", 3, (1, 2), 5, inputs=[0, 1, 2]),
        ConvLayer("average_pool", 3, 1, inputs=[1]),
        ConvLayer("conv", 1, 1, 2, inputs=[2]),
    ],
)
MACRO = ConvNetSpec(
    "macro",
    [
        ConvLayer("conv", 3, filters=5),
        ConvLayer("separable_conv", 5, filters=5, inputs=[0]),
        ConvLayer("max_pool", 3, 2, 6),
        ConvLayer("average_pool", 3, filters=6, inputs=[0, 2]),
        ConvLayer("separable_conv", 3, 2, 8, inputs=[0, 1]),
        ConvLayer("conv", 5, filters=7, inputs=[3]),
    ],
    wiring="macro",
    filters=3,
)
RESIDUAL = ConvNetSpec(
    "residual",
    [
        ConvLayer("conv", 3, filters=4),
        ConvLayer("conv", 3, (2, 1), 4),
        ConvLayer("separable_conv", 3, filters=4, inputs=[0, 1]),
        ConvLayer("max_pool", 3, 2, inputs=[0]),
        ConvLayer("conv", 3, filters=6, inputs=[2]),
    ],
    wiring="residual",
)
MICRO = MicroNetSpec(
    "micro",
    normal=[
        ConvNode((0, 0), ("separable_conv_3x3", "identity")),
        ConvNode((2, 0), ("average_pool_3x3", "max_pool_3x3")),
    ],  # Loose ends: 1, 3.
    reduction=[
        ConvNode((0, 1), ("identity", "separable_conv_5x5")),
        ConvNode((1, 2), ("average_pool_3x3", "identity")),
        ConvNode((0, 2), ("max_pool_3x3", "separable_conv_3x3")),
    ],
    num_cells=3,
    filters=2,
)
LATE_INPUT = dataclasses.replace(
    MICRO,
    name="late_input",
    reduction=[ConvNode((0, 0), ("max_pool_3x3", "identity"))],
)  # Node 1 is a loose end of the larger size.


def randomized(model, seed=1):
    """Gives a model unequal weights, and batch norm positive variances."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        arrays = [rng.normal(size=w.shape) for w in layer.weights]
        if isinstance(layer, keras.layers.BatchNormalization):
            arrays[3] = rng.uniform(0.5, 2, size=arrays[3].shape)
        if not isinstance(layer, DropPath):
            layer.set_weights(arrays)
    return model


def weights_of(model):
    return {
        layer.name: [np.asarray(w, "float64") for w in layer.weights]
        for layer in model.layers
    }


def images(shape=IMAGE, batch=2, seed=0):
    values = np.random.default_rng(seed).normal(size=(batch, *shape))
    return values.astype("float32")


def near(value, want):
    scale = np.abs(want).max()
    np.testing.assert_allclose(value, want, rtol=1e-4, atol=1e-5 * scale)
