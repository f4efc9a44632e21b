"""Tests of grids of trainings: their values, and the one that is chosen."""

import json
import re

import numpy as np
import pytest

from nas_keras.data.images import Images
from nas_keras.data.images import image_set
from nas_keras.tasks import image_grid
from nas_keras.tasks import image_grid_training
from nas_keras.tasks.image_classification import ImageEpoch
from nas_keras.tasks.image_config import ImageConfig
from nas_keras.tasks.training_loop import TrainingError

_CONFIG = ImageConfig("test", batch_size=4)
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
    assert len(image_grid.grid_changes(_CONFIG, paper)) == 16


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
    ],
)
def test_a_grid_is_checked(grid, message):
    with pytest.raises(ValueError, match=message):
        image_grid.grid_changes(_CONFIG, grid)


def _fake(accuracies, select="best"):
    """Returns a `train_images` whose epochs have these accuracies.

    That of a training with an empty list diverges.
    """
    trained = []

    def train(config, images, folder, *rest):
        trained.append((config.learning_rate, config.seed))
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
    monkeypatch.setattr(image_grid_training, "train_images", train)
    config = ImageConfig("test", batch_size=4, select=select)
    epochs = list(
        image_grid_training.train_grid(config, _GRID, _images(), tmp_path)
    )
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
        next(image_grid_training.train_grid(config, other, _images(), tmp_path))


def test_a_grid_of_which_all_diverge_is_an_error(tmp_path, monkeypatch):
    train, _ = _fake([[], []])
    monkeypatch.setattr(image_grid_training, "train_images", train)
    with pytest.raises(TrainingError, match="all 2 trainings of the grid"):
        list(
            image_grid_training.train_grid(
                _CONFIG, {"seed": [0, 1]}, _images(), tmp_path
            )
        )
    assert not (tmp_path / "result.json").exists()


def test_a_grid_needs_validation_images(tmp_path):
    trainings = image_grid_training.train_grid(
        _CONFIG, _GRID, _images(num_validation=0), tmp_path / "run"
    )
    with pytest.raises(ValueError, match="num_validation must be positive"):
        next(trainings)
    assert not (tmp_path / "run").exists()
