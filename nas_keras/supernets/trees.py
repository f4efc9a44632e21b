"""`TreeRNN`: every cell of a tree space as one layer, its tokens as data.

The program is the same for all architectures:
`identity, tanh, sigmoid, relu, sin` are all

    (a * tanh(b * z) + d + e * relu(z) + f * z + g * sin(z)) / s

with constants for each node, and a combination is a select. A level of the
tree is one wide elementwise operation. The gradient is written out; its loop
carries `dh, dc` and one product, the weights' gradients come after it.

What makes it fast, each measured:

* The division by `s`, though exact, is an operation that XLA takes for
  expensive. It therefore keeps the quotient; without it, it computes a level
  anew for each of its users, 4 times as slow in all.
* Values are laid out [B, nodes, H], so that products are [T, B, N*H] and
  nothing is transposed, not even for the weights' gradients.

Axes: B batch, T time steps, D input width, H units, N leaves, M = 2N-1 nodes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nas_keras.spaces.tree import Tree
from nas_keras.supernets.token_rnn import TokenRNN
from nas_keras.supernets.token_rnn import array_of_steps
from nas_keras.supernets.token_rnn import masked
from nas_keras.supernets.token_rnn import over_steps

# Activation -> (a, b, d, e, f, g, s) of the formula above.
_CONSTANTS = {
    "identity": (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0),
    "tanh": (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    "sigmoid": (1.0, 0.5, 1.0, 0.0, 0.0, 0.0, 2.0),
    "relu": (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0),
    "sin": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0),
}


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
        structure: The space's `Tree`.
        shared: Without effect: all trees have the same matrices.
        jit_compile: Without effect: the loops are what the caller's program is.
        **kwargs: Further arguments of `TokenRNN`.
    """

    num_states = 2
    structure: Tree

    @property
    def num_columns(self) -> int:
        return self.structure.base * self.units

    def recur(
        self,
        products: tf.Tensor,
        mask: tf.Tensor | None,
        states: Sequence[tf.Tensor],
    ) -> tuple[tf.Tensor, ...]:
        tokens = tf.convert_to_tensor(self.tokens)
        return _recurrence(
            _Architecture.of_tokens(self.structure, tokens),
            products,
            tf.convert_to_tensor(self.recurrent_kernel),
            mask,
            *states,
        )


@dataclasses.dataclass(frozen=True)
class _Nodes:
    """What some nodes do: columns [n, 1] for n of them, scalars for one.

    Attributes:
        tree: The structure of the space.
        is_mul: bool, whether the node multiplies; also `is_max`.
        constants: The seven of `_CONSTANTS`.
    """

    tree: Tree
    is_mul: tf.Tensor
    is_max: tf.Tensor
    constants: Sequence[tf.Tensor]

    def take(self, rows: Any) -> "_Nodes":
        """Returns the nodes at `rows`."""
        return _Nodes(
            self.tree,
            self.is_mul[rows],
            self.is_max[rows],
            [column[rows] for column in self.constants],
        )

    def combine(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """Returns z."""
        value = tf.where(self.is_mul, left * right, left + right)
        if "max" in self.tree.combines:
            value = tf.where(self.is_max, tf.maximum(left, right), value)
        return value

    def combine_vjp(
        self, left: tf.Tensor, right: tf.Tensor, d_value: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the gradients of `left` and `right`."""
        is_mul, is_max = self.is_mul, self.is_max
        d_left = tf.where(is_mul, d_value * right, d_value)
        d_right = tf.where(is_mul, d_value * left, d_value)
        if "max" in self.tree.combines:
            zero, is_left = tf.zeros_like(d_value), left >= right
            d_left = tf.where(is_max, tf.where(is_left, d_value, zero), d_left)
            d_right = tf.where(
                is_max, tf.where(is_left, zero, d_value), d_right
            )
        return d_left, d_right

    def tanh(self, z: tf.Tensor) -> tf.Tensor:
        """Returns tanh(b * z), the one tanh of each node."""
        return tf.tanh(self.constants[1] * z)

    def activate(self, z: tf.Tensor, tanh: tf.Tensor) -> tf.Tensor:
        """Returns the activation of z."""
        a, _, d, e, f, g, s = self.constants
        value = a * tanh + d + e * tf.nn.relu(z) + f * z
        if "sin" in self.tree.activations:
            value += g * tf.sin(z)
        return value / s

    def activate_vjp(
        self, z: tf.Tensor, tanh: tf.Tensor, d_value: tf.Tensor
    ) -> tf.Tensor:
        """Returns the gradient of z."""
        a, b, _, e, f, g, s = self.constants
        slope = a * b * (1 - tanh * tanh) + e * tf.cast(z > 0, z.dtype) + f
        if "sin" in self.tree.activations:
            slope += g * tf.cos(z)
        return d_value * slope / s


@dataclasses.dataclass(frozen=True)
class _Architecture:
    """The tokens as numbers to multiply and to select with.

    Attributes:
        tree: The structure of the space.
        nodes: All M nodes, as columns.
        cell: bool [M, 1], True at the node that gives `c`.
        inject_at: bool [M, 1], True at the node that `c` is injected into.
        inject: What Cell Inject does.
    """

    tree: Tree
    nodes: _Nodes
    cell: tf.Tensor
    inject_at: tf.Tensor
    inject: _Nodes

    @classmethod
    def of_tokens(cls, tree: Tree, tokens: tf.Tensor) -> "_Architecture":
        """Returns what tokens int32 [4N+2] describe."""
        num_pairs = tree.num_nodes + 1
        pairs = tf.reshape(tokens[: 2 * num_pairs], [num_pairs, 2])
        table = np.array([_CONSTANTS[name] for name in tree.activations])
        table = tf.constant(table, tf.float32)
        constants = tf.unstack(tf.gather(table, pairs[:, 1]), axis=1)
        is_mul, is_max = (
            tf.equal(pairs[:, 0], tree.combines.index(name))
            if name in tree.combines
            else tf.zeros([num_pairs], tf.bool)
            for name in ("mul", "max")
        )
        every = _Nodes(tree, is_mul, is_max, constants)
        numbers = tf.range(tree.num_nodes)
        return cls(
            tree,
            every.take((slice(-1), None)),
            (numbers == tokens[-2])[:, None],
            (numbers == tokens[-1])[:, None],
            every.take(-1),
        )


def _levels(tree: Tree) -> list[tuple[int, int]]:
    """Returns runs [low, high) of nodes whose children all come before."""
    levels = [(0, tree.base)]
    while levels[-1][1] < tree.num_nodes:
        low = levels[-1][1]
        high = low
        while high < tree.num_nodes and tree.children(high)[1] < low:
            high += 1
        levels.append((low, high))
    return levels


def _rows(pieces: dict[int, tf.Tensor], low: int, high: int) -> tf.Tensor:
    """Returns rows [low, high) of what `pieces` (first row -> rows) cover."""
    parts = []
    for first, piece in sorted(pieces.items()):
        begin = max(low - first, 0)
        end = min(high - first, piece.shape[1])
        if begin < end:
            whole = (begin, end) == (0, piece.shape[1])
            parts.append(piece if whole else piece[:, begin:end])
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)


def _the_row(column: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns the row [B, 1, H] at which the column [n, 1] is True, or 0."""
    zeros = tf.zeros_like(rows)
    return tf.reduce_sum(tf.where(column, rows, zeros), axis=1, keepdims=True)


def _forward_step(
    arch: _Architecture,
    x_products: tf.Tensor,
    h_products: tf.Tensor,
    c: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, list[tuple[tf.Tensor, ...]]]:
    """Returns root [B, 1, H], new c [B, 1, H], and what the gradient needs.

    Args:
        arch: The architecture.
        x_products: [B, N, H]; also `h_products`.
        c: [B, 1, H].
    """
    tree, inject = arch.tree, arch.inject
    values: dict[int, tf.Tensor] = {}
    saved = []
    new_c = tf.zeros_like(c)
    for low, high in _levels(tree):
        if low == 0:
            left, right = x_products, h_products
        else:
            first, last = tree.children(low)[0], tree.children(high - 1)[1] + 1
            children = _rows(values, first, last)
            children = tf.reshape(children, [-1, high - low, 2, c.shape[2]])
            left, right = tf.unstack(children, axis=2)
        nodes = arch.nodes.take(slice(low, high))
        z = nodes.combine(left, right)
        tanh = nodes.tanh(z)
        value = nodes.activate(z, tanh)
        new_c += _the_row(arch.cell[low:high], z)
        # Cell Inject, computed once a level on the row it may be in.
        inject_at = arch.inject_at[low:high]
        chosen = _the_row(inject_at, value)
        u = inject.combine(chosen, c)
        tanh_u = inject.tanh(u)
        injected = inject.activate(u, tanh_u)
        values[low] = tf.where(inject_at, injected, value)
        saved.append((left, right, z, tanh, chosen, u, tanh_u))
    return values[tree.num_nodes - 1], new_c, saved


def _backward_step(
    arch: _Architecture,
    x_products: tf.Tensor,
    h_products: tf.Tensor,
    c: tf.Tensor,
    d_root: tf.Tensor,
    d_new_c: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the gradients of the products [B, N, H] and of c [B, 1, H]."""
    *_, saved = _forward_step(arch, x_products, h_products, c)
    tree, inject = arch.tree, arch.inject
    d_values = {tree.num_nodes - 1: d_root}
    d_c = tf.zeros_like(c)
    levels = _levels(tree)
    for (low, high), kept in zip(levels[::-1], saved[::-1], strict=True):
        left, right, z, tanh, chosen, u, tanh_u = kept
        inject_at = arch.inject_at[low:high]
        d_value = _rows(d_values, low, high)
        d_u = inject.activate_vjp(u, tanh_u, _the_row(inject_at, d_value))
        d_chosen, d_c_here = inject.combine_vjp(chosen, c, d_u)
        d_c += d_c_here
        d_value = tf.where(inject_at, d_chosen, d_value)
        nodes = arch.nodes.take(slice(low, high))
        d_z = nodes.activate_vjp(z, tanh, d_value)
        d_z += tf.where(arch.cell[low:high], d_new_c, tf.zeros_like(d_new_c))
        pair = nodes.combine_vjp(left, right, d_z)
        if low:
            d_children = tf.stack(pair, axis=2)
            d_children = tf.reshape(
                d_children, [-1, 2 * (high - low), c.shape[2]]
            )
            d_values[tree.children(low)[0]] = d_children
    return *pair, d_c  # The last level of the loop is that of the leaves.


def _by_node(tensor: tf.Tensor, units: int) -> tf.Tensor:
    """Returns [B, n*H] as [B, n, H]."""
    return tf.reshape(tensor, [-1, tensor.shape[-1] // units, units])


def _flat(tensor: tf.Tensor, units: int) -> tf.Tensor:
    """Returns [B, n, H] as [B, n*H]."""
    return tf.reshape(tensor, [-1, tensor.shape[1] * units])


def _forward(
    arch: _Architecture,
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
        root, new_c, _ = _forward_step(arch, *inputs)
        h, c = _flat(root, units), _flat(new_c, units)
        return t + 1, h, c, hs.write(t, h), cs, ms

    arrays = [
        array_of_steps(num_steps, batch_size, size)
        for size in (units, units, width)
    ]
    _, last_h, last_c, hs, cs, ms = tf.while_loop(
        lambda t, *_: t < num_steps,
        step,
        (0, h, c, *arrays),
        maximum_iterations=num_steps,
    )
    return hs.stack(), last_h, last_c, cs.stack(), ms.stack()


def _backward(
    arch: _Architecture,
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
        d_x, d_m, d_c = _backward_step(
            arch, *(_by_node(v, units) for v in inputs)
        )
        d_xs, d_ms = d_xs.write(t, d_x), d_ms.write(t, d_m)
        # Read back, or XLA computes it anew for the product.
        d_h = masked(_flat(d_ms.read(t), units) @ transposed, mask)
        return t - 1, d_h, _flat(d_c, units), d_xs, d_ms

    arrays = [
        array_of_steps(num_steps, batch_size, width // units, units)
        for _ in range(2)
    ]
    _, d_h, d_c, d_xs, d_ms = tf.while_loop(
        lambda t, *_: t >= 0,
        step,
        (num_steps - 1, d_h, d_c, *arrays),
        maximum_iterations=num_steps,
    )
    return d_xs.stack(), d_ms.stack(), d_h, d_c


def _recurrence(
    arch: _Architecture,
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
