"""Cells on Keras's other backends, where those are installed.

Each runs in a process of its own, which Keras wants, without TensorFlow.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import keras
import numpy as np
import oracles
from nas_keras.cells import NASRNN, load_spec, published_cells

draw = np.random.default_rng(0).normal
mask = np.array([[1, 1, 0, 1], [0, 1, 1, 1]], bool)
for name in published_cells():
    x = draw(size=(2, 4, 5)).astype("float32")
    layer = NASRNN(3, name, return_state=True, use_bias=True)
    layer.build(x.shape)
    for weight in layer.weights:
        weight.assign(draw(size=weight.shape))
    weights = {w.name: keras.ops.convert_to_numpy(w) for w in layer.weights}
    want = [np.zeros((2, 3)) for _ in load_spec(name).states]
    for step in range(4):
        new = oracles.CELLS[name](x[:, step], *want, weights)
        keep = mask[:, step : step + 1]
        want = [np.where(keep, a, b) for a, b in zip(new, want)]
    _, *states = layer(x, mask=mask)
    for state, expected in zip(states, want):
        found = keras.ops.convert_to_numpy(state)
        np.testing.assert_allclose(found, expected, 1e-5, 1e-6)

layers = [
    NASRNN(3, "gru", True, dropout=0.1, recurrent_dropout=0.1),
    NASRNN(3, "nascell"),
]
model = keras.Sequential([keras.Input((4, 5)), *layers])
model.compile("adam", "mse")
x, y = draw(size=(8, 4, 5)), 0.1 * draw(size=(8, 3))
losses = model.fit(x, y, epochs=20, verbose=0).history["loss"]
assert losses[-1] < losses[0], losses
assert "tensorflow" not in sys.modules
print(keras.backend.backend())
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_cells_run_without_tensorflow(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed.")
    tests = str(pathlib.Path(__file__).parent)
    path = os.pathsep.join([tests, *filter(None, sys.path)])
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": path,
    }
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout) == (0, f"{backend}\n"), (
        process.stderr
    )
