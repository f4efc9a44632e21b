"""One text for all ways to write the same cell, and its fingerprint.

Colours of nodes are refined by those of operands and users until each node
has its own (Weisfeiler and Leman); nodes are numbered in that order.
"""

import hashlib
from collections import Counter
from typing import Any

from nas_keras.cells.language.graph import OPERATIONS
from nas_keras.cells.language.graph import Graph
from nas_keras.cells.language.graph import Node


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

    Colours are refined by those of operands and users until they no longer
    split (Weisfeiler and Leman), and again after each tie is broken, until
    every node has its own; then nodes are numbered from the outputs, the
    operands of commutative operations in order of colour. The text gives the
    whole graph, so unequal cells never share one.
    """
    colours = _refined_colours(graph)
    numbers: dict[int, int] = {}
    lines: list[str] = []

    def in_order(node: Node) -> list[int]:
        operands = list(node.operands)
        if _is_commutative(node):
            operands.sort(key=lambda k: colours[k])
        return operands

    def visit(index: int) -> int:
        stack = [index]  # A stack: graphs may be deeper than Python recurses.
        while stack:
            top = stack[-1]
            missing = [
                k for k in in_order(graph.nodes[top]) if k not in numbers
            ]
            if missing:
                stack.append(missing[0])
                continue
            stack.pop()
            if top not in numbers:
                operands = [numbers[k] for k in graph.nodes[top].operands]
                if _is_commutative(graph.nodes[top]):
                    operands.sort()
                numbers[top] = len(numbers)
                lines.append(f"{_label(graph, top)} {operands}")
        return numbers[index]

    outputs = [visit(index) for index in graph.outputs]
    return "\n".join([*lines, f"states {len(graph.states)} {outputs}"])


def _is_commutative(node: Node) -> bool:
    operation = OPERATIONS.get(node.operation)
    return operation is not None and operation.commutative


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


def _refined_colours(graph: Graph) -> list[str]:
    """Returns a colour for each node, all different."""
    users = _users(graph)
    colours = [
        _digest(
            _label(graph, index),
            [k for k, output in enumerate(graph.outputs) if output == index],
        )
        for index in range(len(graph.nodes))
    ]
    classes = len(set(colours))
    while True:
        refined = []
        for index, node in enumerate(graph.nodes):
            below = [colours[k] for k in node.operands]
            above = sorted((colours[k], place) for k, place in users[index])
            below = sorted(below) if _is_commutative(node) else below
            refined.append(_digest(colours[index], below, above))
        colours = refined
        if len(set(colours)) == classes:
            tied = {c for c, n in Counter(colours).items() if n > 1}
            if not tied:
                return colours
            _break_tie(graph, users, colours, min(tied))
        classes = len(set(colours))


def _users(graph: Graph) -> list[list[tuple[int, int]]]:
    """Returns of each node its users, and its place among their operands."""
    users: list[list[tuple[int, int]]] = [[] for _ in graph.nodes]
    for index, node in enumerate(graph.nodes):
        for place, operand in enumerate(node.operands):
            users[operand].append(
                (index, 0 if _is_commutative(node) else place)
            )
    return users


def _break_tie(
    graph: Graph,
    users: list[list[tuple[int, int]]],
    colours: list[str],
    tied: str,
) -> None:
    """Gives nodes of one colour colours of their own.

    Any comes first where they are images of each other; those of the same
    operands and users are, so they are told apart at once.
    """
    first = colours.index(tied)
    alike = [
        index
        for index, node in enumerate(graph.nodes)
        if colours[index] == tied
        and node.operands == graph.nodes[first].operands
        and users[index] == users[first]
    ]
    for place, index in enumerate(alike):
        colours[index] = _digest(tied, place)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
