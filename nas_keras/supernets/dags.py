"""`DagRNN`: every cell of an ENAS recurrent space as one layer.

The gradient is written out; its loop carries `dh` alone, and the weights'
gradients are one product for each node after it.

What makes it fast, each measured, beside what `dag_cell.py` does:

* The matrices of the nodes are gathered once a call, not once a step.
* XLA compiles the loops, also where it does not compile what is around them;
  the products over all steps are faster outside.

Axes: B batch, T time steps, D input width, H units, n nodes after node 0.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nas_keras.spaces.enas_recurrent import ACTIVATIONS
from nas_keras.spaces.enas_recurrent import RecurrentDag
from nas_keras.supernets.dag_cell import Architecture
from nas_keras.supernets.dag_cell import backward_step
from nas_keras.supernets.dag_cell import forward_step
from nas_keras.supernets.token_rnn import TokenRNN
from nas_keras.supernets.token_rnn import masked
from nas_keras.supernets.token_rnn import over_steps

# As of `NASRNN`: where XLA's loops are the faster ones.
_MAX_XLA_UNITS = 512

_Loops = tuple[Callable[..., Any], Callable[..., Any]]


class DagRNN(TokenRNN):
    """A recurrent layer whose cell is the chain of nodes in `tokens`.

    Its results are those of `NASRNN` with the decoded spec and no bias. With
    [c, t] = x kernel + h recurrent_kernel, node 0 is

        s_0 = h + sigmoid(t) * (tanh(c) - h)

    and with [c, t] = s_p W_i, node i, of activation f, that reads node p is

        s_i = s_p + sigmoid(t) * (f(c) - s_p).

    Weights: `kernel [D, 2H]`, `recurrent_kernel [H, 2H]`, and `node_kernels`:

        shared      [n(n+1)/2 * 4, H, 2H], a matrix for each node i, node read
                    p and activation f, in row `(i(i-1)/2 + p) * 4 + f`. The
                    gradient is `tf.IndexedSlices` of the n rows in use.
        not shared  [n, H, 2H], W_i in row i - 1.

    It is called as `TokenRNN` says, with the state `[h]`, and has 2n tokens.
    It can be differentiated once.

    Args:
        units: H.
        dag: The space's `RecurrentDag`.
        shared: Whether architectures share matrices, to train them together;
            else there are those of one architecture.
        recurrent_dropout: Fraction dropped of h, and of what the nodes read,
            where they enter matrices, by one mask a sequence.
        seed: Int, of the dropout masks.
        jit_compile: Whether XLA compiles the loops over time of up to 512
            units; else they are what the caller's program is.

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.1.
    """

    def __init__(
        self,
        units: int,
        dag: RecurrentDag,
        shared: bool,
        recurrent_dropout: float = 0.0,
        seed: int = 0,
        jit_compile: bool = True,
        **kwargs: Any,
    ):
        super().__init__(
            units,
            num_states=1,
            num_columns=2 * units,
            num_tokens=2 * dag.nodes,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            **kwargs,
        )
        self.dag = dag
        self.shared = shared
        self._jit_compile = jit_compile and units <= _MAX_XLA_UNITS

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        num_kernels = nodes = self.dag.nodes
        if self.shared:
            num_kernels = nodes * (nodes + 1) // 2 * len(ACTIVATIONS)
        self.node_kernels = self.add_weight(
            name="node_kernels",
            shape=(num_kernels, self.units, self.num_columns),
        )

    def recur(
        self,
        products: tf.Tensor,
        mask: tf.Tensor | None,
        states: Sequence[tf.Tensor],
    ) -> tuple[tf.Tensor, ...]:
        tokens = tf.convert_to_tensor(self.tokens)
        kernels = tf.convert_to_tensor(self.node_kernels)
        if self.shared:
            # Outside the custom gradient, so that it is sparse.
            kernels = tf.gather(kernels, self._rows(tokens))
        return _recurrence(
            _loops(self._jit_compile),
            Architecture.of_tokens(self.dag, tokens),
            products,
            tf.convert_to_tensor(self.recurrent_kernel),
            kernels,
            mask,
            *states,
        )

    def _rows(self, tokens: tf.Tensor) -> tf.Tensor:
        """Returns the rows [n] of `node_kernels` that a cell uses."""
        nodes = np.arange(1, self.dag.nodes + 1)
        pairs = nodes * (nodes - 1) // 2 + tokens[0::2]
        return pairs * len(ACTIVATIONS) + tokens[1::2]


def _arrays(
    num: int, num_steps: int, batch_size: int, width: int
) -> list[tf.TensorArray]:
    """Returns room for [B, width] of each step, `num` times."""
    shape = [batch_size, width]
    return [
        tf.TensorArray(tf.float32, num_steps, element_shape=shape)
        for _ in range(num)
    ]


def _written(
    arrays: Sequence[tf.TensorArray], t: tf.Tensor, values: Sequence[tf.Tensor]
) -> list[tf.TensorArray]:
    """Returns the arrays with a value each at step t."""
    return [a.write(t, value) for a, value in zip(arrays, values, strict=True)]


def _forward(
    arch: Architecture,
    products: tf.Tensor,
    recurrent: tf.Tensor,
    kernels: tf.Tensor,
    mask: tf.Tensor | None,
    h: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
    """Runs the cell over time. For the arguments see `_recurrence`.

    Returns:
        All h [T, B, H]; the last; the operands of nodes 1 to n, [T, B, H]
        each; the products of nodes 0 to n, [T, B, 2H] each.
    """
    num_steps, batch_size, width = products.shape
    matrices = tf.unstack(kernels)
    num_nodes = len(matrices)

    def step(t: Any, h: Any, *arrays: Any) -> tuple[Any, ...]:
        product = products[t] + masked(h, mask) @ recurrent
        h, *found = forward_step(arch, matrices, mask, product, h)
        written = [
            _written(those, t, values)
            for those, values in zip(arrays, ([h], *found), strict=True)
        ]
        return t + 1, h, *written

    def arrays(num: int, width: int) -> list[tf.TensorArray]:
        return _arrays(num, num_steps, batch_size, width)

    _, last_h, *found = tf.while_loop(
        lambda t, *_: t < num_steps,
        step,
        (
            0,
            h,
            arrays(1, width // 2),
            arrays(num_nodes, width // 2),
            arrays(num_nodes + 1, width),
        ),
        maximum_iterations=num_steps,
    )
    [hs], operands, node_products = (
        [array.stack() for array in those] for those in found
    )
    return hs, last_h, operands, node_products


def _backward(
    arch: Architecture,
    recurrent: tf.Tensor,
    kernels: tf.Tensor,
    mask: tf.Tensor | None,
    operands: Sequence[tf.Tensor],
    products: Sequence[tf.Tensor],
    d_hs: tf.Tensor,
    d_h: tf.Tensor,
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Runs backward through time.

    Args:
        arch: See `_recurrence`; also `recurrent`, `kernels`, `mask`.
        operands: Of nodes 0 to n, [T, B, H] each.
        products: Of nodes 0 to n, [T, B, 2H] each.
        d_hs: The gradient of all h, [T, B, H].
        d_h: The gradient of the last h, [B, H].

    Returns:
        The gradients of the products, [T, B, 2H] each, and of the first h.
    """
    num_steps, batch_size, width = products[0].shape
    transposed = [tf.transpose(m) for m in (recurrent, *tf.unstack(kernels))]

    def step(t: Any, d_h: Any, arrays: Any) -> tuple[Any, ...]:
        d_products, d_h = backward_step(
            arch,
            transposed,
            mask,
            [operand[t] for operand in operands],
            [product[t] for product in products],
            d_h + d_hs[t],
        )
        return t - 1, d_h, _written(arrays, t, d_products)

    _, d_h, arrays = tf.while_loop(
        lambda t, *_: t >= 0,
        step,
        (
            num_steps - 1,
            d_h,
            _arrays(len(products), num_steps, batch_size, width),
        ),
        maximum_iterations=num_steps,
    )
    return [array.stack() for array in arrays], d_h


_compiled_forward = tf.function(_forward, jit_compile=True, autograph=False)
_compiled_backward = tf.function(_backward, jit_compile=True, autograph=False)


def _loops(jit_compile: bool) -> _Loops:
    """Returns the loops, forward and backward."""
    if tf.executing_eagerly() or not jit_compile:
        return _forward, _backward
    return _compiled_forward, _compiled_backward


def _recurrence(
    loops: _Loops,
    arch: Architecture,
    products: tf.Tensor,
    recurrent: tf.Tensor,
    kernels: tf.Tensor,
    mask: tf.Tensor | None,
    h: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Runs the cell over time.

    Args:
        loops: As `_loops` returns them.
        arch: The architecture.
        products: x_t W of all steps, [T, B, 2H].
        recurrent: The recurrent kernel, [H, 2H].
        kernels: The matrices of nodes 1 to n, [n, H, 2H].
        mask: Dropout mask, [B, H], or None.
        h: Initial state [B, H].

    Returns:
        All h [T, B, H], last h [B, H].
    """
    forward, backward = loops

    @tf.custom_gradient
    def run(
        products: tf.Tensor,
        recurrent: tf.Tensor,
        kernels: tf.Tensor,
        h: tf.Tensor,
    ) -> Any:
        hs, last_h, operands, node_products = forward(
            arch, products, recurrent, kernels, mask, h
        )

        def gradient(d_hs: tf.Tensor, d_h: tf.Tensor) -> tuple[tf.Tensor, ...]:
            previous = tf.concat([h[None], hs[:-1]], axis=0)
            read = [previous, *operands]
            d_products, d_first = backward(
                arch, recurrent, kernels, mask, read, node_products, d_hs, d_h
            )
            d_recurrent, *d_kernels = (
                over_steps(masked(operand, mask), d_product)
                for operand, d_product in zip(read, d_products, strict=True)
            )
            return d_products[0], d_recurrent, tf.stack(d_kernels), d_first

        return (hs, last_h), gradient

    return run(products, recurrent, kernels, h)
