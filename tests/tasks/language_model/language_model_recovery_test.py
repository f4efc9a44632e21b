"""Long trainings that are interrupted, diverge or find damage go on or end."""

import dataclasses
import itertools
import json
import math
import re
import shutil

import numpy as np
import pytest

from nas_keras.tasks import TrainingError
from nas_keras.tasks.language_model import training
from nas_keras.tasks.language_model.steps import LanguageModelSteps
from nas_keras.tasks.training import loop
from nas_keras.tasks.training.files import Folder
from tests.interruption import Stop
from tests.interruption import snapshot
from tests.interruption import stop_at
from tests.language_model_testing import train
from tests.language_model_testing import training_config

_ALL = {
    "average": "nonmonotone",
    "average_patience": 1,
    "vary_steps": True,
    "micro_batches": 2,
}
_DROPOUT = {
    "num_epochs": 4,
    "optimizer": "adam",
    "learning_rate": 0.05,
    "embedding_dropout": 0.1,
    "output_dropout": 0.2,
    "recurrent_dropout": 0.2,
}


def _assert_same(first, second):
    assert first[:2] == second[:2]
    assert first[2].keys() == second[2].keys()
    for name, array in first[2].items():
        np.testing.assert_array_equal(array, second[2][name], name)


def _interrupted(config, workdir, updates):
    """Trains, stopped after each of some updates and begun again."""
    for stop in updates:
        with pytest.raises(Stop):
            train(config, workdir, on_update=stop_at(stop))
    return train(config, workdir)


@pytest.mark.parametrize("changes", [{}, _ALL], ids=["plain", "all"])
def test_an_interrupted_training_is_as_if_it_had_not_been(changes, tmp_path):
    config = training_config({**_DROPOUT, **changes})
    whole = train(config, tmp_path / "whole")
    # At once; in mid-epoch; right after and right before a snapshot.
    parts = _interrupted(config, tmp_path / "parts", [1, 10, 7, 8])
    for one, other in zip(whole, parts, strict=True):
        other = dataclasses.replace(other, elapsed_s=one.elapsed_s)
        assert other == one
    _assert_same(snapshot(tmp_path / "whole"), snapshot(tmp_path / "parts"))
    results = [
        json.loads((tmp_path / name / "result.json").read_text())["metrics"]
        for name in ("whole", "parts")
    ]
    assert results[0] == results[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The workdir of a training that is finished, and its epochs."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    return workdir, train(training_config(), workdir)


@pytest.fixture
def workdir(trained, tmp_path):
    """A workdir of a test's own in which a training is finished."""
    return shutil.copytree(trained[0], tmp_path / "run")


def test_a_finished_training_yields_its_epochs_again(trained, workdir):
    result = (workdir / "result.json").read_bytes()
    updates = []
    again = train(training_config(), workdir, on_update=updates.append)
    assert again == trained[1]
    assert not updates
    assert (workdir / "result.json").read_bytes() == result


def test_a_damaged_snapshot_is_passed_over(tmp_path):
    config = training_config(_DROPOUT)
    whole = train(config, tmp_path / "whole")
    with pytest.raises(Stop):
        tell = stop_at(21)
        train(config, tmp_path / "parts", on_update=tell)
    newest = max((tmp_path / "parts" / "checkpoints").glob("step_*"))
    newest.write_bytes(newest.read_bytes()[:-100])
    parts = train(config, tmp_path / "parts")
    assert [e.train_loss_nats for e in parts] == [
        e.train_loss_nats for e in whole
    ]
    _assert_same(snapshot(tmp_path / "whole"), snapshot(tmp_path / "parts"))


def test_if_all_snapshots_are_damaged_nothing_is_begun_anew(workdir):
    for path in (workdir / "checkpoints").glob("step_*"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="all snapshots are damaged"):
        train(training_config(), workdir)


def _diverging(monkeypatch, at):
    """Makes the updates of these numbers, counted over all calls, NaN."""
    count = itertools.count(1)
    updates = LanguageModelSteps.updates

    def broken(self, *arguments):
        losses, states = updates(self, *arguments)
        bad = [next(count) in at for _ in losses]
        return np.where(bad, np.float32(math.nan), losses), states

    monkeypatch.setattr(LanguageModelSteps, "updates", broken)


def test_a_loss_of_nan_goes_back_with_half_the_rate_and_says_so(
    tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr(
        loop.logging,
        "warning",
        lambda text, *values: said.append(text % values),
    )
    _diverging(monkeypatch, {10})
    seen = []
    epochs = train(
        training_config({"num_epochs": 2}), tmp_path, on_update=seen.append
    )
    assert [e.rollbacks for e in epochs] == [1, 1]
    assert [e.learning_rate for e in epochs] == [0.25, 0.25]
    # Updates 1 to 9, then from the snapshot after 7 on.
    assert [u.batch for u in seen[:12]] == [*range(1, 10), 8, 9, 10]
    # The sum of the epoch's losses goes back, too.
    assert epochs[0].train_loss_nats < 5
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["rollbacks"] == 1
    assert said == [
        "Diverged in epoch 1, at update 9: a training loss of nan nats. Back "
        "to update 7, with half the rate: time 1 of 3."
    ]


def test_half_the_rate_outlives_an_interruption(tmp_path, monkeypatch):
    _diverging(monkeypatch, {10})
    parts = _interrupted(training_config(), tmp_path, [11])
    assert [e.learning_rate for e in parts] == [0.25, 0.25]


def test_after_three_times_the_training_ends(tmp_path, monkeypatch):
    _diverging(monkeypatch, range(10, 10_000))
    message = (
        "diverged in epoch 1, at update 0: a training loss of nan nats. Gone "
        "back 3 times already"
    )
    with pytest.raises(TrainingError, match=re.escape(message)):
        train(training_config(), tmp_path)
    number = json.loads((tmp_path / "rollbacks.json").read_text())["number"]
    assert number == 3


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"number": "x"}'])
def test_a_damaged_count_of_rollbacks_is_named(text, tmp_path):
    (tmp_path / "rollbacks.json").write_text(text)
    with pytest.raises(ValueError, match=r"rollbacks.json: damaged, it has no"):
        train(training_config(), tmp_path)


def test_a_snapshot_of_bad_weights_is_passed_over(tmp_path, monkeypatch):
    # The loss of update 15 is of the weights that the snapshot after 14 holds.
    _diverging(monkeypatch, {15})
    seen = []
    epochs = train(training_config(), tmp_path, on_update=seen.append)
    assert epochs[-1].rollbacks == 1
    assert [u.batch for u in seen[:16]] == [*range(1, 15), 8, 9]


def test_an_interrupted_going_back_costs_no_snapshot(tmp_path, monkeypatch):
    _diverging(monkeypatch, {10})

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as during:
        during.setattr(loop.logging, "warning", full)
        with pytest.raises(OSError, match="No space left"):
            train(training_config(), tmp_path)
    epochs = train(training_config(), tmp_path)
    assert [e.learning_rate for e in epochs] == [0.25, 0.25]


def test_dynamic_evaluation_that_diverges_is_left_out(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        loop.logging,
        "warning",
        lambda text, *values: said.append(text % values),
    )
    config = training_config({"clip_norm": 1e6, "dynamic_rate": 1e6})
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, learning_rate=1e-9)
    )
    train(config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert "test_loss_nats" in result["metrics"]
    assert "test_dynamic_loss_nats" not in result["metrics"]
    assert said[-1] == (
        "Dynamic evaluation diverged on the test text, with "
        "dynamic_rate=1e+06: it is left out of the result."
    )


def test_best_weights_that_are_damaged_are_not_replaced_by_older(tmp_path):
    train(training_config({"num_epochs": 4}), tmp_path)
    newest = max((tmp_path / "best").glob("step_*"))
    newest.write_bytes(newest.read_bytes()[:-9])
    message = r"best: the best weights after \d+ updates are damaged or gone"
    with pytest.raises(ValueError, match=message):
        Folder(tmp_path).best_arrays()


def test_what_killed_writers_left_is_removed(workdir):
    for folder in (".", "best", "checkpoints"):
        (workdir / folder / ".step_1.npz.7.tmp").touch()
    train(training_config(), workdir)
    assert not list(workdir.rglob(".*.tmp"))


def test_another_backend_may_not_go_on(workdir, monkeypatch):
    monkeypatch.setattr(training.keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="backend was 'tensorflow', is 'jax'"):
        train(training_config(), workdir)


def test_first_weights_that_are_of_no_use_end_it_at_once(tmp_path, monkeypatch):
    _diverging(monkeypatch, {1})
    message = "diverged before the first update: a training loss of nan nats"
    with pytest.raises(TrainingError, match=message):
        train(training_config(), tmp_path)


def test_weights_that_are_not_finite_are_not_kept(tmp_path, monkeypatch):
    updates = LanguageModelSteps.updates
    is_done = []

    def broken(self, streams, first, num, *arguments):
        result = updates(self, streams, first, num, *arguments)
        # The loss is of before; a snapshot follows.
        if first + num == 14 and not is_done:
            is_done.append(True)
            bias = self.model.softmax_bias
            bias.assign(np.full(bias.shape, np.inf))
        return result

    monkeypatch.setattr(LanguageModelSteps, "updates", broken)
    epochs = train(training_config(), tmp_path)
    assert epochs[-1].rollbacks == 1
    for array in snapshot(tmp_path)[2].values():
        assert np.isfinite(array).all()


def test_a_workdir_of_another_configuration_is_refused(workdir):
    before = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=re.escape(
        "settings.model.clip_norm was 0.5, is 0.25"
    )):  # fmt: skip
        train(training_config({"clip_norm": 0.25}), workdir)
    with pytest.raises(ValueError, match="settings.cell.name was 'lstm'"):
        train(training_config(cell="gru"), workdir)
    assert before == {
        p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()
    }
