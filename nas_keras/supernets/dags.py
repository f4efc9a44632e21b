"""`DagRNN`: every cell of an ENAS recurrent space as one layer.

The program is the same for all architectures. A node selects what it reads
among the nodes before it, and its activation is one of

    a * tanh(b * z) + d        max(z, low)

with constants for each node. The gradient is written out; its loop carries
`dh` alone, and the weights' gradients are one product for each node after it.

What makes it fast, each measured:

* Nodes are selected among tensors. XLA copies an array that is written and
  read at indices that are data, and that is 5 times as slow in all.
* A division, though by one, is an operation that XLA takes for expensive. It
  therefore keeps the quotient instead of computing it for each of its users.
* The matrices of the nodes are gathered once a call, not once a step.
* XLA compiles the loops, also where it does not compile what is around them;
  the products over all steps are faster outside.

Axes: B batch, T time steps, D input width, H units, n nodes after node 0.
"""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nas_keras.spaces.enas_recurrent import ACTIVATIONS
from nas_keras.spaces.enas_recurrent import RecurrentDag
from nas_keras.supernets.token_rnn import TokenRNN
from nas_keras.supernets.token_rnn import array_of_steps
from nas_keras.supernets.token_rnn import masked
from nas_keras.supernets.token_rnn import over_steps

# As of `NASRNN`: where XLA's loops are the faster ones.
_MAX_XLA_UNITS = 512
# Activation -> (is_linear, low, a, b, d) of the formulas above.
_CONSTANTS = {
    "tanh": (False, 0.0, 1.0, 1.0, 0.0),
    "sigmoid": (False, 0.0, 0.5, 0.5, 0.5),
    "relu": (True, 0.0, 0.0, 0.0, 0.0),
    "identity": (True, -np.inf, 0.0, 0.0, 0.0),
}
_TANH = ACTIVATIONS.index("tanh")


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
        structure: The space's `RecurrentDag`.
        recurrent_dropout: Fraction dropped of h, and of what the nodes read,
            where they enter matrices, by one mask a sequence.
        jit_compile: Whether XLA compiles the loops over time of up to 512
            units; else they are what the caller's program is.
        **kwargs: Further arguments of `TokenRNN`.

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.1.
    """

    num_states = 1
    structure: RecurrentDag

    @property
    def num_columns(self) -> int:
        return 2 * self.units

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        num_kernels = nodes = self.structure.nodes
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
            self.jit_compile and self.units <= _MAX_XLA_UNITS,
            _Architecture.of_tokens(self.structure, tokens),
            products,
            tf.convert_to_tensor(self.recurrent_kernel),
            kernels,
            mask,
            *states,
        )

    def _rows(self, tokens: tf.Tensor) -> tf.Tensor:
        """Returns the rows [n] of `node_kernels` that a cell uses."""
        nodes = np.arange(1, self.structure.nodes + 1)
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
        """Returns what tokens int32 [2n] describe."""
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
        read = states[0]
        for number, state in enumerate(states[1:], start=1):
            read = tf.where(self.reads[node] == number, state, read)
        return self.keep(read)

    def d_state(
        self, node: int, d_h: tf.Tensor, d_operands: dict[int, tf.Tensor]
    ) -> tf.Tensor:
        """Returns the gradient of a state by the output and its readers."""
        d_state = self.weights[node] * d_h
        for reader, d_operand in d_operands.items():
            is_read = self.reads[reader] == node
            d_state += tf.where(is_read, d_operand, tf.zeros_like(d_operand))
        return self.keep(d_state)

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


def _forward_step(
    arch: _Architecture,
    matrices: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    product: tf.Tensor,
    h: tf.Tensor,
) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
    """Runs the nodes one after the other.

    Args:
        arch: The architecture.
        matrices: Of nodes 1 to n, [H, 2H] each.
        mask: Dropout mask, [B, H], or None.
        product: Of node 0, [B, 2H].
        h: [B, H].

    Returns:
        The new h; the operands of nodes 1 to n, [B, H] each; the products of
        nodes 0 to n, [B, 2H] each.
    """
    operand = h
    operands: list[tf.Tensor] = []
    products: list[tf.Tensor] = []
    states: list[tf.Tensor] = []
    for node in range(len(matrices) + 1):
        if node:
            operand = arch.operand(node, states)
            operands.append(operand)
            product = masked(operand, mask) @ matrices[node - 1]
        products.append(product)
        value, _, gate = arch.activate(node, product)
        states.append(arch.keep(operand + gate * (value - operand)))
    h = tf.add_n([arch.weights[k] * s for k, s in enumerate(states) if k])
    return h, operands, products


def _backward_step(
    arch: _Architecture,
    transposed: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    operands: Sequence[tf.Tensor],
    products: Sequence[tf.Tensor],
    d_h: tf.Tensor,
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Runs the nodes backward.

    Args:
        arch: See `_forward_step`; also `mask`.
        transposed: The matrices of nodes 0 to n, transposed, [2H, H] each.
        operands: Of nodes 0 to n, [B, H] each.
        products: Of nodes 0 to n, [B, 2H] each.
        d_h: The gradient of the new h, [B, H].

    Returns:
        The gradients of the products, [B, 2H] each, and of h.
    """
    d_operands: dict[int, tf.Tensor] = {}
    d_products: list[tf.Tensor] = []
    for node in range(len(products) - 1, -1, -1):
        operand = operands[node]
        d_state = arch.d_state(node, d_h, d_operands)
        value, slope, gate = arch.activate(node, products[node])
        d_value = d_state * gate
        d_gate = d_state * (value - operand) * gate * (1 - gate)
        d_product = tf.concat([d_value * slope, d_gate], axis=1)
        d_products.insert(0, d_product)
        through = masked(d_product @ transposed[node], mask)
        d_operands[node] = arch.keep(d_state - d_value + through)
    return d_products, d_operands[0]


def _arrays(
    num: int, num_steps: int, batch_size: int, width: int
) -> list[tf.TensorArray]:
    """Returns room for [B, width] of each step, `num` times."""
    return [array_of_steps(num_steps, batch_size, width) for _ in range(num)]


def _written(
    arrays: Sequence[tf.TensorArray], t: tf.Tensor, values: Sequence[tf.Tensor]
) -> list[tf.TensorArray]:
    """Returns the arrays with a value each at step t."""
    return [a.write(t, value) for a, value in zip(arrays, values, strict=True)]


def _forward(
    arch: _Architecture,
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

    def step(t: Any, h: Any, hs: Any, reads: Any, zs: Any) -> tuple[Any, ...]:
        product = products[t] + masked(h, mask) @ recurrent
        h, operands, of_nodes = _forward_step(arch, matrices, mask, product, h)
        return (
            t + 1,
            h,
            _written(hs, t, [h]),
            _written(reads, t, operands),
            _written(zs, t, of_nodes),
        )

    def arrays(num: int, width: int) -> list[tf.TensorArray]:
        return _arrays(num, num_steps, batch_size, width)

    _, last_h, *saved = tf.while_loop(
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
        [array.stack() for array in those] for those in saved
    )
    return hs, last_h, operands, node_products


def _backward(
    arch: _Architecture,
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
        d_products, d_h = _backward_step(
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


def _recurrence(
    jit_compile: bool,
    arch: _Architecture,
    products: tf.Tensor,
    recurrent: tf.Tensor,
    kernels: tf.Tensor,
    mask: tf.Tensor | None,
    h: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Runs the cell over time.

    Args:
        jit_compile: Whether XLA compiles the loops in a graph.
        arch: The architecture.
        products: x_t W of all steps, [T, B, 2H].
        recurrent: The recurrent kernel, [H, 2H].
        kernels: The matrices of nodes 1 to n, [n, H, 2H].
        mask: Dropout mask, [B, H], or None.
        h: Initial state [B, H].

    Returns:
        All h [T, B, H], last h [B, H].
    """
    forward, backward = _forward, _backward
    if jit_compile and not tf.executing_eagerly():
        forward, backward = _compiled_forward, _compiled_backward

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
