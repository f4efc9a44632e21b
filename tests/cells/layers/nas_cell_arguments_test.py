"""Tests of the arguments of `NASCell` and `NASRNN`: checked, honoured, kept."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from nas_keras.cells import load_spec
from nas_keras.cells.layers import CELL_ARGUMENTS
from tests.cell_testing import EVERY_ROLE
from tests.layer_testing import built
from tests.layer_testing import near
from tests.layer_testing import normal
from tests.layer_testing import randomize

B, T, D, H, P = 3, 5, 4, 6, 2
# The weights of EVERY_ROLE by their roles.
ROLES = {
    "kernel": {"kernel"},
    "recurrent": {"recurrent_kernel", "kernel_c"},
    "bias": {"bias"},
    "projection": {"projection_kernel"},
}


# Arguments.


@pytest.mark.parametrize("units", [0, -1, 2.5, "four", True, None])
def test_units_must_be_an_int_of_at_least_1(units):
    message = (
        f"units must be an int of at least 1.*units={re.escape(repr(units))}"
    )
    for layer in (NASCell, NASRNN):
        with pytest.raises(ValueError, match=message):
            layer(units)


@pytest.mark.parametrize("projection", [0, -1, 2.5, "four", True])
def test_projection_must_be_an_int_of_at_least_1_or_none(projection):
    message = f"an int of at least 1.*projection={re.escape(repr(projection))}"
    with pytest.raises(ValueError, match=message):
        NASCell(4, projection=projection)


@pytest.mark.parametrize("use_bias", ["no", 1, None])
def test_use_bias_must_be_a_boolean(use_bias):
    message = f"True or False. Received: use_bias={use_bias!r}"
    with pytest.raises(ValueError, match=message):
        NASCell(4, use_bias=use_bias)


@pytest.mark.parametrize("argument", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("rate", [1.0, -0.1, "a", True, None, float("nan")])
def test_rates_must_be_in_the_unit_interval(argument, rate):
    message = rf"{argument} must be in \[0, 1\).*{argument}={rate!r}"
    with pytest.raises(ValueError, match=message):
        NASCell(4, **{argument: rate})


@pytest.mark.parametrize(
    "flag",
    [
        "return_sequences", "return_state", "go_backwards", "stateful",
        "unroll", "zero_output_for_mask",
    ],
)  # fmt: skip
def test_flags_of_the_layer_are_booleans_given_by_name(flag):
    message = f"{flag} must be True or False. Received: {flag}='no'."
    with pytest.raises(ValueError, match=re.escape(message)):
        NASRNN(4, **{flag: "no"})
    assert getattr(NASRNN(4, **{flag: True}), flag) is True
    with pytest.raises(TypeError, match="positional"):
        NASRNN(4, "lstm", True)


def test_arguments_of_the_cell_are_attributes_of_the_layer():
    layer = NASRNN(H, "lstm", projection=P, dropout=0.1, seed=3)
    assert (layer.units, layer.projection, layer.dropout) == (H, P, 0.1)
    assert (layer.spec, layer.seed) == (load_spec("lstm"), 3)
    for name in CELL_ARGUMENTS:
        assert getattr(layer, name) == getattr(layer.cell, name)


def test_unknown_cell_lists_the_published_ones():
    with pytest.raises(ValueError, match=r"'lstmm'\. Published.*'lstm'"):
        NASRNN(4, "lstmm")
    with pytest.raises(ValueError, match="spec must be a CellSpec.*spec=3"):
        NASCell(4, 3)
    with pytest.raises(ValueError, match=r"missing: \['equations', 'name'"):
        NASCell(4, {})


def test_spec_is_given_as_spec_name_path_or_dictionary(tmp_path):
    lstm = load_spec("lstm")
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(lstm.to_dict()))
    for spec in (lstm, "lstm", path, str(path), lstm.to_dict()):
        assert NASCell(4, spec).spec == lstm
        assert NASRNN(4, spec).cell.spec == lstm
    assert NASCell(4).spec == load_spec("nascell")


def test_unknown_argument_is_refused():
    for layer in (NASCell, NASRNN):
        with pytest.raises(ValueError, match="colour"):
            layer(4, colour="red")


@pytest.mark.parametrize(
    ("equations", "arguments", "message"),
    [
        (
            ["a = tanh(linear(x))", "next_h = a * x"],
            {},
            r"equation 2 \('next_h = a \* x'\) joins widths \[4, 6\]",
        ),
        (["next_h = x"], {}, r"equation 1 .* joins widths \[4, 6\].* x has"),
        (
            ["next_h = linear(x) * h"],
            {"projection": 2},
            r"equation 1 .*\[2, 6\].* h 2, .*units=6, projection=2",
        ),
        (["next_h = h"], {"projection": 2}, r"equation 1 .*\[2, 6\]"),
        (["next_h = max(x, h)"], {}, r"equation 1 .*max.* \[4, 6\]"),
    ],
)
def test_widths_that_differ_are_named(equations, arguments, message):
    spec = CellSpec("toy", equations, ["h"])
    with pytest.raises(ValueError, match=f"cell 'toy': {message}"):
        NASCell(H, spec, **arguments).build((None, D))


def test_input_of_the_width_that_the_equations_ask_for_is_accepted():
    spec = CellSpec("toy", ["next_h = x * linear(h)"], ["h"])
    assert NASRNN(D, spec)(normal(B, T, D)).shape == (B, D)


def test_width_of_the_input_must_be_known():
    with pytest.raises(ValueError, match="last axis of the input must be kno"):
        NASCell(H).build((None, None))


@pytest.mark.parametrize("role", sorted(ROLES))
def test_initializer_of_a_role_sets_its_weights_only(role):
    initializer = keras.initializers.Constant(0.25)
    cell = NASCell(
        *(H, EVERY_ROLE, P, True), **{f"{role}_initializer": initializer}
    )
    cell.build((None, D))
    for weight in cell.weights:
        is_constant = bool((np.asarray(weight) == 0.25).all())
        assert is_constant == (weight.name in ROLES[role])


def test_default_initializers_are_those_of_the_signature():
    cell = NASCell(H)
    assert isinstance(cell.kernel_initializer, keras.initializers.GlorotUniform)
    assert isinstance(cell.recurrent_initializer, keras.initializers.Orthogonal)
    assert isinstance(cell.bias_initializer, keras.initializers.Zeros)
    projection = cell.projection_initializer
    assert isinstance(projection, keras.initializers.GlorotUniform)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_regularizer_of_a_role_adds_the_losses_of_its_weights(role):
    layer = NASRNN(
        *(H, EVERY_ROLE),
        **{"projection": P, "use_bias": True},
        **{f"{role}_regularizer": keras.regularizers.L2(0.5)},
    )
    built(layer, T, D)
    want = [
        0.5 * np.square(w).sum() for w in layer.weights if w.name in ROLES[role]
    ]
    near(layer.losses, want)
    assert want


@pytest.mark.parametrize("role", sorted(ROLES))
def test_constraint_of_a_role_holds_after_a_training_step(role):
    layer = NASRNN(
        *(H, EVERY_ROLE),
        **{"projection": P, "use_bias": True},
        **{f"{role}_constraint": keras.constraints.NonNeg()},
    )
    model = keras.Sequential([layer])
    model.build((None, T, D))
    randomize(layer)
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(normal(B, T, D), normal(B, P), verbose=0)
    for weight in layer.weights:
        holds = bool((np.asarray(weight) >= 0).all())
        assert holds == (weight.name in ROLES[role])


def test_name_and_dtype_are_honoured():
    assert NASCell(4, name="mine").name == "mine"
    layer = NASRNN(4, name="mine", dtype="float64")
    assert layer.name == "mine"
    assert layer(np.zeros((B, T, D))).dtype == tf.float64
    assert {w.dtype for w in layer.weights} == {"float64"}


# Configurations.


def unusual_arguments():
    """Every argument, none at its default."""
    return {
        "spec": EVERY_ROLE,
        "projection": P,
        "use_bias": True,
        "dropout": 0.1,
        "recurrent_dropout": 0.2,
        "kernel_initializer": keras.initializers.RandomNormal(stddev=0.1),
        "recurrent_initializer": keras.initializers.Constant(0.1),
        "bias_initializer": "ones",
        "projection_initializer": keras.initializers.HeNormal(seed=3),
        "kernel_regularizer": keras.regularizers.L1(0.1),
        "recurrent_regularizer": "l2",
        "bias_regularizer": keras.regularizers.L1L2(0.1, 0.2),
        "projection_regularizer": keras.regularizers.L2(0.3),
        "kernel_constraint": keras.constraints.MaxNorm(3),
        "recurrent_constraint": "non_neg",
        "bias_constraint": keras.constraints.UnitNorm(axis=0),
        "projection_constraint": keras.constraints.MinMaxNorm(0, 2),
        "seed": 5,
        "dtype": "mixed_bfloat16",
        "name": "mine",
    }


@pytest.mark.parametrize("layer_class", [NASCell, NASRNN])
def test_configuration_is_json_able_and_makes_an_equal_layer(layer_class):
    arguments = unusual_arguments()
    if layer_class is NASRNN:
        names = ("return_sequences", "return_state", "go_backwards", "stateful")
        arguments |= dict.fromkeys((*names, "zero_output_for_mask"), True)
        arguments["jit_compile"] = False
    layer = layer_class(H, **arguments)
    config = layer.get_config()
    again = layer_class.from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    default = layer_class(4).get_config()
    same = {key for key in config if config[key] == default.get(key)}
    assert same <= {"trainable", "unroll"}
    assert set(arguments) | {"units"} <= set(config)
    cell = again.cell if layer_class is NASRNN else again
    assert cell.spec == EVERY_ROLE
    assert cell.seed == 5
    assert cell.compute_dtype == "bfloat16"
    assert cell.projection_constraint.max_value == 2


def test_configuration_holds_the_spec_not_its_name():
    spec = NASRNN(4, "lstm").get_config()["spec"]
    assert spec == load_spec("lstm").to_dict()
