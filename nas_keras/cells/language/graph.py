"""A cell as a graph of operations: what the equations of a spec mean.

No tensors here: `Graph.evaluate` is handed the namespace of operations
(`keras.ops`, or anything with its names) by its caller.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of the language: its operands, values and derivatives.

    Attributes:
        apply: `apply(ops, *operands)`, `ops` a namespace like `keras.ops`.
        partials: `partials(ops, result, *operands)` returns the derivative of
            the result by each operand, a tensor or a number. At a kink it is
            that of TensorFlow: 0 for relu, the first operand's for max.
        min_operands: Fewest operands.
        max_operands: Most operands, or None for no limit.
        commutative: Whether the order of the operands is without meaning.
    """

    apply: Callable[..., Any]
    partials: Callable[..., Sequence[Any]]
    min_operands: int = 1
    max_operands: int | None = 1
    commutative: bool = False


def _linear(ops: Any, *values: Any) -> Any:
    raise TypeError("linear has weights: a layer computes it, not this table.")


def _max_partials(ops: Any, y: Any, a: Any, b: Any) -> Sequence[Any]:
    first = ops.cast(a >= b, y.dtype)
    return first, 1 - first


# What a user may call, by name. This table is the whole vocabulary.
FUNCTIONS: dict[str, Operation] = {
    "linear": Operation(_linear, _linear),
    "identity": Operation(lambda ops, a: a, lambda ops, y, a: (1,)),
    "tanh": Operation(
        lambda ops, a: ops.tanh(a), lambda ops, y, a: (1 - y * y,)
    ),
    "sigmoid": Operation(
        lambda ops, a: ops.sigmoid(a), lambda ops, y, a: (y * (1 - y),)
    ),
    "relu": Operation(
        lambda ops, a: ops.relu(a),
        lambda ops, y, a: (ops.cast(y > 0, y.dtype),),
    ),
    "sin": Operation(
        lambda ops, a: ops.sin(a), lambda ops, y, a: (ops.cos(a),)
    ),
    "max": Operation(
        lambda ops, a, b: ops.maximum(a, b), _max_partials, 2, 2, True
    ),
    "mean": Operation(
        lambda ops, *a: sum(a[1:], a[0]) / len(a),
        lambda ops, y, *a: (1 / len(a),) * len(a),
        *(1, None, True),
    ),
}
OPERATORS: dict[str, Operation] = {
    "+": Operation(
        lambda ops, a, b: a + b, lambda ops, y, a, b: (1, 1), 2, 2, True
    ),
    "-": Operation(lambda ops, a, b: a - b, lambda ops, y, a, b: (1, -1), 2, 2),
    "*": Operation(
        lambda ops, a, b: a * b, lambda ops, y, a, b: (b, a), 2, 2, True
    ),
    "negative": Operation(lambda ops, a: -a, lambda ops, y, a: (-1,)),
}
OPERATIONS = FUNCTIONS | OPERATORS


@dataclasses.dataclass(frozen=True)
class Node:
    """A value of the graph: a leaf ("name", "number") or an operation.

    Attributes:
        operation: A key of `FUNCTIONS` or `OPERATORS`, "name" or "number".
        operands: Indices of earlier nodes.
        value: The name or the number of a leaf; the running number of a
            `linear`, which makes each occurrence a node of its own.
        equation: Index of the equation in which the node first occurs.
    """

    operation: str
    operands: tuple[int, ...] = ()
    value: str | float | None = None
    equation: int = dataclasses.field(default=0, compare=False)


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


class WidthError(ValueError):
    """An equation joins values of two widths.

    Args:
        equation: Its index.
        widths: Those that meet.
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
        outputs: For each state, the index of the node that is its `next_`.
        output_equations: For each state, the index of the equation of it.
        groups: The linear terms by operand: `x`, then `h`, then the others in
            order of appearance.
    """

    nodes: tuple[Node, ...]
    states: tuple[str, ...]
    outputs: tuple[int, ...]
    output_equations: tuple[int, ...]
    groups: tuple[LinearGroup, ...]

    def widths(
        self, input_width: int, units: int, output_width: int
    ) -> list[int | None]:
        """Returns the width of every node; that of a number is None.

        Args:
            input_width: Of `x`.
            units: Of `linear` terms and of all states but `h`.
            output_width: Of `h`; it differs from `units` by a projection.

        Raises:
            WidthError: If values of two widths are joined.
        """
        of_name = {"x": input_width, "h": output_width}
        found: list[int | None] = []
        for node in self.nodes:
            if node.operation == "name":
                found.append(of_name.get(str(node.value), units))
            elif node.operation == "linear":
                found.append(units)
            else:
                operands = {found[k] for k in node.operands}
                joined = {width for width in operands if width is not None}
                if len(joined) > 1:
                    raise WidthError(node.equation, joined)
                found.append(joined.pop() if joined else None)
        for output, equation in zip(
            self.outputs, self.output_equations, strict=True
        ):
            width = found[output]  # No number: the parser refuses that.
            if width is not None and width != units:
                raise WidthError(equation, {width, units})
        return found

    def operand_widths(
        self, input_width: int, units: int, output_width: int
    ) -> dict[str, int]:
        """Returns the width of the operand of each kernel, by its name.

        Args:
            input_width: As for `widths`; the others too.
            units: Of `linear` terms and of all states but `h`.
            output_width: Of `h`.

        Raises:
            WidthError: If values of two widths are joined.
        """
        widths = self.widths(input_width, units, output_width)
        return {
            group.name: width
            for group in self.groups
            for width in [widths[group.operand]]
            if width is not None  # Nor is an operand a number.
        }

    def evaluate(
        self,
        ops: Any,
        values: Mapping[str, Any],
        linear: Callable[[LinearGroup, Any], Sequence[Any]],
    ) -> list[Any]:
        """Returns the next states.

        Args:
            ops: Namespace of the operations, `keras.ops` for one.
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
        """Adds the values of some nodes to those that are known.

        Args:
            ops: Namespace of the operations.
            indices: Nodes, in order; those with a value already are skipped.
            results: Known values by node, with all operands that are needed;
                the new ones are added.
            linear: As that of `evaluate`; called for a group when the first
                of its terms is met, whose siblings are added with it.
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
                operands = [results[k] for k in node.operands]
                # A tensor of numbers alone would have a dtype of its own.
                namespace = _Numbers if index in self.constants else ops
                apply = OPERATIONS[node.operation].apply
                results[index] = apply(namespace, *operands)

    @functools.cached_property
    def constants(self) -> frozenset[int]:
        """The nodes that are made of numbers alone."""
        constants: set[int] = set()
        for index, node in enumerate(self.nodes):
            if node.operation != "name" and constants.issuperset(node.operands):
                constants.add(index)
        return frozenset(constants)


class _Numbers:
    """The operations for operands that are numbers, not tensors."""

    maximum = max
    tanh = math.tanh

    @staticmethod
    def sigmoid(a: float) -> float:
        return 0.5 + 0.5 * math.tanh(0.5 * a)

    @staticmethod
    def relu(a: float) -> float:
        return max(a, 0.0)

    @staticmethod
    def sin(a: float) -> float:
        return math.sin(a) if math.isfinite(a) else math.nan
