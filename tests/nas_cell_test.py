"""Tests of `NASCell` and `NASRNN` against NumPy and Keras's own layers."""

import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import oracles
from layer_testing import near
from layer_testing import normal
from layer_testing import randomize
from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from nas_keras.cells import load_spec
from nas_keras.cells import register_cell
from nas_keras.cells import spec as spec_module

B, T, D, H, P = 3, 5, 4, 6, 2
# A cell with a weight of every role.
EVERY_ROLE = CellSpec(
    "every_role",
    ["next_c = tanh(linear(x) + linear(h) * linear(c))", "next_h = next_c - c"],
)
ROLES = {
    "kernel": {"kernel"},
    "recurrent": {"recurrent_kernel", "kernel_c"},
    "bias": {"bias"},
    "projection": {"projection_kernel"},
}


def built(layer, *shape):
    layer.build((None, *(shape or (D,))))
    return randomize(layer)


# The numbers.


@pytest.mark.parametrize("projection", [None, P])
@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("name", ["lstm", "nascell"])
def test_cell_matches_numpy(name, use_bias, projection):
    cell = built(NASCell(H, name, projection, use_bias))
    x, h, c = normal(B, D), normal(B, projection or H, seed=7), normal(B, H)
    weights = {w.name: np.asarray(w) for w in cell.weights}
    if projection:
        weights["projection"] = weights.pop("projection_kernel")
    output, states = cell(x, [h, c])
    near(states, getattr(oracles, name)(x, h, c, **weights))
    near([output], [states[0]], 0)


@pytest.mark.parametrize("use_bias", [False, True])
def test_gru_matches_numpy(use_bias):
    cell = built(NASCell(H, "gru", use_bias=use_bias))
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
    cell = built(NASCell(H, EVERY_ROLE, P, use_bias=True))
    assert {w.name: tuple(w.shape) for w in cell.weights} == {
        "kernel": (D, H),
        "recurrent_kernel": (P, H),
        "kernel_c": (H, H),
        "bias": (2 * H,),
        "projection_kernel": (H, P),
    }
    assert cell.state_size == [P, H]
    assert cell.output_size == P


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
    cell = built(NASCell(H, spec, use_bias=True))
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
    ours = built(NASRNN(H, "lstm", True, use_bias=use_bias), T, D)
    theirs = keras.layers.LSTM(H, return_sequences=True, use_bias=use_bias)
    theirs.build((None, T, D))
    theirs.set_weights(ours.get_weights())
    output, of_x, of_weights = gradients_of(ours, normal(B, T, D))
    want, want_of_x, want_of_weights = gradients_of(theirs, normal(B, T, D))
    near([output, of_x, *of_weights], [want, want_of_x, *want_of_weights])


@pytest.mark.parametrize("use_bias", [False, True])
def test_gru_equals_that_of_keras_in_outputs_and_gradients(use_bias):
    ours = built(NASRNN(H, "gru", True, use_bias=use_bias), T, D)
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
    ours = built(NASRNN(H, name, True, True, use_bias=True), T, D)
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


# What keras.layers.RNN does with it.


def test_shapes_with_projection_are_known_before_and_after_a_call():
    layer = NASRNN(H, "nascell", True, True, projection=P)
    symbolic = layer(keras.Input((T, D)))
    assert [t.shape for t in symbolic] == [(None, T, P), (None, P), (None, H)]
    values = layer(normal(B, T, D))
    assert [t.shape for t in values] == [(B, T, P), (B, P), (B, H)]


def test_masked_steps_are_skipped():
    layer = built(NASRNN(H, "nascell", True, True), T, D)
    x = normal(B, T, D)
    mask = np.ones((B, T), bool)
    mask[:, 3:] = False
    output, *states = layer(x, mask=mask)
    want, *want_states = layer(x[:, :3])
    near([output[:, :3], *states], [want, *want_states])
    near([output[:, 3], output[:, 4]], [want[:, 2], want[:, 2]])


def test_masked_outputs_are_zero_on_demand():
    layer = NASRNN(H, "lstm", True, zero_output_for_mask=True)
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
    layer = built(NASRNN(H, "lstm", True, True), T, D)
    x = normal(B, T, D)
    output, h, c = layer(x)
    first, *states = layer(x[:, :2])
    second, *last = layer(x[:, 2:], initial_state=states)
    near([np.concatenate([first, second], axis=1), *last], [output, h, c])
    near([output[:, -1]], [h])
    weights = map(np.asarray, layer.weights)
    want = oracles.lstm(x[:, 0], *map(np.asarray, (h, c)), *weights)
    near(layer(x[:, :1], initial_state=[h, c])[1:], want)


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
    layer = built(NASRNN(H, name, True, dtype="mixed_bfloat16"), T, D)
    plain = NASRNN(H, name, True)
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


# Dropout.


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
        *(4, CellSpec("copy", equations), True, True),
        **{"projection": 3, "recurrent_dropout": 0.5, "seed": 0},
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


# Arguments.


@pytest.mark.parametrize("units", [0, -1, 2.5, "four", True, None])
def test_units_must_be_an_int_of_at_least_1(units):
    message = (
        f"units must be an int of at least 1.*units={re.escape(repr(units))}"
    )
    for layer in (NASCell, NASRNN):
        with pytest.raises(ValueError, match=message):
            layer(units)


@pytest.mark.parametrize("projection", [0, -1, 2.5, "four", True])
def test_projection_must_be_an_int_of_at_least_1_or_none(projection):
    message = f"an int of at least 1.*projection={re.escape(repr(projection))}"
    with pytest.raises(ValueError, match=message):
        NASCell(4, projection=projection)


@pytest.mark.parametrize("use_bias", ["no", 1, None])
def test_use_bias_must_be_a_boolean(use_bias):
    message = f"True or False. Received: use_bias={use_bias!r}"
    with pytest.raises(ValueError, match=message):
        NASCell(4, use_bias=use_bias)


@pytest.mark.parametrize("argument", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("rate", [1.0, -0.1, "a", True, None, float("nan")])
def test_rates_must_be_in_the_unit_interval(argument, rate):
    message = rf"{argument} must be in \[0, 1\).*{argument}={rate!r}"
    with pytest.raises(ValueError, match=message):
        NASCell(4, **{argument: rate})


def test_unknown_cell_lists_the_published_ones():
    with pytest.raises(ValueError, match=r"'lstmm'\. Published.*'lstm'"):
        NASRNN(4, "lstmm")
    with pytest.raises(ValueError, match="by a name or a path. Received: 3"):
        NASCell(4, 3)
    with pytest.raises(ValueError, match=r"missing: \['equations', 'name'"):
        NASCell(4, {})


def test_spec_is_given_as_spec_name_path_or_dictionary(tmp_path):
    lstm = load_spec("lstm")
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(lstm.to_dict()))
    for spec in (lstm, "lstm", path, str(path), lstm.to_dict()):
        assert NASCell(4, spec).spec == lstm
        assert NASRNN(4, spec).cell.spec == lstm
    assert NASCell(4).spec == load_spec("nascell")


def test_unknown_argument_is_refused():
    for layer in (NASCell, NASRNN):
        with pytest.raises(ValueError, match="colour"):
            layer(4, colour="red")


@pytest.mark.parametrize(
    ("equations", "arguments", "message"),
    [
        (
            ["a = tanh(linear(x))", "next_h = a * x"],
            {},
            r"equation 2 \('next_h = a \* x'\) joins widths \[4, 6\]",
        ),
        (["next_h = x"], {}, r"equation 1 .* joins widths \[4, 6\].* x has"),
        (
            ["next_h = linear(x) * h"],
            {"projection": 2},
            r"equation 1 .*\[2, 6\].* h 2, .*units=6, projection=2",
        ),
        (["next_h = h"], {"projection": 2}, r"equation 1 .*\[2, 6\]"),
        (["next_h = max(x, h)"], {}, r"equation 1 .*max.* \[4, 6\]"),
    ],
)
def test_widths_that_differ_are_named(equations, arguments, message):
    spec = CellSpec("toy", equations, ["h"])
    with pytest.raises(ValueError, match=f"cell 'toy': {message}"):
        NASCell(H, spec, **arguments).build((None, D))


def test_input_of_the_width_that_the_equations_ask_for_is_accepted():
    spec = CellSpec("toy", ["next_h = x * linear(h)"], ["h"])
    assert NASRNN(D, spec)(normal(B, T, D)).shape == (B, D)


def test_width_of_the_input_must_be_known():
    with pytest.raises(ValueError, match="last axis of the input must be kno"):
        NASCell(H).build((None, None))


@pytest.mark.parametrize("role", sorted(ROLES))
def test_initializer_of_a_role_sets_its_weights_only(role):
    initializer = keras.initializers.Constant(0.25)
    cell = NASCell(
        *(H, EVERY_ROLE, P, True), **{f"{role}_initializer": initializer}
    )
    cell.build((None, D))
    for weight in cell.weights:
        is_constant = bool((np.asarray(weight) == 0.25).all())
        assert is_constant == (weight.name in ROLES[role])


def test_default_initializers_are_those_of_the_signature():
    cell = NASCell(H)
    assert isinstance(cell.kernel_initializer, keras.initializers.GlorotUniform)
    assert isinstance(cell.recurrent_initializer, keras.initializers.Orthogonal)
    assert isinstance(cell.bias_initializer, keras.initializers.Zeros)
    projection = cell.projection_initializer
    assert isinstance(projection, keras.initializers.GlorotUniform)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_regularizer_of_a_role_adds_the_losses_of_its_weights(role):
    layer = NASRNN(
        *(H, EVERY_ROLE),
        **{"projection": P, "use_bias": True},
        **{f"{role}_regularizer": keras.regularizers.L2(0.5)},
    )
    built(layer, T, D)
    want = [
        0.5 * np.square(w).sum() for w in layer.weights if w.name in ROLES[role]
    ]
    near(layer.losses, want)
    assert want


@pytest.mark.parametrize("role", sorted(ROLES))
def test_constraint_of_a_role_holds_after_a_training_step(role):
    layer = NASRNN(
        *(H, EVERY_ROLE),
        **{"projection": P, "use_bias": True},
        **{f"{role}_constraint": keras.constraints.NonNeg()},
    )
    model = keras.Sequential([layer])
    model.build((None, T, D))
    randomize(layer)
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(normal(B, T, D), normal(B, P), verbose=0)
    for weight in layer.weights:
        holds = bool((np.asarray(weight) >= 0).all())
        assert holds == (weight.name in ROLES[role])


def test_name_and_dtype_are_honoured():
    assert NASCell(4, name="mine").name == "mine"
    layer = NASRNN(4, name="mine", dtype="float64")
    assert layer.name == "mine"
    assert layer(np.zeros((B, T, D))).dtype == tf.float64
    assert {w.dtype for w in layer.weights} == {"float64"}


# Configurations and files.


def unusual_arguments():
    """Every argument, none at its default."""
    return {
        "spec": EVERY_ROLE,
        "projection": P,
        "use_bias": True,
        "dropout": 0.1,
        "recurrent_dropout": 0.2,
        "kernel_initializer": keras.initializers.RandomNormal(stddev=0.1),
        "recurrent_initializer": keras.initializers.Constant(0.1),
        "bias_initializer": "ones",
        "projection_initializer": keras.initializers.HeNormal(seed=3),
        "kernel_regularizer": keras.regularizers.L1(0.1),
        "recurrent_regularizer": "l2",
        "bias_regularizer": keras.regularizers.L1L2(0.1, 0.2),
        "projection_regularizer": keras.regularizers.L2(0.3),
        "kernel_constraint": keras.constraints.MaxNorm(3),
        "recurrent_constraint": "non_neg",
        "bias_constraint": keras.constraints.UnitNorm(axis=0),
        "projection_constraint": keras.constraints.MinMaxNorm(0, 2),
        "seed": 5,
        "dtype": "mixed_bfloat16",
        "name": "mine",
    }


@pytest.mark.parametrize("layer_class", [NASCell, NASRNN])
def test_configuration_is_json_able_and_makes_an_equal_layer(layer_class):
    arguments = unusual_arguments()
    if layer_class is NASRNN:
        names = ("return_sequences", "return_state", "go_backwards", "stateful")
        arguments |= dict.fromkeys((*names, "zero_output_for_mask"), True)
        arguments["jit_compile"] = False
    layer = layer_class(H, **arguments)
    config = layer.get_config()
    again = layer_class.from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    default = layer_class(4).get_config()
    same = {key for key in config if config[key] == default.get(key)}
    assert same <= {"trainable", "unroll"}
    assert set(arguments) | {"units"} <= set(config)
    cell = again.cell if layer_class is NASRNN else again
    assert cell.spec == EVERY_ROLE
    assert cell.seed == 5
    assert cell.compute_dtype == "bfloat16"
    assert cell.projection_constraint.max_value == 2


def test_configuration_holds_the_spec_not_its_name():
    spec = NASRNN(4, "lstm").get_config()["spec"]
    assert spec == load_spec("lstm").to_dict()


def make_model():
    spec = CellSpec(
        "only_here",
        [
            "a = relu(linear(x) * linear(h))",
            "next_h = tanh(a - sin(linear(a)))",
        ],
        ["h"],
        {"tokens": [1, 2]},
    )
    register_cell(spec)
    initializer = keras.initializers.RandomNormal(stddev=0.5, seed=1)
    return keras.Sequential(
        [
            keras.Input((T, D)),
            NASRNN(
                *(H, "nascell", True),
                **{"projection": P, "kernel_initializer": initializer},
            ),
            keras.layers.RNN(NASCell(H, "only_here", use_bias=True)),
        ]
    )


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """A folder with a model of a cell that is known to this process only."""
    folder = tmp_path_factory.mktemp("saved")
    model = randomize(make_model())
    del spec_module._registered["only_here"]
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    np.save(folder / "x.npy", normal(B, T, D))
    np.save(folder / "y.npy", model.predict(normal(B, T, D), verbose=0))
    return folder


def test_saved_model_loads_equal(saved_model):
    model = keras.models.load_model(saved_model / "model.keras")
    x, want = (np.load(saved_model / name) for name in ("x.npy", "y.npy"))
    near([model(x)], [want])
    assert model.layers[1].cell.spec.provenance == {"tokens": [1, 2]}


def test_saved_weights_load_equal(saved_model):
    model = make_model()
    del spec_module._registered["only_here"]
    x, want = (np.load(saved_model / name) for name in ("x.npy", "y.npy"))
    assert np.abs(np.asarray(model(x)) - want).max() > 1e-3
    model.load_weights(saved_model / "model.weights.h5")
    near([model(x)], [want])


def start_python(*lines, folder="."):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("NAS_KERAS_CELLS", None)
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(process):
    output, errors = process.communicate()
    return output if process.returncode == 0 else errors


# The layers, which are imported here, load no library that Keras does not.
KERAS_FIRST = """
import sys
import keras
before = set(sys.modules)
import nas_keras
assert "nas_keras.cells.nas_rnn" in sys.modules
new = {name.split(".")[0] for name in set(sys.modules) - before}
new -= {name.split(".")[0] for name in before}
assert new - sys.stdlib_module_names <= {"lazy_loader", "nas_keras"}, new
"""


def test_saved_model_loads_in_processes_that_only_import(saved_model):
    orders = {
        "import nas_keras; import keras": "keras.models.load_model",
        KERAS_FIRST: "keras.models.load_model",
        "import nas_keras, tensorflow as tf": "tf.keras.models.load_model",
    }
    processes = [
        start_python(
            imports,
            "import numpy as np",
            f"model = {load_model}('model.keras')",
            "got = model(np.load('x.npy'))",
            "np.testing.assert_allclose(got, np.load('y.npy'), rtol=1e-5)",
            folder=saved_model,
        )
        for imports, load_model in orders.items()
    ]  # All at once: each takes seconds.
    assert [output_of(process) for process in processes] == ["", "", ""]


def test_specs_spaces_and_loop_import_neither_keras_nor_tensorflow():
    process = start_python(
        "import sys",
        "import nas_keras",
        "import nas_keras.cells.spec",
        "import nas_keras.spaces",
        "import nas_keras.search.loop",
        "nas_keras.load_spec('lstm').fingerprint",
        "nas_keras.spaces.tree_space(8).decode([0] * 34)",
        "print({'keras', 'tensorflow'} & set(sys.modules))",
    )
    assert output_of(process) == "set()\n"


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
