"""The micro space of ENAS: two cells of nodes, of which networks are stacked.

Nodes 0 and 1 of a cell are the outputs of the two cells before it; a further
node is the sum of two operations, each on an earlier node. Tokens: (input,
input, operation, operation) of nodes 2, 3, ... of the normal cell, then those
of the reduction cell, in the order in which ENAS' program samples them. The
arcs that it prints have each operation behind its input instead.
"""

import dataclasses
from collections.abc import Sequence

from nas_keras.convnets.spec import MICRO_OPERATIONS
from nas_keras.convnets.spec import ConvNode
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.spaces.shared import MAX_SIZE
from nas_keras.spaces.shared import check_even
from nas_keras.spaces.shared import check_kind
from nas_keras.spaces.shared import check_member
from nas_keras.spaces.shared import origin
from nas_keras.spaces.shared import set_checked_ints
from nas_keras.spaces.shared import space_of
from nas_keras.spaces.shared import token_of
from nas_keras.spaces.space import Choice
from nas_keras.spaces.space import Space

_CELLS = ("normal", "reduction")
# Of nodes 0 and 1 nothing is chosen: a policy learns a vector for each.
_INPUT_ANCHORS = (-2, -3)
_MAX_NODES = 32
_MAX_CELLS = 100


@dataclasses.dataclass(frozen=True)
class EnasMicro:
    """The shape of a micro space, its decoding and its encoding.

    Attributes:
        nodes: Nodes of a cell after nodes 0 and 1, at least 1.
        cells: Normal cells of a network, at least 1; there are two reduction
            cells besides.
        filters: Of the first cells, even.

    Raises:
        ValueError: If a rule is broken.
    """

    nodes: int = 5
    cells: int = 6
    filters: int = 20

    def __post_init__(self) -> None:
        set_checked_ints(
            self,
            nodes=(1, _MAX_NODES),
            cells=(1, _MAX_CELLS),
            filters=(2, MAX_SIZE),
        )
        check_even(self.filters)

    @property
    def name(self) -> str:
        """How journals call the space."""
        return (
            f"enas_micro(nodes={self.nodes}, cells={self.cells}, "
            f"filters={self.filters})"
        )

    def choices(self) -> list[Choice]:
        """Returns the 8 decisions for each node in the order of the tokens.

        To the policy a node is what it remembers of where it chose the last
        of the node's operations.
        """
        choices: list[Choice] = []
        for cell in _CELLS:
            anchors = list(_INPUT_ANCHORS)
            for node in range(2, 2 + self.nodes):
                name = f"{cell}_{node}"
                for branch in (1, 2):
                    choices.append(
                        Choice(
                            f"{name}_input_{branch}",
                            tuple(range(node)),
                            tuple(anchors),
                        )
                    )
                for branch in (1, 2):
                    choices.append(
                        Choice(f"{name}_operation_{branch}", MICRO_OPERATIONS)
                    )
                anchors.append(len(choices) - 1)
        return choices

    def decode(self, tokens: Sequence[int]) -> MicroNetSpec:
        """Returns the network of the tokens.

        Reference:
            [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.4.
        """
        nodes = []
        for begin in range(0, len(tokens), 4):
            left, right, first, second = tokens[begin : begin + 4]
            operations = (MICRO_OPERATIONS[first], MICRO_OPERATIONS[second])
            nodes.append(ConvNode((left, right), operations))
        return MicroNetSpec(
            normal=tuple(nodes[: self.nodes]),
            reduction=tuple(nodes[self.nodes :]),
            num_cells=self.cells,
            filters=self.filters,
            **origin(f"enas_micro{self.nodes}", self.name, tokens),
        )

    def encode(self, spec: MicroNetSpec) -> list[int]:
        """Returns the tokens of a network, branches in the order of the spec.

        Raises:
            ValueError: If it is not in the space.
        """
        check_kind(spec, MicroNetSpec)
        tokens: list[int] = []
        for node in (*spec.normal, *spec.reduction):
            tokens += node.inputs
            tokens += [token_of(MICRO_OPERATIONS, k) for k in node.operations]
        check_member(self, spec, tokens)
        return tokens


def enas_micro_space(
    nodes: int = 5, cells: int = 6, filters: int = 20
) -> Space:
    """Returns the micro space of ENAS.

    The tokens do not depend on cells and filters: what was found with few is
    made a larger network by a space of more.

    Args:
        nodes: Nodes of a cell after nodes 0 and 1, B - 2 in the paper. ENAS: 5.
        cells: Normal cells of a network. ENAS: 6 in the search, 15 in the
            retrained network.
        filters: Of the first cells, even. ENAS: 20 and 36.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> space = enas_micro_space(5)
    >>> len(space.choices), space.size == (5**5 * 720) ** 4
    (40, True)

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.4; its
        authors' program, github.com/melodyguan/enas, src/cifar10.
    """
    return space_of(EnasMicro(nodes, cells, filters))
