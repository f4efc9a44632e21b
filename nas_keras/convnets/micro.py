"""The networks of a `MicroNetSpec`: stacked cells, as Keras tensors.

Keras only, so that every Keras backend can use it. After the authors' program,
github.com/melodyguan/enas, src/cifar10, with a fixed architecture.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from nas_keras.convnets.blocks import Blocks
from nas_keras.convnets.blocks import check_stride
from nas_keras.convnets.blocks import size_of
from nas_keras.convnets.drop_path import DropPath
from nas_keras.convnets.spec import ConvNode
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.convnets.spec import loose_ends

_STEM_WIDTH = 3  # Times the filters.
_AUXILIARY_POOL, _AUXILIARY_STRIDE = (5, 5), (3, 3)
_AUXILIARY_FILTERS = (128, 768)
_NUM_CONVS = 2  # How often a branch applies its separable convolution.


@dataclasses.dataclass(frozen=True)
class _Cell:
    """Where a cell is made.

    Attributes:
        name: What the names of its layers begin with.
        filters: Of each node.
        stride: (2, 2) in a reduction cell.
        blocks: Makes its layers.
        drop_path: Drops its branches, or None.
        rate: At which it does at the end of the training.
    """

    name: str
    filters: int
    stride: tuple[int, int]
    blocks: Blocks
    drop_path: DropPath | None
    rate: float


def micro(
    spec: MicroNetSpec,
    images: Any,
    blocks: Blocks,
    drop_path: float,
    seed: int,
) -> tuple[Any, Any]:
    """Returns the last cell, and the one that an auxiliary head reads."""
    filters = spec.filters
    x = blocks.conv(images, "stem_conv", _STEM_WIDTH * filters, (3, 3))
    x = blocks.norm(x, "stem_norm")
    outputs = [x, x]
    dropping = DropPath(seed, name="drop_path") if drop_path else None
    for number in range(spec.num_layers):
        is_reduction = number in spec.reductions
        filters *= 2 if is_reduction else 1
        cell = _Cell(
            f"cell_{number}",
            filters,
            spec.strides[number],
            blocks,
            dropping,
            drop_path * (number + 1) / spec.num_layers,
        )
        nodes = spec.reduction if is_reduction else spec.normal
        outputs.append(_cell_output(outputs[-2:], nodes, cell))
    return outputs[-1], outputs[2 + spec.reductions[1] + 1]


def auxiliary_logits(x: Any, classes: int, blocks: Blocks) -> Any:
    """Returns the logits of a small classifier on a map inside the network.

    Raises:
        ValueError: If the map is too small for its pool.
    """
    size = size_of(x)
    if any(s < p for s, p in zip(size, _AUXILIARY_POOL, strict=True)):
        raise ValueError(
            "The auxiliary head must be left out (auxiliary_weight=0, "
            "auxiliary_head=False) if the map behind the second reduction is "
            f"smaller than {_AUXILIARY_POOL}. Received: a map of {size}."
        )
    name = "auxiliary"
    x = blocks.relu(x, f"{name}_relu")
    x = blocks.pool(
        x,
        f"{name}_pool",
        "average_pool",
        _AUXILIARY_POOL,
        _AUXILIARY_STRIDE,
        padding="valid",
    )
    for number, filters in enumerate(_AUXILIARY_FILTERS):
        kernel = size_of(x) if number else (1, 1)
        x = blocks.conv(
            x, f"{name}_conv_{number}", filters, kernel, padding="valid"
        )
        x = blocks.norm(x, f"{name}_norm_{number}")
        x = blocks.relu(x, f"{name}_relu_{number}")
    x = blocks.averaged(x, f"{name}_average")
    return blocks.dense(x, f"{name}_logits", classes, use_bias=False)


def _cell_output(
    inputs: Sequence[Any], nodes: Sequence[ConvNode], cell: _Cell
) -> Any:
    check_stride(inputs[1], cell.stride, cell.name)
    values = _calibrated(inputs, cell)
    for number, node in enumerate(nodes, 2):
        name = f"{cell.name}_node_{number}"
        branches = [
            _branch(values[k], k, operation, f"{name}_{side}", cell)
            for side, (k, operation) in zip("ab", node.branches, strict=True)
        ]
        values.append(cell.blocks.added(branches, name))
    size = size_of(values[-1])
    ends = []
    for k in loose_ends(nodes):
        x = values[k]
        if size_of(x) != size:
            name = f"{cell.name}_half_{k}"
            x = cell.blocks.halved(x, name, cell.filters)
        ends.append(x)
    return cell.blocks.joined(ends, f"{cell.name}_join")


def _calibrated(inputs: Sequence[Any], cell: _Cell) -> list[Any]:
    """Returns nodes 0 and 1: the inputs in one size and width."""
    blocks, filters = cell.blocks, cell.filters
    x, y = inputs
    if size_of(x) != size_of(y):
        x = blocks.relu(x, f"{cell.name}_node_0_relu")
        x = blocks.halved(x, f"{cell.name}_node_0", filters)
    elif x.shape[-1] != filters:
        x = blocks.relu_conv_norm(x, f"{cell.name}_node_0", filters)
    if y.shape[-1] != filters:
        y = blocks.relu_conv_norm(y, f"{cell.name}_fit_1", filters)
    # Once more, as in the program.
    return [x, blocks.relu_conv_norm(y, f"{cell.name}_node_1", filters)]


def _branch(x: Any, number: int, operation: str, name: str, cell: _Cell) -> Any:
    """Returns a branch that reads node `number`, whose value is `x`."""
    stride = cell.stride if number < 2 else (1, 1)
    blocks = cell.blocks
    if operation == "identity":
        if stride == (1, 1):
            return x
        return blocks.halved(x, f"{name}_half", cell.filters)
    kind, _, size = operation.rpartition("_")
    height, width = size.split("x")
    kernel = int(height), int(width)
    if kind == "separable_conv":
        for k in range(_NUM_CONVS):
            x = blocks.relu_conv_norm(
                x, f"{name}_{k}", cell.filters, kernel, stride, True
            )
            stride = (1, 1)
    else:
        x = blocks.pool(x, f"{name}_pool", kind, kernel, stride)
    if cell.drop_path is None:
        return x
    return cell.drop_path(x, rate=cell.rate)
