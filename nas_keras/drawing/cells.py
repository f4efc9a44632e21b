"""Drawings of cells: a box for each equation, wires for the values it uses.

`diagram_of` says what a drawing shows: the values of a cell, their uses, and
its memory. `draw` writes it, with places by `layout.py` and shapes by
`canvas.py`. No TensorFlow, no Keras; a PNG alone needs matplotlib.
"""

import ast
import dataclasses
import math
import os
import re
from collections.abc import Mapping
from collections.abc import Sequence

from nas_keras.cells.language.equations import statements_of
from nas_keras.cells.language.functions import FUNCTIONS
from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.drawing import canvas
from nas_keras.drawing import layout

_LINE_CHARS = 26  # Of an equation; a very long one has longer lines.
_LEGEND_FONT = 12.0
_HEADER = 38.0  # Height of the title.
_LEAST_RIGHT = 460.0  # So that the legend has few lines.
_ACCENTS = (  # Line and fill of the states, in turn.
    canvas.BLUE,
    canvas.ORANGE,
    canvas.GREEN,
    ("#7a4a9e", "#f3edf8"),
    ("#8a6d00", "#f8f3df"),
    ("#0f7c8a", "#e4f3f5"),
)
_LINEAR, _ELEMENTWISE, _MEMORY = "linear", "elementwise", "memory"
_WIDTHS = {_LINEAR: 1.1, _ELEMENTWISE: 1.5, _MEMORY: 3.0}  # Highest last.
_LINEAR_COLOR, _ELEMENTWISE_COLOR = "#3d444d", "#a3abb5"
_SQUARE = 7.0  # Side of the mark of a weight matrix.
_DASH = 9.0  # Of each state, where a wire is the memory of several.
_FIRMNESS = 10_000.0  # How much straighter the memory path is.

_Accents = Mapping[str, tuple[str, str]]


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
    path = canvas.checked(path)
    if not isinstance(spec, CellSpec):
        spec = load_spec(spec)
    canvas.write(path, lambda: scene_of(spec), lambda: _mermaid(spec))


# What is shown.


@dataclasses.dataclass(frozen=True)
class Value:
    """The input, a state, or what an equation assigns.

    Attributes:
        name: The name in the equations.
        text: The right-hand side, with `linear(v)` as `W·v`; or what it is.
        is_given: Whether it is the input or a state.
        state: For a state `s` and for `next_s`, the name `s`; or None.
    """

    name: str
    text: str
    is_given: bool
    state: str | None


@dataclasses.dataclass(frozen=True)
class Use:
    """A value in the equation of another.

    Attributes:
        source: Index of the value that is used.
        target: Index of the value whose equation uses the source.
        is_linear: Whether the source stands inside a `linear`.
        is_elementwise: Whether the source stands outside of every `linear`.
        memory_of: The states whose old value reaches a next state by way of
            this use without passing through a `linear`.
    """

    source: int
    target: int
    is_linear: bool
    is_elementwise: bool
    memory_of: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Diagram:
    """The values of a cell, each after those it uses, and the uses."""

    values: tuple[Value, ...]
    uses: tuple[Use, ...]


def diagram_of(spec: CellSpec) -> Diagram:
    """Returns what a drawing of the cell shows."""
    given = ("x", *spec.states)
    values = [Value("x", "input", True, None)]
    values += [Value(name, "state", True, name) for name in spec.states]
    ways: dict[tuple[int, int], set[bool]] = {}  # Inside `linear`, or not.
    index = {name: position for position, name in enumerate(given)}
    for equation in spec.equations:
        name, text, its_uses = _read(equation)
        state = name.removeprefix("next_") if name.startswith("next_") else None
        for used, its_ways in its_uses.items():
            ways[index[used], len(values)] = its_ways
        index[name] = len(values)
        values.append(Value(name, text, False, state))
    memory = _memory(values, ways)
    uses = tuple(
        Use(*ends, True in way, False in way, memory.get(ends, ()))
        for ends, way in ways.items()
    )
    return Diagram(tuple(values), uses)


def _memory(
    values: list[Value], ways: Mapping[tuple[int, int], set[bool]]
) -> dict[tuple[int, int], tuple[str, ...]]:
    """Returns the states that each use of the memory path carries."""
    direct = [ends for ends, way in ways.items() if False in way]
    carried: list[set[str]] = [set() for _ in values]
    kept = [not value.is_given and bool(value.state) for value in values]
    for index, value in enumerate(values):
        if value.is_given and value.state:
            carried[index] = {value.state}
    for source, target in direct:  # In the order of the targets.
        carried[target] |= carried[source]
    for source, target in reversed(direct):
        kept[source] |= kept[target]
    states = [value.state for value in values if value.is_given]
    return {
        (source, target): tuple(s for s in states if s in carried[source])
        for source, target in direct
        if kept[target]
    }


class _Reader(ast.NodeTransformer):
    """Notes the names of an expression, and writes calls as they are drawn.

    Attributes:
        uses: Name -> whether it stands inside a `linear`: False, True, both.
    """

    def __init__(self) -> None:
        self.uses: dict[str, set[bool]] = {}
        self.depth = 0

    def visit_Name(self, node: ast.Name) -> ast.expr:
        self.uses.setdefault(node.id, set()).add(self.depth > 0)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = ast.unparse(node.func)
        self.depth += name == "linear"
        node.args = [self.visit(operand) for operand in node.args]
        self.depth -= name == "linear"
        symbol = FUNCTIONS[name].drawn_as
        if symbol is None:
            return node
        text = ast.unparse(node.args[0])
        if isinstance(node.args[0], ast.BinOp | ast.UnaryOp):
            text = f"({text})"
        return ast.Name(f"{symbol}{text}")


def _read(equation: str) -> tuple[str, str, dict[str, set[bool]]]:
    """Returns the name, the text and the uses of a checked equation."""
    [statement] = statements_of(equation)
    reader = _Reader()
    text = ast.unparse(reader.visit(statement.value))
    return statement.targets[0].id, text, reader.uses


def broken_into_lines(text: str) -> list[str]:
    """Breaks a right-hand side at operators and commas, at outer ones first.

    A longer text has longer lines, and a longer name is cut.

    Example:

    >>> broken_into_lines("h + (tanh(W·x + W·h) - h) * sigmoid(W·x + W·h)")
    ['h + (tanh(W·x + W·h) - h)', '* sigmoid(W·x + W·h)']
    """
    limit = max(_LINE_CHARS, math.isqrt(4 * len(text)))
    words, depths, depth = [], [], 0
    for word in re.findall(r"(?:[-+*] )?\S+", text):
        for start in range(0, len(word), limit):
            words.append(word[start : start + limit])
            depths.append(depth)
        depth += word.count("(") - word.count(")")
    best = [(0.0, 0)]  # For each number of words: cost, begin of last line.
    for end in range(1, len(words) + 1):
        options, length = [], -1
        for start in reversed(range(end)):
            length += 1 + len(words[start])
            if length > limit:
                break
            break_cost = 1 + 2 * depths[start] if start else 0
            # Of equally good breaks, the one with even lines.
            unevenness = ((limit - length) / limit) ** 2 / len(words)
            cost = best[start][0] + break_cost + unevenness
            options.append((cost, start))
        best.append(min(options))
    lines, end = [], len(words)
    while end:
        start = best[end][1]
        lines.append(" ".join(words[start:end]))
        end = start
    return lines[::-1]


# SVG and PNG.


def scene_of(spec: CellSpec) -> canvas.Scene:
    """Returns the picture of a cell."""
    diagram = diagram_of(spec)
    values, accents = diagram.values, _accents(spec.states)
    texts = [broken_into_lines(value.text) for value in values]
    nets: dict[tuple[str, int], list[Use]] = {}
    for use in diagram.uses:
        nets.setdefault((_kind(use), use.source), []).append(use)
    keys = sorted(nets, key=lambda key: list(_WIDTHS).index(key[0]))
    arranged = layout.arrange(
        [
            canvas.least_box(value.name, lines)
            for value, lines in zip(values, texts, strict=True)
        ],
        [
            layout.Net(
                source,
                tuple(use.target for use in nets[kind, source]),
                _FIRMNESS if kind == _MEMORY else 1.0,
            )
            for kind, source in keys
        ],
        num_first=1 + len(spec.states),
        origin=(canvas.MARGIN, canvas.MARGIN + _HEADER),
    )
    wires, boxes, marks = [], [], []
    for key, wire in zip(keys, arranged.wires, strict=True):
        wires += _wire(wire, nets[key][0], accents)
        for use, tip in zip(nets[key], wire.tips, strict=True):
            marks += _marks(*tip, use, accents)
    for item in zip(values, texts, arranged.places, strict=True):
        boxes += _box(*item, accents)
    title = canvas.title(spec.name)
    right = max(arranged.right, title.x + title.width, _LEAST_RIGHT)
    top = arranged.bottom + 38
    legend, bottom = _legend(diagram.uses, accents, top, right)
    width, height = right + canvas.MARGIN, bottom + canvas.MARGIN
    paper = canvas.paper(width, height)
    shapes = [paper, *wires, *boxes, *marks, title, *legend]
    return canvas.Scene(f"The cell {spec.name}", width, height, shapes)


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


def _box(
    value: Value, lines: list[str], place: layout.Place, accents: _Accents
) -> list[canvas.Shape]:
    stroke, fill = accents.get(value.state or "", (canvas.FAINT, canvas.PAPER))
    if value.name == "x":
        fill = canvas.SHADE
    is_next = value.state is not None and not value.is_given
    return canvas.box(
        place,
        value.name,
        lines,
        (stroke, fill),
        width=2.0 if is_next else 1.0,
        ink=canvas.GRAY if value.is_given else canvas.INK,
    )


def _wire(wire: layout.Wire, use: Use, accents: _Accents) -> list[canvas.Line]:
    """Returns a net's lines; `use` is one of its uses."""
    width, colors = _WIDTHS[_kind(use)], _colors(use, accents)
    lines = canvas.wire(wire, colors[0], width, _SQUARE)
    pieces = lines[-1].pieces
    for number, color in enumerate(colors[1:], 1):
        dash = (number * _DASH, _DASH, (len(colors) - 1) * _DASH)
        lines.append(canvas.Line(pieces, color, width, dash))
    return lines


def _marks(
    x: float, y: float, use: Use, accents: _Accents
) -> list[canvas.Shape]:
    """Returns how a wire ends at (x, y): as an arrow, in a square, or both."""
    shapes: list[canvas.Shape] = []
    if use.is_linear:
        half = _SQUARE / 2
        left, top, bottom = x - _SQUARE, y - half, y + half
        corners = ((left, top), (x, top), (x, bottom), (left, bottom))
        shapes.append(canvas.Polygon(corners, _LINEAR_COLOR))
        x = left
    if use.is_elementwise:
        color = _colors(use, accents)[0]
        spread = 0.55 if use.memory_of else 0.4
        shapes.append(canvas.arrow(x, y, color, spread))
    return shapes


def _legend(
    uses: Sequence[Use], accents: _Accents, y: float, right: float
) -> tuple[list[canvas.Shape], float]:
    """Returns the legend of the wires, and its lower end."""
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
    shapes: list[canvas.Shape] = []
    x = canvas.MARGIN
    for text, use in samples:
        label = canvas.Text(x + 46, y + 4, text, canvas.GRAY, _LEGEND_FONT)
        if x > canvas.MARGIN and label.x + label.width > right:
            x, y = canvas.MARGIN, y + 22
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
            style = f"fill:{fill},stroke:{stroke},color:{canvas.INK}"
            lines.append(f"  style v{index} {style}")
    return "\n".join(lines + styles) + "\n"


def _escaped(label: str) -> str:
    """Returns a label in which Mermaid sees no Markdown: `_a_`, `a * b`."""
    return re.sub(
        r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\*",
        lambda match: f"#{ord(match[0])};",
        label,
    )
