"""Tests of the language of cells: what its equations mean."""

import math

import numpy as np
import pytest

from tests.cell_testing import RNN
from tests.cell_testing import make_spec


class NumpyOps:
    """The operations that a graph asks of `keras.ops`."""

    tanh = staticmethod(np.tanh)
    sin = staticmethod(np.sin)
    maximum = staticmethod(np.maximum)
    sigmoid = staticmethod(lambda a: 1 / (1 + np.exp(-a)))
    relu = staticmethod(lambda a: np.maximum(a, 0))


def evaluate(*equations, states=("h",), **values):
    """Returns the next states; the k-th term of a group is k+2 times it."""
    graph = make_spec(*equations, states=states).graph
    values = {name: np.float64(value) for name, value in values.items()}

    def linear(group, operand):
        return [(k + 2) * operand for k in range(len(group.terms))]

    return graph.evaluate(NumpyOps, values, linear)


def groups(*equations, states=("h",)):
    graph = make_spec(*equations, states=states).graph
    return {group.name: len(group.terms) for group in graph.groups}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("x + h", 0.5 + -2),
        ("x - h", 0.5 - -2),
        ("x - h - x", 2.0),
        ("x - (h - x)", 0.5 - (-2 - 0.5)),
        ("x * h", -1.0),
        ("x + h * x", 0.5 - 1.0),
        ("-x", -0.5),
        ("- - x", 0.5),
        ("2 * x", 1.0),
        ("1e-1 * x", 0.05),
        ("x - 0.25", 0.25),
        ("identity(h)", -2.0),
        ("tanh(x)", math.tanh(0.5)),
        ("sigmoid(h)", 1 / (1 + math.exp(2))),
        ("relu(h)", 0.0),
        ("relu(x)", 0.5),
        ("sin(h)", math.sin(-2)),
        ("max(x, h)", 0.5),
        ("max(h, -3)", -2.0),
        ("mean(h)", -2.0),
        ("mean(x, h)", -0.75),
        ("mean(x, h, 3)", 0.5),
        ("linear(x)", 1.0),
        ("linear(h) + linear(h)", -2.0 * 2 + -2.0 * 3),
    ],
)
def test_expression_means_what_it_says(expression, value):
    assert evaluate(f"next_h = {expression}", x=0.5, h=-2) == [
        pytest.approx(value)
    ]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("tanh(0.5)", math.tanh(0.5)),
        ("sigmoid(-1000)", 0.0),
        ("sigmoid(0.5)", 1 / (1 + math.exp(-0.5))),
        ("relu(-1)", 0.0),
        ("relu(2)", 2.0),
        ("sin(2)", math.sin(2)),
        ("max(1, 2 - 4)", 1.0),
        ("mean(1, 2, 6)", 3.0),
        ("-identity(2) * 3", -6.0),
    ],
)
def test_functions_of_numbers_are_numbers(expression, value):
    assert evaluate(f"next_h = x * ({expression})", x=2, h=0) == [
        pytest.approx(2 * value)
    ]


def test_next_states_come_in_the_order_of_the_states():
    equations = ("next_c = c + x", "next_h = h * next_c")
    for states in (("h", "c"), ("c", "h")):
        values = evaluate(*equations, states=states, x=1, h=10, c=2)
        assert dict(zip(states, values, strict=True)) == {"c": 3, "h": 30}


def test_linear_terms_are_columns_in_order_of_appearance():
    values = evaluate(
        "a = linear(x) - linear(h)",
        "next_h = a * linear(x) - linear(h)",
        x=10,
        h=100,
    )
    assert values == [(20 - 200) * 30 - 300]


def test_outer_linear_comes_before_the_one_inside_it():
    spec = make_spec("next_h = linear(x * linear(h * x)) + linear(h)")
    names = [group.name for group in spec.graph.groups]
    assert names == ["recurrent_kernel", "kernel_0", "kernel_1"]
    (_, outer, inner) = spec.graph.groups
    assert outer.operand > inner.operand


def test_kernels_are_x_then_h_then_others_in_order_of_appearance():
    equations = (
        "a = linear(c) + linear(h)",
        "b = linear(a * c) + linear(a) * linear(c)",
        "next_c = linear(x) + b",
        "next_h = linear(next_c) + linear(x) + linear(identity(h)) + linear(b)",
    )
    assert list(groups(*equations, states=("h", "c")).items()) == [
        ("kernel", 2),
        ("recurrent_kernel", 2),
        ("kernel_c", 2),
        ("kernel_1", 1),
        ("kernel_a", 1),
        ("kernel_next_c", 1),
        ("kernel_b", 1),
    ]


def test_names_of_one_value_share_its_kernel():
    equations = ("a = x", "b = h", "next_h = linear(a) + linear(b)")
    assert groups(*equations) == {"kernel": 1, "recurrent_kernel": 1}


def test_equal_expressions_are_computed_once_but_linear_terms_are_not():
    nodes = make_spec(
        "a = tanh(x * h)", "b = tanh(x * h)", "next_h = a - b"
    ).graph.nodes
    assert [node.operation for node in nodes].count("tanh") == 1
    assert groups("next_h = tanh(linear(x)) - tanh(linear(x))") == {"kernel": 2}


def test_blanks_and_comments_do_not_matter():
    spec = make_spec("  next_h=tanh( linear(x)+linear( h ) )  # plain RNN")
    assert spec.fingerprint == make_spec(*RNN).fingerprint
