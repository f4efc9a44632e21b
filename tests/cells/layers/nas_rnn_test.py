"""Tests of `NASRNN`: what `keras.layers.RNN` does with a cell."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas_keras.cells import NASRNN
from nas_keras.cells import NASCell
from tests import oracles
from tests.layer_testing import built
from tests.layer_testing import near
from tests.layer_testing import normal
from tests.layer_testing import randomize
from tests.raising import raises

B, T, D, H, P = 3, 5, 4, 6, 2


def test_shapes_with_projection_are_known_before_and_after_a_call():
    layer = NASRNN(
        H, "nascell", return_sequences=True, return_state=True, projection=P
    )
    symbolic = layer(keras.Input((T, D)))
    assert [t.shape for t in symbolic] == [(None, T, P), (None, P), (None, H)]
    values = layer(normal(B, T, D))
    assert [t.shape for t in values] == [(B, T, P), (B, P), (B, H)]


def test_masked_steps_are_skipped():
    layer = built(
        NASRNN(H, "nascell", return_sequences=True, return_state=True), T, D
    )
    x = normal(B, T, D)
    mask = np.ones((B, T), bool)
    mask[:, 3:] = False
    output, *states = layer(x, mask=mask)
    want, *want_states = layer(x[:, :3])
    near([output[:, :3], *states], [want, *want_states])
    near([output[:, 3], output[:, 4]], [want[:, 2], want[:, 2]])


def test_masked_outputs_are_zero_on_demand():
    layer = NASRNN(H, "lstm", return_sequences=True, zero_output_for_mask=True)
    built(layer, T, D)
    mask = np.ones((B, T), bool)
    mask[:, 3:] = False
    output = np.asarray(layer(normal(B, T, D), mask=mask))
    assert not output[:, 3:].any()
    assert output[:, :3].all()


def test_mask_of_an_embedding_reaches_the_layer():
    model = keras.Sequential(
        [keras.layers.Embedding(9, D, mask_zero=True), NASRNN(H)]
    )
    tokens = np.array([[3, 4, 0, 0], [5, 6, 7, 0]])
    output = np.asarray(model(tokens))
    near([output[:1]], [model(tokens[:1, :2])])


def test_initial_state_goes_in_as_h_then_c_and_last_states_come_out():
    layer = built(
        NASRNN(H, "lstm", return_sequences=True, return_state=True), T, D
    )
    x = normal(B, T, D)
    output, h, c = layer(x)
    first, *states = layer(x[:, :2])
    second, *last = layer(x[:, 2:], initial_state=states)
    near([np.concatenate([first, second], axis=1), *last], [output, h, c])
    near([output[:, -1]], [h])
    weights = map(np.asarray, layer.weights)
    want = oracles.lstm(x[:, 0], *map(np.asarray, (h, c)), *weights)
    near(layer(x[:, :1], initial_state=[h, c])[1:], want)


@pytest.mark.parametrize("unroll", [False, True])
def test_a_state_too_few_or_too_many_is_named(unroll):
    layer = built(NASRNN(H, "lstm", unroll=unroll), T, D)
    h = normal(B, H)
    for states in [h], [h, h, h]:
        message = f"must be ['h', 'c'], in this order. Received: {len(states)}"
        with raises(message):
            layer(normal(B, T, D), initial_state=states)


@pytest.mark.parametrize("shape", [(B, D), (B, T, D, 1)])
def test_what_is_no_sequence_is_refused_as_by_keras(shape):
    with raises("expected ndim=3, found"):
        NASRNN(H)(keras.Input(shape[1:]))
    with raises("expected ndim=3, found"):
        NASRNN(H)(normal(*shape))


def test_initial_state_is_zero():
    layer = built(NASRNN(H, "nascell", projection=P), T, D)
    zeros = [np.zeros((B, P)), np.zeros((B, H))]
    x = normal(B, T, D)
    near([layer(x)], [layer(x, initial_state=zeros)], 0)


def test_stateful_layer_goes_on_where_it_stopped():
    x = normal(B, T, D)
    layer = NASRNN(H, "nascell", stateful=True)
    layer.build((B, T, D))
    randomize(layer.cell)
    plain = NASRNN(H, "nascell")
    plain.build((B, T, D))
    plain.set_weights(layer.cell.get_weights())
    layer(x[:, :2])
    near([layer(x[:, 2:])], [plain(x)])
    layer.reset_state()
    near([layer(x)], [plain(x)])


def test_go_backwards_reads_from_the_end():
    forward = built(NASRNN(H, return_sequences=True), T, D)
    backward = NASRNN(H, return_sequences=True, go_backwards=True)
    backward.build((None, T, D))
    backward.set_weights(forward.get_weights())
    x = normal(B, T, D)
    near([backward(x)], [forward(x[:, ::-1])])


def test_unrolled_loop_computes_the_same():
    looped = built(NASRNN(H, "gru"), T, D)
    unrolled = NASRNN(H, "gru", unroll=True)
    unrolled.build((None, T, D))
    unrolled.set_weights(looped.get_weights())
    near([unrolled(normal(B, T, D))], [looped(normal(B, T, D))])
    assert unrolled.unroll
    assert NASRNN.from_config(unrolled.get_config()).unroll


def test_bidirectional_runs_both_ways():
    layer = keras.layers.Bidirectional(
        NASRNN(H, "gru", return_sequences=True, use_bias=True)
    )
    built(layer, T, D)
    x = normal(B, T, D)
    output = np.asarray(layer(x))
    near([output[..., :H]], [layer.forward_layer(x)])
    near([output[:, ::-1, H:]], [layer.backward_layer(x)])
    reverse = layer.backward_layer.get_weights()
    forward = NASRNN(H, "gru", return_sequences=True, use_bias=True)
    forward.build((None, T, D))
    forward.set_weights(reverse)
    near([output[:, ::-1, H:]], [forward(x[:, ::-1])])


def test_cells_can_be_stacked_in_one_rnn():
    cells = [NASCell(H, "nascell", projection=P), NASCell(3, "gru")]
    layer = built(keras.layers.RNN(cells, return_sequences=True), T, D)
    x = normal(B, T, D)
    first = NASRNN(H, "nascell", return_sequences=True, projection=P)
    second = NASRNN(3, "gru", return_sequences=True)
    y = first(x)
    second(y)
    first.set_weights(cells[0].get_weights())
    second.set_weights(cells[1].get_weights())
    near([layer(x)], [second(first(x))])


@pytest.mark.parametrize("name", ["nascell", "gru"])
def test_mixed_precision_computes_in_bfloat16_and_keeps_float32(name):
    layer = built(
        NASRNN(H, name, return_sequences=True, dtype="mixed_bfloat16"), T, D
    )
    plain = NASRNN(H, name, return_sequences=True)
    plain.build((None, T, D))
    plain.set_weights(layer.get_weights())
    output = layer(normal(B, T, D))
    assert output.dtype == tf.bfloat16
    assert {w.dtype for w in layer.weights} == {"float32"}
    assert layer.cell.compute_dtype == "bfloat16"
    values = np.asarray(tf.cast(output, "float32"))
    np.testing.assert_allclose(values, plain(normal(B, T, D)), atol=0.1)


def test_xla_compiled_training_equals_plain_training():
    losses = []
    for how in ({"run_eagerly": True}, {"jit_compile": True}):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([NASRNN(H, "gru", use_bias=True)])
        model.compile("sgd", "mse", **how)
        data = normal(8, 3, D), normal(8, H, seed=3)
        history = model.fit(*data, epochs=3, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
    assert losses[0][2] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
