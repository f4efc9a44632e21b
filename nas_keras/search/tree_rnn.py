"""`TreeRNN`: every cell of a tree space as one layer, its tokens as data.

The program is the same for all architectures, so it is compiled once:
`identity, tanh, sigmoid, relu, sin` are all

    a * tanh(b * z) + d + e * relu(z) + f * z + g * sin(z)

with constants for each node, and a combination is a select. Values are laid
out with nodes first and batch last, `[nodes, H * B]`: a level of the tree is
one wide elementwise operation, and picking children is a small product with a
0/1 matrix, which also keeps XLA from computing a level anew for each of its
users (measured: 4 times faster than slices). The gradient is written out; its
loop carries `dh, dc` and one product, the weights' gradients come after it.

Axes: B batch, T time steps, D input width, H units, N leaves, M = 2N-1 nodes.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas_keras.spaces.tree import Tree

# Activation -> (a, b, d, e, f, g) of the formula above.
_CONSTANTS = {
    "identity": (0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "tanh": (1.0, 1.0, 0.0, 0.0, 0.0, 0.0),
    "sigmoid": (0.5, 0.5, 0.5, 0.0, 0.0, 0.0),
    "relu": (0.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    "sin": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
}


class TreeRNN(keras.layers.Layer):
    """A recurrent layer whose cell is the tree that `tokens` describe.

    Its weights and results are those of `NASRNN` with the decoded spec and no
    bias: `kernel [D, N*H]`, `recurrent_kernel [H, N*H]`. That holds of finite
    values: rows are picked by products, in which 0 * inf is NaN, so a value
    that overflows may turn others into NaN here that are finite there.

    Args:
        units: H.
        tree: The space's `Tree`.
        recurrent_dropout: Fraction of h dropped where it enters `linear`, by
            one mask a sequence.
        seed: Int, of the dropout masks.

    Attributes:
        tokens: Variable int32 [4N+2]; assign it to choose the cell.

    Call arguments:
        sequence: float32 [B, T, D].
        initial_state: `[h, c]`, each [B, H].
        training: Whether dropout applies.

    Returns:
        Outputs [B, T, H], last h [B, H], last c [B, H].
    """

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

    def build(self, input_shape) -> None:
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

    def call(self, sequence, initial_state, training=False):
        kernel = tf.convert_to_tensor(self.kernel)
        recurrent = tf.transpose(tf.convert_to_tensor(self.recurrent_kernel))
        h, c = (tf.transpose(state) for state in initial_state)
        products = tf.einsum("btd,dk->tkb", sequence, kernel)
        mask = tf.ones_like(h)
        if training and self.recurrent_dropout:
            # Drawn [B, H], as `NASRNN` draws it, so that it is the same.
            mask = keras.random.dropout(
                tf.transpose(mask),
                self.recurrent_dropout,
                seed=self.seed_generator,
            )
            mask = tf.transpose(mask)
        architecture = _Architecture.of_tokens(
            self.tree, tf.convert_to_tensor(self.tokens)
        )
        outputs, h, c = _recurrence(
            self.tree, architecture, products, recurrent, mask, h, c
        )
        return tf.einsum("thb->bth", outputs), tf.transpose(h), tf.transpose(c)


@dataclasses.dataclass(frozen=True)
class _Architecture:
    """The tokens as columns [M, 1] to multiply and to select with.

    Attributes:
        is_mul: bool; also `is_max`.
        constants: The six columns of `_CONSTANTS`.
        cell: 1.0 at the node that gives `c`.
        inject: bool, True at the node that `c` is injected into.
        inject_is_mul: bool []; also `inject_is_max`.
        inject_constants: Six scalars.
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
            tf.cast(nodes == tokens[-2], tf.float32)[:, None],
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


def _pick(num: int) -> np.ndarray:
    """Returns the 0/1 matrix that sorts 2*num children: lefts, then rights."""
    order = [*range(0, 2 * num, 2), *range(1, 2 * num, 2)]
    return np.eye(2 * num, dtype=np.float32)[order]


def _rows(pieces: dict[int, tf.Tensor], low: int, high: int) -> tf.Tensor:
    """Returns rows [low, high) of what `pieces` (first row -> rows) cover."""
    found = []
    for first, piece in sorted(pieces.items()):
        begin = max(low - first, 0)
        end = min(high - first, piece.shape[0])
        if begin < end:
            whole = (begin, end) == (0, piece.shape[0])
            found.append(piece if whole else piece[begin:end])
    return found[0] if len(found) == 1 else tf.concat(found, axis=0)


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
    a, _, d, e, f, g = constants
    value = a * tanh + d + e * tf.nn.relu(z) + f * z
    return value + g * tf.sin(z) if "sin" in tree.activations else value


def _activate_vjp(tree, constants, z, tanh):
    """Returns the derivative of the activation at z."""
    a, b, _, e, f, g = constants
    slope = a * b * (1 - tanh * tanh) + e * tf.cast(z > 0, z.dtype) + f
    return slope + g * tf.cos(z) if "sin" in tree.activations else slope


def _dot(column: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns the row [1, H*B] that the 0/1 column [n, 1] points at."""
    return tf.matmul(tf.cast(column, rows.dtype), rows, transpose_a=True)


def _forward_step(tree, arch, x_products, h_products, c):
    """Returns root [1, H*B], new c [1, H*B], and what the gradient needs."""
    values, saved = {}, []
    new_c = tf.zeros_like(c)
    for low, high in _levels(tree):
        if low == 0:
            left, right = x_products, h_products
        else:
            first, last = tree.children(low)[0], tree.children(high - 1)[1] + 1
            children = _pick(high - low) @ _rows(values, first, last)
            left, right = children[: high - low], children[high - low :]
        k = [column[low:high] for column in arch.constants]
        inject = arch.inject[low:high]
        is_mul, is_max = arch.is_mul[low:high], arch.is_max[low:high]
        z = _combine(tree, is_mul, is_max, left, right)
        tanh = tf.tanh(k[1] * z)
        value = _activate(tree, k, z, tanh)
        new_c += _dot(arch.cell[low:high], z)
        # Cell Inject, computed once a level on the row it may be in.
        chosen = _dot(inject, value)
        u = _combine(tree, arch.inject_is_mul, arch.inject_is_max, chosen, c)
        tanh_u = tf.tanh(arch.inject_constants[1] * u)
        injected = _activate(tree, arch.inject_constants, u, tanh_u)
        values[low] = tf.where(inject, injected, value)
        saved.append((left, right, z, tanh, chosen, u, tanh_u))
    return values[tree.num_nodes - 1], new_c, saved


def _backward_step(tree, arch, x_products, h_products, c, d_root, d_new_c):
    """Returns the gradients of the products [N, H*B] and of c [1, H*B]."""
    *_, saved = _forward_step(tree, arch, x_products, h_products, c)
    d_values = {tree.num_nodes - 1: d_root}
    d_c = tf.zeros_like(c)
    levels = _levels(tree)
    for (low, high), kept in zip(levels[::-1], saved[::-1], strict=True):
        left, right, z, tanh, chosen, u, tanh_u = kept
        k = [column[low:high] for column in arch.constants]
        inject = arch.inject[low:high]
        d_value = _rows(d_values, low, high)
        slope = _activate_vjp(tree, arch.inject_constants, u, tanh_u)
        d_chosen, d_c_here = _combine_vjp(
            tree,
            arch.inject_is_mul,
            arch.inject_is_max,
            chosen,
            c,
            _dot(inject, d_value) * slope,
        )
        d_c += d_c_here
        d_value = tf.where(inject, d_chosen, d_value)
        d_z = d_value * _activate_vjp(tree, k, z, tanh)
        d_z += arch.cell[low:high] * d_new_c
        is_mul, is_max = arch.is_mul[low:high], arch.is_max[low:high]
        pair = _combine_vjp(tree, is_mul, is_max, left, right, d_z)
        if low:
            first = tree.children(low)[0]
            d_values[first] = _pick(high - low).T @ tf.concat(pair, axis=0)
    return *pair, d_c  # The last level of the loop is that of the leaves.


def _recurrence(tree, arch, products, recurrent, mask, h, c):
    """Runs the cell over time.

    Args:
        tree: The space's tree.
        arch: The `_Architecture`.
        products: x_t W of all steps, [T, N*H, B].
        recurrent: The transposed recurrent kernel, [N*H, H].
        mask: Dropout mask of h, [H, B].
        h: Initial state [H, B].
        c: Initial state [H, B].

    Returns:
        All h [T, H, B], last h [H, B], last c [H, B].
    """
    num_steps = products.shape[0]
    units, base = recurrent.shape[1], tree.base
    batch_size = tf.shape(h)[1]

    def flat(tensor, rows):
        return tf.reshape(tensor, [rows, units * batch_size])

    def array(rows):
        return tf.TensorArray(
            tf.float32, num_steps, element_shape=[rows, h.shape[1]]
        )

    @tf.custom_gradient
    def run(products, recurrent, h, c):
        def step(t, h, c, hs, cs, ms):
            m = recurrent @ (h * mask)
            cs, ms = cs.write(t, c), ms.write(t, m)
            root, new_c, _ = _forward_step(
                tree, arch, flat(products[t], base), flat(m, base), flat(c, 1)
            )
            h, c = tf.reshape(root, tf.shape(h)), tf.reshape(new_c, tf.shape(c))
            return t + 1, h, c, hs.write(t, h), cs, ms

        _, last_h, last_c, hs, cs, ms = tf.while_loop(
            lambda t, *_: t < num_steps,
            step,
            (0, h, c, array(units), array(units), array(base * units)),
            maximum_iterations=num_steps,
        )
        hs, cs, ms = hs.stack(), cs.stack(), ms.stack()

        def gradient(d_hs, d_h, d_c):
            def step(t, d_h, d_c, d_xs, d_ms):
                d_x, d_m, d_c = _backward_step(
                    tree,
                    arch,
                    flat(products[t], base),
                    flat(ms[t], base),
                    flat(cs[t], 1),
                    flat(d_h + d_hs[t], 1),
                    flat(d_c, 1),
                )
                d_x, d_m = (
                    tf.reshape(d, [base * units, batch_size])
                    for d in (d_x, d_m)
                )
                d_h = mask * tf.matmul(recurrent, d_m, transpose_a=True)
                d_c = tf.reshape(d_c, tf.shape(d_h))
                return t - 1, d_h, d_c, d_xs.write(t, d_x), d_ms.write(t, d_m)

            _, d_h, d_c, d_xs, d_ms = tf.while_loop(
                lambda t, *_: t >= 0,
                step,
                (
                    num_steps - 1,
                    d_h,
                    d_c,
                    array(base * units),
                    array(base * units),
                ),
                maximum_iterations=num_steps,
            )
            previous = tf.concat([h[None], hs[:-1]], axis=0) * mask
            d_recurrent = tf.einsum("tkb,thb->kh", d_ms.stack(), previous)
            return d_xs.stack(), d_recurrent, d_h, d_c

        return (hs, last_h, last_c), gradient

    return run(products, recurrent, h, c)
