"""Tests of the tokens that ENAS' recurrent space finds for a cell."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from nas_keras.cells import CellSpec
from nas_keras.cells import load_spec
from nas_keras.spaces import enas_recurrent_space
from tests import oracles
from tests.enas_recurrent_testing import AVERAGES
from tests.enas_recurrent_testing import arc_of
from tests.enas_recurrent_testing import members
from tests.enas_recurrent_testing import random_arrays
from tests.enas_recurrent_testing import run_cell

# Of each cell of an author: name, nodes after node 0, average, tokens.
PUBLISHED = (
    (
        "enas_ptb",
        11,
        "loose_ends",
        (0, 0, 1, 1, 2, 1, 2, 0, 2, 0, 5, 1, 1, 0, 6, 1, 8, 1, 8, 1, 8, 1),
    ),
    ("enas_lm", 8, "all", (0, 2, 1, 0, 2, 1, 2, 2, 4, 0, 5, 0, 3, 2, 6, 2)),
    ("darts_v2", 8, "all", (0, 2, 1, 1, 1, 1, 1, 3, 2, 0, 5, 2, 3, 0, 5, 1)),
    ("darts_v1", 8, "all", (0, 1, 1, 1, 2, 0, 3, 1, 4, 1, 1, 3, 5, 1, 1, 1)),
)
_PUBLISHED = pytest.mark.parametrize(
    ("name", "nodes", "average", "tokens"), PUBLISHED
)


@settings(max_examples=100)
@given(member=members())
def test_encode_is_the_inverse_of_decode(member):
    space, tokens = member
    assert space.encode(space.decode(tokens)) == tokens


@pytest.mark.parametrize("average", AVERAGES)
def test_encode_is_the_inverse_of_decode_on_all_of_a_small_space(average):
    space = enas_recurrent_space(3, average)
    every = [t for t in np.ndindex(*space.num_options)]
    specs = [space.decode(tokens) for tokens in every]
    assert [space.encode(spec) for spec in specs] == every
    # Two tokens may be one cell but for the order of its nodes.
    assert len({spec.equations for spec in specs}) == space.size == 384


@given(member=members(), seed=st.integers(0, 2**32 - 1))
def test_encode_sees_through_the_way_that_a_cell_is_written(member, seed):
    space, tokens = member
    rng = np.random.default_rng(seed)
    equations = []
    for equation in space.decode(tokens).equations:
        # DARTS writes the gate first.
        match = re.fullmatch(r"(.* = .* \+) (\(.*\)) \* (sigmoid.*)", equation)
        if match and rng.random() < 0.5:
            equation = "{} {} * {}".format(*match.group(1, 3, 2))
        equations.append(re.sub(r"\bs(\d+)\b", r"node\1", equation))
    spec = CellSpec("rewritten", equations, ["h"])
    assert space.encode(spec) == tokens


@_PUBLISHED
def test_published_cell_has_the_tokens_of_its_authors(
    name, nodes, average, tokens
):
    space = enas_recurrent_space(nodes, average)
    published = load_spec(name)
    assert space.encode(published) == tokens
    decoded = space.decode(tokens)
    assert decoded.fingerprint == published.fingerprint
    assert decoded.name != published.name


def test_tokens_are_the_arcs_of_the_authors_in_one_numbering():
    tokens = {name: tokens for name, _, _, tokens in PUBLISHED}
    arc = arc_of(tokens["enas_ptb"], "loose_ends")
    assert arc == oracles.ENAS_PTB == load_spec("enas_ptb").provenance["arc"]
    arc = arc_of(tokens["enas_lm"], "all")
    assert arc == oracles.ENAS_LM == load_spec("enas_lm").provenance["arc"]


@_PUBLISHED
def test_published_cell_decoded_computes_what_its_authors_wrote(
    name, nodes, average, tokens
):
    space = enas_recurrent_space(nodes, average)
    spec = space.decode(space.encode(load_spec(name)))
    x, h = random_arrays(1)
    next_h, weights = run_cell(spec, x, h)
    genotypes = {"darts_v1": oracles.DARTS_V1, "darts_v2": oracles.DARTS_V2}
    if name in genotypes:  # As DARTS' authors write it, gate first.
        of_nodes, _ = oracles.nodes_of_genotype(genotypes[name])
        matrices, biases = oracles.per_node(of_nodes, weights, 4)
        swapped = [
            [np.roll(part, 4, axis=-1) for part in parts]
            for parts in (matrices, biases)
        ]
        (want,) = oracles.darts_cell(genotypes[name], x, h, *swapped)
    else:
        (want,) = oracles.CELLS[name](x, h, weights)
    np.testing.assert_allclose(next_h, want, rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "nodes", "average", "found"),
    [
        ("lstm", 8, "all", 0),
        ("darts_v2", 8, "loose_ends", 8),  # It averages nodes that are read.
        ("enas_ptb", 11, "all", 11),
        ("enas_ptb", 8, "loose_ends", 11),
        ("darts_v2", 9, "all", 8),
        ("darts_v2", 1, "all", 8),
    ],
)
def test_encode_refuses_a_cell_of_another_space(name, nodes, average, found):
    space = enas_recurrent_space(nodes, average)
    message = (
        f"The cell must be one of {space.name}. Received: {name!r}, of which "
        f"{found} nodes after the first fit."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        space.encode(load_spec(name))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Node 0 is relu; is multiplied; carries x.
        ("(tanh(linear(x)", "(relu(linear(x)"),
        ("tanh(linear(x) +", "tanh(linear(x) *"),
        ("s0 = h +", "s0 = x +"),
        # Node 1 has a function that the space has not; is no highway node;
        # reads one node and carries another, or gates by another.
        ("(sigmoid(linear(s0))", "(sin(linear(s0))"),
        ("linear(s0)) - s0)", "linear(s0)) + s0)"),
        ("relu(linear(s1))", "relu(linear(s0))"),
        ("s2 = s1 + sigmoid(linear(s1))", "s2 = s1 + sigmoid(linear(s0))"),
        ("s2 = s1 + sigmoid(linear(s1))", "s2 = s1 + tanh(linear(s1))"),
        # The output leaves a node out, counts one twice, is twice the mean.
        ("mean(s1, ", "mean("),
        ("mean(s1, ", "mean(s1, s1, "),
        ("= mean(", "= 2 * mean("),
    ],
)
def test_encode_refuses_a_cell_that_is_altered(old, new):
    spec = load_spec("darts_v2")
    equations = "\n".join(spec.equations)
    assert old in equations
    equations = equations.replace(old, new, 1).split("\n")
    altered = CellSpec("altered", equations, spec.states)
    message = (
        r"^The cell must be one of enas_recurrent\(nodes=8, average=all\)\. "
        r"Received: 'altered', of which \d nodes after the first fit\.$"
    )
    with pytest.raises(ValueError, match=message):
        enas_recurrent_space(8, "all").encode(altered)
