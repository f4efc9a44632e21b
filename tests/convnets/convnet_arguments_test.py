"""Tests of what is refused when the Keras model of an image network is made."""

import dataclasses
import re

import pytest

from nas_keras.convnets import build_convnet
from nas_keras.convnets import resnet_spec
from tests.convnet_testing import CONCAT
from tests.convnet_testing import IMAGE
from tests.convnet_testing import MACRO
from tests.convnet_testing import MICRO
from tests.convnet_testing import RESIDUAL


def replaced(spec, number, **changes):
    layers = list(spec.layers)
    layers[number] = dataclasses.replace(layers[number], **changes)
    return dataclasses.replace(spec, layers=layers)


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (
            replaced(CONCAT, 2, stride=(2, 7)),
            IMAGE,
            "network 'concat': layer_2: stride must be at most the height and "
            "width of the map that is read, (4, 6). Received: stride=(2, 7).",
        ),
        (MACRO, (1, 4, 3), "layer_2: stride must be at most"),
        (RESIDUAL, (1, 4, 3), "layer_1: stride must be at most"),
        (MICRO, (2, 2, 3), "network 'micro': cell_3: stride must be at most"),
    ],
)
def test_stride_that_empties_the_map_is_refused(spec, shape, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build_convnet(spec, shape, 2)


def test_auxiliary_head_needs_a_map_for_its_pool():
    message = (
        "auxiliary_head=False) if the map behind the second reduction is "
        "smaller than (5, 5). Received: a map of (4, 5)."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        build_convnet(MICRO, (16, 20, 3), 2, auxiliary_head=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spec": "resnet_20"}, "spec must be a ConvNetSpec or a MicroNetSpec"),
        ({"input_shape": (8, 8)}, "input_shape must be (height, width, chan"),
        ({"input_shape": 8}, "input_shape must be a list. Received: input_sh"),
        ({"input_shape": (8, 0, 1)}, "input_shape must be an int of at least"),
        ({"classes": 0}, "classes must be an int of at least 1. Received: cl"),
        ({"dropout": 1}, "dropout must be in [0, 1). Received: dropout=1."),
        ({"drop_path": -0.1}, "drop_path must be in [0, 1)."),
        ({"dropout": "half"}, "dropout must be in [0, 1)."),
        ({"epsilon": 0}, "epsilon must be positive. Received: epsilon=0."),
        ({"seed": -1}, "seed must be an int of at least 0. Received: seed=-1"),
        (
            {"drop_path": 0.1},
            "drop_path must be 0.0 for a network of layers: only one of cells, "
            "a MicroNetSpec, can have it. Received: drop_path=0.1.",
        ),
        ({"auxiliary_head": True}, "auxiliary_head must be False for a netw"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    given = {"spec": CONCAT, "input_shape": IMAGE, "classes": 2} | arguments
    with pytest.raises(ValueError, match=re.escape(message)):
        build_convnet(**given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 21}, "depth must be 6n + 2, of n blocks a stage. Received:"),
        ({"depth": 2}, "depth must be an int of at least 8. Received: depth=2"),
        ({"filters": 0}, "filters must be an int of at least 1."),
    ],
)
def test_bad_resnet_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        resnet_spec(**arguments)
