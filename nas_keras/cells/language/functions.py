"""The functions of the language of cells: one table, one entry a function.

An entry is all that the package knows of a function: the parser, the layers,
the loops over time, the fingerprint and the drawings read it. To add `cos`,
add this entry, and its NumPy form to `tests/cells/language/functions_test.py`:

    "cos": Operation(
        lambda ops, a: ops.cos(a),
        lambda ops, y, a: (-ops.sin(a),),
        _nan_beyond_floats(math.cos),
        is_bounded=True,
    ),

No TensorFlow, no Keras: `ops` is `keras.ops`, or a namespace with its names.
"""

import dataclasses
import math
import operator
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Operation:
    """A function or an operator of the language.

    Attributes:
        value: `value(ops, *operands)` returns the result, a tensor.
        derivatives: `derivatives(ops, result, *operands)` returns the
            derivative of the result by each operand, a tensor or a number. At
            a kink it is TensorFlow's: 0 for relu, the first operand's for max.
        on_numbers: `on_numbers(*operands)` returns the result of floats, a
            float. Numbers alone are never tensors, which would have a dtype.
        min_operands: Fewest operands.
        max_operands: Most operands, or None for no limit.
        is_commutative: Whether the order of the operands has no meaning.
        is_bounded: Whether the result is in [-1, 1] whatever the operands.
        drawn_as: What a drawing writes before the operand instead of a call,
            or None for the call.
    """

    value: Callable[..., Any]
    derivatives: Callable[..., Sequence[Any]]
    on_numbers: Callable[..., float]
    min_operands: int = 1
    max_operands: int | None = 1
    is_commutative: bool = False
    is_bounded: bool = False
    drawn_as: str | None = None


def _needs_weights(*_: Any) -> Any:
    raise TypeError("linear has weights: a layer computes it, not this table.")


def _nan_beyond_floats(function: Callable[[float], float]) -> Any:
    """Returns a periodic function that is NaN, not an error, at infinity."""
    return lambda a: function(a) if math.isfinite(a) else math.nan


def _mean(*operands: Any) -> Any:
    return sum(operands[1:], operands[0]) / len(operands)


def _max_derivatives(ops: Any, y: Any, a: Any, b: Any) -> Sequence[Any]:
    first = ops.cast(a >= b, y.dtype)
    return first, 1 - first


FUNCTIONS: dict[str, Operation] = {
    "linear": Operation(
        _needs_weights, _needs_weights, _needs_weights, drawn_as="W·"
    ),
    "identity": Operation(
        lambda ops, a: a, lambda ops, y, a: (1,), lambda a: a
    ),
    "tanh": Operation(
        lambda ops, a: ops.tanh(a),
        lambda ops, y, a: (1 - y * y,),
        math.tanh,
        is_bounded=True,
    ),
    "sigmoid": Operation(
        lambda ops, a: ops.sigmoid(a),
        lambda ops, y, a: (y * (1 - y),),
        lambda a: 0.5 + 0.5 * math.tanh(0.5 * a),
        is_bounded=True,
    ),
    "relu": Operation(
        lambda ops, a: ops.relu(a),
        lambda ops, y, a: (ops.cast(y > 0, y.dtype),),
        lambda a: max(a, 0.0),
    ),
    "sin": Operation(
        lambda ops, a: ops.sin(a),
        lambda ops, y, a: (ops.cos(a),),
        _nan_beyond_floats(math.sin),
        is_bounded=True,
    ),
    "max": Operation(
        lambda ops, a, b: ops.maximum(a, b),
        _max_derivatives,
        max,
        min_operands=2,
        max_operands=2,
        is_commutative=True,
    ),
    "mean": Operation(
        lambda ops, *a: _mean(*a),
        lambda ops, y, *a: (1 / len(a),) * len(a),
        _mean,
        max_operands=None,
        is_commutative=True,
    ),
}
# "negative" is the unary minus.
OPERATORS: dict[str, Operation] = {
    "+": Operation(
        lambda ops, a, b: a + b,
        lambda ops, y, a, b: (1, 1),
        operator.add,
        min_operands=2,
        max_operands=2,
        is_commutative=True,
    ),
    "-": Operation(
        lambda ops, a, b: a - b,
        lambda ops, y, a, b: (1, -1),
        operator.sub,
        min_operands=2,
        max_operands=2,
    ),
    "*": Operation(
        lambda ops, a, b: a * b,
        lambda ops, y, a, b: (b, a),
        operator.mul,
        min_operands=2,
        max_operands=2,
        is_commutative=True,
    ),
    "negative": Operation(
        lambda ops, a: -a, lambda ops, y, a: (-1,), operator.neg
    ),
}
OPERATIONS = FUNCTIONS | OPERATORS
