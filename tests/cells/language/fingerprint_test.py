"""Tests of fingerprints: equal for equal cells, whatever their words."""

import itertools
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.cells.language.spec import load_spec
from tests.cell_testing import PUBLISHED
from tests.cell_testing import RNN
from tests.cell_testing import make_spec

H, HC = ("h",), ("h", "c")


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
