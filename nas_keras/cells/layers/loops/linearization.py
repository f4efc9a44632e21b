"""A step of a cell in parts, and its derivatives, for loops over time.

Between matrix products a step is elementwise, so its derivatives are diagonal:
arrays as large as the values. A loop takes them while the values are at hand.
Its backward pass is then linear: it multiplies by these slopes and by matrices.

No TensorFlow and no Keras here.
"""

import dataclasses
import functools
import numbers
from collections.abc import Mapping
from typing import Any

from nas_keras.cells.language.functions import OPERATIONS
from nas_keras.cells.language.graph import Graph
from nas_keras.cells.language.graph import LinearGroup


@dataclasses.dataclass(frozen=True)
class Slopes:
    """Derivatives of the targets of a step by their sources.

    Attributes:
        table: Target -> source -> index in `values`.
        values: The derivatives, each once: tensors, or numbers where the
            derivative does not depend on the values of the step.
    """

    table: dict[int, dict[int, int]]
    values: list[Any]

    @property
    def tensors(self) -> list[Any]:
        return [value for value in self.values if not _is_number(value)]

    def with_tensors(self, tensors: list[Any]) -> "Slopes":
        """Returns the same table with other tensors."""
        remaining = iter(tensors)
        values = [
            value if _is_number(value) else next(remaining)
            for value in self.values
        ]
        return Slopes(self.table, values)

    def of(self, target: int) -> dict[int, Any]:
        """Returns the derivatives of a target by source."""
        row = self.table.get(target, {})
        return {source: self.values[index] for source, index in row.items()}


@dataclasses.dataclass(frozen=True)
class Partition:
    """What of a cell is computed before the loop over time, and what in it.

    Args:
        graph: The cell's equations.

    Attributes:
        states: The leaf of each state.
        x: The leaf of x, or none if no equation has it.
        needs_x: Whether x is used in another way than by `linear(x)`.
        static: Nodes that depend on no state: values for all steps at once.
        feeds: Static nodes that a step needs, outputs among them, numbers not.
        recurrent: The groups of linear terms of the other nodes, in the order
            in which a step computes them.
        terms: The linear terms of the recurrent groups.
        targets: Values of a step, in order, at which the backward pass adds
            up a gradient: new states, and operands of recurrent groups, but
            no states.

    Example: of the GRU, the loop is fed with the three terms of x. A step
    computes the two terms of h (nodes 3 and 7), from them `r * h` (node 11),
    a target; its term (node 12); and from that `next_h` (node 19), the other
    target.

    >>> from nas_keras.cells.language.spec import load_spec
    >>> graph = load_spec("gru").graph
    >>> for equation in load_spec("gru").equations:
    ...     print(equation)
    z = sigmoid(linear(x) + linear(h))
    r = sigmoid(linear(x) + linear(h))
    n = tanh(linear(x) + linear(r * h))
    next_h = z * h + (1 - z) * n
    >>> partition = Partition(graph)
    >>> [graph.nodes[k].operation for k in sorted(partition.static)]
    ['name', 'linear', 'linear', 'linear', 'number']
    >>> partition.feeds
    (2, 6, 10)
    >>> [(group.operand, group.terms) for group in partition.recurrent]
    [(1, (3, 7)), (11, (12,))]
    >>> partition.targets
    (11, 19)

    The sources of `r * h` are h, and its two terms in r; `next_h` has h, the
    terms in z, and those in n.

    >>> values = {k: 0.5 for k, _ in enumerate(graph.nodes)}
    >>> slopes = partition.slopes(None, values)
    >>> {k: sorted(slopes.of(k)) for k in partition.targets}
    {11: [1, 6, 7], 19: [1, 2, 3, 10, 12]}
    """

    graph: Graph

    @functools.cached_property
    def states(self) -> tuple[int, ...]:
        leaves = {
            node.value: index
            for index, node in enumerate(self.graph.nodes)
            if node.operation == "name"
        }
        return tuple(leaves[state] for state in self.graph.states)

    @functools.cached_property
    def x(self) -> tuple[int, ...]:
        return tuple(
            index
            for index, node in enumerate(self.graph.nodes)
            if node.operation == "name" and index not in self.states
        )

    @property
    def needs_x(self) -> bool:
        used = set(self.graph.outputs)
        for node in self.graph.nodes:
            if node.operation != "linear":
                used.update(node.operands)
        return not used.isdisjoint(self.x)

    @functools.cached_property
    def static(self) -> frozenset[int]:
        static: set[int] = set()
        for index, node in enumerate(self.graph.nodes):
            if index not in self.states and static.issuperset(node.operands):
                static.add(index)
        return frozenset(static)

    @functools.cached_property
    def feeds(self) -> tuple[int, ...]:
        used = set(self.graph.outputs)
        for index, node in enumerate(self.graph.nodes):
            if index not in self.static:
                used.update(node.operands)
        return tuple(sorted(used & self.static - self.graph.constants))

    @functools.cached_property
    def recurrent(self) -> tuple[LinearGroup, ...]:
        groups = [g for g in self.graph.groups if g.operand not in self.static]
        return tuple(sorted(groups, key=lambda group: group.operand))

    @functools.cached_property
    def terms(self) -> frozenset[int]:
        terms = [term for group in self.recurrent for term in group.terms]
        return frozenset(terms)

    @functools.cached_property
    def targets(self) -> tuple[int, ...]:
        targets = {group.operand for group in self.recurrent}
        targets.update(self.graph.outputs)
        return tuple(sorted(targets - set(self.states)))

    def slopes(self, ops: Any, results: Mapping[int, Any]) -> Slopes:
        """Returns the derivatives of the targets at the values of a step.

        Sources are feeds, recurrent linear terms, states and other targets;
        the derivative by a source holds the other sources constant.

        Args:
            ops: Namespace like `keras.ops`.
            results: The value of every node, of any shape.
        """
        table: dict[int, dict[int, int]] = {}
        values: list[Any] = []
        for target in self.targets:
            if target in self.static or target in self.terms:
                continue  # A source itself.
            table[target] = {}
            for source, slope in self._row(target, ops, results).items():
                same = [k for k, v in enumerate(values) if v is slope]
                if not same:
                    same = [len(values)]
                    values.append(slope)
                table[target][source] = same[0]
        return Slopes(table, values)

    def _row(
        self, target: int, ops: Any, results: Mapping[int, Any]
    ) -> dict[int, Any]:
        """Returns the derivatives of one target by its sources."""
        sources = {*self.feeds, *self.states, *self.terms, *self.targets}
        row: dict[int, Any] = {target: 1}
        for index in range(target, -1, -1):
            if index not in row or (index in sources and index != target):
                continue
            slope = row.pop(index)
            node = self.graph.nodes[index]
            derivatives = OPERATIONS[node.operation].derivatives(
                ops, results[index], *(results[k] for k in node.operands)
            )
            for operand, derivative in zip(
                node.operands, derivatives, strict=True
            ):
                if operand not in self.graph.constants:
                    add_to(row, operand, product(slope, derivative))
        return row


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real)


def product(a: Any, b: Any) -> Any:
    """`a * b`, where a factor that is the number 1 costs nothing.

    So the slopes of `linear(x) + linear(h)` by its two terms are one tensor.
    """
    if _is_number(a) and a == 1:
        return b
    if _is_number(b) and b == 1:
        return a
    return a * b


def add_to(sums: dict[int, Any], key: int, value: Any) -> None:
    """Adds a value to the sum of a key, or begins it."""
    sums[key] = sums[key] + value if key in sums else value
