"""Drawings of image networks: a box for each layer, wires for what it reads.

What is shown is in `diagram.py`; where it goes, its looks and the files are the
cells' `layout.py`, `looks.py` and `canvas.py`. No TensorFlow, no Keras; a PNG
alone needs matplotlib.
"""

import os

from nas_keras.convnets.files import load_convnet
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.drawing import canvas
from nas_keras.drawing import layout
from nas_keras.drawing import looks
from nas_keras.drawing.convnet_diagram import Chart
from nas_keras.drawing.convnet_diagram import charts_of

_HEADING = 34.0  # Height of a title, and of a chart's heading.
_BOXES = {
    "conv": looks.BLUE,
    "pool": looks.GREEN,
    "end": (looks.FAINT, looks.SHADE),
}
_SKIP = looks.ORANGE[0]
_WIDTHS = {False: 2.4, True: 1.1}  # Of a wire, by whether it is a skip.
_FIRMNESS = {False: 10_000.0, True: 1.0}  # How much straighter it is.


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
    path = looks.checked(path)
    if not isinstance(spec, ConvNetSpec | MicroNetSpec):
        spec = load_convnet(spec)
    looks.write(path, lambda: scene_of(spec), lambda: _mermaid(spec))


# SVG and PNG.


def scene_of(spec: ConvNetSpec | MicroNetSpec) -> canvas.Scene:
    """Returns the picture of a network."""
    title = looks.title(spec.name)
    shapes: list[canvas.Shape] = [title]
    right, bottom = title.x + title.width, looks.MARGIN + _HEADING
    for chart in charts_of(spec):
        more, its_right, bottom = _chart(chart, bottom)
        shapes += more
        right = max(right, its_right)
        bottom += looks.MARGIN
    width, height = right + looks.MARGIN, bottom
    paper = looks.paper(width, height)
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
        [looks.least_box(box.name, box.lines) for box in chart.boxes],
        [
            layout.Net(
                source, tuple(targets[is_skip, source]), _FIRMNESS[is_skip]
            )
            for is_skip, source in keys
        ],
        chart.num_first,
        origin=(looks.MARGIN, top + _HEADING),
    )
    heading = looks.text(
        chart.heading, looks.MARGIN, top + looks.FONT, fill=looks.GREY
    )
    shapes: list[canvas.Shape] = [heading]
    for (is_skip, _), wire in zip(keys, arranged.wires, strict=True):
        shapes += _wire(wire, is_skip)
    for box, place in zip(chart.boxes, arranged.places, strict=True):
        shapes += looks.box(place, box.name, box.lines, _BOXES[box.kind])
    right = max(arranged.right, heading.x + heading.width)
    return shapes, right, arranged.bottom


def _wire(wire: layout.Wire, is_skip: bool) -> list[canvas.Shape]:
    color = _SKIP if is_skip else looks.INK
    return [
        *looks.wire(wire, color, _WIDTHS[is_skip], looks.ARROW),
        *(looks.arrow(x, y, color) for x, y in wire.tips),
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
            style = f"fill:{fill},stroke:{stroke},color:{looks.INK}"
            lines.append(f"  style c{number}v{index} {style}")
    return "\n".join(lines) + "\n"
