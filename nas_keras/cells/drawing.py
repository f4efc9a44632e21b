"""Drawings of cells: a box for each equation, wires for what it uses.

Here are the looks. What is shown is in `diagram.py`, where it goes is found by
`layout.py`, and `scene.py` writes files. No TensorFlow, no Keras; a PNG alone
needs matplotlib.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_keras.cells import layout
from nas_keras.cells import scene
from nas_keras.cells.diagram import Use
from nas_keras.cells.diagram import Value
from nas_keras.cells.diagram import broken_into_lines
from nas_keras.cells.diagram import diagram_of
from nas_keras.cells.spec import CellSpec
from nas_keras.cells.spec import load_spec
from nas_keras.storage.files import write_atomically

SUFFIXES = (".mmd", ".png", ".svg")

_FONT, _LINE = 13.0, 18.0  # Of the boxes: size of text, height of a line.
_TITLE_FONT, _LEGEND_FONT = 16.0, 12.0
_PAD = 10.0  # Between the text and the edge of a box.
_MARGIN = 24.0
_HEADER = 38.0  # Height of the title.
_LEAST_RIGHT = 460.0  # So that the legend has few lines.
_INK, _GREY, _FAINT = "#1f2328", "#59616b", "#b9c0c9"
_PAPER, _SHADE = "#ffffff", "#f4f5f7"
_ACCENTS = (  # Line and fill of the states, used again after the last.
    ("#1b66ad", "#e9f1f9"),
    ("#c2500f", "#fcefe6"),
    ("#2b7a4b", "#e8f4ec"),
    ("#7a4a9e", "#f3edf8"),
    ("#8a6d00", "#f8f3df"),
    ("#0f7c8a", "#e4f3f5"),
)
_LINEAR, _ELEMENTWISE, _MEMORY = "linear", "elementwise", "memory"
_WIDTHS = {_LINEAR: 1.1, _ELEMENTWISE: 1.5, _MEMORY: 3.0}  # Highest last.
_LINEAR_COLOR, _ELEMENTWISE_COLOR = "#3d444d", "#a3abb5"
_ARROW, _SQUARE = 9.0, 7.0  # Lengths of the marks at the ends of wires.
_HALO = 1.2  # Of paper, on both sides of a wire that crosses others.
_DASH = 9.0  # Of each state, where a wire is the memory of several.
_FIRMNESS = 10_000.0  # How much straighter the memory path is.

_Accents = Mapping[str | None, tuple[str, str]]


def draw(spec: CellSpec | str | os.PathLike, path: str | os.PathLike) -> None:
    """Draws a cell as a flow chart, from the states to the next states.

    A box is an equation; its wires come from the values that it uses. The
    memory path is thick: on it a state's old value reaches the next states
    without passing through a weight matrix.

    Args:
        spec: The cell, its name, or the path of its file.
        path: The file to write, of the format that its suffix names: `.svg`,
            `.png`, or `.mmd` for the text of a Mermaid diagram. An existing
            file is replaced whole or not at all.

    Raises:
        ImportError: If matplotlib, which a `.png` needs, is not installed.
        ValueError: If there is no such cell, or `path` has another suffix or
            no folder.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     draw("lstm", f"{folder}/lstm.svg")
    ...     os.listdir(folder)
    ['lstm.svg']
    """
    path = _checked(path)
    if not isinstance(spec, CellSpec):
        spec = load_spec(spec)
    if path.suffix == ".mmd":
        data = _mermaid(spec).encode()
    elif path.suffix == ".svg":
        data = scene.to_svg(scene_of(spec))
    else:
        data = scene.to_png(scene_of(spec))
    write_atomically(path, data)


def _checked(path: Any) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            "path must be a string or a path. Received: "
            f"path={path!r} of type {type(path).__name__}."
        )
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"path must end in one of {list(SUFFIXES)}, the formats of "
            f"drawings. Received: path={str(path)!r}."
        )
    if not path.parent.is_dir():
        raise ValueError(
            "path must be in a folder that exists. Received: "
            f"path={str(path)!r}."
        )
    return path


# SVG and PNG.


def scene_of(spec: CellSpec) -> scene.Scene:
    """Returns the picture of a cell."""
    diagram = diagram_of(spec)
    values, accents = diagram.values, _accents(spec.states)
    texts = [broken_into_lines(value.text) for value in values]
    nets: dict[tuple[str, int], list[Use]] = {}
    for use in diagram.uses:
        nets.setdefault((_kind(use), use.source), []).append(use)
    keys = sorted(nets, key=lambda key: list(_WIDTHS).index(key[0]))
    arranged = layout.arrange(
        [_least_box(*item) for item in zip(values, texts, strict=True)],
        [
            layout.Net(
                source,
                tuple(use.target for use in nets[kind, source]),
                _FIRMNESS if kind == _MEMORY else 1.0,
            )
            for kind, source in keys
        ],
        num_first=1 + len(spec.states),
        origin=(_MARGIN, _MARGIN + _HEADER),
    )
    wires, boxes, marks = [], [], []
    for key, wire in zip(keys, arranged.wires, strict=True):
        wires += _wire(wire, nets[key][0], accents)
        for use, tip in zip(nets[key], wire.tips, strict=True):
            marks += _marks(*tip, use, accents)
    for item in zip(values, texts, arranged.places, strict=True):
        boxes += _box(*item, accents)
    title = _text(spec.name, _MARGIN, _MARGIN + _TITLE_FONT, _TITLE_FONT, True)
    right = max(arranged.right, title.x + title.width, _LEAST_RIGHT)
    top = arranged.bottom + 38
    legend, bottom = _legend(diagram.uses, accents, top, right)
    width, height = right + _MARGIN, bottom + _MARGIN
    paper = scene.Rectangle(0, 0, width, height, _PAPER, _PAPER, 0, 0)
    shapes = [paper, *wires, *boxes, *marks, title, *legend]
    return scene.Scene(f"The cell {spec.name}", width, height, shapes)


def _accents(states: Sequence[str]) -> _Accents:
    return {
        state: _ACCENTS[index % len(_ACCENTS)]
        for index, state in enumerate(states)
    }


def _kind(use: Use) -> str:
    if not use.is_elementwise:
        return _LINEAR
    return _MEMORY if use.memory_of else _ELEMENTWISE


def _colors(use: Use, accents: _Accents) -> list[str]:
    if not use.is_elementwise:
        return [_LINEAR_COLOR]
    return [accents[state][0] for state in use.memory_of] or [
        _ELEMENTWISE_COLOR
    ]


def _text(
    text: str,
    x: float,
    y: float,
    size: float = _FONT,
    bold: bool = False,
    fill: str = _INK,
) -> scene.Text:
    return scene.Text(x, y, text, fill, size, bold)


def _least_box(value: Value, lines: list[str]) -> layout.Box:
    width = max(_text(line, 0, 0).width for line in (value.name, *lines))
    return layout.Box(width + 2 * _PAD, _LINE * (1 + len(lines)) + 2 * _PAD)


def _box(
    value: Value, lines: list[str], place: layout.Place, accents: _Accents
) -> list[scene.Shape]:
    stroke, fill = accents.get(value.state, (_FAINT, _PAPER))
    if value.name == "x":
        fill = _SHADE
    is_next = value.state is not None and not value.is_given
    shapes: list[scene.Shape] = [
        scene.Rectangle(
            *(place.x, place.y, place.width, place.height),
            fill,
            stroke,
            2.0 if is_next else 1.0,
        )
    ]
    x = place.x + _PAD
    y = place.y + (place.height - _LINE * (1 + len(lines))) / 2 + 0.72 * _LINE
    shapes.append(_text(value.name, x, y, bold=True))
    color = _GREY if value.is_given else _INK
    for row, line in enumerate(lines, 1):
        shapes.append(_text(line, x, y + row * _LINE, fill=color))
    return shapes


def _wire(wire: layout.Wire, use: Use, accents: _Accents) -> list[scene.Shape]:
    """Returns a net's lines; `use` is one of its uses."""
    width, colors = _WIDTHS[_kind(use)], _colors(use, accents)
    tips = set(wire.tips)  # Under a mark, where it is narrow, no line.
    pieces = tuple(
        (x0, y0, x1 - _SQUARE if (x1, y1) in tips else x1, y1)
        for x0, y0, x1, y1 in wire.pieces
    )
    shapes: list[scene.Shape] = [
        scene.Line(pieces, _PAPER, width + 2 * _HALO),
        scene.Line(pieces, colors[0], width),
    ]
    for number, color in enumerate(colors[1:], 1):
        dash = (number * _DASH, _DASH, (len(colors) - 1) * _DASH)
        shapes.append(scene.Line(pieces, color, width, dash))
    return shapes


def _marks(
    x: float, y: float, use: Use, accents: _Accents
) -> list[scene.Shape]:
    """Returns how a wire ends at (x, y): as an arrow, in a square, or both."""
    shapes: list[scene.Shape] = []
    if use.is_linear:
        half = _SQUARE / 2
        left, top, bottom = x - _SQUARE, y - half, y + half
        corners = ((left, top), (x, top), (x, bottom), (left, bottom))
        shapes.append(scene.Polygon(corners, _LINEAR_COLOR))
        x = left
    if use.is_elementwise:
        half = _ARROW * (0.55 if use.memory_of else 0.4)
        left, color = x - _ARROW, _colors(use, accents)[0]
        corners = ((left, y - half), (x, y), (left, y + half))
        shapes.append(scene.Polygon(corners, color))
    return shapes


def _legend(
    uses: Sequence[Use], accents: _Accents, y: float, right: float
) -> tuple[list[scene.Shape], float]:
    """Returns what explains the wires, and where it ends below."""
    samples = []
    if any(use.is_linear for use in uses):
        text = "W·v: each W a weight matrix of its own"
        samples.append((text, Use(0, 0, True, False, ())))
    if any(_kind(use) == _ELEMENTWISE for use in uses):
        samples.append(("elementwise", Use(0, 0, False, True, ())))
    for state in accents:
        if any(state in use.memory_of for use in uses):
            use = Use(0, 0, False, True, (state,))
            samples.append((f"memory of {state}", use))
    both = [use for use in uses if use.is_linear and use.is_elementwise]
    samples += [("both", use) for use in both[:1]]
    shapes: list[scene.Shape] = []
    x = _MARGIN
    for text, use in samples:
        label = _text(text, x + 46, y + 4, _LEGEND_FONT, fill=_GREY)
        if x > _MARGIN and label.x + label.width > right:
            x, y = _MARGIN, y + 22
            label = dataclasses.replace(label, x=x + 46, y=y + 4)
        tip = (x + 38, y)
        wire = layout.Wire(((x, y, *tip),), (tip,))
        shapes += _wire(wire, use, accents)
        shapes += _marks(*tip, use, accents)
        shapes.append(label)
        x = label.x + label.width + 24
    return shapes, y + 6


# Mermaid.

_ARROWS = {_LINEAR: "-->", _ELEMENTWISE: "-.->", _MEMORY: "==>"}


def _mermaid(spec: CellSpec) -> str:
    """Returns the text of a flow chart."""
    diagram = diagram_of(spec)
    lines = [
        "---",
        f'title: "{spec.name}"',
        "---",
        "flowchart LR",
        "  %% solid: in a matrix product; dotted: elementwise; thick: memory",
    ]
    for index, value in enumerate(diagram.values):
        label = value.name
        if not value.is_given:
            label += f" = {value.text}"
        lines.append(f'  v{index}["{_escaped(label)}"]')
    styles = []
    for index, use in enumerate(diagram.uses):
        arrow = _ARROWS[_kind(use)]
        lines.append(f"  v{use.source} {arrow} v{use.target}")
        if use.memory_of:
            color = _colors(use, _accents(spec.states))[0]
            styles.append(f"  linkStyle {index} stroke:{color}")
    for index, value in enumerate(diagram.values):
        if value.state:
            stroke, fill = _accents(spec.states)[value.state]
            style = f"fill:{fill},stroke:{stroke},color:{_INK}"
            lines.append(f"  style v{index} {style}")
    return "\n".join(lines + styles) + "\n"


def _escaped(label: str) -> str:
    """Returns a label in which Mermaid sees no Markdown: `_a_`, `a * b`."""
    return re.sub(
        r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\*",
        lambda match: f"#{ord(match[0])};",
        label,
    )
