"""`NASRNN` and a plain `RNN` of one cell and the same weights, compared."""

import functools

import keras
import numpy as np
import tensorflow as tf

from nas_keras.cells import NASRNN
from nas_keras.cells import NASCell
from nas_keras.cells import load_spec
from tests import layer_testing

B, T, D, H, P = 3, 4, 5, 3, 2
TOLERANCE = {"float64": 1e-11, "float32": 1e-5}


random = functools.partial(layer_testing.normal, scale=0.7)


def pair(name, layer_arguments=None, **cell_arguments):
    """Returns a `NASRNN` and a plain `RNN` with the same random weights."""
    layer_arguments = {"return_sequences": True, **(layer_arguments or {})}
    spec = load_spec(name) if isinstance(name, str) else name
    dtype = cell_arguments.get("dtype")
    fast = NASRNN(
        H,
        spec,
        **{"jit_compile": False, **layer_arguments},
        **cell_arguments,
    )
    plain = {k: v for k, v in layer_arguments.items() if k != "jit_compile"}
    cell = NASCell(H, spec, **cell_arguments)
    plain = keras.layers.RNN(cell, dtype=dtype, **plain)
    for layer in (fast, plain):
        layer.build((B, T, D))
    weights = [
        random(*w.shape, seed=k, dtype=w.dtype)
        for k, w in enumerate(fast.cell.weights)
    ]
    fast.cell.set_weights(weights)
    plain.cell.set_weights(weights)
    return fast, plain


def results(layer, *inputs, compiled=False, **call):
    """Returns the outputs of a layer, and the gradients of all it depends on.

    Args:
        layer: What is called.
        *inputs: x [B, T, D], then the first states if they are given.
        compiled: Whether an XLA-compiled function calls the layer.
        **call: Further arguments of the call.
    """
    inputs = [tf.constant(value) for value in inputs]
    weights = [weight.value for weight in layer.trainable_weights]

    def run():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            x, *states = inputs
            given = {"initial_state": states} if states else {}
            outputs = layer(x, **given, **call)
            outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
            loss = sum(
                tf.reduce_sum(
                    output
                    * tf.cast(random(*output.shape, seed=9 + k), output.dtype)
                )
                for k, output in enumerate(outputs)
            )
        gradients = tape.gradient(
            loss, [*inputs, *weights], unconnected_gradients="zero"
        )
        return outputs, gradients

    outputs, gradients = (
        tf.function(run, jit_compile=True)() if compiled else run()
    )
    return [np.asarray(tf.cast(v, "float64")) for v in [*outputs, *gradients]]


def near(values, want, tolerance=TOLERANCE["float32"]):
    assert len(values) == len(want)
    for value, expected in zip(values, want, strict=True):
        scale = max(np.abs(expected).max(), 1)
        np.testing.assert_allclose(value, expected, 0, tolerance * scale)


def compare(name, *states, layer_arguments=None, call=None, **cell_arguments):
    """Checks that the two layers of `pair` agree."""
    fast, plain = pair(name, layer_arguments, **cell_arguments)
    dtype = cell_arguments.get("dtype", "float32")
    tolerance = TOLERANCE.get(dtype, TOLERANCE["float32"])
    dtype = dtype if dtype in TOLERANCE else "float32"
    inputs = [random(B, T, D, seed=20, dtype=dtype), *states]
    near(
        results(fast, *inputs, **(call or {})),
        results(plain, *inputs, **(call or {})),
        tolerance,
    )


def first_states(name, width=H):
    spec = load_spec(name) if isinstance(name, str) else name
    return [
        random(B, width if state == "h" else H, seed=30 + k)
        for k, state in enumerate(spec.states)
    ]


MASK = np.array([[1, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]], bool)
