"""Tests of `search()`: the loop, learning, journal, resumption, damage."""

import csv
import functools
import json
import math
import os
import pathlib
import re
import shutil
import signal
import textwrap
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import forked
from nas_keras.cells.spec import load_spec
from nas_keras.controllers import EMABaseline
from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.search import Evaluation
from nas_keras.search import FunctionEvaluator
from nas_keras.search import SearchError
from nas_keras.search import search
from nas_keras.search.evaluator import Evaluator
from nas_keras.search.journal import Journal
from nas_keras.search.noise import noise
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import tree_space

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_NUM_TRIALS, _BATCH_SIZE = 14, 4  # Three updates, and half a batch.


def _space(num_choices=6, num_options=4):
    return Space(
        [
            Choice(f"choice_{place}", tuple(range(num_options)))
            for place in range(num_choices)
        ]
    )


def _one_max(spec):
    """Returns the fraction of choices that are the last option but one."""
    return sum(value == 2 for value in spec.values()) / len(spec)


class _Counting(Evaluator):
    """Wraps an evaluator; remembers how often it was asked."""

    def __init__(self, inner):
        self.inner, self.num_calls = inner, 0

    def evaluate(self, tokens, seed):
        self.num_calls += len(tokens)
        return self.inner.evaluate(tokens, seed)

    def config(self):
        return self.inner.config()


class _FailEvery(Evaluator):
    """Wraps an evaluator; every k-th architecture, by its tokens, raises."""

    def __init__(self, k, inner):
        self.k, self.inner = k, inner

    def evaluate(self, tokens, seed):
        if int(tokens.sum()) % self.k == 0:
            raise RuntimeError("out of order\nsecond line")
        return self.inner.evaluate(tokens, seed)


class _Returning(Evaluator):
    """Returns whatever it is told to."""

    def __init__(self, value):
        self.value = value

    def evaluate(self, tokens, seed):
        return self.value


def _evaluator(space=None):
    return FunctionEvaluator(space or _space(), _one_max)


@functools.cache
def _compiled():
    controller = PolicyGradientController(_space(), units=8)
    return controller, controller.state()


def _controller():
    """Returns a new controller, or one like new: compiling takes seconds."""
    controller, state = _compiled()
    controller.restore(state)
    return controller


def _run(workdir, num_trials=_NUM_TRIALS, evaluator=None, **arguments):
    """Runs a search; returns trials, the controller's state and calls."""
    controller = arguments.pop("controller", None) or _controller()
    counting = _Counting(evaluator or _evaluator())
    arguments = {"batch_size": _BATCH_SIZE, **arguments}
    trials = list(
        search(controller, counting, num_trials, workdir, **arguments)
    )
    return trials, controller.state(), counting.num_calls


def _stop_after(workdir, num, **arguments):
    """Runs a search until it has yielded `num` trials."""
    trials = search(
        _controller(), _evaluator(), _NUM_TRIALS, workdir,
        batch_size=_BATCH_SIZE, **arguments,
    )  # fmt: skip
    for _ in range(num):
        next(trials)
    trials.close()


def _records(workdir):
    lines = (workdir / "trials.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        assert record.pop("elapsed_s") >= 0
    return records


def _tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def _without_time(trials):
    return [
        (t.id, t.tokens, t.spec, t.evaluation.reward, t.evaluation.infeasible)
        for t in trials
    ]


def _assert_same_run(workdir, run, want_workdir, want):
    trials, state, _ = run
    want_trials, want_state, _ = want
    assert _without_time(trials) == _without_time(want_trials)
    assert _records(workdir) == _records(want_workdir)
    assert list(state) == list(want_state)
    for name, array in state.items():
        np.testing.assert_array_equal(array, want_state[name])
    steps = [(folder / "steps.jsonl").read_text()
             for folder in (workdir, want_workdir)]  # fmt: skip
    assert steps[0] == steps[1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    return workdir, _run(workdir)


def _raises(message):
    return pytest.raises(ValueError, match=re.escape(message))


# FunctionEvaluator.


def _evaluate(fn):
    evaluator = FunctionEvaluator(_space(), fn)
    (evaluation,) = evaluator.evaluate(np.zeros((1, 6), np.int32), seed=0)
    return evaluation


@pytest.mark.parametrize(
    "value", [0.25, -3, np.float32(0.5), np.int64(2), np.array(1.5)]
)
def test_a_number_is_the_reward(value):
    evaluation = _evaluate(lambda spec: value)
    assert evaluation.reward == float(value)
    assert type(evaluation.reward) is float
    assert evaluation.infeasible is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "the reward is nan"),
        (math.inf, "the reward is inf"),
        (np.float32("-inf"), "the reward is -inf"),
        (None, "the reward is not a number: None"),
        (True, "the reward is not a number: True"),
        ("0.5", "the reward is not a number: '0.5'"),
        (1j, "the reward is not a number: 1j"),
        ([1.0], r"the reward is not a number: \[1.0\]"),
        (np.zeros(2), "TypeError: "),
    ],
)
def test_what_is_no_finite_number_is_infeasible(value, reason):
    evaluation = _evaluate(lambda spec: value)
    assert evaluation.reward is None
    assert re.match(reason, evaluation.infeasible)


@pytest.mark.parametrize(
    "error", [RuntimeError("no\nmore"), MemoryError("no"), KeyError("no")]
)
def test_an_exception_is_infeasible_with_its_first_line(error):
    def fn(spec):
        raise error

    evaluation = _evaluate(fn)
    assert evaluation.reward is None
    kind = type(error).__name__
    assert re.fullmatch(f"{kind}: '?no'?", evaluation.infeasible)


def test_a_keyboard_interrupt_passes_through():
    def fn(spec):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _evaluate(fn)


def test_each_row_is_decoded_and_timed_for_itself():
    space = _space(2)
    evaluator = FunctionEvaluator(space, lambda spec: spec["choice_1"])
    evaluations = evaluator.evaluate(np.array([[0, 3], [0, 1]]), seed=0)
    assert [e.reward for e in evaluations] == [3.0, 1.0]
    assert all(e.elapsed_s > 0 for e in evaluations)


def test_the_arguments_of_a_function_evaluator_are_checked():
    with _raises("space must be a Space. Received: dict."):
        FunctionEvaluator({}, _one_max)
    with _raises("fn must be callable. Received: fn=3."):
        FunctionEvaluator(_space(), 3)


def test_an_evaluation_has_a_reward_or_a_reason():
    with _raises("either a reward or a reason"):
        Evaluation(None)
    with _raises("either a reward or a reason"):
        Evaluation(1.0, infeasible="why")
    with _raises("reward must be finite. Received: reward=nan."):
        Evaluation(math.nan)


# Noise.


@given(st.integers(0, 2**40), st.integers(0, 10_000), st.integers(1, 9))
def test_a_row_of_noise_does_not_depend_on_the_number_of_rows(seed, step, num):
    whole = noise(seed, step, (9, 5))
    np.testing.assert_array_equal(noise(seed, step, (num, 5)), whole[:num])
    assert whole.dtype == np.float32
    assert (whole >= 0).all() and (whole < 1).all()
    assert (noise(seed + 1, step, (9, 5)) != whole).any()
    assert (noise(seed, step + 1, (9, 5)) != whole).any()


def test_noise_is_uniform():
    values = noise(0, 0, (4_000, 25)).ravel()
    counts = np.histogram(values, bins=20, range=(0, 1))[0]
    assert np.abs(counts - 5_000).max() < 5 * math.sqrt(5_000)


# The loop.


@pytest.mark.parametrize(("num", "batch_size"), [(1, 4), (4, 4), (7, 3)])
def test_trials_come_one_by_one_with_ids_in_order(num, batch_size):
    counting = _Counting(_evaluator())
    trials = search(
        RandomController(_space()), counting, num, batch_size=batch_size
    )
    for place, trial in enumerate(trials):
        assert trial.id == place
        assert counting.num_calls == place + 1  # Not a batch ahead.
        assert trial.spec == _space().decode(trial.tokens)
        assert trial.evaluation.reward == _one_max(trial.spec)
    assert place == num - 1


def test_the_controller_learns_after_each_full_batch_alone():
    class Recording(RandomController):
        advantages = ()

        def update(self, samples, advantage):
            self.advantages = (*self.advantages, advantage)
            return super().update(samples, advantage)

    controller = Recording(_space())
    trials, *_ = _run(None, 14, controller=controller, seed=5)
    rewards = [trial.evaluation.reward for trial in trials]
    assert len(controller.advantages) == 3
    first = np.array(rewards[:4])
    want = (first - first.mean()) / first.std()
    np.testing.assert_allclose(controller.advantages[0], want, rtol=1e-5)


@pytest.mark.parametrize(("seed", "other_seed"), [(0, 1)])
def test_the_seed_decides_what_is_sampled(seed, other_seed):
    runs = [
        _without_time(_run(None, controller=RandomController(_space()),
                           seed=s)[0])
        for s in (seed, seed, other_seed)
    ]  # fmt: skip
    assert runs[0] == runs[1] != runs[2]


def test_the_evaluation_seed_is_given_to_the_evaluator():
    seeds = []

    class Recording(_Counting):
        def evaluate(self, tokens, seed):
            seeds.append(seed)
            return super().evaluate(tokens, seed)

    for arguments in ({"seed": 3}, {"seed": 3, "evaluation_seed": 8}):
        _run(None, 1, evaluator=Recording(_evaluator()), **arguments)
    assert seeds == [3, 8]


def test_one_max_is_learned():
    # 2,400 evaluations and 150 updates: some seconds; the promise of the
    # issue is for exactly this many.
    trials, *_ = _run(
        None, 150 * 16, batch_size=16,
        controller=PolicyGradientController(_space()),
    )  # fmt: skip
    rewards = np.array([t.evaluation.reward for t in trials]).reshape(150, 16)
    assert 0.15 < rewards[0].mean() < 0.40
    assert rewards[-10:].mean() > 0.95


def test_random_search_does_not_learn_one_max():
    controller = RandomController(_space())
    trials, *_ = _run(None, 2_400, batch_size=16, controller=controller)
    rewards = np.array([t.evaluation.reward for t in trials])
    assert abs(rewards[-480:].mean() - 0.25) < 0.05


def _pairs(tokens):
    """Rewards agreement of neighbours: no choice is good by itself."""
    return float(sum(a == b for a, b in zip(tokens, tokens[1:], strict=False)))


def _weighted(tokens):
    return float(np.dot(tokens, [1, 2, 4, -3, 1, 2]))


def _table(tokens):
    """A fixed random value of every (place, option)."""
    table = np.random.default_rng(7).normal(size=(6, 4))
    return float(table[np.arange(6), list(tokens)].sum())


@pytest.mark.parametrize(
    ("table", "scale", "shift"),
    [
        (_pairs, 1.0, 0.0),
        (_pairs, 1e-6, 0.0),
        (_weighted, 1e6, 0.0),
        (_weighted, 1e-6, 1.0),
        (_table, 1.0, 1e3),
    ],
)
def test_any_small_table_is_learned_whatever_the_rewards_scale(
    table, scale, shift
):
    space = _space()

    def mean_of_last(controller):
        evaluator = FunctionEvaluator(
            space,
            lambda spec: scale * table(tuple(spec.values())) + shift,
        )
        trials, *_ = _run(
            None, 500, evaluator, batch_size=10, controller=controller
        )
        last = [t.evaluation.reward for t in trials[-100:]]
        return (np.mean(last) - shift) / scale

    everything = np.array(np.meshgrid(*[range(4)] * 6)).reshape(6, -1).T
    rewards = np.array([table(tuple(tokens)) for tokens in everything[::5]])
    learned = mean_of_last(PolicyGradientController(space))
    random = mean_of_last(RandomController(space))
    assert abs(random - rewards.mean()) < 0.5 * rewards.std()
    assert learned > random + 1.5 * rewards.std()


# Failures.


@pytest.mark.parametrize("k", [2, 3])
def test_failing_architectures_do_not_end_the_run(k):
    evaluator = _FailEvery(k, _evaluator())
    trials, *_ = _run(
        None, 60, evaluator, controller=RandomController(_space()),
        max_consecutive_failures=30,
    )  # fmt: skip
    failed = [t for t in trials if sum(t.tokens) % k == 0]
    assert len(trials) == 60 and 10 < len(failed) < 50
    for trial in trials:
        infeasible = trial.evaluation.infeasible
        want = "RuntimeError: out of order" if trial in failed else None
        assert infeasible == want


def test_a_controller_learns_around_failing_architectures():
    evaluator = FunctionEvaluator(
        _space(), lambda s: math.nan if s["choice_0"] == 1 else _one_max(s)
    )
    trials, *_ = _run(
        None, 800, evaluator, batch_size=16,
        controller=PolicyGradientController(_space()),
    )  # fmt: skip
    rewards = [t.evaluation.reward for t in trials]
    assert rewards[:100].count(None) > 10
    assert rewards[-100:].count(None) < 5


def test_a_search_ends_when_too_many_fail_in_a_row():
    trials, counting = [], _Counting(_FailEvery(1, _evaluator()))
    message = (
        "3 architectures in a row were infeasible; the last: RuntimeError: "
        "out of order."
    )
    with pytest.raises(SearchError, match=re.escape(message)):
        for trial in search(
            RandomController(_space()), counting, 50, max_consecutive_failures=3
        ):
            trials.append(trial)
    assert len(trials) == counting.num_calls == 3


def test_failures_that_are_not_in_a_row_do_not_add_up():
    outcomes = iter([1, 1, 0] * 7)
    evaluator = FunctionEvaluator(
        _space(), lambda spec: math.nan if next(outcomes) else 1.0
    )
    trials, *_ = _run(None, 21, evaluator, max_consecutive_failures=3)
    assert len(trials) == 21


def test_a_run_that_failed_goes_on_with_more_failures_allowed(tmp_path):
    evaluator = _FailEvery(1, _evaluator())
    arguments = {"controller": RandomController(_space())}
    with pytest.raises(SearchError):
        _run(tmp_path, 6, evaluator, max_consecutive_failures=3, **arguments)
    assert len(_records(tmp_path)) == 3
    # Failures of an earlier call do not count: their cause may be gone.
    trials, _, calls = _run(
        tmp_path, 5, evaluator, max_consecutive_failures=3, **arguments
    )
    assert (len(trials), calls) == (5, 2)


@pytest.mark.parametrize(
    "value", [None, 1.0, [0.5], [], (Evaluation(1.0),), [Evaluation(1.0)] * 2]
)
def test_an_evaluator_that_returns_something_else_is_an_error(value):
    message = "_Counting.evaluate must return a list of one Evaluation a row."
    with _raises(message):
        _run(None, 2, _Returning(value))


@pytest.mark.parametrize(
    ("argument", "value", "rule"),
    [
        ("num_trials", 0, "an int of at least 1, below 2**63"),
        ("num_trials", 2.5, "an int of at least 1, below 2**63"),
        ("num_trials", True, "an int of at least 1, below 2**63"),
        ("batch_size", 0, "an int of at least 1, below 2**63"),
        ("batch_size", "8", "an int of at least 1, below 2**63"),
        ("max_consecutive_failures", 0, "an int of at least 1, below 2**63"),
        ("seed", -1, "an int of at least 0, below 2**63"),
        ("seed", 0.5, "an int of at least 0, below 2**63"),
        ("evaluation_seed", -3, "an int of at least 0, below 2**63"),
    ],
)
def test_arguments_are_checked_when_search_is_called(argument, value, rule):
    arguments = {"num_trials": 4, argument: value}
    message = f"{argument} must be {rule}. Received: {argument}={value!r}."
    with _raises(message):
        search(RandomController(_space()), _evaluator(), **arguments)


# The workdir.


def test_a_workdir_holds_config_journal_checkpoints_and_csv(undisturbed):
    workdir, (trials, _, calls) = undisturbed
    assert calls == _NUM_TRIALS
    config = json.loads((workdir / "config.json").read_text())
    assert config["run"]["batch_size"] == _BATCH_SIZE
    assert config["run"]["num_trials"] == _NUM_TRIALS
    assert config["run"]["controller"] == _controller().config()
    assert {"python", "tensorflow", "git"} <= set(config["environment"])
    assert [record["id"] for record in _records(workdir)] == list(range(14))
    for trial, record in zip(trials, _records(workdir), strict=True):
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
    trials, *_ = _run(
        tmp_path, evaluator=evaluator, controller=RandomController(space)
    )
    best = max(trials, key=lambda trial: trial.evaluation.reward)
    spec = load_spec(tmp_path / "best_cell.json")
    assert spec.equations == best.spec.equations
    assert spec.provenance["space"] == "tree(base=2)"
    assert spec.provenance["tokens"] == list(best.tokens)
    assert spec.provenance["reward"] == best.evaluation.reward
    assert spec.provenance["run"] == str(tmp_path)
    records = _records(tmp_path)
    assert [r["fingerprint"] for r in records] == [
        trial.spec.fingerprint for trial in trials
    ]


@pytest.mark.parametrize("num", [0, 1, 3, 4, 5, 8, 11, 13, 14])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(
    num, tmp_path, undisturbed
):
    _stop_after(tmp_path / "run", num)
    run = _run(tmp_path / "run")
    assert run[2] == _NUM_TRIALS - num  # None is evaluated again.
    _assert_same_run(tmp_path / "run", run, *undisturbed)


def test_a_search_goes_on_with_a_controller_that_is_made_anew(
    tmp_path, undisturbed
):
    _stop_after(tmp_path / "run", 6)
    controller = PolicyGradientController(_space(), units=8)
    run = _run(tmp_path / "run", controller=controller)
    _assert_same_run(tmp_path / "run", run, *undisturbed)


def test_a_search_stopped_again_and_again_goes_on(tmp_path, undisturbed):
    for num in (2, 5, 6, 9, 12):
        _stop_after(tmp_path / "run", num)
    run = _run(tmp_path / "run")
    assert run[2] == 2
    _assert_same_run(tmp_path / "run", run, *undisturbed)


@pytest.mark.parametrize("num", [3, 4, 6])
def test_a_search_that_is_made_longer_equals_a_long_one(
    num, tmp_path, undisturbed
):
    short = _run(tmp_path / "run", num)
    assert len(short[0]) == short[2] == num
    longer = _run(tmp_path / "run")
    assert longer[2] == _NUM_TRIALS - num
    _assert_same_run(tmp_path / "run", longer, *undisturbed)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["run"]["num_trials"] == _NUM_TRIALS


def test_a_finished_run_evaluates_nothing_and_changes_nothing(
    tmp_path, undisturbed
):
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed[0], workdir)
    before = _tree(workdir)
    run = _run(workdir)
    assert run[2] == 0
    assert _tree(workdir) == before
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
    _stop_after(workdir, 10)
    for name in names:
        damage(workdir / "checkpoints" / name)
    run = _run(workdir)
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
    _stop_after(workdir, 7)
    path = workdir / "trials.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes()[:num_bytes])
    run = _run(workdir)
    assert run[2] == 7
    assert "dropping the last line, which a crash cut short" in caplog.text
    _assert_same_run(workdir, run, *undisturbed)


@pytest.mark.parametrize("num_bytes", [0, 1, 200, -1])
def test_a_journal_that_was_cut_is_refused(num_bytes, tmp_path):
    workdir = tmp_path / "run"
    _stop_after(workdir, 3)  # No checkpoint knows better.
    path = workdir / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:num_bytes])
    before = _tree(workdir)
    with _raises(f"{path} is damaged: its first "):
        _run(workdir)
    assert _tree(workdir) == before


def test_a_journal_that_is_gone_is_refused(tmp_path):
    workdir = tmp_path / "run"
    _stop_after(workdir, 3)
    (workdir / "trials.jsonl").unlink()
    with _raises("trials.jsonl is damaged: its first "):
        _run(workdir)


def test_a_changed_digit_of_a_journal_is_noticed(tmp_path):
    workdir = tmp_path / "run"
    _stop_after(workdir, 3)
    path = workdir / "trials.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"row": 1', b'"row": 2'))
    with _raises("trials.jsonl is damaged: its first "):
        _run(workdir)


@pytest.mark.parametrize("damage", [_truncate, _flip, _empty, os.remove])
def test_a_damaged_guard_is_passed_over_loudly(
    damage, tmp_path, undisturbed, caplog
):
    workdir = tmp_path / "run"
    _stop_after(workdir, 7)
    guard = workdir / "trials.jsonl.sha256"
    if damage is _truncate:
        guard.write_bytes(guard.read_bytes()[:-10])
    else:
        damage(guard)
    run = _run(workdir)
    assert run[2] == 7
    assert re.search("jsonl(.sha256 is damaged| has no guard)", caplog.text)
    _assert_same_run(workdir, run, *undisturbed)


def test_trials_that_a_checkpoint_has_seen_are_missed(tmp_path):
    workdir = tmp_path / "run"
    _stop_after(workdir, 9)
    path = workdir / "trials.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6]))
    (workdir / "trials.jsonl.sha256").unlink()
    with _raises("the checkpoint has seen 8 trials and the journal holds 6"):
        _run(workdir)


@pytest.mark.parametrize("line", [b"{broken\n", b"\n", b"3\n", b"\xff\n"])
def test_a_damaged_middle_line_is_named_and_nothing_is_changed(line, tmp_path):
    workdir = tmp_path / "run"
    _stop_after(workdir, 7)
    path = workdir / "trials.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = line
    path.write_bytes(b"".join(lines))
    before = _tree(workdir)
    with _raises(f"{path}: line 3 is damaged"):
        _run(workdir)
    assert _tree(workdir) == before


@pytest.mark.parametrize("change", ["remove", "repeat"])
def test_trials_that_are_missing_or_repeated_are_refused(change, tmp_path):
    workdir = tmp_path / "run"
    _stop_after(workdir, 7)
    path = workdir / "trials.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines = lines[:2] + lines[3:] if change == "remove" else [*lines, lines[1]]
    path.write_bytes(b"".join(lines))
    (workdir / "trials.jsonl.sha256").unlink()
    before = _tree(workdir)
    with _raises(f"{path}: trials are missing or given twice among the "):
        _run(workdir)
    assert _tree(workdir) == before


def test_a_journal_of_other_tokens_is_refused(tmp_path):
    workdir = tmp_path / "run"
    _stop_after(workdir, 6)
    path = workdir / "trials.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[5]["tokens"] = [(token + 1) % 4 for token in lines[5]["tokens"]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (workdir / "trials.jsonl.sha256").unlink()
    with _raises("Trial 5 of the journal is "):
        _run(workdir)


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        ({"batch_size": 5}, "batch_size was 4, is 5"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"controller": _controller},
         "controller.seed was 0, is 9"),
        ({"controller": RandomController},
         "controller.class was 'PolicyGradientController', is "
         "'RandomController'"),
        ({"baseline": EMABaseline(0.5)}, "baseline.decay was 0.95, is 0.5"),
        ({"settings": {"text": "a"}}, "settings.text was None, is 'a'"),
    ],
)  # fmt: skip
def test_another_configuration_is_refused_and_nothing_is_changed(
    arguments, difference, tmp_path, undisturbed
):
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed[0], workdir)
    before = _tree(workdir)
    if arguments.get("controller") is _controller:
        arguments = {
            "controller": PolicyGradientController(_space(), seed=9, units=8)
        }
    elif "controller" in arguments:
        arguments = {"controller": RandomController(_space())}
    with pytest.raises(ValueError, match=re.escape(difference)) as caught:
        _run(workdir, **arguments)
    assert repr(str(workdir)) in str(caught.value)
    assert _tree(workdir) == before


def test_a_journal_without_its_configuration_is_refused(tmp_path):
    workdir = tmp_path / "run"
    _stop_after(workdir, 3)
    (workdir / "config.json").unlink()
    before = _tree(workdir)
    with _raises(f"{workdir / 'config.json'} is missing beside what a run"):
        _run(workdir)
    assert _tree(workdir) == before


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"{", "damaged, not JSON"), (b"[]", "damaged, it holds no 'run'")],
)
def test_a_damaged_configuration_is_named(data, message, tmp_path):
    workdir = tmp_path / "run"
    _stop_after(workdir, 3)
    (workdir / "config.json").write_bytes(data)
    with _raises(f"{workdir / 'config.json'}: {message}"):
        _run(workdir)


def test_a_second_search_in_a_workdir_is_refused_naming_the_first(tmp_path):
    first = search(_controller(), _evaluator(), 8, tmp_path, batch_size=4)
    next(first)
    before = _tree(tmp_path)
    with _raises(f"in use by pid {os.getpid()} on "):
        next(search(_controller(), _evaluator(), 8, tmp_path, batch_size=4))
    assert _tree(tmp_path) == before
    assert len(list(first)) == 7  # The first is not disturbed.
    assert _run(tmp_path, 8)[2] == 0  # And has let go of the folder.


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_workdir_that_cannot_be_made_is_named(name, tmp_path):
    (tmp_path / "file").write_text("mine")
    with _raises(f"workdir {str(tmp_path / name)!r} cannot be made: "):
        _run(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_journal_line_is_on_disk_when_append_returns(tmp_path):
    journal = Journal(tmp_path / "x.jsonl", {"number": (int,)})
    for number in range(3):
        journal.append({"number": number, "text": "ä\u2028b"})
        again = Journal(tmp_path / "x.jsonl", {"number": (int,)})
        assert again.records == journal.records
    assert len(again.records) == 3


@pytest.mark.parametrize(
    "line", ["{}", '{"number": "1"}', '{"number": true}', "[1]", "3"]
)
def test_a_journal_line_of_another_shape_is_damage(tmp_path, line):
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"number": 0}}\n{line}\n')
    with pytest.raises(ValueError, match=r"x.jsonl: line 2 is damaged"):
        Journal(path, {"number": (int,)})


def test_a_run_cannot_be_made_shorter(tmp_path):
    _run(tmp_path, 6, _evaluator())
    before = {p.name: p.read_bytes() for p in tmp_path.glob("*.json*")}
    with pytest.raises(ValueError, match="holds 6 trials.*not shorter"):
        _run(tmp_path, 4, _evaluator())
    after = {p.name: p.read_bytes() for p in tmp_path.glob("*.json*")}
    assert after == before


def test_options_of_a_choice_are_part_of_the_configuration(tmp_path):
    def run(options):
        space = Space([Choice("width", options)])
        evaluator = FunctionEvaluator(space, lambda spec: spec["width"])
        return list(search(RandomController(space), evaluator, 2, tmp_path))

    run((16, 32))
    with pytest.raises(ValueError, match="choices was"):
        run((16, 64))


def test_a_decode_that_raises_makes_the_trial_infeasible():
    def decode(tokens):
        if tokens[0]:
            raise RuntimeError("no such cell")
        return "cell"

    space = Space([Choice("which", (0, 1))], decode)
    evaluator = FunctionEvaluator(space, lambda spec: 1.0)
    trials = list(search(RandomController(space), evaluator, 12, seed=1))
    reasons = {trial.evaluation.infeasible for trial in trials}
    assert reasons == {None, "RuntimeError: no such cell"}


def test_a_controller_that_diverges_ends_the_run_before_its_state_is_kept(
    tmp_path,
):
    class Diverging(RandomController):
        def update(self, samples, advantage):
            return {"loss": math.nan}

    space = _space()
    with pytest.raises(SearchError, match="diverged at update 0"):
        list(search(Diverging(space), _evaluator(), 4, tmp_path, batch_size=2))
    assert not (tmp_path / "checkpoints").exists()


def test_only_one_process_starts_from_a_lock_without_a_name(tmp_path):
    first = search(RandomController(_space()), _evaluator(), 2, tmp_path)
    next(first)
    (tmp_path / "lock.holder").unlink()
    second = search(RandomController(_space()), _evaluator(), 2, tmp_path)
    with pytest.raises(ValueError, match="in use by another process"):
        next(second)
    first.close()


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
    assert 2 < len(_records(tmp_path / "killed")) < 40
    for process in (_start(tmp_path / "killed"), whole):
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    folders = [tmp_path / "killed", tmp_path / "whole"]
    assert _records(folders[0]) == _records(folders[1])
    assert len({(f / "steps.jsonl").read_text() for f in folders}) == 1
    names = [sorted(p.name for p in (f / "checkpoints").glob("*.npz"))
             for f in folders]  # fmt: skip
    assert names[0] == names[1] == ["step_00000009.npz", "step_00000010.npz"]
    got, want = (np.load(f / "checkpoints" / names[0][1]) for f in folders)
    assert got.files == want.files
    for name in want.files:
        np.testing.assert_array_equal(got[name], want[name])
