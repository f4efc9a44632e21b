"""The macro space of ENAS: layers of one operation, with skip connections.

Layer i reads the layer before it and, as its skip connections say, any of
layers 0 to i-1. Tokens, L + L(L-1)/2 of them, of L layers: op_0 | op_1 b_10 |
op_2 b_20 b_21 | ..., the operation of a layer and one bit for each earlier
layer. In two places the map is halved, before layers L//3 and 2(L//3).
"""

from collections.abc import Sequence
from typing import Any

from nas_keras.convnets.spec import ConvLayer
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.settings import boolean
from nas_keras.settings import setting
from nas_keras.settings import whole
from nas_keras.spaces.space import Choice
from nas_keras.spaces.space import Space
from nas_keras.spaces.structure import Structure
from nas_keras.spaces.structure import even_filters
from nas_keras.spaces.structure import token_of

# Operation and side of its kernel, in the order of their numbers in ENAS.
MACRO_OPERATIONS = (
    ("conv", 3),
    ("separable_conv", 3),
    ("conv", 5),
    ("separable_conv", 5),
    ("average_pool", 3),
    ("max_pool", 3),
)


class EnasMacro(Structure):
    """The macro space of ENAS.

    The tokens do not depend on the filters: what was found with few of them is
    made a larger network by a space of more, with doubling.

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.3; its
        authors' program, github.com/melodyguan/enas, src/cifar10.
    """

    prefix = "enas_macro"
    architecture = ConvNetSpec
    supernet = "nas_keras.supernets.macro:MacroNetwork"
    always_named = 2

    layers: int = setting(
        12,
        "Layers, L. ENAS retrains networks of 24.",
        whole(1, 64),
        source="the search of ENAS",
    )
    filters: int = setting(
        36,
        "Filters of the stem and of all layers before the first halving. ENAS "
        "retrains networks of 96.",
        even_filters(),
        source="the search of ENAS",
    )
    doubling: bool = setting(
        False,
        "Whether each halving of the map doubles the filters: as in the "
        "networks that ENAS retrains, not in those of its search.",
        boolean(),
    )

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
            **self._origin(f"enas_macro{self.layers}", tokens),
        )

    def _tokens_of(self, spec: ConvNetSpec) -> list[int]:
        tokens = []
        for number, layer in enumerate(spec.layers):
            operation = (layer.operation, layer.kernel[0])
            tokens.append(token_of(MACRO_OPERATIONS, operation))
            tokens += [int(k in layer.inputs) for k in range(number)]
        return tokens


def enas_macro_space(*arguments: Any, **fields: Any) -> Space:
    """Returns the macro space of ENAS: `EnasMacro(...).make()`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> space = enas_macro_space(12)
    >>> len(space.choices), space.size == 6**12 * 2**66
    (78, True)
    """
    return EnasMacro(*arguments, **fields).make()
