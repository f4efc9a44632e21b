"""Tests of `DagRNN` against `NASRNN`, and against the equations."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

from nas_keras.cells import NASRNN
from nas_keras.cells import load_spec
from nas_keras.spaces import enas_recurrent_space
from nas_keras.supernets.dags import DagRNN
from tests.layer_testing import random_tokens

_PUBLISHED = {
    "enas_ptb": enas_recurrent_space(11),
    "enas_lm": enas_recurrent_space(8, average="all"),
    "darts_v2": enas_recurrent_space(8, average="all"),
}
# Four nodes, with each activation; 1 and 4 are the loose ends.
_TOKENS = (0, 0, 0, 1, 2, 2, 3, 3)


def _layer(space, tokens, shared, units=3, width=4, seed=0, **arguments):
    """Returns a layer with random weights."""
    layer = DagRNN(units, space.structure, shared=shared, **arguments)
    layer.build((None, None, width))
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(0.8 * rng.normal(size=variable.shape))
    layer.tokens.assign(tokens)
    return layer


def _arrays(units=3, width=4, steps=5, seed=1):
    """Returns x, h, and the weights of outputs and last state in a sum."""
    rng = np.random.default_rng(seed)
    shapes = [(2, steps, width), (2, units), (2, steps, units), (2, units)]
    return [rng.normal(size=s).astype("float32") for s in shapes]


def _results(layer, arrays, jit_compile=None):
    """Returns y, h, and the gradients by x, h and the weights, in order.

    Args:
        layer: A recurrent layer.
        arrays: Those of `_arrays`.
        jit_compile: Of a `tf.function`; None for an eager call.
    """

    def run(x, h, weight_y, weight_h):
        with tf.GradientTape() as tape:
            tape.watch([x, h])
            y, last_h = layer(x, initial_state=[h], training=True)
            total = tf.reduce_sum(y * weight_y)
            total += tf.reduce_sum(last_h * weight_h)
        variables = [v.value for v in layer.trainable_variables]
        gradients = tape.gradient(total, [x, h, *variables])
        return [y, last_h, *map(tf.convert_to_tensor, gradients)]

    if jit_compile is not None:
        run = tf.function(run, jit_compile=jit_compile, autograph=False)
    return [value.numpy() for value in run(*map(tf.constant, arrays))]


def _rows(tokens, shared):
    """Returns the rows of `node_kernels` that a cell uses, node by node."""
    return [
        (node * (node - 1) // 2 + tokens[2 * node - 2]) * 4
        + tokens[2 * node - 1]
        if shared
        else node - 1
        for node in range(1, len(tokens) // 2 + 1)
    ]


def _places(spec, tokens, units):
    """Returns where NASRNN has W_i: variable, and columns of [c, t].

    The matrices of the readers of s_p are side by side, those of one reader
    in the order in which its equation has them, which is not that of [c, t]
    where the gate is written first.
    """
    names = [group.name for group in spec.graph.groups]
    begin = dict.fromkeys(names, 0)
    places = []
    for node, read in enumerate((None, *tokens[0::2])):
        name = "recurrent_kernel" if read is None else f"kernel_s{read}"
        first, second = begin[name], begin[name] + units
        begin[name] += 2 * units
        # `s + (candidate - s) * gate`, or `s + gate * (candidate - s)`.
        gate_first = " + (" not in spec.equations[node][: len("s10 = s10 + (")]
        c, t = (second, first) if gate_first else (first, second)
        places.append(
            (names.index(name), [*range(c, c + units), *range(t, t + units)])
        )
    return places


def _nas_rnn(spec, tokens, layer):
    """Returns a `NASRNN` of the layer's weights, and where it has them."""
    units, width = layer.units, layer.kernel.shape[0]
    plain = NASRNN(
        units,
        spec,
        recurrent_dropout=layer.recurrent_dropout,
        return_sequences=True,
        return_state=True,
    )
    plain.build((None, None, width))
    places = _places(spec, tokens, units)
    values = [np.zeros(v.shape) for v in plain.trainable_variables]
    values[0][:, places[0][1]] = layer.kernel
    rows = _rows(tokens, layer.shared)
    kernels = np.array(layer.node_kernels)[rows]
    for (variable, columns), kernel in zip(
        places, [np.array(layer.recurrent_kernel), *kernels], strict=True
    ):
        values[variable][:, columns] = kernel
    for variable, value in zip(plain.trainable_variables, values, strict=True):
        variable.assign(value)
    return plain, places


def _assert_agrees_with_nas_rnn(
    space, tokens, shared, spec=None, jit_compile=None
):
    layer = _layer(space, tokens, shared)
    spec = spec or space.decode(tokens)
    plain, places = _nas_rnn(spec, tokens, layer)
    got = _results(layer, _arrays(), jit_compile)
    want = _results(plain, _arrays(), jit_compile)
    *same, d_kernel = want[:5]
    d_others = want[4:]
    d_kernels = np.zeros(layer.node_kernels.shape)
    for row, (variable, columns) in zip(
        _rows(tokens, shared), places[1:], strict=True
    ):
        d_kernels[row] = d_others[variable][:, columns]
    variable, columns = places[0]
    d_recurrent = d_others[variable][:, columns]
    want = [*same, d_kernel[:, columns], d_recurrent, d_kernels]
    names = ("y", "h", "d_x", "d_h0", "d_kernel", "d_recurrent", "d_nodes")
    for name, value, other in zip(names, got, want, strict=True):
        scale = max(1.0, float(np.abs(other).max()))
        np.testing.assert_allclose(
            value / scale, other / scale, rtol=0, atol=1e-5, err_msg=name
        )


@hypothesis.settings(max_examples=5)
@hypothesis.given(strategies.data())
def test_random_cells_agree_with_nas_rnn_in_values_and_gradients(data):
    average = data.draw(strategies.sampled_from(("loose_ends", "all")))
    space = enas_recurrent_space(data.draw(strategies.integers(1, 6)), average)
    tokens = [
        data.draw(strategies.integers(0, num - 1)) for num in space.num_options
    ]
    shared = data.draw(strategies.booleans())
    _assert_agrees_with_nas_rnn(space, tokens, shared)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", _PUBLISHED)
def test_published_cells_agree_with_nas_rnn(name, shared):
    space, spec = _PUBLISHED[name], load_spec(name)
    _assert_agrees_with_nas_rnn(space, space.encode(spec), shared, spec)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_compiled_cells_agree_with_nas_rnn(jit_compile):
    space = enas_recurrent_space(4)
    _assert_agrees_with_nas_rnn(space, _TOKENS, True, jit_compile=jit_compile)


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("average", ["loose_ends", "all"])
def test_the_outputs_are_those_of_the_equations(average, shared):
    space = enas_recurrent_space(4, average)
    layer = _layer(space, _TOKENS, shared)
    x, h, *_ = _arrays()
    y, last_h = layer(x, initial_state=[tf.constant(h)])
    kernel, recurrent, kernels = (
        np.array(v, "float64") for v in layer.trainable_variables
    )
    # By hand: nodes 1 and 2 read node 0, 3 reads 2, 4 reads 3.
    rows = (0, 5, 22, 39) if shared else (0, 1, 2, 3)
    w1, w2, w3, w4 = (kernels[row] for row in rows)
    averaged = {"loose_ends": (1, 4), "all": (1, 2, 3, 4)}[average]
    functions = (
        np.tanh,
        lambda z: np.maximum(z, 0),
        _sigmoid,
        lambda z: z,
    )

    def gated(s, products, f):
        c, t = products[:, :3], products[:, 3:]
        return s + _sigmoid(t) * (f(c) - s)

    for step in range(5):
        s0 = gated(h, x[:, step] @ kernel + h @ recurrent, np.tanh)
        s1 = gated(s0, s0 @ w1, functions[0])
        s2 = gated(s0, s0 @ w2, functions[1])
        s3 = gated(s2, s2 @ w3, functions[2])
        s4 = gated(s3, s3 @ w4, functions[3])
        h = np.mean([(s0, s1, s2, s3, s4)[k] for k in averaged], axis=0)
        np.testing.assert_allclose(y[:, step], h, rtol=0, atol=1e-5)
    np.testing.assert_allclose(last_h, h, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("rate", "ways"),
    # TensorFlow's random numbers are others under XLA.
    [(0.0, (None, False, True)), (0.5, (None, False))],
)
@pytest.mark.parametrize("shared", [True, False])
def test_all_ways_to_run_it_agree(shared, rate, ways):
    space = enas_recurrent_space(4)
    runs = [
        _results(
            _layer(space, _TOKENS, shared, recurrent_dropout=rate),
            _arrays(),
            jit_compile,
        )
        for jit_compile in ways
    ]
    for run in runs[1:]:
        for value, want in zip(run, runs[0], strict=True):
            np.testing.assert_allclose(value, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("most_units", "jit_compile"), [(2, True), (3, False)])
def test_wide_layers_or_those_told_to_run_without_xla(
    most_units, jit_compile, monkeypatch
):
    layer = _layer(enas_recurrent_space(4), _TOKENS, True)
    want = _results(layer, _arrays(), jit_compile=False)

    def refuse(*_):
        raise AssertionError("compiled")

    path = "nas_keras.supernets.dags."
    monkeypatch.setattr(path + "_MAX_XLA_UNITS", most_units)
    monkeypatch.setattr(path + "_compiled_forward", refuse)
    monkeypatch.setattr(path + "_compiled_backward", refuse)
    layer = _layer(
        enas_recurrent_space(4), _TOKENS, True, jit_compile=jit_compile
    )
    got = _results(layer, _arrays(), jit_compile=False)
    for value, other in zip(got, want, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [None, False])
def test_the_gradient_of_shared_kernels_is_of_the_active_rows(jit_compile):
    layer = _layer(enas_recurrent_space(4), _TOKENS, shared=True)
    x, h, *_ = map(tf.constant, _arrays())
    kernels = layer.node_kernels.value

    def gradient():
        with tf.GradientTape() as tape:
            y, _ = layer(x, initial_state=[h])
        found = tape.gradient(y, kernels)
        assert isinstance(found, tf.IndexedSlices)
        return found

    if jit_compile is not None:
        gradient = tf.function(gradient, jit_compile=jit_compile)
    found = gradient()
    np.testing.assert_array_equal(found.indices, [0, 5, 22, 39])
    assert found.values.shape == (4, 3, 6)
    dense = tf.convert_to_tensor(found).numpy()
    has_gradient = np.abs(dense).max(axis=(1, 2)) > 0
    np.testing.assert_array_equal(np.flatnonzero(has_gradient), [0, 5, 22, 39])


def test_matrices_of_other_cells_do_not_matter():
    layer = _layer(enas_recurrent_space(4), _TOKENS, shared=True)
    want = _results(layer, _arrays())
    kernels = np.full(layer.node_kernels.shape, np.nan)
    active = _rows(_TOKENS, shared=True)
    kernels[active] = np.array(layer.node_kernels)[active]
    layer.node_kernels.assign(kernels)
    for value, other in zip(_results(layer, _arrays()), want, strict=True):
        np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_one_trace_runs_the_cells_that_a_loop_assigns(jit_compile):
    space = enas_recurrent_space(3)
    of_each = [random_tokens(space, seed) for seed in range(6)]
    assert len(set(of_each)) == 6
    layer = _layer(space, of_each[0], shared=True)
    x, h, *_ = map(tf.constant, _arrays())
    kernels = layer.node_kernels.value

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run(of_each):
        def body(k, outputs, gradients):
            layer.tokens.assign(of_each[k])
            with tf.GradientTape() as tape:
                y, _ = layer(x, initial_state=[h])
            gradient = tf.convert_to_tensor(tape.gradient(y, kernels))
            return k + 1, outputs.write(k, y), gradients.write(k, gradient)

        arrays = [
            tf.TensorArray(tf.float32, 6, element_shape=shape)
            for shape in ((2, 5, 3), kernels.shape)
        ]
        _, *arrays = tf.while_loop(
            lambda k, *_: k < 6, body, (0, *arrays), maximum_iterations=6
        )
        return [array.stack() for array in arrays]

    # Twice, in another order.
    for order in ([0, 1, 2, 3, 4, 5], [3, 5, 1, 0, 4, 2]):
        tokens = tf.constant([of_each[k] for k in order])
        outputs, gradients = run(tokens)
        for k, y, d_kernels in zip(order, outputs, gradients, strict=True):
            layer.tokens.assign(of_each[k])
            with tf.GradientTape() as tape:
                want, _ = layer(x, initial_state=[h])
            np.testing.assert_allclose(y, want, atol=1e-5)
            want = tf.convert_to_tensor(tape.gradient(want, kernels))
            np.testing.assert_allclose(d_kernels, want, rtol=1e-4, atol=1e-5)
    assert run.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("shared", [True, False])
def test_a_table_and_indices_are_as_good_as_their_rows(shared):
    space = enas_recurrent_space(4)
    layer = _layer(space, _TOKENS, shared, units=4, width=6)
    rng = np.random.default_rng(0)
    table = tf.constant(rng.normal(size=(7, 6)), tf.float32)
    indices = tf.constant(rng.integers(6, size=(2, 5)))  # Never the last row.
    h = tf.constant(rng.normal(size=(2, 4)), tf.float32)
    weights = rng.normal(size=(2, 5, 4)).astype("float32")

    def results(of_table):
        with tf.GradientTape() as tape:
            tape.watch(table)
            if of_table:
                y, _ = layer(table, initial_state=[h], indices=indices)
            else:
                y, _ = layer(tf.gather(table, indices), initial_state=[h])
            total = tf.reduce_sum(y * weights)
        variables = [v.value for v in layer.trainable_variables]
        gradients = tape.gradient(total, [table, *variables])
        return [y, *map(tf.convert_to_tensor, gradients)]

    for value, want in zip(results(True), results(False), strict=True):
        np.testing.assert_allclose(value, want, atol=1e-5)


@pytest.mark.parametrize("average", ["loose_ends", "all"])
def test_recurrent_dropout_is_that_of_nasrnn(average):
    space = enas_recurrent_space(4, average)
    layer = _layer(space, _TOKENS, False, recurrent_dropout=0.5)
    twin, _ = _nas_rnn(space.decode(_TOKENS), _TOKENS, layer)
    x, h, *_ = _arrays()
    layer.seed_generator.state.assign([3, 0])
    twin.cell.seed_generator.state.assign([3, 0])
    results = []
    for each in (layer, twin):
        with tf.GradientTape() as tape:
            inputs = tf.constant(x)
            tape.watch(inputs)
            y, _ = each(inputs, initial_state=[tf.constant(h)], training=True)
            total = tf.reduce_sum(y * y)
        results.append((y, tape.gradient(total, inputs)))
    y, _ = layer(x, initial_state=[tf.constant(h)], training=False)
    assert np.abs(results[0][0] - y).max() > 1e-3
    for value, want in zip(*results, strict=True):
        np.testing.assert_allclose(value, want, rtol=1e-4, atol=1e-5)


def test_a_sequence_has_one_dropout_mask_that_the_seed_gives():
    space, arrays = enas_recurrent_space(4), _arrays(steps=1)
    x, h, *_ = arrays
    outputs = []
    for seed in (3, 3, 4):
        layer = _layer(space, _TOKENS, False, recurrent_dropout=0.5)
        layer.seed_generator.state.assign([seed, 0])
        twice = np.concatenate([x, x], axis=1)
        y, _ = layer(twice, initial_state=[tf.constant(h)], training=True)
        outputs.append(y.numpy())
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[0] - outputs[2]).max() > 1e-3
    # With h given, the second step is the first of a sequence of that mask.
    layer.seed_generator.state.assign([4, 0])
    after = [tf.constant(outputs[2][:, 0])]
    y, _ = layer(x, initial_state=after, training=True)
    np.testing.assert_allclose(y[:, 0], outputs[2][:, 1], atol=1e-6)
