"""Tests of `.keras` files: they hold their cell, and nothing that is run."""

import json
import os
import re
import zipfile

import keras
import numpy as np
import pytest

from nas_keras.cells import CellSpec
from nas_keras.cells import save_spec
from tests.cell_testing import EVERY_ROLE
from tests.layer_testing import normal
from tests.saving_testing import B
from tests.saving_testing import D
from tests.saving_testing import T
from tests.saving_testing import both_layers
from tests.saving_testing import differs
from tests.saving_testing import model_of
from tests.saving_testing import nas_rnn
from tests.saving_testing import near


@both_layers
def test_saved_model_does_not_change_with_the_file_of_its_cell(make, tmp_path):
    spec, model_file = tmp_path / "mine.json", tmp_path / "model.keras"
    save_spec(EVERY_ROLE, spec)
    model = model_of(make(spec))
    x = normal(B, T, D)
    output = np.asarray(model(x))
    model.save(model_file)
    equations = [
        equation.replace("tanh", "sigmoid") for equation in EVERY_ROLE.equations
    ]
    save_spec(CellSpec("every_role", equations), spec)
    changed = model_of(make(spec))
    changed.set_weights(model.get_weights())
    assert differs(changed(x), output)
    near(keras.models.load_model(model_file)(x), output)
    spec.write_text("not JSON any more")
    near(keras.models.load_model(model_file)(x), output)
    spec.unlink()
    loaded = keras.models.load_model(model_file)
    near(loaded(x), output)
    assert loaded.layers[0].cell.spec == EVERY_ROLE


def edited(path, edit):
    """Rewrites the configuration in a `.keras` file by `edit(layers)`."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    edit(config["config"]["layers"])
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def spec_in(layers):
    """Returns the spec, a dictionary, of the one cell of a configuration."""
    found = []

    def walk(value):
        if isinstance(value, dict) and "spec" in value:
            found.append(value["spec"])
        elif isinstance(value, dict):
            for inner in value.values():
                walk(inner)

    for layer in layers:
        walk(layer)
    (spec,) = found
    return spec


def saved(make, folder, edit=lambda layers: None):
    path = folder / "model.keras"
    model_of(make()).save(path)
    edited(path, edit)
    return path


@both_layers
def test_rewritten_file_loads_as_it_was(make, tmp_path):
    path = saved(make, tmp_path)
    near(
        keras.models.load_model(path)(normal(B, T, D)),
        model_of(make())(normal(B, T, D)),
    )


# Expression -> (column, problem).
ATTACKS = {
    "__import__('os').system('touch marker')": (10, "Call is not allowed"),
    "tanh(__import__('os').system('touch marker'))": (
        15,
        "Call is not allowed",
    ),
    'exec(\'open("marker", "w")\') * x': (10, "unknown function 'exec'"),
    "open('marker', 'w') + linear(x)": (10, "unknown function 'open'"),
    "linear(x) + exp(h)": (22, "unknown function 'exp'"),
    "x.__class__": (10, "Attribute is not allowed"),
    "h[0] * linear(x)": (10, "Subscript is not allowed"),
    "(lambda: open('marker', 'w'))()": (10, "Call is not allowed"),
    "[open('marker', 'w') for _ in x]": (10, "ListComp is not allowed"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@both_layers
def test_equation_that_is_code_is_refused_and_not_run(
    make, attack, tmp_path, monkeypatch
):
    def edit(layers):
        spec_in(layers)["equations"][1] = f"next_h = {attack}"

    monkeypatch.chdir(tmp_path)
    path = saved(make, tmp_path, edit)
    column, problem = ATTACKS[attack]
    message = (
        rf"(?s)cell 'every_role': equation 2 \(.*\), column {column}: "
        rf".*{re.escape(problem)}"
    )
    for safe_mode in (True, False):
        with pytest.raises((TypeError, ValueError), match=message):
            keras.models.load_model(path, safe_mode=safe_mode)
    assert sorted(os.listdir(tmp_path)) == ["model.keras"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "schema must be 1, .*schema=99"),
        ({"equations": "next_h = x"}, "equations must be a list of strings"),
        ({"equations": []}, "state 'h' has no equation"),
        ({"code": "import os"}, r"unknown: \['code'\]"),
        ({"name": "../../cell"}, r"name='\.\./\.\./cell'"),
        ({"states": ["h", "__class__", "x"]}, "states must be distinct names"),
    ],
)
@both_layers
def test_damaged_spec_of_a_saved_model_is_refused(
    make, change, message, tmp_path
):
    path = saved(make, tmp_path, lambda layers: spec_in(layers).update(change))
    with pytest.raises((TypeError, ValueError), match=f"(?s){message}"):
        keras.models.load_model(path)


@both_layers
def test_equations_that_do_not_fit_the_weights_are_refused(make, tmp_path):
    def edit(layers):
        spec_in(layers)["equations"][1] = "next_h = next_c - c * linear(x)"

    path = saved(make, tmp_path, edit)
    with pytest.raises(ValueError, match="(?i)shape|variable"):
        keras.models.load_model(path)


@both_layers
def test_model_with_code_is_refused_as_keras_does(make, tmp_path):
    path = tmp_path / "model.keras"
    model = keras.Sequential(
        [keras.Input((T, D)), make(), keras.layers.Lambda(lambda x: 2 * x)]
    )
    model.save(path)
    with pytest.raises(ValueError, match="Lambda.*safe_mode|arbitrary code"):
        keras.models.load_model(path)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_truncated_file_is_refused(kept, tmp_path):
    model = model_of(nas_rnn())
    saved_file, weights = (
        tmp_path / "model.keras",
        tmp_path / "model.weights.h5",
    )
    model.save(saved_file)
    model.save_weights(weights)
    for path in (saved_file, weights):
        data = path.read_bytes()
        path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=r"model\.keras.* zip file"):
        keras.models.load_model(saved_file)
    with pytest.raises(OSError, match="truncated|signature not found"):
        model.load_weights(weights)
