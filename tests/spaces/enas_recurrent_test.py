"""Tests of ENAS' recurrent space: choices, cells of tokens, a policy."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.cells import CellSpec
from nas_keras.controllers import PolicyGradientController
from nas_keras.spaces import RecurrentDag
from nas_keras.spaces import enas_recurrent_space
from tests import oracles
from tests.controller_testing import proposed
from tests.enas_recurrent_testing import AVERAGES
from tests.enas_recurrent_testing import arc_of
from tests.enas_recurrent_testing import members
from tests.enas_recurrent_testing import random_arrays
from tests.enas_recurrent_testing import run_cell

ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")


# The choices.


def test_choices_are_the_node_read_and_the_activation_of_each_node():
    choices = enas_recurrent_space(3).choices
    assert [(choice.name, choice.options) for choice in choices] == [
        ("node_1_reads", (0,)),
        ("node_1_activation", ACTIVATIONS),
        ("node_2_reads", (0, 1)),
        ("node_2_activation", ACTIVATIONS),
        ("node_3_reads", (0, 1, 2)),
        ("node_3_activation", ACTIVATIONS),
    ]


def test_a_node_is_anchored_where_it_chose_what_it_reads():
    choices = enas_recurrent_space(4).choices
    anchors = {choice.name: choice.anchors for choice in choices}
    # Node 0 chooses nothing: the beginning. Nodes 1, 2, 3: places 0, 2, 4.
    assert anchors["node_1_reads"] == (-1,)
    assert anchors["node_2_reads"] == (-1, 0)
    assert anchors["node_3_reads"] == (-1, 0, 2)
    assert anchors["node_4_reads"] == (-1, 0, 2, 4)
    places = [choice.name for choice in choices]
    assert [places[place] for place in (0, 2, 4)] == [
        f"node_{k}_reads" for k in (1, 2, 3)
    ]
    for node in range(1, 5):
        assert anchors[f"node_{node}_activation"] is None


@pytest.mark.parametrize("nodes", [1, 2, 8, 11, 64])
@pytest.mark.parametrize("average", AVERAGES)
def test_size_is_that_of_the_paper(nodes, average):
    space = enas_recurrent_space(nodes, average)
    assert len(space.choices) == 2 * nodes
    assert space.size == 4**nodes * math.factorial(nodes)


def test_space_carries_its_shape_and_its_name():
    assert enas_recurrent_space().structure == RecurrentDag(8, "loose_ends")
    assert enas_recurrent_space(11).structure == RecurrentDag(11)
    assert enas_recurrent_space(11).name == "enas_recurrent(nodes=11)"
    space = enas_recurrent_space(8, average="all")
    assert space.structure == RecurrentDag(8, "all")
    assert space.name == "enas_recurrent(nodes=8, average=all)"


@pytest.mark.parametrize("nodes", [0, -1, 65, 2.0, True, "8", None])
def test_nodes_must_be_an_int_from_1_to_64(nodes):
    message = f"nodes must be an int in [1, 64]. Received: nodes={nodes!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        enas_recurrent_space(nodes)


@pytest.mark.parametrize("average", ["", "ALL", "none", None, 1])
def test_average_must_be_known(average):
    message = (
        "average must be one of ['loose_ends', 'all']. Received: "
        f"average={average!r}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        enas_recurrent_space(8, average)


# Decoding.


def test_decoded_equations_are_those_of_the_paper():
    spec = enas_recurrent_space(3).decode((0, 1, 1, 3, 1, 2))
    assert spec.states == ("h",)
    assert spec.equations == (
        "s0 = h + (tanh(linear(x) + linear(h)) - h)"
        " * sigmoid(linear(x) + linear(h))",
        "s1 = s0 + (relu(linear(s0)) - s0) * sigmoid(linear(s0))",
        "s2 = s1 + (linear(s1) - s1) * sigmoid(linear(s1))",
        "s3 = s1 + (sigmoid(linear(s1)) - s1) * sigmoid(linear(s1))",
        "next_h = mean(s2, s3)",
    )


@given(member=members(8), seed=st.integers(0, 2**32 - 1))
def test_decoded_cell_computes_the_cell_of_its_tokens(member, seed):
    space, tokens = member
    x, h = random_arrays(seed)
    next_h, weights = run_cell(space.decode(tokens), x, h, seed)
    arc = arc_of(tokens, space.structure.average)
    nodes, _ = oracles.nodes_of_arc(arc)
    parts = oracles.per_node(nodes, weights, h.shape[-1])
    (want,) = oracles.enas_cell(arc, x, h, *parts)
    np.testing.assert_allclose(next_h, want, rtol=1e-10, atol=1e-12)


def test_decoded_cell_of_one_node_written_out():
    x, h = random_arrays(3)
    spec = enas_recurrent_space(1).decode((0, 3))
    next_h, weights = run_cell(spec, x, h)
    bias = weights["bias"]
    joined = x @ weights["kernel"] + h @ weights["recurrent_kernel"] + bias[:8]
    gate = oracles.sigmoid(joined[:, 4:])
    s0 = gate * np.tanh(joined[:, :4]) + (1 - gate) * h
    joined = s0 @ weights["kernel_s0"] + bias[8:]
    gate = oracles.sigmoid(joined[:, 4:])
    s1 = gate * joined[:, :4] + (1 - gate) * s0
    np.testing.assert_allclose(next_h, s1, rtol=1e-12)


@pytest.mark.parametrize(
    ("reads", "loose"),
    [
        ((0,), [1]),
        ((0, 1, 2, 3), [4]),  # A chain.
        ((0, 0, 0, 0), [1, 2, 3, 4]),  # A star.
        ((0, 1, 1, 0), [2, 3, 4]),
    ],
)
def test_output_averages_the_nodes_that_none_reads_or_all(reads, loose):
    nodes = len(reads)
    every = list(range(1, nodes + 1))
    assert RecurrentDag(nodes).averaged(reads) == loose
    assert RecurrentDag(nodes, "all").averaged(reads) == every
    tokens = [token for read in reads for token in (read, 0)]
    for average, averaged in (("loose_ends", loose), ("all", every)):
        spec = enas_recurrent_space(nodes, average).decode(tokens)
        names = ", ".join(f"s{k}" for k in averaged)
        mean = f"mean({names})" if len(averaged) > 1 else names
        assert spec.equations[-1] == f"next_h = {mean}"


def test_no_node_of_a_cell_is_without_effect():
    # One node read by none would be no loose end only if it were forgotten.
    space = enas_recurrent_space(4)
    costs = {
        space.decode(tokens).cost(3, 5).multiply_adds
        for tokens in ((0, 0) * 4, (0, 1, 1, 2, 2, 3, 3, 0))
    }
    assert costs == {2 * 5 * (3 + 5) + 4 * 2 * 5 * 5}


def test_decoded_cell_tells_where_it_comes_from():
    space = enas_recurrent_space(2, "all")
    spec = space.decode((0, 1, 1, 2))
    assert spec.provenance == {
        "space": "enas_recurrent(nodes=2, average=all)",
        "tokens": [0, 1, 1, 2],
    }
    assert re.fullmatch("enas2_[0-9a-f]{8}", spec.name)
    assert spec.name == space.decode([0, 1, 1, 2]).name
    assert spec.name != space.decode((0, 1, 0, 2)).name
    # A chain means the same in neither average: its name says which.
    assert spec.name != enas_recurrent_space(2).decode((0, 1, 1, 2)).name


@given(member=members())
def test_decoded_cell_survives_its_json_form(member):
    space, tokens = member
    spec = space.decode(tokens)
    again = CellSpec.from_dict(spec.to_dict())
    assert again == spec
    assert space.decode(again.provenance["tokens"]) == spec


def test_tokens_are_checked():
    space = enas_recurrent_space(2)
    with pytest.raises(ValueError, match="takes 4 tokens. Received: 3"):
        space.decode([0, 0, 0])
    with pytest.raises(ValueError, match=r"'node_2_reads'.* \[0, 1\].*: 2"):
        space.decode([0, 0, 2, 0])


# A policy on the space.


def _reading(wanted):
    """Returns a reward: how many of the nodes from 2 on read as wanted."""

    def reward(tokens):
        reads = tokens[:, 2::2]
        return (reads == wanted(np.arange(2, reads.shape[1] + 2))).mean(axis=1)

    return reward


@pytest.mark.parametrize(
    "reward", [_reading(np.zeros_like), _reading(lambda node: node - 1)]
)  # A star; a chain.
def test_policy_learns_what_nodes_shall_read(reward):
    space = enas_recurrent_space(4)
    controller = PolicyGradientController(space, seed=2, learning_rate=0.03)
    rng = np.random.default_rng(0)
    means = []
    for _ in range(40):
        samples = proposed(controller, rng.random((16, 8)))
        rewards = reward(samples.tokens)
        controller.learn(samples, rewards - np.mean(means or rewards))
        means.append(rewards.mean())
    assert np.mean(means[:5]) < 0.55
    assert np.mean(means[-5:]) > 0.95
