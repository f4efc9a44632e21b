"""`build_convnet`: the Keras model of a spec, and what it costs.

Keras and NumPy only, so that every Keras backend can use it.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras

from nas_keras.checks import checked_int
from nas_keras.checks import checked_rate
from nas_keras.checks import is_number
from nas_keras.convnets import wirings
from nas_keras.convnets.blocks import EPSILON
from nas_keras.convnets.blocks import Blocks
from nas_keras.convnets.micro import auxiliary_logits
from nas_keras.convnets.micro import micro
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.convnets.spec import listed

_WIRINGS = {
    "concat": wirings.concat,
    "macro": wirings.macro,
    "residual": wirings.residual,
}
# Their multiply-adds are counted.
_COUNTED = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Dense,
)


def build_convnet(
    spec: ConvNetSpec | MicroNetSpec,
    input_shape: Sequence[int],
    classes: int,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    auxiliary_head: bool = False,
    kernel_initializer: Any = "he_normal",
    seed: int = 0,
    epsilon: float = EPSILON,
) -> keras.Model:
    """Returns a functional model from images to logits.

    Args:
        spec: The network.
        input_shape: (height, width, channels) of an image.
        classes: How many logits.
        dropout: Fraction in [0, 1) of the averaged features that is dropped
            in front of the classifier.
        drop_path: Fraction in [0, 1) of the images for which a branch of the
            last cell is dropped at the end of the training; earlier cells
            drop fewer, in proportion to their number. Of a `MicroNetSpec`
            only; see `DropPath`.
        auxiliary_head: Whether there is a second output, the logits of a
            small classifier behind the second reduction. Of a `MicroNetSpec`
            only.
        kernel_initializer: Of all kernels.
        seed: Int, of the initial weights and of what is dropped.
        epsilon: Positive, of batch norm.

    Returns:
        A model from float [B, height, width, channels] to logits
        [B, classes]; with an auxiliary head to `[logits, auxiliary logits]`.
        What the image holds, pixels or something normalised, is the
        caller's. The names of its layers begin with `layer_N` or `cell_N`.

    Raises:
        ValueError: If an argument breaks its rule, or the image is too small
            for the network's strides; the message names the layer or cell.

    Example:

    >>> from nas_keras.convnets import load_convnet
    >>> model = build_convnet(load_convnet("resnet_20"), (32, 32, 3), 10)
    >>> multiply_adds(model)
    40813184
    """
    _check_arguments(spec, dropout, drop_path, auxiliary_head, epsilon)
    shape = _image_shape(input_shape)
    classes = checked_int(classes, "classes", 1)
    seed = checked_int(seed, "seed", 0)
    blocks = Blocks(kernel_initializer, seed, epsilon)
    images = keras.Input(shape, name="images")
    auxiliary = None
    try:
        if isinstance(spec, MicroNetSpec):
            x, inner = micro(spec, images, blocks, drop_path, seed)
            x = blocks.relu(x, "last_relu")
            if auxiliary_head:
                auxiliary = auxiliary_logits(inner, classes, blocks)
        else:
            x = _WIRINGS[spec.wiring](spec, images, blocks)
    except ValueError as error:
        raise ValueError(f"network {spec.name!r}: {error}") from error
    x = blocks.averaged(x, "average")
    if dropout:
        x = keras.layers.Dropout(dropout, seed=seed, name="dropout")(x)
    # ENAS's program has no bias there.
    has_bias = getattr(spec, "wiring", None) in ("concat", "residual")
    x = blocks.dense(x, "logits", classes, has_bias)
    outputs = x if auxiliary is None else [x, auxiliary]
    return keras.Model(images, outputs, name=spec.name)


def multiply_adds(model: keras.Model) -> int:
    """Returns the multiply-adds of convolutions and dense layers, an image.

    Args:
        model: A model that `build_convnet` has made; with an auxiliary head,
            that counts too.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, _COUNTED):
            positions = math.prod(layer.output.shape[1:-1])
            total += positions * math.prod(layer.kernel.shape)
    return total


def _check_arguments(
    spec: Any, dropout: Any, drop_path: Any, auxiliary_head: Any, epsilon: Any
) -> None:
    if not isinstance(spec, ConvNetSpec | MicroNetSpec):
        raise ValueError(
            "spec must be a ConvNetSpec or a MicroNetSpec. Received: "
            f"spec={spec!r:.80}."
        )
    checked_rate(dropout, "dropout")
    checked_rate(drop_path, "drop_path")
    if not is_number(epsilon) or not 0 < epsilon < math.inf:
        raise ValueError(
            f"epsilon must be positive. Received: epsilon={epsilon!r}."
        )
    given = {"drop_path": drop_path, "auxiliary_head": auxiliary_head}
    for name, value in given.items():
        if value and not isinstance(spec, MicroNetSpec):
            raise ValueError(
                f"{name} must be {type(value)()} for a network of layers: "
                "only one of cells, a MicroNetSpec, can have it. Received: "
                f"{name}={value!r}."
            )


def _image_shape(input_shape: Any) -> tuple[int, ...]:
    if len(listed(input_shape, "input_shape")) != 3:
        raise ValueError(
            "input_shape must be (height, width, channels). Received: "
            f"input_shape={input_shape!r:.80}."
        )
    return tuple(checked_int(side, "input_shape", 1) for side in input_shape)
