"""Tests of ENAS' micro space: tokens, networks, the published member."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.convnets import ConvNode
from nas_keras.convnets import MicroNetSpec
from nas_keras.convnets import load_convnet
from nas_keras.spaces import EnasMicro
from nas_keras.spaces import enas_micro_space

OPERATIONS = (
    "separable_conv_3x3",
    "separable_conv_5x5",
    "average_pool_3x3",
    "max_pool_3x3",
    "identity",
)
# The published arcs: (input, operation, input, operation) of each node.
_NORMAL = "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1"
_REDUCTION = "1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"


@st.composite
def members(draw):
    """Draws a space and the tokens of a member."""
    space = enas_micro_space(
        draw(st.integers(1, 6)),
        draw(st.integers(1, 20)),
        2 * draw(st.integers(1, 20)),
    )
    return space, tuple(draw(st.integers(0, n - 1)) for n in space.num_options)


# The choices.


def test_choices_are_two_inputs_and_two_operations_of_each_node():
    choices = enas_micro_space(2).choices
    assert [(c.name, c.options, c.anchors) for c in choices[:8]] == [
        ("normal_2_input_1", (0, 1), (-2, -3)),
        ("normal_2_input_2", (0, 1), (-2, -3)),
        ("normal_2_operation_1", OPERATIONS, None),
        ("normal_2_operation_2", OPERATIONS, None),
        # Node 2 is remembered where its last operation was chosen.
        ("normal_3_input_1", (0, 1, 2), (-2, -3, 3)),
        ("normal_3_input_2", (0, 1, 2), (-2, -3, 3)),
        ("normal_3_operation_1", OPERATIONS, None),
        ("normal_3_operation_2", OPERATIONS, None),
    ]


def test_nodes_of_the_reduction_cell_are_anchored_in_it():
    choices = enas_micro_space(3).choices
    anchors = [c.anchors for c in choices if c.anchors is not None]
    assert anchors[::2] == anchors[1::2]
    assert anchors[::2] == [
        *((-2, -3), (-2, -3, 3), (-2, -3, 3, 7)),
        *((-2, -3), (-2, -3, 15), (-2, -3, 15, 19)),
    ]
    assert [c.name for c in choices[12::4]] == [
        f"reduction_{node}_input_1" for node in (2, 3, 4)
    ]


@pytest.mark.parametrize(("nodes", "orders"), [(1, 2), (2, 6), (5, 720)])
def test_size_counts_the_choices(nodes, orders):
    space = enas_micro_space(nodes)
    assert len(space.choices) == 8 * nodes
    # Of both cells and both branches: an operation and an earlier node each.
    assert space.size == (5**nodes * orders) ** 4


def test_space_carries_its_shape_and_its_name():
    space = enas_micro_space()
    assert space.structure == EnasMicro(5, 6, 20)
    assert space.name == "enas_micro(nodes=5, cells=6, filters=20)"
    name = "enas_micro(nodes=4, cells=15, filters=36)"
    assert enas_micro_space(4, 15, 36).name == name


_FILTERS = (
    "filters must be an even int in [2, 65536]: what halves a map has two "
    "paths of half the filters each"
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nodes": 0}, "nodes must be an int in [1, 32]. Received: nodes=0."),
        ({"nodes": 33}, "nodes must be an int in [1, 32]. Received: nodes=33."),
        ({"nodes": None}, "nodes must be an int in [1, 32]. Received: nodes="),
        ({"cells": 0}, "cells must be an int in [1, 100]. Received: cells=0."),
        ({"cells": False}, "cells must be an int in [1, 100]. Received: cell"),
        ({"filters": 1}, f"{_FILTERS}. Received: filters=1."),
        ({"filters": 5}, f"{_FILTERS}. Received: filters=5."),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        enas_micro_space(**arguments)


# Decoding.


def test_decoded_nodes_are_those_of_the_tokens():
    tokens = (1, 0, 2, 4, 2, 0, 1, 3, 0, 0, 0, 1, 1, 2, 4, 4)
    spec = enas_micro_space(2, cells=4, filters=6).decode(tokens)
    assert (spec.num_cells, spec.filters) == (4, 6)
    assert spec.normal == (
        ConvNode((1, 0), ("average_pool_3x3", "identity")),
        ConvNode((2, 0), ("separable_conv_5x5", "max_pool_3x3")),
    )
    assert spec.reduction == (
        ConvNode((0, 0), ("separable_conv_3x3", "separable_conv_5x5")),
        ConvNode((1, 2), ("identity", "identity")),
    )


def test_decoded_network_tells_where_it_comes_from():
    space, tokens = enas_micro_space(1), (1, 0, 2, 4, 0, 0, 1, 3)
    spec = space.decode(tokens)
    assert spec.provenance == {"space": space.name, "tokens": list(tokens)}
    assert re.fullmatch("enas_micro1_[0-9a-f]{8}", spec.name)
    assert spec.name == space.decode(list(tokens)).name
    assert spec.name != space.decode((0, 0, 2, 4, 0, 0, 1, 3)).name
    assert spec.name != enas_micro_space(1, 7).decode(tokens).name


@given(member=members())
def test_decoded_network_survives_its_json_form(member):
    space, tokens = member
    spec = space.decode(tokens)
    assert MicroNetSpec.from_dict(spec.to_dict()) == spec


# Encoding.


@given(member=members())
def test_encode_is_the_inverse_of_decode(member):
    space, tokens = member
    assert space.encode(space.decode(tokens)) == tokens


def test_published_network_has_the_arcs_of_its_authors():
    space, tokens = enas_micro_space(5, cells=18, filters=36), []
    for arc in (_NORMAL, _REDUCTION):
        numbers = [int(number) for number in arc.split()]
        for begin in range(0, 20, 4):
            first, one, second, other = numbers[begin : begin + 4]
            tokens += [first, second, one, other]
    published = load_convnet("enas_micro")
    assert space.encode(published) == tuple(tokens)
    assert space.decode(tokens).fingerprint == published.fingerprint


def _spec(normal=2, reduction=2, num_cells=6, filters=20):
    node = ConvNode((0, 1), ("identity", "identity"))
    cells = [node] * normal, [node] * reduction
    return MicroNetSpec("other", *cells, num_cells, filters)


@pytest.mark.parametrize(
    "spec",
    [
        _spec(normal=1, reduction=3),
        _spec(normal=3, reduction=1),
        _spec(normal=3),
        _spec(num_cells=7),
        _spec(filters=22),
        # As many nodes in all, and one reads what the other cell has not.
        MicroNetSpec(
            "other",
            [ConvNode((0, 1), ("identity", "identity"))] * 2
            + [ConvNode((3, 3), ("identity", "identity"))],
            [ConvNode((0, 1), ("identity", "identity"))],
            6,
            20,
        ),
    ],
)
def test_encode_refuses_a_network_of_another_space(spec):
    message = (
        "The network must be one of enas_micro(nodes=2, cells=6, filters=20). "
        "Received: 'other', which differs from those."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        enas_micro_space(2).encode(spec)


def test_encode_needs_a_network_of_cells():
    with pytest.raises(
        ValueError, match=r"must be a MicroNetSpec. Received: 5"
    ):
        enas_micro_space(2).encode(5)
    with pytest.raises(
        ValueError, match=r"^The network must be a MicroNetSpec"
    ):
        enas_micro_space(2).encode(load_convnet("enas_macro"))
