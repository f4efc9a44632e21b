"""Tests of the Keras models of image networks against NumPy, and their cost."""

import dataclasses
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import convnet_oracles as oracles
import forked
from nas_keras.convnets import ConvLayer
from nas_keras.convnets import ConvNetSpec
from nas_keras.convnets import ConvNode
from nas_keras.convnets import DropPath
from nas_keras.convnets import MicroNetSpec
from nas_keras.convnets import build_convnet
from nas_keras.convnets import load_convnet
from nas_keras.convnets import micro as micro_module
from nas_keras.convnets import multiply_adds
from nas_keras.convnets import resnet_spec

_TESTS = pathlib.Path(__file__).parent
IMAGE = (7, 6, 3)
CLASSES = 4
CONCAT = ConvNetSpec(
    "concat",
    [
        ConvLayer("conv", (3, 5), (2, 1), 4),
        ConvLayer("conv", (4, 1), (1, 3), 3),  # No input: the image.
        ConvLayer("max_pool", (3, 2), (2, 2), inputs=[0]),
        ConvLayer("separable_conv", 3, (1, 2), 5, inputs=[0, 1, 2]),
        ConvLayer("average_pool", 3, 1, inputs=[1]),
        ConvLayer("conv", 1, 1, 2, inputs=[2]),
    ],
)
MACRO = ConvNetSpec(
    "macro",
    [
        ConvLayer("conv", 3, filters=5),
        ConvLayer("separable_conv", 5, filters=5, inputs=[0]),
        ConvLayer("max_pool", 3, 2, 6),
        ConvLayer("average_pool", 3, filters=6, inputs=[0, 2]),
        ConvLayer("separable_conv", 3, 2, 8, inputs=[0, 1]),
        ConvLayer("conv", 5, filters=7, inputs=[3]),
    ],
    wiring="macro",
    filters=3,
)
RESIDUAL = ConvNetSpec(
    "residual",
    [
        ConvLayer("conv", 3, filters=4),
        ConvLayer("conv", 3, (2, 1), 4),
        ConvLayer("separable_conv", 3, filters=4, inputs=[0, 1]),
        ConvLayer("max_pool", 3, 2, inputs=[0]),
        ConvLayer("conv", 3, filters=6, inputs=[2]),
    ],
    wiring="residual",
)
MICRO = MicroNetSpec(
    "micro",
    normal=[
        ConvNode((0, 0), ("separable_conv_3x3", "identity")),
        ConvNode((2, 0), ("average_pool_3x3", "max_pool_3x3")),
    ],  # Loose ends: 1, 3.
    reduction=[
        ConvNode((0, 1), ("identity", "separable_conv_5x5")),
        ConvNode((1, 2), ("average_pool_3x3", "identity")),
        ConvNode((0, 2), ("max_pool_3x3", "separable_conv_3x3")),
    ],
    num_cells=3,
    filters=2,
)
LATE_INPUT = dataclasses.replace(
    MICRO,
    name="late_input",
    reduction=[ConvNode((0, 0), ("max_pool_3x3", "identity"))],
)  # Node 1 is a loose end of the larger size.


def randomized(model, seed=1):
    """Gives a model unequal weights, and batch norm positive variances."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        arrays = [rng.normal(size=w.shape) for w in layer.weights]
        if isinstance(layer, keras.layers.BatchNormalization):
            arrays[3] = rng.uniform(0.5, 2, size=arrays[3].shape)
        if not isinstance(layer, DropPath):
            layer.set_weights(arrays)
    return model


def weights_of(model):
    return {
        layer.name: [np.asarray(w, "float64") for w in layer.weights]
        for layer in model.layers
    }


def images(shape=IMAGE, batch=2, seed=0):
    values = np.random.default_rng(seed).normal(size=(batch, *shape))
    return values.astype("float32")


def near(value, want):
    scale = np.abs(want).max()
    np.testing.assert_allclose(value, want, rtol=1e-4, atol=1e-5 * scale)


# The numbers.


@pytest.mark.parametrize(
    "spec", [CONCAT, MACRO, RESIDUAL], ids=lambda spec: spec.name
)
def test_network_of_layers_matches_numpy(spec):
    model = randomized(build_convnet(spec, IMAGE, CLASSES))
    x = images()
    want = oracles.WIRINGS[spec.wiring](spec, x, weights_of(model))
    near(model(x), want)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [(MICRO, (17, 18, 3)), (LATE_INPUT, (7, 6, 1))],
    ids=["auxiliary", "late_input"],
)
def test_network_of_cells_matches_numpy(spec, shape):
    has_head = spec is MICRO
    model = build_convnet(spec, shape, CLASSES, auxiliary_head=has_head)
    found = randomized(model)(images(shape))
    want = oracles.micro(spec, images(shape), weights_of(model))
    near(found[0] if has_head else found, want[0])
    if has_head:
        near(found[1], want[1])


def test_resnet_matches_numpy():
    spec = resnet_spec(8, filters=2)
    model = randomized(build_convnet(spec, (8, 8, 1), 2))
    x = images((8, 8, 1))
    near(model(x), oracles.residual(spec, x, weights_of(model)))


# Training: what is dropped, and where networks begin.


def test_drop_path_drops_images_in_proportion_to_progress():
    layer = DropPath(seed=0)
    x = np.ones((4000, 1, 1, 2), "float32")
    for progress in (0.0, 0.5, 1.0):
        layer.progress.assign(progress)
        y = np.asarray(layer(x, rate=0.4, training=True))
        kept = 1 - 0.4 * progress
        assert (y == y[..., :1]).all(), "images are dropped whole"
        assert abs((y[:, 0, 0, 0] > 0).mean() - kept) < 0.03
        np.testing.assert_allclose(y.max(), 1 / kept, rtol=1e-6)
    assert (np.asarray(layer(x, rate=0.4)) == 1).all()


def test_drop_path_is_in_full_before_a_trainer_sets_it():
    assert float(DropPath().progress) == 1


def test_late_cells_drop_more_and_identities_are_never_dropped(monkeypatch):
    rates = []

    def recorded(_, name):
        assert name == "drop_path"

        def call(x, rate):
            rates.append(rate)
            return x

        return call

    monkeypatch.setattr(micro_module, "DropPath", recorded)
    build_convnet(MICRO, (8, 8, 1), 2, drop_path=0.5)
    branches = [3, 4, 3, 4, 3]  # Per cell, those that are no identity.
    want = [
        0.5 * (cell + 1) / 5
        for cell, count in enumerate(branches)
        for _ in range(count)
    ]
    np.testing.assert_allclose(rates, want)


def test_dropout_is_of_the_averaged_features_and_in_training_only():
    model = build_convnet(RESIDUAL, IMAGE, CLASSES, dropout=0.9)
    layer = model.get_layer("dropout")
    assert layer.rate == 0.9
    assert layer.input.shape == (None, 6)
    x = images()
    near(model(x), np.asarray(build_convnet(RESIDUAL, IMAGE, CLASSES)(x)))


def test_kernels_begin_apart_and_the_same_for_the_same_seed():
    def kernels(**arguments):
        model = build_convnet(MICRO, (20, 20, 3), 2, **arguments)
        return {w.path: np.asarray(w) for w in model.trainable_weights}

    first = kernels(seed=3)
    with_head = kernels(seed=3, auxiliary_head=True, drop_path=0.1)
    for path, value in first.items():
        np.testing.assert_array_equal(with_head[path], value)
    other = kernels(seed=4)
    drawn = [k for k in first if "kernel" in k]
    assert all((first[k] != other[k]).any() for k in drawn)
    values = [first[k].ravel()[0] for k in drawn]
    assert len(set(values)) == len(values)


def test_initializer_and_epsilon_are_those_asked_for():
    model = build_convnet(
        CONCAT, IMAGE, 2, kernel_initializer="ones", epsilon=0.25
    )
    assert (np.asarray(model.get_layer("layer_0_conv").kernel) == 1).all()
    assert model.get_layer("layer_0_norm").epsilon == 0.25
    assert model.get_layer("layer_0_norm").momentum == 0.9


def test_logits_have_full_precision_where_keras_computes_in_half():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build_convnet(MICRO, (8, 8, 1), 2, drop_path=0.2)
        assert model.get_layer("stem_conv").compute_dtype == "float16"
        logits = model(images((8, 8, 1)), training=True)
        assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    finally:
        keras.config.set_dtype_policy(policy)


# What networks cost.


def num_weights(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


@pytest.mark.parametrize(
    ("name", "weights", "products"),
    [
        # The program's 42,559,392 less the stem's halvings, which none reads.
        (
            "enas_macro",
            42_559_392 - (96 * 192 + 2 * 192) - (192 * 384 + 2 * 384),
            5_636_656_896,
        ),
        ("enas_micro", 4_587_372, 727_702_560),
        # The paper's 269,722, and 1x1 convolutions in two shortcuts.
        (
            "resnet_20",
            269_722 + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64),
            40_813_184,
        ),
    ],
)
def test_published_network_has_the_size_that_the_readme_says(
    name, weights, products
):
    model = build_convnet(
        load_convnet(name), (32, 32, 3), 10, kernel_initializer="zeros"
    )
    assert num_weights(model) == weights
    assert multiply_adds(model) == products
    readme = (_TESTS.parent / "convnets" / "README.md").read_text()
    row = re.search(rf"^\| `{name}` .*$", readme, re.M)[0]
    assert row.endswith(f"| {weights:,} | {products:,} |")


def test_multiply_adds_of_a_small_network():
    layers = [
        ConvLayer("conv", (3, 2), 2, 5),
        ConvLayer("separable_conv", 3, filters=4, inputs=[0]),
        ConvLayer("max_pool", 2, 2, inputs=[1]),
    ]
    model = build_convnet(ConvNetSpec("small", layers), (8, 6, 3), 7)
    places = 4 * 3
    assert multiply_adds(model) == (
        places * 3 * 2 * 3 * 5 + places * (9 * 5 + 5 * 4) + 4 * 7
    )


# Saved models, other backends.


def test_saved_model_loads_in_a_process_that_imports_the_package(tmp_path):
    shape = (8, 8, 1)
    model = randomized(build_convnet(MICRO, shape, 2, drop_path=0.3))
    model.get_layer("drop_path").progress.assign(0.25)
    model.save(tmp_path / "model.keras")
    x = images(shape)
    np.save(tmp_path / "x.npy", x)
    program = (
        "import sys, nas_keras, keras, numpy as np\n"
        "folder = sys.argv[1]\n"
        "model = keras.models.load_model(folder + '/model.keras')\n"
        "assert model.get_layer('drop_path').progress == 0.25\n"
        "y = model(np.load(folder + '/x.npy'))\n"
        "np.save(folder + '/y.npy', np.asarray(y))\n"
    )
    result = forked.run("-c", program, tmp_path)
    assert result.returncode == 0, result.stderr
    near(np.load(tmp_path / "y.npy"), np.asarray(model(x)))


def test_network_is_built_and_trained_on_jax():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed.")
    program = (
        "import sys, keras, numpy as np\n"
        "import convnet_test as here\n"
        "model = here.build_convnet(here.MICRO, (8, 8, 1), 2, drop_path=0.1)\n"
        "model = here.randomized(model)\n"
        "x = here.images((8, 8, 1))\n"
        "want, _ = here.oracles.micro(here.MICRO, x, here.weights_of(model))\n"
        "here.near(np.asarray(model(x)), want)\n"
        "model.compile('sgd', 'mse')\n"
        "model.fit(x, np.ones((2, 2)), verbose=0)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    path = os.pathsep.join([str(_TESTS), str(_TESTS.parent)])
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": "jax"},
        check=True,
    )


# Errors.


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
        "auxiliary_head must be False if the map behind the second reduction "
        "is smaller than (5, 5). Received: auxiliary_head=True with a map of "
        "(4, 5)."
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
