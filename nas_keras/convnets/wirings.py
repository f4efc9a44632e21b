"""The networks of a `ConvNetSpec`: its three wirings, as Keras tensors.

Keras only, so that every Keras backend can use it. Each wiring takes the
spec, the images [B, height, width, channels] and `Blocks`, and returns the
map that the classifier averages. `ConvNetSpec` says what they compute.
"""

import math
from collections.abc import Iterable
from typing import Any

from nas_keras.convnets.blocks import Blocks
from nas_keras.convnets.blocks import check_stride
from nas_keras.convnets.blocks import size_of
from nas_keras.convnets.spec import CONVOLUTIONS
from nas_keras.convnets.spec import ConvLayer
from nas_keras.convnets.spec import ConvNetSpec

_STEM = -1  # Its number among the layers of "macro".


def concat(spec: ConvNetSpec, images: Any, blocks: Blocks) -> Any:
    """Returns the unread layers, joined; see `ConvNetSpec`."""
    outputs: list[Any] = []
    for number, layer in enumerate(spec.layers):
        name = f"layer_{number}"
        read = [outputs[k] for k in layer.inputs] or [images]
        x = _joined(read, name, blocks)
        x = _operation(x, name, layer, blocks)
        if layer.operation in CONVOLUTIONS:
            x = blocks.relu(x, f"{name}_relu")
        outputs.append(x)
    return _joined([outputs[k] for k in spec.unread], "last", blocks)


def macro(spec: ConvNetSpec, images: Any, blocks: Blocks) -> Any:
    """Returns the last layer; see `ConvNetSpec`."""
    stem = blocks.conv(images, "stem_conv", spec.filters, (3, 3))
    outputs = {_STEM: blocks.norm(stem, "stem_norm")}
    for number, layer in enumerate(spec.layers):
        name = f"layer_{number}"
        if layer.stride != (1, 1):
            outputs = _halved(spec, number, outputs, blocks)
        x = outputs[number - 1]
        x = blocks.relu_conv_norm(x, f"{name}_in", layer.filters)
        x = _macro_operation(x, name, layer, blocks)
        if number:
            x = [*(outputs[k] for k in layer.inputs), x]
            x = blocks.joined(x, f"{name}_join")
            x = blocks.relu_conv_norm(x, f"{name}_out", layer.filters)
        outputs[number] = x
    return outputs[len(spec.layers) - 1]


def residual(spec: ConvNetSpec, images: Any, blocks: Blocks) -> Any:
    """Returns the last layer; see `ConvNetSpec`."""
    outputs: list[Any] = []
    x = images
    for number, layer in enumerate(spec.layers):
        name = f"layer_{number}"
        x = _operation(x, name, layer, blocks)
        added = [x]
        for k in layer.inputs:
            path = spec.layers[k + 1 : number + 1]
            added.append(
                _shortcut(outputs[k], x, path, f"{name}_from_{k}", blocks)
            )
        if layer.inputs:
            x = blocks.added(added, f"{name}_add")
        x = blocks.relu(x, f"{name}_relu")
        outputs.append(x)
    return x


def _operation(x: Any, name: str, layer: ConvLayer, blocks: Blocks) -> Any:
    """Returns a convolution with batch norm, or a pool."""
    check_stride(x, layer.stride, name)
    if layer.operation not in CONVOLUTIONS:
        return blocks.pool(
            x, f"{name}_pool", layer.operation, layer.kernel, layer.stride
        )
    is_separable = layer.operation == "separable_conv"
    conv = blocks.separable_conv if is_separable else blocks.conv
    x = conv(x, f"{name}_conv", layer.filters, layer.kernel, layer.stride)
    return blocks.norm(x, f"{name}_norm")


def _joined(maps: list[Any], name: str, blocks: Blocks) -> Any:
    """Returns maps concatenated by depth, the smaller ones zero-padded."""
    heights, widths = zip(*map(size_of, maps), strict=True)
    size = (max(heights), max(widths))
    padded = [
        blocks.padded(x, f"{name}_pad_{k}", size) for k, x in enumerate(maps)
    ]
    return blocks.joined(padded, f"{name}_join")


def _macro_operation(
    x: Any, name: str, layer: ConvLayer, blocks: Blocks
) -> Any:
    if layer.operation not in CONVOLUTIONS:
        x = blocks.relu(x, f"{name}_relu")
        return blocks.pool(x, f"{name}_pool", layer.operation, layer.kernel)
    return blocks.relu_conv_norm(
        x,
        name,
        layer.filters,
        layer.kernel,
        is_separable=layer.operation == "separable_conv",
    )


def _halved(
    spec: ConvNetSpec, number: int, outputs: dict[int, Any], blocks: Blocks
) -> dict[int, Any]:
    """Returns what layer `number` and later ones read, at half the size."""
    read = {number - 1}
    for layer in spec.layers[number:]:
        read.update(layer.inputs)
    name, layer = f"layer_{number}", spec.layers[number]
    check_stride(outputs[number - 1], layer.stride, name)
    return {
        k: blocks.halved(x, f"{name}_half_{k}", layer.filters)
        for k, x in outputs.items()
        if k in read
    }


def _shortcut(
    x: Any, like: Any, path: Iterable[ConvLayer], name: str, blocks: Blocks
) -> Any:
    """Returns a map in another's shape; `path` is the layers between them."""
    if x.shape == like.shape:
        return x
    down, across = zip(*(layer.stride for layer in path), strict=True)
    stride = math.prod(down), math.prod(across)
    x = blocks.conv(x, f"{name}_conv", like.shape[-1], stride=stride)
    return blocks.norm(x, f"{name}_norm")
