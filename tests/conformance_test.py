"""Every published cell, in every way a recurrent layer is used.

One table: cells are its rows, features its columns; of features that depend on
the kind of the equations alone, one cell of a kind; of those that do not depend
on them, one cell. `NASRNN` is held against
`keras.layers.RNN(NASCell(...))`, whose step is held against NumPy, in outputs
and in the gradients of inputs, first states and weights.
"""

import gc
import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import nas_keras.cells
import oracles
from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from nas_keras.cells import fast_path
from nas_keras.cells import load_spec
from nas_keras.cells import published_cells
from nas_keras.cells.graph import WidthError
from nas_keras.spaces import tree_space

B, T, D, H, P = 3, 4, 5, 3, 2
TOLERANCE = {"float64": 1e-11, "float32": 1e-5}
# Each a function and the cells that it is held for.
FEATURES = {}
ALL = tuple(sorted(oracles.CELLS))
# One state and a node; a product of another product, as the muts have too; two
# states, as all but a few; many nodes of one depth; a long chain of gates, as
# the other cells of ENAS and DARTS are.
ONE_OF_A_KIND = ("enas_ptb", "gru", "lstm", "nascell", "simple_rnn")


def feature(function, cells=ALL):
    """Adds a column to the table."""
    FEATURES[function.__name__] = function, cells
    return function


def use(function):
    """Adds a column that depends on the kind of the equations alone."""
    return feature(function, ONE_OF_A_KIND)


def use_of_any(function):
    """Adds a column that no equation changes: Keras does it to any layer."""
    return feature(function, ("gru",))


def random(*shape, seed=0, dtype="float32"):
    values = np.random.default_rng(seed).normal(size=shape)
    return (values * 0.7).astype(dtype)


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


class Stack(keras.layers.Layer):
    """Two recurrent layers, with the mask passed to both."""

    def __init__(self, lower, upper):
        super().__init__()
        self.lower, self.upper = lower, upper

    def call(self, x, keep):
        return self.upper(self.lower(x, mask=keep), mask=keep)


# The columns.


@feature
def steps_equal_numpy(name):
    fast, _ = pair(name, use_bias=True, dtype="float64")
    x = random(B, T, D, seed=20, dtype="float64")
    states = [state.astype("float64") for state in first_states(name)]
    weights = {w.name: np.asarray(w) for w in fast.cell.weights}
    want, now = [], states
    for step in range(T):
        now = oracles.CELLS[name](x[:, step], *now, weights)
        want.append(now[load_spec(name).states.index("h")])
    output = np.asarray(fast(x, initial_state=states))
    near([output], [np.stack(want, axis=1)], 1e-11)


@use
def outputs_and_gradients_of_a_sequence(name):
    compare(name)


@feature
def float64(name):
    compare(name, dtype="float64", use_bias=True)


@use
def last_output_only(name):
    compare(name, layer_arguments={"return_sequences": False})


@use
def first_and_last_states(name):
    arguments = {"return_state": True}
    compare(name, *first_states(name), layer_arguments=arguments)


@feature
def projection(name):
    spec = load_spec(name)
    try:
        spec.graph.widths(D, H, P)
    except WidthError:
        with pytest.raises(ValueError, match=f"{name}.*joins widths"):
            NASRNN(H, name, projection=P).build((B, T, D))
        return
    compare(
        name,
        *first_states(name, width=P),
        layer_arguments={"return_state": True},
        call={"mask": MASK},
        projection=P,
        use_bias=True,
    )


@feature
def masks(name):
    compare(
        name,
        *first_states(name),
        layer_arguments={"return_state": True},
        call={"mask": MASK},
    )


@use
def masks_that_give_zeros(name):
    compare(
        name,
        layer_arguments={"zero_output_for_mask": True},
        call={"mask": MASK},
    )


@use
def backwards(name):
    compare(
        name,
        *first_states(name),
        layer_arguments={"go_backwards": True, "return_state": True},
        call={"mask": MASK},
    )


@use
def other_lengths_and_batch_sizes(name):
    fast, plain = pair(name)
    for shape in ((B, T), (2, 7), (1, 1), (B, T)):
        x = random(*shape, D, seed=21)
        near(results(fast, x), results(plain, x))


@feature
def lengths_unknown_to_the_graph(name):
    fast, plain = pair(name)
    traces = []

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, D]),
            tf.TensorSpec([None, None], tf.bool),
        ]
    )
    def run(x, mask):
        traces.append(x.shape)
        return fast(x, mask=mask)

    for batch, length in ((B, T), (2, 6)):
        x = random(batch, length, D, seed=22)
        mask = np.arange(length) < np.arange(1, batch + 1)[:, None]
        near([run(x, mask)], [plain(x, mask=mask)])
    assert len(traces) == 1


@use
def stateful(name):
    fast, plain = pair(name, {"stateful": True})
    for seed in (23, 24):
        x = random(B, T, D, seed=seed)
        near(results(fast, x), results(plain, x))
    near(fast.states, plain.states)
    fast.reset_state()
    plain.reset_state()
    near([fast(x)], [plain(x)])


@feature
def dropout_by_one_mask_a_sequence(name):
    compare(
        name,
        call={"training": True},
        dropout=0.3,
        recurrent_dropout=0.4,
        use_bias=True,
        seed=3,
    )


@use
def dropout_with_masks_and_xla(name):
    compare(
        name,
        layer_arguments={"return_state": True, "jit_compile": True},
        call={"training": True, "mask": MASK},
        dropout=0.3,
        recurrent_dropout=0.4,
        use_bias=True,
        seed=3,
    )


@use
def called_in_an_xla_compiled_function(name):
    fast, plain = pair(name, {"jit_compile": "auto"})
    x = random(B, T, D, seed=20)
    near(results(fast, x, compiled=True), results(plain, x))


@use
def mixed_precision(name):
    x = random(B, T, D, seed=20)
    want = results(pair(name, {"return_state": True})[1], x)
    for dtype in ("mixed_float16", "mixed_bfloat16"):
        layers = pair(name, {"return_state": True}, dtype=dtype)
        assert layers[0](x)[0].dtype == dtype.removeprefix("mixed_")
        assert {w.dtype for w in layers[0].weights} == {"float32"}
        of_fast, of_plain = (
            sum(
                np.abs(value - expected).mean() / np.abs(expected).mean()
                for value, expected in zip(results(layer, x), want, strict=True)
            )
            for layer in layers
        )
        # The same rounding, in another order: the errors are of one size.
        assert of_fast < 2 * of_plain, dtype


@use_of_any
def bidirectional(name):
    fast, plain = (
        keras.layers.Bidirectional(layer) for layer in pair(name, use_bias=True)
    )
    x = random(B, T, D, seed=20)
    fast(x)
    plain(x)
    weights = [random(*w.shape, seed=k) for k, w in enumerate(fast.weights)]
    fast.set_weights(weights)
    plain.set_weights(weights)
    near(results(fast, x, mask=MASK), results(plain, x, mask=MASK))


@use_of_any
def stacked(name):
    fast, plain = pair(name)
    cell = NASCell(H, name)
    stacks = (
        Stack(fast, NASRNN(H, name, True, jit_compile=False)),
        Stack(plain, keras.layers.RNN(cell, return_sequences=True)),
    )
    found = []
    for stack in stacks:
        x = random(B, T, D, seed=20)
        stack(x, keep=MASK)
        stack.set_weights(
            [random(*w.shape, seed=k) for k, w in enumerate(stack.weights)]
        )
        found.append(results(stack, x, keep=MASK))
    near(*found)


@use_of_any
def unrolled(name):
    compare(name, layer_arguments={"unroll": True}, call={"mask": MASK})


@feature
def configuration(name):
    for layer in (
        NASCell(H, name, kernel_initializer=keras.initializers.Ones()),
        NASRNN(H, name, bias_initializer=keras.initializers.Ones()),
    ):
        config = json.loads(json.dumps(layer.get_config()))
        again = layer.__class__.from_config(config)
        assert again.get_config() == layer.get_config()
        assert getattr(again, "cell", again).spec == load_spec(name)


@feature
def cost(name):
    for use_bias in (False, True):
        cell = NASCell(H, name, use_bias=use_bias)
        cell.build((None, D))
        cost = load_spec(name).cost(D, H, use_bias=use_bias)
        assert cost.parameters == cell.count_params()


@pytest.mark.parametrize(
    ("feature_name", "name"),
    [
        (feature_name, name)
        for feature_name, (_, cells) in FEATURES.items()
        for name in cells
    ],
)
def test_conformance(feature_name, name):
    FEATURES[feature_name][0](name)


# The table is complete.


def test_every_published_cell_is_a_row():
    assert sorted(oracles.CELLS) == published_cells()


def test_every_public_layer_is_what_the_table_compares():
    public = {
        name
        for name in nas_keras.cells.__all__
        if inspect.isclass(thing := getattr(nas_keras.cells, name))
        and issubclass(thing, keras.layers.Layer)
    }
    assert public == {"NASCell", "NASRNN"}


def test_fit_and_predict_of_a_stack_of_every_kind():
    name = "gru"
    found = []
    for make in (
        lambda: NASRNN(H, name, True),
        lambda: NASRNN(H, name, True, jit_compile=False),
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
        fast_path.loop_function.cache_clear()
        gc.collect()
        found.append([g.numpy() for g in tape.gradient(loss, weights)])
    near(*found)


def test_layers_of_one_cell_keep_the_lengths_of_their_own_inputs():
    for length in (4, 6, 8, 4):
        model = keras.Sequential(
            [
                keras.Input((length, D)),
                NASRNN(H, "simple_rnn", True, jit_compile=False),
                keras.layers.LSTM(2, unroll=True),  # Asks for a known length.
            ]
        )
        model.compile("sgd", "mse")
        data = random(5, length, D, seed=20), random(5, 2, seed=25)
        assert np.isfinite(model.train_on_batch(*data))


# Cells that nobody published.


@pytest.mark.parametrize(
    ("states", "equations"),
    [
        (["h"], ["next_h = linear(x)"]),
        (["h"], ["next_h = tanh(linear(tanh(x)) + linear(linear(x)))"]),
        (["h", "c"], ["next_c = h", "next_h = linear(c) * linear(x)"]),
        (["h", "c"], ["f = linear(x)", "next_c = f", "next_h = tanh(f) + h"]),
        (["a", "h"], ["next_h = a", "next_a = h + sin(linear(x))"]),
        (["h"], ["next_h = mean(h, max(linear(h), linear(x)), 0.5, h * h)"]),
        (["h"], ["n = linear(h)", "next_h = -n * n + sigmoid(linear(n)) - n"]),
        (["h", "c"], ["n = tanh(linear(c))", "next_c = n", "next_h = n - c"]),
        (["h"], ["next_h = tanh(linear(linear(linear(h) * linear(x))))"]),
    ],
)
def test_unusual_cells(states, equations):
    spec = CellSpec("unusual", equations, states)
    compare(
        spec,
        *(s.astype("float64") for s in first_states(spec)),
        layer_arguments={"return_state": True},
        call={"mask": MASK, "training": True},
        use_bias=True,
        recurrent_dropout=0.3,
        dropout=0.2,
        seed=1,
        dtype="float64",
    )


def test_input_outside_linear():
    spec = CellSpec("wide", ["next_h = tanh(linear(x * h)) * x + h"], ["h"])
    fast, plain = NASRNN(H, spec), keras.layers.RNN(NASCell(H, spec))
    x = random(B, T, H, seed=20)
    fast(x)
    plain(x)
    fast.set_weights(plain.get_weights())
    near(results(fast, x), results(plain, x))


def random_spec(seed):
    """Returns a cell of random equations over every operation."""
    draw = np.random.default_rng(seed)
    names, equations = ["linear(x)", "linear(h)", "h", "c"], []
    forms = ("{} + {}", "{} - {}", "{} * {}", "max({}, {})", "mean({}, {}, {})")
    forms += ("linear({})", "linear({})", "tanh({})", "sigmoid({})", "-{}")
    forms += ("relu({})", "sin({})", "0.5 * {}")
    for k in range(6):
        form = forms[draw.integers(len(forms))]
        operands = [names[draw.integers(len(names))] for _ in range(3)]
        equations.append(f"n{k} = {form.format(*operands)}")
        names.append(f"n{k}")
    ends = [n for n in names[4:] if not any(f"{n}" in e[3:] for e in equations)]
    equations.append(f"next_c = tanh({' + '.join(ends)})")
    equations.append(f"next_h = tanh(mean(next_c, linear({ends[0]}), h))")
    return CellSpec(f"random{seed}", equations)


@pytest.mark.parametrize("seed", range(12))
def test_random_cells(seed):
    spec = random_spec(seed)
    states = [s.astype("float64") for s in first_states(spec)]
    compare(spec, *states, dtype="float64", use_bias=True)


@pytest.mark.parametrize("seed", range(4))
def test_random_trees(seed):
    space = tree_space(4, activations=("identity", "tanh", "sigmoid", "relu"))
    draw = np.random.default_rng(seed)
    tokens = [int(draw.integers(len(c.options))) for c in space.choices]
    compare(space.decode(tokens), dtype="float64")
