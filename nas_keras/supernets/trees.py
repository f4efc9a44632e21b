"""`TreeRNN`: every cell of a tree space as one layer, its tokens as data.

The gradient is written out; its loop carries `dh, dc` and one product, the
weights' gradients come after it. Values are laid out `[B, nodes, H]`, so that
products are `[T, B, N*H]` and nothing is transposed, not even for the weights'
gradients: under XLA it is faster, as measured.

Axes: B batch, T time steps, D input width, H units, N leaves.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nas_keras.spaces.tree import Tree
from nas_keras.supernets.token_rnn import TokenRNN
from nas_keras.supernets.token_rnn import masked
from nas_keras.supernets.token_rnn import over_steps
from nas_keras.supernets.tree_cell import Architecture
from nas_keras.supernets.tree_cell import backward_step
from nas_keras.supernets.tree_cell import forward_step


class TreeRNN(TokenRNN):
    """A recurrent layer whose cell is the tree that `tokens` describe.

    Its weights and results are those of `NASRNN` with the decoded spec and no
    bias: `kernel [D, N*H]`, `recurrent_kernel [H, N*H]`. That holds of finite
    values: the constants multiply, and 0 * inf is NaN, so a value that
    overflows may turn others into NaN here that are finite there.

    It is called as `TokenRNN` says, with the states `[h, c]`, and has 4N+2
    tokens.

    Args:
        units: H.
        tree: The space's `Tree`.
        recurrent_dropout: Fraction of h dropped where it enters `linear`, by
            one mask a sequence.
        seed: Int, of the dropout masks.
    """

    def __init__(
        self,
        units: int,
        tree: Tree,
        recurrent_dropout: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(
            units,
            num_states=2,
            num_columns=tree.base * units,
            num_tokens=4 * tree.base + 2,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            **kwargs,
        )
        self.tree = tree

    def recur(
        self,
        products: tf.Tensor,
        mask: tf.Tensor | None,
        states: Sequence[tf.Tensor],
    ) -> tuple[tf.Tensor, ...]:
        tokens = tf.convert_to_tensor(self.tokens)
        return _recurrence(
            Architecture.of_tokens(self.tree, tokens),
            products,
            tf.convert_to_tensor(self.recurrent_kernel),
            mask,
            *states,
        )


def _by_node(tensor: tf.Tensor, units: int) -> tf.Tensor:
    """Returns [B, n*H] as [B, n, H]."""
    return tf.reshape(tensor, [-1, tensor.shape[-1] // units, units])


def _flat(tensor: tf.Tensor, units: int) -> tf.Tensor:
    """Returns [B, n, H] as [B, n*H]."""
    return tf.reshape(tensor, [-1, tensor.shape[1] * units])


def _array(num_steps: int, *shape: int) -> tf.TensorArray:
    """Returns room for a tensor of each step."""
    return tf.TensorArray(
        tf.float32, num_steps, element_shape=shape, clear_after_read=False
    )


def _forward(
    arch: Architecture,
    products: tf.Tensor,
    recurrent: tf.Tensor,
    mask: tf.Tensor | None,
    h: tf.Tensor,
    c: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    """Runs the cell over time. For the arguments see `_recurrence`.

    Returns:
        All h [T, B, H]; the last h and c; each step's c before it, [T, B, H],
        and product of h, [T, B, N*H].
    """
    num_steps, batch_size, width = products.shape
    units = recurrent.shape[0]

    def step(t: Any, h: Any, c: Any, hs: Any, cs: Any, ms: Any) -> Any:
        m = masked(h, mask) @ recurrent
        cs, ms = cs.write(t, c), ms.write(t, m)
        inputs = (_by_node(v, units) for v in (products[t], m, c))
        root, new_c, _ = forward_step(arch, *inputs)
        h, c = _flat(root, units), _flat(new_c, units)
        return t + 1, h, c, hs.write(t, h), cs, ms

    arrays = [
        _array(num_steps, batch_size, size) for size in (units, units, width)
    ]
    _, last_h, last_c, hs, cs, ms = tf.while_loop(
        lambda t, *_: t < num_steps,
        step,
        (0, h, c, *arrays),
        maximum_iterations=num_steps,
    )
    return hs.stack(), last_h, last_c, cs.stack(), ms.stack()


def _backward(
    arch: Architecture,
    recurrent: tf.Tensor,
    mask: tf.Tensor | None,
    saved: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
    d_hs: tf.Tensor,
    d_h: tf.Tensor,
    d_c: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    """Runs backward through time.

    Args:
        arch: See `_recurrence`; also `recurrent` and `mask`.
        saved: The products of x and of h, [T, B, N*H], and c, [T, B, H], that
            the steps began with.
        d_hs: The gradient of all h, [T, B, H].
        d_h: The gradient of the last h, [B, H]; also `d_c`.

    Returns:
        The gradients of the products of x and of h, [T, B, N, H], and of the
        first h and c.
    """
    products, ms, cs = saved
    num_steps, batch_size, width = products.shape
    units = recurrent.shape[0]
    transposed = tf.transpose(recurrent)

    def step(t: Any, d_h: Any, d_c: Any, d_xs: Any, d_ms: Any) -> Any:
        inputs = products[t], ms[t], cs[t], d_h + d_hs[t], d_c
        d_x, d_m, d_c = backward_step(
            arch, *(_by_node(v, units) for v in inputs)
        )
        d_xs, d_ms = d_xs.write(t, d_x), d_ms.write(t, d_m)
        # Read back, or XLA computes it anew for the product.
        d_h = masked(_flat(d_ms.read(t), units) @ transposed, mask)
        return t - 1, d_h, _flat(d_c, units), d_xs, d_ms

    arrays = [
        _array(num_steps, batch_size, width // units, units) for _ in range(2)
    ]
    _, d_h, d_c, d_xs, d_ms = tf.while_loop(
        lambda t, *_: t >= 0,
        step,
        (num_steps - 1, d_h, d_c, *arrays),
        maximum_iterations=num_steps,
    )
    return d_xs.stack(), d_ms.stack(), d_h, d_c


def _recurrence(
    arch: Architecture,
    products: tf.Tensor,
    recurrent: tf.Tensor,
    mask: tf.Tensor | None,
    h: tf.Tensor,
    c: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    """Runs the cell over time.

    Args:
        arch: The architecture.
        products: x_t W of all steps, [T, B, N*H].
        recurrent: The recurrent kernel, [H, N*H].
        mask: Dropout mask of h, [B, H], or None.
        h: Initial state [B, H].
        c: Initial state [B, H].

    Returns:
        All h [T, B, H], last h [B, H], last c [B, H].
    """

    @tf.custom_gradient
    def run(
        products: tf.Tensor, recurrent: tf.Tensor, h: tf.Tensor, c: tf.Tensor
    ) -> Any:
        hs, last_h, last_c, cs, ms = _forward(
            arch, products, recurrent, mask, h, c
        )

        def gradient(*d_outputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
            d_xs, d_ms, d_h, d_c = _backward(
                arch, recurrent, mask, (products, ms, cs), *d_outputs
            )
            previous = masked(tf.concat([h[None], hs[:-1]], axis=0), mask)
            d_recurrent = over_steps(
                previous, tf.reshape(d_ms, [-1, recurrent.shape[1]])
            )
            d_products = tf.reshape(d_xs, tf.shape(products))
            return d_products, d_recurrent, d_h, d_c

        return (hs, last_h, last_c), gradient

    return run(products, recurrent, h, c)
