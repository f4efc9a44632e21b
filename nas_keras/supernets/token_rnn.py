"""`TokenRNN`: a recurrent layer whose cell is data, but for the cell.

The program is the same for all architectures of a space, so it is compiled
once. Axes: B batch, T time steps, D input width, H units, V rows of a table.
"""

import abc
from collections.abc import Sequence
from typing import Any
from typing import ClassVar

import keras
import tensorflow as tf

from nas_keras import libraries
from nas_keras.spaces.structure import Structure


class TokenRNN(keras.layers.Layer, abc.ABC):
    """A recurrent layer whose cell is what `tokens` describe.

    A subclass is the layer of a space's structure; all are made in one way.

    Args:
        units: H.
        structure: The space's, which has A choices.
        shared: Whether architectures share weights, to train them together;
            else the weights are those of one architecture at a time.
        recurrent_dropout: Fraction of h dropped where it enters matrices, by
            one mask a sequence.
        seed: Int, of the dropout masks.
        jit_compile: Whether XLA compiles the loops over time where it makes
            them faster; else they are what the caller's program is.

    Attributes:
        num_states: States of the cell, of H units each.
        tokens: Variable int32 [A]; assign it to choose the cell.
        takes_indices: That a call may have `indices`.

    Call arguments:
        sequence: float32 [B, T, D]; or, with `indices`, a table [V, D].
        initial_state: The states, each [B, H].
        training: Whether dropout applies.
        indices: int32 [B, T]: the input is `sequence[indices]`. The table is
            multiplied by `kernel`, not the input, which saves most of the
            three products where V is much less than B * T.

    Returns:
        Outputs [B, T, H], and the last of each state [B, H].

    Raises:
        ValueError: If Keras's backend is not TensorFlow.
    """

    num_states: ClassVar[int]
    takes_indices = True

    def __init__(
        self,
        units: int,
        structure: Structure,
        *,
        shared: bool = False,
        recurrent_dropout: float = 0.0,
        seed: int = 0,
        jit_compile: bool = True,
        **kwargs: Any,
    ):
        libraries.check_tensorflow("where the architecture is data")
        super().__init__(dtype="float32", **kwargs)
        self.units = units
        self.structure = structure
        self.shared = shared
        self.recurrent_dropout = recurrent_dropout
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.jit_compile = jit_compile
        self.state_size = [units] * self.num_states

    @property
    @abc.abstractmethod
    def num_columns(self) -> int:
        """Columns of `kernel` and of `recurrent_kernel`."""

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.num_columns)
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, self.num_columns)
        )
        self.tokens = self.add_weight(
            name="tokens",
            shape=(len(self.structure.choices()),),
            dtype="int32",
            initializer="zeros",
            trainable=False,
        )
        self.built = True

    def call(
        self,
        sequence: tf.Tensor,
        initial_state: Sequence[tf.Tensor],
        training: bool = False,
        indices: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, ...]:
        kernel = tf.convert_to_tensor(self.kernel)
        if indices is None:
            # Not einsum, whose gradient XLA runs 4 times as slowly.
            sequence = tf.transpose(sequence, [1, 0, 2])
            products = tf.tensordot(sequence, kernel, axes=1)
        else:
            products = tf.gather(sequence @ kernel, tf.transpose(indices))
        mask = None
        if training and self.recurrent_dropout:
            mask = keras.random.dropout(
                tf.ones_like(initial_state[0]),
                self.recurrent_dropout,
                seed=self.seed_generator,
            )
        outputs, *states = self.recur(products, mask, initial_state)
        return tf.transpose(outputs, [1, 0, 2]), *states

    @abc.abstractmethod
    def recur(
        self,
        products: tf.Tensor,
        mask: tf.Tensor | None,
        states: Sequence[tf.Tensor],
    ) -> tuple[tf.Tensor, ...]:
        """Runs the cell over time.

        Args:
            products: x_t `kernel` of all steps, [T, B, columns].
            mask: Dropout mask of h, [B, H], or None.
            states: The initial ones, each [B, H].

        Returns:
            All h [T, B, H], and the last of each state [B, H].
        """


def masked(h: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """Returns what of h is not dropped."""
    return h if mask is None else h * mask


def over_steps(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Returns left^T right, [K, W], of [T, B, K] and [T, B, W]."""
    left, right = (tf.reshape(a, [-1, a.shape[-1]]) for a in (left, right))
    return tf.matmul(left, right, transpose_a=True)


def array_of_steps(num_steps: int, *shape: int) -> tf.TensorArray:
    """Returns room for a float32 tensor of each step."""
    return tf.TensorArray(
        tf.float32, num_steps, element_shape=shape, clear_after_read=False
    )
