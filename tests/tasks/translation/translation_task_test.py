"""Tests of pairs as a task: one training, with a folder or without."""

import json

import pytest

from nas_keras.cells.language.spec import load_spec
from nas_keras.tasks import TranslationTask
from tests.raising import raises
from tests.translation_testing import phrases
from tests.translation_testing import translation_config

pytest.importorskip("sacrebleu")

_GRU = load_spec("gru")


def _task(**changes):
    changes = {"num_epochs": 1, "average_epochs": 2, **changes}
    return TranslationTask.of(translation_config(**changes).training, phrases())


def test_a_training_in_memory_is_that_with_a_folder(tmp_path):
    # Two models are traced: about 20 s.
    task, updates = _task(num_epochs=2), []
    in_memory = task.train(_GRU, seed=3, on_progress=updates.append)
    in_folder = task.train(_GRU, 3, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"].items() <= in_folder.items()
    assert in_folder.keys() == in_memory.keys()
    for name in ("train_loss_nats", "validation_loss_nats", "test_loss_nats"):
        assert in_memory[name] == pytest.approx(in_folder[name], rel=1e-4)
    assert len(updates) == result["updates"]
    # Once more, and no update.
    updates.clear()
    assert task.train(_GRU, 3, tmp_path, updates.append) == in_folder
    assert not updates
    with raises("was written by another configuration: settings.seed was 3"):
        task.train(_GRU, 4, tmp_path)


def test_the_size_is_that_of_the_model():
    task = _task()
    cost = task.size(task.load("gru"))
    assert task.labels(_GRU) == {"units": 6, "parameters": cost.parameters}
    model = task.training.model
    assert cost.parameters == model.num_parameters(_GRU, *task.sizes)
    # Three cells of 6 units: 6, 6 and 6 + 12 inputs; the softmax.
    assert cost.multiply_adds == 2 * 6 * 36 + 6 * 18 + 18 * 18 + 6 * 40


def test_a_task_can_have_a_model_of_a_size():
    task = _task().resized(_GRU, 5_000)
    assert task.training.parameters == 0
    assert task.size(_GRU).parameters <= 5_000
    units = task.training.model.units
    larger = task.training.model.replace(units=units + 1)
    assert larger.num_parameters(_GRU, *task.sizes) > 5_000
    with raises("A model of one unit of cell 'gru' has"):
        task.resized(_GRU, 10)


def test_a_smaller_task_has_fewer_updates_units_and_pairs():
    task = _task(num_epochs=10)
    small = task.scaled(updates=0.25, units=0.5, data=0.5)
    assert small.training.num_epochs == 2
    assert small.training.model.units == 3
    assert len(small.pairs) == 24
    assert small.pairs.source == task.pairs.source[:24]
    by_updates = _task(num_epochs=0, num_updates=100).scaled(updates=0.001)
    assert by_updates.training.num_updates == 1
    assert task.scaled().training == task.training


def test_settings_say_what_results_depend_on():
    task = _task()
    settings = json.loads(json.dumps(task.settings()))
    assert settings["data"]["sha256"] == task.corpus.sha256
    assert settings["task"]["model"]["units"] == 6
    assert task.scaled(data=0.5).settings() != task.settings()
    described = task.metric.describe({"validation_beam_bleu": 12.0})
    assert described == "validation beam_bleu 12"
    assert task.program(None) is None
