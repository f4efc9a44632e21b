"""What tests of ENAS' recurrent space share: its members, cells that run."""

import numpy as np
from hypothesis import strategies as st

from nas_keras.cells import NASCell
from nas_keras.spaces import enas_recurrent_space

AVERAGES = ("loose_ends", "all")


def arc_of(tokens, average):
    """Returns the arc that the authors' programs have for the tokens.

    The first program averages loose ends; its arc begins with the function of
    node 0 and has other numbers for two functions.
    """
    if average == "all":
        return list(tokens)
    code = (0, 1, 3, 2)
    pairs = zip(tokens[::2], tokens[1::2], strict=True)
    return [0, *(k for read, f in pairs for k in (read, code[f]))]


def run_cell(spec, x, h, seed=0):
    """Returns the next h and the weights, which are random; float64."""
    rng = np.random.default_rng(seed)
    cell = NASCell(h.shape[-1], spec, use_bias=True, dtype="float64")
    cell.build((None, x.shape[-1]))
    for weight in cell.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.8)
    next_h, _ = cell(x, [h])
    weights = {w.name: np.asarray(w) for w in cell.weights}
    return np.asarray(next_h), weights


def random_arrays(seed, batch=2, width=3, units=4):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(batch, n)) for n in (width, units)]


@st.composite
def members(draw, most=12):
    """Draws a space and the tokens of a member."""
    nodes = draw(st.integers(1, most))
    average = draw(st.sampled_from(AVERAGES))
    tokens = []
    for node in range(1, nodes + 1):
        tokens += [draw(st.integers(0, node - 1)), draw(st.integers(0, 3))]
    return enas_recurrent_space(nodes, average), tuple(tokens)
