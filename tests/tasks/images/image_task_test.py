"""Tests of images as a task: one training, with a folder or without."""

import dataclasses
import gc
import json
import math

import numpy as np
import pytest

from nas_keras.convnets import ConvLayer
from nas_keras.convnets import ConvNetSpec
from nas_keras.tasks import ImageTask
from nas_keras.tasks.images.steps import ImageSteps
from tests.convnet_testing import MICRO
from tests.image_training_testing import NETWORK
from tests.image_training_testing import corners
from tests.image_training_testing import image_config
from tests.image_training_testing import image_training
from tests.image_training_testing import train
from tests.interruption import Stop
from tests.interruption import stop_at
from tests.raising import raises


def _task(**changes):
    return ImageTask(image_training(**changes), corners())


def _same(metrics):
    return {k: v for k, v in metrics.items() if k != "elapsed_s"}


@pytest.fixture(scope="module")
def metrics():
    return _task().train(NETWORK, seed=3)


def test_a_training_in_memory_is_that_with_a_folder(metrics, tmp_path):
    updates = []
    found = _task().train(NETWORK, 3, tmp_path / "its", updates.append)
    assert _same(found) == _same(metrics)
    assert len(updates) == 15
    # Once more, and no update.
    again = _task().train(NETWORK, 3, tmp_path / "its", updates.append)
    assert again == found and len(updates) == 15
    # As a training of its own.
    epochs = train(image_config(seed=3), tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["metrics"].items() <= metrics.items()
    assert metrics["train_loss_nats"] == epochs[-1].train_loss_nats
    assert metrics["num_parameters"] == result["parameters"]
    assert metrics["multiply_adds"] == result["multiply_adds"]


def test_a_training_that_was_stopped_is_resumed(metrics, tmp_path):
    updates = []
    with pytest.raises(Stop):
        _task().train(NETWORK, 3, tmp_path / "its", stop_at(9))
    found = _task().train(NETWORK, 3, tmp_path / "its", updates.append)
    assert len(updates) == 7  # From the snapshot after 8 on.
    assert _same(found) == _same(metrics)


def test_a_folder_belongs_to_one_training(tmp_path):
    _task(num_epochs=1).train(NETWORK, 3, tmp_path)
    with raises("was written by another configuration: settings.seed was 3, "):
        _task(num_epochs=1).train(NETWORK, 4, tmp_path)


def test_seeds_differ(metrics):
    assert _same(_task().train(NETWORK, seed=4)) != _same(metrics)


def test_the_best_of_the_last_epochs_counts(tmp_path):
    epochs = train(image_config(seed=3, num_epochs=6), tmp_path)
    accuracies = [epoch.validation_accuracy for epoch in epochs]
    for num in (1, 2, 4):
        task = _task(num_epochs=6, scored_epochs=num)
        found = task.train(NETWORK, seed=3)
        assert found["validation_accuracy"] == max(accuracies[-num:])
        assert found["train_loss_nats"] == epochs[-1].train_loss_nats


def test_epochs_that_are_not_scored_have_no_figures(tmp_path):
    config = image_config(num_epochs=3, scored_epochs=1)
    epochs = train(config, tmp_path)
    assert [epoch.validation_accuracy is None for epoch in epochs] == [
        True, True, False
    ]  # fmt: skip
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["weights"] == "epoch 3, the best"


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_training_that_diverges_says_so(in_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageSteps, "update", lambda *_: math.nan)
    folder = tmp_path / "its" if in_folder else None
    with raises("diverged before the first update", FloatingPointError):
        _task().train(NETWORK, 0, folder)


def test_networks_without_cells_have_no_drop_path(metrics):
    task = _task(drop_path=0.5, auxiliary_weight=0.4)
    assert _same(task.train(NETWORK, seed=3)) == _same(metrics)
    assert task.size(NETWORK).parameters == metrics["num_parameters"]


def test_the_size_is_that_of_the_model(metrics):
    cost = _task().size(NETWORK)
    assert cost.parameters == 9 * 4 + 8 + 9 * 32 + 16 + 8 * 3 + 3
    assert cost.multiply_adds == metrics["multiply_adds"]
    sizes = [
        _task(**changes).size(MICRO)
        for changes in ({}, {"auxiliary_weight": 0.4, "drop_path": 0.2})
    ]
    assert sizes[0] == sizes[1]


def test_a_network_keeps_the_size_of_its_spec():
    task = _task()
    assert task.resized(NETWORK, 0) is task
    with raises(
        "parameters must be 0 for image networks, whose size is that of their "
        "specs. Received: parameters=1000."
    ):
        task.resized(NETWORK, 1_000)
    with raises(
        "units must be 1 for image networks, whose width is that of their "
        "specs. Received: units=0.5."
    ):
        _task().scaled(units=0.5)


def test_a_smaller_task_has_fewer_epochs_and_images():
    task = _task(num_epochs=10)
    small = task.scaled(updates=0.25, data=0.5)
    assert small.training == task.training.replace(num_epochs=2)
    labels = small.data.train.labels
    assert len(labels) == 27  # Of 54.
    shares = np.bincount(labels) / np.bincount(task.data.train.labels)
    np.testing.assert_allclose(shares, 0.5, atol=0.05)
    assert small.data.validation is not task.data.test
    assert task.scaled(updates=0.001).training.num_epochs == 1
    assert task.scaled() == dataclasses.replace(task)
    with raises("data must be at least 3, an image of each class"):
        task.scaled(data=0.01)
    with raises("batch_size must be at most the 5 training images"):
        task.scaled(data=0.1)


def test_settings_say_what_results_depend_on():
    task = _task()
    settings = json.loads(json.dumps(task.settings()))
    assert settings["data"]["sha256"] == task.data.sha256
    assert settings["task"]["schedule"] == {
        "class": "Cosine", "min_learning_rate": 0.0
    }  # fmt: skip
    assert _task(dropout=0.2).settings()["task"] != settings["task"]
    described = task.metric.describe({"validation_accuracy": 0.5})
    assert described == "validation accuracy 50 %"
    assert task.program(None) is None


def test_images_must_have_a_validation_part():
    with raises(
        "images must have a validation part, by which networks are compared. "
        "Received: none in 'corners'."
    ):
        ImageTask(image_training(), corners(num_validation=0))


def test_children_leave_nothing_behind():
    def num_programs():
        gc.collect()
        kinds = [type(value).__name__ for value in gc.get_objects()]
        return kinds.count("FuncGraph") + kinds.count("ImageSteps")

    task = _task(num_epochs=1, batch_size=54)
    network = ConvNetSpec("one", [ConvLayer("conv", filters=2)])
    task.train(network, seed=0)
    before = num_programs()
    for seed in range(6):
        task.train(network, seed)
    assert num_programs() == before
