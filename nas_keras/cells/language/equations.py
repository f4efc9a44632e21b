"""The language of recurrent cells: equations in, a graph of operations out.

    i = sigmoid(linear(x) + linear(h))

Text is read by Python's `ast` and walked against a whitelist; nothing is ever
evaluated as Python.
"""

import ast
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

from nas_keras.cells.language.functions import FUNCTIONS
from nas_keras.cells.language.functions import OPERATIONS
from nas_keras.cells.language.graph import Graph
from nas_keras.cells.language.graph import LinearGroup
from nas_keras.cells.language.graph import Node

MAX_EQUATIONS = 512
MAX_EQUATION_CHARS = 4_000
MAX_DEPTH = 64  # Nesting of one equation.

_ASSIGNMENT = re.compile(r"\s*[A-Za-z_]\w*\s*=[^=]")
_BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}


def parse(equations: Sequence[str], states: Sequence[str]) -> Graph:
    """Returns the graph of a cell's equations.

    Args:
        equations: Texts `name = expression`, in an order of evaluation.
        states: The state names, with `"h"` among them.

    Raises:
        ValueError: If an equation breaks a rule of the language; the message
            gives the equation and the column.
    """
    if len(equations) > MAX_EQUATIONS:
        raise ValueError(
            f"A cell has at most {MAX_EQUATIONS} equations. Received: "
            f"{len(equations)} equations."
        )
    parser = _Parser(tuple(states))
    assigned = [_assigned_name(text) for text in equations]
    for index, text in enumerate(equations):
        parser.add_equation(index, text, assigned)
    return parser.finish(equations)


def statements_of(text: str) -> list[Any]:
    """Returns the syntax of an equation, as Python's parser gives it.

    Raises:
        SyntaxError: If Python cannot parse it, and whatever else `ast.parse`
            raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's advice on style.
        return ast.parse(text.strip()).body


def _assigned_name(text: Any) -> str | None:
    if isinstance(text, str) and _ASSIGNMENT.match(text):
        return text.split("=", 1)[0].strip()
    return None


class _Parser:
    """Builds the graph equation by equation; equal values become one node."""

    def __init__(self, states: tuple[str, ...]) -> None:
        self.states = states
        self.nodes: list[Node] = []
        self.index: dict[Node, int] = {}
        self.constants: set[int] = set()  # Nodes of numbers alone: no width.
        self.names = {name: self._leaf(name) for name in ("x", *states)}
        self.uses: dict[str, set[str]] = {}  # Assigned name -> names it reads.
        self.linear_terms: list[tuple[int, int, int]] = []
        self.num_linear = 0

    def _leaf(self, name: str) -> int:
        return self._intern(Node("name", value=name))

    def _intern(self, node: Node) -> int:
        if node not in self.index:
            self.index[node] = len(self.nodes)
            self.nodes.append(node)
            if node.operation != "name" and all(
                operand in self.constants for operand in node.operands
            ):
                self.constants.add(self.index[node])
        return self.index[node]

    def add_equation(
        self, number: int, text: str, assigned: Sequence[str | None]
    ) -> None:
        self.number, self.text, self.assigned = number, text, assigned
        target, expression = self._split(text)
        self.target, self.uses[target] = target, set()
        self.names[target] = self._visit(expression, 0)
        if target.startswith("next_") and self.names[target] in self.constants:
            raise self.fail(f"{target!r} is a number, not a state.")

    def fail(self, problem: str, column: int = 0) -> ValueError:
        text = self.text if len(self.text) <= 80 else self.text[:77] + "..."
        column += 1 + len(self.text) - len(self.text.lstrip())
        return ValueError(
            f"equation {self.number + 1} ({text!r}), column {column}: {problem}"
        )

    def _split(self, text: str) -> tuple[str, ast.expr]:
        """Returns the assigned name and the expression, both checked."""
        self._check_text(text)
        try:
            statements = statements_of(text)
        except SyntaxError as error:
            column = max((error.offset or 1) - 1, 0)
            raise self.fail(f"not an equation: {error.msg}.", column) from None
        except (RecursionError, MemoryError):
            raise self.fail(f"nested deeper than {MAX_DEPTH}.") from None
        statement = statements[0] if len(statements) == 1 else None
        if (
            not isinstance(statement, ast.Assign)
            or len(statement.targets) != 1
            or not isinstance(statement.targets[0], ast.Name)
        ):
            raise self.fail("must be one `name = expression`.")
        target = statement.targets[0].id
        self._check_target(target)
        return target, statement.value

    def _check_text(self, text: str) -> None:
        if not isinstance(text, str):
            self.text = repr(text)
            raise self.fail("an equation must be a string.")
        if len(text) > MAX_EQUATION_CHARS:
            raise self.fail(
                f"longer than {MAX_EQUATION_CHARS} characters ({len(text)})."
            )
        depth = 0
        indent = len(text) - len(text.lstrip())  # `fail` adds the indent.
        for column, char in enumerate(text, -indent):
            if not (" " <= char <= "~"):
                raise self.fail(f"illegal character {char!r}.", column)
            depth += (char in "([{") - (char in ")]}")
            if depth > MAX_DEPTH:
                raise self.fail(f"nested deeper than {MAX_DEPTH}.", column)

    def _check_target(self, target: str) -> None:
        if target in ("x", *self.states) or target in FUNCTIONS:
            kind = "a function" if target in FUNCTIONS else "an input"
            raise self.fail(f"{target!r} is {kind} and cannot be assigned.")
        if target in self.names:
            raise self.fail(f"{target!r} is assigned twice.")
        if target.startswith("next_") and target[5:] not in self.states:
            raise self.fail(
                f"{target!r} names no state. States: {list(self.states)}."
            )

    def _visit(self, tree: ast.expr, depth: int) -> int:
        """Returns the index of the node that `tree` denotes."""
        if depth > MAX_DEPTH:
            raise self.fail(f"nested deeper than {MAX_DEPTH}.", tree.col_offset)
        match tree:
            case ast.Name(id=name):
                return self._name(name, tree.col_offset)
            case ast.Constant(value=value):
                return self._number(value, tree.col_offset)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._operation("negative", [operand], depth)
            case ast.BinOp(left=left, op=op, right=right):
                if type(op) in _BINARY:
                    return self._operation(
                        _BINARY[type(op)], [left, right], depth
                    )
                problem = f"operator {type(op).__name__} is not allowed."
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(tree, name, args, depth)
            case _:
                problem = f"{type(tree).__name__} is not allowed."
        raise self.fail(
            f"{problem} Allowed: names, numbers, + - *, {sorted(FUNCTIONS)}.",
            tree.col_offset,
        )

    def _name(self, name: str, column: int) -> int:
        if name in self.names:
            self.uses[self.target].add(name)
            return self.names[name]
        if name in FUNCTIONS:
            raise self.fail(f"function {name!r} is not called.", column)
        if name in self.assigned:
            later = self.assigned.index(name) + 1
            raise self.fail(
                f"{name!r} is used before it is assigned (equation {later}); "
                "equations are evaluated in order and cannot form a cycle.",
                column,
            )
        raise self.fail(
            f"{name!r} is not assigned. Known here: {sorted(self.names)}.",
            column,
        )

    def _number(self, value: Any, column: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail(f"{value!r} is not a real number.", column)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.fail("the number is too large.", column)
        return self._intern(Node("number", value=number))

    def _operation(self, name: str, trees: list[ast.expr], depth: int) -> int:
        operands = [self._visit(tree, depth + 1) for tree in trees]
        if OPERATIONS[name].is_commutative:
            operands.sort()  # `a + b` and `b + a` are one value.
        return self._intern(Node(name, tuple(operands), equation=self.number))

    def _call(
        self, tree: ast.Call, name: str, args: list[ast.expr], depth: int
    ) -> int:
        column = tree.col_offset
        if name not in FUNCTIONS:
            raise self.fail(
                f"unknown function {name!r}. Functions: {sorted(FUNCTIONS)}.",
                column,
            )
        function = FUNCTIONS[name]
        most = function.max_operands
        if len(args) < function.min_operands or (most and len(args) > most):
            wanted = f"{function.min_operands}" + ("" if most else " or more")
            raise self.fail(
                f"{name} takes {wanted} operands. Received: {len(args)}.",
                column,
            )
        if name == "identity":
            return self._visit(args[0], depth + 1)
        if name != "linear":
            return self._operation(name, args, depth)
        # The order of appearance is that of the word `linear` in the text.
        order = self.num_linear
        self.num_linear += 1
        operand = self._visit(args[0], depth + 1)
        if operand in self.constants:
            raise self.fail("linear of a number has no width.", column)
        term = self._intern(Node("linear", (operand,), order, self.number))
        self.linear_terms.append((order, operand, term))
        return term

    def finish(self, equations: Sequence[str]) -> Graph:
        for state in self.states:
            if f"next_{state}" not in self.uses:
                raise ValueError(
                    f"state {state!r} has no equation "
                    f"'next_{state} = ...'. Assigned: {sorted(self.uses)}."
                )
        self._check_used(equations)
        outputs = tuple(self.names[f"next_{state}"] for state in self.states)
        targets = list(self.uses)
        return Graph(
            nodes=tuple(self.nodes),
            states=self.states,
            outputs=outputs,
            output_equations=tuple(
                targets.index(f"next_{state}") for state in self.states
            ),
            groups=self._groups(),
            constants=frozenset(self.constants),
        )

    def _check_used(self, equations: Sequence[str]) -> None:
        reached: set[str] = set()
        frontier = [f"next_{state}" for state in self.states]
        while frontier:
            name = frontier.pop()
            if name not in reached:
                reached.add(name)
                frontier.extend(self.uses.get(name, ()))
        for index, name in enumerate(self.uses):
            if name not in reached:
                self.number, self.text = index, equations[index]
                raise self.fail(f"{name!r} is never used by a next state.")

    def _groups(self) -> tuple[LinearGroup, ...]:
        by_operand: dict[int, list[int]] = {}
        for _, operand, term in sorted(self.linear_terms):
            by_operand.setdefault(operand, []).append(term)
        fixed = {self.names["x"]: "kernel", self.names["h"]: "recurrent_kernel"}
        groups = [
            LinearGroup(operand, tuple(by_operand.pop(operand)), name)
            for operand, name in fixed.items()
            if operand in by_operand
        ]
        named = {index: name for name, index in self.names.items()}
        for position, (operand, terms) in enumerate(by_operand.items()):
            suffix = named.get(operand, position)
            groups.append(
                LinearGroup(operand, tuple(terms), f"kernel_{suffix}")
            )
        return tuple(groups)
