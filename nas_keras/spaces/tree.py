"""The recurrent-cell space of Zoph & Le: a binary tree of N leaves.

Nodes 0..N-1 are leaves and combine x_t and h_{t-1}, each with its own pair of
matrices; node N+i combines nodes 2i and 2i+1; node 2N-2, the root, is h_t.
Tokens, 4N+2 of them: (combine, activation) of every node in order; (combine,
activation) of Cell Inject; the two Cell Indices.
"""

import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence

from nas_keras.cells.language.spec import CellSpec
from nas_keras.spaces.shared import name_of
from nas_keras.spaces.shared import origin
from nas_keras.spaces.shared import set_checked_ints
from nas_keras.spaces.space import Choice
from nas_keras.spaces.space import Space

COMBINES = ("add", "mul", "max")
ACTIVATIONS = ("identity", "tanh", "sigmoid", "relu", "sin")

_MAX_BASE = 64
_COMBINE = {"add": "{} + {}", "mul": "{} * {}", "max": "max({}, {})"}


@dataclasses.dataclass(frozen=True)
class Tree:
    """The shape and the vocabulary of a tree space, and its decoding.

    Attributes:
        base: N, the number of leaves, at least 2.
        combines: What may join two values, of `add`, `mul`, `max`.
        activations: Of `identity`, `tanh`, `sigmoid`, `relu`, `sin`.

    Raises:
        ValueError: If a rule is broken.
    """

    base: int = 8
    combines: tuple[str, ...] = ("add", "mul")
    activations: tuple[str, ...] = ("identity", "tanh", "sigmoid", "relu")

    def __post_init__(self) -> None:
        set_checked_ints(self, base=(2, _MAX_BASE))
        for field, allowed in (
            ("combines", COMBINES),
            ("activations", ACTIVATIONS),
        ):
            options = tuple(getattr(self, field))
            object.__setattr__(self, field, options)
            if (
                not options
                or len(set(options)) < len(options)
                or not set(options) <= set(allowed)
            ):
                raise ValueError(
                    f"{field} must be distinct, at least one, and of "
                    f"{allowed}. Received: {field}={options!r}."
                )

    @property
    def num_nodes(self) -> int:
        """Leaves and inner nodes, 2N-1."""
        return 2 * self.base - 1

    @property
    def name(self) -> str:
        """How journals call the space; says what differs from the paper's."""
        return name_of(self, "tree")

    def children(self, node: int) -> tuple[int, int]:
        """Returns the two nodes that an inner node combines."""
        return 2 * (node - self.base), 2 * (node - self.base) + 1

    def choices(self) -> list[Choice]:
        """Returns the 4N+2 decisions in the order of the tokens."""
        places = [f"node_{k}" for k in range(self.num_nodes)] + ["inject"]
        choices = []
        for place in places:
            choices.append(Choice(f"{place}_combine", self.combines))
            choices.append(Choice(f"{place}_activation", self.activations))
        nodes = tuple(range(self.num_nodes))
        return [
            *choices,
            Choice("cell_index", nodes),
            Choice("inject_index", nodes),
        ]

    def decode(self, tokens: Sequence[int]) -> CellSpec:
        """Returns the cell of 4N+2 tokens.

        The first index f says `next_c` is the value of node f before its
        activation; the second, g, that node g, after its activation, is
        joined with `c` by Cell Inject, which all nodes above it see. The
        paper leaves open what happens at the edges; here an injected root is
        `next_h`, and f = g reads the value before the injection.

        Reference:
            [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), section 3.4.
        """
        *pairs, cell_index, inject_index = tokens
        combine = [_COMBINE[self.combines[token]] for token in pairs[0::2]]
        activation = [self.activations[token] for token in pairs[1::2]]
        names: list[str] = []
        equations: list[str] = []

        def assign(name: str, value: str) -> str:
            if value.isidentifier() and name != "next_h":
                return value
            equations.append(f"{name} = {value}")
            return name

        for node in range(self.num_nodes):
            operands: Iterable[str] = ("linear(x)", "linear(h)")
            if node >= self.base:
                operands = (names[k] for k in self.children(node))
            value = combine[node].format(*operands)
            if node == cell_index:
                value = assign("next_c", value)
            value = _activate(activation[node], value)
            if node == inject_index:
                value = combine[-1].format(assign(f"n{node}", value), "c")
                value = _activate(activation[-1], value)
            is_root = node == self.num_nodes - 1
            name = "injected" if node == inject_index else f"n{node}"
            names.append(assign("next_h" if is_root else name, value))
        return CellSpec(
            equations=tuple(equations),
            **origin(f"tree{self.base}", self.name, tokens),
        )


def tree_space(
    base: int = 8,
    combines: Sequence[str] = ("add", "mul"),
    activations: Sequence[str] = ("identity", "tanh", "sigmoid", "relu"),
) -> Space:
    """Returns the recurrent-cell space of Zoph & Le.

    Args:
        base: N, the number of leaves. The paper: 8.
        combines: `add` and `mul`; the paper's control experiment adds `max`.
        activations: The paper's four; its control experiment adds `sin`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> space = tree_space(8)
    >>> len(space.choices), space.size
    (34, 63331869759897600)

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), section 3.4.
    """
    tree = Tree(base, tuple(combines), tuple(activations))
    return Space(tree.choices(), tree.decode, tree.name, structure=tree)


def _activate(activation: str, value: str) -> str:
    return value if activation == "identity" else f"{activation}({value})"
