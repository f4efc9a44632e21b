"""Drawings of image networks: a box for each layer, wires for what it reads.

Here are the looks. What is shown is in `diagram.py`; where it goes, and the
files, are the cells' `layout.py` and `scene.py`. No TensorFlow, no Keras; a
PNG alone needs matplotlib.
"""

import os
from pathlib import Path
from typing import Any

from nas_keras.cells import layout
from nas_keras.cells import scene
from nas_keras.cells.drawing import SUFFIXES
from nas_keras.convnets.diagram import Box
from nas_keras.convnets.diagram import Chart
from nas_keras.convnets.diagram import charts_of
from nas_keras.convnets.files import load_convnet
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.storage.files import write_atomically

_FONT, _LINE = 13.0, 18.0  # Of the boxes: size of text, height of a line.
_TITLE_FONT = 16.0
_PAD = 10.0  # Between the text and the edge of a box.
_MARGIN = 24.0
_HEADING = 34.0  # Height of a title, and of a chart's heading.
_INK, _GREY, _PAPER = "#1f2328", "#59616b", "#ffffff"
_BOXES = {  # Line and fill.
    "conv": ("#1b66ad", "#e9f1f9"),
    "pool": ("#2b7a4b", "#e8f4ec"),
    "end": ("#b9c0c9", "#f4f5f7"),
}
_SKIP = "#c2500f"
_WIDTHS = {False: 2.4, True: 1.1}  # Of a wire, by whether it is a skip.
_FIRMNESS = {False: 10_000.0, True: 1.0}  # How much straighter it is.
_ARROW = 9.0
_HALO = 1.2  # Of paper, on both sides of a wire that crosses others.


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
    path = _checked(path)
    if not isinstance(spec, ConvNetSpec | MicroNetSpec):
        spec = load_convnet(spec)
    if path.suffix == ".mmd":
        data = _mermaid(spec).encode()
    elif path.suffix == ".svg":
        data = scene.to_svg(scene_of(spec))
    else:
        data = scene.to_png(scene_of(spec))
    write_atomically(path, data)


def _checked(path: Any) -> Path:
    is_path = isinstance(path, str | os.PathLike)
    if not is_path or Path(path).suffix not in SUFFIXES:
        raise ValueError(
            f"path must end in one of {list(SUFFIXES)}, the formats of "
            f"drawings. Received: path={path!r:.200}."
        )
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(
            "path must be in a folder that exists. Received: "
            f"path={str(path)!r}."
        )
    return path


# SVG and PNG.


def scene_of(spec: ConvNetSpec | MicroNetSpec) -> scene.Scene:
    """Returns the picture of a network."""
    title = scene.Text(
        *(_MARGIN, _MARGIN + _TITLE_FONT, spec.name),
        *(_INK, _TITLE_FONT, True),
    )
    shapes: list[scene.Shape] = [title]
    right, bottom = title.x + title.width, _MARGIN + _HEADING
    for chart in charts_of(spec):
        more, its_right, bottom = _chart(chart, bottom)
        shapes += more
        right = max(right, its_right)
        bottom += _MARGIN
    width, height = right + _MARGIN, bottom
    paper = scene.Rectangle(0, 0, width, height, _PAPER, _PAPER, 0, 0)
    return scene.Scene(
        f"The network {spec.name}", width, height, [paper, *shapes]
    )


def _chart(chart: Chart, top: float) -> tuple[list[scene.Shape], float, float]:
    """Returns the shapes of a chart, and where it ends at the right, below."""
    targets: dict[tuple[bool, int], list[int]] = {}
    for edge in chart.edges:
        targets.setdefault((edge.is_skip, edge.source), []).append(edge.target)
    keys = sorted(targets, reverse=True)  # Main wires over skips.
    arranged = layout.arrange(
        [_least_box(box) for box in chart.boxes],
        [
            layout.Net(
                source, tuple(targets[is_skip, source]), _FIRMNESS[is_skip]
            )
            for is_skip, source in keys
        ],
        chart.num_first,
        origin=(_MARGIN, top + _HEADING),
    )
    heading = scene.Text(_MARGIN, top + _FONT, chart.heading, _GREY, _FONT)
    shapes: list[scene.Shape] = [heading]
    for (is_skip, _), wire in zip(keys, arranged.wires, strict=True):
        shapes += _wire(wire, is_skip)
    for box, place in zip(chart.boxes, arranged.places, strict=True):
        shapes += _box(box, place)
    right = max(arranged.right, heading.x + heading.width)
    return shapes, right, arranged.bottom


def _least_box(box: Box) -> layout.Box:
    texts = (box.name, *box.lines)
    width = max(len(text) for text in texts) * _FONT * scene.CHAR_WIDTH
    return layout.Box(width + 2 * _PAD, _LINE * len(texts) + 2 * _PAD)


def _box(box: Box, place: layout.Place) -> list[scene.Shape]:
    stroke, fill = _BOXES[box.kind]
    size = (place.x, place.y, place.width, place.height)
    shapes: list[scene.Shape] = [scene.Rectangle(*size, fill, stroke)]
    x, y = place.x + _PAD, place.y + _PAD + 0.72 * _LINE
    shapes.append(scene.Text(x, y, box.name, _INK, _FONT, bold=True))
    for row, line in enumerate(box.lines, 1):
        shapes.append(scene.Text(x, y + row * _LINE, line, _INK, _FONT))
    return shapes


def _wire(wire: layout.Wire, is_skip: bool) -> list[scene.Shape]:
    color, width = (_SKIP if is_skip else _INK), _WIDTHS[is_skip]
    tips = set(wire.tips)  # Under an arrow, where it is narrow, no line.
    pieces = tuple(
        (x0, y0, x1 - _ARROW if (x1, y1) in tips else x1, y1)
        for x0, y0, x1, y1 in wire.pieces
    )
    arrows = (
        ((x - _ARROW, y - 0.4 * _ARROW), (x, y), (x - _ARROW, y + 0.4 * _ARROW))
        for x, y in wire.tips
    )
    return [
        scene.Line(pieces, _PAPER, width + 2 * _HALO),
        scene.Line(pieces, color, width),
        *(scene.Polygon(corners, color) for corners in arrows),
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
            style = f"fill:{fill},stroke:{stroke},color:{_INK}"
            lines.append(f"  style c{number}v{index} {style}")
    return "\n".join(lines) + "\n"
