"""Tests of what is saved and loaded: SavedModels, checkpoints, bad files.

Models of other processes and configurations are in `nas_cell_test.py`.
"""

import copy
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from layer_testing import normal
from layer_testing import randomize
from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from nas_keras.cells import save_spec

B, T, D, H, P = 3, 5, 4, 6, 2
# A weight of every role, and a state and a kernel of its own.
SPEC = CellSpec(
    "every_role",
    ["next_c = tanh(linear(x) + linear(h) * linear(c))", "next_h = next_c - c"],
)


def nas_rnn(spec=SPEC, **arguments):
    return NASRNN(H, spec, return_sequences=True, name="mine", **arguments)


def rnn_of_cell(spec=SPEC, stateful=False, **arguments):
    cell = NASCell(H, spec, name="cell", **arguments)
    return keras.layers.RNN(
        cell, return_sequences=True, stateful=stateful, name="mine"
    )


LAYERS = {
    "NASRNN": nas_rnn,
    "NASRNN with XLA": lambda *a, **k: nas_rnn(*a, jit_compile=True, **k),
    "NASRNN without XLA": lambda *a, **k: nas_rnn(*a, jit_compile=False, **k),
    "RNN(NASCell)": rnn_of_cell,
}
TWO_LAYERS = {name: LAYERS[name] for name in ("NASRNN", "RNN(NASCell)")}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
both_layers = pytest.mark.parametrize(
    "make", TWO_LAYERS.values(), ids=TWO_LAYERS
)


def model_of(layer, length=T, seed=1):
    """Returns a model with random weights: zeros would hide lost biases."""
    model = keras.Sequential(
        [keras.Input((length, D)), layer, keras.layers.Dense(2)]
    )
    return randomize(model, seed)


def near(value, want, tolerance=1e-5):
    np.testing.assert_allclose(
        np.asarray(value), np.asarray(want), rtol=tolerance, atol=tolerance / 10
    )


def differs(value, want):
    return np.abs(np.asarray(value) - np.asarray(want)).max() > 1e-2


# SavedModel.


def exported(model, folder):
    model.export(folder / "model", verbose=False)
    return tf.saved_model.load(folder / "model")


@pytest.mark.parametrize("length", [T, None])
@each_layer
def test_exported_model_serves_what_the_model_computes(make, length, tmp_path):
    model = model_of(make(projection=P, use_bias=True), length)
    served = exported(model, tmp_path)
    shapes = [(B, T), (1, T), (4, 9)] if length is None else [(B, T), (1, T)]
    for shape in shapes:
        x = normal(*shape, D)
        near(served.serve(x), model(x))


@each_layer
def test_exported_model_has_no_dropout(make, tmp_path):
    model = model_of(make(dropout=0.5, recurrent_dropout=0.5, seed=0))
    x = normal(B, T, D)
    assert differs(model(x, training=True), model(x))
    served = exported(model, tmp_path)
    near(served.serve(x), model(x))


@pytest.mark.parametrize("length", [T, None])
@both_layers
def test_exported_model_skips_masked_steps(make, length, tmp_path):
    model = keras.Sequential(
        [keras.Input((length, D)), keras.layers.Masking(), make("gru")]
    )
    x = normal(B, T, D)
    x[0, 3:] = x[1, :2] = 0
    served = exported(model, tmp_path)
    near(served.serve(x), model(x))


@both_layers
def test_exported_stateful_model_goes_on_where_it_stopped(make, tmp_path):
    model = keras.Sequential(
        [keras.Input(batch_shape=(B, T, D)), make(stateful=True)]
    )
    x = normal(B, T, D)
    first, second = (np.asarray(model(x)) for _ in range(2))
    assert differs(first, second)
    model.layers[-1].reset_state()
    served = exported(model, tmp_path)
    near(served.serve(x), first)
    near(served.serve(x), second)


# tf.train.Checkpoint.


@both_layers
def test_checkpoint_restores_every_weight(make, tmp_path):
    model = model_of(make(projection=P, use_bias=True))
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    saved = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    shapes = [
        shape for name, shape in saved.items() if "save_counter" not in name
    ]
    want = [list(weight.shape) for weight in model.weights]
    assert sorted(filter(None, shapes)) == sorted(want)

    x = normal(B, T, D)
    output = np.asarray(model(x))
    model.set_weights([0 * weight for weight in model.get_weights()])
    status = tf.train.Checkpoint(model=model).restore(path)
    status.assert_existing_objects_matched()
    near(model(x), output, 0)


@both_layers
def test_checkpoint_restores_into_a_fresh_model(make, tmp_path):
    model = model_of(make(projection=P, use_bias=True))
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    other = model_of(make(projection=P, use_bias=True), seed=99)
    x = normal(B, T, D)
    assert differs(other(x), model(x))
    tf.train.Checkpoint(model=other).restore(path).assert_consumed()
    for got, want in zip(other.weights, model.weights, strict=True):
        near(got, want, 0)
    near(other(x), model(x), 0)


@both_layers
def test_checkpoint_restores_a_training(make, tmp_path):
    data = normal(B, T, D), normal(B, T, 2, seed=3)

    def trained(path=None, updates=2):
        model = model_of(make())
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        if path is not None:
            tf.train.Checkpoint(model=model).restore(path).assert_consumed()
        model.fit(*data, epochs=updates, shuffle=False, verbose=0)
        return model

    path = tf.train.Checkpoint(model=trained()).save(tmp_path / "checkpoint")
    near(trained(path)(data[0]), trained(updates=4)(data[0]))


# Files of weights, and copies.


@both_layers
def test_weights_file_restores_every_weight(make, tmp_path):
    model = model_of(make(projection=P, use_bias=True))
    model.save_weights(tmp_path / "model.weights.h5")
    other = model_of(make(projection=P, use_bias=True), seed=99)
    x = normal(B, T, D)
    assert differs(other(x), model(x))
    other.load_weights(tmp_path / "model.weights.h5")
    near(other(x), model(x), 0)


@both_layers
def test_weights_of_another_cell_are_refused(make, tmp_path):
    model_of(make()).save_weights(tmp_path / "model.weights.h5")
    for spec, arguments in (("gru", {}), (SPEC, {"projection": P})):
        model = model_of(make(spec, **arguments))
        before = model.get_weights()
        with pytest.raises(ValueError, match="(?i)shape|variable|object"):
            model.load_weights(tmp_path / "model.weights.h5")
        for got, want in zip(model.layers[0].weights, before, strict=False):
            near(got, want, 0)


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, keras.models.clone_model]
    + [lambda model: pickle.loads(pickle.dumps(model))],
)
@both_layers
def test_copies_of_a_model_compute_the_same(make, duplicate):
    model = model_of(make(use_bias=True))
    other = duplicate(model)
    if duplicate is keras.models.clone_model:
        other.set_weights(model.get_weights())
    near(other(normal(B, T, D)), model(normal(B, T, D)))
    assert other.layers[0].cell.spec == SPEC


# `.keras` files.


@both_layers
def test_saved_model_does_not_change_with_the_file_of_its_cell(make, tmp_path):
    spec, model_file = tmp_path / "mine.json", tmp_path / "model.keras"
    save_spec(SPEC, spec)
    model = model_of(make(spec))
    x = normal(B, T, D)
    output = np.asarray(model(x))
    model.save(model_file)
    equations = [
        equation.replace("tanh", "sigmoid") for equation in SPEC.equations
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
    assert loaded.layers[0].cell.spec == SPEC


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


# Imports.


def test_cell_may_be_the_first_import_of_a_program():
    program = (
        "from nas_keras import NASCell\n"
        "NASCell(4)\n"
        "import keras\n"
        "keras.saving.get_registered_object('nas_keras>NASRNN')(4)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
