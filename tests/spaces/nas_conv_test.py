"""Tests of Zoph & Le's convolutional space: tokens, layers, pools, blocks."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.convnets import ConvLayer
from nas_keras.convnets import ConvNetSpec
from nas_keras.spaces import NasConv
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import nas_conv_space


@st.composite
def members(draw):
    """Draws a space and the tokens of a member."""
    layers = draw(st.integers(2, 7))
    space = nas_conv_space(
        layers,
        strides=draw(st.sampled_from([(1,), (2,), (1, 2, 3), (3, 1)])),
        pooling=draw(st.lists(st.integers(1, layers - 1), unique=True)),
        kernels=draw(st.sampled_from([(1, 3, 5, 7), (5,), (3, 2)])),
        filters=draw(st.sampled_from([(24, 36, 48, 64), (7, 5)])),
        block=draw(st.integers(1, 3)),
    )
    return space, tuple(draw(st.integers(0, n - 1)) for n in space.num_options)


def _tokens(space, reads):
    """Returns tokens of layers with first options that read as given."""
    return [
        int(int(name.split("_")[-1]) in reads[int(name.split("_")[1])])
        if "reads" in name
        else 0
        for name in (choice.name for choice in space.choices)
    ]


# The choices.


def test_choices_of_a_layer_are_its_convolution_and_what_it_reads():
    choices = nas_conv_space(3).choices
    kernels, filters = (1, 3, 5, 7), (24, 36, 48, 64)
    assert [(c.name, c.options, c.link) for c in choices] == [
        ("layer_0_height", kernels, None),
        ("layer_0_width", kernels, None),
        ("layer_0_filters", filters, None),
        ("layer_1_height", kernels, None),
        ("layer_1_width", kernels, None),
        ("layer_1_filters", filters, None),
        # Layer 0 is remembered where its filters were chosen.
        ("layer_1_reads_0", (0, 1), 2),
        ("layer_2_height", kernels, None),
        ("layer_2_width", kernels, None),
        ("layer_2_filters", filters, None),
        ("layer_2_reads_0", (0, 1), 2),
        ("layer_2_reads_1", (0, 1), 6),
    ]
    assert all(choice.anchors is None for choice in choices)


def test_strides_are_chosen_if_there_is_a_choice():
    choices = nas_conv_space(2, strides=(1, 2, 3)).choices
    assert [(c.name, c.options) for c in choices[2:5]] == [
        ("layer_0_stride_height", (1, 2, 3)),
        ("layer_0_stride_width", (1, 2, 3)),
        ("layer_0_filters", (24, 36, 48, 64)),
    ]
    assert choices[-1].link == 4
    assert len(nas_conv_space(2, strides=(2,)).choices) == 7


@pytest.mark.parametrize(("strides", "num"), [((1,), 64), ((1, 2, 3), 576)])
def test_size_is_the_product_of_all_choices(strides, num):
    space = nas_conv_space(6, strides)
    assert space.size == num**6 * 2**15


@pytest.mark.parametrize("pooling", [(), (2, 4)])
def test_a_space_of_more_layers_begins_as_one_of_fewer(pooling):
    few = nas_conv_space(6, pooling=pooling).choices
    many = nas_conv_space(8, pooling=pooling).choices
    assert many[: len(few)] == few
    assert many[len(few)].link is None


def test_space_carries_its_shape_and_its_name():
    space = nas_conv_space()
    assert space.structure == NasConv()
    assert space.name == "nas_conv(layers=15)"
    space = nas_conv_space(13, (1, 2), [4, 8], filters=(6, 12), block=3)
    assert space.structure.pooling == (4, 8)
    assert space.name == (
        "nas_conv(layers=13, strides=1|2, pooling=4|8, filters=6|12, block=3)"
    )


_EACH = "each of its values an int in [1, 65536], none given twice"
_SIZES = f"must be a tuple of at least 1, {_EACH}"
_POOLING = f"must be a tuple, {_EACH}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"layers": 1},
            "layers must be an int in [2, 64]. Received: layers=1.",
        ),
        ({"layers": True}, "layers must be an int in [2, 64]. Received: layer"),
        ({"block": 0}, "block must be an int in [1, 8]. Received: block=0."),
        ({"strides": 1}, f"strides {_SIZES}. Received: strides=1."),
        ({"pooling": False}, f"pooling {_POOLING}. Received: pooling=False."),
        ({"strides": ()}, f"strides {_SIZES}. Received: strides=()."),
        ({"kernels": (3, 3)}, f"kernels {_SIZES}. Received: kernels=(3, 3)."),
        ({"kernels": (3, 0)}, f"kernels {_SIZES}. Received: kernels=(3, 0)."),
        ({"filters": (8.0,)}, f"filters {_SIZES}. Received: filters=(8.0,)."),
        (
            {"pooling": (15,)},
            "pooling must be below layers=15. Received: pooling=(15,).",
        ),
        ({"pooling": (2, 2)}, f"pooling {_POOLING}. Received: pooling=(2, 2)."),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        nas_conv_space(**arguments)


def test_numpy_ints_are_taken_as_ints():
    side = np.int64(3)
    shape = NasConv(side, kernels=(side,), block=np.int32(2))
    assert shape == NasConv(3, kernels=(3,), block=2)
    values = (shape.layers, *shape.kernels, shape.block)
    assert {type(value) for value in values} == {int}


# Decoding.


def test_decoded_layers_are_those_of_the_tokens():
    space = nas_conv_space(3, strides=(1, 2, 3))
    tokens = (1, 0, 0, 2, 3, 3, 2, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1)
    spec = space.decode(tokens)
    assert spec.wiring == "concat"
    assert spec.layers == (
        ConvLayer("conv", (3, 1), (1, 3), 64),
        ConvLayer("conv", (7, 5), (2, 1), 36, inputs=(0,)),
        ConvLayer("conv", (1, 1), (1, 1), 24, inputs=(0, 1)),
    )


def test_a_single_stride_is_that_of_all_layers():
    spec = nas_conv_space(2, strides=(2,)).decode((0,) * 7)
    assert [layer.stride for layer in spec.layers] == [(2, 2), (2, 2)]


def test_a_layer_that_reads_none_reads_the_image():
    space = nas_conv_space(3)
    spec = space.decode(_tokens(space, [(), (), (0,)]))
    assert [layer.inputs for layer in spec.layers] == [(), (), (0,)]
    assert spec.unread == (1, 2)


def _pool(*inputs):
    return ConvLayer("max_pool", 2, stride=2, inputs=inputs)


def _conv(*inputs):
    return ConvLayer("conv", 3, filters=8, inputs=inputs)


def _decoded(layers, pooling, reads, block=1):
    space = nas_conv_space(
        layers, pooling=pooling, kernels=(3,), filters=(8,), block=block
    )
    return space.decode(_tokens(space, reads)).layers


def test_what_is_read_behind_a_pool_is_pooled():
    assert _decoded(3, (2,), [(), (0,), (0, 1)]) == (
        _conv(),
        _conv(0),
        _pool(0),
        _pool(1),
        _conv(2, 3),
    )


def test_what_is_not_read_behind_a_pool_is_not_pooled():
    assert _decoded(3, (2,), [(), (0,), (1,)]) == (
        _conv(),
        _conv(0),
        _pool(1),
        _conv(2),
    )


def test_what_only_the_classifier_reads_is_pooled():
    assert _decoded(3, (1, 2), [(), (), ()]) == (
        _conv(),
        # The image for layer 1; layer 0 for the classifier.
        _pool(),
        _pool(0),
        _conv(1),
        # The image for layer 2; layers 0 and 1 for the classifier.
        _pool(1),
        _pool(2),
        _pool(3),
        _conv(4),
    )


@given(member=members())
def test_a_map_is_pooled_as_often_as_there_are_pools_before_its_reader(member):
    space, tokens = member
    pooling = space.structure.pooling
    spec = space.decode(tokens)
    depth, heads, number = [], {}, -1  # Of each layer: pools before it.
    block = space.structure.block
    for index, layer in enumerate(spec.layers):
        before = {depth[k] for k in layer.inputs} or {0}
        assert len(before) == 1  # What is joined is pooled equally often.
        depth.append(before.pop() + (layer.operation == "max_pool"))
        if layer.operation == "conv":
            heads[index] = (number := number + 1) // block
    for index, head in heads.items():
        assert depth[index] == sum(after <= head for after in pooling)
    assert {depth[k] for k in spec.unread} == {len(pooling)}


def test_a_block_is_wired_densely():
    assert _decoded(2, (), [(), (0,)], block=3) == (
        _conv(),
        _conv(0),
        _conv(0, 1),
        _conv(2),
        _conv(3),
        _conv(3, 4),
    )


def test_only_the_first_of_a_block_has_the_stride():
    space = nas_conv_space(2, strides=(1, 2), block=2)
    spec = space.decode([1] * len(space.choices))
    strides = [layer.stride for layer in spec.layers]
    assert strides == [(2, 2), (1, 1), (2, 2), (1, 1)]


def test_thirteen_blocks_of_three_are_the_39_layers_of_the_paper():
    space = nas_conv_space(13, (1,), (4, 8), filters=(6, 12, 24, 36), block=3)
    spec = space.decode([1] * len(space.choices))
    convolutions = [k for k in spec.layers if k.operation == "conv"]
    assert len(convolutions) == 39


def test_decoded_network_tells_where_it_comes_from():
    space = nas_conv_space(2)
    tokens = (0, 1, 2, 3, 2, 1, 1)
    spec = space.decode(tokens)
    assert spec.provenance == {"space": space.name, "tokens": list(tokens)}
    assert re.fullmatch("nas_conv2_[0-9a-f]{8}", spec.name)
    assert spec.name == space.decode(list(tokens)).name
    assert spec.name != space.decode((0, 1, 2, 3, 2, 1, 0)).name


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
    space = nas_conv_space(3, (1, 2), (1,), kernels=(3,), filters=(8,))
    every = [tuple(tokens) for tokens in np.ndindex(*space.num_options)]
    specs = {space.decode(tokens).fingerprint for tokens in every}
    assert len(specs) == space.size == 2**9


@pytest.mark.parametrize(
    "layers",
    [
        [_conv()],
        [_conv()] * 3,
        [_conv(), ConvLayer("conv", 5, filters=8)],
        [_conv(), ConvLayer("conv", 3, filters=9)],
        [_conv(), ConvLayer("conv", 3, stride=2, filters=8)],
        [_conv(), ConvLayer("separable_conv", 3, filters=8)],
        [_conv(), _pool(0), _conv(1)],
        [_conv(), ConvLayer("average_pool", 3, inputs=(0,)), _conv(1)],
        [_conv(), _conv(0), _pool(0, 1)],
    ],
)
def test_encode_refuses_a_network_of_another_space(layers):
    space = nas_conv_space(2, kernels=(3,), filters=(8,))
    message = (
        f"The network must be one of {space.name}. Received: 'other', which "
        "differs from those."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        space.encode(ConvNetSpec("other", layers))


def test_encode_needs_a_network_of_layers():
    space = nas_conv_space(2)
    with pytest.raises(ValueError, match=r"must be a ConvNetSpec. Received: 5"):
        space.encode(5)
    macro = enas_macro_space(2)
    with pytest.raises(ValueError, match=r"^The network must be one of nas_c"):
        space.encode(macro.decode((0, 0, 0)))
