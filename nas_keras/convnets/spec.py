"""`ConvNetSpec`, `MicroNetSpec`: what an image network is, as a value.

No TensorFlow, no Keras and no weights here: `build.py` makes Keras models of
specs, `files.py` reads and writes them.
"""

import dataclasses
import functools
import hashlib
import json
import math
import numbers
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import ClassVar
from typing import Self

from nas_keras import checks
from nas_keras.checks import checked_int

SCHEMA = 1
MAX_LAYERS = 1000
CONVOLUTIONS = ("conv", "separable_conv")
OPERATIONS = (*CONVOLUTIONS, "average_pool", "max_pool")
WIRINGS = ("concat", "macro", "residual")
# In the order of their numbers in ENAS.
MICRO_OPERATIONS = (
    "separable_conv_3x3",
    "separable_conv_5x5",
    "average_pool_3x3",
    "max_pool_3x3",
    "identity",
)


class NetSpec:
    """What the two kinds of spec share: their forms in JSON, and a hash."""

    kind = ""  # In JSON.
    name: str
    provenance: Mapping[str, Any]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    _parts: dict[str, type] = {}  # Field -> class of the parts it lists.

    def __post_init__(self) -> None:
        checks.check_name(self.name, "network")
        where = f"network {self.name!r}"
        copy = checks.json_copy(self.provenance, f"{where}: provenance")
        object.__setattr__(self, "provenance", copy)
        for field, part in self._parts.items():
            parts = tuple(listed(getattr(self, field), f"{where}: {field}"))
            if not 1 <= len(parts) <= MAX_LAYERS:
                raise ValueError(
                    f"{where}: {field} must be 1 to {MAX_LAYERS}. Received: "
                    f"{len(parts)}."
                )
            for value in parts:
                if not isinstance(value, part):
                    raise ValueError(
                        f"{where}: {field} must be a list of "
                        f"{part.__name__}. Received: {value!r:.80}."
                    )
            object.__setattr__(self, field, parts)
        try:
            self._check()
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def _check(self) -> None:
        """Checks what the fields must be to one another."""

    def sized_by(self, number: int) -> tuple[int, ...]:
        """Returns the layers or cells whose maps size that of one; or none."""
        return (number - 1,) if number else ()

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the architecture: of all but name and provenance."""
        data = self._architecture()
        return hashlib.sha256(
            json.dumps(data, sort_keys=True).encode()
        ).hexdigest()

    def _architecture(self) -> dict[str, Any]:
        data = self.to_dict()
        apart = ("schema", "name", "provenance")
        return {key: data[key] for key in data if key not in apart}

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON-able form that `from_dict` reads."""
        data = {"schema": SCHEMA, "kind": self.kind, **dataclasses.asdict(self)}
        return checks.json_copy(data, self.name)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the spec of a JSON object.

        Raises:
            ValueError: On unknown or missing keys, another schema or kind, or
                a rule that is broken.
        """
        fields = [field.name for field in dataclasses.fields(cls)]
        required = ("schema", "kind", "name", *cls._parts)
        checks.check_keys(data, required, fields, "A network")
        checks.check_schema(data["schema"], SCHEMA)
        one_of([cls.kind], data["kind"], "kind")
        values = {key: data[key] for key in fields if key in data}
        for field, part in cls._parts.items():
            values[field] = [
                _part_from_dict(part, value, f"{field}[{number}]")
                for number, value in enumerate(listed(values[field], field))
            ]
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class ConvLayer:
    """A layer of a `ConvNetSpec`, which says what its parts mean.

    Attributes:
        operation: One of `OPERATIONS`.
        kernel: (height, width) of the window; an int is taken for both.
        stride: (height, width) of a step; an int is taken for both.
        filters: Channels of the output. A convolution has at least 1.
        inputs: Numbers of earlier layers, ascending.

    Raises:
        ValueError: If a rule is broken.
    """

    operation: str
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    filters: int = 0
    inputs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        one_of(OPERATIONS, self.operation, "operation")
        least = 1 if self.operation in CONVOLUTIONS else 0
        checked = {
            "kernel": pair(self.kernel, "kernel"),
            "stride": pair(self.stride, "stride"),
            "filters": checked_int(self.filters, "filters", least),
            "inputs": tuple(
                checked_int(number, "inputs", 0)
                for number in listed(self.inputs, "inputs")
            ),
        }
        for field, value in checked.items():
            object.__setattr__(self, field, value)
        if list(self.inputs) != sorted(set(self.inputs)):
            raise ValueError(
                "inputs must be ascending numbers of layers. Received: "
                f"inputs={list(self.inputs)}."
            )


@dataclasses.dataclass(frozen=True)
class ConvNode:
    """A node of a cell of a `MicroNetSpec`: the sum of two branches.

    Attributes:
        inputs: The nodes that the branches read.
        operations: What the branches compute, of `MICRO_OPERATIONS`.

    Raises:
        ValueError: If a rule is broken.
    """

    inputs: tuple[int, int]
    operations: tuple[str, str]

    def __post_init__(self) -> None:
        for field in ("inputs", "operations"):
            values = tuple(listed(getattr(self, field), field))
            if len(values) != 2:
                raise ValueError(
                    f"{field} must be two, one a branch. Received: "
                    f"{field}={list(values)!r:.80}."
                )
            object.__setattr__(self, field, values)
        inputs = tuple(checked_int(k, "inputs", 0) for k in self.inputs)
        object.__setattr__(self, "inputs", inputs)
        for operation in self.operations:
            one_of(MICRO_OPERATIONS, operation, "operations")

    @property
    def branches(self) -> tuple[tuple[int, str], tuple[int, str]]:
        """(node read, operation) of both branches."""
        first, second = zip(self.inputs, self.operations, strict=True)
        return first, second


@dataclasses.dataclass(frozen=True)
class ConvNetSpec(NetSpec):
    """An image network as a list of layers.

    What a layer's `inputs` mean, and what comes before and after the layers,
    is the wiring's:

    - `"concat"`: a layer reads its inputs, or the image if there are none:
      smaller maps are zero-padded to the largest, then all are concatenated
      by depth. A convolution is followed by batch norm and ReLU. The
      classifier reads, joined in the same way, all layers that no other does.
      [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), section 3.2.
    - `"macro"`: a layer reads the one before it, the first one the stem. It
      has a 1x1 convolution to its filters with batch norm and ReLU, then its
      operation. Its inputs are skip connections: they are concatenated with
      that and brought back to the filters by a 1x1 convolution. Before a
      layer of stride (2, 2) all that it and later ones read is brought to
      half the size and to its filters. The retrained networks of [Pham et al.,
      2018](https://arxiv.org/abs/1802.03268), section 2.3. An input k is
      layer k as the paper has it and its controller means it; the networks
      of the authors' program take it as layer k - 1, and 0 as the stem.
    - `"residual"`: a layer reads the one before it, the first one the image.
      Its inputs are added behind its batch norm and before its ReLU, by way
      of a 1x1 convolution with batch norm where shapes differ. [He et al.,
      2016](https://arxiv.org/abs/1512.03385), section 4.2.

    Pools keep their channels and have `filters` 0, except in `"macro"`.

    Args:
        name: Letters, digits, `_ . -`; at most 100 characters.
        layers: The `ConvLayer`s, numbered from 0.
        wiring: One of `WIRINGS`.
        filters: Channels of the stem of `"macro"`; 0 in the other wirings.
        provenance: Where the network comes from; anything JSON can hold.

    Raises:
        ValueError: If a rule is broken; the message names the layer.

    Example:

    >>> first = ConvLayer("conv", kernel=5, filters=8)
    >>> second = ConvLayer("max_pool", kernel=2, stride=2, inputs=[0])
    >>> ConvNetSpec("small", [first, second]).unread
    (1,)
    """

    name: str
    layers: tuple[ConvLayer, ...]
    wiring: str = "concat"
    filters: int = 0
    provenance: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, hash=False
    )

    kind = "layers"
    _parts = {"layers": ConvLayer}

    def _check(self) -> None:
        one_of(WIRINGS, self.wiring, "wiring")
        is_macro = self.wiring == "macro"
        filters = checked_int(self.filters, "filters", int(is_macro))
        object.__setattr__(self, "filters", filters)
        if filters and not is_macro:
            raise ValueError(
                f"filters must be 0 with wiring={self.wiring!r}, which has no "
                f"stem. Received: filters={filters}."
            )
        for number, layer in enumerate(self.layers):
            where = f"layer {number}: "
            if layer.inputs and layer.inputs[-1] >= number:
                raise ValueError(
                    f"{where}inputs must be numbers of earlier layers. "
                    f"Received: inputs={list(layer.inputs)}."
                )
            if is_macro:
                _check_macro_layer(layer, where)
            elif layer.filters and layer.operation not in CONVOLUTIONS:
                raise ValueError(
                    f"{where}filters must be 0 for a pool with "
                    f"wiring={self.wiring!r}. Received: "
                    f"filters={layer.filters}."
                )

    @property
    def num_layers(self) -> int:
        """How many layers there are, stem and classifier apart."""
        return len(self.layers)

    @property
    def strides(self) -> tuple[tuple[int, int], ...]:
        """The stride of each layer."""
        return tuple(layer.stride for layer in self.layers)

    def sized_by(self, number: int) -> tuple[int, ...]:
        if self.wiring == "concat":  # Smaller maps are padded.
            return self.layers[number].inputs
        return super().sized_by(number)

    @property
    def unread(self) -> tuple[int, ...]:
        """Numbers of the layers that are no other's `inputs`."""
        read = {number for layer in self.layers for number in layer.inputs}
        return tuple(k for k in range(self.num_layers) if k not in read)


@dataclasses.dataclass(frozen=True)
class MicroNetSpec(NetSpec):
    """An image network as a stack of cells of two kinds.

    Nodes 0 and 1 of a cell are the outputs of the cell before the last and of
    the last one; node k, from 2 on, is `normal[k - 2]` or `reduction[k - 2]`
    and reads earlier nodes. A cell's output is its `loose_ends`, concatenated.
    There are `num_cells` normal cells and two reduction cells, which halve
    the map and double the filters.

    Args:
        name: Letters, digits, `_ . -`; at most 100 characters.
        normal: The `ConvNode`s of the normal cells.
        reduction: The `ConvNode`s of the reduction cells.
        num_cells: How many normal cells.
        filters: Channels of a node before the first reduction.
        provenance: Where the network comes from; anything JSON can hold.

    Raises:
        ValueError: If a rule is broken; the message names the node.

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.4;
        what the paper leaves open is as in its authors' program,
        github.com/melodyguan/enas, src/cifar10.
    """

    name: str
    normal: tuple[ConvNode, ...]
    reduction: tuple[ConvNode, ...]
    num_cells: int = 15
    filters: int = 36
    provenance: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, hash=False
    )

    kind = "cells"
    _parts = {"normal": ConvNode, "reduction": ConvNode}

    def _check(self) -> None:
        for field, most in (("num_cells", MAX_LAYERS), ("filters", None)):
            value = checked_int(getattr(self, field), field, 1, most)
            object.__setattr__(self, field, value)
        for field in self._parts:
            for number, node in enumerate(getattr(self, field), 2):
                if max(node.inputs) >= number:
                    raise ValueError(
                        f"{field} node {number}: inputs must be earlier "
                        f"nodes. Received: inputs={list(node.inputs)}."
                    )

    @property
    def num_layers(self) -> int:
        """How many cells there are, reductions included."""
        return self.num_cells + 2

    @property
    def reductions(self) -> tuple[int, int]:
        """Which cells, from 0 on, are reductions."""
        third = self.num_cells // 3
        return third, 2 * third + 1

    @property
    def strides(self) -> tuple[tuple[int, int], ...]:
        """The stride of each cell."""
        return tuple(
            (2, 2) if number in self.reductions else (1, 1)
            for number in range(self.num_layers)
        )

    def _architecture(self) -> dict[str, Any]:
        data = super()._architecture()
        for field in self._parts:  # A sum has no order.
            data[field] = [sorted(n.branches) for n in getattr(self, field)]
        return data


def loose_ends(nodes: Sequence[ConvNode]) -> tuple[int, ...]:
    """Returns the nodes of a cell, 0 and 1 included, that no node reads."""
    read = {number for node in nodes for number in node.inputs}
    return tuple(k for k in range(len(nodes) + 2) if k not in read)


def spec_from_dict(data: Mapping[str, Any]) -> ConvNetSpec | MicroNetSpec:
    """Returns the spec of a JSON object of either kind.

    Raises:
        ValueError: If it is of neither, or not a valid one.
    """
    kinds: dict[str, type[ConvNetSpec] | type[MicroNetSpec]] = {
        cls.kind: cls for cls in (ConvNetSpec, MicroNetSpec)
    }
    kind = checks.checked_object(data, "A network").get("kind")
    one_of(list(kinds), kind, "kind")
    return kinds[data["kind"]].from_dict(data)


def map_sizes(
    spec: ConvNetSpec | MicroNetSpec, image_shape: Sequence[int]
) -> list[tuple[int, int]]:
    """Returns the height and width of the map of each layer or cell.

    Args:
        spec: The network.
        image_shape: H, W, C.

    Raises:
        ValueError: If a stride is longer than the map it is on; the message
            is the place, the stride and the map.
    """
    height, width, _ = image_shape
    image = (height, width)
    sizes: list[tuple[int, int]] = []
    for number, stride in enumerate(spec.strides):
        read = [sizes[k] for k in spec.sized_by(number)] or [image]
        heights, widths = zip(*read, strict=True)
        size = max(heights), max(widths)
        if any(step > side for step, side in zip(stride, size, strict=True)):
            part = spec.kind.removesuffix("s")
            raise ValueError(
                f"{part}_{number} has a stride of {stride} on a map of {size}"
            )
        (height, width), (down, across) = size, stride
        sizes.append((math.ceil(height / down), math.ceil(width / across)))
    return sizes


def listed(value: Any, name: str) -> Sequence[Any]:
    """Returns an argument that must be a list or a tuple."""
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"{name} must be a list. Received: {name}={value!r:.80}."
        )
    return value


def pair(value: Any, name: str) -> tuple[int, int]:
    """Returns (height, width) of an argument: an int for both, or two."""
    if isinstance(value, numbers.Integral):
        value = (value, value)
    if len(listed(value, name)) != 2:
        raise ValueError(
            f"{name} must be an int or (height, width). Received: "
            f"{name}={value!r:.80}."
        )
    height, width = (checked_int(side, name, 1) for side in value)
    return height, width


def one_of(known: Sequence[str], value: Any, name: str) -> None:
    """Raises a `ValueError` if an argument is none of those known."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(
            f"{name} must be one of {list(known)}. Received: "
            f"{name}={value!r:.80}."
        )


def _check_macro_layer(layer: ConvLayer, where: str) -> None:
    if layer.stride not in ((1, 1), (2, 2)):
        raise ValueError(
            f"{where}stride must be (1, 1) or (2, 2) with wiring='macro'. "
            f"Received: stride={layer.stride}."
        )
    step = layer.stride[0]  # A halving has two paths of half the filters.
    if not layer.filters or layer.filters % step:
        raise ValueError(
            f"{where}filters must be a positive multiple of {step} with "
            f"wiring='macro' and stride={layer.stride}. Received: "
            f"filters={layer.filters}."
        )


def _part_from_dict(part: type, data: Any, where: str) -> Any:
    """Returns the dataclass `part` of a JSON object; `where` is in errors."""
    fields = dataclasses.fields(part)
    required = [f.name for f in fields if f.default is dataclasses.MISSING]
    checks.check_keys(data, required, [f.name for f in fields], where)
    try:
        return part(**data)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
