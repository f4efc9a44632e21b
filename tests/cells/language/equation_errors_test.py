"""Tests of the language of cells: what it refuses, and the place it names."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from tests.cell_testing import RNN
from tests.cell_testing import cell_json
from tests.cell_testing import make_spec
from tests.cell_testing import write

# What the language refuses: (equations, states, number, column, problem).
H, HC = ("h",), ("h", "c")
REFUSED = {
    "unknown function": (["next_h = x * exp(h)"], H, 1, 14, "unknown function"),
    "unknown name": (["next_h = x + y"], H, 1, 14, "'y' is not assigned"),
    "cycle of one": (["a = x + a", "next_h = a"], H, 1, 9, r"'a' is used befo"),
    "cycle of two": (
        ["a = b", "b = a", "next_h = b"],
        H,
        1,
        5,
        r"'b' is used before it is assigned \(equation 2\).* cycle",
    ),
    "two assignments": (["a = x", "a = h", "next_h = a"], H, 2, 1, "twice"),
    "attribute": (["next_h = tanh(x.real)"], H, 1, 15, "Attribute is not"),
    "subscript": (["next_h = x[0]"], H, 1, 10, "Subscript is not allowed"),
    "keyword": (["next_h = tanh(a=x)"], H, 1, 10, "Call is not allowed"),
    "starred": (["next_h = tanh(*x)"], H, 1, 15, "Starred is not allowed"),
    "method": (["next_h = x.tanh(h)"], H, 1, 10, "Call is not allowed"),
    "lambda": (["next_h = lambda: x"], H, 1, 10, "Lambda is not allowed"),
    "comparison": (["next_h = x < h"], H, 1, 10, "Compare is not allowed"),
    "condition": (["next_h = x if h else x"], H, 1, 10, "IfExp is not"),
    "tuple": (["next_h = x, h"], H, 1, 10, "Tuple is not allowed"),
    "walrus": (["next_h = (y := x)"], H, 1, 11, "NamedExpr is not allowed"),
    "unary plus": (["next_h = +x"], H, 1, 10, "UnaryOp is not allowed"),
    "division": (["next_h = x / 2"], H, 1, 10, "Div is not allowed"),
    "power": (["next_h = x ** 2"], H, 1, 10, "Pow is not allowed"),
    "text": (["next_h = 'x'"], H, 1, 10, "'x' is not a real number"),
    "complex": (["next_h = x * 2j"], H, 1, 14, "2j is not a real number"),
    "bool": (["next_h = x * True"], H, 1, 14, "True is not a real number"),
    "none": (["next_h = None"], H, 1, 10, "None is not a real number"),
    "infinite": (["next_h = x * 1e999"], H, 1, 14, "number is too large"),
    "huge int": (["next_h = x*0x" + "f" * 999], H, 1, 12, "is too large"),
    "too few": (["next_h = max(x)"], H, 1, 10, "max takes 2 op.* Received: 1"),
    "too many": (["next_h = tanh(x, h)"], H, 1, 10, "takes 1 .*Received: 2"),
    "mean of none": (["next_h = mean()"], H, 1, 10, "takes 1 or more operand"),
    "uncalled": (["next_h = tanh + x"], H, 1, 10, "'tanh' is not called"),
    "unbalanced": (["next_h = tanh(x"], H, 1, 14, r"not an equation: .* never"),
    "no equation": (["tanh(x)"], H, 1, 1, "must be one `name = expression`"),
    "empty": ([""], H, 1, 1, "must be one `name = expression`"),
    "statements": (["next_h = x; a = h"], H, 1, 1, "must be one `name = exp"),
    "augmented": (["next_h += x"], H, 1, 1, "must be one `name = expression`"),
    "two targets": (["next_h = a = x"], H, 1, 1, "must be one `name = expre"),
    "assigns x": (["x = h", "next_h = x"], H, 1, 1, "'x' is an input and can"),
    "assigns h": (["h = x", "next_h = h"], H, 1, 1, "'h' is an input and can"),
    "assigns tanh": (["tanh = x"], H, 1, 1, "'tanh' is a function and cannot"),
    "unknown state": (["next_h = x", "next_c = x"], H, 2, 1, "names no state"),
    "unused": (["next_h = x", "a = h"], H, 2, 1, "'a' is never used"),
    "unused pair": (["a = x", "b = a", "next_h = x"], H, 1, 1, "'a' is never"),
    "number state": (["next_c = 2", "next_h = x"], HC, 1, 1, "is a number, no"),
    "linear number": (["next_h = x*linear(1-2)"], H, 1, 12, "has no width"),
    "letter": (["next_h = x * \u00e9"], H, 1, 14, "illegal character '\u00e9'"),
    "full-width": (["\uff4eext_h = x"], H, 1, 1, "illegal character"),
    "null byte": (["next_h = x\0"], H, 1, 11, r"illegal character '\\x00'"),
    "line": (["next_h = x", "a =\nx"], H, 2, 4, r"illegal character '\\n'"),
    "indent": (["  next_h = \u00e9"], H, 1, 12, "illegal character"),
    "indented call": (["   next_h = f(x)"], H, 1, 13, "unknown function 'f'"),
    "deep": (["next_h = " + "(" * 1000 + "x" + ")" * 1000], H, 1, 74, "deeper"),
    "calls": (["next_h = " + "tanh(" * 65 + "x" + ")" * 65], H, 1, 334, "deep"),
    "minus": (["next_h = " + "-" * 66 + "x"], H, 1, 75, "deeper than 64"),
    # Python's own parser gives up, with no column, but not that of 3.13.
    "unary": (["next_h = " + "-" * 3_900 + "x"], H, 1, "(1|75)", "deeper tha"),
    "sum": (["next_h = " + "+".join(["x"] * 70)], H, 1, 10, "deeper than 64"),
    "long": (["next_h = x" + " " * 4_000], H, 1, 1, r"longer than 4000 .*4010"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_error_names_cell_equation_and_column(case):
    equations, states, number, column, problem = REFUSED[case]
    message = (
        rf"(?s)^cell 'toy': equation {number} \(.*\), "
        rf"column {column}: .*{problem}"
    )
    with pytest.raises(ValueError, match=message):
        CellSpec("toy", equations, states)


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_error_of_a_file_names_the_file_too(case, tmp_path):
    equations, states, number, column, problem = REFUSED[case]
    data = cell_json(equations=equations, states=states)
    path = write(tmp_path, json.dumps(data))
    message = (
        rf"(?s)^{re.escape(str(path))}: cell 'c': equation {number} "
        rf"\(.*\), column {column}: .*{problem}"
    )
    with pytest.raises(ValueError, match=message):
        load_spec(path)


def test_error_message_shortens_a_long_equation():
    with pytest.raises(ValueError, match=r"\.\.\.'\), column 10") as caught:
        make_spec("next_h = " + "+".join(["x"] * 1_000))
    assert len(str(caught.value)) < 400


def test_every_state_must_have_an_equation():
    message = r"state 'c' has no equation 'next_c = \.\.\.'.*\['next_h'\]"
    with pytest.raises(ValueError, match=message):
        make_spec("next_h = x", states=("h", "c"))


def test_deepest_allowed_equation_is_accepted():
    make_spec("next_h = " + "tanh(" * 64 + "x" + ")" * 64)


def test_at_most_512_equations_are_accepted():
    def chain(length):
        equations = [
            f"a{k} = tanh({f'a{k - 1}' if k else 'x'})"
            for k in range(length - 1)
        ]
        return make_spec(*equations, f"next_h = a{length - 2}")

    assert len(chain(512).equations) == 512
    with pytest.raises(ValueError, match="at most 512 equations.*513"):
        chain(513)


@pytest.mark.parametrize("name", ["", "a b", "../a", ".a", "-a", "a" * 101, 3])
def test_name_must_be_fit_for_a_file(name):
    with pytest.raises(ValueError, match=f"name={re.escape(repr(name))}"):
        make_spec(*RNN, name=name)


@pytest.mark.parametrize("equations", ["next_h = x", 3, None, {"a": 1}])
def test_equations_must_be_a_list(equations):
    with pytest.raises(ValueError, match="'toy': equations must be a list"):
        CellSpec("toy", equations, ["h"])


@pytest.mark.parametrize("equation", [3, None, b"next_h = x", ["next_h = x"]])
def test_every_equation_must_be_a_string(equation):
    message = rf"equations must be strings.*{re.escape(repr(equation))}"
    with pytest.raises(ValueError, match=message):
        CellSpec("toy", ["next_h = x", equation], ["h"])


@pytest.mark.parametrize(
    "states",
    [[], ["c"], ["h", "h"], ["h", "x"], ["h", "tanh"], ["h", "next_c"]]
    + [["h", "a b"], ["h", "\u00e9"], ["h", "a" * 33], ["h", ""]],
)
def test_states_must_be_distinct_free_names_with_h(states):
    message = r"states must be distinct.*" + re.escape(f"states={states!r}")
    with pytest.raises(ValueError, match=message):
        CellSpec("toy", RNN, states)


def test_at_most_16_states_are_accepted():
    def spec(count):
        states = ["h", *(f"s{k}" for k in range(1, count))]
        return make_spec(*(f"next_{s} = {s}" for s in states), states=states)

    assert len(spec(16).states) == 16
    with pytest.raises(ValueError, match="at most 16 states. Received: 17"):
        spec(17)


WORDS = st.sampled_from(
    "x h c a next_h linear tanh max mean sin relu identity sigmoid \ud800 "
    "( ( ) ) , + - * ** / // @ % = == := . [ ] { } : ; # ' \" \\ 1 0.5 1e9 2j "
    "lambda if else not and or await yield f'{ True None ... \0 \n \u00e9"
    " ".split(" ")
)


@given(
    texts=st.lists(
        st.one_of(
            st.text(max_size=40),
            st.lists(WORDS, max_size=30).map(" ".join),
            st.lists(WORDS, max_size=30).map(lambda t: f"next_h={''.join(t)}"),
            st.builds(
                lambda a, n, b: "next_h = " + a * n + b,
                WORDS,
                st.just(900),
                WORDS,
            ),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_random_text_is_refused_by_a_value_error_or_is_a_cell(texts):
    try:
        fingerprint = CellSpec("toy", texts, ["h"]).fingerprint
    except ValueError as error:
        assert "toy" in str(error)
    else:
        assert re.fullmatch("[0-9a-f]{64}", fingerprint)
