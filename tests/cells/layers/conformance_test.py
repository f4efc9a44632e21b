"""Every published cell, in every way a recurrent layer is used.

One table: cells are its rows, features its columns; of features that depend on
the kind of the equations alone, one cell of a kind; of those that do not depend
on them, one cell. `NASRNN` is held against
`keras.layers.RNN(NASCell(...))`, whose step is held against NumPy, in outputs
and in the gradients of inputs, first states and weights.
"""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import nas_keras.cells
from nas_keras.cells import NASRNN
from nas_keras.cells import NASCell
from nas_keras.cells import load_spec
from nas_keras.cells import published_cells
from nas_keras.cells.language.graph import WidthError
from tests import oracles
from tests.conformance_testing import MASK
from tests.conformance_testing import B
from tests.conformance_testing import D
from tests.conformance_testing import H
from tests.conformance_testing import P
from tests.conformance_testing import T
from tests.conformance_testing import compare
from tests.conformance_testing import first_states
from tests.conformance_testing import near
from tests.conformance_testing import pair
from tests.conformance_testing import random
from tests.conformance_testing import results

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
        Stack(fast, NASRNN(H, name, return_sequences=True, jit_compile=False)),
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
