"""The convolutional space of Zoph & Le: layers that read any earlier ones.

Tokens of a layer: height and width of its kernel; if there is a choice, height
and width of its stride; its filters; from layer 1 on, one bit for each earlier
layer, whether it is read. A space of more layers begins with the choices of one
of fewer. Pools are not predicted: they stand where the space says.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from nas_keras.checks import checked_int
from nas_keras.convnets.spec import ConvLayer
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.spaces.shared import MAX_SIZE
from nas_keras.spaces.shared import check_kind
from nas_keras.spaces.shared import check_member
from nas_keras.spaces.shared import name_of
from nas_keras.spaces.shared import origin
from nas_keras.spaces.shared import set_checked_ints
from nas_keras.spaces.shared import space_of
from nas_keras.spaces.shared import token_of
from nas_keras.spaces.space import Choice
from nas_keras.spaces.space import Space

_MAX_LAYERS = 64
_MAX_BLOCK = 8
_IMAGE = -1  # As a source, beside the numbers of predicted layers.


class _Layer(NamedTuple):
    """What is predicted of a layer."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    filters: int
    reads: tuple[int, ...]

    @property
    def sources(self) -> tuple[int, ...]:
        """What it reads: the image if no layer is chosen."""
        return self.reads or (_IMAGE,)


@dataclasses.dataclass(frozen=True)
class NasConv:
    """The shape of the convolutional space, its decoding and its encoding.

    Attributes:
        layers: L, how many layers are predicted, at least 2.
        strides: Sides of a stride; of a single one nothing is predicted.
        pooling: After how many predicted layers the map is halved by max
            pooling, each in [1, L-1].
        kernels: Sides of a kernel.
        filters: Numbers of filters.
        block: Each predicted layer stands for so many: the first reads what is
            chosen and has the stride, the others read all before them in the
            block, and the last is what other blocks read.

    Raises:
        ValueError: If a rule is broken.
    """

    layers: int = 15
    strides: tuple[int, ...] = (1,)
    pooling: tuple[int, ...] = ()
    kernels: tuple[int, ...] = (1, 3, 5, 7)
    filters: tuple[int, ...] = (24, 36, 48, 64)
    block: int = 1

    def __post_init__(self) -> None:
        set_checked_ints(self, layers=(2, _MAX_LAYERS), block=(1, _MAX_BLOCK))
        for field in ("strides", "pooling", "kernels", "filters"):
            values = getattr(self, field)
            if not isinstance(values, list | tuple):
                raise ValueError(
                    f"{field} must be a tuple. Received: {field}={values!r}."
                )
            is_pooling = field == "pooling"
            most = self.layers - 1 if is_pooling else MAX_SIZE
            values = tuple(
                checked_int(value, f"{field}[{index}]", 1, most)
                for index, value in enumerate(values)
            )
            object.__setattr__(self, field, values)
            least = 0 if is_pooling else 1
            if len(set(values)) < max(len(values), least):
                raise ValueError(
                    f"{field} must be distinct, at least {least}. Received: "
                    f"{field}={values!r}."
                )

    @property
    def name(self) -> str:
        """How journals call the space; says what differs from the paper's."""
        return name_of(self, "nas_conv")

    def choices(self) -> list[Choice]:
        """Returns the decisions in the order of the tokens.

        To the policy a layer is what it remembers of where it chose what the
        layer reads; layer 0, which reads the image, of where it chose the
        filters.
        """
        choices: list[Choice] = []
        last: list[int] = []  # The last choice of each layer.
        for number in range(self.layers):
            for field, options in self._fields():
                choices.append(Choice(f"layer_{number}_{field}", options))
            for earlier, place in enumerate(last):
                name = f"layer_{number}_reads_{earlier}"
                choices.append(Choice(name, (0, 1), link=place))
            last.append(len(choices) - 1)
        return choices

    def _fields(self) -> list[tuple[str, tuple[int, ...]]]:
        """Returns the names and options of a layer's choices but for links."""
        fields = [("height", self.kernels), ("width", self.kernels)]
        if len(self.strides) > 1:
            fields.append(("stride_height", self.strides))
            fields.append(("stride_width", self.strides))
        return [*fields, ("filters", self.filters)]

    def decode(self, tokens: Sequence[int]) -> ConvNetSpec:
        """Returns the network of the tokens.

        At a pool everything that is still read behind it, the image too, is
        pooled, and so is what no layer reads and the classifier therefore
        does: a pool of several maps joined is the pools of each, joined.

        Reference:
            [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), sections 3.2,
            3.3 and 4.1.
        """
        predicted = self._predicted(tokens)
        # The last to read each source; the classifier comes after all layers.
        last_reader = {_IMAGE: -1} | dict.fromkeys(
            range(self.layers), self.layers
        )
        for number, layer in enumerate(predicted):
            last_reader |= dict.fromkeys(layer.sources, number)
        layers: list[ConvLayer] = []
        # Source -> inputs that are its map, pooled.
        holding: dict[int, tuple[int, ...]] = {_IMAGE: ()}
        for number, layer in enumerate(predicted):
            inputs = [k for source in layer.sources for k in holding[source]]
            layers += self._block(layer, sorted(inputs), len(layers))
            holding[number] = (len(layers) - 1,)
            if number + 1 not in self.pooling:
                continue
            for source in sorted(holding):
                if last_reader[source] > number:
                    layers.append(
                        ConvLayer(
                            "max_pool", (2, 2), (2, 2), 0, holding[source]
                        )
                    )
                    holding[source] = (len(layers) - 1,)
        return ConvNetSpec(
            layers=tuple(layers),
            **origin(f"nas_conv{self.layers}", self.name, tokens),
        )

    def _predicted(self, tokens: Sequence[int]) -> list[_Layer]:
        fields, predicted, begin = self._fields(), [], 0
        for number in range(self.layers):
            end = begin + len(fields)
            height, width, *stride, filters = (
                options[token]
                for (_, options), token in zip(
                    fields, tokens[begin:end], strict=True
                )
            )
            bits = tokens[end : end + number]
            reads = tuple(k for k, bit in enumerate(bits) if bit)
            down, across = stride or self.strides * 2
            predicted.append(
                _Layer((height, width), (down, across), filters, reads)
            )
            begin = end + number
        return predicted

    def _block(
        self, layer: _Layer, inputs: Sequence[int], first: int
    ) -> list[ConvLayer]:
        """Returns the layers, numbered from `first`, of a predicted one."""
        kernel, stride, filters, _ = layer
        block = [ConvLayer("conv", kernel, stride, filters, tuple(inputs))]
        for end in range(first + 1, first + self.block):
            before = tuple(range(first, end))
            block.append(ConvLayer("conv", kernel, (1, 1), filters, before))
        return block

    def encode(self, spec: ConvNetSpec) -> list[int]:
        """Returns the tokens of a network.

        Raises:
            ValueError: If it is not in the space.
        """
        check_kind(spec, ConvNetSpec)
        tokens: list[int] = []
        sources: list[int] = []  # Of each layer of the spec.
        convolutions = 0
        for layer in spec.layers:
            read = {sources[k] for k in layer.inputs} - {_IMAGE}
            if layer.operation != "conv":
                sources.append(max(read, default=_IMAGE))
                continue
            number, place = divmod(convolutions, self.block)
            sources.append(number)
            convolutions += 1
            if place == 0:
                stride = layer.stride if len(self.strides) > 1 else ()
                values = (*layer.kernel, *stride, layer.filters)
                tokens += [
                    token_of(options, value)
                    for (_, options), value in zip(
                        self._fields(), values, strict=True
                    )
                ]
                tokens += [int(k in read) for k in range(number)]
        check_member(self, spec, tokens)
        return tokens


def nas_conv_space(
    layers: int = 15,
    strides: tuple[int, ...] = (1,),
    pooling: tuple[int, ...] = (),
    kernels: tuple[int, ...] = (1, 3, 5, 7),
    filters: tuple[int, ...] = (24, 36, 48, 64),
    block: int = 1,
) -> Space:
    """Returns the convolutional space of Zoph & Le.

    Its three searches are the defaults with 15 layers; `strides=(1, 2, 3)`
    with 20; and 13 layers, each predicted one a block of 3, filters 6, 12, 24
    and 36 and two pools. The paper has its pools at layers 13 and 24 of 39;
    `pooling=(4, 8)` puts them behind layers 12 and 24.

    Args:
        layers: L, how many layers are predicted.
        strides: Sides of a stride; of a single one nothing is predicted.
        pooling: After how many predicted layers the map is halved.
        kernels: Sides of a kernel.
        filters: Numbers of filters.
        block: How many densely wired layers each predicted one stands for.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> space = nas_conv_space(15)
    >>> len(space.choices), space.size == 64**15 * 2**105
    (150, True)

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), sections 3.2, 3.3
        and 4.1.
    """
    conv = NasConv(layers, strides, pooling, kernels, filters, block)
    return space_of(conv)
