"""The convolutional space of Zoph & Le: layers that read any earlier ones.

Tokens of a layer: height and width of its kernel; if there is a choice, height
and width of its stride; its filters; from layer 1 on, one bit for each earlier
layer, whether it is read. A space of more layers begins with the choices of one
of fewer. Pools are not predicted: they stand where the space says.
"""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from nas_keras.convnets.spec import ConvLayer
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.settings import refuse
from nas_keras.settings import setting
from nas_keras.settings import several
from nas_keras.settings import whole
from nas_keras.spaces.space import Choice
from nas_keras.spaces.space import Space
from nas_keras.spaces.structure import MAX_SIZE
from nas_keras.spaces.structure import Structure
from nas_keras.spaces.structure import token_of

_IMAGE = -1  # As a source, beside the numbers of predicted layers.


class _Layer(NamedTuple):
    """What is chosen for a predicted layer.

    Attributes:
        kernel: (height, width); also `stride`.
        filters: Number of filters.
        reads: Earlier predicted layers that it reads; none: it reads the image.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    filters: int
    reads: tuple[int, ...]

    @property
    def sources(self) -> tuple[int, ...]:
        """What it reads, the image included."""
        return self.reads or (_IMAGE,)


class NasConv(Structure):
    """The convolutional space of Zoph & Le.

    Its three searches are the defaults with 15 layers; `strides=(1, 2, 3)`
    with 20; and 13 layers, each predicted one a block of 3, filters 6, 12, 24
    and 36 and two pools. The paper has its pools at layers 13 and 24 of 39;
    `pooling=(4, 8)` puts them behind layers 12 and 24.

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), sections 3.3, 4.1.
    """

    prefix = "nas_conv"
    architecture = ConvNetSpec

    layers: int = setting(
        15, "Predicted layers, L.", whole(2, 64), source="the paper's"
    )
    strides: tuple[int, ...] = setting(
        (1,),
        "Sides of a stride; of a single one nothing is predicted.",
        several(whole(1, MAX_SIZE), least=1, distinct=True),
    )
    pooling: tuple[int, ...] = setting(
        (),
        "Predicted layers after which the map is halved by max pooling.",
        several(whole(1, MAX_SIZE), distinct=True),
    )
    kernels: tuple[int, ...] = setting(
        (1, 3, 5, 7),
        "Sides of a kernel.",
        several(whole(1, MAX_SIZE), least=1, distinct=True),
        source="the paper's",
    )
    filters: tuple[int, ...] = setting(
        (24, 36, 48, 64),
        "Numbers of filters.",
        several(whole(1, MAX_SIZE), least=1, distinct=True),
        source="the paper's",
    )
    block: int = setting(
        1,
        "Layers that each predicted layer stands for: the first reads what is "
        "chosen and has the stride, the others read all before them in the "
        "block, and the last is what other blocks read.",
        whole(1, 8),
    )

    def _check(self) -> None:
        if any(layer >= self.layers for layer in self.pooling):
            rule = f"below layers={self.layers}"
            refuse("pooling", rule, self.pooling)

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

        `_read` says what the tokens choose, and `_built` puts it together: a
        block for each predicted layer; at a pool, whatever a later layer
        reads, the image too, is pooled, and so is what no layer reads and the
        classifier therefore does. A pool of several maps joined is the pools
        of each, joined. `encode` is both, backward: `_unbuilt`, `_written`.

        Example:

        Layer 0 reads the image, layer 1 layer 0, layer 2 layer 0 alone, behind
        the pool. The classifier reads layer 1, pooled, and layer 2.

        >>> space = nas_conv_space(
        ...     3, pooling=(2,), kernels=(3, 5), filters=(8, 16)
        ... )
        >>> tokens = (
        ...     0, 0, 0,  # Layer 0: height 3, width 3, 8 filters.
        ...     1, 0, 1, 1,  # Layer 1: 5, 3, 16; layer 0 is read.
        ...     0, 0, 0, 1, 0,  # Layer 2: 3, 3, 8; read, and not read.
        ... )
        >>> spec = space.decode(tokens)
        >>> for k, layer in enumerate(spec.layers):
        ...     print(k, layer.operation, layer.kernel, layer.inputs)
        0 conv (3, 3) ()
        1 conv (5, 3) (0,)
        2 max_pool (2, 2) (0,)
        3 max_pool (2, 2) (1,)
        4 conv (3, 3) (2,)
        >>> spec.unread, space.encode(spec) == tokens
        ((3, 4), True)

        Reference:
            [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), sections 3.2,
            3.3 and 4.1.
        """
        return ConvNetSpec(
            layers=tuple(self._built(self._read(tokens))),
            **self._origin(f"nas_conv{self.layers}", tokens),
        )

    def _tokens_of(self, spec: ConvNetSpec) -> list[int]:
        return self._written(self._unbuilt(spec.layers))

    def _read(self, tokens: Sequence[int]) -> list[_Layer]:
        """Returns what the tokens choose."""
        left, layers = iter(tokens), []
        for number in range(self.layers):
            height, width, *stride, filters = (
                options[next(left)] for _, options in self._fields()
            )
            down, across = stride or self.strides * 2
            reads = tuple(k for k in range(number) if next(left))
            layers.append(
                _Layer((height, width), (down, across), filters, reads)
            )
        return layers

    def _written(self, layers: Sequence[_Layer]) -> list[int]:
        """Returns the tokens that choose layers, the inverse of `_read`."""
        tokens = []
        for number, layer in enumerate(layers):
            stride = layer.stride if len(self.strides) > 1 else ()
            values = (*layer.kernel, *stride, layer.filters)
            for (_, options), value in zip(self._fields(), values, strict=True):
                tokens.append(token_of(options, value))
            tokens += [int(k in layer.reads) for k in range(number)]
        return tokens

    def _built(self, predicted: Sequence[_Layer]) -> list[ConvLayer]:
        """Returns the layers of a network, blocks and pools."""
        # The last to read each source; the classifier comes after all layers.
        last_reader = dict.fromkeys(range(self.layers), self.layers)
        for number, layer in enumerate(predicted):
            last_reader |= dict.fromkeys(layer.sources, number)
        layers: list[ConvLayer] = []
        # Source -> inputs of a layer that are its map, pooled.
        maps: dict[int, tuple[int, ...]] = {_IMAGE: ()}
        for number, layer in enumerate(predicted):
            inputs = sorted(k for source in layer.sources for k in maps[source])
            layers += self._block(layer, inputs, len(layers))
            maps[number] = (len(layers) - 1,)
            if number + 1 in self.pooling:
                for source in sorted(maps):
                    if last_reader[source] > number:
                        layers.append(
                            ConvLayer(
                                "max_pool", (2, 2), (2, 2), 0, maps[source]
                            )
                        )
                        maps[source] = (len(layers) - 1,)
        return layers

    def _unbuilt(self, layers: Sequence[ConvLayer]) -> list[_Layer]:
        """Returns what layers of a network choose, the inverse of `_built`."""
        predicted: list[_Layer] = []
        sources: list[int] = []  # What the map of each layer is of.
        num_convolutions = 0
        for layer in layers:
            reads = {sources[k] for k in layer.inputs} - {_IMAGE}
            if layer.operation != "conv":  # A pool.
                sources.append(max(reads, default=_IMAGE))
                continue
            number, place = divmod(num_convolutions, self.block)
            sources.append(number)
            num_convolutions += 1
            if place == 0:
                predicted.append(
                    _Layer(
                        layer.kernel,
                        layer.stride,
                        layer.filters,
                        tuple(sorted(reads)),
                    )
                )
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


def nas_conv_space(*arguments: Any, **fields: Any) -> Space:
    """Returns the convolutional space of Zoph & Le: `NasConv(...).make()`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> space = nas_conv_space(15)
    >>> len(space.choices), space.size == 64**15 * 2**105
    (150, True)
    """
    return NasConv(*arguments, **fields).make()
