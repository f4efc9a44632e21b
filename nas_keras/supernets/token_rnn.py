"""`TokenRNN`: a recurrent layer whose cell is data, but for the cell.

The program is the same for all architectures of a space, so it is compiled
once. Axes: B batch, T time steps, D input width, H units, V rows of a table.
"""

import abc
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class TokenRNN(keras.layers.Layer, abc.ABC):
    """A recurrent layer whose cell is what `tokens` describe.

    Args:
        units: H.
        num_states: States of the cell, of H units each.
        num_columns: Of `kernel` and of `recurrent_kernel`.
        num_tokens: A.
        recurrent_dropout: Fraction of h dropped where it enters matrices, by
            one mask a sequence.
        seed: Int, of the dropout masks.

    Attributes:
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
    """

    takes_indices = True

    def __init__(
        self,
        units: int,
        num_states: int,
        num_columns: int,
        num_tokens: int,
        recurrent_dropout: float,
        seed: int,
        **kwargs: Any,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.units = units
        self.num_columns = num_columns
        self.num_tokens = num_tokens
        self.recurrent_dropout = recurrent_dropout
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.state_size = [units] * num_states

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.num_columns)
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, self.num_columns)
        )
        self.tokens = self.add_weight(
            name="tokens",
            shape=(self.num_tokens,),
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
