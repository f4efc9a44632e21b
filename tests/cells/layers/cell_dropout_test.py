"""Tests of the dropout of `NASCell` and `NASRNN`."""

import keras
import numpy as np
import pytest

from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from tests.layer_testing import built
from tests.layer_testing import near
from tests.layer_testing import normal

B, T, D, H = 3, 5, 4, 6


def masked_input(layer, training=True):
    """Returns what the layer lets through of ones, [B, T, H]."""
    x = np.ones((40, T, H), "float32")
    layer.build(x.shape)
    layer.set_weights([np.eye(H)])
    return np.asarray(layer(x, training=training))


def dropout_layer(**arguments):
    spec = CellSpec("copy", ["next_h = linear(x)"], ["h"])
    return NASRNN(H, spec, return_sequences=True, **arguments)


def test_dropout_is_off_in_inference():
    layer = dropout_layer(dropout=0.5, recurrent_dropout=0.5)
    assert (masked_input(layer, training=False) == 1).all()
    assert (np.asarray(layer(np.ones((40, T, H)))) == 1).all()
    layer = built(NASRNN(H, dropout=0.5, recurrent_dropout=0.5), T, D)
    plain = NASRNN(H)
    plain.build((None, T, D))
    plain.set_weights(layer.get_weights())
    near([layer(normal(B, T, D))], [plain(normal(B, T, D))], 0)


def test_dropout_uses_one_mask_a_sequence_that_keeps_the_mean():
    output = masked_input(dropout_layer(dropout=0.2, seed=1))
    assert set(np.unique(output)) == {0.0, np.float32(1.25)}
    assert (output == output[:, :1]).all()
    assert abs(output.mean() - 1) < 0.15
    assert len(np.unique(output[:, 0], axis=0)) > 5


def test_every_sequence_gets_a_new_mask():
    layer = dropout_layer(dropout=0.5, seed=1)
    first = masked_input(layer)
    assert (
        first != np.asarray(layer(np.ones((40, T, H)), training=True))
    ).any()


def test_dropout_is_reproducible_by_its_seed():
    first, again, other = (
        masked_input(dropout_layer(dropout=0.5, seed=seed))
        for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_recurrent_dropout_masks_every_state_by_one_mask_a_sequence():
    equations = ["next_h = linear(h)", "next_c = linear(c)"]
    layer = NASRNN(
        4,
        CellSpec("copy", equations),
        return_sequences=True,
        return_state=True,
        projection=3,
        recurrent_dropout=0.5,
        seed=0,
    )
    layer.build((None, T, D))
    layer.set_weights([np.eye(3, 4), np.eye(4), np.eye(4, 3)])
    states = [np.ones((40, 3)), np.ones((40, 4))]
    x = np.zeros((40, T, D))
    output, h, c = map(
        np.asarray, layer(x, initial_state=states, training=True)
    )
    for step in range(T):
        assert set(np.unique(output[:, step])) == {0, 2.0 ** (step + 1)}
        assert ((output[:, step] > 0) == (h > 0)).all()
    assert set(np.unique(c)) == {0, 2.0**T}
    assert (np.asarray(layer(x, initial_state=states)[1]) == 1).all()


def test_dropout_of_x_leaves_states_alone_and_the_reverse():
    spec = CellSpec("copy", ["next_h = linear(x) + 10 * linear(h)"], ["h"])
    for rate, kept in (("dropout", 10), ("recurrent_dropout", 1)):
        cell = NASCell(H, spec, seed=0, **{rate: 0.5})
        layer = keras.layers.RNN(cell)
        layer.build((None, 1, H))
        layer.set_weights([np.eye(H), np.eye(H)])
        x, h = np.ones((40, 1, H)), np.ones((40, H))
        output = layer(x, initial_state=[h], training=True)
        assert set(np.unique(output)) == {kept, kept + 2 * (11 - kept)}


def test_dropout_trains_in_a_graph():
    layer = NASRNN(H, "nascell", dropout=0.3, recurrent_dropout=0.3, seed=0)
    model = keras.Sequential([layer])
    model.compile("sgd", "mse")
    data = normal(8, T, D), normal(8, H)
    losses = model.fit(*data, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("projection", [None, 2])
def test_recurrent_dropout_fits_operands_of_any_width(projection):
    equations = ["next_h = linear(tanh(x)) + linear(tanh(h)) + linear(h)"]
    layer = NASRNN(
        4,
        CellSpec("widths", equations, ["h"]),
        projection=projection,
        recurrent_dropout=0.5,
        seed=0,
    )
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    assert layer(x, training=True).shape == (2, projection or 4)
    assert not np.array_equal(layer(x, training=True), layer(x))
