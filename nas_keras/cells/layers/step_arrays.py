"""Sequences as the steps of a loop on TensorFlow: arrays of tensors.

T is the number of time steps.
"""

from collections.abc import Sequence

import tensorflow as tf


def empty(
    like: Sequence[tf.Tensor], length: int | tf.Tensor
) -> list[tf.TensorArray]:
    """Returns room for tensors like those of one step, for each step.

    An array for each tensor: those that nothing reads, as the slopes without
    a gradient, are dropped by the compiler. (One array for all, with `concat`
    and `split`, is no faster, and half as fast in XLA's inference; measured.)
    """
    return [
        tf.TensorArray(tensor.dtype, length, element_shape=tensor.shape)
        for tensor in like
    ]


def steps_of(
    sequences: Sequence[tf.Tensor], length: int | tf.Tensor
) -> list[tf.TensorArray]:
    """Returns the steps of sequences [T, ...]."""
    arrays = empty([sequence[0] for sequence in sequences], length)
    return [a.unstack(s) for a, s in zip(arrays, sequences, strict=True)]


def read(arrays: list[tf.TensorArray], time: tf.Tensor) -> list[tf.Tensor]:
    """Returns the tensors of a step."""
    return [array.read(time) for array in arrays]


def write(
    arrays: list[tf.TensorArray], time: tf.Tensor, values: Sequence[tf.Tensor]
) -> list[tf.TensorArray]:
    """Returns the arrays with the tensors of a step."""
    return [a.write(time, v) for a, v in zip(arrays, values, strict=True)]


def stack(arrays: list[tf.TensorArray]) -> list[tf.Tensor]:
    """Returns the sequences [T, ...] of the steps."""
    return [array.stack() for array in arrays]
