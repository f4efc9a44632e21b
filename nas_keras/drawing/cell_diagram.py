"""What a drawing of a cell shows: its values, their uses, and its memory.

No geometry and no colours: `drawing.py` has those.
"""

import ast
import dataclasses
import math
import re
from collections.abc import Mapping

from nas_keras.cells.language.equations import statements_of
from nas_keras.cells.language.spec import CellSpec

_LINE_CHARS = 26  # Of an equation; a very long one has longer lines.


@dataclasses.dataclass(frozen=True)
class Value:
    """The input, a state, or what an equation assigns.

    Attributes:
        name: Its name.
        text: What it is: the right-hand side, with `linear(v)` as `W·v`.
        is_given: Whether it is the input or a state.
        state: The state that it is, or is the next of; or None.
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
        target: Index of the value that uses it.
        is_linear: Whether it stands inside a `linear`.
        is_elementwise: Whether it stands outside of every `linear`.
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
    values = [
        Value(name, "input" if name == "x" else "state", True, name)
        for name in given
    ]
    values[0] = dataclasses.replace(values[0], state=None)
    ways: dict[tuple[int, int], set[bool]] = {}  # Inside `linear`, or not.
    index = {name: position for position, name in enumerate(given)}
    for equation in spec.equations:
        name, text, uses = _read(equation)
        state = name.removeprefix("next_") if name.startswith("next_") else None
        for used, its_ways in uses.items():
            ways[index[used], len(values)] = its_ways
        index[name] = len(values)
        values.append(Value(name, text, False, state))
    memory = _memory(values, ways)
    found = (
        Use(*ends, True in way, False in way, memory.get(ends, ()))
        for ends, way in ways.items()
    )
    return Diagram(tuple(values), tuple(found))


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
    """Notes the names of an expression, and writes `linear(v)` as `W·v`."""

    def __init__(self) -> None:
        self.uses: dict[str, set[bool]] = {}
        self.depth = 0

    def visit_Name(self, node: ast.Name) -> ast.expr:
        self.uses.setdefault(node.id, set()).add(self.depth > 0)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        is_linear = ast.unparse(node.func) == "linear"
        self.depth += is_linear
        node.args = [self.visit(operand) for operand in node.args]
        self.depth -= is_linear
        if not is_linear:
            return node
        text = ast.unparse(node.args[0])
        if isinstance(node.args[0], ast.BinOp | ast.UnaryOp):
            text = f"({text})"
        return ast.Name(f"W·{text}")


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
