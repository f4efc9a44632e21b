"""The recurrent-cell space of ENAS: a chain of gated nodes that branches.

Node 0 reads x_t and h_{t-1}, with tanh. Each of n further nodes reads one
earlier node and has an activation of its own, behind a highway gate:

    s_i = s_p + sigmoid(s_p W_gate) * (f(s_p W) - s_p)

The output, and the next state, is the mean of the nodes that none reads, the
loose ends, or of all but node 0. Tokens, 2n of them: (node read, activation)
of nodes 1 to n. This is the numbering of the authors' later program,
google-research/enas_lm; DARTS' cells are in the same space.
"""

import dataclasses
from collections.abc import Sequence

from nas_keras.cells.language.graph import Graph
from nas_keras.cells.language.spec import CellSpec
from nas_keras.spaces.shared import name_of
from nas_keras.spaces.shared import origin
from nas_keras.spaces.shared import set_checked_ints
from nas_keras.spaces.shared import space_of
from nas_keras.spaces.space import Choice
from nas_keras.spaces.space import Space

ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")
AVERAGES = ("loose_ends", "all")
_MAX_NODES = 64


@dataclasses.dataclass(frozen=True)
class RecurrentDag:
    """The shape of an ENAS recurrent space, its decoding and its encoding.

    Attributes:
        nodes: n, the nodes after node 0, at least 1.
        average: What the output is the mean of: `"loose_ends"`, the nodes that
            none reads, or `"all"`, nodes 1 to n.

    Raises:
        ValueError: If a rule is broken.
    """

    nodes: int = 8
    average: str = "loose_ends"

    def __post_init__(self) -> None:
        set_checked_ints(self, nodes=(1, _MAX_NODES))
        if self.average not in AVERAGES:
            raise ValueError(
                f"average must be one of {AVERAGES}. Received: "
                f"average={self.average!r}."
            )

    @property
    def name(self) -> str:
        """How journals call the space; says what differs from the paper's."""
        return name_of(self, "enas_recurrent")

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
            **origin(f"enas{self.nodes}", self.name, tokens),
        )

    def encode(self, spec: CellSpec) -> list[int]:
        """Returns the tokens of a cell, its nodes in the order of the spec.

        Raises:
            ValueError: If the cell is not in the space.
        """
        if not isinstance(spec, CellSpec):
            raise ValueError(
                f"The cell must be a CellSpec. Received: {spec!r:.80}."
            )
        tokens = _tokens(spec.graph)
        if (
            len(tokens) != 2 * self.nodes
            or self.decode(tokens).fingerprint != spec.fingerprint
        ):
            raise ValueError(
                f"The cell must be one of {self.name}. Received: "
                f"{spec.name!r}, of which {len(tokens) // 2} nodes after the "
                "first fit."
            )
        return tokens


def enas_recurrent_space(nodes: int = 8, average: str = "loose_ends") -> Space:
    """Returns the recurrent-cell space of ENAS.

    Args:
        nodes: n, the nodes after node 0. The paper's cell, which counts node 0
            among its 12, has 11; DARTS' and the later program's have 8.
        average: `"loose_ends"`, the paper's, or `"all"`, DARTS' and the later
            program's.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> from nas_keras.cells import load_spec
    >>> space = enas_recurrent_space(8, average="all")
    >>> space.encode(load_spec("darts_v2"))
    (0, 2, 1, 1, 1, 1, 1, 3, 2, 0, 5, 2, 3, 0, 5, 1)

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.1;
        its authors' later program, github.com/google-research/google-research,
        folder enas_lm.
    """
    return space_of(RecurrentDag(nodes, average))


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
