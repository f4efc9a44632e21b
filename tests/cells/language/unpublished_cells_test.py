"""Cells that nobody published, by `NASRNN` and by a plain `RNN` of Keras."""

import keras
import numpy as np
import pytest

from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from nas_keras.spaces import tree_space
from tests.conformance_testing import MASK
from tests.conformance_testing import B
from tests.conformance_testing import H
from tests.conformance_testing import T
from tests.conformance_testing import compare
from tests.conformance_testing import first_states
from tests.conformance_testing import near
from tests.conformance_testing import random
from tests.conformance_testing import results


@pytest.mark.parametrize(
    ("states", "equations"),
    [
        (["h"], ["next_h = linear(x)"]),
        (["h"], ["next_h = tanh(linear(tanh(x)) + linear(linear(x)))"]),
        (["h", "c"], ["next_c = h", "next_h = linear(c) * linear(x)"]),
        (["h", "c"], ["f = linear(x)", "next_c = f", "next_h = tanh(f) + h"]),
        (["a", "h"], ["next_h = a", "next_a = h + sin(linear(x))"]),
        (["h"], ["next_h = mean(h, max(linear(h), linear(x)), 0.5, h * h)"]),
        (["h"], ["n = linear(h)", "next_h = -n * n + sigmoid(linear(n)) - n"]),
        (["h", "c"], ["n = tanh(linear(c))", "next_c = n", "next_h = n - c"]),
        (["h"], ["next_h = tanh(linear(linear(linear(h) * linear(x))))"]),
    ],
)
def test_unusual_cells(states, equations):
    spec = CellSpec("unusual", equations, states)
    compare(
        spec,
        *(s.astype("float64") for s in first_states(spec)),
        layer_arguments={"return_state": True},
        call={"mask": MASK, "training": True},
        use_bias=True,
        recurrent_dropout=0.3,
        dropout=0.2,
        seed=1,
        dtype="float64",
    )


def test_input_outside_linear():
    spec = CellSpec("wide", ["next_h = tanh(linear(x * h)) * x + h"], ["h"])
    fast, plain = NASRNN(H, spec), keras.layers.RNN(NASCell(H, spec))
    x = random(B, T, H, seed=20)
    fast(x)
    plain(x)
    fast.set_weights(plain.get_weights())
    near(results(fast, x), results(plain, x))


def random_spec(seed):
    """Returns a cell of random equations over every operation."""
    draw = np.random.default_rng(seed)
    names, equations = ["linear(x)", "linear(h)", "h", "c"], []
    forms = ("{} + {}", "{} - {}", "{} * {}", "max({}, {})", "mean({}, {}, {})")
    forms += ("linear({})", "linear({})", "tanh({})", "sigmoid({})", "-{}")
    forms += ("relu({})", "sin({})", "0.5 * {}")
    for k in range(6):
        form = forms[draw.integers(len(forms))]
        operands = [names[draw.integers(len(names))] for _ in range(3)]
        equations.append(f"n{k} = {form.format(*operands)}")
        names.append(f"n{k}")
    ends = [n for n in names[4:] if not any(f"{n}" in e[3:] for e in equations)]
    equations.append(f"next_c = tanh({' + '.join(ends)})")
    equations.append(f"next_h = tanh(mean(next_c, linear({ends[0]}), h))")
    return CellSpec(f"random{seed}", equations)


@pytest.mark.parametrize("seed", range(12))
def test_random_cells(seed):
    spec = random_spec(seed)
    states = [s.astype("float64") for s in first_states(spec)]
    compare(spec, *states, dtype="float64", use_bias=True)


@pytest.mark.parametrize("seed", range(4))
def test_random_trees(seed):
    space = tree_space(4, activations=("identity", "tanh", "sigmoid", "relu"))
    draw = np.random.default_rng(seed)
    tokens = [int(draw.integers(len(c.options))) for c in space.choices]
    compare(space.decode(tokens), dtype="float64")
