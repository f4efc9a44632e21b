"""What networks are built from: a few Keras layers, named and initialised.

Keras only, so that every Keras backend can use it. Maps are [B, height, width,
channels] whatever Keras's own default is.
"""

import zlib
from typing import Any

import keras
import numpy as np

MOMENTUM = 0.9  # Of the averages of batch norm: facts of ENAS's program.
EPSILON = 1e-5  # Of batch norm: the same.
_FORMAT = "channels_last"
_POOLS = {
    "average_pool": keras.layers.AveragePooling2D,
    "max_pool": keras.layers.MaxPooling2D,
}


def size_of(x: Any) -> tuple[int, int]:
    """Returns the (height, width) of a map."""
    return tuple(x.shape[1:3])


def check_stride(x: Any, stride: tuple[int, int], where: str) -> None:
    """Raises a `ValueError` if a stride is longer than the map it is on."""
    size = size_of(x)
    if any(step > side for step, side in zip(stride, size, strict=True)):
        raise ValueError(
            f"{where}: stride must be at most the height and width of the map "
            f"that is read, {size}. Received: stride={stride}."
        )


class Blocks:
    """Applies layers to tensors.

    The first argument of each method is the tensor, the second the name of
    the layer, or what the names of its several layers begin with.

    Args:
        kernel_initializer: Of all kernels; each has a seed of its own.
        seed: Int, of the initializers.
        epsilon: Of batch norm.
    """

    def __init__(
        self, kernel_initializer: Any, seed: int, epsilon: float
    ) -> None:
        self._initializer = keras.initializers.get(kernel_initializer)
        self._seed = seed
        self._epsilon = epsilon

    def _kernel_initializer(self, name: str) -> Any:
        """Returns the initializer of a layer's kernel.

        One with a seed is the same for all kernels of a shape. Each gets a
        seed from its layer's name, so that an auxiliary head, or another
        size, changes nothing in the rest of the network.
        """
        config = self._initializer.get_config()
        if "seed" not in config:
            return self._initializer
        digest = zlib.crc32(name.encode())
        sequence = np.random.SeedSequence((self._seed, digest))
        config["seed"] = int(sequence.generate_state(1)[0]) >> 1
        return self._initializer.from_config(config)

    def conv(
        self,
        x: Any,
        name: str,
        filters: int,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        padding: str = "same",
    ) -> Any:
        """Returns a convolution without a bias: batch norm follows."""
        return keras.layers.Conv2D(
            filters,
            kernel,
            stride,
            padding,
            _FORMAT,
            use_bias=False,
            kernel_initializer=self._kernel_initializer(name),
            name=name,
        )(x)

    def separable_conv(
        self,
        x: Any,
        name: str,
        filters: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
    ) -> Any:
        """Returns a convolution of each channel, then one of kernel 1x1."""
        down, across = stride
        padding = "same"
        if down != across:
            # TensorFlow has no such depthwise convolution on every processor.
            x = self._padded(x, kernel, stride)
            stride, padding = (1, 1), "valid"
        x = keras.layers.DepthwiseConv2D(
            kernel,
            stride,
            padding,
            data_format=_FORMAT,
            use_bias=False,
            depthwise_initializer=self._kernel_initializer(name),
            name=f"{name}_depthwise",
        )(x)
        if padding == "valid":
            x = x[:, ::down, ::across]
        return self.conv(x, f"{name}_pointwise", filters)

    def _padded(
        self, x: Any, kernel: tuple[int, int], stride: tuple[int, int]
    ) -> Any:
        """Returns a map with the zeros around it that "same" puts there."""
        margins = []
        for side, size, step in zip(x.shape[1:3], kernel, stride, strict=True):
            total = max((-(-side // step) - 1) * step + size - side, 0)
            margins.append((total // 2, total - total // 2))
        return keras.layers.ZeroPadding2D(tuple(margins), _FORMAT)(x)

    def norm(self, x: Any, name: str) -> Any:
        """Returns batch norm with a trained scale and offset."""
        return keras.layers.BatchNormalization(
            momentum=MOMENTUM, epsilon=self._epsilon, name=name
        )(x)

    def relu(self, x: Any, name: str) -> Any:
        """Returns what is positive."""
        return keras.layers.ReLU(name=name)(x)

    def pool(
        self,
        x: Any,
        name: str,
        operation: str,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        padding: str = "same",
    ) -> Any:
        """Returns the average or the highest, of what is inside the map."""
        return _POOLS[operation](
            kernel, stride, padding, data_format=_FORMAT, name=name
        )(x)

    def relu_conv_norm(
        self,
        x: Any,
        name: str,
        filters: int,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        is_separable: bool = False,
    ) -> Any:
        """Returns ReLU, a convolution, and batch norm, in this order."""
        x = self.relu(x, f"{name}_relu")
        conv = self.separable_conv if is_separable else self.conv
        x = conv(x, f"{name}_conv", filters, kernel, stride)
        return self.norm(x, f"{name}_norm")

    def halved(self, x: Any, name: str, filters: int) -> Any:
        """Returns a map of half the height and width, by two paths.

        Each path takes every other pixel of every other row, the second one
        those that the first leaves out on the diagonal, to half the filters.
        """
        odd = keras.layers.ZeroPadding2D(
            ((0, 1), (0, 1)), _FORMAT, name=f"{name}_pad"
        )(x)
        odd = keras.layers.Cropping2D(
            ((1, 0), (1, 0)), _FORMAT, name=f"{name}_shift"
        )(odd)
        paths = [
            self.conv(x, f"{name}_even", filters // 2, stride=(2, 2)),
            self.conv(odd, f"{name}_odd", filters // 2, stride=(2, 2)),
        ]
        return self.norm(self.joined(paths, f"{name}_join"), f"{name}_norm")

    def joined(self, maps: list[Any], name: str) -> Any:
        """Returns maps of one size concatenated by depth; one, as it is."""
        if len(maps) == 1:
            return maps[0]
        return keras.layers.Concatenate(name=name)(maps)

    def padded(self, x: Any, name: str, size: tuple[int, int]) -> Any:
        """Returns a map in the middle of zeros; an odd one goes behind."""
        missing = [
            want - has for want, has in zip(size, size_of(x), strict=True)
        ]
        if not any(missing):
            return x
        margins = tuple((m // 2, m - m // 2) for m in missing)
        return keras.layers.ZeroPadding2D(margins, _FORMAT, name=name)(x)

    def added(self, maps: list[Any], name: str) -> Any:
        """Returns the sum of maps of one shape."""
        return keras.layers.Add(name=name)(maps)

    def averaged(self, x: Any, name: str) -> Any:
        """Returns [B, channels], the averages of the map."""
        return keras.layers.GlobalAveragePooling2D(_FORMAT, name=name)(x)

    def dense(self, x: Any, name: str, units: int, use_bias: bool) -> Any:
        """Returns logits; in 32 bits where Keras computes in 16."""
        return keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=self._kernel_initializer(name),
            dtype=keras.config.dtype_policy().variable_dtype,
            name=name,
        )(x)
