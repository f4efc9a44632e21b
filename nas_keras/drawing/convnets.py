"""Drawings of image networks: a box for each layer, wires for what it reads.

`charts_of` says what a drawing shows; `draw` writes it, with places by
`layout.py` and shapes by `canvas.py`. No TensorFlow, no Keras; a PNG alone
needs matplotlib.
"""

import dataclasses
import os
from collections.abc import Sequence

from nas_keras.convnets.files import load_convnet
from nas_keras.convnets.spec import CONVOLUTIONS
from nas_keras.convnets.spec import ConvLayer
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import ConvNode
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.convnets.spec import loose_ends
from nas_keras.drawing import canvas
from nas_keras.drawing import layout

_HEADING = 34.0  # Height of a title, and of a chart's heading.
_BOXES = {
    "conv": canvas.BLUE,
    "pool": canvas.GREEN,
    "end": (canvas.FAINT, canvas.SHADE),
}
_SKIP = canvas.ORANGE[0]
# By whether a wire is a skip connection: its width, and how much it matters
# that it is straight.
_WIDTHS = {False: 2.4, True: 1.1}
_FIRMNESS = {False: 10_000.0, True: 1.0}
_LAST = "classifier"


def draw(
    spec: ConvNetSpec | MicroNetSpec | str | os.PathLike,
    path: str | os.PathLike,
) -> None:
    """Draws a network as a flow chart, from the image to the classifier.

    A network of cells is drawn as its two kinds of cell. Thin wires are skip
    connections and shortcuts.

    Args:
        spec: The network, its name, or the path of its file.
        path: The file to write, of the format that its suffix names: `.svg`,
            `.png`, or `.mmd` for the text of a Mermaid diagram. An existing
            file is replaced whole or not at all.

    Raises:
        ImportError: If matplotlib, which a `.png` needs, is not installed.
        ValueError: If there is no such network, or `path` has another suffix
            or no folder.
    """
    path = canvas.checked(path)
    if not isinstance(spec, ConvNetSpec | MicroNetSpec):
        spec = load_convnet(spec)
    canvas.write(path, lambda: scene_of(spec), lambda: _mermaid(spec))


# What is shown.


@dataclasses.dataclass(frozen=True)
class Box:
    """A layer, a node, or what comes before or after them.

    Attributes:
        name: The number of a layer or a node, or a word.
        lines: What the box computes.
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
    """A part of a picture: boxes, each after those it reads, and edges.

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
        # A layer that also reads another in the ordinary way has one edge.
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


# SVG and PNG.


def scene_of(spec: ConvNetSpec | MicroNetSpec) -> canvas.Scene:
    """Returns the picture of a network."""
    title = canvas.title(spec.name)
    shapes: list[canvas.Shape] = [title]
    right, bottom = title.x + title.width, canvas.MARGIN + _HEADING
    for chart in charts_of(spec):
        more, its_right, bottom = _chart(chart, bottom)
        shapes += more
        right = max(right, its_right)
        bottom += canvas.MARGIN
    width, height = right + canvas.MARGIN, bottom
    paper = canvas.paper(width, height)
    return canvas.Scene(
        f"The network {spec.name}", width, height, [paper, *shapes]
    )


def _chart(chart: Chart, top: float) -> tuple[list[canvas.Shape], float, float]:
    """Returns the shapes of a chart, and where it ends at the right, below."""
    targets: dict[tuple[bool, int], list[int]] = {}
    for edge in chart.edges:
        targets.setdefault((edge.is_skip, edge.source), []).append(edge.target)
    keys = sorted(targets, reverse=True)  # Main wires over skips.
    arranged = layout.arrange(
        [canvas.least_box(box.name, box.lines) for box in chart.boxes],
        [
            layout.Net(
                source, tuple(targets[is_skip, source]), _FIRMNESS[is_skip]
            )
            for is_skip, source in keys
        ],
        chart.num_first,
        origin=(canvas.MARGIN, top + _HEADING),
    )
    heading = canvas.Text(
        canvas.MARGIN, top + canvas.FONT, chart.heading, canvas.GRAY
    )
    shapes: list[canvas.Shape] = [heading]
    for (is_skip, _), wire in zip(keys, arranged.wires, strict=True):
        shapes += _wire(wire, is_skip)
    for box, place in zip(chart.boxes, arranged.places, strict=True):
        shapes += canvas.box(place, box.name, box.lines, _BOXES[box.kind])
    right = max(arranged.right, heading.x + heading.width)
    return shapes, right, arranged.bottom


def _wire(wire: layout.Wire, is_skip: bool) -> list[canvas.Shape]:
    color = _SKIP if is_skip else canvas.INK
    return [
        *canvas.wire(wire, color, _WIDTHS[is_skip], canvas.ARROW),
        *(canvas.arrow(x, y, color) for x, y in wire.tips),
    ]


# Mermaid.


def _mermaid(spec: ConvNetSpec | MicroNetSpec) -> str:
    """Returns the text of a flow chart."""
    lines = ["---", f'title: "{spec.name}"', "---", "flowchart LR"]
    lines.append("  %% dotted: skip connections and shortcuts")
    for number, chart in enumerate(charts_of(spec)):
        lines.append(f'  subgraph c{number}["{chart.heading}"]')
        for index, box in enumerate(chart.boxes):
            label = ": ".join(filter(None, (box.name, " ".join(box.lines))))
            lines.append(f'    c{number}v{index}["{label}"]')
        for edge in chart.edges:
            arrow = "-.->" if edge.is_skip else "-->"
            lines.append(
                f"    c{number}v{edge.source} {arrow} c{number}v{edge.target}"
            )
        lines.append("  end")
        for index, box in enumerate(chart.boxes):
            stroke, fill = _BOXES[box.kind]
            style = f"fill:{fill},stroke:{stroke},color:{canvas.INK}"
            lines.append(f"  style c{number}v{index} {style}")
    return "\n".join(lines) + "\n"
