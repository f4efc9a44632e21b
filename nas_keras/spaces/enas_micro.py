"""The micro space of ENAS: two cells of nodes, of which networks are stacked.

Nodes 0 and 1 of a cell are the outputs of the two cells before it; a further
node is the sum of two operations, each on an earlier node. Tokens: (input,
input, operation, operation) of nodes 2, 3, ... of the normal cell, then those
of the reduction cell, in the order in which ENAS' program samples them. The
arcs that it prints have each operation behind its input instead.
"""

from collections.abc import Sequence
from typing import Any

from nas_keras.convnets.spec import MICRO_OPERATIONS
from nas_keras.convnets.spec import ConvNode
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.settings import setting
from nas_keras.settings import whole
from nas_keras.spaces.space import Choice
from nas_keras.spaces.space import Space
from nas_keras.spaces.structure import Structure
from nas_keras.spaces.structure import even_filters
from nas_keras.spaces.structure import token_of

_CELLS = ("normal", "reduction")
# Of nodes 0 and 1 nothing is chosen: a policy learns a vector for each.
_INPUT_ANCHORS = (-2, -3)


class EnasMicro(Structure):
    """The micro space of ENAS.

    The tokens do not depend on cells and filters: what was found with few is
    made a larger network by a space of more.

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.4; its
        authors' program, github.com/melodyguan/enas, src/cifar10.
    """

    prefix = "enas_micro"
    architecture = MicroNetSpec
    supernet = "nas_keras.supernets.micro:MicroNetwork"
    always_named = 3

    nodes: int = setting(
        5,
        "Nodes of a cell after nodes 0 and 1, B - 2 in the paper.",
        whole(1, 32),
        source="ENAS",
    )
    cells: int = setting(
        6,
        "Normal cells of a network, beside two reduction cells. ENAS retrains "
        "networks of 15.",
        whole(1, 100),
        source="the search of ENAS",
    )
    filters: int = setting(
        20,
        "Filters of the first cells. ENAS retrains networks of 36.",
        even_filters(),
        source="the search of ENAS",
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
            **self._origin(f"enas_micro{self.nodes}", tokens),
        )

    def _tokens_of(self, spec: MicroNetSpec) -> list[int]:
        """Returns the tokens, branches in the order of the spec."""
        tokens: list[int] = []
        for node in (*spec.normal, *spec.reduction):
            tokens += node.inputs
            tokens += [token_of(MICRO_OPERATIONS, k) for k in node.operations]
        return tokens


def enas_micro_space(*arguments: Any, **fields: Any) -> Space:
    """Returns the micro space of ENAS: `EnasMicro(...).make()`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> space = enas_micro_space(5)
    >>> len(space.choices), space.size == (5**5 * 720) ** 4
    (40, True)
    """
    return EnasMicro(*arguments, **fields).make()
