"""Tests of the cost of cells, and of the units that fit a number of weights."""

import math
import re

import pytest

from nas_keras.cells.language.sizing import units_for_parameters
from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.cells.language.spec import published_cells
from nas_keras.cells.language.spec import save_spec
from tests.cell_testing import RNN
from tests.cell_testing import make_spec

# The cost.


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize(
    ("name", "projection"),
    # No gru with one: its gate on h has the width of a gate, not of h.
    [(name, None) for name in published_cells()]
    + [("lstm", 3), ("nascell", 3)],
)
def test_cost_is_that_of_the_built_layer(name, projection, use_bias):
    from nas_keras.cells.layers.nas_cell import NASCell

    cell = NASCell(5, name, projection=projection, use_bias=use_bias)
    cell.build((None, 4))
    cost = load_spec(name).cost(4, 5, projection, use_bias)
    assert cost.parameters == cell.count_params()
    matrices = [w for w in cell.weights if len(w.shape) == 2]
    assert cost.multiply_adds == sum(math.prod(w.shape) for w in matrices)


def test_cost_of_nascell_is_twice_that_of_lstm():
    assert load_spec("nascell").cost(650, 650).parameters == 6_760_000
    assert load_spec("lstm").cost(650, 650, use_bias=True).parameters == (
        3_382_600
    )


@pytest.mark.parametrize("projection", [None, 2])
def test_cost_of_operands_of_other_widths_is_that_of_the_layer(projection):
    from nas_keras.cells.layers.nas_cell import NASCell

    equations = ["next_h = linear(tanh(x)) + linear(tanh(h)) + linear(h)"]
    spec = CellSpec("widths", equations, ["h"])
    cell = NASCell(4, spec, projection=projection, use_bias=True)
    cell.build((None, 3))
    cost = spec.cost(3, 4, projection, use_bias=True)
    assert cost.parameters == cell.count_params()


# Units of a given cost.


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("input_width", [None, 1, 7])
@pytest.mark.parametrize("name", published_cells())
def test_units_are_the_most_that_fit(name, input_width, use_bias):
    spec = load_spec(name)

    def parameters(units):
        width = units if input_width is None else input_width
        return spec.cost(width, units, use_bias=use_bias).parameters

    least, some = parameters(1), parameters(5)
    for n in (least, least + 1, some - 1, some, some + 1, 10_000, 10**9):
        units = units_for_parameters(
            spec, n, input_width=input_width, use_bias=use_bias
        )
        assert parameters(units) <= n < parameters(units + 1)
    assert units_for_parameters(name, some, input_width, None, use_bias) == 5


@pytest.mark.parametrize("name", ["lstm", "nascell"])
def test_units_are_the_most_that_fit_with_a_projection(name):
    for n in (300, 1_000, 12_345):
        units = units_for_parameters(name, n, 4, 3, True)
        cost = [load_spec(name).cost(4, u, 3, True) for u in (units, units + 1)]
        assert cost[0].parameters <= n < cost[1].parameters


def test_units_of_a_cell_are_those_of_the_built_layer():
    from nas_keras.cells.layers.nas_cell import NASCell

    def count(units):
        cell = NASCell(units, "nascell", 3, use_bias=True)
        cell.build((None, 4))
        return cell.count_params()

    units = units_for_parameters("nascell", 2_000, 4, 3, use_bias=True)
    assert count(units) <= 2_000 < count(units + 1)


def test_cell_of_units_is_given_as_spec_name_or_path(tmp_path):
    save_spec(make_spec(*RNN), tmp_path / "toy.json")
    for spec in (make_spec(*RNN), "simple_rnn", tmp_path / "toy.json"):
        assert units_for_parameters(spec, 2 * 9 * 9) == 9
    with pytest.raises(ValueError, match="No cell is named 'lstmm'"):
        units_for_parameters("lstmm", 100)


def test_too_few_parameters_for_one_unit_name_the_least():
    assert units_for_parameters("nascell", 80, input_width=9) == 1
    message = (
        "n must be at least 80, the weights of a cell 'nascell' of one unit. "
        "Received: n=79"
    )
    with pytest.raises(ValueError, match=message):
        units_for_parameters("nascell", 79, input_width=9)


@pytest.mark.parametrize("name", ["n", "input_width", "projection"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "four", True])
def test_numbers_for_units_must_be_ints_of_at_least_1(name, value):
    message = f"{name} must be an int of at least 1. Received: {name}={value!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        units_for_parameters("lstm", **{"n": 100, name: value})
    with pytest.raises(
        ValueError, match="n must be an int of at least 1.*n=None"
    ):
        units_for_parameters("lstm", None)


def test_cell_without_weights_fits_no_number():
    with pytest.raises(ValueError, match="'toy' of any units has no weights"):
        units_for_parameters(make_spec("next_h = h * x"), 100)


@pytest.mark.parametrize("n", [3, 100, 10**6])
def test_cell_that_fits_one_width_only_is_refused(n):
    spec = make_spec("a = linear(h)", "next_h = a * x")
    assert units_for_parameters(spec, 100) == 10
    message = (
        r"cell 'toy': equation 2 \('next_h = a \* x'\) joins widths that "
        "differ for all units but one. Received: input_width=4, projection=None"
    )
    with pytest.raises(ValueError, match=message):
        units_for_parameters(spec, n, input_width=4)
    with pytest.raises(ValueError, match="equation 1 .*projection=2"):
        units_for_parameters(make_spec("next_h = h*linear(x)"), n, projection=2)
