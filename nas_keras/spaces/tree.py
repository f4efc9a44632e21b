"""The recurrent-cell space of Zoph & Le: a binary tree of N leaves.

Nodes 0..N-1 are leaves and combine x_t and h_{t-1}, each with its own pair of
matrices; node N+i combines nodes 2i and 2i+1; node 2N-2, the root, is h_t.
Tokens, 4N+2 of them: (combine, activation) of every node in order; (combine,
activation) of Cell Inject; the two Cell Indices.
"""

from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from nas_keras.cells.language.spec import CellSpec
from nas_keras.settings import one_of
from nas_keras.settings import setting
from nas_keras.settings import several
from nas_keras.settings import whole
from nas_keras.spaces.space import Choice
from nas_keras.spaces.space import Space
from nas_keras.spaces.structure import Structure

COMBINES = ("add", "mul", "max")
ACTIVATIONS = ("identity", "tanh", "sigmoid", "relu", "sin")

_COMBINE = {"add": "{} + {}", "mul": "{} * {}", "max": "max({}, {})"}


class Tree(Structure):
    """The recurrent-cell space of Zoph & Le.

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), section 3.4.
    """

    prefix = "tree"
    architecture = CellSpec
    supernet = "nas_keras.supernets.trees:TreeRNN"

    base: int = setting(
        8, "Leaves of the tree, N.", whole(2, 64), source="the paper's"
    )
    combines: tuple[str, ...] = setting(
        ("add", "mul"),
        "What joins two values; the paper's control experiment adds 'max'.",
        several(one_of(COMBINES), least=1, distinct=True),
        source="the paper's",
    )
    activations: tuple[str, ...] = setting(
        ("identity", "tanh", "sigmoid", "relu"),
        "Activations of the nodes; the paper's control experiment adds 'sin'.",
        several(one_of(ACTIVATIONS), least=1, distinct=True),
        source="the paper's",
    )

    @property
    def num_nodes(self) -> int:
        """Leaves and inner nodes, 2N-1."""
        return 2 * self.base - 1

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
            **self._origin(f"tree{self.base}", tokens),
        )


def tree_space(*arguments: Any, **fields: Any) -> Space:
    """Returns the recurrent-cell space of Zoph & Le: `Tree(...).make()`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> space = tree_space(8)
    >>> len(space.choices), space.size
    (34, 63331869759897600)
    """
    return Tree(*arguments, **fields).make()


def _activate(activation: str, value: str) -> str:
    return value if activation == "identity" else f"{activation}({value})"
