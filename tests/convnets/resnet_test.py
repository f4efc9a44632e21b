"""The maps of image networks, what ResNets cost, the ResNet of a cost."""

import re

import pytest

from nas_keras.convnets import build_convnet
from nas_keras.convnets import multiply_adds
from nas_keras.convnets import resnet_spec
from nas_keras.convnets.resnet import multiply_adds_of
from nas_keras.convnets.resnet import resnet_of
from nas_keras.convnets.spec import map_sizes
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_micro_space
from nas_keras.spaces import nas_conv_space

# What networks cost.


@pytest.mark.parametrize("shape", [(32, 32, 3), (9, 7, 1), (2, 3, 1)])
@pytest.mark.parametrize("is_wide", [True, False])
@pytest.mark.parametrize(
    "name", ["nas_conv", "enas_macro", "enas_micro", "resnet"]
)
def test_maps_are_those_of_the_model(name, is_wide, shape):
    spec = {
        "nas_conv": lambda: nas_conv_space(4, (2, 1), (1, 3), (3,), (2, 4)),
        "enas_macro": lambda: enas_macro_space(5, 2),
        "enas_micro": lambda: enas_micro_space(2, 1, 2),
        "resnet": lambda: resnet_spec(8, 2),
    }[name]()
    if name != "resnet":
        tokens = [is_wide * (len(c.options) - 1) for c in spec.choices]
        spec = spec.decode(tokens)
    try:
        model = build_convnet(spec, shape, 2, kernel_initializer="zeros")
    except ValueError as error:
        part = re.search(r"((?:layer|cell)_\d+): stride", str(error)).group(1)
        with pytest.raises(ValueError, match=rf"^{part} has a stride of"):
            map_sizes(spec, shape)
        return
    sizes = map_sizes(spec, shape)
    last = model.get_layer("average").input
    if name == "nas_conv":  # All that nobody reads, padded to the largest.
        unread = [sizes[k] for k in spec.unread]
        want = tuple(map(max, zip(*unread, strict=True)))
    else:
        want = sizes[-1]
    assert tuple(last.shape[1:3]) == want


# The ResNet of equal cost.


@pytest.mark.parametrize("shape", [(32, 32, 3), (9, 8, 1)])
@pytest.mark.parametrize(("depth", "filters"), [(8, 3), (14, 6)])
def test_multiply_adds_are_those_of_the_model(shape, depth, filters):
    spec = resnet_spec(depth, filters)
    want = multiply_adds(build_convnet(spec, shape, 7))
    assert multiply_adds_of(spec, shape, 7) == want


@pytest.mark.parametrize("millions", [1, 3, 10, 41, 100, 621, 5_637])
def test_a_resnet_comes_near_in_cost(millions):
    spec = resnet_of(millions * 10**6, (32, 32, 3), 10)
    cost = multiply_adds_of(spec, (32, 32, 3), 10)
    assert cost == pytest.approx(millions * 1e6, rel=0.03)
    assert spec.wiring == "residual"


def test_a_resnet_of_the_usual_depth_is_preferred():
    want = resnet_spec(20, 16)
    cost = multiply_adds_of(want, (32, 32, 3), 10)
    assert resnet_of(cost, (32, 32, 3), 10) == want
