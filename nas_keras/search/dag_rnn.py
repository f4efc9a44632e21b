"""`DagRNN`: every cell of an ENAS recurrent space as one layer.

The tokens are data: the program is the same for all architectures, so it is
compiled once. A node selects what it reads among the nodes before it, and its
activation is one of

    a * tanh(b * z) + d        max(z, low)

with constants for each node. The gradient is written out; its loop carries
`dh` alone, and the weights' gradients are one product for each node after it.

What makes it fast, each measured:

* The matrices of the nodes are gathered once a call, not once a step.
* XLA compiles the loops, also where it does not compile what is around them;
  the products over all steps are faster outside.
* Nodes are selected among tensors. XLA copies an array that is written and
  read at indices that are data, and that is 5 times as slow in all.
* A division, though by one, is an operation that XLA takes for expensive. It
  therefore keeps the quotient instead of computing it for each of its users.

Axes: B batch, T time steps, D input width, H units, V rows of a table, n nodes
after node 0.
"""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from nas_keras.spaces.enas_recurrent import ACTIVATIONS
from nas_keras.spaces.enas_recurrent import RecurrentDag

# Activation -> (is_linear, low, a, b, d) of the formulas above.
_CONSTANTS = {
    "tanh": (False, 0.0, 1.0, 1.0, 0.0),
    "sigmoid": (False, 0.0, 0.5, 0.5, 0.5),
    "relu": (True, 0.0, 0.0, 0.0, 0.0),
    "identity": (True, -np.inf, 0.0, 0.0, 0.0),
}
_TANH = ACTIVATIONS.index("tanh")
# As of `NASRNN`: where XLA's loops are the faster ones.
_MAX_XLA_UNITS = 512


class DagRNN(keras.layers.Layer):
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

    It can be differentiated once.

    Args:
        units: H.
        dag: The space's `RecurrentDag`.
        shared: Whether architectures share matrices, to train them together;
            else there are those of one architecture.
        recurrent_dropout: Fraction dropped of h, and of what the nodes read,
            where they enter matrices, by one mask a sequence.
        seed: Int, of the dropout masks.

    Attributes:
        tokens: Variable int32 [2n]; assign it to choose the cell.
        takes_indices: That a call may have `indices`.

    Call arguments:
        sequence: float32 [B, T, D]; or, with `indices`, a table [V, D].
        initial_state: `[h]`, [B, H].
        training: Whether dropout applies.
        indices: int32 [B, T]: the input is `sequence[indices]`. The table is
            multiplied by `kernel`, not the input, which saves most of the
            three products where V is much less than B * T.

    Returns:
        Outputs [B, T, H], last h [B, H].

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.1.
    """

    takes_indices = True

    def __init__(
        self,
        units: int,
        dag: RecurrentDag,
        shared: bool,
        recurrent_dropout: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.units = units
        self.dag = dag
        self.shared = shared
        self.recurrent_dropout = recurrent_dropout
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.state_size = [units]

    def build(self, input_shape: Any) -> None:
        nodes, width = self.dag.nodes, 2 * self.units
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], width)
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, width)
        )
        num_kernels = nodes
        if self.shared:
            num_kernels = nodes * (nodes + 1) // 2 * len(ACTIVATIONS)
        self.node_kernels = self.add_weight(
            name="node_kernels", shape=(num_kernels, self.units, width)
        )
        self.tokens = self.add_weight(
            name="tokens",
            shape=(2 * nodes,),
            dtype="int32",
            initializer="zeros",
            trainable=False,
        )
        self.built = True

    def call(self, sequence, initial_state, training=False, indices=None):
        kernel = tf.convert_to_tensor(self.kernel)
        (h,) = initial_state
        if indices is None:
            # Not einsum, whose gradient XLA runs 4 times as slowly.
            sequence = tf.transpose(sequence, [1, 0, 2])
            products = tf.tensordot(sequence, kernel, axes=1)
        else:
            products = tf.gather(sequence @ kernel, tf.transpose(indices))
        mask = None
        if training and self.recurrent_dropout:
            mask = keras.random.dropout(
                tf.ones_like(h),
                self.recurrent_dropout,
                seed=self.seed_generator,
            )
        tokens = tf.convert_to_tensor(self.tokens)
        kernels = tf.convert_to_tensor(self.node_kernels)
        if self.shared:
            # Outside the custom gradient, so that it is sparse.
            kernels = tf.gather(kernels, self._rows(tokens))
        recurrent = tf.convert_to_tensor(self.recurrent_kernel)
        outputs, h = _recurrence(
            _Architecture.of_tokens(self.dag, tokens),
            products,
            recurrent,
            kernels,
            mask,
            h,
        )
        return tf.transpose(outputs, [1, 0, 2]), h

    def _rows(self, tokens: tf.Tensor) -> tf.Tensor:
        """Returns the rows [n] of `node_kernels` that a cell uses."""
        nodes = np.arange(1, self.dag.nodes + 1)
        pairs = nodes * (nodes - 1) // 2 + tokens[0::2]
        return pairs * len(ACTIVATIONS) + tokens[1::2]


class _Architecture(NamedTuple):
    """The tokens as numbers to multiply and to select with.

    Attributes:
        reads: int32 [n+1], what a node reads; of node 0, -1.
        is_linear: bool [n+1]: see `_CONSTANTS`.
        constants: float32 [n+1, 4], the others of `_CONSTANTS`.
        weights: float32 [n+1], of the mean that is the output.
    """

    reads: tf.Tensor
    is_linear: tf.Tensor
    constants: tf.Tensor
    weights: tf.Tensor

    @classmethod
    def of_tokens(cls, dag: RecurrentDag, tokens: tf.Tensor) -> "_Architecture":
        num_states = dag.nodes + 1
        reads = tf.concat([[-1], tokens[0::2]], axis=0)
        activations = tf.concat([[_TANH], tokens[1::2]], axis=0)
        table = [_CONSTANTS[name] for name in ACTIVATIONS]
        is_linear = tf.constant([row[0] for row in table])
        constants = tf.constant([row[1:] for row in table], tf.float32)
        averaged = tf.range(num_states) > 0
        if dag.average == "loose_ends":
            is_read = tf.equal(reads[:, None], tf.range(num_states))
            averaged &= ~tf.reduce_any(is_read, axis=0)
        weights = tf.cast(averaged, tf.float32)
        return cls(
            reads,
            tf.gather(is_linear, activations),
            tf.gather(constants, activations),
            weights / tf.reduce_sum(weights),
        )

    def keep(self, value: tf.Tensor) -> tf.Tensor:
        """Returns the value, divided by a one that XLA does not know."""
        return value / tf.where(self.reads[1] < 0, 2.0, 1.0)

    def operand(self, node: int, states: list[tf.Tensor]) -> tf.Tensor:
        """Returns the state that a node reads."""
        found = states[0]
        for number, state in enumerate(states[1:], start=1):
            found = tf.where(self.reads[node] == number, state, found)
        return self.keep(found)

    def d_state(
        self, node: int, d_h: tf.Tensor, d_operands: dict[int, tf.Tensor]
    ) -> tf.Tensor:
        """Returns the gradient of a state by the output and its readers."""
        found = self.weights[node] * d_h
        for reader, d_operand in d_operands.items():
            is_read = self.reads[reader] == node
            found += tf.where(is_read, d_operand, tf.zeros_like(d_operand))
        return self.keep(found)

    def activate(
        self, node: int, products: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns f(c), its derivative, and the gate, of products [B, 2H]."""
        z, gate = tf.split(products, 2, axis=1)
        is_linear = self.is_linear[node]
        low, a, b, d = tf.unstack(self.constants[node])
        tanh = tf.tanh(b * z)
        value = tf.where(is_linear, tf.maximum(z, low), a * tanh + d)
        slope = tf.where(
            is_linear, tf.cast(z > low, z.dtype), a * b * (1 - tanh * tanh)
        )
        return value, slope, 0.5 * tf.tanh(0.5 * gate) + 0.5


def _masked(h: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    return h if mask is None else h * mask


def _arrays(
    num: int, num_steps: int, batch_size: int, width: int
) -> list[tf.TensorArray]:
    """Returns room for [B, width] of each step, `num` times."""
    shape = [batch_size, width]
    return [
        tf.TensorArray(tf.float32, num_steps, element_shape=shape)
        for _ in range(num)
    ]


def _forward(arch, products, recurrent, kernels, mask, h):
    """Runs the cell over time. For the arguments see `_recurrence`.

    Returns:
        All h [T, B, H]; the last; the operands of nodes 1 to n, [T, B, H]
        each; the products of nodes 0 to n, [T, B, 2H] each.
    """
    num_steps, batch_size, width = products.shape
    matrices = tf.unstack(kernels)
    num_nodes = len(matrices)

    def step(t, h, hs, operand_arrays, product_arrays):
        operand = h
        states: list[Any] = []
        found = []
        product = products[t] + _masked(h, mask) @ recurrent
        for node in range(num_nodes + 1):
            if node:
                operand = arch.operand(node, states)
                product = _masked(operand, mask) @ matrices[node - 1]
            value, _, gate = arch.activate(node, product)
            state = operand + gate * (value - operand)
            states.append(arch.keep(state))
            found.append((operand, product))
        h = tf.add_n([arch.weights[k] * s for k, s in enumerate(states) if k])
        operand_arrays = [
            array.write(t, operand)
            for array, (operand, _) in zip(
                operand_arrays, found[1:], strict=True
            )
        ]
        product_arrays = [
            array.write(t, product)
            for array, (_, product) in zip(product_arrays, found, strict=True)
        ]
        return t + 1, h, hs.write(t, h), operand_arrays, product_arrays

    def arrays(num, width):
        return _arrays(num, num_steps, batch_size, width)

    _, last_h, hs, operand_arrays, product_arrays = tf.while_loop(
        lambda t, *_: t < num_steps,
        step,
        (
            0,
            h,
            *arrays(1, width // 2),
            arrays(num_nodes, width // 2),
            arrays(num_nodes + 1, width),
        ),
        maximum_iterations=num_steps,
    )
    operands = [array.stack() for array in operand_arrays]
    return hs.stack(), last_h, operands, [a.stack() for a in product_arrays]


def _backward(arch, recurrent, kernels, mask, operands, products, d_hs, d_h):
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

    def step(t, d_h, arrays):
        d_h += d_hs[t]
        d_operands: dict[int, Any] = {}
        found: list[Any] = []
        for node in range(len(products) - 1, -1, -1):
            operand = operands[node][t]
            d_state = arch.d_state(node, d_h, d_operands)
            value, slope, gate = arch.activate(node, products[node][t])
            d_value = d_state * gate
            d_gate = d_state * (value - operand) * gate * (1 - gate)
            d_product = tf.concat([d_value * slope, d_gate], axis=1)
            found.insert(0, d_product)
            through = d_product @ transposed[node]
            through = _masked(through, mask)
            d_operands[node] = arch.keep(d_state - d_value + through)
        arrays = [a.write(t, d) for a, d in zip(arrays, found, strict=True)]
        return t - 1, d_operands[0], arrays

    arrays = _arrays(len(products), num_steps, batch_size, width)
    _, d_h, arrays = tf.while_loop(
        lambda t, *_: t >= 0,
        step,
        (num_steps - 1, d_h, arrays),
        maximum_iterations=num_steps,
    )
    return [array.stack() for array in arrays], d_h


_compiled_forward = tf.function(_forward, jit_compile=True, autograph=False)
_compiled_backward = tf.function(_backward, jit_compile=True, autograph=False)


def _loops(units: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns the loops, compiled unless a call is eager or they are wide."""
    if tf.executing_eagerly() or units > _MAX_XLA_UNITS:
        return _forward, _backward
    return _compiled_forward, _compiled_backward


def _recurrence(arch, products, recurrent, kernels, mask, h):
    """Runs the cell over time.

    Args:
        arch: The `_Architecture`.
        products: x_t W of all steps, [T, B, 2H].
        recurrent: The recurrent kernel, [H, 2H].
        kernels: The matrices of nodes 1 to n, [n, H, 2H].
        mask: Dropout mask, [B, H], or None.
        h: Initial state [B, H].

    Returns:
        All h [T, B, H], last h [B, H].
    """
    forward, backward = _loops(recurrent.shape[0])

    def over_steps(left, right):
        left, right = (tf.reshape(a, [-1, a.shape[-1]]) for a in (left, right))
        return tf.matmul(left, right, transpose_a=True)

    @tf.custom_gradient
    def run(products, recurrent, kernels, h):
        hs, last_h, operands, node_products = forward(
            arch, products, recurrent, kernels, mask, h
        )

        def gradient(d_hs, d_h):
            previous = tf.concat([h[None], hs[:-1]], axis=0)
            d_products, d_first = backward(
                arch,
                recurrent,
                kernels,
                mask,
                [previous, *operands],
                node_products,
                d_hs,
                d_h,
            )
            d_recurrent, *d_kernels = (
                over_steps(_masked(operand, mask), d_product)
                for operand, d_product in zip(
                    [previous, *operands], d_products, strict=True
                )
            )
            d_kernels = tf.stack(d_kernels)
            return d_products[0], d_recurrent, d_kernels, d_first

        return (hs, last_h), gradient

    return run(products, recurrent, kernels, h)
