"""Tests of epochs of long trainings: weights kept, results, what is refused."""

import dataclasses
import json
import re

import numpy as np
import pytest

from nas_keras.cells.language.spec import load_spec
from nas_keras.storage import locks
from nas_keras.tasks import LanguageModelTask
from nas_keras.tasks import LanguageModelTrainer
from nas_keras.tasks.language_model import training
from nas_keras.tasks.language_model.steps import stream_array
from nas_keras.tasks.language_model.steps import windows_of
from nas_keras.tasks.training import compilation
from nas_keras.tasks.training.files import Folder
from nas_keras.tasks.training.files import Memory
from tests.interruption import snapshot
from tests.language_model_testing import model_config
from tests.language_model_testing import sentences
from tests.language_model_testing import train
from tests.language_model_testing import training_config


@pytest.mark.parametrize("cell", ["lstm", "nascell"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_training_is_that_of_a_child(cell, optimizer, tmp_path):
    model = model_config(
        num_epochs=2,
        optimizer=optimizer,
        learning_rate=0.05,
        num_layers=2,
        tied=True,
        use_bias=True,
        schedule="step",
        decay=3.0,
        decay_epoch=1,
        embedding_dropout=0.1,
        input_dropout=0.2,
        layer_dropout=0.1,
        output_dropout=0.3,
        recurrent_dropout=0.2,
        activation_penalty=0.5,
        slowness_penalty=0.5,
        weight_decay=0.01,
    )
    config = dataclasses.replace(
        training_config(cell=cell, seed=5), model=model
    )
    train(config, tmp_path)
    task = LanguageModelTask(model, sentences())
    child = LanguageModelTrainer(task, task.model(load_spec(cell)))
    child.train(5)
    _, place, arrays = snapshot(tmp_path)
    assert place["updates"] == child.num_updates > 10
    for k, variable in enumerate(child.model.trainable_variables):
        np.testing.assert_allclose(
            arrays[f"weight/{k:04d}"], np.array(variable), rtol=1e-4, atol=1e-5
        )


def test_the_result_says_what_it_is_of(tmp_path):
    config = training_config({"num_epochs": 3}, cell="gru", parameters=900)
    epochs = train(config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    spec = load_spec("gru")
    units = config.sized(spec, sentences()).units
    assert (result["cell"]["name"], result["units"]) == ("gru", units)
    assert 800 < result["parameters"] <= 900
    losses = [epoch.validation_loss_nats for epoch in epochs]
    assert result["best_epoch"] == 1 + int(np.argmin(losses))
    assert result["epochs"] == 3
    assert result["config"]["corpus"]["sha256"] == sentences().sha256
    assert {"keras", "nas_keras", "numpy"} <= result["environment"].keys()
    assert "validation_dynamic_loss_nats" not in result["metrics"]


def test_the_best_weights_are_those_of_the_best_epoch(tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.2])
    kept = []
    score = training._Training._validation_loss

    def scripted(self, weights):
        score(self, weights)
        kept.append([np.array(w) for w in weights])
        return next(losses)

    monkeypatch.setattr(training._Training, "_validation_loss", scripted)
    train(training_config({"num_epochs": 4}), tmp_path)
    best = Folder(tmp_path).best_arrays()
    for got, want in zip(best, kept[1], strict=True):
        np.testing.assert_array_equal(got, want)
    assert (best[0] != kept[3][0]).any()
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["best_epoch"] == 2


@pytest.mark.parametrize("is_folder", [True, False])
def test_after_each_epoch_the_newest_kept_weights_are_the_best(
    is_folder, tmp_path
):
    # Epochs end after 10, 20, 30 updates. The second and the third are begun
    # anew, killed or rolled back after they had been the best, and are not.
    store = Folder(tmp_path) if is_folder else Memory()
    for updates, best in ((10, 10), (20, 20), (20, 10), (30, 30), (30, 10)):
        arrays = [np.array([updates])]
        store.keep_best(best, updates, lambda a=arrays: a)
        assert store.best_arrays(best) == [[best]]
        assert store.best_arrays(10) == [[10]]
        if is_folder:
            assert store.best_arrays() == [[best]]


def test_averaging_begins_when_validation_has_not_improved(
    tmp_path, monkeypatch
):
    # Worse than the best of all but the last two: at epoch 5, for 2.1.
    losses = iter([3.0, 2.0, 2.5, 2.2, 2.1, 2.0, 1.9])
    monkeypatch.setattr(
        training._Training,
        "_validation_loss",
        lambda self, weights: next(losses),
    )
    config = training_config(
        {"num_epochs": 7, "average": "nonmonotone", "average_patience": 2}
    )
    epochs = train(config, tmp_path)
    assert [e.averaged for e in epochs] == [False] * 5 + [True] * 2
    _, place, _ = snapshot(tmp_path)
    assert place["average_from"] == epochs[4].updates


def test_num_updates_may_end_in_mid_epoch(tmp_path):
    config = training_config({"num_epochs": 0, "num_updates": 20})
    epochs = train(config, tmp_path)
    per_epoch = len(windows_of(stream_array(sentences().train, 4).shape[1], 12,
                               0, 0, False))  # fmt: skip
    assert per_epoch < 40
    want = [*range(per_epoch, 20, per_epoch), 20]
    assert [epoch.updates for epoch in epochs] == want


def test_a_workdir_in_use_is_refused(tmp_path):
    with (
        locks.exclusive(tmp_path),
        pytest.raises(ValueError, match="is in use by pid"),
    ):
        train(training_config(), tmp_path)


def test_too_few_parameters_are_refused(tmp_path):
    message = "A model of one unit of cell 'lstm' has"
    with pytest.raises(ValueError, match=message):
        train(training_config(parameters=10), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(compilation.keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match=re.escape(
        "KERAS_BACKEND must be one of ['tensorflow', 'jax'] to train a model. "
        "Received: 'torch'."
    )):  # fmt: skip
        compilation.check_backend()


@pytest.mark.parametrize(
    ("argument", "value", "rule"),
    [
        ("preset", "", "a text"),
        ("data", "ptb", "of TextData"),
        ("model", "lstm", "of LanguageModelConfig"),
        ("cell", "", "a text"),
        ("parameters", -1, "an int of at least 0"),
        ("seed", -1, "an int of at least 0"),
        ("num_threads", 5_000, "an int in [0, 1024]"),
    ],
)
def test_a_value_out_of_range_is_refused(argument, value, rule):
    with pytest.raises(ValueError) as caught:
        dataclasses.replace(training_config(), **{argument: value})
    message = str(caught.value)
    assert message.startswith(f"{argument} must be {rule}")
    assert message.endswith(f"Received: {argument}={value!r}.")
