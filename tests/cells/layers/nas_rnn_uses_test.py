"""Uses of `NASRNN` that the table of conformance_test.py has no column of."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas_keras.cells import NASRNN
from nas_keras.cells import NASCell
from nas_keras.cells.layers.loops import tensorflow as tensorflow_loop
from tests.conformance_testing import MASK
from tests.conformance_testing import TOLERANCE
from tests.conformance_testing import B
from tests.conformance_testing import D
from tests.conformance_testing import H
from tests.conformance_testing import T
from tests.conformance_testing import compare
from tests.conformance_testing import near
from tests.conformance_testing import pair
from tests.conformance_testing import random
from tests.conformance_testing import results


def test_fit_and_predict_of_a_stack_of_every_kind():
    name = "gru"
    found = []
    for make in (
        lambda: NASRNN(H, name, return_sequences=True),
        lambda: NASRNN(H, name, return_sequences=True, jit_compile=False),
        lambda: keras.layers.RNN(NASCell(H, name), return_sequences=True),
    ):
        model = keras.Sequential([keras.Input((T, D)), make(), make()])
        model.set_weights(
            [random(*w.shape, seed=k) for k, w in enumerate(model.weights)]
        )
        model.compile("sgd", "mse")
        x, y = random(5, T, D, seed=20), random(5, T, H, seed=25)
        model.fit(x, y, batch_size=2, epochs=2, shuffle=False, verbose=0)
        found.append([*model.get_weights(), model.predict(x, verbose=0)])
    near(found[0], found[2])
    near(found[1], found[2])


def second_derivatives(layer):
    x = tf.constant(random(B, T, D, seed=20, dtype="float64"))
    return second_derivatives_of(layer, x).numpy()


def second_derivatives_of(layer, x):
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            loss = tf.reduce_sum(layer(x) ** 2)
        penalty = tf.reduce_sum(inner.gradient(loss, x) ** 2)
    return outer.gradient(penalty, x)


def test_second_derivatives():
    fast, plain = pair("gru", dtype="float64")
    want = second_derivatives(plain)
    near([second_derivatives(fast)], [want], TOLERANCE["float64"])


def test_second_derivatives_in_a_function():
    fast, plain = pair("ugrnn", {"jit_compile": "auto"}, dtype="float64")
    found = tf.function(second_derivatives_of, autograph=False)
    x = tf.constant(random(B, T, D, seed=20, dtype="float64"))
    want = second_derivatives(plain)
    near([found(fast, x).numpy()], [want], TOLERANCE["float64"])


def test_second_derivatives_under_xla_are_not_numbers():
    fast, plain = pair("ugrnn", {"jit_compile": True}, dtype="float64")
    assert np.isnan(second_derivatives(fast)).all()
    x = random(B, T, D, seed=20, dtype="float64")
    near(results(fast, x), results(plain, x), TOLERANCE["float64"])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_two_tapes_at_once(jit_compile):
    found = []
    for layer in pair("lstm", {"jit_compile": jit_compile}):
        x = tf.constant(random(B, T, D, seed=20))
        weights = [weight.value for weight in layer.weights]
        with tf.GradientTape() as one, tf.GradientTape() as two:
            two.watch(x)
            output = layer(x)
            losses = tf.reduce_sum(output**2), tf.reduce_sum(output**3)
        gradients = one.gradient(losses[0], weights)
        gradients.append(two.gradient(losses[1], x))
        found.append([gradient.numpy() for gradient in gradients])
    near(*found)


@pytest.mark.parametrize(
    "mask",
    [MASK[..., None], MASK.astype("float32"), MASK.astype("int32"), MASK[:1]],
    ids=["last axis", "float", "int", "one row for all"],
)
def test_masks_of_other_forms(mask):
    compare("lstm", call={"mask": tf.constant(mask)})


def test_loop_in_plain_tensorflow_within_an_xla_compiled_function():
    fast, plain = pair("nascell", {"jit_compile": False})
    x = random(B, T, D, seed=20)
    near(results(fast, x, compiled=True), results(plain, x))


def test_compiled_functions_may_be_dropped_before_the_backward_pass():
    found = []
    for layer in pair("ugrnn"):
        weights = [weight.value for weight in layer.weights]
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(random(B, T, D, seed=20)) ** 2)
        tensorflow_loop.loop_function.cache_clear()
        gc.collect()
        found.append([g.numpy() for g in tape.gradient(loss, weights)])
    near(*found)


def test_layers_of_one_cell_keep_the_lengths_of_their_own_inputs():
    for length in (4, 6, 8, 4):
        model = keras.Sequential(
            [
                keras.Input((length, D)),
                NASRNN(
                    H, "simple_rnn", return_sequences=True, jit_compile=False
                ),
                keras.layers.LSTM(2, unroll=True),  # Asks for a known length.
            ]
        )
        model.compile("sgd", "mse")
        data = random(5, length, D, seed=20), random(5, 2, seed=25)
        assert np.isfinite(model.train_on_batch(*data))
