"""A step of a cell of an ENAS recurrent space, its tokens as data.

The program is the same for all architectures. A node selects what it reads
among the nodes before it, and its activation is one of

    a * tanh(b * z) + d        max(z, low)

with constants for each node. The gradient is written out.

What makes it fast, each measured:

* Nodes are selected among tensors. XLA copies an array that is written and
  read at indices that are data, and that is 5 times as slow in all.
* A division, though by one, is an operation that XLA takes for expensive. It
  therefore keeps the quotient instead of computing it for each of its users.

Axes: B batch, H units, n nodes after node 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nas_keras.spaces.enas_recurrent import ACTIVATIONS
from nas_keras.spaces.enas_recurrent import RecurrentDag
from nas_keras.supernets.token_rnn import masked

# Activation -> (is_linear, low, a, b, d) of the formulas above.
_CONSTANTS = {
    "tanh": (False, 0.0, 1.0, 1.0, 0.0),
    "sigmoid": (False, 0.0, 0.5, 0.5, 0.5),
    "relu": (True, 0.0, 0.0, 0.0, 0.0),
    "identity": (True, -np.inf, 0.0, 0.0, 0.0),
}
_TANH = ACTIVATIONS.index("tanh")


class Architecture(NamedTuple):
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
    def of_tokens(cls, dag: RecurrentDag, tokens: tf.Tensor) -> "Architecture":
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


def forward_step(
    arch: Architecture,
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


def backward_step(
    arch: Architecture,
    transposed: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    operands: Sequence[tf.Tensor],
    products: Sequence[tf.Tensor],
    d_h: tf.Tensor,
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Runs the nodes backward.

    Args:
        arch: See `forward_step`; also `mask`.
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
