"""Tests of the published networks: fingerprints, and what they are made of."""

import pathlib
import re

import pytest

from nas_keras.convnets.files import load_convnet
from nas_keras.convnets.files import published_convnets
from nas_keras.convnets.resnet import resnet_spec
from nas_keras.convnets.spec import MICRO_OPERATIONS

_FOLDER = pathlib.Path(__file__).resolve().parents[2] / "convnets"
# Never to change: journals and saved runs name networks by them.
PUBLISHED = {
    "enas_macro": (
        "207b6ce2768cc5e2263a94953ce8fe4333eebb3cd6e1140e2c8fa0181f7e53bb"
    ),
    "enas_micro": (
        "45d7d0cc9cc838d3817ae2d28a6f3d2ada3426b7f36ef795938dbfd46ae9e66c"
    ),
    "resnet_20": (
        "8bb8f4790c80c4ecefed6d9bae9e76c1ed4c4f0a44c6bcbfb4d55994bf57bc2e"
    ),
}


def test_published_networks_are_the_ones_they_have_been():
    assert set(published_convnets()) == set(PUBLISHED)
    for name, fingerprint in PUBLISHED.items():
        spec = load_convnet(name)
        assert spec.name == name
        assert spec.fingerprint == fingerprint
        assert "https://" in spec.provenance["reference"]


def test_readme_has_a_row_for_each_published_network():
    text = (_FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", text, re.M)
    assert rows == sorted(PUBLISHED)


def test_published_enas_networks_are_their_tokens():
    spec = load_convnet("enas_macro")
    rest = spec.provenance["tokens"]
    for number, layer in enumerate(spec.layers):
        [token, *bits], rest = rest[: number + 1], rest[number + 1 :]
        assert layer.inputs == tuple(k for k, bit in enumerate(bits) if bit)
        assert layer.kernel == ((3, 3), (3, 3), (5, 5), (5, 5))[token]
        assert layer.operation == "conv"
        assert layer.filters == 96 * 2 ** (number // 8)
        assert layer.stride == ((2, 2) if number in (8, 16) else (1, 1))
    assert not rest
    spec = load_convnet("enas_micro")
    nodes = [*spec.normal, *spec.reduction]
    tokens = [
        value
        for node in nodes
        for k, operation in node.branches
        for value in (k, MICRO_OPERATIONS.index(operation))
    ]
    assert tokens == spec.provenance["tokens"]
    assert (spec.num_cells, spec.filters) == (18, 36)


def test_resnet_has_its_shape():
    spec = resnet_spec(20)
    assert spec == load_convnet("resnet_20")
    assert [k.filters for k in spec.layers] == [16] * 7 + [32] * 6 + [64] * 6
    assert [k for k, v in enumerate(spec.layers) if v.stride != (1, 1)] == [
        7,
        13,
    ]
    assert [v.inputs for v in spec.layers[:5]] == [(), (), (0,), (), (2,)]
    assert resnet_spec(8, 4).name == "resnet_8_4"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg", "No network is named 'vgg'. Published networks: ['enas_macro"),
        (3, "A network is given by a name or a path. Received: 3 of type int."),
        ("no/such.json", "no/such.json: cannot be read as a network: No such"),
    ],
)
def test_unknown_network_is_refused(name, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_convnet(name)
