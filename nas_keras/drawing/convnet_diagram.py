"""What a drawing of an image network shows: boxes, and what reads what.

No geometry and no colours: `drawing.py` has those.
"""

import dataclasses
from collections.abc import Sequence

from nas_keras.convnets.spec import CONVOLUTIONS
from nas_keras.convnets.spec import ConvLayer
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import ConvNode
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.convnets.spec import loose_ends

_LAST = "classifier"


@dataclasses.dataclass(frozen=True)
class Box:
    """A layer, a node, or what comes before and after them.

    Attributes:
        name: The number of a layer or a node, or a word.
        lines: What it computes.
        kind: `"conv"`, `"pool"` or `"end"`.
    """

    name: str
    lines: tuple[str, ...]
    kind: str


@dataclasses.dataclass(frozen=True)
class Edge:
    """A box that another one reads.

    Attributes:
        source: Index of the box that is read.
        target: Index of the box that reads.
        is_skip: Whether it is a skip connection or a shortcut.
    """

    source: int
    target: int
    is_skip: bool = False


@dataclasses.dataclass(frozen=True)
class Chart:
    """A picture's part: boxes, each after those it reads, and the edges.

    Attributes:
        heading: A line of text.
        boxes: The boxes.
        edges: The edges, each pair of boxes once.
        num_first: How many boxes, the first ones, read no other.
    """

    heading: str
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    num_first: int


def charts_of(spec: ConvNetSpec | MicroNetSpec) -> list[Chart]:
    """Returns one chart of layers, or one of each kind of cell."""
    if isinstance(spec, ConvNetSpec):
        return [_layers(spec)]
    early, late = spec.reductions
    return [
        _cell(
            f"normal cell, {spec.num_cells} times; {spec.filters} filters a "
            "node, doubled by each reduction",
            spec.normal,
        ),
        _cell(
            f"reduction cell, the cells {early} and {late} of "
            f"0 to {spec.num_layers - 1}",
            spec.reduction,
        ),
    ]


def _layers(spec: ConvNetSpec) -> Chart:
    is_concat = spec.wiring == "concat"
    first = Box("image", (), "end")
    if spec.wiring == "macro":
        first = Box("stem", (f"conv 3x3, {spec.filters}",), "end")
    boxes, edges = [first], []
    for number, layer in enumerate(spec.layers):
        boxes.append(Box(str(number), _text(layer), _kind(layer.operation)))
        target = number + 1
        before = 0 if is_concat else number
        if not is_concat or not layer.inputs:
            edges.append(Edge(before, target))
        # One that also reads it in the ordinary way has one edge.
        edges += [
            Edge(k + 1, target, is_skip=not is_concat)
            for k in layer.inputs
            if is_concat or k + 1 != before
        ]
    last = spec.unread if is_concat else (spec.num_layers - 1,)
    edges += [Edge(k + 1, len(boxes)) for k in last]
    boxes.append(Box(_LAST, (), "end"))
    heading = f"{spec.num_layers} layers, wiring {spec.wiring}"
    if any(edge.is_skip for edge in edges):
        heading += "; thin lines: skip connections"
    return Chart(heading, tuple(boxes), tuple(edges), num_first=1)


def _text(layer: ConvLayer) -> tuple[str, ...]:
    operation = layer.operation.replace("_", " ")
    text = f"{operation} {layer.kernel[0]}x{layer.kernel[1]}"
    if layer.filters:
        text += f", {layer.filters}"
    if layer.stride == (1, 1):
        return (text,)
    return text, f"stride {layer.stride[0]}x{layer.stride[1]}"


def _kind(operation: str) -> str:
    return "conv" if operation.startswith(CONVOLUTIONS) else "pool"


def _cell(heading: str, nodes: Sequence[ConvNode]) -> Chart:
    boxes = [
        Box("0", ("the cell before the last",), "end"),
        Box("1", ("the last cell",), "end"),
    ]
    edges = []
    for number, node in enumerate(nodes, 2):
        (a, first), (b, second) = node.branches
        lines = (f"{first}({a})", f"+ {second}({b})")
        kinds = {_kind(operation) for operation in node.operations}
        kind = "conv" if "conv" in kinds else "pool"
        boxes.append(Box(str(number), lines, kind))
        edges += [Edge(k, number) for k in sorted({a, b})]
    edges += [Edge(k, len(boxes)) for k in loose_ends(nodes)]
    boxes.append(Box("output", ("concatenated",), "end"))
    return Chart(heading, tuple(boxes), tuple(edges), num_first=2)
