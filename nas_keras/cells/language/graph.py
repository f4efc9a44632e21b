"""A cell as a graph of operations: what the equations of a spec mean.

No tensors here: a caller hands `Graph.evaluate` the namespace of operations,
`keras.ops` or one with its names.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from nas_keras.cells.language.functions import OPERATIONS


@dataclasses.dataclass(frozen=True)
class Node:
    """A value of the graph: a leaf ("name", "number") or an operation.

    Attributes:
        operation: A key of `OPERATIONS`, "name" or "number".
        operands: Indices of earlier nodes.
        value: The name or the number of a leaf; the running number of a
            `linear`, which makes each occurrence a node of its own.
        equation: Index of the equation in which the node first occurs.
    """

    operation: str
    operands: tuple[int, ...] = ()
    value: str | float | None = None
    equation: int = dataclasses.field(default=0, compare=False)

    @property
    def is_commutative(self) -> bool:
        """Whether the order of the operands has no meaning."""
        operation = OPERATIONS.get(self.operation)
        return operation is not None and operation.is_commutative


@dataclasses.dataclass(frozen=True)
class LinearGroup:
    """All `linear` terms of one operand; their matrices are one kernel.

    Attributes:
        operand: Index of the node that is multiplied.
        terms: Indices of the `linear` nodes in order of appearance: term `k`
            is columns `k*units` to `(k+1)*units` of the kernel.
        name: The name of the kernel.
    """

    operand: int
    terms: tuple[int, ...]
    name: str

    @property
    def is_of_x(self) -> bool:
        """Whether the operand is x: such terms have no bias."""
        return self.name == "kernel"


class WidthError(ValueError):
    """An equation joins values of different widths.

    Args:
        equation: Index of the equation.
        widths: The widths.
    """

    def __init__(self, equation: int, widths: set[int]) -> None:
        super().__init__(f"equation {equation + 1} joins {sorted(widths)}")
        self.equation = equation
        self.widths = widths


@dataclasses.dataclass(frozen=True)
class Graph:
    """The equations of a cell as operations in an order of evaluation.

    Attributes:
        nodes: Every operand stands before its user.
        states: The state names.
        outputs: For each state `s`, the index of the node of `next_s`.
        output_equations: For each state `s`, the index of its equation.
        groups: The linear terms by operand: `x`, then `h`, then the others in
            order of appearance.
        constants: The nodes that are made of numbers alone.
    """

    nodes: tuple[Node, ...]
    states: tuple[str, ...]
    outputs: tuple[int, ...]
    output_equations: tuple[int, ...]
    groups: tuple[LinearGroup, ...]
    constants: frozenset[int]

    def widths(
        self, input_width: int, units: int, output_width: int
    ) -> list[int | None]:
        """Returns the width of every node, None for a number.

        Args:
            input_width: D, the width of `x`.
            units: H, the width of `linear` terms and of all states but `h`.
            output_width: The width of `h`: a projection's, or H.

        Raises:
            WidthError: If values of different widths are joined.
        """
        of_name = {"x": input_width, "h": output_width}
        widths: list[int | None] = []
        for node in self.nodes:
            if node.operation == "name":
                widths.append(of_name.get(str(node.value), units))
            elif node.operation == "linear":
                widths.append(units)
            else:
                operands = {widths[k] for k in node.operands}
                joined = {width for width in operands if width is not None}
                if len(joined) > 1:
                    raise WidthError(node.equation, joined)
                widths.append(joined.pop() if joined else None)
        for output, equation in zip(
            self.outputs, self.output_equations, strict=True
        ):
            width = widths[output]  # No number: the parser refuses that.
            if width is not None and width != units:
                raise WidthError(equation, {width, units})
        return widths

    def operand_widths(
        self, input_width: int, units: int, output_width: int
    ) -> dict[str, int]:
        """Returns the width of each kernel's operand by the kernel's name.

        Args:
            input_width: As for `widths`.
            units: As for `widths`.
            output_width: As for `widths`.

        Raises:
            WidthError: If values of different widths are joined.
        """
        widths = self.widths(input_width, units, output_width)
        return {
            group.name: width
            for group in self.groups
            for width in [widths[group.operand]]
            if width is not None  # No operand is a number.
        }

    def evaluate(
        self,
        ops: Any,
        values: Mapping[str, Any],
        linear: Callable[[LinearGroup, Any], Sequence[Any]],
    ) -> list[Any]:
        """Returns the next states.

        Args:
            ops: Namespace of the operations, such as `keras.ops`.
            values: The tensors of `x` and of each state, by name.
            linear: `linear(group, operand)` returns the terms of a group.

        Returns:
            One tensor for each of `states`, in that order.
        """
        results: dict[int, Any] = {}
        for index, node in enumerate(self.nodes):
            if node.operation == "name":
                results[index] = values[str(node.value)]
        self.evaluate_nodes(ops, range(len(self.nodes)), results, linear)
        return [results[index] for index in self.outputs]

    def evaluate_nodes(
        self,
        ops: Any,
        indices: Iterable[int],
        results: dict[int, Any],
        linear: Callable[[LinearGroup, Any], Sequence[Any]],
    ) -> None:
        """Adds the values of some nodes to known ones.

        Args:
            ops: Namespace of the operations.
            indices: Nodes, in order; nodes with a value already are skipped.
            results: Known values by node, all operands needed among them; the
                new values are added.
            linear: As for `evaluate`; called for a group when the first of
                its terms is met, and the whole group's terms are added.
        """
        group_of_term = {
            term: group for group in self.groups for term in group.terms
        }
        for index in indices:
            node = self.nodes[index]
            if index in results:
                continue
            if node.operation == "number":
                results[index] = node.value
            elif node.operation == "linear":
                group = group_of_term[index]
                terms = linear(group, results[group.operand])
                results.update(zip(group.terms, terms, strict=True))
            else:
                operation = OPERATIONS[node.operation]
                operands = [results[k] for k in node.operands]
                results[index] = (
                    operation.on_numbers(*operands)
                    if index in self.constants
                    else operation.value(ops, *operands)
                )
