"""Tests of ENAS' macro space: tokens, networks, the published member."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.convnets import ConvLayer
from nas_keras.convnets import ConvNetSpec
from nas_keras.convnets import load_convnet
from nas_keras.spaces import EnasMacro
from nas_keras.spaces import enas_macro_space

# The published arc, a row a layer; its operations 1 and 3 are separable in the
# search, but full convolutions in what its authors' program retrains.
_ARC = """
0
3 0
0 1 0
2 0 0 1
2 0 0 0 0
3 1 1 0 1 0
2 0 0 0 0 0 1
2 0 1 1 0 1 1 1
1 0 1 1 1 0 1 0 1
0 0 0 0 0 0 0 0 0 0
2 0 0 0 0 0 1 0 0 0 0
0 1 0 0 1 1 0 0 0 0 1 1
2 0 1 0 0 0 0 0 1 0 1 1 0
1 0 0 1 0 0 0 1 1 1 0 1 0 1
0 1 1 0 1 0 1 0 0 0 0 0 1 0 0
2 0 0 1 0 0 0 0 0 0 0 1 0 1 0 1
2 0 1 0 0 0 1 0 0 1 1 1 1 0 0 1 0
2 0 0 0 0 1 0 1 0 1 0 0 1 0 1 0 0 1
3 0 1 1 0 1 0 0 0 0 0 1 0 1 0 1 0 0 0
3 0 1 1 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 1
0 1 0 0 1 0 1 1 0 0 0 1 0 0 0 0 0 1 1 0 0
3 0 1 0 1 1 0 0 1 0 1 1 0 1 1 0 1 0 0 1 0 0
0 1 0 1 0 1 0 0 0 0 0 0 0 0 1 0 1 0 0 1 0 0 0
0 1 1 0 0 0 1 1 1 0 1 0 0 0 1 0 1 0 0 1 1 0 0 0
"""


@st.composite
def members(draw):
    """Draws a space and the tokens of a member."""
    space = enas_macro_space(
        draw(st.integers(1, 8)),
        2 * draw(st.integers(1, 9)),
        draw(st.booleans()),
    )
    return space, tuple(draw(st.integers(0, n - 1)) for n in space.num_options)


# The choices.


def test_choices_are_an_operation_and_a_bit_for_each_earlier_layer():
    choices = enas_macro_space(3).choices
    assert [choice.name for choice in choices] == [
        "layer_0_operation",
        "layer_1_operation",
        "layer_1_reads_0",
        "layer_2_operation",
        "layer_2_reads_0",
        "layer_2_reads_1",
    ]
    assert choices[3].options == (
        "conv_3x3",
        "separable_conv_3x3",
        "conv_5x5",
        "separable_conv_5x5",
        "average_pool_3x3",
        "max_pool_3x3",
    )
    assert choices[4].options == choices[5].options == (0, 1)


def test_a_layer_is_linked_to_where_it_chose_what_it_reads():
    choices = enas_macro_space(4).choices
    # Layers 0, 1, 2 made their last choices at places 0, 2, 5.
    links = {c.name: c.link for c in choices if c.link is not None}
    assert links == {
        "layer_1_reads_0": 0,
        "layer_2_reads_0": 0,
        "layer_2_reads_1": 2,
        "layer_3_reads_0": 0,
        "layer_3_reads_1": 2,
        "layer_3_reads_2": 5,
    }
    assert all(choice.anchors is None for choice in choices)


@pytest.mark.parametrize("layers", [1, 2, 12, 24, 64])
def test_size_is_that_of_the_paper(layers):
    space = enas_macro_space(layers)
    num_pairs = layers * (layers - 1) // 2
    assert len(space.choices) == layers + num_pairs
    assert space.size == 6**layers * 2**num_pairs


def test_space_carries_its_shape_and_its_name():
    space = enas_macro_space()
    assert space.structure == EnasMacro(12, 36, doubling=False)
    assert space.name == "enas_macro(layers=12, filters=36)"
    name = "enas_macro(layers=24, filters=96, doubling=True)"
    assert enas_macro_space(24, 96, doubling=True).name == name


_FILTERS = (
    "filters must be an even int in [2, 65536]: what halves a map has two "
    "paths of half the filters each"
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"layers": 0},
            "layers must be an int in [1, 64]. Received: layers=0.",
        ),
        ({"layers": 65}, "layers must be an int in [1, 64]. Received: layers="),
        (
            {"layers": 2.0},
            "layers must be an int in [1, 64]. Received: layers=",
        ),
        ({"layers": True}, "layers must be an int in [1, 64]. Received: layer"),
        ({"filters": 0}, f"{_FILTERS}. Received: filters=0."),
        ({"filters": "8"}, f"{_FILTERS}. Received: filters='8'."),
        ({"filters": 9}, f"{_FILTERS}. Received: filters=9."),
        ({"doubling": 1}, "doubling must be True or False. Received: doubling"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        enas_macro_space(**arguments)


# Decoding.


def test_decoded_layers_are_those_of_the_tokens():
    tokens = (0, 3, 1, 4, 0, 1, 2, 1, 0, 1, 5, 0, 0, 0, 0, 1, 1, 0, 1, 0, 1)
    spec = enas_macro_space(6, filters=8).decode(tokens)
    assert spec.wiring == "macro"
    assert spec.filters == 8
    assert spec.layers == (
        ConvLayer("conv", 3, filters=8),
        ConvLayer("separable_conv", 5, filters=8, inputs=(0,)),
        ConvLayer("average_pool", 3, stride=2, filters=8, inputs=(1,)),
        ConvLayer("conv", 5, filters=8, inputs=(0, 2)),
        ConvLayer("max_pool", 3, stride=2, filters=8),
        ConvLayer("separable_conv", 3, filters=8, inputs=(0, 2, 4)),
    )


@pytest.mark.parametrize(
    ("layers", "reductions"),
    [
        (1, ()),
        (2, ()),
        (3, (1, 2)),
        (5, (1, 2)),
        (12, (4, 8)),
        (24, (8, 16)),
    ],
)
def test_the_map_is_halved_after_each_third(layers, reductions):
    space = enas_macro_space(layers, filters=6)
    assert space.structure.reductions == reductions
    spec = space.decode([0] * len(space.choices))
    halved = [k for k, layer in enumerate(spec.layers) if layer.stride[0] == 2]
    assert tuple(halved) == reductions
    assert {layer.filters for layer in spec.layers} == {6}
    doubled = enas_macro_space(layers, 6, doubling=True)
    spec = doubled.decode([0] * len(space.choices))
    assert [layer.filters for layer in spec.layers] == [
        6 * 2 ** sum(number >= k for k in reductions)
        for number in range(layers)
    ]


def test_decoded_network_tells_where_it_comes_from():
    space = enas_macro_space(2)
    spec = space.decode((5, 0, 1))
    assert spec.provenance == {"space": space.name, "tokens": [5, 0, 1]}
    assert re.fullmatch("enas_macro2_[0-9a-f]{8}", spec.name)
    assert spec.name == space.decode([5, 0, 1]).name
    assert spec.name != space.decode((5, 0, 0)).name
    assert spec.name != enas_macro_space(2, 38).decode((5, 0, 1)).name


@given(member=members())
def test_decoded_network_survives_its_json_form(member):
    space, tokens = member
    spec = space.decode(tokens)
    assert ConvNetSpec.from_dict(spec.to_dict()) == spec


# Encoding.


@given(member=members())
def test_encode_is_the_inverse_of_decode(member):
    space, tokens = member
    assert space.encode(space.decode(tokens)) == tokens


def test_tokens_are_architectures_one_to_one():
    space = enas_macro_space(2)
    every = {
        space.decode((a, b, bit)).fingerprint
        for a in range(6)
        for b in range(6)
        for bit in range(2)
    }
    assert len(every) == space.size == 72


def test_published_network_has_the_arc_of_its_authors():
    space = enas_macro_space(24, 96, doubling=True)
    tokens = []
    for row in _ARC.split("\n")[1:-1]:
        operation, *bits = map(int, row.split())
        tokens += [{1: 0, 3: 2}.get(operation, operation), *bits]
    published = load_convnet("enas_macro")
    assert space.encode(published) == tuple(tokens)
    assert space.decode(tokens).fingerprint == published.fingerprint


@pytest.mark.parametrize(
    "layers",
    [
        [ConvLayer("conv", 3, filters=8)],
        [ConvLayer("conv", 3, filters=8)] * 3,
        [ConvLayer("conv", 3, filters=8), ConvLayer("conv", 7, filters=8)],
        [ConvLayer("conv", 3, filters=8), ConvLayer("conv", (3, 5), filters=8)],
        [ConvLayer("conv", 3, filters=8), ConvLayer("conv", 3, filters=6)],
        [ConvLayer("conv", 3, filters=8), ConvLayer("conv", 3, 2, 8)],
        [ConvLayer("conv", 3, filters=8), ConvLayer("max_pool", 2, filters=8)],
    ],
)
def test_encode_refuses_a_network_of_another_space(layers):
    spec = ConvNetSpec("other", layers, wiring="macro", filters=8)
    message = (
        "The network must be one of enas_macro(layers=2, filters=8). Received: "
        "'other', which differs from those."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        enas_macro_space(2, 8).encode(spec)


@pytest.mark.parametrize("spec", [None, "enas_macro", (0, 0, 1)])
def test_encode_needs_a_network(spec):
    message = f"The network must be a ConvNetSpec. Received: {spec!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        enas_macro_space(2).encode(spec)
    with pytest.raises(ValueError, match=r"^The network must be a ConvNetSpec"):
        enas_macro_space(2).encode(load_convnet("enas_micro"))
