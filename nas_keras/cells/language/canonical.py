"""One text for all ways to write the same cell, and its fingerprint.

Colors of nodes are refined by the colors of operands and users until they no
longer split (Weisfeiler and Leman), and again after each tie is broken, until
every node has its own. In that order nodes are numbered from the outputs.
"""

import hashlib
from collections import Counter
from typing import Any

from nas_keras.cells.language.graph import Graph


def fingerprint(graph: Graph) -> str:
    """Returns a SHA-256 that names of values and their order do not change.

    Renaming a value, moving an equation, splitting or joining equations,
    swapping the operands of `+ * max mean` and `identity` leave it as it is.
    Equal fingerprints are the same cell up to the order of the kernels'
    columns.
    """
    return hashlib.sha256(canonical_form(graph).encode()).hexdigest()


def canonical_form(graph: Graph) -> str:
    """Returns text that is equal for graphs that differ in order and names.

    A line is a node, its operands the numbers of earlier lines, sorted where
    the operation is commutative. The text gives the whole graph, so unequal
    cells never share one.

    Example:

    >>> from nas_keras.cells.language.equations import parse
    >>> print(canonical_form(parse(["next_h = h + tanh(x)"], ["h"])))
    input h []
    input x []
    tanh [1]
    + [0, 2]
    states 1 [3]
    """
    colors = _refined_colors(graph)
    numbers: dict[int, int] = {}
    lines: list[str] = []

    def visit(index: int) -> int:
        stack = [index]  # A stack: graphs may be deeper than Python recurses.
        while stack:
            top = stack[-1]
            node = graph.nodes[top]
            operands = list(node.operands)
            if node.is_commutative:
                operands.sort(key=lambda k: colors[k])
            missing = [k for k in operands if k not in numbers]
            if missing:
                stack.append(missing[0])
                continue
            stack.pop()
            if top not in numbers:
                operands = [numbers[k] for k in node.operands]
                if node.is_commutative:
                    operands.sort()
                numbers[top] = len(numbers)
                lines.append(f"{_label(graph, top)} {operands}")
        return numbers[index]

    outputs = [visit(index) for index in graph.outputs]
    return "\n".join([*lines, f"states {len(graph.states)} {outputs}"])


def _label(graph: Graph, index: int) -> str:
    node = graph.nodes[index]
    if node.operation == "number":
        return f"number {node.value!r}"
    if node.operation == "name":
        if node.value in ("x", "h"):  # Their roles are fixed, not their place.
            role = node.value
        else:
            role = str(graph.states.index(node.value))
        return f"input {role}"
    return node.operation


def _refined_colors(graph: Graph) -> list[str]:
    """Returns a color for each node, all different."""
    users = _users(graph)
    colors = [
        _digest(
            _label(graph, index),
            [k for k, output in enumerate(graph.outputs) if output == index],
        )
        for index in range(len(graph.nodes))
    ]
    classes = len(set(colors))
    while True:
        refined = []
        for index, node in enumerate(graph.nodes):
            below = [colors[k] for k in node.operands]
            above = sorted((colors[k], place) for k, place in users[index])
            below = sorted(below) if node.is_commutative else below
            refined.append(_digest(colors[index], below, above))
        colors = refined
        if len(set(colors)) == classes:
            tied = {c for c, n in Counter(colors).items() if n > 1}
            if not tied:
                return colors
            _break_tie(graph, users, colors, min(tied))
        classes = len(set(colors))


def _users(graph: Graph) -> list[list[tuple[int, int]]]:
    """Returns each node's users, with its position among their operands."""
    users: list[list[tuple[int, int]]] = [[] for _ in graph.nodes]
    for index, node in enumerate(graph.nodes):
        for position, operand in enumerate(node.operands):
            users[operand].append(
                (index, 0 if node.is_commutative else position)
            )
    return users


def _break_tie(
    graph: Graph,
    users: list[list[tuple[int, int]]],
    colors: list[str],
    tied: str,
) -> None:
    """Gives nodes of one color colors of their own.

    If the nodes are images of each other, any may come first. Nodes with the
    same operands and users are, so all of them are told apart at once.
    """
    first = colors.index(tied)
    alike = [
        index
        for index, node in enumerate(graph.nodes)
        if colors[index] == tied
        and node.operands == graph.nodes[first].operands
        and users[index] == users[first]
    ]
    for position, index in enumerate(alike):
        colors[index] = _digest(tied, position)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
