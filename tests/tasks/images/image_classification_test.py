"""Tests of long trainings of image networks: what they leave and refuse."""

import dataclasses
import json
import math
import shutil
import threading

import keras
import numpy as np
import pytest

from nas_keras.convnets import ConvLayer
from nas_keras.convnets import ConvNetSpec
from nas_keras.convnets import load_convnet
from nas_keras.recipes.trainings import IMAGE_PRESETS
from nas_keras.storage import checkpoints
from nas_keras.tasks.images.config import resized
from nas_keras.tasks.images.steps import ImageSteps
from nas_keras.tasks.images.steps import ImageUpdates
from nas_keras.tasks.images.training import train_images
from nas_keras.tasks.training.files import load_weights
from nas_keras.tasks.training.files import save_weights
from nas_keras.tasks.training.loop import TrainingError
from tests.image_training_testing import NETWORK
from tests.image_training_testing import corners
from tests.image_training_testing import image_config
from tests.image_training_testing import train
from tests.interruption import Stop
from tests.interruption import snapshot
from tests.interruption import stop_at
from tests.raising import raises


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished") / "whole"
    return workdir, train(image_config(), workdir)


def test_an_interrupted_training_is_as_if_it_had_not_been(finished, tmp_path):
    whole, epochs = finished
    with pytest.raises(Stop):  # After a snapshot, in mid-epoch.
        train(image_config(), tmp_path, on_update=stop_at(8))
    again = train(image_config(), tmp_path)
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
    best = _best(epochs)
    assert result["weights"] == f"epoch {best.epoch}, the best"
    metrics = result["metrics"]
    assert metrics["validation_accuracy"] == best.validation_accuracy
    confusion = np.array(result["test_confusion"])
    images = corners()
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
    assert train(image_config(), workdir) == epochs  # And no update.


def test_the_model_takes_pixels(finished):
    workdir, _ = finished
    model = keras.models.load_model(workdir / "model.keras")
    images = corners()
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


def _best(epochs):
    def goodness(epoch):
        return epoch.validation_accuracy, -epoch.validation_loss_nats

    return max(epochs, key=goodness)


def test_the_best_weights_are_those_of_the_best_epoch(finished, tmp_path):
    workdir, epochs = finished
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    step = checkpoints.newest_step(tmp_path / "best")
    assert step == _best(epochs).updates
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
    best = _best(epochs)
    weights = load_weights(tmp_path / "best", best.updates)
    # As of a later epoch, which after a restart was another.
    save_weights(tmp_path / "best", 99, [0 * w for w in weights])
    if is_there:
        train(image_config(), tmp_path)
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
        train(image_config(), tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_a_training_ends_its_thread(tmp_path):
    before = set(threading.enumerate())
    with pytest.raises(Stop):
        train(image_config(), tmp_path, on_update=stop_at(2))
    its = [t for t in threading.enumerate() if t.name.startswith("images")]
    assert not set(its) - before


def test_the_name_of_a_set_is_no_setting_and_is_in_the_result(
    finished, tmp_path
):
    workdir, epochs = finished
    result = json.loads((workdir / "result.json").read_text())
    assert result["images"] == "corners"
    renamed = dataclasses.replace(corners(), name="edges")
    assert train(image_config(), workdir, renamed) == epochs


def test_first_weights_of_no_use_are_said_to_be_the_networks(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(ImageSteps, "update", lambda *_: math.nan)
    message = "before the first update.* Choose fewer layers, or another net"
    with pytest.raises(TrainingError, match=message):
        train(image_config(), tmp_path)


def test_without_validation_the_last_weights_stand(tmp_path):
    config = image_config(num_epochs=2, label_smoothing=0.1)
    (*_, last) = train(config, tmp_path, corners(num_validation=0))
    assert last.validation_accuracy is last.validation_loss_nats is None
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["weights"] == "epoch 2, the last"
    assert {name.split("_")[0] for name in result["metrics"]} == {"test"}
    assert not (tmp_path / "best").exists()


def test_a_training_that_diverges_goes_back_with_half_the_rate(tmp_path):
    config = image_config(num_epochs=1, learning_rate=1e25, schedule="constant")
    with pytest.raises(Exception, match="Gone back 3 times already"):
        train(config, tmp_path)
    assert json.loads((tmp_path / "rollbacks.json").read_text()) == {
        "number": 3
    }


def _score(monkeypatch, *figures):
    """Has images scored an accuracy and a loss, time after time."""
    scores, left = ImageUpdates.scores, iter(figures)

    def scored(self, part):
        accuracy, loss_nats = next(left, figures[-1])
        return dataclasses.replace(
            scores(self, part), accuracy=accuracy, loss_nats=loss_nats
        )

    monkeypatch.setattr(ImageUpdates, "scores", scored)


def test_of_equal_accuracies_that_with_the_smallest_loss_is_the_best(
    tmp_path, monkeypatch
):
    _score(monkeypatch, (0.6, 1.0), (0.7, 3.0), (0.7, 2.0), (0.7, 2.0))
    train(image_config(num_epochs=4), tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["weights"] == "epoch 3, the best"


def test_a_large_validation_loss_of_the_first_epochs_is_borne(
    tmp_path, monkeypatch
):
    _score(monkeypatch, (0.5, 349.3))
    (epoch,) = train(image_config(num_epochs=1), tmp_path)
    assert epoch.validation_loss_nats == 349.3


def test_a_validation_loss_that_is_not_finite_diverges(tmp_path, monkeypatch):
    _score(monkeypatch, (0.5, math.inf))
    message = "a validation loss of inf nats. Gone back 3 times already"
    with pytest.raises(TrainingError, match=message):
        train(image_config(num_epochs=1), tmp_path)


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
        image_config(**changes), corners(), workdir, network=network
    )
    with pytest.raises(ValueError, match=message):
        next(training)
    assert not workdir.exists()


def test_filters_are_in_proportion():
    assert resized(NETWORK, 0) is NETWORK
    found = resized(NETWORK, 6)
    assert [layer.filters for layer in found.layers] == [6, 0, 12]
    macro = resized(load_convnet("enas_macro"), 36)
    assert (macro.filters, macro.layers[0].filters) == (36, 36)
    assert max(layer.filters for layer in macro.layers) == 144
    assert resized(load_convnet("enas_micro"), 20).filters == 20
    pools = ConvNetSpec("pools", [ConvLayer("max_pool", kernel=2)], "residual")
    with raises("filters must be 0 for 'pools', which has no convolution"):
        resized(pools, 4)


def test_presets_name_networks_that_there_are():
    for config in IMAGE_PRESETS.values():
        config.spec()
    macro = IMAGE_PRESETS["enas_macro"].training
    # Whole runs of the cosine: 10 + 20 + 40 + 80 + 160.
    assert macro.num_epochs == sum(10 * 2**k for k in range(5))
    assert IMAGE_PRESETS["enas_micro"].training.num_epochs == 310 + 320


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "mnist"}, "dataset must be one of"),
        ({"optimizer": "lion"}, "optimizer must be one of .*=lion"),
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"normalization": "none"}, "normalization must be one of"),
        ({"precision": "float16"}, "precision must be one of"),
        ({"select": "first"}, "select must be one of"),
        ({"batch_size": 0}, "batch_size must be an int of at least 1"),
        ({"num_epochs": 2.5}, "num_epochs must be an int"),
        ({"cutout": -1}, "cutout must be an int of at least 0"),
        ({"scored_epochs": -1}, "scored_epochs must be an int of at least 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite"),
        ({"min_learning_rate": 0.2}, "min_learning_rate must be at most lear"),
        ({"weight_decay": -1e-4}, "weight_decay must be finite and not neg"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        (
            {"schedule": "step", "decay_from": 1.0},
            r"decay_from must be in \[0, 1\)",
        ),
        ({"schedule": "step", "decay": 0.5}, "decay must be at least 1"),
        ({"num_threads": 1025}, r"num_threads must be an int in \[0, 1024\]"),
        ({"flip": 1}, "flip must be True or False"),
    ],
)
def test_a_training_is_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        image_config(**changes)
