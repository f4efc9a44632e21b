"""Tests of the Keras models of image networks against NumPy, and their cost."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from nas_keras.convnets import ConvLayer
from nas_keras.convnets import ConvNetSpec
from nas_keras.convnets import DropPath
from nas_keras.convnets import build_convnet
from nas_keras.convnets import load_convnet
from nas_keras.convnets import micro as micro_module
from nas_keras.convnets import multiply_adds
from nas_keras.convnets import resnet_spec
from tests import convnet_oracles as oracles
from tests import forked
from tests.convnet_testing import CLASSES
from tests.convnet_testing import CONCAT
from tests.convnet_testing import IMAGE
from tests.convnet_testing import LATE_INPUT
from tests.convnet_testing import MACRO
from tests.convnet_testing import MICRO
from tests.convnet_testing import RESIDUAL
from tests.convnet_testing import images
from tests.convnet_testing import near
from tests.convnet_testing import randomized
from tests.convnet_testing import weights_of

_ROOT = pathlib.Path(__file__).resolve().parents[2]


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
    readme = (_ROOT / "convnets" / "README.md").read_text()
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
        "from tests import convnet_oracles, convnet_testing as here\n"
        "from nas_keras.convnets import build_convnet\n"
        "model = build_convnet(here.MICRO, (8, 8, 1), 2, drop_path=0.1)\n"
        "model = here.randomized(model)\n"
        "x, weights = here.images((8, 8, 1)), here.weights_of(model)\n"
        "want, _ = convnet_oracles.micro(here.MICRO, x, weights)\n"
        "here.near(np.asarray(model(x)), want)\n"
        "model.compile('sgd', 'mse')\n"
        "model.fit(x, np.ones((2, 2)), verbose=0)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    path = str(_ROOT)
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": "jax"},
        check=True,
    )
