"""The macro space of ENAS: layers of one operation, with skip connections.

Layer i reads the layer before it and, as its skip connections say, any of
layers 0 to i-1. Tokens, L + L(L-1)/2 of them, of L layers: op_0 | op_1 b_10 |
op_2 b_20 b_21 | ..., the operation of a layer and one bit for each earlier
layer. In two places the map is halved, before layers L//3 and 2(L//3).
"""

import dataclasses
from collections.abc import Sequence

from nas_keras.checks import checked_bool
from nas_keras.convnets.spec import ConvLayer
from nas_keras.convnets.spec import ConvNetSpec
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

# Operation and side of its kernel, in the order of their numbers in ENAS.
MACRO_OPERATIONS = (
    ("conv", 3),
    ("separable_conv", 3),
    ("conv", 5),
    ("separable_conv", 5),
    ("average_pool", 3),
    ("max_pool", 3),
)
_MAX_LAYERS = 64


@dataclasses.dataclass(frozen=True)
class EnasMacro:
    """The shape of a macro space, its decoding and its encoding.

    Attributes:
        layers: L, at least 1.
        filters: Of the stem and of all layers before the first halving, even.
        doubling: Whether each halving of the map doubles the filters: as in
            the networks that ENAS retrains, not in those of its search.

    Raises:
        ValueError: If a rule is broken.
    """

    layers: int = 12
    filters: int = 36
    doubling: bool = False

    def __post_init__(self) -> None:
        set_checked_ints(self, layers=(1, _MAX_LAYERS), filters=(2, MAX_SIZE))
        check_even(self.filters)
        checked_bool(self.doubling, "doubling")

    @property
    def name(self) -> str:
        """How journals call the space."""
        text = f"layers={self.layers}, filters={self.filters}"
        if self.doubling:
            text += ", doubling=True"
        return f"enas_macro({text})"

    @property
    def reductions(self) -> tuple[int, ...]:
        """The layers before which the map is halved."""
        third = self.layers // 3
        return (third, 2 * third) if third else ()

    def choices(self) -> list[Choice]:
        """Returns the decisions in the order of the tokens.

        To the policy a layer is what it remembers of where it chose the
        layer's skip connections; of layer 0, of where it chose the operation.
        """
        operations = tuple(f"{name}_{k}x{k}" for name, k in MACRO_OPERATIONS)
        choices: list[Choice] = []
        last: list[int] = []  # The last choice of each layer.
        for layer in range(self.layers):
            choices.append(Choice(f"layer_{layer}_operation", operations))
            for earlier, place in enumerate(last):
                name = f"layer_{layer}_reads_{earlier}"
                choices.append(Choice(name, (0, 1), link=place))
            last.append(len(choices) - 1)
        return choices

    def decode(self, tokens: Sequence[int]) -> ConvNetSpec:
        """Returns the network of the tokens.

        Reference:
            [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.3.
        """
        layers, begin = [], 0
        filters = self.filters
        for number in range(self.layers):
            operation, *bits = tokens[begin : begin + number + 1]
            begin += number + 1
            name, side = MACRO_OPERATIONS[operation]
            is_reduction = number in self.reductions
            if is_reduction and self.doubling:
                filters *= 2
            stride = (2, 2) if is_reduction else (1, 1)
            inputs = tuple(k for k, bit in enumerate(bits) if bit)
            layers.append(
                ConvLayer(name, (side, side), stride, filters, inputs)
            )
        return ConvNetSpec(
            layers=tuple(layers),
            wiring="macro",
            filters=self.filters,
            **origin(f"enas_macro{self.layers}", self.name, tokens),
        )

    def encode(self, spec: ConvNetSpec) -> list[int]:
        """Returns the tokens of a network.

        Raises:
            ValueError: If it is not in the space.
        """
        check_kind(spec, ConvNetSpec)
        tokens = []
        for number, layer in enumerate(spec.layers):
            operation = (layer.operation, layer.kernel[0])
            tokens.append(token_of(MACRO_OPERATIONS, operation))
            tokens += [int(k in layer.inputs) for k in range(number)]
        check_member(self, spec, tokens)
        return tokens


def enas_macro_space(
    layers: int = 12, filters: int = 36, doubling: bool = False
) -> Space:
    """Returns the macro space of ENAS.

    The tokens do not depend on the filters: what was found with few of them is
    made a larger network by a space of more, with doubling.

    Args:
        layers: L. ENAS: 12 in the search, 24 in the retrained network.
        filters: Of the first layers, even. ENAS: 36 and 96.
        doubling: Whether each halving of the map doubles the filters.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> space = enas_macro_space(12)
    >>> len(space.choices), space.size == 6**12 * 2**66
    (78, True)

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.3; its
        authors' program, github.com/melodyguan/enas, src/cifar10.
    """
    return space_of(EnasMacro(layers, filters, doubling))
