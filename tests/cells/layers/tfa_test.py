"""Tests of `import_tfa_weights` against the equations of the Addons' cell."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from nas_keras.cells import import_tfa_weights
from nas_keras.cells import load_spec
from tests import oracles
from tests.layer_testing import near
from tests.layer_testing import normal

B, T, D, H, P = 3, 5, 4, 6, 2
NASCELL = load_spec("nascell").equations
OPTIONS = [(None, False), (None, True), (P, False), (P, True)]


def tfa_weights(input_width=D, projection=None, use_bias=False):
    """Returns random arrays in the order of `tfa.rnn.NASCell.get_weights`."""
    shapes = [(projection or H, 8 * H), (input_width, 8 * H)]
    shapes += [(8 * H,)] if use_bias else []
    shapes += [(H, projection)] if projection else []
    return [normal(*shape, seed=1 + k) for k, shape in enumerate(shapes)]


def tfa_step(x, states, weights, projection=None, use_bias=False):
    """Returns the output of a step of the Addons' cell, and `[c, h]`."""
    recurrent_kernel, kernel, *others = weights
    c, h = states
    next_h, next_c = oracles.nascell(
        *(x, h, c, kernel, recurrent_kernel),
        bias=others[0] if use_bias else None,
        projection=others[-1] if projection else None,
    )
    return next_h, [next_c, next_h]


def tfa_states(projection=None):
    return [normal(B, H, seed=8), normal(B, projection or H, seed=9)]


def built(layer, *shape):
    layer.build((None, *(shape or (D,))))
    return layer


# The numbers.


@pytest.mark.parametrize(("projection", "use_bias"), OPTIONS)
@pytest.mark.parametrize("input_width", [D, H])
def test_cell_computes_what_that_of_addons_does(
    input_width, projection, use_bias
):
    options = {"projection": projection, "use_bias": use_bias}
    weights = tfa_weights(input_width, **options)
    cell = built(NASCell(H, **options), input_width)
    import_tfa_weights(cell, weights)
    x, (c, h) = normal(B, input_width), tfa_states(projection)
    want, [want_c, want_h] = tfa_step(x, [c, h], weights, **options)
    output, [next_h, next_c] = cell(x, [h, c])
    near([output, next_h, next_c], [want, want_h, want_c])


@pytest.mark.parametrize(("projection", "use_bias"), OPTIONS)
def test_states_of_a_spec_of_c_and_h_are_in_the_order_of_addons(
    projection, use_bias
):
    options = {"projection": projection, "use_bias": use_bias}
    weights = tfa_weights(**options)
    cell = built(NASCell(H, CellSpec("toy", NASCELL, ["c", "h"]), **options))
    import_tfa_weights(cell, weights)
    x, states = normal(B, D), tfa_states(projection)
    want, want_states = tfa_step(x, states, weights, **options)
    output, new_states = cell(x, states)
    near([output, *new_states], [want, *want_states])


@pytest.mark.parametrize(("projection", "use_bias"), OPTIONS)
@pytest.mark.parametrize("layer_class", [NASRNN, keras.layers.RNN])
def test_layer_computes_what_that_of_addons_does(
    layer_class, projection, use_bias
):
    options = {"projection": projection, "use_bias": use_bias}
    flags = {"return_sequences": True, "return_state": True}
    if layer_class is NASRNN:
        layer = NASRNN(H, **options, **flags)
    else:
        layer = keras.layers.RNN(NASCell(H, **options), **flags)
    weights = tfa_weights(**options)
    import_tfa_weights(built(layer, None, D), weights)
    x, states = normal(B, T, D), tfa_states(projection)
    sequence, h, c = layer(x, initial_state=states[::-1])
    want = []
    for time in range(T):
        output, states = tfa_step(x[:, time], states, weights, **options)
        want.append(output)
    near([sequence, c, h], [np.stack(want, axis=1), *states], 1e-4)


def test_numbers_are_those_of_the_addons_own_test():
    cell = built(NASCell(6), 4)
    import_tfa_weights(cell, [np.full((6, 48), 0.5), np.full((4, 48), 0.5)])
    x = np.repeat([[1.0], [2.0], [3.0]], 4, axis=1)
    state = np.full((3, 6), 0.1)
    _, (h, c) = cell(x, [state, state])
    near([h[:, 0]], [[0.57675076, 0.61893578, 0.62739344]], 1e-6)
    near([c[:, 0]], [[0.71579773, 0.78041636, 0.79457652]], 1e-6)


@pytest.mark.parametrize(
    "convert", [list, tuple, iter, lambda w: [a.tolist() for a in w]]
)
def test_weights_are_any_arrays(convert):
    cell = built(NASCell(H))
    import_tfa_weights(cell, convert(tfa_weights()))
    near(cell.get_weights(), tfa_weights()[::-1], 0)


def test_weights_may_be_variables():
    cell = built(NASCell(H))
    import_tfa_weights(cell, [tf.Variable(w) for w in tfa_weights()])
    near(cell.get_weights(), tfa_weights()[::-1], 0)


@pytest.mark.parametrize("dtype", ["float64", "mixed_bfloat16", "bfloat16"])
def test_weights_take_the_dtype_of_the_cell(dtype):
    # Keras has no orthogonal initializer in bfloat16.
    cell = built(NASCell(H, dtype=dtype, recurrent_initializer="zeros"))
    import_tfa_weights(cell, tfa_weights())
    want = {"float64": "float64", "bfloat16": "bfloat16"}.get(dtype, "float32")
    assert {w.dtype for w in cell.weights} == {want}
    got = [np.asarray(w.value, "float32") for w in cell.weights]
    near(got, tfa_weights()[::-1], 0.01 if want == "bfloat16" else 0)


# What is nascell, and what is not.


def rewritten(old, new):
    equations = [equation.replace(old, new) for equation in NASCELL]
    assert equations != list(NASCELL)
    return equations


def moved(begin, to):
    equations = list(NASCELL)
    equations.insert(to, equations.pop(begin))
    return equations


SAME = {
    "renamed": rewritten("l0", "first"),
    "commuted": rewritten("linear(x) + linear(h)", "linear(h) + linear(x)"),
    "identity": rewritten("injected *", "identity(injected) *"),
    "n11 first of its layer": moved(11, 8),
    "n13 before the injection": moved(14, 12),
}
REORDERED = {
    "l1 before l0": moved(1, 0),
    "l7 before all": moved(7, 0),
    "columns of h alone": [
        "of_h = linear(h)",
        NASCELL[0],
        "l1 = relu(linear(x) + of_h)",
        *NASCELL[2:],
    ],
}
OTHER = {
    "l3 adds": rewritten("linear(x) * linear(h)", "linear(x) + linear(h)"),
    "l1 is tanh": rewritten("l1 = relu", "l1 = tanh"),
    "c is squashed": rewritten("injected * n9", "tanh(injected * n9)"),
    "lstm": load_spec("lstm").equations,
}


@pytest.mark.parametrize("states", [["h", "c"], ["c", "h"], ["h", "memory"]])
@pytest.mark.parametrize("case", sorted(SAME))
def test_same_cell_in_other_words_is_accepted(case, states):
    other = states[states[0] == "h"]
    equations = [
        equation.replace("+ c)", f"+ {other})").replace(
            "next_c", f"next_{other}"
        )
        for equation in SAME[case]
    ]
    cell = built(NASCell(H, CellSpec("toy", equations, states)))
    import_tfa_weights(cell, tfa_weights())
    x, (c, h) = normal(B, D), tfa_states()
    want, _ = tfa_step(x, [c, h], tfa_weights())
    near([cell(x, [h, c] if states[0] == "h" else [c, h])[0]], [want])


def refuses(layer, weights, message):
    """Checks the message, and that the weights stay as they were."""
    before = layer.get_weights()
    with pytest.raises(ValueError, match=f"(?s)^{message}$"):
        import_tfa_weights(layer, weights)
    near(layer.get_weights(), before, 0)


@pytest.mark.parametrize("case", sorted(REORDERED))
def test_same_cell_with_columns_in_another_order_is_refused(case):
    spec = CellSpec("toy", REORDERED[case])
    assert spec.fingerprint == load_spec("nascell").fingerprint
    message = (
        "cell must have the linear terms of 'nascell' in its order, which is "
        r"that of the kernels' columns\. Received: cell 'toy', the same cell "
        r"with its equations in another order\."
    )
    refuses(built(NASCell(H, spec)), tfa_weights(), message)


@pytest.mark.parametrize("case", sorted(OTHER))
def test_other_equations_are_refused(case):
    message = (
        "cell must have the equations of 'nascell'. Received: cell 'toy', "
        r"which computes something else\."
    )
    cell = built(NASCell(H, CellSpec("toy", OTHER[case])))
    refuses(cell, tfa_weights(), message)
    refuses(built(NASRNN(H, "gru"), T, D), tfa_weights(), ".*Received.*'gru'.*")


# Errors.


def test_cell_must_be_built():
    for layer in (NASCell(H), NASRNN(H), keras.layers.RNN(NASCell(H))):
        message = (
            r"cell must be built, by a call or by build\(input_shape\)\. "
            r"Received: cell '\w+', which is not\."
        )
        refuses(layer, tfa_weights(), message)


@pytest.mark.parametrize(
    ("make_layer", "received"),
    [
        (lambda: keras.layers.LSTMCell(H), "LSTMCell"),
        (lambda: keras.layers.LSTM(H), "LSTM of a LSTMCell"),
        (
            lambda: keras.layers.RNN([NASCell(H), NASCell(H)]),
            "RNN of a StackedRNNCells",
        ),
        (lambda: keras.layers.Bidirectional(NASRNN(H)), "Bidirectional"),
        (lambda: "nascell", "str"),
        (lambda: None, "NoneType"),
    ],
)
def test_layer_of_another_cell_is_refused(make_layer, received):
    message = (
        "cell must be a NASCell, or a NASRNN or keras.layers.RNN that holds "
        rf"one. Received: {received}\."
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        import_tfa_weights(make_layer(), tfa_weights())


@pytest.mark.parametrize(
    ("projection", "use_bias", "expected"),
    [
        (None, False, "recurrent_kernel (6, 48), kernel (4, 48)"),
        (None, True, "recurrent_kernel (6, 48), kernel (4, 48), bias (48,)"),
        (
            *(P, False),
            "recurrent_kernel (2, 48), kernel (4, 48), "
            "projection_weights (6, 2)",
        ),
        (
            *(P, True),
            "recurrent_kernel (2, 48), kernel (4, 48), bias (48,), "
            "projection_weights (6, 2)",
        ),
    ],
)
def test_arrays_of_other_number_or_shape_are_refused(
    projection, use_bias, expected
):
    options = {"projection": projection, "use_bias": use_bias}
    right = tfa_weights(**options)
    wrong = [
        [],
        right[:-1],
        [*right, right[-1]],
        [right[1], right[0], *right[2:]],
        [*right[:-1], right[-1][:-1]],
        [*right[:-1], right[-1][None]],
        [right[0].T, *right[1:]],
    ]
    wrong += [
        tfa_weights(projection=other[0], use_bias=other[1])
        for other in OPTIONS
        if other != (projection, use_bias)
    ]
    for layer in (
        built(NASCell(H, **options)),
        built(NASRNN(H, **options), T, D),
    ):
        for weights in wrong:
            shapes = [array.shape for array in weights]
            message = (
                f"weights must be {expected}, for units=6, "
                f"use_bias={use_bias}, projection={projection}. Received: "
                f"{len(shapes)} arrays of shapes {shapes}."
            )
            refuses(layer, weights, re.escape(message))


@pytest.mark.parametrize(
    "value", ["recurrent_kernel", [[1.0], [2.0, 3.0]], {"kernel": 1}, object]
)
def test_every_weight_must_be_an_array_of_numbers(value):
    message = (
        r"weights\[1\] must be an array of numbers. Received: "
        + re.escape(f"{value!r:.80}")
        + r"\."
    )
    refuses(built(NASCell(H)), [tfa_weights()[0], value], message)


def test_weights_by_name_are_refused():
    named = dict(
        zip(("recurrent_kernel", "kernel"), tfa_weights(), strict=True)
    )
    message = r"weights\[0\] must be an array.* Received: 'recurrent_kernel'\."
    refuses(built(NASCell(H)), named, message)
