"""Tests of the steps of translation models: dropout, gradients, replicas."""

import textwrap

import numpy as np
import pytest

from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.replicas import replicas_of
from nas_keras.tasks.translation import training
from nas_keras.tasks.translation.steps import TranslationSteps
from nas_keras.tasks.translation.task import TranslationTask
from tests import forked
from tests.raising import raises
from tests.translation_testing import phrases
from tests.translation_testing import translation_config


def _steps(config, task):
    spec = training.load_spec(config.cell)
    return TranslationSteps(
        lambda: training.TranslationModel(
            task.training.model, spec, *task.sizes
        ),
        task.training,
        config.seed,
    )


def test_dropout_is_a_function_of_seed_and_update():
    config = translation_config({"dropout": 0.25})
    steps = _steps(config, TranslationTask.of(config.training, phrases()))

    def masks(seed, number, rows=400):
        found = steps._masks(rows, np.array([seed, number], np.int32))
        return {name: np.array(mask) for name, mask in found.items()}

    first = masks(0, 0)
    assert first.keys() == steps.model.dropout_widths().keys()
    for name, mask in first.items():
        assert mask.shape == (400, steps.model.dropout_widths()[name][0])
        assert set(np.unique(mask)) == {0.0, np.float32(1 / 0.75)}
        assert np.mean(mask == 0) == pytest.approx(0.25, abs=0.05)
        np.testing.assert_array_equal(masks(0, 0)[name], mask)
        assert (masks(0, 1)[name] != mask).any()
        assert (masks(1, 0)[name] != mask).any()
    same_width = first["encoder_forward"], first["encoder_backward"]
    assert (same_width[0] != same_width[1]).any()


def test_the_gradient_is_clipped_and_a_mean():
    corpus = phrases()
    moved = []
    for changes in (
        {"clip_norm": 1e-3},
        {"clip_norm": 1e6, "loss_mean": "sentences"},
    ):
        config = translation_config(
            {"dropout": 0.0}, optimizer="sgd", label_smoothing=0.0, **changes
        )
        task = TranslationTask.of(config.training, corpus)
        steps = _steps(config, task)
        source, target = task.encoded(corpus.train).batch([0, 1, 2])
        start = steps.weights()
        steps.update(source, target, 0.5, 0)
        end = steps.weights()
        moved.append(
            np.concatenate(
                [(w - v).ravel() / 0.5 for w, v in zip(start, end, strict=True)]
            )
        )
    clipped, whole = moved
    assert np.linalg.norm(clipped) == pytest.approx(1e-3, rel=1e-2)
    np.testing.assert_allclose(
        clipped / np.linalg.norm(clipped),
        whole / np.linalg.norm(whole),
        rtol=1e-2,
        atol=1e-3,
    )
    # Along the gradient of a mean over sentences, the sum of the losses falls
    # by its squared norm for each sentence.
    rate = 1e-3
    steps.set_weights(start)
    first, _ = steps.score(source, target)
    steps.set_weights(
        [w - rate * (w - v) / 0.5 for w, v in zip(start, end, strict=True)]
    )
    second, _ = steps.score(source, target)
    fall = rate * np.linalg.norm(whole) ** 2 * len(target)
    assert first - second == pytest.approx(fall, rel=0.05)


def test_replicas_are_one_device(tmp_path):
    # Two processors that TensorFlow takes for two: a process of its own.
    code = """
        import sys
        import numpy as np
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        from nas_keras.distribute.cluster import Cluster
        from nas_keras.distribute.replicas import replicas_of
        from nas_keras.tasks import *
        from nas_keras.cells.language.spec import load_spec
        from nas_keras.tasks.translation.steps import TranslationSteps

        shape = TranslationModelConfig(units=4, num_layers=1, dropout=0.3)
        training = TranslationTraining(model=shape)
        rng = np.random.default_rng(0)
        source = rng.integers(4, 9, (5, 4)).astype(np.int32)
        target = rng.integers(4, 9, (5, 6)).astype(np.int32)
        target[1, 3:] = 0
        found = []
        for devices in ([], ["CPU:0", "CPU:1"], ["CPU:1"]):
            steps = TranslationSteps(
                lambda: TranslationModel(shape, load_spec("gru"), 9, 9),
                training, 0, replicas_of(Cluster(), devices))
            losses = [steps.update(source, target, 0.05, k) for k in range(3)]
            losses.append(steps.update(source[:1], target[:1], 0.05, 3))
            found.append([np.array(losses), *steps.weights()])
        assert steps.model.weights[0].value.device.endswith("CPU:1")
        for one, two, alone in zip(*found, strict=True):
            np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(alone, one, rtol=1e-5, atol=1e-6)
        assert found[0][0][0] != found[0][0][1]
    """
    result = forked.run("-c", textwrap.dedent(code))
    assert result.returncode == 0, result.stderr[-2_000:]


@pytest.mark.parametrize("devices", [["GPU:9"], ["cpu"], ["CPU:0", "CPU:0"]])
def test_devices_are_of_this_machine(devices):
    message = f", each at most once. Received: devices={devices}."
    with raises(message):
        replicas_of(Cluster(), devices)
