"""The recurrent-cell space of ENAS: a chain of gated nodes that branches.

Node 0 reads x_t and h_{t-1}, with tanh. Each of n further nodes reads one
earlier node and has an activation of its own, behind a highway gate:

    s_i = s_p + sigmoid(s_p W_gate) * (f(s_p W) - s_p)

The output, and the next state, is the mean of the nodes that none reads, the
loose ends, or of all but node 0. Tokens, 2n of them: (node read, activation)
of nodes 1 to n. This is the numbering of the authors' later program,
google-research/enas_lm; DARTS' cells are in the same space.
"""

from collections.abc import Sequence
from typing import Any

from nas_keras.cells.language.graph import Graph
from nas_keras.cells.language.spec import CellSpec
from nas_keras.settings import one_of
from nas_keras.settings import setting
from nas_keras.settings import whole
from nas_keras.spaces.space import Choice
from nas_keras.spaces.space import Space
from nas_keras.spaces.structure import Structure

ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")
AVERAGES = ("loose_ends", "all")


class RecurrentDag(Structure):
    """The recurrent-cell space of ENAS.

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.1;
        its authors' later program, github.com/google-research/google-research,
        folder enas_lm.
    """

    prefix = "enas_recurrent"
    architecture = CellSpec
    supernet = "nas_keras.supernets.dags:DagRNN"

    nodes: int = setting(
        8,
        "Nodes after node 0, n. The paper's cell, which counts node 0 among "
        "its 12, has 11.",
        whole(1, 64),
        source="DARTS and the later program of ENAS",
    )
    average: str = setting(
        "loose_ends",
        "What the output is the mean of: 'loose_ends', the nodes that none "
        "reads, or 'all', nodes 1 to n, as in DARTS and the later program.",
        one_of(AVERAGES),
        source="the paper's",
    )

    def choices(self) -> list[Choice]:
        """Returns the 2n decisions in the order of the tokens.

        To the policy a node is what it remembers of where it chose what the
        node reads; node 0, of which nothing is chosen, is the beginning.
        """
        choices = []
        for node in range(1, self.nodes + 1):
            read = tuple(range(node))
            anchors = tuple(2 * (k - 1) if k else -1 for k in read)
            choices.append(Choice(f"node_{node}_reads", read, anchors))
            choices.append(Choice(f"node_{node}_activation", ACTIVATIONS))
        return choices

    def averaged(self, reads: Sequence[int]) -> list[int]:
        """Returns the nodes that the output is the mean of.

        Args:
            reads: What nodes 1 to n read.
        """
        nodes = range(1, self.nodes + 1)
        if self.average == "all":
            return list(nodes)
        return [node for node in nodes if node not in reads]

    def decode(self, tokens: Sequence[int]) -> CellSpec:
        """Returns the cell of 2n tokens.

        Reference:
            [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.1.
        """
        equations = [
            "s0 = h + (tanh(linear(x) + linear(h)) - h)"
            " * sigmoid(linear(x) + linear(h))"
        ]
        reads = list(tokens[0::2])
        for node, (read, token) in enumerate(
            zip(reads, tokens[1::2], strict=True), start=1
        ):
            s, value = f"s{read}", f"linear(s{read})"
            if ACTIVATIONS[token] != "identity":
                value = f"{ACTIVATIONS[token]}({value})"
            equations.append(
                f"s{node} = {s} + ({value} - {s}) * sigmoid(linear({s}))"
            )
        names = [f"s{node}" for node in self.averaged(reads)]
        mean = names[0] if len(names) == 1 else f"mean({', '.join(names)})"
        return CellSpec(
            equations=(*equations, f"next_h = {mean}"),
            states=("h",),
            **self._origin(f"enas{self.nodes}", tokens),
        )

    def _tokens_of(self, spec: CellSpec) -> list[int]:
        """Returns the tokens, nodes in the order of the spec."""
        return _tokens(spec.graph)

    def _difference(self, tokens: Sequence[int]) -> str:
        return f"of which {len(tokens) // 2} nodes after the first fit"


def enas_recurrent_space(*arguments: Any, **fields: Any) -> Space:
    """Returns the recurrent-cell space of ENAS: `RecurrentDag(...).make()`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> from nas_keras.cells import load_spec
    >>> space = enas_recurrent_space(8, average="all")
    >>> space.encode(load_spec("darts_v2"))
    (0, 2, 1, 1, 1, 1, 1, 3, 2, 0, 5, 2, 3, 0, 5, 1)
    """
    return RecurrentDag(*arguments, **fields).make()


def _tokens(graph: Graph) -> list[int]:
    """Returns the tokens of all nodes that are gated nodes of the space."""
    numbers: dict[int, int] = {}  # Node of the graph -> node of the cell.
    tokens: list[int] = []
    for index, node in enumerate(graph.nodes):
        if node.operation != "+":
            continue
        for previous, product in (node.operands, node.operands[::-1]):
            activation = _activation(graph, previous, product)
            if activation is None:
                continue
            if not numbers:
                numbers[index] = 0  # Node 0: decoding checks what it is.
            elif previous in numbers:
                numbers[index] = len(numbers)
                tokens += [
                    numbers[previous],
                    ACTIVATIONS.index(activation),
                ]
            break
    return tokens


def _activation(graph: Graph, previous: int, product: int) -> str | None:
    """Returns f if `product` is (f(...) - previous) * sigmoid(...)."""
    nodes = graph.nodes
    if nodes[product].operation != "*":
        return None
    for left, right in (
        nodes[product].operands,
        nodes[product].operands[::-1],
    ):
        if (
            nodes[left].operation == "-"
            and nodes[left].operands[1] == previous
            and nodes[right].operation == "sigmoid"
        ):
            operation = nodes[nodes[left].operands[0]].operation
            operation = {"linear": "identity"}.get(operation, operation)
            return operation if operation in ACTIVATIONS else None
    return None
