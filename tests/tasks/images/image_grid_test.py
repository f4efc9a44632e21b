"""Tests of grids of trainings: their values, and the one that is chosen."""

import json
import re

import numpy as np
import pytest

from nas_keras.convnets import ConvLayer
from nas_keras.convnets import ConvNetSpec
from nas_keras.convnets import load_convnet
from nas_keras.convnets import save_convnet
from nas_keras.data.images import Images
from nas_keras.data.images import image_set
from nas_keras.tasks.images import grid as image_grid
from nas_keras.tasks.images import steps as image_steps
from nas_keras.tasks.images import training as image_training
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.training import ImageEpoch
from nas_keras.tasks.training.loop import TrainingError
from nas_keras.tasks.training.schedules import Step

_CONFIG = ImageConfig("test", training=ImageTraining(batch_size=4))
_GRID = {"learning_rate": [0.1, 0.2], "seed": [0, 1]}


def _images(num_validation=4):
    pixels = np.zeros((20, 8, 8, 1), np.uint8)
    images = Images(pixels, np.arange(20) % 2)
    return image_set(
        images, images, ("a", "b"), name="x", num_validation=num_validation
    )


def test_a_text_is_a_grid():
    assert image_grid.grid_from_text("") == {}
    text = "learning_rate=0.1,2e-1  seed=0,1 optimizer=adam"
    assert image_grid.grid_from_text(text) == {
        **_GRID,
        "optimizer": ["adam"],
    }
    paper = image_grid.grid_from_text("paper")
    assert {*paper} == {
        "learning_rate",
        "weight_decay",
        "norm_epsilon",
        "decay_from",
    }
    training = _CONFIG.training.replace(schedule=Step())
    config = _CONFIG.replace(training=training)
    assert len(image_grid.grid_changes(config, paper)) == 16


@pytest.mark.parametrize(
    "part",
    ["rate=1", "seed=0.5", "seed=", "seed", "seed=1", "flip=1", "dataset=x"],
)
def test_a_text_that_is_no_grid_is_an_error(part):
    message = f"Received: {part!r} in 'seed=0,1 {part}'."
    with pytest.raises(ValueError, match=re.escape(message)):
        image_grid.grid_from_text(f"seed=0,1 {part}")


def test_each_value_goes_with_each():
    assert image_grid.grid_changes(_CONFIG, _GRID) == [
        {"learning_rate": 0.1, "seed": 0},
        {"learning_rate": 0.1, "seed": 1},
        {"learning_rate": 0.2, "seed": 0},
        {"learning_rate": 0.2, "seed": 1},
    ]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({}, "A grid must have a name with values"),
        ({"seed": []}, "must have values of each name. Received: seed=()"),
        ({"max_train": [1]}, "A grid must be of some of .*'max_train'"),
        ({"momentum": [0.9, 1.0]}, "momentum must be in .*momentum=1.0"),
        ({"num_threads": [1, 2]}, "of some of .*Received: 'num_threads'"),
        ({"snapshot_updates": [1]}, "some of .*Received: 'snapshot_updates'"),
        ({"seed": [1, 0, 1]}, r"Received: 1 again in seed=\(1, 0, 1\)"),
        ({"scored_epochs": [1]}, "some of .*Received: 'scored_epochs'"),
        (
            {"decay": [4.0]},
            "decay must be left out where training.schedule is 'cosine', whose "
            r"settings are \['min_learning_rate'\]. Received: decay=4.0.",
        ),
        ({"decay_from": [0.5]}, "decay_from must be left out where .*'cosine'"),
        ({"num_decays": [1, 2]}, "num_decays must be left out"),
        (
            {"restart_epochs": [1, 2]},
            "restart_epochs must be left out .*'cosine'",
        ),
        ({"restart_factor": [1, 2]}, "restart_factor must be left out"),
        (
            {"schedule": ["step", "cosine"], "decay": [4.0, 5.0]},
            "decay must be left out where training.schedule is 'cosine'",
        ),
        (
            {"schedule": ["step"], "min_learning_rate": [0.0, 0.01]},
            "min_learning_rate must be left out .*'step'.*'num_decays'",
        ),
        (
            {"momentum": [0.8, 0.9], "optimizer": ["sgd", "adam"]},
            r"momentum must be left out where training.optimizer is 'adam', "
            r"whose settings are \[\]",
        ),
        (
            {"optimizer": ["sgd", "lion"]},
            r"optimizer must be one of \['nesterov', 'sgd', 'adam'\]. "
            "Received: optimizer=lion.",
        ),
    ],
)
def test_the_names_and_values_of_a_grid_are_checked(grid, message):
    with pytest.raises(ValueError, match=message):
        image_grid.grid_changes(_CONFIG, grid)


def _fake(accuracies, select="best"):
    """Returns a `train_images` whose epochs have these accuracies.

    That of a training with an empty list diverges.
    """
    trained = []

    def train(config, images, folder, *rest):
        trained.append((config.training.learning_rate, config.seed))
        its = accuracies[len(trained) - 1]
        folder.mkdir(parents=True)
        for number, accuracy in enumerate(its):
            yield ImageEpoch(number + 1, 1, 0.1, 1.0, 1.0, accuracy, 0, 1.0)
        if not its:
            raise TrainingError("diverged")
        (folder / "result.json").write_text(json.dumps({"name": folder.name}))

    return train, trained


@pytest.mark.parametrize(
    ("select", "chosen"), [("best", 2), ("last", 3)]
)  # fmt: skip
def test_validation_chooses(select, chosen, tmp_path, monkeypatch):
    train, trained = _fake([[0.2, 0.3], [], [0.8, 0.1], [0.5, 0.5]])
    monkeypatch.setattr(image_training, "train_images", train)
    training = ImageTraining(batch_size=4, select=select)
    config = ImageConfig("test", training=training)
    epochs = list(image_grid.train_grid(config, _GRID, _images(), tmp_path))
    assert trained == [(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)]
    assert [epoch.number for epoch in epochs] == [0, 0, 2, 2, 3, 3]
    assert epochs[-1].folder == tmp_path / "grid" / "03"
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["name"] == f"{chosen:02d}"
    assert result["chosen"] == chosen
    assert result["folder"] == f"grid/{chosen:02d}"
    best = {"best": [0.3, None, 0.8, 0.5], "last": [0.3, None, 0.1, 0.5]}
    assert [row["accuracy"] for row in result["grid"]] == best[select]
    assert result["grid"][1]["problem"] == "diverged"
    other = {"learning_rate": [0.1, 0.3]}
    with pytest.raises(ValueError, match="settings.grid.learning_rate was"):
        next(image_grid.train_grid(config, other, _images(), tmp_path))


def test_a_grid_of_which_all_diverge_is_an_error(tmp_path, monkeypatch):
    train, _ = _fake([[], []])
    monkeypatch.setattr(image_training, "train_images", train)
    with pytest.raises(TrainingError, match="all 2 trainings of the grid"):
        list(
            image_grid.train_grid(
                _CONFIG, {"seed": [0, 1]}, _images(), tmp_path
            )
        )
    assert not (tmp_path / "result.json").exists()


_STRIDED = ConvNetSpec("strided", [ConvLayer("conv", filters=4, stride=9)])
_NARROWING = ConvNetSpec(
    "narrowing",
    [ConvLayer("conv", filters=16), ConvLayer("conv", filters=4, inputs=[0])],
)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"batch_size": [4, 17]}, "training 1 of the grid, {'batch_size': 17}: "
         "batch_size must be at most the 16 training images"),
        ({"network": ["resnet_20", "none"]},
         "training 1 of the grid, {'network': 'none'}: No network is named"),
        ({"network": ["resnet_20", "strided.json"]},
         "'strided.json'}: network 'strided': layer_0: stride must be at most"),
        ({"network": ["narrowing.json"], "filters": [16, 3]},
         "'filters': 3}: filters must give each layer of 'narrowing'"),
        ({"auxiliary_weight": [0.0, 0.4]}, "'auxiliary_weight': 0.4}: "),
        ({"drop_path": [0.0, 0.4]}, "'drop_path': 0.4}: "),
    ],
)  # fmt: skip
def test_all_trainings_are_checked_before_the_first(
    grid, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for network in (_STRIDED, _NARROWING):
        save_convnet(network, f"{network.name}.json")
    trainings = image_grid.train_grid(
        _CONFIG, grid, _images(), tmp_path / "run"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        next(trainings)
    assert not (tmp_path / "run").exists()


def test_each_network_is_built_once(tmp_path, monkeypatch):
    train, _ = _fake([[0.5]] * 8)
    monkeypatch.setattr(image_training, "train_images", train)
    built = []
    monkeypatch.setattr(
        image_steps,
        "network_of",
        lambda training, spec, shape, classes: built.append(
            (spec.layers[0].filters, shape, classes)
        ),
    )
    grid = {"seed": [0, 1], "filters": [8, 16], "learning_rate": [0.1, 0.2]}
    list(image_grid.train_grid(_CONFIG, grid, _images(), tmp_path))
    assert built == [(8, (8, 8, 1), 2), (16, (8, 8, 1), 2)]


def test_a_network_beside_a_grid_of_networks_is_refused():
    network = load_convnet("resnet_20")
    grid = {"network": ["enas_macro"]}
    message = "network must be left out .*network='resnet_20' and a grid of"
    with pytest.raises(ValueError, match=message):
        image_grid.grid_trainings(_CONFIG, grid, network)


def test_a_grid_needs_validation_images(tmp_path):
    trainings = image_grid.train_grid(
        _CONFIG, _GRID, _images(num_validation=0), tmp_path / "run"
    )
    with pytest.raises(ValueError, match="num_validation must be positive"):
        next(trainings)
    assert not (tmp_path / "run").exists()
