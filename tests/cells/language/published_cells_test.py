"""Tests of the published cells: their numbers, their sources, their weights."""

import functools
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from nas_keras.cells import load_spec
from nas_keras.cells import published_cells
from tests import layer_testing
from tests import oracles
from tests.layer_testing import built
from tests.layer_testing import near

B, T, D, H = 3, 5, 4, 6
VOCABULARY = 10_000  # Of Penn Treebank.
_FOLDER = pathlib.Path(__file__).resolve().parents[3] / "cells"
_ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.M)


normal = functools.partial(layer_testing.normal, dtype="float64")


def weights_of(layer):
    return {w.name: np.asarray(w, "float64") for w in layer.weights}


def states_of(spec):
    return [normal(B, H, seed=7 + k) for k, _ in enumerate(spec.states)]


# The numbers.


def test_every_published_cell_has_an_oracle():
    assert set(oracles.CELLS) == set(published_cells())


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)]
)
@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("name", published_cells())
def test_cell_matches_numpy(name, use_bias, dtype, tolerance):
    cell = built(NASCell(H, name, use_bias=use_bias, dtype=dtype), D)
    assert ("bias" in weights_of(cell)) == use_bias
    x, states = normal(B, D), states_of(cell.spec)
    want = oracles.CELLS[name](x, *states, weights_of(cell))
    output, new_states = cell(
        x.astype(dtype), [s.astype(dtype) for s in states]
    )
    near(new_states, want, tolerance)
    near([output], [new_states[cell.spec.states.index("h")]], 0)


@pytest.mark.parametrize("name", ["lstm", "nascell"])
def test_projected_cell_matches_numpy(name):
    cell = built(NASCell(H, name, 2, use_bias=True, dtype="float64"), D)
    x, h, c = normal(B, D), normal(B, 2, seed=7), normal(B, H, seed=8)
    _, new_states = cell(x, [h, c])
    want = oracles.CELLS[name](x, h, c, weights_of(cell))
    near(new_states, want, 1e-12)


def sines(k, rows):
    """The matrix [rows, 4] of a node of the fixed vectors."""
    r, c = np.mgrid[:rows, :4]
    return 0.5 * np.sin(1 + k + 2 * r + 3 * c)


X, STATE = np.array([[0.5, -1, 0.25]]), np.array([[0.1, -0.2]])
SINES = [sines(0, 5), *(sines(k, 2) for k in range(1, 12))]
# Of every node of the published ENAS cell, the one of DARTS' genotype of it.
NODES_OF_DARTS = [0, 1, 3, 6, 5, 4, 7, 2, 8, 9, 10, 11]
VECTORS = {
    "darts_v1": [-0.00876029, 0.02637579],
    "darts_v2": [0.12708867, 0.16696701],
    "enas_ptb": [-0.0091653, 0.01192465],
}


def step_of(name, nodes, matrices):
    """Returns the next h of a cell of one matrix a node, [D + H, 2H] first."""
    columns = {
        "kernel": [matrices[0][:3]],
        "recurrent_kernel": [matrices[0][3:]],
    }
    for (_, read), matrix in zip(nodes[1:], matrices[1:], strict=True):
        columns.setdefault(f"kernel_s{read}", []).append(matrix)
    cell = NASCell(2, name, dtype="float64")
    cell.build((None, 3))
    cell.set_weights(
        [np.concatenate(columns[w.name], axis=1) for w in cell.weights]
    )
    output, _ = cell(X, [STATE])
    return np.asarray(output)


@pytest.mark.parametrize("name", ["darts_v1", "darts_v2"])
def test_darts_gives_the_numbers_of_a_fixed_vector(name):
    genotype = load_spec(name).provenance["genotype"]
    nodes, _ = oracles.nodes_of_genotype(genotype)
    near([step_of(name, nodes, SINES[:9])], [[VECTORS[name]]], 1e-6)


def test_enas_gives_the_numbers_of_darts_genotype_of_it():
    nodes, _ = oracles.nodes_of_arc(load_spec("enas_ptb").provenance["arc"])
    # DARTS has the gate's columns first, ENAS the candidate's.
    matrices = [np.roll(SINES[k], 2, axis=1) for k in NODES_OF_DARTS]
    got = step_of("enas_ptb", nodes, matrices)
    near([got], [[VECTORS["enas_ptb"]]], 1e-6)


@pytest.mark.parametrize(
    ("genotype", "name"),
    [
        (oracles.DARTS_V1, "darts_v1"),
        (oracles.DARTS_V2, "darts_v2"),
        (oracles.DARTS_ENAS, "enas_ptb"),
    ],
)
def test_oracle_of_darts_gives_the_numbers_of_a_fixed_vector(genotype, name):
    matrices = SINES[: len(genotype["recurrent"]) + 1]
    biases = [np.zeros(4)] * len(matrices)
    got = oracles.darts_cell(genotype, X, STATE, matrices, biases)
    near(got, [[VECTORS[name]]], 1e-6)


# Other layers' weights.


def gradients_of(layer, x):
    x = tf.constant(x)
    weigh = normal(B, T, H, seed=50)
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x)
        loss = tf.reduce_sum(output * weigh)
    weights = [w.value for w in layer.trainable_weights]
    of_x, *of_weights = tape.gradient(loss, [x, *weights])
    return output.numpy(), of_x.numpy(), [g.numpy() for g in of_weights]


def pair(name, layer_class, use_bias):
    """Returns our layer, with weights, and that of Keras, without them."""
    arguments = {"return_sequences": True, "dtype": "float64"}
    ours = NASRNN(H, name, use_bias=use_bias, **arguments)
    theirs = layer_class(H, use_bias=use_bias, **arguments)
    theirs.build((None, T, D))
    return built(ours, T, D), theirs


@pytest.mark.parametrize(
    ("name", "layer_class", "use_bias"),
    [
        ("gru_reset_after", keras.layers.GRU, False),
        ("simple_rnn", keras.layers.SimpleRNN, False),
        ("simple_rnn", keras.layers.SimpleRNN, True),
    ],
)
def test_layer_equals_that_of_keras_in_outputs_and_gradients(
    name, layer_class, use_bias
):
    ours, theirs = pair(name, layer_class, use_bias)
    theirs.set_weights(ours.get_weights())
    x = normal(B, T, D)
    output, of_x, of_weights = gradients_of(ours, x)
    want, want_of_x, want_of_weights = gradients_of(theirs, x)
    near([output, of_x, *of_weights], [want, want_of_x, *want_of_weights], 1e-9)


def test_bias_of_gru_reset_after_is_that_of_keras_for_products_with_h():
    ours, theirs = pair("gru_reset_after", keras.layers.GRU, True)
    *kernels, bias = ours.get_weights()
    theirs.set_weights([*kernels, np.stack([np.zeros_like(bias), bias])])
    x = normal(B, T, D)
    output, of_x, of_weights = gradients_of(ours, x)
    want, want_of_x, want_of_weights = gradients_of(theirs, x)
    want_of_weights[-1] = want_of_weights[-1][1]
    near([output, of_x, *of_weights], [want, want_of_x, *want_of_weights], 1e-9)


def test_mut2_is_gru_with_the_weights_of_z_negated():
    gru = built(NASCell(H, "gru", use_bias=True, dtype="float64"), D)
    mut2 = NASCell(H, "mut2", use_bias=True, dtype="float64")
    mut2.build((None, D))
    weights = weights_of(gru)
    for name in ("kernel", "recurrent_kernel", "bias"):
        weights[name][..., :H] *= -1  # 1 - sigmoid(a) is sigmoid(-a).
    mut2.set_weights([weights[w.name] for w in mut2.weights])
    x, h = normal(B, D), normal(B, H, seed=7)
    near([mut2(x, [h])[0]], [gru(x, [h])[0]], 1e-12)


# The files.


def test_published_cells_all_differ():
    prints = {load_spec(name).fingerprint for name in published_cells()}
    assert len(prints) == len(published_cells())


@pytest.mark.parametrize(
    "path", sorted(_FOLDER.glob("*.json")), ids=lambda path: path.stem
)
def test_file_has_the_name_of_its_cell_a_source_and_a_reference(path):
    spec = load_spec(path)
    assert spec.name == path.stem
    assert spec.provenance["source"].strip()
    assert re.fullmatch(r"https?://\S+", spec.provenance["reference"])


def test_readme_has_a_row_for_every_cell_in_order():
    text = (_FOLDER / "README.md").read_text(encoding="utf-8")
    rows = _ROW.findall(text)
    assert [name for name, *_ in rows] == published_cells()
    for name, states, source, _ in rows:
        spec = load_spec(name)
        assert states == ", ".join(spec.states), name
        assert spec.provenance["reference"] in source, name


def highway_cell(nodes, averaged):
    """Returns the spec of nodes (function, node read), the first of x and h."""
    equations = []
    for index, (function, read) in enumerate(nodes):
        state = "h" if read is None else f"s{read}"
        term = f"linear({state})" + (" + linear(x)" if read is None else "")
        step = f"sigmoid({term}) * ({function}({term}) - {state})"
        equations.append(f"s{index} = {state} + {step}")
    mean = ", ".join(f"s{index}" for index in averaged)
    return CellSpec("decoded", [*equations, f"next_h = mean({mean})"], ["h"])


@pytest.mark.parametrize("name", ["enas_lm", "enas_ptb"])
def test_published_arc_decodes_to_the_equations(name):
    spec = load_spec(name)
    decoded = highway_cell(*oracles.nodes_of_arc(spec.provenance["arc"]))
    assert decoded.fingerprint == spec.fingerprint


@pytest.mark.parametrize("name", ["darts_v1", "darts_v2"])
def test_published_genotype_decodes_to_the_equations(name):
    spec = load_spec(name)
    genotype = spec.provenance["genotype"]
    decoded = highway_cell(*oracles.nodes_of_genotype(genotype))
    assert decoded.fingerprint == spec.fingerprint


def test_darts_and_enas_write_the_same_cells():
    # The arc by which the program of enas_lm evaluates the cell of DARTS.
    arc = [0, 2, 1, 1, 1, 1, 1, 3, 2, 0, 5, 2, 3, 0, 5, 1]
    decoded = highway_cell(*oracles.nodes_of_arc(arc))
    assert decoded.fingerprint == load_spec("darts_v2").fingerprint
    decoded = highway_cell(*oracles.nodes_of_genotype(oracles.DARTS_ENAS))
    assert decoded.fingerprint == load_spec("enas_ptb").fingerprint


# The cost.


@pytest.mark.parametrize(
    ("name", "width", "decoder_bias", "parameters"),
    [
        ("darts_v2", 850, True, 22_960_000),
        ("enas_lm", 800, False, 20_800_000),
        ("enas_lm", 850, False, 22_950_000),
        ("enas_ptb", 748, False, 22_027_104),
    ],
)
def test_cost_is_that_of_the_published_language_model(
    name, width, decoder_bias, parameters
):
    cost = load_spec(name).cost(width, width)
    tied_embedding = VOCABULARY * (width + decoder_bias)
    assert cost.parameters + tied_embedding == parameters


def test_cost_of_nascell_is_that_of_tensorflow_addons():
    assert load_spec("nascell").cost(4, 6).parameters == 480
