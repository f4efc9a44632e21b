"""Every function of the language, held against NumPy.

On numbers, and in the two layers: the plain loop of `keras.layers.RNN` over
`NASCell`, and the loop of `NASRNN`, whose gradients are written out. A new
function needs its entry in `FUNCTIONS` and its form in `NUMPY`.
"""

import itertools
import math
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas_keras.cells import NASRNN
from nas_keras.cells import NASCell
from nas_keras.cells.language.functions import FUNCTIONS
from nas_keras.drawing.cells import draw
from tests.cell_testing import make_spec
from tests.layer_testing import near
from tests.layer_testing import normal

NUMPY = {
    "identity": lambda a: a,
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "relu": lambda a: np.where(a > 0, a, 0),
    "sin": np.sin,
    "max": np.maximum,
    "mean": lambda *a: sum(np.asarray(v) for v in a) / len(a),
}
NUMBERS = (-1.25, 0.0, 0.3, 2.0)
VARIABLE = "linear(x) + linear(h)"
B, T, D, H = 2, 3, 3, 4
_CELLS_PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "cells.md"


def _counts(name):
    """Returns some numbers of operands that a function takes."""
    function = FUNCTIONS[name]
    most = function.max_operands or function.min_operands + 2
    return range(function.min_operands, most + 1)


# Calls of each function: on variables, on numbers, on both.
CALLS = [
    (name, tuple(operands))
    for name in NUMPY
    for count in _counts(name)
    for operands in itertools.product((VARIABLE, "0.3"), repeat=count)
]


def test_every_function_has_a_numpy_form():
    # `linear` has weights: tests of the layers hold its numbers.
    assert {*NUMPY, "linear"} == set(FUNCTIONS)


@pytest.mark.parametrize("name", NUMPY)
def test_a_function_of_numbers_is_a_float(name):
    for count in _counts(name):
        for operands in itertools.product(NUMBERS, repeat=count):
            value = FUNCTIONS[name].on_numbers(*operands)
            assert type(value) is float
            assert value == pytest.approx(float(NUMPY[name](*operands)))


@pytest.mark.parametrize("name", NUMPY)
def test_a_function_is_bounded_or_not_as_its_entry_says(name):
    for count in _counts(name):
        values = [
            FUNCTIONS[name].on_numbers(*[a] * count)
            for a in (-1e300, -1e9, -2.5, 0.0, 2.5, 1e9, 1e300)
        ]
        most = max(map(abs, values))
        assert most <= 1 if FUNCTIONS[name].is_bounded else most > 1e8


@pytest.mark.parametrize("name", NUMPY)
def test_a_function_of_infinity_is_a_number_or_nan(name):
    value = FUNCTIONS[name].on_numbers(*[math.inf] * _counts(name)[0])
    assert type(value) is float


def _spec(name, operands):
    return make_spec(
        f"g = {name}({', '.join(operands)})",
        f"next_h = g * tanh({VARIABLE})",
    )


def _outputs(name, operands, x, h, kernel, recurrent_kernel):
    """Returns h after each step, [B, T, H], by NumPy."""
    outputs = []
    for step in range(x.shape[1]):
        sums = x[:, step] @ kernel + h @ recurrent_kernel
        *variables, last = np.split(sums, sums.shape[-1] // H, axis=-1)
        variables = iter(variables)
        values = [
            next(variables) if operand == VARIABLE else float(operand)
            for operand in operands
        ]
        h = NUMPY[name](*values) * np.tanh(last)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def _gradients(function, arrays, weights, step=1e-6):
    """Returns the derivatives of sum(function * weights), by differences."""
    gradients = []
    for place, array in enumerate(arrays):
        gradient = np.zeros_like(array)
        for index in np.ndindex(*array.shape):
            sides = []
            for sign in (1, -1):
                moved = [value.copy() for value in arrays]
                moved[place][index] += sign * step
                sides.append((function(*moved) * weights).sum())
            gradient[index] = (sides[0] - sides[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


@pytest.mark.parametrize(("name", "operands"), CALLS)
def test_both_layers_compute_a_function_and_its_gradient(name, operands):
    spec = _spec(name, operands)
    num_terms = operands.count(VARIABLE) + 1
    shapes = ((B, T, D), (B, H), (D, num_terms * H), (H, num_terms * H))
    arrays = [
        normal(*shape, seed=k, dtype="float64")
        for k, shape in enumerate(shapes)
    ]
    loss_weights = normal(B, T, H, seed=9, dtype="float64")

    def of_numpy(*arrays):
        return _outputs(name, operands, *arrays)

    want = [of_numpy(*arrays), *_gradients(of_numpy, arrays, loss_weights)]
    x, h, *weights = arrays
    for layer in (
        keras.layers.RNN(
            NASCell(H, spec, dtype="float64"),
            return_sequences=True,
            dtype="float64",
        ),
        NASRNN(H, spec, return_sequences=True, dtype="float64"),
    ):
        layer.build(x.shape)
        layer.set_weights(weights)
        inputs = [tf.constant(x), tf.constant(h)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs[0], initial_state=inputs[1:])
            loss = tf.reduce_sum(outputs * loss_weights)
        sources = [*inputs, *(w.value for w in layer.weights)]
        near([outputs, *tape.gradient(loss, sources)], want, 1e-6)


@pytest.mark.parametrize("name", NUMPY)
def test_a_fingerprint_tells_order_only_where_it_matters(name):
    for count in _counts(name):
        operands = [f"{k + 2} * x" for k in range(count)]
        prints = {
            make_spec(f"next_h = h * {name}({', '.join(order)})").fingerprint
            for order in (operands, operands[::-1])
        }
        same = count == 1 or FUNCTIONS[name].is_commutative
        assert len(prints) == (1 if same else 2)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_drawn(name, tmp_path):
    operands = ["x"] * FUNCTIONS[name].min_operands
    spec = make_spec(f"next_h = h * {name}({', '.join(operands)})")
    draw(spec, tmp_path / "cell.svg")
    text = f"h * {name}({', '.join(operands)})"
    if FUNCTIONS[name].drawn_as is not None:
        text = f"h * {FUNCTIONS[name].drawn_as}x"
    assert f">{text}</text>" in (tmp_path / "cell.svg").read_text("utf-8")


def test_the_page_of_cells_lists_the_functions_in_the_order_of_the_table():
    page = _CELLS_PAGE.read_text("utf-8")
    [line] = re.findall(r"^- (`linear .*)\.$", page, re.M)
    names = re.sub(r"\(.*?\)", "", line).replace("`", "").replace(",", "")
    assert names.split() == list(FUNCTIONS)
