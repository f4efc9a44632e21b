"""Tests of `TreeRNN` against `NASRNN`: values, gradients, tables, dropout."""

import numpy as np
import pytest
import tensorflow as tf

from nas_keras.cells.language.spec import load_spec
from nas_keras.cells.layers.nas_rnn import NASRNN
from nas_keras.spaces import tree_space
from nas_keras.supernets.trees import TreeRNN
from tests.layer_testing import random_tokens

_NASCELL = tuple(load_spec("nascell").provenance["tokens"])
# An LSTM as a tree: f = sigmoid(n0 + n1), i = n2, g = n3, o = sigmoid(n10 +
# n11); c joins f by a product at node 8; node 12 is c, then tanh.
_LSTM = (
    (0, 0, 0, 0, 0, 2, 0, 1, *[0] * 8)
    + (0, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 2, 1, 0)
    + (1, 0, 12, 8)
)
# The paper's example of base 2, section 3.4.
_EXAMPLE = (0, 1, 1, 3, 1, 2, 0, 3, 1, 0)
_WIDE = {
    "combines": ("add", "mul", "max"),
    "activations": ("identity", "tanh", "sigmoid", "relu", "sin"),
}


def _results(layer, arrays, use_xla):
    """Returns outputs, states and gradients of a sum with uneven weights."""
    x, h, c, weight_y, weight_h, weight_c = map(tf.constant, arrays)

    def run(x, h, c):
        with tf.GradientTape() as tape:
            tape.watch([x, h, c])
            y, last_h, last_c = layer(x, initial_state=[h, c], training=True)
            total = (
                tf.reduce_sum(y * weight_y)
                + tf.reduce_sum(last_h * weight_h)
                + tf.reduce_sum(last_c * weight_c)
            )
        variables = [v.value for v in layer.trainable_variables]
        gradients = tape.gradient(
            total,
            [*variables, x, h, c],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return [y, last_h, last_c, *gradients]

    if use_xla:
        run = tf.function(run, jit_compile=True, autograph=False)
    return [value.numpy() for value in run(x, h, c)]


def _assert_agrees_with_nas_rnn(space, tokens, use_xla=False, units=3):
    rng = np.random.default_rng(sum(tokens))
    shapes = [(2, 5, 4), (2, units), (2, units), (2, 5, units)]
    shapes += [(2, units)] * 2
    arrays = [rng.normal(size=s).astype("float32") * 0.7 for s in shapes]
    tree = TreeRNN(units, space.structure)
    plain = NASRNN(
        units, space.decode(tokens), return_sequences=True, return_state=True
    )
    for layer in (tree, plain):
        layer.build((2, 5, 4))
    width = space.structure.base * units
    kernels = [0.6 * rng.normal(size=(rows, width)) for rows in (4, units)]
    for layer in (tree, plain):
        for variable, kernel in zip(
            layer.trainable_variables, kernels, strict=True
        ):
            variable.assign(kernel)
    tree.tokens.assign(tokens)
    names = ("y", "h", "c", "kernel", "recurrent", "x", "h0", "c0")
    got = _results(tree, arrays, use_xla)
    want = _results(plain, arrays, use_xla)
    for name, value, other in zip(names, got, want, strict=True):
        scale = max(1.0, float(np.abs(other).max()))
        np.testing.assert_allclose(
            value / scale, other / scale, rtol=0, atol=1e-5, err_msg=name
        )


def test_the_lstm_of_the_tree_is_the_published_lstm():
    # With n1's and n4..n6's kernels zero, what is left are the four gates.
    spec, units = tree_space(8).decode(_LSTM), 3
    layers = [NASRNN(units, s, return_sequences=True) for s in (spec, "lstm")]
    rng = np.random.default_rng(0)
    gates = [rng.normal(size=(4, rows, units)) for rows in (4, units)]
    for layer in layers:
        layer.build((2, 5, 4))
    place = {0: 1, 2: 0, 3: 2, 7: 3}  # Leaf -> gate of i, f, g, o.
    for variable, gate in zip(layers[0].weights, gates, strict=True):
        zeros = np.zeros_like(gate[0])
        leaves = [gate[place[k]] if k in place else zeros for k in range(8)]
        variable.assign(np.concatenate(leaves, axis=1))
    for variable, gate in zip(layers[1].weights, gates, strict=True):
        variable.assign(np.concatenate(list(gate), axis=1))
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    np.testing.assert_allclose(layers[0](x), layers[1](x), atol=1e-6)


# XLA compiles one program for all trees of a base, so once.
@pytest.mark.parametrize(
    ("tokens", "use_xla"),
    [(_NASCELL, False), (_NASCELL, True), (_LSTM, False)],
    ids=["nascell", "nascell_xla", "lstm"],
)
def test_known_cells_agree_with_nas_rnn_in_values_and_gradients(
    tokens, use_xla
):
    _assert_agrees_with_nas_rnn(tree_space(8), tokens, use_xla)


@pytest.mark.parametrize(("base", "seed"), [(2, 0), (3, 1), (5, 0), (8, 0)])
def test_random_cells_agree_with_nas_rnn(base, seed):
    space = tree_space(base)
    _assert_agrees_with_nas_rnn(space, random_tokens(space, seed))


@pytest.mark.parametrize(("base", "seed"), [(2, 3), (3, 4), (5, 5)])
def test_random_cells_with_max_and_sin_agree_with_nas_rnn(base, seed):
    space = tree_space(base, **_WIDE)
    _assert_agrees_with_nas_rnn(space, random_tokens(space, seed), seed == 3)


def _at(cell_index, inject_index):
    return (*_EXAMPLE[:8], cell_index, inject_index)


@pytest.mark.parametrize(
    "tokens",
    [_EXAMPLE, _at(2, 2), _at(1, 1), _at(0, 2), _at(2, 0)],
    ids=["paper", "both_root", "both_leaf", "inject_root", "cell_root"],
)
def test_the_edges_of_the_indices_agree_with_nas_rnn(tokens):
    _assert_agrees_with_nas_rnn(tree_space(2), tokens)


def test_a_table_and_indices_are_as_good_as_their_rows():
    space = tree_space(3)
    layer = TreeRNN(4, space.structure)
    layer.build((2, 5, 6))
    layer.tokens.assign(random_tokens(space, 0))
    rng = np.random.default_rng(0)
    table = tf.constant(rng.normal(size=(7, 6)), tf.float32)
    indices = tf.constant(rng.integers(6, size=(2, 5)))  # Never the last row.
    states = [tf.constant(rng.normal(size=(2, 4)), tf.float32)] * 2
    weights = rng.normal(size=(2, 5, 4)).astype("float32")

    def results(of_table):
        with tf.GradientTape() as tape:
            tape.watch(table)
            if of_table:
                y, *_ = layer(table, initial_state=states, indices=indices)
            else:
                y, *_ = layer(tf.gather(table, indices), initial_state=states)
            total = tf.reduce_sum(y * weights)
        variables = [v.value for v in layer.trainable_variables]
        gradients = tape.gradient(total, [table, *variables])
        return [y, *map(tf.convert_to_tensor, gradients)]

    for value, want in zip(results(True), results(False), strict=True):
        np.testing.assert_allclose(value, want, atol=1e-5)


def test_recurrent_dropout_applies_in_training_alone():
    tree = TreeRNN(64, tree_space(2).structure, recurrent_dropout=0.5)
    tree.build((2, 1, 4))
    tree.tokens.assign((0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
    x, h = np.zeros((2, 1, 4), "float32"), np.ones((2, 64), "float32")
    # h reaches two leaves that are added: 2 h if both kernels are identities.
    tree.recurrent_kernel.assign(np.tile(np.eye(64), 2))
    zeros = np.zeros_like(h)
    y, *_ = tree(x, initial_state=[h, zeros], training=False)
    np.testing.assert_allclose(y[:, 0], 2 * h)
    h = tf.constant(h)
    with tf.GradientTape() as tape:
        tape.watch(h)
        y, *_ = tree(x, initial_state=[h, zeros], training=True)
    d_h, d_kernel = tape.gradient(y, [h, tree.recurrent_kernel.value])
    np.testing.assert_allclose(d_h, y[:, 0])
    want = np.sum(y[:, 0], axis=0) / 2  # The masked h of both rows.
    np.testing.assert_allclose(d_kernel, np.tile(want[:, None], 128))
    values, counts = np.unique(np.round(y, 4), return_counts=True)
    np.testing.assert_allclose(values, [0.0, 4.0])
    assert counts.min() > 30  # Of 128; one half dropped.
