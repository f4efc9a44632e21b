"""Tests of the specs of image networks, and of their files."""

import copy
import dataclasses
import json
import os
import pathlib
import pickle
import re
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies as st

from nas_keras.convnets.files import load_convnet
from nas_keras.convnets.files import save_convnet
from nas_keras.convnets.spec import CONVOLUTIONS
from nas_keras.convnets.spec import MICRO_OPERATIONS
from nas_keras.convnets.spec import OPERATIONS
from nas_keras.convnets.spec import WIRINGS
from nas_keras.convnets.spec import ConvLayer
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import ConvNode
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.convnets.spec import loose_ends
from nas_keras.convnets.spec import spec_from_dict

_ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYERS = ConvNetSpec(
    "layers",
    [
        ConvLayer("conv", 5, filters=8),
        ConvLayer("max_pool", 2, (2, 1), inputs=[0]),
        ConvLayer("separable_conv", (3, 1), filters=4, inputs=[0, 1]),
    ],
    provenance={"run": 7},
)
CELLS = MicroNetSpec(
    "cells",
    [ConvNode((0, 1), ("identity", "max_pool_3x3"))],
    [ConvNode((1, 1), ("separable_conv_3x3", "identity"))],
    num_cells=6,
    filters=20,
)
both = pytest.mark.parametrize("spec", [LAYERS, CELLS], ids=["layers", "cells"])


@st.composite
def networks_of_layers(make):
    wiring = make(st.sampled_from(WIRINGS))
    is_macro = wiring == "macro"
    sides = st.integers(1, 7)
    layers = []
    for number in range(make(st.integers(1, 8))):
        operation = make(st.sampled_from(OPERATIONS))
        has_filters = is_macro or operation in CONVOLUTIONS
        step = make(st.integers(1, 2))
        inputs = make(st.sets(st.integers(0, number - 1))) if number else []
        layers.append(
            ConvLayer(
                operation,
                (make(sides), make(sides)),
                step if is_macro else (step, make(sides)),
                2 * make(sides) if has_filters else 0,
                sorted(inputs),
            )
        )
    return ConvNetSpec("any", layers, wiring, make(sides) if is_macro else 0)


@st.composite
def networks_of_cells(make):
    def cell():
        return [
            ConvNode(
                (make(st.integers(0, k - 1)), make(st.integers(0, k - 1))),
                tuple(make(st.sampled_from(MICRO_OPERATIONS)) for _ in "ab"),
            )
            for k in range(2, 2 + make(st.integers(1, 6)))
        ]

    count = make(st.integers(1, 20))
    return MicroNetSpec("any", cell(), cell(), count, make(st.integers(1, 99)))


# Values.


@hypothesis.given(st.one_of(networks_of_layers(), networks_of_cells()))
def test_json_and_pickle_bring_the_same_value_back(spec):
    text = json.dumps(spec.to_dict())
    back = spec_from_dict(json.loads(text))
    assert back == spec
    assert hash(back) == hash(spec)
    assert back.fingerprint == spec.fingerprint
    assert pickle.loads(pickle.dumps(spec)) == copy.deepcopy(spec) == spec


def test_arguments_become_pairs_and_tuples():
    layer = ConvLayer("conv", 5, [2, 1], 8, [0, 3])
    assert layer.kernel == (5, 5)
    assert layer.stride == (2, 1)
    assert layer.inputs == (0, 3)
    assert isinstance(LAYERS.layers, tuple)
    assert ConvLayer("max_pool").kernel == (3, 3)


@both
def test_a_spec_cannot_be_changed(spec):
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.filters = 3
    spec.to_dict()["provenance"]["run"] = 8
    assert spec.provenance.get("run") != 8


def test_fingerprint_is_of_the_architecture_only():
    other = dataclasses.replace(LAYERS, name="b", provenance={})
    assert other.fingerprint == LAYERS.fingerprint
    layers = [*LAYERS.layers]
    for number, change in enumerate(
        ({"filters": 9}, {"stride": 2}, {"inputs": [1]})
    ):
        changed = dataclasses.replace(layers[number], **change)
        some = [*layers[:number], changed, *layers[number + 1 :]]
        other = dataclasses.replace(LAYERS, layers=some)
        assert other.fingerprint != LAYERS.fingerprint
    other = dataclasses.replace(LAYERS, wiring="residual")
    assert other.fingerprint != LAYERS.fingerprint


def test_fingerprint_of_cells_leaves_the_order_of_branches_out():
    swapped = [ConvNode((1, 0), ("max_pool_3x3", "identity"))]
    other = dataclasses.replace(CELLS, normal=swapped)
    assert other != CELLS
    assert other.fingerprint == CELLS.fingerprint
    crossed = [ConvNode((0, 1), ("max_pool_3x3", "identity"))]
    for changes in ({"normal": crossed}, {"num_cells": 7}, {"filters": 21}):
        other = dataclasses.replace(CELLS, **changes)
        assert other.fingerprint != CELLS.fingerprint


def test_unread_layers_and_loose_ends():
    assert LAYERS.unread == (2,)
    assert loose_ends(CELLS.normal) == (2,)
    assert loose_ends(CELLS.reduction) == (0, 2)


@pytest.mark.parametrize(
    ("num_cells", "reductions"),
    [(15, (5, 11)), (6, (2, 5)), (18, (6, 13)), (1, (0, 1))],
)
def test_reductions_are_where_the_program_has_them(num_cells, reductions):
    spec = dataclasses.replace(CELLS, num_cells=num_cells)
    assert spec.reductions == reductions
    assert spec.num_layers == num_cells + 2


# Bad values.


def layers(*given, **arguments):
    return lambda: ConvNetSpec("n", given, **arguments)


CONV = ConvLayer("conv", filters=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            layers(CONV, ConvLayer("conv", filters=2, inputs=[0, 2]), CONV),
            "network 'n': layer 1: inputs must be numbers of earlier layers. "
            "Received: inputs=[0, 2].",
        ),
        (
            layers(ConvLayer("conv", filters=2, inputs=[0])),
            "layer 0: inputs must be numbers of earlier layers.",
        ),
        (layers(), "network 'n': layers must be 1 to 1000. Received: 0."),
        (layers("conv"), "layers must be a list of ConvLayer. Received: 'con"),
        (
            lambda: ConvNetSpec("n", CONV),
            "layers must be a list. Received: network 'n': layers=ConvLayer(",
        ),
        (layers(CONV, wiring="dense"), "wiring must be one of ['concat', 'ma"),
        (
            layers(CONV, filters=3),
            "filters must be 0 with wiring='concat', which has no stem. "
            "Received: filters=3.",
        ),
        (
            layers(CONV, wiring="macro"),
            "filters must be an int of at least 1. Received: filters=0.",
        ),
        (
            layers(ConvLayer("max_pool"), wiring="macro", filters=2),
            "layer 0: filters must be a positive multiple of 1 with "
            "wiring='macro' and stride=(1, 1). Received: filters=0.",
        ),
        (
            layers(
                ConvLayer("conv", 3, 2, filters=3), wiring="macro", filters=2
            ),
            "filters must be a positive multiple of 2 with wiring='macro' and "
            "stride=(2, 2). Received: filters=3.",
        ),
        (
            layers(ConvLayer("conv", 3, (1, 2), 3), wiring="macro", filters=2),
            "layer 0: stride must be (1, 1) or (2, 2) with wiring='macro'. "
            "Received: stride=(1, 2).",
        ),
        (
            layers(ConvLayer("max_pool", filters=2)),
            "layer 0: filters must be 0 for a pool with wiring='concat'.",
        ),
        (
            lambda: ConvNetSpec("a/b", [CONV]),
            "begins with no '.' or '-'. Received: name='a/b'.",
        ),
        (
            layers(CONV, provenance={"x": object()}),
            "network 'n': provenance must be JSON-able:",
        ),
        (layers(CONV, provenance=3), "provenance must be a mapping. Received"),
        (
            lambda: ConvLayer("dilated", filters=1),
            "operation must be one of ['conv', 'separable_conv', 'average_poo",
        ),
        (
            lambda: ConvLayer("conv"),
            "filters must be an int of at least 1. Received: filters=0.",
        ),
        (
            lambda: ConvLayer("conv", 0, filters=1),
            "kernel must be an int of at least 1. Received: kernel=0.",
        ),
        (
            lambda: ConvLayer("conv", (1, 2, 3), filters=1),
            "kernel must be an int or (height, width). Received: kernel=(1, 2",
        ),
        (
            lambda: ConvLayer("conv", stride=1.5, filters=1),
            "stride must be a list. Received: stride=1.5.",
        ),
        (
            lambda: ConvLayer("conv", filters=1, inputs=[1, 0]),
            "inputs must be ascending numbers of layers. Received: inputs=[1,",
        ),
        (
            lambda: ConvLayer("conv", filters=1, inputs=[-1]),
            "inputs must be an int of at least 0. Received: inputs=-1.",
        ),
        (
            lambda: ConvLayer("conv", filters=True),
            "filters must be an int of at least 1. Received: filters=True.",
        ),
        (
            lambda: ConvNode((0, 1, 2), ("identity", "identity")),
            "inputs must be two, one a branch. Received: inputs=[0, 1, 2].",
        ),
        (
            lambda: ConvNode((0, 1), ("identity", "conv")),
            "operations must be one of ['separable_conv_3x3', 'separable_conv",
        ),
        (
            lambda: dataclasses.replace(
                CELLS, reduction=[ConvNode((0, 2), ("identity",) * 2)]
            ),
            "network 'cells': reduction node 2: inputs must be earlier nodes. "
            "Received: inputs=[0, 2].",
        ),
        (
            lambda: dataclasses.replace(CELLS, num_cells=0),
            "num_cells must be an int in [1, 1000]. Received: num_cells=0.",
        ),
        (
            lambda: dataclasses.replace(CELLS, num_cells=1001),
            "num_cells must be an int in [1, 1000]. Received: num_cells=1001.",
        ),
    ],
)
def test_broken_rule_is_named(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema must be 1, the one this version reads. Rec"),
        ({"schema": True}, "schema must be 1, the one this version reads."),
        ({"kind": "tree"}, "kind must be one of ['layers', 'cells']. Received"),
        ({"kind": "cells"}, "Received unknown: ['layers', 'wiring'], missing"),
        ({"width": 3}, "Received unknown: ['width'], missing: []."),
        ({"layers": None}, "layers must be a list. Received: layers=None."),
        ({"layers": [3]}, "layers[0] must be a JSON object. Received: 3."),
        ({"layers": [{}]}, "layers[0] has the keys ['filters', 'inputs', 'ke"),
        (
            {"layers": [{"operation": "conv", "filters": 0}]},
            "layers[0]: filters must be an int of at least 1.",
        ),
    ],
)
def test_bad_json_is_refused_with_its_place(changes, message, tmp_path):
    data = LAYERS.to_dict() | changes
    with pytest.raises(ValueError, match=re.escape(message)):
        spec_from_dict(data)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=re.escape(f"{path}: ")):
        load_convnet(path)


def test_what_is_left_out_of_a_file_has_its_default():
    data = {
        "schema": 1,
        "kind": "layers",
        "name": "small",
        "layers": [{"operation": "max_pool"}],
    }
    assert spec_from_dict(data).layers == (ConvLayer("max_pool"),)


# Files.


@both
def test_saved_network_loads_and_has_a_line_for_each_part(spec, tmp_path):
    path = tmp_path / "network.json"
    save_convnet(spec, path)
    assert load_convnet(path) == load_convnet(str(path)) == spec
    parts = sum(len(getattr(spec, field)) for field in spec._parts)
    text = path.read_text()
    assert len(re.findall(r'^  \{"\w+".*\},?$', text, re.M)) == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON: "),
        ('{"kind": 1, "kind": 2}', "keys given twice: ['kind']."),
        ('{"filters": NaN}', "NaN is not JSON."),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "A network must be a JSON object. Received: []."),
        (" " * 1_000_001, "has at most 1000000 bytes. Received: 1000001 byte"),
    ],
)
def test_damaged_file_is_named(text, message, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: ")) as caught:
        load_convnet(path)
    assert message in str(caught.value)


def test_network_is_saved_as_json_only(tmp_path):
    with pytest.raises(ValueError, match="saved as a '.json' file. Received"):
        save_convnet(LAYERS, tmp_path / "network.txt")
    with pytest.raises(ValueError, match="spec must be a ConvNetSpec or a Mic"):
        save_convnet("resnet_20", tmp_path / "network.json")


def test_specs_load_no_keras():
    program = (
        "import sys\n"
        "from nas_keras import convnets\n"
        "convnets.load_convnet('enas_micro'), convnets.draw\n"
        "print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert done.stdout.strip() == "set()"
