"""Tests of the language of cells, of `CellSpec`, its files and its names."""

import copy
import dataclasses
import itertools
import json
import math
import os
import pickle
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.cells import spec as spec_module
from nas_keras.cells.sizing import units_for_parameters
from nas_keras.cells.spec import CellSpec
from nas_keras.cells.spec import load_spec
from nas_keras.cells.spec import published_cells
from nas_keras.cells.spec import register_cell
from nas_keras.cells.spec import save_spec

RNN = ("next_h = tanh(linear(x) + linear(h))",)
PUBLISHED = {
    "darts_v1": (
        "75e5d056f919b461c74b8520d544b014fa6f7e22286cad0303a1cfaa0b239225"
    ),
    "darts_v2": (
        "77d38ea096962958714f6ee3100b099a52da885829582b7f9f3f25fce3379183"
    ),
    "enas_lm": (
        "dc298fe0542536f8566648c6ba554d7fd62f286809499585a546fa94d2651351"
    ),
    "enas_ptb": (
        "52a3d8f8f2c7b15822a399e2191e1ff73fad8603a84b02cfd4cbbd56549028a3"
    ),
    "gru": "f0ab21d8f54c725fe8521e475954d96a695417b4b4bf179d5cecac942cd48eaf",
    "gru_reset_after": (
        "dc24e1702dbc6592e17e24c3d2d1953730e5d5b82bd47dfe2e580312a59bb718"
    ),
    "lstm": "5a889a5829f633354cad67ab8d1c262c822611267ae01ff1900f47179d10d146",
    "mut1": "e1c74dd5c655b4b698f9d7f9b38a167c9682da90ffa4510a75b34bb58cd622e6",
    "mut2": "7601eaaf510c49dd232118c7d74f0dc87eed6a9f821d2d3fef363b00956f618f",
    "mut3": "d676798a43ed098dada6a9c7f3611b24cd7dafd12fd2105c1f6483cb8f498596",
    "nascell": (
        "f6058ca35528c399321a78a958f1e73535c8347ba34510bcacc4783e4c719f31"
    ),
    "rhn_5": "8fe4dec378773144647beafac058e6c80e8ed461fe31de310f5d6018719c6479",
    "simple_rnn": (
        "946ddba2ba31e5b49b2ff9c72fbada9824ce7e40ede7af205c22865c3ec37aba"
    ),
    "tree8_char": (
        "60a624dda11f05eb931fbf2d24e0efb4654ad617760ad5db4226d693e0fc2825"
    ),
    "ugrnn": "78c77dc785cd44d999c1b6f8c1bac9a529106bd1a7eac440ca84bca300417ada",
}


class NumpyOps:
    """The operations that a graph asks of `keras.ops`."""

    tanh = staticmethod(np.tanh)
    sin = staticmethod(np.sin)
    maximum = staticmethod(np.maximum)
    sigmoid = staticmethod(lambda a: 1 / (1 + np.exp(-a)))
    relu = staticmethod(lambda a: np.maximum(a, 0))


def make_spec(*equations, states=("h",), name="toy", provenance=None):
    return CellSpec(name, equations, states, provenance or {})


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


def write(folder, text, name="cell.json"):
    path = Path(folder) / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def cell_json(**changes):
    return {"schema": 1, "name": "c", "states": ["h"], "equations": RNN} | (
        changes
    )


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(spec_module, "_registered", {})
    monkeypatch.delenv(spec_module.CELLS_VARIABLE, raising=False)


# The language.


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
    "unary chain": (["next_h = " + "-" * 3_900 + "x"], H, 1, 1, "deeper than"),
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
    begin = time.perf_counter()
    try:
        fingerprint = CellSpec("toy", texts, ["h"]).fingerprint
    except ValueError as error:
        assert "toy" in str(error)
    else:
        assert re.fullmatch("[0-9a-f]{64}", fingerprint)
    assert time.perf_counter() - begin < 1


@given(data=st.binary(max_size=60))
def test_random_bytes_are_refused_by_a_value_error(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "cell.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_spec(path)


# The value.


def test_spec_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_spec(*RNN).name = "other"


def test_lists_and_tuples_make_equal_and_equally_hashed_specs():
    first = CellSpec("a", list(RNN), ["h"], {"k": [1]})
    second = CellSpec("a", RNN, ("h",), {"k": (1,)})
    assert first == second
    assert len({first, second}) == 1
    assert first != CellSpec("b", RNN, ("h",), {"k": (1,)})
    assert first != CellSpec("a", RNN, ("h",), {"k": (2,)})


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))],
)
def test_copies_are_equal_and_work(duplicate):
    spec = make_spec(*RNN, provenance={"tokens": [1, 2]})
    other = duplicate(spec)
    assert other == spec
    assert hash(other) == hash(spec)
    assert other.fingerprint == spec.fingerprint
    assert other.to_dict() == spec.to_dict()


def test_provenance_is_copied():
    tokens = [1, 2]
    given_provenance = {"tokens": tokens}
    spec = make_spec(*RNN, provenance=given_provenance)
    tokens.append(3)
    given_provenance["more"] = 1
    spec.to_dict()["provenance"]["tokens"].append(4)
    assert spec.provenance == {"tokens": [1, 2]}


@pytest.mark.parametrize("provenance", [3, "text", [1], None])
def test_provenance_must_be_a_mapping(provenance):
    with pytest.raises(ValueError, match="'toy': provenance must be a mapping"):
        CellSpec("toy", RNN, ["h"], provenance)


@pytest.mark.parametrize("value", [object(), {1, 2}, math.nan, math.inf, b"a"])
def test_provenance_must_be_json_able(value):
    with pytest.raises(ValueError, match="'toy': provenance must be JSON-able"):
        make_spec(*RNN, provenance={"a": [value]})


# The fingerprint.


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_fingerprint_never_changes(name):
    assert load_spec(name).fingerprint == PUBLISHED[name]


def lines(*equations, states=("h",)):
    return make_spec(*equations, states=states).fingerprint


def test_fingerprint_leaves_out_name_and_provenance():
    first = make_spec(*RNN, name="a", provenance={"run": 1}).fingerprint
    assert first == make_spec(*RNN, name="b").fingerprint


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["a = tanh(x)", "next_h = a*h"], ["zz = tanh(x)", "next_h = zz*h"]),
        (["next_h = x + h"], ["next_h = h + x"]),
        (["next_h = x * tanh(h)"], ["next_h = tanh(h) * x"]),
        (["next_h = max(x, h)"], ["next_h = max(h, x)"]),
        (["next_h = mean(x, h, 2)"], ["next_h = mean(2, x, h)"]),
        (["next_h = tanh(x)"], ["next_h = identity(tanh(identity(x)))"]),
        (["a = tanh(x)", "next_h = a + a * h"], ["next_h=tanh(x)+tanh(x)*h"]),
        (["a = x", "b = a", "next_h = b * h"], ["next_h = x * h"]),
        (
            ["a = x * h", "b = h * x", "next_h = tanh(a) + b"],
            ["a = x * h", "next_h = tanh(a) + a"],
        ),
        (["next_h = x * 1"], ["next_h = x * 1.0"]),
        (
            ["next_h = tanh(linear(x)) - linear(x)"],
            ["a = linear(x)", "next_h = tanh(linear(x)) - a"],
        ),
    ],
)
def test_fingerprint_is_the_same_for_the_same_cell(first, second):
    assert lines(*first) == lines(*second)


@pytest.mark.parametrize(
    "last",
    [*itertools.product(("a + b", "b + a"), ("f(a) * f(b)", "f(b) * f(a)"))],
)
def test_fingerprint_of_symmetric_cells_ignores_order_everywhere(last):
    # Both gates look alike; which comes first must matter nowhere.
    gates = [f"{name} = tanh(linear(x) + linear(h))" for name in "ab"]
    first, second = (part.replace("f", "sigmoid") for part in last)
    assert lines(*gates, f"next_h = ({first}) - {second}") == lines(
        *gates, "next_h = (a + b) - sigmoid(a) * sigmoid(b)"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            ["next_h = sigmoid(linear(x)) * tanh(linear(h))"],
            ["next_h = tanh(linear(x)) * sigmoid(linear(h))"],
        ),
        (
            ["a = linear(x)", "next_h = tanh(a) * sigmoid(a)"],
            ["next_h = tanh(linear(x)) * sigmoid(linear(x))"],
        ),
        (["next_h = tanh(x) * h"], ["next_h = tanh(h) * x"]),
        (["next_h = x - h"], ["next_h = h - x"]),
        (["next_h = x - (h - x)"], ["next_h = (x - h) - x"]),
        (["next_h = 2 * x"], ["next_h = 2.5 * x"]),
        (["next_h = x + h"], ["next_h = x * h"]),
        (["next_h = mean(x, h)"], ["next_h = mean(x, h, h)"]),
        (["next_h = linear(x)"], ["next_h = x"]),
        (["next_h = relu(x)"], ["next_h = max(x, 0)"]),
        (
            # Both pairs look alike to each other; only who meets whom differs.
            ["a = tanh(linear(x))", "b = tanh(linear(x))"]
            + ["next_h = a * sin(a) + b * sin(b)"],
            ["a = tanh(linear(x))", "b = tanh(linear(x))"]
            + ["next_h = a * sin(b) + b * sin(a)"],
        ),
    ],
)
def test_fingerprint_differs_for_different_cells(first, second):
    assert lines(*first) != lines(*second)


def test_fingerprint_tells_states_apart():
    first = ["next_c = tanh(c)", "next_h = c * h"]
    second = ["next_c = tanh(h)", "next_h = c * h"]
    assert lines(*first, states=HC) != lines(*second, states=HC)
    swapped = ["next_h = tanh(c)", "next_c = c * h"]
    assert lines(*first, states=HC) != lines(*swapped, states=HC)


def reordered(equations, rng):
    """Returns the equations in a random order of evaluation."""
    waiting = [
        tuple(re.split(r"\s*=\s*", text, maxsplit=1)) for text in equations
    ]
    assigned = {target for target, _ in waiting}
    done, order = set(), []
    while waiting:
        ready = [
            pair
            for pair in waiting
            if (set(re.findall(r"[A-Za-z_]\w*", pair[1])) & assigned) <= done
        ]
        pair = rng.choice(ready)
        waiting.remove(pair)
        done.add(pair[0])
        order.append(" = ".join(pair))
    return order


def renamed(equations, states, rng):
    targets = [text.split("=")[0].strip() for text in equations]
    free = [t for t in targets if t not in {f"next_{s}" for s in states}]
    numbers = rng.sample(range(1000), len(free))
    table = {t: f"v{k}" for t, k in zip(free, numbers, strict=True)}
    return [
        re.sub(r"[A-Za-z_]\w*", lambda m: table.get(m[0], m[0]), text)
        for text in equations
    ]


def commuted(equations, rng):
    def swap(text):
        for sign in (" + ", " * "):
            # Only where the whole right-hand side is one operation.
            target, value = text.split(" = ")
            parts = value.split(sign)
            if len(parts) == 2 and rng.random() < 0.5 and "(" not in value:
                text = f"{target} = {parts[1]}{sign}{parts[0]}"
        return re.sub(
            r"linear\(x\) ([+*]) linear\(h\)",
            lambda m: (
                m[0] if rng.random() < 0.5 else f"linear(h) {m[1]} linear(x)"
            ),
            text,
        )

    return [swap(text) for text in equations]


@given(name=st.sampled_from(sorted(PUBLISHED)), seed=st.integers(0, 10**9))
def test_fingerprint_ignores_order_names_and_commuting(name, seed):
    rng = random.Random(seed)
    spec = load_spec(name)
    equations = reordered(spec.equations, rng)
    equations = commuted(renamed(equations, spec.states, rng), rng)
    assert lines(*equations, states=spec.states) == PUBLISHED[name]


@given(seed=st.integers(0, 10**9))
def test_fingerprint_of_random_cells_ignores_order_and_names(seed):
    # Few kinds of nodes and many users: full of look-alikes.
    rng = random.Random(seed)
    names = [f"g{k}" for k in range(rng.randint(2, 4))]
    equations = [f"{name} = tanh(linear(x) + linear(h))" for name in names]
    for k in range(rng.randint(1, 4)):
        left, right = rng.choice(names), rng.choice(names)
        equations.append(f"n{k} = {left} {rng.choice('+*')} {right}")
        names.append(f"n{k}")
    equations.append(f"next_h = mean({', '.join(names)})")
    want = lines(*equations)
    changed = commuted(renamed(reordered(equations, rng), H, rng), rng)
    *changed, last = sorted(changed, key=lambda text: text.startswith("next_h"))
    operands = re.findall(r"v\d+", last)
    rng.shuffle(operands)
    assert lines(*changed, f"next_h = mean({', '.join(operands)})") == want


# Files.


def test_dictionary_comes_back_equal():
    spec = make_spec(*RNN, provenance={"reward": 0.5, "text": "\u00e9"})
    data = json.loads(json.dumps(spec.to_dict()))
    assert CellSpec.from_dict(data) == spec


def test_states_and_provenance_of_a_file_are_optional():
    spec = CellSpec.from_dict(
        {"schema": 1, "name": "a", "equations": ["next_h = c", "next_c = h"]}
    )
    assert spec.states == ("h", "c")
    assert spec.provenance == {}


@pytest.mark.parametrize("key", ["schema", "name", "equations"])
def test_missing_key_is_named(key):
    data = cell_json()
    del data[key]
    with pytest.raises(ValueError, match=rf"unknown: \[\], missing: \['{key}'"):
        CellSpec.from_dict(data)


def test_unknown_key_is_named():
    with pytest.raises(ValueError, match=r"unknown: \['colour'\], missing"):
        CellSpec.from_dict(cell_json(colour="red"))


@pytest.mark.parametrize("schema", [0, 2, "1", True, None, [1]])
def test_schema_must_be_one(schema):
    message = rf"schema must be 1.*schema={re.escape(repr(schema))}"
    with pytest.raises(ValueError, match=message):
        CellSpec.from_dict(cell_json(schema=schema))


BAD_FILES = {
    "list": ("[1]", r"must be a JSON object. Received: \[1\]"),
    "null": ("null", "must be a JSON object. Received: None"),
    "duplicate": ('{"schema": 1, "schema": 1}', r"given twice: \['schema'\]"),
    "nan": ('{"schema": NaN}', "NaN is not JSON"),
    "infinity": ('{"schema": -Infinity}', "-Infinity is not JSON"),
    "not UTF-8": (b'{"name": "\xff"}', "not UTF-8 at byte 10"),
    "truncated": ('{"schema": 1, "name', "not JSON: .*line 1 column 15"),
    "empty": ("", "not JSON"),
    "no JSON": ("schema: 1", "not JSON"),
    "null byte": (b'{"schema": \x00}', "not JSON"),
    "big int": ('{"schema": ' + "1" * 9_999 + "}", ""),
    "deep list": ("[" * 200_000, "nested too deeply"),
    "deep object": ('{"a":' * 100_000, "nested too deeply"),
    "wide number": (
        json.dumps(cell_json())[:-1] + ', "provenance": {"a": 1e999}}',
        "provenance must be JSON-able",
    ),
}


@pytest.mark.parametrize("case", sorted(BAD_FILES))
def test_bad_file_is_refused_by_name(case, tmp_path):
    text, problem = BAD_FILES[case]
    path = write(tmp_path, text)
    message = rf"^{re.escape(str(path))}: .*{problem}"
    with pytest.raises(ValueError, match=message):
        load_spec(path)


def test_large_file_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "cell.json"
    with open(path, "wb") as file:
        file.truncate(10_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read"))
    begin = time.perf_counter()
    message = rf"{re.escape(str(path))}: .*at most 1000000 bytes.*: 10000000 by"
    with pytest.raises(ValueError, match=message):
        load_spec(path)
    assert time.perf_counter() - begin < 1


def test_saved_cell_loads_equal(tmp_path):
    spec = make_spec(*RNN, provenance={"source": "\u00e9\u4e2d", "tokens": [1]})
    path = tmp_path / "toy.json"
    save_spec(spec, path)
    assert load_spec(path) == spec
    assert load_spec(str(path)) == spec
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert os.listdir(tmp_path) == ["toy.json"]


@pytest.mark.parametrize("name", ["cell", "cell.txt", "cell.json.bak", ".json"])
def test_cell_is_saved_as_json_only(name, tmp_path):
    message = rf"'\.json' file. Received: path=.*{re.escape(name)}"
    with pytest.raises(ValueError, match=message):
        save_spec(make_spec(*RNN), tmp_path / name)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failing_write_keeps_the_old_file(function, tmp_path, monkeypatch):
    path = tmp_path / "toy.json"
    old = make_spec(*RNN)
    save_spec(old, path)

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(spec_module.os, function, fail)
    with pytest.raises(OSError, match="disk full"):
        save_spec(make_spec("next_h = x"), path)
    monkeypatch.undo()
    assert load_spec(path) == old
    assert os.listdir(tmp_path) == ["toy.json"]


# Names.


def test_published_cells_are_listed():
    assert published_cells() == sorted(PUBLISHED)


@pytest.mark.parametrize("name", published_cells())
def test_published_cell_has_its_file_name_a_source_and_a_reference(name):
    spec = load_spec(name)
    assert spec.name == name
    assert spec.provenance["source"]
    assert spec.provenance["reference"].startswith("https://")


def test_cell_is_found_by_path_with_or_without_suffix(tmp_path):
    spec = make_spec(*RNN)
    save_spec(spec, tmp_path / "toy.json")
    plain = write(tmp_path, (tmp_path / "toy.json").read_bytes(), "plain")
    assert load_spec(plain) == load_spec(str(plain)) == spec


@pytest.mark.parametrize("name", ["lstmm", "", "LSTM", "a b", "..", "lstm\0"])
def test_unknown_name_lists_the_known_ones(name, registry):
    message = (
        re.escape(f"No cell is named {name!r}.")
        + f" Published cells: {re.escape(str(sorted(PUBLISHED)))}"
    )
    with pytest.raises(ValueError, match=message):
        load_spec(name)


def test_missing_file_is_named(tmp_path):
    message = rf"{re.escape(str(tmp_path))}/no\.json: cannot be read.*No such"
    with pytest.raises(ValueError, match=message):
        load_spec(tmp_path / "no.json")
    with pytest.raises(ValueError, match="cannot be read as a cell"):
        load_spec(tmp_path)


@pytest.mark.parametrize("value", [None, 3, b"lstm", ["lstm"]])
def test_name_of_another_type_is_refused(value):
    message = rf"name or a path.*{re.escape(repr(value))} of type"
    with pytest.raises(ValueError, match=message):
        load_spec(value)


def test_folders_of_the_variable_are_searched(registry, tmp_path, monkeypatch):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        save_spec(make_spec(*RNN, name=folder.name), folder / "x.json")
    os.rename(folders[1] / "x.json", folders[1] / "mine.json")
    monkeypatch.setenv("NAS_KERAS_CELLS", os.pathsep.join(map(str, folders)))
    assert load_spec("x").name == "a"
    assert load_spec("mine").name == "b"
    with pytest.raises(ValueError, match=r"NAS_KERAS_CELLS: \['mine', 'x'\]"):
        load_spec("other")


def test_user_cell_of_a_published_name_is_ambiguous(
    registry, tmp_path, monkeypatch
):
    save_spec(make_spec(*RNN, name="lstm"), tmp_path / "lstm.json")
    monkeypatch.setenv("NAS_KERAS_CELLS", str(tmp_path))
    message = rf"'lstm' is ambiguous: .*{re.escape(str(tmp_path))}.*lstm\.json"
    with pytest.raises(ValueError, match=message):
        load_spec("lstm")
    assert load_spec(tmp_path / "lstm.json").states == ("h",)
    assert load_spec("gru").name == "gru"


def test_registered_cell_is_found_by_name(registry):
    spec = make_spec(*RNN, name="my_cell")
    with pytest.raises(ValueError, match="my_cell"):
        load_spec("my_cell")
    register_cell(spec)
    register_cell(CellSpec.from_dict(spec.to_dict()))
    assert load_spec("my_cell") is not None
    assert load_spec("my_cell") == spec
    with pytest.raises(ValueError, match=r"registered: \['my_cell'\]"):
        load_spec("other")


def test_name_of_another_cell_cannot_be_registered(
    registry, tmp_path, monkeypatch
):
    register_cell(make_spec(*RNN, name="mine"))
    save_spec(make_spec(*RNN, name="theirs"), tmp_path / "theirs.json")
    monkeypatch.setenv("NAS_KERAS_CELLS", str(tmp_path))
    for name in ("mine", "theirs", "lstm"):
        message = f"'{name}' belongs to another cell.*'{name}'"
        with pytest.raises(ValueError, match=message):
            register_cell(make_spec("next_h = x", name=name))
    register_cell(load_spec("lstm"))
    register_cell(load_spec("theirs"))


@pytest.mark.parametrize("value", ["lstm", None, {"name": "a"}])
def test_only_a_spec_is_registered(value):
    message = f"must be a CellSpec. Received: {type(value).__name__}"
    with pytest.raises(ValueError, match=message):
        register_cell(value)


# The cost.


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize(
    ("name", "projection"),
    # No gru with one: its gate on h has the width of a gate, not of h.
    [(name, None) for name in published_cells()]
    + [("lstm", 3), ("nascell", 3)],
)
def test_cost_is_that_of_the_built_layer(name, projection, use_bias):
    from nas_keras.cells.nas_cell import NASCell

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


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ValueError, match="pipe.json: .*not a file"):
        load_spec(tmp_path / "pipe.json")


@pytest.mark.parametrize("projection", [None, 2])
def test_cost_of_operands_of_other_widths_is_that_of_the_layer(projection):
    from nas_keras.cells.nas_cell import NASCell

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
    from nas_keras.cells.nas_cell import NASCell

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
