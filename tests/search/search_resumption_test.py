"""Tests of `search()`: a workdir, with which it goes on as if never stopped."""

import csv
import itertools
import json
import os
import re
import shutil
import signal
import textwrap
import time

import numpy as np
import pytest

from nas_keras.cells.language.spec import load_spec
from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.search import FunctionEvaluator
from nas_keras.search import search
from nas_keras.spaces import tree_space
from tests import forked
from tests.search_testing import BATCH_SIZE
from tests.search_testing import NUM_TRIALS
from tests.search_testing import files_in
from tests.search_testing import new_controller
from tests.search_testing import one_max_evaluator
from tests.search_testing import records_in
from tests.search_testing import run_search
from tests.search_testing import small_space
from tests.search_testing import stop_after
from tests.search_testing import without_time


def _assert_same_run(workdir, run, want_workdir, want):
    trials, state, _ = run
    want_trials, want_state, _ = want
    assert without_time(trials) == without_time(want_trials)
    assert records_in(workdir) == records_in(want_workdir)
    assert list(state) == list(want_state)
    for name, array in state.items():
        np.testing.assert_array_equal(array, want_state[name])
    steps = [(folder / "steps.jsonl").read_text()
             for folder in (workdir, want_workdir)]  # fmt: skip
    assert steps[0] == steps[1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    return workdir, run_search(workdir)


# The workdir.


def test_a_workdir_holds_config_journal_checkpoints_and_csv(undisturbed):
    workdir, (trials, _, calls) = undisturbed
    assert calls == NUM_TRIALS
    config = json.loads((workdir / "config.json").read_text())
    assert config["run"]["batch_size"] == BATCH_SIZE
    assert config["run"]["num_trials"] == NUM_TRIALS
    assert config["run"]["controller"] == new_controller().config()
    assert {"python", "tensorflow", "git"} <= set(config["environment"])
    assert [record["id"] for record in records_in(workdir)] == list(range(14))
    for trial, record in zip(trials, records_in(workdir), strict=True):
        assert record["tokens"] == list(trial.tokens)
        assert record["reward"] == trial.evaluation.reward
        assert (record["step"], record["row"]) == divmod(trial.id, 4)
    folder = workdir / "checkpoints"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["manifest.json", "step_00000002.npz", "step_00000003.npz"]
    assert sorted(json.loads((folder / "manifest.json").read_text())) == [
        "step_00000002.npz",
        "step_00000003.npz",
    ]
    with open(workdir / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["reward"]) for row in rows] == [
        trial.evaluation.reward for trial in trials
    ]
    assert not (workdir / "best_cell.json").exists()  # Dicts are not cells.
    assert not list(workdir.rglob("*.tmp"))


def test_a_search_of_cells_leaves_the_best_cell(tmp_path):
    space = tree_space(2)
    evaluator = FunctionEvaluator(space, lambda spec: len(spec.equations))
    trials, *_ = run_search(
        tmp_path, evaluator=evaluator, controller=RandomController(space)
    )
    best = max(trials, key=lambda trial: trial.evaluation.reward)
    spec = load_spec(tmp_path / "best_cell.json")
    assert spec.equations == best.spec.equations
    assert spec.provenance["space"] == "tree(base=2)"
    assert spec.provenance["tokens"] == list(best.tokens)
    assert spec.provenance["reward"] == best.evaluation.reward
    assert spec.provenance["run"] == str(tmp_path)
    records = records_in(tmp_path)
    assert [r["fingerprint"] for r in records] == [
        trial.spec.fingerprint for trial in trials
    ]


@pytest.mark.parametrize("num", [0, 1, 3, 4, 5, 8, 11, 13, 14])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(
    num, tmp_path, undisturbed
):
    stop_after(tmp_path / "run", num)
    run = run_search(tmp_path / "run")
    assert run[2] == NUM_TRIALS - num  # None is evaluated again.
    _assert_same_run(tmp_path / "run", run, *undisturbed)


def test_a_search_goes_on_with_a_controller_that_is_made_anew(
    tmp_path, undisturbed
):
    stop_after(tmp_path / "run", 6)
    controller = PolicyGradientController(small_space(), units=8)
    run = run_search(tmp_path / "run", controller=controller)
    _assert_same_run(tmp_path / "run", run, *undisturbed)


def test_a_search_stopped_again_and_again_goes_on(tmp_path, undisturbed):
    for num in (2, 5, 6, 9, 12):
        stop_after(tmp_path / "run", num)
    run = run_search(tmp_path / "run")
    assert run[2] == 2
    _assert_same_run(tmp_path / "run", run, *undisturbed)


@pytest.mark.parametrize("num", [3, 4, 6])
def test_a_search_that_is_made_longer_equals_a_long_one(
    num, tmp_path, undisturbed
):
    short = run_search(tmp_path / "run", num)
    assert len(short[0]) == short[2] == num
    longer = run_search(tmp_path / "run")
    assert longer[2] == NUM_TRIALS - num
    _assert_same_run(tmp_path / "run", longer, *undisturbed)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["run"]["num_trials"] == NUM_TRIALS


def test_a_finished_run_evaluates_nothing_and_changes_nothing(
    tmp_path, undisturbed
):
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed[0], workdir)
    before = files_in(workdir)
    run = run_search(workdir)
    assert run[2] == 0
    assert files_in(workdir) == before
    _assert_same_run(workdir, run, *undisturbed)


# Damage.


def _truncate(path):
    path.write_bytes(path.read_bytes()[:100])


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_truncate, _flip, _empty, os.remove])
@pytest.mark.parametrize(
    "names",
    [
        ["step_00000002.npz"],
        ["step_00000001.npz", "step_00000002.npz"],
        ["manifest.json"],
    ],
)
def test_damaged_checkpoints_are_passed_over_with_equal_results(
    damage, names, tmp_path, undisturbed, caplog
):
    workdir = tmp_path / "run"
    stop_after(workdir, 10)
    for name in names:
        damage(workdir / "checkpoints" / name)
    run = run_search(workdir)
    assert run[2] == 4
    _assert_same_run(workdir, run, *undisturbed)
    if names == ["manifest.json"]:
        assert "No usable checkpoint" in caplog.text
    for name in names:
        if name != "manifest.json":
            assert f"{name} is damaged" in caplog.text


@pytest.mark.parametrize("num_bytes", [1, 2, 40])
def test_a_last_line_that_a_crash_tore_is_dropped(
    num_bytes, tmp_path, undisturbed, caplog
):
    workdir = tmp_path / "run"
    stop_after(workdir, 7)
    path = workdir / "trials.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes()[:num_bytes])
    run = run_search(workdir)
    assert run[2] == 7
    assert "dropping the last line, which a crash cut short" in caplog.text
    _assert_same_run(workdir, run, *undisturbed)


@pytest.mark.parametrize("damage", [_truncate, _flip, _empty, os.remove])
def test_a_damaged_guard_is_passed_over_loudly(
    damage, tmp_path, undisturbed, caplog
):
    workdir = tmp_path / "run"
    stop_after(workdir, 7)
    guard = workdir / "trials.jsonl.sha256"
    if damage is _truncate:
        guard.write_bytes(guard.read_bytes()[:-10])
    else:
        damage(guard)
    run = run_search(workdir)
    assert run[2] == 7
    assert re.search("jsonl(.sha256 is damaged| has no guard)", caplog.text)
    _assert_same_run(workdir, run, *undisturbed)


def _other_baseline():
    return PolicyGradientController(small_space(), units=8, baseline_decay=0.5)


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        ({"batch_size": 5}, "batch_size was 4, is 5"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"controller": new_controller},
         "controller.seed was 0, is 9"),
        ({"controller": RandomController},
         "controller.class was 'PolicyGradientController', is "
         "'RandomController'"),
        ({"controller": _other_baseline},
         "controller.baseline_decay was 0.95, is 0.5"),
        ({"settings": {"text": "a"}}, "settings.text was None, is 'a'"),
    ],
)  # fmt: skip
def test_another_configuration_is_refused_and_nothing_is_changed(
    arguments, difference, tmp_path, undisturbed
):
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed[0], workdir)
    before = files_in(workdir)
    if arguments.get("controller") is new_controller:
        arguments = {
            "controller": PolicyGradientController(
                small_space(), seed=9, units=8
            )
        }
    elif arguments.get("controller") is _other_baseline:
        arguments = {"controller": _other_baseline()}
    elif "controller" in arguments:
        arguments = {"controller": RandomController(small_space())}
    with pytest.raises(ValueError, match=re.escape(difference)) as caught:
        run_search(workdir, **arguments)
    assert repr(str(workdir)) in str(caught.value)
    assert files_in(workdir) == before


# Being killed.

_PROGRAM = """
    import sys, time
    from nas_keras.controllers import PolicyGradientController
    from nas_keras.search import FunctionEvaluator, search
    from nas_keras.spaces import Choice, Space

    def slow(spec):
        time.sleep(0.03)
        return sum(value == 2 for value in spec.values()) / len(spec)

    space = Space([Choice(f"choice_{k}", (0, 1, 2, 3)) for k in range(6)])
    controller = PolicyGradientController(space, units=8, num_layers=1)
    evaluator = FunctionEvaluator(space, slow)
    list(search(controller, evaluator, 40, sys.argv[1], batch_size=4))
"""


def _start(workdir):
    return forked.start("-c", textwrap.dedent(_PROGRAM), workdir)


def _num_lines(path):
    return path.read_bytes().count(b"\n")


def test_a_search_killed_at_any_moment_equals_one_that_was_not(tmp_path):
    # Nothing short of a process can be killed.
    whole = _start(tmp_path / "whole")
    journal = tmp_path / "killed" / "trials.jsonl"
    num_lines = 0
    for moment in np.random.default_rng(0).uniform(0.0, 0.6, size=2):
        killed = _start(tmp_path / "killed")
        while not journal.exists() or _num_lines(journal) < num_lines + 2:
            assert killed.poll() is None, killed.communicate()
            time.sleep(0.005)
        time.sleep(moment)
        killed.kill()
        killed.communicate()
        assert killed.returncode == -signal.SIGKILL
        num_lines = _num_lines(journal)
    assert 2 < len(records_in(tmp_path / "killed")) < 40
    for process in (_start(tmp_path / "killed"), whole):
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    folders = [tmp_path / "killed", tmp_path / "whole"]
    assert records_in(folders[0]) == records_in(folders[1])
    assert len({(f / "steps.jsonl").read_text() for f in folders}) == 1
    names = [sorted(p.name for p in (f / "checkpoints").glob("*.npz"))
             for f in folders]  # fmt: skip
    assert names[0] == names[1] == ["step_00000009.npz", "step_00000010.npz"]
    got, want = (np.load(f / "checkpoints" / names[0][1]) for f in folders)
    assert got.files == want.files
    for name in want.files:
        np.testing.assert_array_equal(got[name], want[name])


def test_events_of_tensorboard_hold_trials_and_updates(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    stop_after(tmp_path, 5)
    trials, *_ = run_search(tmp_path)
    run_search(tmp_path)  # Nothing is new.
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = events.Scalars("trial/reward")
    assert [event.step for event in found] == [t.id for t in trials]
    rewards = [t.evaluation.reward for t in trials]
    assert [event.value for event in found] == pytest.approx(rewards)
    steps = [
        json.loads(line)
        for line in (tmp_path / "steps.jsonl").read_text().splitlines()
    ]
    for name in ("baseline", "entropy_nats"):
        found = events.Scalars(f"update/{name}")
        assert [event.step for event in found] == [s["step"] for s in steps]
        want = [s[name] for s in steps]
        assert [event.value for event in found] == pytest.approx(want, 1e-5)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2


def test_events_that_cannot_be_written_do_not_stop_a_search(tmp_path, caplog):
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").touch()
    trials, *_ = run_search(tmp_path)
    assert len(trials) == NUM_TRIALS
    assert caplog.text.count("No more events are written") == 1


def test_a_controller_that_has_learned_is_named_and_its_search_goes_on(
    tmp_path, caplog
):
    def trials(controller, folder, limit=None):
        searching = search(
            controller, one_max_evaluator(),
            NUM_TRIALS, folder, batch_size=BATCH_SIZE,
        )  # fmt: skip
        return [t.tokens for t in itertools.islice(searching, limit)]

    controller = new_controller()
    first = trials(controller, None)
    assert not caplog.messages
    learned = controller.state()
    want = trials(controller, tmp_path / "whole")
    assert want != first
    assert "has learned already" in caplog.text
    controller.restore(learned)
    controller.has_learned = True
    trials(controller, tmp_path / "stopped", 2)
    # It begins with what the controller had learned, in another process too.
    caplog.clear()
    assert trials(new_controller(), tmp_path / "stopped") == want
    assert not caplog.messages
    # All that was learned since is lost: it is replayed from that beginning.
    for name in ("steps.jsonl", "steps.jsonl.sha256"):
        (tmp_path / "stopped" / name).unlink()
    again = trials(new_controller(), tmp_path / "stopped")
    assert again == want
    assert "replaying" in caplog.text
