"""Tests of drawings of image networks: what is shown, and what is written."""

import re
from xml.etree import ElementTree

import pytest

from nas_keras.convnets.files import load_convnet
from nas_keras.convnets.spec import ConvLayer
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.drawing.convnets import charts_of
from nas_keras.drawing.convnets import draw
from nas_keras.drawing.convnets import scene_of

_SVG = "{http://www.w3.org/2000/svg}"
CONCAT = ConvNetSpec(
    "three",
    [
        ConvLayer("conv", 5, filters=8),
        ConvLayer("max_pool", 2, (2, 1), inputs=[0]),
        ConvLayer("conv", filters=4),
    ],
)
MACRO = ConvNetSpec(
    "skips",
    [
        ConvLayer("conv", filters=4),
        ConvLayer("average_pool", filters=4, inputs=[0]),
        ConvLayer("separable_conv", filters=4, inputs=[0, 1]),
    ],
    wiring="macro",
    filters=6,
)


def edges(chart):
    names = [box.name for box in chart.boxes]
    return {(names[e.source], names[e.target], e.is_skip) for e in chart.edges}


def test_concatenated_layers_show_what_they_read():
    [chart] = charts_of(CONCAT)
    assert edges(chart) == {
        ("image", "0", False),
        ("0", "1", False),
        ("image", "2", False),
        ("1", "classifier", False),
        ("2", "classifier", False),
    }
    assert [box.lines for box in chart.boxes] == [
        (),
        ("conv 5x5, 8",),
        ("max pool 2x2", "stride 2x1"),
        ("conv 3x3, 4",),
        (),
    ]


def test_skip_connections_are_told_from_the_chain():
    [chart] = charts_of(MACRO)
    assert edges(chart) == {
        ("stem", "0", False),
        ("0", "1", False),  # And as a skip connection: one line.
        ("1", "2", False),
        ("0", "2", True),
        ("2", "classifier", False),
    }
    assert "thin lines: skip connections" in chart.heading


def test_cells_show_their_nodes_and_loose_ends():
    normal, reduction = charts_of(load_convnet("enas_micro"))
    assert ("0", "3", False) in edges(normal)
    assert {e for e in edges(reduction) if e[1] == "output"} == {
        (name, "output", False) for name in "2456"
    }
    assert reduction.boxes[4].lines == (
        "separable_conv_5x5(1)",
        "+ separable_conv_5x5(3)",
    )
    assert "cells 6 and 13 of 0 to 19" in reduction.heading


@pytest.mark.parametrize("name", ["enas_micro", "resnet_20"])
def test_everything_is_inside_the_picture(name):
    picture = scene_of(load_convnet(name))
    for shape in picture.shapes:
        if hasattr(shape, "height"):
            assert 0 <= shape.x <= shape.x + shape.width <= picture.width
            assert 0 <= shape.y <= shape.y + shape.height <= picture.height
        elif hasattr(shape, "text"):
            assert 0 < shape.x < shape.x + shape.width < picture.width
            assert 0 < shape.y < picture.height


@pytest.mark.parametrize("spec", [CONCAT, MACRO, "enas_micro"])
def test_svg_is_well_formed_and_has_a_box_each(spec, tmp_path):
    draw(spec, tmp_path / "network.svg")
    root = ElementTree.parse(tmp_path / "network.svg").getroot()
    name = spec if isinstance(spec, str) else spec.name
    assert root.find(f"{_SVG}title").text == f"The network {name}"
    spec = load_convnet(spec) if isinstance(spec, str) else spec
    boxes = sum(len(chart.boxes) for chart in charts_of(spec))
    assert len(root.findall(f"{_SVG}rect")) == 1 + boxes  # And the paper.


def test_png_and_mermaid_are_written(tmp_path):
    draw(MACRO, tmp_path / "network.png")
    data = (tmp_path / "network.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    draw(MACRO, str(tmp_path / "network.mmd"))
    text = (tmp_path / "network.mmd").read_text()
    assert 'c0v2["1: average pool 3x3, 4"]' in text
    assert "c0v1 -.-> c0v3" in text
    assert "c0v1 --> c0v2" in text
    assert text.count("subgraph") == text.count("\n  end\n") == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("network.gif", "path must end in one of ['.mmd', '.png', '.svg']"),
        (3, "path must be a string or a path. Received: path=3 of type int"),
        ("no_folder/network.svg", "path must be in a folder that exists."),
    ],
)
def test_bad_path_is_refused(path, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        draw(CONCAT, path)


def test_unknown_network_is_refused(tmp_path):
    with pytest.raises(ValueError, match="No network is named 'vgg'"):
        draw("vgg", tmp_path / "network.svg")
    assert not list(tmp_path.iterdir())
