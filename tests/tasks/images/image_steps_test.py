"""Tests of steps of image networks: against NumPy, on replicas, on JAX."""

import gc
import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from nas_keras.convnets.drop_path import DropPath
from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.replicas import OneReplica
from nas_keras.distribute.replicas import replicas_of
from nas_keras.tasks.images.batches import normalization_of
from nas_keras.tasks.images.steps import ImageSteps
from nas_keras.tasks.images.steps import network_of
from nas_keras.tasks.images.steps import optimizer_of
from nas_keras.tasks.images.steps import usable
from nas_keras.tasks.training.gradients import apply
from tests import forked
from tests.image_training_testing import NETWORK
from tests.image_training_testing import corners
from tests.image_training_testing import image_training

# A network that is as simple as can be.


_ROOT = pathlib.Path(__file__).resolve().parents[3]


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
    config = image_training(
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
        if config.optimizer.nesterov:
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
    config = image_training(
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

    steps = ImageSteps(model, image_training())
    (layer,) = (k for k in steps.model.layers if isinstance(k, DropPath))
    steps.update(*_batch(), 0.1, 0.375)
    assert float(layer.progress) == 0.375
    assert [v.name for v in steps.variables["generator"]] == [
        "seed_generator_state"
    ]


def test_precision_and_epsilon_reach_the_layers():
    config = image_training(precision="mixed_bfloat16", norm_epsilon=0.03)
    model = network_of(config, NETWORK, (6, 6, 1), 3)
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
    pixels = corners().test.pixels
    normalized = normalization_of("whitening", pixels)
    model = network_of(image_training(), NETWORK, (6, 6, 1), 3)
    np.testing.assert_allclose(
        usable(model, normalized)(pixels),
        model(normalized(pixels)),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("name", ["nesterov", "sgd", "adam"])
def test_a_step_of_an_optimizer_is_that_of_keras(name):
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=(3, 2, 4)).astype(np.float32)
                 for _ in range(2)]  # fmt: skip
    found = []
    for take in (apply, keras.optimizers.Optimizer.apply):
        weights = [keras.Variable(np.ones((2, 4))) for _ in gradients]
        optimizer = optimizer_of(image_training(optimizer=name))
        optimizer.build(weights)
        for k, rate in enumerate((0.1, 0.1, 0.03)):
            optimizer.learning_rate = rate
            take(optimizer, [g[k] for g in gradients], weights)
        values = [*weights, *optimizer.variables]
        found.append([np.array(value) for value in values])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert found[0][2] == 3  # Iterations.


def _num_programs():
    gc.collect()
    kind = "FuncGraph"  # What TensorFlow has traced a function into.
    return sum(type(value).__name__ == kind for value in gc.get_objects())


def test_the_program_of_a_training_goes_with_it():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(10, 6, 6, 1)).astype(np.float32)
    labels = rng.integers(0, 3, 10).astype(np.int32)
    config = image_training()
    before = _num_programs()
    steps = ImageSteps(
        lambda: network_of(config, NETWORK, (6, 6, 1), 3), config
    )
    steps.update(images, labels, 0.05, 0.5)
    steps.score(images, labels)
    assert _num_programs() > before
    del steps
    assert _num_programs() == before


def test_replicas_are_one_device():
    # Two processors that TensorFlow takes for two: a process of its own.
    code = """
        import numpy as np
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        from tests.image_training_testing import NETWORK, image_training
        from nas_keras.distribute.cluster import Cluster
        from nas_keras.distribute.replicas import replicas_of
        from nas_keras.tasks.images.steps import ImageSteps, network_of

        rng = np.random.default_rng(0)
        images = rng.normal(size=(10, 6, 6, 1)).astype(np.float32)
        labels = rng.integers(0, 3, 10).astype(np.int32)
        config = image_training(dropout=0.0, label_smoothing=0.1)
        found = []
        for devices in ([], ["CPU:0", "CPU:1"]):
            steps = ImageSteps(
                lambda: network_of(config, NETWORK, (6, 6, 1), 3),
                config, replicas_of(Cluster(), devices))
            losses = [steps.update(images, labels, 0.05, 0.5) for _ in range(3)]
            scores = steps.score(images, labels)
            found.append([np.array(losses), *steps.weights(), *scores])
        for one, two in zip(*found, strict=True):
            np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-4)
        config = image_training(dropout=0.3)  # Draws of its own on each.
        steps = ImageSteps(
            lambda: network_of(config, NETWORK, (6, 6, 1), 3),
            config, replicas_of(Cluster(), ["CPU:0", "CPU:1"]))
        assert steps.update(images, labels, 0.05, 0.5) > 0
        try:
            odd = image_training(batch_size=5)
            ImageSteps(None, odd, replicas_of(Cluster(), ["CPU:0", "CPU:1"]))
        except ValueError as error:
            assert "batch_size=5 for 2 replicas" in str(error)
        else:
            raise SystemExit("5 images were shared out to 2 replicas")
    """
    result = forked.run("-c", textwrap.dedent(code))
    assert result.returncode == 0, result.stderr[-3_000:]


def test_replicas_are_those_of_tensorflow(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert isinstance(replicas_of(Cluster()), OneReplica)
    message = (
        "devices must be left out on a backend other than TensorFlow: one "
        r"device trains. Received: devices=\['GPU:1'\]."
    )
    with pytest.raises(ValueError, match=message):
        replicas_of(Cluster(), ["GPU:1"])


def _known_figures():
    """Returns losses and scores of known weights: the same on any backend."""
    config = image_training(dropout=0.0, label_smoothing=0.1)
    steps = ImageSteps(
        lambda: network_of(config, NETWORK, (6, 6, 1), 3), config
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
        import json
        import pathlib
        import sys
        from tests.tasks.images.image_steps_test import _known_figures
        from tests.image_training_testing import image_config, train
        from tests.interruption import Stop, stop_at

        folder = pathlib.Path(sys.argv[1])
        figures = _known_figures()
        (folder / "figures.json").write_text(json.dumps(figures))
        # Saving a model imports TensorFlow, if it is there; nothing else.
        assert "tensorflow" not in sys.modules
        config = image_config(num_epochs=2)
        train(config, folder / "whole")
        try:
            train(config, folder / "cut", on_update=stop_at(7))
        except Stop:
            train(config, folder / "cut")
    """
    path = os.pathsep.join([str(_ROOT), *filter(None, sys.path)])
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
