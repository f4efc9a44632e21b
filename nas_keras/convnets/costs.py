"""Image networks reckoned with: their maps, ResNets as costly as another.

No TensorFlow, no Keras.
"""

import math
from collections.abc import Sequence

from nas_keras.convnets.resnet import resnet_spec
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import MicroNetSpec

_DEPTHS = (20, 14, 26, 8, 32, 38, 44, 50, 56)  # 20 is the usual one.
_NEAR = 0.03  # Of the multiply-adds.


def map_sizes(
    spec: ConvNetSpec | MicroNetSpec, image_shape: Sequence[int]
) -> list[tuple[int, int]]:
    """Returns the height and width of the map of each layer or cell.

    Args:
        spec: The network.
        image_shape: H, W, C.

    Raises:
        ValueError: If a stride is longer than the map it is on; the message
            is the place, the stride and the map.
    """
    height, width, _ = image_shape
    image = (height, width)
    sizes: list[tuple[int, int]] = []
    if isinstance(spec, MicroNetSpec):
        strides = [
            (2, 2) if number in spec.reductions else (1, 1)
            for number in range(spec.num_layers)
        ]
    else:
        strides = [layer.stride for layer in spec.layers]
    for number, stride in enumerate(strides):
        read = sizes[-1:] or [image]
        if isinstance(spec, ConvNetSpec) and spec.wiring == "concat":
            # Smaller maps are padded.
            read = [sizes[k] for k in spec.layers[number].inputs] or [image]
        heights, widths = zip(*read, strict=True)
        size = max(heights), max(widths)
        if any(step > side for step, side in zip(stride, size, strict=True)):
            part = "cell" if isinstance(spec, MicroNetSpec) else "layer"
            raise ValueError(
                f"{part}_{number} has a stride of {stride} on a map of {size}"
            )
        height, width = size
        down, across = stride
        sizes.append((math.ceil(height / down), math.ceil(width / across)))
    return sizes


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
