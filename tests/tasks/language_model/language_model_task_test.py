"""Tests of `LanguageModelTask`: trained, resumed, scaled, as a program."""

import itertools
import json
import math
import re

import numpy as np
import pytest

from nas_keras.cells.language.spec import load_spec
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import tree_space
from nas_keras.storage import checkpoints
from nas_keras.tasks import LanguageModelTask
from nas_keras.tasks import trained_model
from nas_keras.tasks.language_model.steps import LanguageModelSteps
from nas_keras.tasks.training import loop
from tests.interruption import Stop
from tests.interruption import snapshot
from tests.interruption import stop_at
from tests.language_model_testing import model_config
from tests.language_model_testing import sentences
from tests.language_model_testing import train
from tests.language_model_testing import training_config

_LSTM = load_spec("lstm")
_DROPOUT = {
    "optimizer": "adam",
    "learning_rate": 0.05,
    "output_dropout": 0.2,
    "recurrent_dropout": 0.2,
}


def _task(**changes):
    return LanguageModelTask(model_config(**changes), sentences())


def _timeless(metrics):
    return {k: v for k, v in metrics.items() if k != "elapsed_s"}


@pytest.mark.parametrize("select", ["best", "last"])
def test_a_task_trains_as_the_program_does(select, tmp_path):
    config = training_config({"select": select, "num_epochs": 3}, seed=4)
    epochs = train(config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    got = _task(select=select, num_epochs=3).train(_LSTM, seed=4)
    assert got.pop("elapsed_s") > 0
    assert got.pop("rollbacks") == 0
    assert got == result["metrics"]
    assert got["train_loss_nats"] == epochs[-1].train_loss_nats


@pytest.mark.parametrize("select", ["best", "last"])
def test_a_stopped_training_resumes_where_it_was(select, tmp_path):
    task = _task(select=select, **_DROPOUT)
    whole = task.train(_LSTM, 3)
    for stop in (1, 10, 9):
        with pytest.raises(Stop):
            task.train(_LSTM, 3, tmp_path / "run", stop_at(stop))
    step, _, _ = snapshot(tmp_path / "run")
    assert step > 7
    seen = []
    parts = task.train(_LSTM, 3, tmp_path / "run", seen.append)
    assert _timeless(parts) == _timeless(whole)
    last = seen[-1]
    assert (last.epoch, last.batch) == (2, last.num_batches)
    assert len(seen) < 2 * last.num_batches - 7
    again = task.train(_LSTM, 3, tmp_path / "run", seen.append)
    assert again == parts  # From the result; nothing is trained.
    with pytest.raises(ValueError, match="settings.seed was 3, is 4"):
        task.train(_LSTM, 4, tmp_path / "run")


def test_a_seed_gives_the_same_whatever_was_trained_before():
    task = _task(**_DROPOUT)
    first, other, again = (task.train(_LSTM, seed) for seed in (0, 1, 0))
    assert _timeless(first) == _timeless(again) != _timeless(other)


def test_without_a_best_epoch_there_are_only_the_snapshots_asked_for(
    tmp_path, monkeypatch
):
    steps = []
    save = checkpoints.save
    monkeypatch.setattr(
        checkpoints,
        "save",
        lambda folder, step, *rest: (
            steps.append(step) or save(folder, step, *rest)
        ),
    )
    scores = []
    score = LanguageModelSteps.score
    monkeypatch.setattr(
        LanguageModelSteps,
        "score",
        lambda *a: scores.append(len(steps)) or score(*a),
    )
    task = _task(select="last", num_epochs=0, num_updates=31)
    task.train(_LSTM, 0, tmp_path)
    assert steps == [0, 7, 14, 21, 28, 31]
    assert set(scores) == {len(steps)}  # Nothing is scored before the end.


def _diverging(monkeypatch, at):
    count = itertools.count(1)
    updates = LanguageModelSteps.updates

    def broken(self, *arguments):
        losses, states = updates(self, *arguments)
        bad = [next(count) in at for _ in losses]
        return np.where(bad, np.float32(math.nan), losses), states

    monkeypatch.setattr(LanguageModelSteps, "updates", broken)


def test_a_training_in_memory_goes_back_too(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        _diverging(patch, {10})
        in_memory = _task().train(_LSTM, 0)
    with monkeypatch.context() as patch:
        _diverging(patch, {10})
        in_folder = _task().train(_LSTM, 0, tmp_path)
    assert in_memory["rollbacks"] == 1
    assert _timeless(in_memory) == _timeless(in_folder)


def test_a_training_that_diverges_again_and_again_is_an_error(monkeypatch):
    _diverging(monkeypatch, range(10, 10_000))
    with pytest.raises(FloatingPointError, match="Gone back 3 times already"):
        _task().train(_LSTM, 0)


def test_updates_at_once_are_as_many_as_take_a_second(monkeypatch):
    sizes, now = [], itertools.count(0.0, 0.35)
    updates = LanguageModelSteps.updates

    def spy(self, streams, first, num, *rest):
        sizes.append(num)
        return updates(self, streams, first, num, *rest)

    monkeypatch.setattr(LanguageModelSteps, "updates", spy)
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(now))
    _task(snapshot_updates=100).train(_LSTM, 0)
    assert sizes[:4] == [1, 2, 5, 14]


def test_the_last_weights_are_the_model_if_they_are_selected(tmp_path):
    config = training_config({"select": "last"})
    train(config, tmp_path)
    assert not (tmp_path / "best").exists()
    model = trained_model(config, sentences(), tmp_path)
    _, _, arrays = snapshot(tmp_path)
    for k, variable in enumerate(model.trainable_variables):
        np.testing.assert_array_equal(arrays[f"weight/{k:04d}"], variable)


def test_a_scaled_task_has_other_updates_units_and_text():
    task = _task(units=8, num_epochs=0, num_updates=40)
    scaled = task.scaled(updates=0.5, units=1.5, data=0.25)
    assert scaled.config == task.config.replace(units=12, num_updates=20)
    num = len(task.corpus.train)
    np.testing.assert_array_equal(
        scaled.corpus.train, task.corpus.train[: round(num / 4)]
    )
    assert _task(num_epochs=6).scaled(updates=0.1).config.num_epochs == 1


def test_the_settings_hold_what_results_depend_on():
    settings = json.loads(json.dumps(_task().settings()))
    assert settings["task"]["clip_norm"] == 0.5
    assert sentences().sha256 in json.dumps(settings)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("average", "nonmonotone"),
        ("dynamic_rate", 0.1),
        ("micro_batches", 2),
        ("precision", "mixed_bfloat16"),
        ("select", "best"),
        ("use_bias", True),
        ("vary_steps", True),
    ],
)
def test_a_program_refuses_what_it_cannot_do(argument, value, shared):
    task = _task(**{"select": "last", argument: value})
    message = "where the architecture is data, in the space 'tree(base=2)'. "
    message += f"Received: task.config.{argument}={value!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        task.program(tree_space(2), shared)


def test_a_program_of_a_space_without_a_supernet_is_refused():
    space = Space([Choice("width", (1, 2))], name="widths")
    with pytest.raises(ValueError, match="Received: space='widths'"):
        _task(select="last").program(space)
