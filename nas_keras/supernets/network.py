"""What the image networks whose architecture is data are made of.

`SharedNetwork` is what they have in common; `Weights` makes their pieces;
`select`, `read` and `added_if` choose by tokens. Batch normalization is by the
statistics of the batch, always: averages over updates would be averages over
architectures. Axes: B images, H height, W width, C channels.
"""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from nas_keras import libraries
from nas_keras.spaces.structure import Structure

_EPSILON = 1e-5  # Of the authors' program, in its micro search.
_POOL = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Norm:
    """The two weights of a batch normalisation, [C] each."""

    scale: Any
    offset: Any

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        empty = tf.zeros([0])
        return tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.convert_to_tensor(self.scale),
            offset=tf.convert_to_tensor(self.offset),
            mean=empty,
            variance=empty,
            epsilon=_EPSILON,
            is_training=True,
        ).y


@dataclasses.dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution of stride 1 that keeps the size, then its norm."""

    kernel: Any  # [k, k, C, filters]
    norm: Norm

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return self.norm(convolve(x, self.kernel))


@dataclasses.dataclass(frozen=True, eq=False)
class SeparableConvolution:
    """One kernel for each channel, a product of the channels, and the norm."""

    depthwise: Any  # [k, k, C, 1]
    pointwise: Any  # [1, 1, C, filters]
    norm: Norm

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        depthwise = tf.convert_to_tensor(self.depthwise)
        x = tf.nn.depthwise_conv2d(x, depthwise, [1, 1, 1, 1], "SAME")
        return self.norm(convolve(x, self.pointwise))

    def row(self, index: int | tf.Tensor) -> "SeparableConvolution":
        """Returns one of a table."""
        row = [
            tf.convert_to_tensor(table)[index]
            for table in (
                self.depthwise,
                self.pointwise,
                self.norm.scale,
                self.norm.offset,
            )
        ]
        return SeparableConvolution(row[0], row[1], Norm(row[2], row[3]))


@dataclasses.dataclass(frozen=True, eq=False)
class Reduction:
    """Halves height and width by two 1x1 convolutions of stride 2.

    The second sees the image shifted by a pixel, so that of every two rows and
    columns each is looked at.
    """

    kernel: Any  # [1, 1, C, filters / 2]
    shifted_kernel: Any
    norm: Norm

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        shifted = tf.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]])[:, 1:, 1:]
        paths = [
            # The pixels first: a strided 1x1 convolution is no product.
            convolve(image[:, ::2, ::2], kernel)
            for image, kernel in (
                (x, self.kernel),
                (shifted, self.shifted_kernel),
            )
        ]
        return self.norm(tf.concat(paths, axis=-1))


class Weights:
    """Makes the pieces, their weights owned by a layer.

    Args:
        layer: The `keras.layers.Layer` that owns them.
        seed: Int; each weight's is its own.
    """

    def __init__(self, layer: keras.layers.Layer, seed: int):
        self._layer = layer
        self._seed = seed
        self._num = 0

    def kernel(
        self, name: str, *shape: int, fan_in: int = 0, rows: int = 0
    ) -> Any:
        """Returns a kernel, normal of variance 2 / fan-in.

        Args:
            name: Of the weight.
            *shape: [..., C, filters].
            fan_in: Values that one output is a sum of; default: of all axes
                but the last.
            rows: If given, so many of them, [rows, ..., C, filters].
        """
        self._num += 1
        scale = math.sqrt(2 / (fan_in or math.prod(shape[:-1])))
        seed = (self._seed * 100_003 + self._num) % 2**31
        return self._layer.add_weight(
            name=f"{name}_kernel",
            shape=(rows, *shape) if rows else shape,
            initializer=keras.initializers.RandomNormal(0.0, scale, seed),
        )

    def norm(self, name: str, *shape: int) -> Norm:
        """Returns the norm of so many channels; or a table of norms."""
        scale, offset = (
            self._layer.add_weight(
                name=f"{name}_{part}", shape=shape, initializer=initializer
            )
            for part, initializer in (("scale", "ones"), ("offset", "zeros"))
        )
        return Norm(scale, offset)

    def convolution(
        self, name: str, size: int, channels: int, filters: int
    ) -> Convolution:
        """Returns one of a square kernel."""
        kernel = self.kernel(name, size, size, channels, filters)
        return Convolution(kernel, self.norm(name, filters))

    def separable(
        self, name: str, size: int, channels: int, filters: int, rows: int = 0
    ) -> SeparableConvolution:
        """Returns one; or, with `rows`, a table of them."""
        depthwise = self.kernel(
            f"{name}_depthwise",
            *(size, size, channels, 1),
            fan_in=size * size,
            rows=rows,
        )
        pointwise = self.kernel(
            f"{name}_pointwise", 1, 1, channels, filters, rows=rows
        )
        norm = self.norm(name, *([rows] if rows else []), filters)
        return SeparableConvolution(depthwise, pointwise, norm)

    def reduction(self, name: str, channels: int, filters: int) -> Reduction:
        """Returns one that brings the channels to so many filters."""
        half = filters // 2
        return Reduction(
            self.kernel(name, 1, 1, channels, half),
            self.kernel(f"{name}_shifted", 1, 1, channels, filters - half),
            self.norm(name, filters),
        )


class SharedNetwork(keras.layers.Layer, abc.ABC):
    """A classifier of images, its architecture in the tokens it is called with.

    Args:
        structure: The space's.
        num_classes: Logits.
        dropout: Fraction dropped of what the logits are computed from.
        seed: Int, of the weights and the dropout.

    Raises:
        ValueError: If Keras's backend is not TensorFlow.
    """

    def __init__(
        self,
        structure: Structure,
        num_classes: int,
        dropout: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        libraries.check_tensorflow("where the architecture is data")
        super().__init__(dtype="float32", **kwargs)
        self.structure = structure
        self.num_classes = num_classes
        self.seed = seed
        self.dropout = keras.layers.Dropout(dropout, seed=seed)

    @abc.abstractmethod
    def call(
        self,
        images: tf.Tensor,
        tokens: Sequence[int] | tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """Returns the logits [B, num_classes]."""

    def build_head(self, weights: Weights, channels: int) -> None:
        """Makes the weights of the logits, the last ones."""
        self._head = weights.kernel("head", channels, self.num_classes)
        self.built = True

    def logits(self, features: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns the logits of features [B, C]."""
        features = self.dropout(features, training=training)
        return tf.matmul(features, tf.convert_to_tensor(self._head))


def convolve(x: tf.Tensor, kernel: Any) -> tf.Tensor:
    """Returns the convolution of stride 1, of the size of `x`."""
    return tf.nn.conv2d(x, tf.convert_to_tensor(kernel), 1, "SAME")


def average_pool(x: tf.Tensor) -> tf.Tensor:
    """Returns the mean of each pixel and its neighbours in the image."""
    return tf.nn.avg_pool2d(x, _POOL, 1, "SAME")


def max_pool(x: tf.Tensor) -> tf.Tensor:
    """Returns the largest of each pixel and its neighbours."""
    return tf.nn.max_pool2d(x, _POOL, 1, "SAME")


def select(
    index: int | tf.Tensor, branches: Sequence[Callable[[], tf.Tensor]]
) -> tf.Tensor:
    """Returns what the branch of that index returns; no other is run.

    Args:
        index: A tensor, or an int: then the others are not even compiled.
        branches: At least one.
    """
    if isinstance(index, int):
        return branches[index]()
    return tf.switch_case(index, list(branches))


# A gradient by what is not chosen would be zeros of a map's size, written and
# added. So what is chosen from is handed on, to whoever uses it next, and its
# gradient comes back through here: only that of the chosen one is added to.


def read(
    index: int | tf.Tensor, maps: Sequence[tf.Tensor]
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Returns the map of that index; and the maps, for all later uses."""
    if isinstance(index, int):
        return maps[index], list(maps)

    @tf.custom_gradient
    def chosen(*maps: tf.Tensor) -> Any:
        def gradient(
            d_chosen: tf.Tensor, *d_maps: tf.Tensor
        ) -> list[tf.Tensor]:
            def added_to(place: int) -> list[tf.Tensor]:
                return [
                    d_map + d_chosen if place == k else d_map
                    for k, d_map in enumerate(d_maps)
                ]

            return tf.switch_case(
                index,
                [functools.partial(added_to, k) for k in range(len(maps))],
            )

        one = tf.switch_case(index, [lambda x=x: x for x in maps])
        return (tf.ensure_shape(one, maps[0].shape), *maps), gradient

    one, *others = chosen(*maps)
    return one, others


def added_if(
    link: int | tf.Tensor, x: tf.Tensor, other: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns `x`, plus the other map if so; and the other, for later uses."""
    if isinstance(link, int):
        return (x + other if link else x), other

    @tf.custom_gradient
    def added(x: tf.Tensor, other: tf.Tensor) -> Any:
        def gradient(
            d_total: tf.Tensor, d_other: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            d_other = tf.switch_case(
                link, [lambda: d_other, lambda: d_other + d_total]
            )
            return d_total, d_other

        total = tf.switch_case(link, [lambda: x, lambda: x + other])
        return (tf.ensure_shape(total, x.shape), other), gradient

    return added(x, other)
