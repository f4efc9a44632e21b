"""`TreeRNN`: every cell of a tree space as one layer, its tokens as data.

The program is the same for all architectures, so it is compiled once:
`identity, tanh, sigmoid, relu, sin` are all

    (a * tanh(b * z) + d + e * relu(z) + f * z + g * sin(z)) / s

with constants for each node, and a combination is a select. A level of the
tree is one wide elementwise operation. The gradient is written out; its loop
carries `dh, dc` and one product, the weights' gradients come after it.

What makes it fast under XLA, each measured:

* Values are laid out `[B, nodes, H]`, so that products are `[T, B, N*H]` and
  nothing is transposed, not even for the weights' gradients.
* The division by `s`, though exact, is an operation that XLA takes for
  expensive. It therefore keeps the quotient; without it, it computes a level
  anew for each of its users, 4 times as slow in all.

Axes: B batch, T time steps, D input width, H units, N leaves, M = 2N-1 nodes.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas_keras.spaces.tree import Tree

# Activation -> (a, b, d, e, f, g, s) of the formula above.
_CONSTANTS = {
    "identity": (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0),
    "tanh": (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    "sigmoid": (1.0, 0.5, 1.0, 0.0, 0.0, 0.0, 2.0),
    "relu": (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0),
    "sin": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0),
}


class TreeRNN(keras.layers.Layer):
    """A recurrent layer whose cell is the tree that `tokens` describe.

    Its weights and results are those of `NASRNN` with the decoded spec and no
    bias: `kernel [D, N*H]`, `recurrent_kernel [H, N*H]`. That holds of finite
    values: the constants multiply, and 0 * inf is NaN, so a value that
    overflows may turn others into NaN here that are finite there.

    Args:
        units: H.
        tree: The space's `Tree`.
        recurrent_dropout: Fraction of h dropped where it enters `linear`, by
            one mask a sequence.
        seed: Int, of the dropout masks.

    Attributes:
        tokens: Variable int32 [4N+2]; assign it to choose the cell.
        takes_indices: That a call may have `indices`.

    Call arguments:
        sequence: float32 [B, T, D]; or, with `indices`, a table [V, D].
        initial_state: `[h, c]`, each [B, H].
        training: Whether dropout applies.
        indices: int32 [B, T]: the input is `sequence[indices]`. The table is
            multiplied by `kernel`, not the input, which saves most of the
            three products where V is much less than B * T.

    Returns:
        Outputs [B, T, H], last h [B, H], last c [B, H].
    """

    takes_indices = True

    def __init__(
        self,
        units: int,
        tree: Tree,
        recurrent_dropout: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.units = units
        self.tree = tree
        self.recurrent_dropout = recurrent_dropout
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.state_size = [units, units]

    def build(self, input_shape: Any) -> None:
        width = self.tree.base * self.units
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], width)
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, width)
        )
        self.tokens = self.add_weight(
            name="tokens",
            shape=(4 * self.tree.base + 2,),
            dtype="int32",
            initializer="zeros",
            trainable=False,
        )
        self.built = True

    def call(self, sequence, initial_state, training=False, indices=None):
        kernel = tf.convert_to_tensor(self.kernel)
        h, c = initial_state
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
        architecture = _Architecture.of_tokens(
            self.tree, tf.convert_to_tensor(self.tokens)
        )
        recurrent = tf.convert_to_tensor(self.recurrent_kernel)
        outputs, h, c = _recurrence(
            self.tree, architecture, products, recurrent, mask, h, c
        )
        return tf.transpose(outputs, [1, 0, 2]), h, c


@dataclasses.dataclass(frozen=True)
class _Architecture:
    """The tokens as columns [M, 1] to multiply and to select with.

    Attributes:
        is_mul: bool; also `is_max`.
        constants: The seven columns of `_CONSTANTS`.
        cell: bool, True at the node that gives `c`.
        inject: bool, True at the node that `c` is injected into.
        inject_is_mul: bool []; also `inject_is_max`.
        inject_constants: Seven scalars.
    """

    is_mul: tf.Tensor
    is_max: tf.Tensor
    constants: list[tf.Tensor]
    cell: tf.Tensor
    inject: tf.Tensor
    inject_is_mul: tf.Tensor
    inject_is_max: tf.Tensor
    inject_constants: list[tf.Tensor]

    @classmethod
    def of_tokens(cls, tree: Tree, tokens: tf.Tensor) -> "_Architecture":
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
        nodes = tf.range(tree.num_nodes)
        return cls(
            is_mul[:-1, None],
            is_max[:-1, None],
            [column[:-1, None] for column in constants],
            (nodes == tokens[-2])[:, None],
            (nodes == tokens[-1])[:, None],
            is_mul[-1],
            is_max[-1],
            [column[-1] for column in constants],
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
    found = []
    for first, piece in sorted(pieces.items()):
        begin = max(low - first, 0)
        end = min(high - first, piece.shape[1])
        if begin < end:
            whole = (begin, end) == (0, piece.shape[1])
            found.append(piece if whole else piece[:, begin:end])
    return found[0] if len(found) == 1 else tf.concat(found, axis=1)


def _the_row(column: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns the row [B, 1, H] at which the column [n, 1] is True, or 0."""
    zeros = tf.zeros_like(rows)
    return tf.reduce_sum(tf.where(column, rows, zeros), axis=1, keepdims=True)


def _combine(tree, is_mul, is_max, left, right):
    value = tf.where(is_mul, left * right, left + right)
    if "max" in tree.combines:
        value = tf.where(is_max, tf.maximum(left, right), value)
    return value


def _combine_vjp(tree, is_mul, is_max, left, right, d_value):
    """Returns the gradients of `left` and `right`."""
    d_left = tf.where(is_mul, d_value * right, d_value)
    d_right = tf.where(is_mul, d_value * left, d_value)
    if "max" in tree.combines:
        zero, from_left = tf.zeros_like(d_value), left >= right
        d_left = tf.where(is_max, tf.where(from_left, d_value, zero), d_left)
        d_right = tf.where(is_max, tf.where(from_left, zero, d_value), d_right)
    return d_left, d_right


def _activate(tree, constants, z, tanh):
    a, _, d, e, f, g, s = constants
    value = a * tanh + d + e * tf.nn.relu(z) + f * z
    if "sin" in tree.activations:
        value += g * tf.sin(z)
    return value / s


def _activate_vjp(tree, constants, z, tanh, d_value):
    """Returns the gradient of z."""
    a, b, _, e, f, g, s = constants
    slope = a * b * (1 - tanh * tanh) + e * tf.cast(z > 0, z.dtype) + f
    if "sin" in tree.activations:
        slope += g * tf.cos(z)
    return d_value * slope / s


def _forward_step(tree, arch, x_products, h_products, c):
    """Returns root [B, 1, H], new c [B, 1, H], and what the gradient needs."""
    values: dict[int, Any] = {}
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
        k = [column[low:high] for column in arch.constants]
        inject = arch.inject[low:high]
        is_mul, is_max = arch.is_mul[low:high], arch.is_max[low:high]
        z = _combine(tree, is_mul, is_max, left, right)
        tanh = tf.tanh(k[1] * z)
        value = _activate(tree, k, z, tanh)
        new_c += _the_row(arch.cell[low:high], z)
        # Cell Inject, computed once a level on the row it may be in.
        chosen = _the_row(inject, value)
        u = _combine(tree, arch.inject_is_mul, arch.inject_is_max, chosen, c)
        tanh_u = tf.tanh(arch.inject_constants[1] * u)
        injected = _activate(tree, arch.inject_constants, u, tanh_u)
        values[low] = tf.where(inject, injected, value)
        saved.append((left, right, z, tanh, chosen, u, tanh_u))
    return values[tree.num_nodes - 1], new_c, saved


def _backward_step(tree, arch, x_products, h_products, c, d_root, d_new_c):
    """Returns the gradients of the products [B, N, H] and of c [B, 1, H]."""
    *_, saved = _forward_step(tree, arch, x_products, h_products, c)
    d_values = {tree.num_nodes - 1: d_root}
    d_c = tf.zeros_like(c)
    levels = _levels(tree)
    for (low, high), kept in zip(levels[::-1], saved[::-1], strict=True):
        left, right, z, tanh, chosen, u, tanh_u = kept
        inject = arch.inject[low:high]
        d_value = _rows(d_values, low, high)
        d_u = _activate_vjp(
            tree, arch.inject_constants, u, tanh_u, _the_row(inject, d_value)
        )
        d_chosen, d_c_here = _combine_vjp(
            tree, arch.inject_is_mul, arch.inject_is_max, chosen, c, d_u
        )
        d_c += d_c_here
        d_value = tf.where(inject, d_chosen, d_value)
        k = [column[low:high] for column in arch.constants]
        d_z = _activate_vjp(tree, k, z, tanh, d_value)
        d_z += tf.where(arch.cell[low:high], d_new_c, tf.zeros_like(d_new_c))
        is_mul, is_max = arch.is_mul[low:high], arch.is_max[low:high]
        pair = _combine_vjp(tree, is_mul, is_max, left, right, d_z)
        if low:
            d_children = tf.stack(pair, axis=2)
            d_children = tf.reshape(
                d_children, [-1, 2 * (high - low), c.shape[2]]
            )
            d_values[tree.children(low)[0]] = d_children
    return *pair, d_c  # The last level of the loop is that of the leaves.


def _recurrence(tree, arch, products, recurrent, mask, h, c):
    """Runs the cell over time.

    Args:
        tree: The space's tree.
        arch: The `_Architecture`.
        products: x_t W of all steps, [T, B, N*H].
        recurrent: The recurrent kernel, [H, N*H].
        mask: Dropout mask of h, [B, H], or None.
        h: Initial state [B, H].
        c: Initial state [B, H].

    Returns:
        All h [T, B, H], last h [B, H], last c [B, H].
    """
    num_steps = products.shape[0]
    units, base = recurrent.shape[0], tree.base

    def rows(tensor):
        return tf.reshape(tensor, [-1, tensor.shape[-1] // units, units])

    def columns(tensor):
        return tf.reshape(tensor, [-1, tensor.shape[1] * units])

    def masked(tensor):
        return tensor if mask is None else tensor * mask

    def array(*widths):
        return tf.TensorArray(
            tf.float32,
            num_steps,
            element_shape=[h.shape[0], *widths],
            clear_after_read=False,
        )

    @tf.custom_gradient
    def run(products, recurrent, h, c):
        def step(t, h, c, hs, cs, ms):
            m = masked(h) @ recurrent
            cs, ms = cs.write(t, c), ms.write(t, m)
            root, new_c, _ = _forward_step(
                tree, arch, rows(products[t]), rows(m), rows(c)
            )
            h, c = columns(root), columns(new_c)
            return t + 1, h, c, hs.write(t, h), cs, ms

        _, last_h, last_c, hs, cs, ms = tf.while_loop(
            lambda t, *_: t < num_steps,
            step,
            (0, h, c, array(units), array(units), array(base * units)),
            maximum_iterations=num_steps,
        )
        hs, cs, ms = hs.stack(), cs.stack(), ms.stack()

        def gradient(d_hs, d_h, d_c):
            transposed = tf.transpose(recurrent)

            def step(t, d_h, d_c, d_xs, d_ms):
                inputs = products[t], ms[t], cs[t], d_h + d_hs[t], d_c
                d_x, d_m, d_c = _backward_step(tree, arch, *map(rows, inputs))
                d_xs, d_ms = d_xs.write(t, d_x), d_ms.write(t, d_m)
                # Read back, or XLA computes it anew for the product.
                d_h = masked(columns(d_ms.read(t)) @ transposed)
                return t - 1, d_h, columns(d_c), d_xs, d_ms

            _, d_h, d_c, d_xs, d_ms = tf.while_loop(
                lambda t, *_: t >= 0,
                step,
                (
                    num_steps - 1,
                    d_h,
                    d_c,
                    array(base, units),
                    array(base, units),
                ),
                maximum_iterations=num_steps,
            )
            previous = masked(tf.concat([h[None], hs[:-1]], axis=0))
            d_recurrent = tf.matmul(
                tf.reshape(previous, [-1, units]),
                tf.reshape(d_ms.stack(), [-1, base * units]),
                transpose_a=True,
            )
            d_products = tf.reshape(d_xs.stack(), tf.shape(products))
            return d_products, d_recurrent, d_h, d_c

        return (hs, last_h, last_c), gradient

    return run(products, recurrent, h, c)
