"""Tests of long trainings of image networks: their steps, what they leave."""

import dataclasses
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import textwrap
import threading

import keras
import numpy as np
import pytest

import forked
from interruption import Stop
from interruption import snapshot
from interruption import stop_at
from nas_keras.convnets import ConvLayer
from nas_keras.convnets import ConvNetSpec
from nas_keras.convnets import load_convnet
from nas_keras.convnets.drop_path import DropPath
from nas_keras.data.images import Images
from nas_keras.data.images import image_set
from nas_keras.storage import checkpoints
from nas_keras.tasks.image_batches import normalization_of
from nas_keras.tasks.image_classification import train_images
from nas_keras.tasks.image_config import ImageConfig
from nas_keras.tasks.image_config import resized
from nas_keras.tasks.image_network import network_of
from nas_keras.tasks.image_network import usable
from nas_keras.tasks.image_presets import IMAGE_PRESETS
from nas_keras.tasks.image_steps import ImageSteps
from nas_keras.tasks.training_files import load_weights
from nas_keras.tasks.training_files import save_weights
from nas_keras.tasks.training_loop import TrainingError

_NETWORK = ConvNetSpec(
    "small",
    [
        ConvLayer("conv", filters=4),
        ConvLayer("max_pool", kernel=2, stride=2, inputs=[0]),
        ConvLayer("conv", filters=8, inputs=[1]),
    ],
)


def _images(num_validation=16):
    """Returns bright squares on noise; the corner they are in is the class."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 90, (100, 6, 6, 1), dtype=np.uint8)
    labels = rng.integers(0, 3, 100).astype(np.int32)
    for image, label in zip(pixels, labels, strict=True):
        row, column = divmod(label, 2)
        image[3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 120
    parts = Images(pixels, labels)
    return image_set(
        parts.take(np.arange(70)),
        parts.take(np.arange(70, 100)),
        ("left", "right", "below"),
        name="corners",
        num_validation=num_validation,
    )


def _config(**changes):
    return ImageConfig(
        "test",
        **{
            "batch_size": 10,
            "num_epochs": 3,
            "padding": 1,
            "flip": False,
            "dropout": 0.1,
            "snapshot_updates": 2,
            **changes,
        },
    )


def _train(config, workdir, images=None, **options):
    images = images or _images()
    return list(
        train_images(config, images, workdir, network=_NETWORK, **options)
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished") / "whole"
    return workdir, _train(_config(), workdir)


def test_an_interrupted_training_is_as_if_it_had_not_been(finished, tmp_path):
    whole, epochs = finished
    with pytest.raises(Stop):  # After a snapshot, in mid-epoch.
        _train(_config(), tmp_path, on_update=stop_at(8))
    again = _train(_config(), tmp_path)
    assert [dataclasses.replace(e, elapsed_s=0) for e in again] == [
        dataclasses.replace(e, elapsed_s=0) for e in epochs
    ]
    (step, place, arrays), other = (
        snapshot(whole),
        snapshot(tmp_path),
    )
    assert (step, place) == other[:2]
    assert arrays.keys() == other[2].keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(other[2][name], array, name)


def test_a_finished_training_says_what_it_came_to(finished):
    workdir, epochs = finished
    result = json.loads((workdir / "result.json").read_text())
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert [epoch.updates for epoch in epochs] == [5, 10, 15]
    assert epochs[-1].train_loss_nats < epochs[0].train_loss_nats
    best = max(epochs, key=lambda epoch: epoch.validation_accuracy)
    assert result["weights"] == f"epoch {best.epoch}, the best"
    metrics = result["metrics"]
    assert metrics["validation_accuracy"] == best.validation_accuracy
    confusion = np.array(result["test_confusion"])
    images = _images()
    np.testing.assert_array_equal(
        confusion.sum(1), np.bincount(images.test.labels)
    )
    assert metrics["test_accuracy"] == np.trace(confusion) / 30
    assert metrics["test_error_percent"] == pytest.approx(
        100 * (1 - metrics["test_accuracy"])
    )
    assert result["class_names"] == ["left", "right", "below"]
    # Kernels, batch norm, and the classifier.
    assert result["parameters"] == 9 * 4 + 8 + 9 * 32 + 16 + 8 * 3 + 3
    assert result["multiply_adds"] == 36 * 36 + 9 * 9 * 32 + 24
    assert result["network"]["name"] == "small"
    assert _train(_config(), workdir) == epochs  # And no update.


def test_the_model_takes_pixels(finished):
    workdir, _ = finished
    model = keras.models.load_model(workdir / "model.keras")
    images = _images()
    logits = np.array(model(images.test.pixels))
    result = json.loads((workdir / "result.json").read_text())
    found = logits.argmax(-1)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (images.test.labels, found), 1)
    assert confusion.tolist() == result["test_confusion"]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    nats = -log_p[np.arange(30), images.test.labels]
    assert nats.mean() == pytest.approx(
        result["metrics"]["test_loss_nats"], rel=1e-4
    )


def test_the_best_weights_are_those_of_the_best_epoch(finished, tmp_path):
    workdir, epochs = finished
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    accuracies = [epoch.validation_accuracy for epoch in epochs]
    best = accuracies.index(max(accuracies))
    step = checkpoints.newest_step(tmp_path / "best")
    assert step == epochs[best].updates
    _, arrays = checkpoints.latest(tmp_path / "best")
    # Two kernels, of each batch norm four, and the classifier's two.
    assert len(arrays) == 2 + 2 * 4 + 2


@pytest.mark.parametrize("is_there", [True, False])
def test_the_history_says_which_weights_are_the_best(
    is_there, finished, tmp_path
):
    workdir, epochs = finished
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    (tmp_path / "result.json").unlink()
    best = max(epochs, key=lambda epoch: epoch.validation_accuracy)
    weights = load_weights(tmp_path / "best", best.updates)
    # As of a later epoch, which after a restart was another.
    save_weights(tmp_path / "best", 99, [0 * w for w in weights])
    if is_there:
        _train(_config(), tmp_path)
        results = [
            json.loads((folder / "result.json").read_text())
            for folder in (workdir, tmp_path)
        ]
        assert results[0]["metrics"] == results[1]["metrics"]
        assert results[1]["weights"] == f"epoch {best.epoch}, the best"
        return
    (tmp_path / "best" / f"step_{best.updates:08d}.npz").unlink()
    message = f"best: the best weights after {best.updates} updates are "
    with pytest.raises(ValueError, match=message):
        _train(_config(), tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_a_training_ends_its_thread(tmp_path):
    before = set(threading.enumerate())
    with pytest.raises(Stop):
        _train(_config(), tmp_path, on_update=stop_at(2))
    its = [t for t in threading.enumerate() if t.name.startswith("images")]
    assert not set(its) - before


def test_the_name_of_a_set_is_no_setting_and_is_in_the_result(
    finished, tmp_path
):
    workdir, epochs = finished
    result = json.loads((workdir / "result.json").read_text())
    assert result["images"] == "corners"
    renamed = dataclasses.replace(_images(), name="edges")
    assert _train(_config(), workdir, renamed) == epochs


def test_first_weights_of_no_use_are_said_to_be_the_networks(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(ImageSteps, "update", lambda *_: math.nan)
    message = "before the first update.* Choose fewer layers, or another net"
    with pytest.raises(TrainingError, match=message):
        _train(_config(), tmp_path)


def test_without_validation_the_last_weights_stand(tmp_path):
    config = _config(num_epochs=2, label_smoothing=0.1)
    (*_, last) = _train(config, tmp_path, _images(num_validation=0))
    assert last.validation_accuracy is last.validation_loss_nats is None
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["weights"] == "epoch 2, the last"
    assert {name.split("_")[0] for name in result["metrics"]} == {"test"}
    assert not (tmp_path / "best").exists()


def test_a_training_that_diverges_goes_back_with_half_the_rate(tmp_path):
    config = _config(num_epochs=1, learning_rate=1e25, schedule="constant")
    with pytest.raises(Exception, match="Gone back 3 times already"):
        _train(config, tmp_path)
    assert json.loads((tmp_path / "rollbacks.json").read_text()) == {
        "number": 3
    }


@pytest.mark.parametrize(
    ("layer", "changes", "message"),
    [
        ({}, {"batch_size": 55}, "batch_size must be at most the 54 training"),
        ({}, {"auxiliary_weight": 0.4}, "only one of cells, a MicroNetSpec"),
        ({"filters": 6}, {"filters": 3}, "filters must give each layer of 'sm"),
        ({"stride": 7, "filters": 4}, {}, "stride must be .*stride=.7, 7."),
    ],
)
def test_what_does_not_fit_is_refused(layer, changes, message, tmp_path):
    layers = [ConvLayer("conv", filters=4)]
    if layer:
        layers.append(ConvLayer("conv", **layer, inputs=[0]))
    network = ConvNetSpec("small", layers)
    workdir = tmp_path / "run"
    training = train_images(
        _config(**changes), _images(), workdir, network=network
    )
    with pytest.raises(ValueError, match=message):
        next(training)
    assert not workdir.exists()


# The steps, of a network that is as simple as can be.


def _linear(num_outputs=1):
    """Returns logits of 2 by 2 points, linear, of one or two classifiers."""
    inputs = keras.Input((2, 2, 1))
    x = keras.layers.Flatten()(inputs)
    outputs = [keras.layers.Dense(3, name=f"d{k}")(x)
               for k in range(num_outputs)]  # fmt: skip
    model = keras.Model(inputs, outputs if num_outputs > 1 else outputs[0])
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    return model


def _batch(num=5):
    rng = np.random.default_rng(2)
    images = rng.normal(size=(num, 2, 2, 1)).astype(np.float32)
    return images, rng.integers(0, 3, num).astype(np.int32)


def _gradients(images, labels, kernel, bias, smoothing):
    """Returns the gradients of softmax regression, and -log p [B]."""
    x = images.reshape(len(images), -1).astype(np.float64)
    logits = x @ kernel + bias
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    wanted = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    errors = (p - wanted) / len(images)
    nats = -np.log(p[np.arange(len(images)), labels])
    return [x.T @ errors, errors.sum(0)], nats


def _moved(velocity, gradients, rate):
    return [
        0.8 * v - rate * g for v, g in zip(velocity, gradients, strict=True)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"weight_decay": 0.0, "label_smoothing": 0.0, "optimizer": "sgd"},
        {"clip_norm": 0.05},
    ],
)
def test_updates_are_as_in_numpy(changes):
    config = _config(
        **{"weight_decay": 0.1, "label_smoothing": 0.3, "momentum": 0.8}
        | changes
    )
    steps = ImageSteps(_linear, config)
    weights = [w.astype(np.float64) for w in steps.weights()]
    velocity = [np.zeros_like(w) for w in weights]
    images, labels = _batch()
    for rate in (0.5, 0.2):
        gradients, nats = _gradients(
            images, labels, *weights, config.label_smoothing
        )
        if config.clip_norm:
            norm = math.sqrt(sum((g**2).sum() for g in gradients))
            gradients = [g * config.clip_norm / norm for g in gradients]
        gradients[0] = gradients[0] + config.weight_decay * weights[0]
        velocity = _moved(velocity, gradients, rate)
        moves = velocity
        if config.optimizer == "nesterov":
            moves = _moved(velocity, gradients, rate)
        weights = [w + m for w, m in zip(weights, moves, strict=True)]
        loss = steps.update(images, labels, rate, 0.0)
        assert loss == pytest.approx(nats.mean(), rel=1e-5)
    for found, wanted in zip(steps.weights(), weights, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    _, nats = _gradients(images, labels, *weights, 0.0)
    found, classes = steps.score(images, labels)
    np.testing.assert_allclose(found, nats, rtol=1e-4, atol=1e-5)
    x = images.reshape(5, -1)
    np.testing.assert_array_equal(
        classes, (x @ weights[0] + weights[1]).argmax(-1)
    )


def test_the_auxiliary_loss_has_its_weight():
    config = _config(
        auxiliary_weight=0.25, weight_decay=0.0, optimizer="sgd", momentum=0.0
    )
    steps = ImageSteps(lambda: _linear(2), config)
    before = steps.weights()
    images, labels = _batch()
    loss = steps.update(images, labels, 1.0, 0.0)
    after = steps.weights()
    for place, weight in ((0, 1.0), (2, 0.25)):
        wanted, nats = _gradients(
            images, labels, *before[place : place + 2], 0.0
        )
        for k in (0, 1):
            np.testing.assert_allclose(
                before[place + k] - after[place + k],
                weight * wanted[k],
                rtol=1e-4,
                atol=1e-6,
            )
        if place == 0:
            assert loss == pytest.approx(nats.mean(), rel=1e-5)


def test_what_is_dropped_follows_the_training():
    def model():
        inputs = keras.Input((2, 2, 1))
        x = DropPath(seed=0)(inputs, rate=0.5)
        return keras.Model(
            inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x))
        )

    steps = ImageSteps(model, _config())
    (layer,) = (k for k in steps.model.layers if isinstance(k, DropPath))
    steps.update(*_batch(), 0.1, 0.375)
    assert float(layer.progress) == 0.375
    assert [v.name for v in steps.variables["generator"]] == [
        "seed_generator_state"
    ]


def test_precision_and_epsilon_reach_the_layers():
    config = _config(precision="mixed_bfloat16", norm_epsilon=0.03)
    model = network_of(config, _NETWORK, (6, 6, 1), 3)
    assert {
        layer.epsilon for layer in model.layers if "norm" in layer.name
    } == {0.03}
    assert model.layers[1].compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"
    rng = np.random.default_rng(0)
    images = rng.normal(size=(4, 6, 6, 1)).astype(np.float32)
    logits = model(images)
    assert logits.dtype == "float32"


def test_a_whitened_image_is_the_same_in_the_model_that_is_kept():
    pixels = _images().test.pixels
    normalized = normalization_of("whitening", pixels)
    model = network_of(_config(), _NETWORK, (6, 6, 1), 3)
    np.testing.assert_allclose(
        usable(model, normalized)(pixels),
        model(normalized(pixels)),
        rtol=1e-3,
        atol=1e-4,
    )


def test_filters_are_in_proportion():
    assert resized(_NETWORK, 0) is _NETWORK
    found = resized(_NETWORK, 6)
    assert [layer.filters for layer in found.layers] == [6, 0, 12]
    macro = resized(load_convnet("enas_macro"), 36)
    assert (macro.filters, macro.layers[0].filters) == (36, 36)
    assert max(layer.filters for layer in macro.layers) == 144
    assert resized(load_convnet("enas_micro"), 20).filters == 20


def test_presets_name_networks_that_there_are():
    for config in IMAGE_PRESETS.values():
        resized(load_convnet(config.network), config.filters)
    macro = IMAGE_PRESETS["enas_macro"]
    # Whole runs of the cosine: 10 + 20 + 40 + 80 + 160.
    assert macro.num_epochs == sum(10 * 2**k for k in range(5))
    assert IMAGE_PRESETS["enas_micro"].num_epochs == 310 + 320


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "mnist"}, "dataset must be one of"),
        ({"optimizer": "lion"}, "optimizer must be one of .*'lion'"),
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"normalization": "none"}, "normalization must be one of"),
        ({"precision": "float16"}, "precision must be one of"),
        ({"select": "first"}, "select must be one of"),
        ({"batch_size": 0}, "batch_size must be an int of at least 1"),
        ({"num_epochs": 2.5}, "num_epochs must be an int"),
        ({"cutout": -1}, "cutout must be an int of at least 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite"),
        ({"min_learning_rate": 0.2}, "min_learning_rate must be at most lear"),
        ({"weight_decay": -1e-4}, "weight_decay must be finite and not neg"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"decay_from": 1.0}, r"decay_from must be in \[0, 1\)"),
        ({"flip": 1}, "flip must be True or False"),
    ],
)
def test_a_training_is_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        _config(**changes)


def test_replicas_are_one_device():
    # Two processors that TensorFlow takes for two: a process of its own.
    code = """
        import numpy as np
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        from image_classification_test import _NETWORK, _config
        from nas_keras.search.cluster import Cluster
        from nas_keras.search.replicas import replicas_of
        from nas_keras.tasks.image_network import network_of
        from nas_keras.tasks.image_steps import ImageSteps

        rng = np.random.default_rng(0)
        images = rng.normal(size=(10, 6, 6, 1)).astype(np.float32)
        labels = rng.integers(0, 3, 10).astype(np.int32)
        config = _config(dropout=0.0, label_smoothing=0.1)
        found = []
        for devices in ([], ["CPU:0", "CPU:1"]):
            steps = ImageSteps(
                lambda: network_of(config, _NETWORK, (6, 6, 1), 3),
                config, replicas_of(Cluster(), devices))
            losses = [steps.update(images, labels, 0.05, 0.5) for _ in range(3)]
            scores = steps.score(images, labels)
            found.append([np.array(losses), *steps.weights(), *scores])
        for one, two in zip(*found, strict=True):
            np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-4)
        config = _config(dropout=0.3)  # Draws of its own on each.
        steps = ImageSteps(
            lambda: network_of(config, _NETWORK, (6, 6, 1), 3),
            config, replicas_of(Cluster(), ["CPU:0", "CPU:1"]))
        assert steps.update(images, labels, 0.05, 0.5) > 0
        try:
            odd = _config(batch_size=5)
            ImageSteps(None, odd, replicas_of(Cluster(), ["CPU:0", "CPU:1"]))
        except ValueError as error:
            assert "batch_size=5 for 2 replicas" in str(error)
        else:
            raise SystemExit("5 images were shared out to 2 replicas")
    """
    result = forked.run("-c", textwrap.dedent(code))
    assert result.returncode == 0, result.stderr[-3_000:]


def _known_figures():
    """Returns losses and scores of known weights: the same on any backend."""
    config = _config(dropout=0.0, label_smoothing=0.1)
    steps = ImageSteps(
        lambda: network_of(config, _NETWORK, (6, 6, 1), 3), config
    )
    rng = np.random.default_rng(0)
    # None below zero: a variance is one of them.
    steps.set_weights([rng.random(w.shape) for w in steps.weights()])
    images = rng.normal(size=(10, 6, 6, 1)).astype(np.float32)
    labels = rng.integers(0, 3, 10).astype(np.int32)
    losses = [steps.update(images, labels, 0.05, 0.5) for _ in range(3)]
    return [*losses, *steps.score(images, labels)[0].tolist()]


def test_jax_trains_as_tensorflow_does(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed.")
    code = """
        import dataclasses
        import json
        import pathlib
        import sys
        import image_classification_test as its

        folder = pathlib.Path(sys.argv[1])
        figures = its._known_figures()
        (folder / "figures.json").write_text(json.dumps(figures))
        # Saving a model imports TensorFlow, if it is there; nothing else.
        assert "tensorflow" not in sys.modules
        config = its._config(num_epochs=2)
        its._train(config, folder / "whole")
        try:
            its._train(config, folder / "cut", on_update=its.stop_at(7))
        except its.Stop:
            its._train(config, folder / "cut")
    """
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": "jax"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3_000:]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures == pytest.approx(_known_figures(), rel=1e-3, abs=1e-4)
    metrics = [
        json.loads((tmp_path / name / "result.json").read_text())["metrics"]
        for name in ("whole", "cut")
    ]
    assert metrics[0] == metrics[1]
