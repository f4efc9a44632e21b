"""Tests of `diagram_of`: the uses, memory and texts that a drawing shows."""

import itertools
import re

import hypothesis
import pytest
from hypothesis import strategies as st

from nas_keras.cells.language.functions import FUNCTIONS
from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.drawing.cells import broken_into_lines
from nas_keras.drawing.cells import diagram_of
from tests.drawing_testing import memory_in
from tests.drawing_testing import specs
from tests.drawing_testing import uses_in


def _names_used(equation):
    right = equation.split("=", 1)[1]
    words = re.findall(r"(?<![\w.])[A-Za-z_]\w*", right)
    return {word for word in words if word not in FUNCTIONS}


@hypothesis.given(specs())
def test_every_name_in_an_equation_is_a_use(spec):
    wanted = {
        (used, equation.split("=")[0].strip())
        for equation in spec.equations
        for used in _names_used(equation)
    }
    assert set(uses_in(spec)) == wanted


def test_uses_tell_what_is_inside_linear():
    spec = CellSpec(
        "ways",
        [
            "a = linear(x) + linear(h * tanh(c))",
            "next_c = c * linear(c) + a",
            "next_h = linear(a) * next_c",
        ],
    )
    uses = uses_in(spec)
    ways = {
        names: (use.is_linear, use.is_elementwise)
        for names, use in uses.items()
    }
    assert ways == {
        ("x", "a"): (True, False),
        ("h", "a"): (True, False),
        ("c", "a"): (True, False),
        ("c", "next_c"): (True, True),
        ("a", "next_c"): (False, True),
        ("a", "next_h"): (True, False),
        ("next_c", "next_h"): (False, True),
    }


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("lstm", "c next_c next_h"),
        ("nascell", "c injected next_c next_h"),
        ("gru", "h next_h"),
        ("rhn_5", "h s1 s2 s3 s4 next_h"),
        ("simple_rnn", ""),
    ],
)
def test_the_memory_path_of_published_cells(name, path):
    names = path.split()
    wanted = {pair: (names[0],) for pair in itertools.pairwise(names)}
    assert memory_in(load_spec(name)) == wanted


def test_the_memory_path_ends_where_only_matrices_lead_on():
    spec = CellSpec(
        "ends",
        ["a = tanh(h)", "b = a * x", "next_h = linear(b) + linear(a)"],
        ["h"],
    )
    assert memory_in(spec) == {}


def test_a_use_can_carry_the_memory_of_several_states():
    spec = CellSpec("both", ["a = h + c", "next_c = a", "next_h = a * h"])
    assert memory_in(spec) == {
        ("h", "a"): ("h",),
        ("c", "a"): ("c",),
        ("a", "next_c"): ("h", "c"),
        ("a", "next_h"): ("h", "c"),
        ("h", "next_h"): ("h",),
    }


def _reached_without_linear(graph, state):
    """Returns the next states that a state reaches in the graph."""
    reached = set()
    for index, node in enumerate(graph.nodes):
        if (node.operation, node.value) == ("name", state):
            reached.add(index)
        elif node.operation != "linear" and reached & set(node.operands):
            reached.add(index)
    return {
        f"next_{name}"
        for name, output in zip(graph.states, graph.outputs, strict=True)
        if output in reached
    }


@hypothesis.given(specs())
def test_the_memory_path_is_that_of_the_graph_of_operations(spec):
    memory = memory_in(spec)
    next_states = {f"next_{state}" for state in spec.states}
    for state in spec.states:
        wires = {ends for ends, states in memory.items() if state in states}
        reached = {state}
        for _ in wires:
            reached |= {target for source, target in wires if source in reached}
        assert {end for wire in wires for end in wire} <= reached
        wanted = _reached_without_linear(spec.graph, state)
        assert reached & next_states == wanted
        # And every wire leads on to a next state.
        for _, target in wires:
            assert target in next_states or any(
                source == target for source, _ in wires
            )


@pytest.mark.parametrize(
    ("right", "text"),
    [
        ("linear(x)", "W·x"),
        ("linear(x * h)", "W·(x * h)"),
        ("linear(-x)", "W·(-x)"),
        ("linear(tanh(x))", "W·tanh(x)"),
        ("linear(linear(x))", "W·W·x"),
        ("((x)) + max( h,x )  # A comment", "x + max(h, x)"),
    ],
)
def test_the_text_of_an_equation(right, text):
    spec = CellSpec("text", [f"a = {right}", "next_h = a * h * x"], ["h"])
    assert diagram_of(spec).values[2].text == text


def test_a_long_text_is_broken_at_outer_operators():
    text = "h + (tanh(W·x + W·h) - h) * sigmoid(W·x + W·h)"
    assert broken_into_lines(text) == [
        "h + (tanh(W·x + W·h) - h)",
        "* sigmoid(W·x + W·h)",
    ]


@hypothesis.given(
    st.lists(st.integers(1, 60).map("v".__mul__), min_size=1, max_size=60)
)
def test_lines_are_short_and_hold_all_of_the_text(names):
    text = " + ".join(names)
    lines = broken_into_lines(text)
    longest = max(26, int((4 * len(text)) ** 0.5))
    assert all(len(line) <= longest for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
