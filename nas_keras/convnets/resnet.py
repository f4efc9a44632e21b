"""The residual networks that found ones are compared with.

`resnet_spec` makes one by depth and width, `resnet_of` one of a cost. No
TensorFlow, no Keras.
"""

import math
from collections.abc import Sequence

from nas_keras.checks import checked_int
from nas_keras.convnets.spec import ConvLayer
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import map_sizes

_STAGES = 3
_DEPTHS = (20, 14, 26, 8, 32, 38, 44, 50, 56)  # 20 is the usual one.
_NEAR = 0.03  # Relative, of the multiply-adds.


def resnet_spec(depth: int = 20, filters: int = 16) -> ConvNetSpec:
    """Returns the residual network for CIFAR-10 of a depth.

    Three stages of blocks of two 3x3 convolutions; each stage but the first
    begins with a stride of 2 and has twice the filters of the one before.
    The paper's shortcuts between stages pad with zeros; ours are 1x1
    convolutions.

    Args:
        depth: 6n + 2: convolutions, and the classifier.
        filters: Of the first stage.

    Raises:
        ValueError: If an argument is out of range.

    Reference:
        [He et al., 2016](https://arxiv.org/abs/1512.03385), section 4.2.
    """
    blocks, rest = divmod(checked_int(depth, "depth", 8) - 2, 6)
    if rest:
        raise ValueError(
            f"depth must be 6n + 2, of n blocks a stage. Received: "
            f"depth={depth}."
        )
    filters = checked_int(filters, "filters", 1)
    layers = [ConvLayer("conv", filters=filters)]
    for number in range(_STAGES * blocks):
        stage = number // blocks
        stride = (2, 2) if stage and number % blocks == 0 else (1, 1)
        width = filters * 2**stage
        shortcut = (len(layers) - 1,)
        layers += [
            ConvLayer("conv", stride=stride, filters=width),
            ConvLayer("conv", filters=width, inputs=shortcut),
        ]
    name = f"resnet_{depth}"
    if filters != 16:
        name += f"_{filters}"
    return ConvNetSpec(
        name,
        tuple(layers),
        wiring="residual",
        provenance={
            "source": "He et al. 2016, for CIFAR-10",
            "reference": "https://arxiv.org/abs/1512.03385",
        },
    )


def resnet_of(
    multiply_adds: int, image_shape: Sequence[int], num_classes: int
) -> ConvNetSpec:
    """Returns a ResNet of about a number of multiply-adds for one image.

    Of the depths at which a width comes within 3 % of it, one near 20
    layers; if there is none, the depth and the width that come nearest.

    Args:
        multiply_adds: Positive.
        image_shape: H, W, C.
        num_classes: K.
    """
    found = []
    for depth in _DEPTHS:
        spec = _nearest(depth, multiply_adds, image_shape, num_classes)
        cost = multiply_adds_of(spec, image_shape, num_classes)
        error = abs(cost / multiply_adds - 1)
        if error <= _NEAR:
            return spec
        found.append((error, depth, spec))
    return min(found)[2]


def multiply_adds_of(
    spec: ConvNetSpec, image_shape: Sequence[int], num_classes: int
) -> int:
    """Returns what `nas_keras.convnets.multiply_adds` says of a ResNet.

    Args:
        spec: Of `resnet_spec`.
        image_shape: H, W, C.
        num_classes: K.
    """
    channels = image_shape[2]
    shapes: list[tuple[int, int, int]] = []  # Of the outputs of layers.
    total = 0
    for layer, (height, width) in zip(
        spec.layers, map_sizes(spec, image_shape), strict=True
    ):
        size, filters = height * width, layer.filters
        total += size * math.prod(layer.kernel) * channels * filters
        shape = (height, width, filters)
        total += sum(
            size * shapes[k][2] * filters
            for k in layer.inputs
            if shapes[k] != shape
        )
        shapes.append(shape)
        channels = filters
    return total + channels * num_classes


def _nearest(
    depth: int,
    multiply_adds: int,
    image_shape: Sequence[int],
    num_classes: int,
) -> ConvNetSpec:
    """Returns the ResNet of a depth whose width comes nearest."""

    def cost(filters: int) -> int:
        spec = resnet_spec(depth, filters)
        return multiply_adds_of(spec, image_shape, num_classes)

    # The cost is a parabola of the width, through zero.
    square = (cost(2) - 2 * cost(1)) / 2
    linear = cost(1) - square
    root = math.sqrt(linear**2 + 4 * square * multiply_adds)
    width = max(1, math.floor((root - linear) / (2 * square)))
    filters = min(
        (width, width + 1), key=lambda n: abs(cost(n) - multiply_adds)
    )
    return resnet_spec(depth, filters)
