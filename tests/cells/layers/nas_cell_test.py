"""Tests of `NASCell` and `NASRNN` against NumPy and Keras's own layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from tests import oracles
from tests.cell_testing import EVERY_ROLE
from tests.layer_testing import built
from tests.layer_testing import near
from tests.layer_testing import normal

B, T, D, H, P = 3, 5, 4, 6, 2


@pytest.mark.parametrize("projection", [None, P])
@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("name", ["lstm", "nascell"])
def test_cell_matches_numpy(name, use_bias, projection):
    cell = built(NASCell(H, name, projection, use_bias), D)
    x, h, c = normal(B, D), normal(B, projection or H, seed=7), normal(B, H)
    weights = {w.name: np.asarray(w) for w in cell.weights}
    if projection:
        weights["projection"] = weights.pop("projection_kernel")
    output, states = cell(x, [h, c])
    near(states, getattr(oracles, name)(x, h, c, **weights))
    near([output], [states[0]], 0)


@pytest.mark.parametrize("use_bias", [False, True])
def test_gru_matches_numpy(use_bias):
    cell = built(NASCell(H, "gru", use_bias=use_bias), D)
    assert [w.name for w in cell.weights] == [
        "kernel",
        "recurrent_kernel",
        "kernel_0",
        *(["bias"] if use_bias else []),
    ]
    x, h = normal(B, D), normal(B, H, seed=7)
    _, states = cell(x, [h])
    near(states, oracles.gru(x, h, *map(np.asarray, cell.weights)))


def test_nascell_gives_the_numbers_of_tensorflow_addons():
    cell = NASCell(6, kernel_initializer="ones", recurrent_initializer="ones")
    cell.build((None, 4))
    cell.set_weights([0.5 * w for w in cell.get_weights()])
    x = np.repeat([[1.0], [2.0], [3.0]], 4, axis=1)
    state = np.full((3, 6), 0.1)
    _, states = cell(x, [state, state])
    near(
        states,
        [
            np.repeat([[0.57675076], [0.61893578], [0.62739344]], 6, axis=1),
            np.repeat([[0.71579773], [0.78041636], [0.79457652]], 6, axis=1),
        ],
        1e-6,
    )


def test_nascell_gives_the_numbers_of_a_fixed_vector():
    def weight(k, rows):
        r, c = np.mgrid[:rows, :16]
        return 0.5 * np.sin(1 + k + 2 * r + 3 * c)

    cell = NASCell(2)
    cell.build((None, 3))
    cell.set_weights([weight(0, 3), weight(1, 2)])
    x, h, c = ([0.5, -1, 0.25], [0.1, -0.2], [0.3, 0.4])
    _, states = cell(np.array([x]), [np.array([h]), np.array([c])])
    want = [[[0.02961773, 0.18999201]], [[0.11926162, 0.23583955]]]
    near(states, want, 1e-6)


def test_weights_are_those_that_the_documentation_names():
    cell = built(NASCell(H, EVERY_ROLE, P, use_bias=True), D)
    assert {w.name: tuple(w.shape) for w in cell.weights} == {
        "kernel": (D, H),
        "recurrent_kernel": (P, H),
        "kernel_c": (H, H),
        "bias": (2 * H,),
        "projection_kernel": (H, P),
    }
    assert cell.state_size == [P, H]
    assert cell.output_size == P


def test_the_kernels_of_x_and_h_are_attributes():
    cell = NASCell(H, "gru")
    cell.build((None, D))
    assert cell.kernel is cell.kernels["kernel"]
    assert cell.recurrent_kernel is cell.kernels["recurrent_kernel"]
    assert not hasattr(NASCell(H, "gru"), "kernel")  # As in LSTMCell.
    spec = CellSpec("of_h_alone", ["next_h = tanh(x + linear(h))"], ["h"])
    cell = NASCell(D, spec)
    cell.build((None, D))
    assert not hasattr(cell, "kernel")
    assert cell.recurrent_kernel.shape == (D, D)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_single_state_needs_no_list(batch):
    cell = NASCell(H, "gru")
    x, h = normal(batch, D), normal(batch, H)
    output, [state] = cell(x, h)
    np.testing.assert_array_equal(output, cell(x, [h])[0])
    np.testing.assert_array_equal(output, state)


def test_bias_is_that_of_every_term_but_those_of_x():
    equations = ["next_h = linear(x) + 10 * linear(h) + 100 * linear(h * h)"]
    cell = NASCell(1, CellSpec("toy", equations, ["h"]), use_bias=True)
    cell.build((None, 1))
    weights = [np.ones(w.shape) for w in cell.weights]
    weights[-1] = np.array([0.25, 0.5])
    cell.set_weights(weights)
    output, _ = cell(np.array([[2.0]]), [np.array([[3.0]])])
    near([output], [[[2 + 10 * 3.25 + 100 * 9.5]]])


def test_bias_without_a_term_to_add_it_to_is_no_weight():
    spec = CellSpec("toy", ["next_h = tanh(linear(x))"], ["h"])
    cell = built(NASCell(H, spec, use_bias=True), D)
    assert [w.name for w in cell.weights] == ["kernel"]


def gradients_of(layer, x):
    x = tf.constant(x)
    weigh = normal(B, T, H, seed=50)
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x)
        loss = tf.reduce_sum(output * weigh)
    weights = [w.value for w in layer.trainable_weights]
    of_x, *of_weights = tape.gradient(loss, [x, *weights])
    return output.numpy(), of_x.numpy(), [g.numpy() for g in of_weights]


@pytest.mark.parametrize("use_bias", [False, True])
def test_lstm_equals_that_of_keras_in_outputs_and_gradients(use_bias):
    ours = built(
        NASRNN(H, "lstm", return_sequences=True, use_bias=use_bias), T, D
    )
    theirs = keras.layers.LSTM(H, return_sequences=True, use_bias=use_bias)
    theirs.build((None, T, D))
    theirs.set_weights(ours.get_weights())
    output, of_x, of_weights = gradients_of(ours, normal(B, T, D))
    want, want_of_x, want_of_weights = gradients_of(theirs, normal(B, T, D))
    near([output, of_x, *of_weights], [want, want_of_x, *want_of_weights])


@pytest.mark.parametrize("use_bias", [False, True])
def test_gru_equals_that_of_keras_in_outputs_and_gradients(use_bias):
    ours = built(
        NASRNN(H, "gru", return_sequences=True, use_bias=use_bias), T, D
    )
    theirs = keras.layers.GRU(
        H, return_sequences=True, use_bias=use_bias, reset_after=False
    )
    theirs.build((None, T, D))
    kernel, gates, candidate, *bias = ours.get_weights()
    recurrent = np.concatenate([gates, candidate], axis=1)
    theirs.set_weights([kernel, recurrent, *bias])
    output, of_x, of_weights = gradients_of(ours, normal(B, T, D))
    want, want_of_x, want_of_weights = gradients_of(theirs, normal(B, T, D))
    of_kernel, of_gates, of_candidate, *of_bias = of_weights
    of_recurrent = np.concatenate([of_gates, of_candidate], axis=1)
    near(
        [output, of_x, of_kernel, of_recurrent, *of_bias],
        [want, want_of_x, *want_of_weights],
    )


@pytest.mark.parametrize("name", ["nascell", "lstm", "gru"])
def test_rnn_equals_keras_rnn_of_the_cell(name):
    ours = built(
        NASRNN(
            H, name, return_sequences=True, return_state=True, use_bias=True
        ),
        T,
        D,
    )
    cell = NASCell(H, name, use_bias=True)
    theirs = keras.layers.RNN(cell, return_sequences=True, return_state=True)
    theirs.build((None, T, D))
    theirs.set_weights(ours.get_weights())
    near(ours(normal(B, T, D)), theirs(normal(B, T, D)), 1e-6)


@pytest.mark.parametrize(
    "expression",
    ["tanh(0.5) * linear(x)", "max(linear(x), 0) + sin(1)", "1 - linear(x)"]
    + ["mean(linear(x), max(1, 2))", "linear(x + 1) + -sigmoid(relu(-1))"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
def test_numbers_take_the_dtype_of_the_tensors(expression, dtype):
    spec = CellSpec("toy", [f"next_h = {expression}"], ["h"])
    output = NASRNN(H, spec, dtype=dtype)(normal(B, T, D))
    assert keras.backend.standardize_dtype(output.dtype) == (
        dtype.removeprefix("mixed_")
    )
    assert np.isfinite(np.asarray(output, "float32")).all()
