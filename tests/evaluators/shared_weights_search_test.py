"""Tests of searches with shared weights, and of their interruptions."""

import functools
import json
import shutil

import numpy as np
import pytest

from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.search import search
from nas_keras.spaces import enas_recurrent_space
from tests.raising import raises
from tests.shared_weights_testing import ALL
from tests.shared_weights_testing import DAG
from tests.shared_weights_testing import TREE
from tests.shared_weights_testing import random_tokens
from tests.shared_weights_testing import sharing
from tests.shared_weights_testing import small_task

# Three updates of the controller and half a batch; phases before 0 and 2.
_NUM_TRIALS, _BATCH_SIZE = 14, 4


@functools.cache
def _compiled(space, loss):
    controller = PolicyGradientController(
        space, units=4, num_layers=1, loss=loss
    )
    return controller, controller.state()


def _policy(space, loss="reinforce"):
    """Returns a new controller, or one like new: compiling takes seconds."""
    controller, state = _compiled(space, loss)
    controller.restore(state)
    return controller


def _search(workdir, shared, controller=None, num_trials=_NUM_TRIALS):
    """Returns trials, and the states of the controller and of the weights."""
    controller = controller or _policy(shared.space)
    trials = list(
        search(controller, shared, num_trials, workdir, batch_size=_BATCH_SIZE)
    )
    return trials, controller.state(), shared._weights.state()


def _told(trials):
    return [(t.id, t.tokens, t.evaluation.reward, t.same_as) for t in trials]


def _assert_same(run, want):
    assert _told(run[0]) == _told(want[0])
    for arrays, wanted in zip(run[1:], want[1:], strict=True):
        assert list(arrays) == list(wanted)
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, wanted[name])


@pytest.fixture(scope="module")
def shared():
    """What most searches are made with: `search` begins it anew."""
    # A dropout, for the state of its generators.
    return sharing(task=small_task(optimizer="adam", learning_rate=0.02,
                              recurrent_dropout=0.3))  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, shared):
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    return workdir, _search(workdir, shared)


def _stop_after(workdir, shared, num):
    trials = search(
        _policy(shared.space), shared, _NUM_TRIALS, workdir,
        batch_size=_BATCH_SIZE,
    )  # fmt: skip
    for _ in range(num):
        next(trials)
    trials.close()


def test_a_search_learns_and_keeps_what_it_needs(undisturbed, shared):
    workdir, (trials, state, _) = undisturbed
    assert [t.id for t in trials] == list(range(_NUM_TRIALS))
    assert all(t.evaluation.reward > 0 for t in trials)
    _, fresh = _compiled(TREE, "reinforce")
    assert any((state[name] != fresh[name]).any() for name in state)
    folder = workdir / "shared_weights"
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json", "step_00000001.npz", "step_00000002.npz"
    ]  # fmt: skip
    config = json.loads((workdir / "config.json").read_text())["run"]
    assert config["evaluator"] == json.loads(json.dumps(shared.config()))


@pytest.mark.parametrize("with_workdir", [False, True])
def test_the_same_evaluator_begins_anew(
    with_workdir, tmp_path, shared, undisturbed
):
    shared.train(random_tokens(TREE, 2))
    run = _search(tmp_path / "run" if with_workdir else None, shared)
    _assert_same(run, undisturbed[1])
    assert shared.num_traces == 1


def test_the_seeds_decide(undisturbed, shared):
    other = sharing(task=shared.task, seed=1)
    trials, _, state = _search(None, other)
    want, _, want_state = undisturbed[1]
    assert [t.tokens for t in trials[:4]] == [t.tokens for t in want[:4]]
    assert trials[0].evaluation.reward != want[0].evaluation.reward
    assert (state["000"] != want_state["000"]).any()


# Phases are before trials 0 and 8.
@pytest.mark.parametrize("num", [1, 3, 4, 7, 8, 9, 12, 14])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(
    num, tmp_path, shared, undisturbed
):
    _stop_after(tmp_path / "run", shared, num)
    run = _search(tmp_path / "run", shared)
    _assert_same(run, undisturbed[1])


def test_a_search_goes_on_with_an_evaluator_that_is_made_anew(
    tmp_path, shared, undisturbed
):
    _stop_after(tmp_path / "run", shared, 10)
    anew = sharing(task=shared.task)
    _assert_same(_search(tmp_path / "run", anew), undisturbed[1])


@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize("where", ["training", "before the snapshot", "after"])
def test_a_search_stopped_around_a_snapshot_goes_on(
    phase, where, tmp_path, shared, undisturbed, monkeypatch
):
    """As by a kill: after a phase, its snapshot, and before its first trial."""

    def stop(*arguments):
        raise KeyboardInterrupt

    names = {"training": (shared._weights, "update"),
             "before the snapshot": (shared, "on_updated"),
             "after": (shared, "score")}  # fmt: skip
    owner, name = names[where]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        trials = search(
            _policy(TREE), shared, _NUM_TRIALS, tmp_path / "run",
            batch_size=_BATCH_SIZE,
        )  # fmt: skip
        for _ in range(8 * phase):
            next(trials)
        patch.setattr(owner, name, stop)
        next(trials)
    folder = tmp_path / "run" / "shared_weights"
    has_it = (folder / f"step_{phase + 1:08d}.npz").exists()
    assert has_it == (where == "after")
    _assert_same(_search(tmp_path / "run", shared), undisturbed[1])


def test_a_search_that_is_made_longer_equals_a_long_one(
    tmp_path, shared, undisturbed
):
    for num in (6, 8, 10):
        _search(tmp_path / "run", shared, num_trials=num)
    _assert_same(_search(tmp_path / "run", shared), undisturbed[1])


def test_a_finished_search_has_its_weights_again(tmp_path, shared, undisturbed):
    shutil.copytree(undisturbed[0], tmp_path / "run")
    shared.train(random_tokens(TREE, 2))  # The weights are others.
    _assert_same(_search(tmp_path / "run", shared), undisturbed[1])


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def _remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [_flip, _remove])
@pytest.mark.parametrize("name", ["step_00000002.npz", "manifest.json"])
def test_damaged_weights_are_made_again_loudly(
    damage, name, tmp_path, shared, undisturbed, caplog, monkeypatch
):
    _stop_after(tmp_path / "run", shared, 13)
    damage(tmp_path / "run" / "shared_weights" / name)
    asked, steps = [], []
    score, prepare = shared.score, shared.prepare
    with monkeypatch.context() as patch:
        patch.setattr(
            shared, "score",
            lambda *args: asked.append(args) or score(*args),
        )  # fmt: skip
        patch.setattr(
            shared, "prepare",
            lambda step, c: steps.append(step) or prepare(step, c),
        )  # fmt: skip
        run = _search(tmp_path / "run", shared)
    _assert_same(run, undisturbed[1])
    message = "had learned is damaged or gone; replaying 3 updates."
    assert f"What the evaluator {message}" in caplog.text
    assert steps == [0, 1, 2, 3]
    assert len(asked) == 1  # What the journal has is not evaluated again.


def test_a_lost_checkpoint_of_the_controller_replays_the_weights_too(
    tmp_path, shared, undisturbed
):
    _stop_after(tmp_path / "run", shared, 13)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    _assert_same(_search(tmp_path / "run", shared), undisturbed[1])


@pytest.fixture(scope="module")
def four_phases():
    """An evaluator of a phase before every step, and what its search finds."""
    shared = sharing(num_phases=4, steps_per_phase=1)
    return shared, _search(None, shared)


def test_the_last_two_snapshots_are_kept(tmp_path, four_phases):
    shared, want = four_phases
    _stop_after(tmp_path / "run", shared, 12)
    folder = tmp_path / "run" / "shared_weights"
    names = sorted(path.name for path in folder.glob("*.npz"))
    assert names == ["step_00000002.npz", "step_00000003.npz"]
    _assert_same(_search(tmp_path / "run", shared), want)


def test_weights_that_were_pruned_are_made_again(tmp_path, four_phases, caplog):
    """Here both are older: the controller's checkpoint, and its weights."""
    shared, want = four_phases
    _stop_after(tmp_path / "run", shared, 13)
    (tmp_path / "run" / "checkpoints" / "step_00000003.npz").unlink()
    (tmp_path / "run" / "shared_weights" / "step_00000003.npz").unlink()
    (tmp_path / "run" / "shared_weights" / "step_00000004.npz").unlink()
    _assert_same(_search(tmp_path / "run", shared), want)
    assert "replaying 2 updates" in caplog.text


def test_another_workdir_begins_anew(tmp_path, shared, undisturbed):
    _stop_after(tmp_path / "first", shared, 10)
    _assert_same(_search(tmp_path / "second", shared), undisturbed[1])
    _assert_same(_search(tmp_path / "first", shared), undisturbed[1])


def test_the_weights_of_a_workdir_are_of_its_arguments(tmp_path, shared):
    _stop_after(tmp_path / "run", shared, 5)
    other = sharing(task=shared.task, num_phases=3)
    with raises("evaluator.num_phases was 2, is 3"):
        _search(tmp_path / "run", other)


# The tree and REINFORCE are what all searches above are of.
@pytest.mark.parametrize(
    ("space", "loss"),
    [(TREE, "random"), (TREE, "ppo"), (DAG, "reinforce"), (ALL, "ppo")],
    ids=lambda value: getattr(value, "name", value),
)
def test_spaces_and_controllers_work_together(space, loss, tmp_path):
    def controller():
        if loss == "random":
            return RandomController(space)
        return _policy(space, loss)

    shared = sharing(space, windows_per_reward=2)
    want = _search(None, shared, controller())
    stopped = search(
        controller(), shared, _NUM_TRIALS, tmp_path, batch_size=_BATCH_SIZE
    )
    for _ in range(9):
        next(stopped)
    stopped.close()
    _assert_same(_search(tmp_path, shared, controller()), want)


def test_an_architecture_that_is_met_again_is_evaluated_again(shared):
    space = enas_recurrent_space(1)
    small = sharing(space, shared.task, num_phases=3, steps_per_phase=1)
    trials, *_ = _search(None, small, RandomController(space), 12)
    assert all(trial.same_as is None for trial in trials)
    rewards = {}
    for trial in trials:
        rewards.setdefault(trial.tokens, set()).add(trial.evaluation.reward)
    assert max(map(len, rewards.values())) > 1
