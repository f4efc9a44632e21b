"""What tests of saving share: both layers of a cell, and models of them."""

import keras
import numpy as np
import pytest

from nas_keras.cells import NASRNN
from nas_keras.cells import NASCell
from tests.cell_testing import EVERY_ROLE
from tests.layer_testing import randomize

B, T, D, H, P = 3, 5, 4, 6, 2


def nas_rnn(spec=EVERY_ROLE, **arguments):
    return NASRNN(H, spec, return_sequences=True, name="mine", **arguments)


def rnn_of_cell(spec=EVERY_ROLE, stateful=False, **arguments):
    cell = NASCell(H, spec, name="cell", **arguments)
    return keras.layers.RNN(
        cell, return_sequences=True, stateful=stateful, name="mine"
    )


LAYERS = {
    "NASRNN": nas_rnn,
    "NASRNN with XLA": lambda *a, **k: nas_rnn(*a, jit_compile=True, **k),
    "NASRNN without XLA": lambda *a, **k: nas_rnn(*a, jit_compile=False, **k),
    "RNN(NASCell)": rnn_of_cell,
}
TWO_LAYERS = {name: LAYERS[name] for name in ("NASRNN", "RNN(NASCell)")}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
both_layers = pytest.mark.parametrize(
    "make", TWO_LAYERS.values(), ids=TWO_LAYERS
)


def model_of(layer, length=T, seed=1):
    """Returns a model with random weights: zeros would hide lost biases."""
    model = keras.Sequential(
        [keras.Input((length, D)), layer, keras.layers.Dense(2)]
    )
    return randomize(model, seed)


def near(value, want, tolerance=1e-5):
    np.testing.assert_allclose(
        np.asarray(value), np.asarray(want), rtol=tolerance, atol=tolerance / 10
    )


def differs(value, want):
    return np.abs(np.asarray(value) - np.asarray(want)).max() > 1e-2
