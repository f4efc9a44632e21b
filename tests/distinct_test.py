"""Tests of `search()`: what is met again; what an evaluator is told.

An architecture that is met again has its first score; an evaluator that
learns is called before each step.
"""

import csv
import dataclasses
import json
import math
import re
import threading

import numpy as np
import pytest

from nas_keras.controllers import EMABaseline
from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.controllers import Samples
from nas_keras.controllers.baseline import BaselineState
from nas_keras.search import Cluster
from nas_keras.search import Evaluation
from nas_keras.search import FunctionEvaluator
from nas_keras.search import SearchError
from nas_keras.search import search
from nas_keras.search.evaluator import Evaluator
from nas_keras.search.trial import architecture_key
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import tree_space

_NUM_TRIALS, _BATCH_SIZE = 22, 4


def _space(decode=None):
    """Of 9 architectures, so that 22 trials meet most of them again."""
    return Space([Choice("a", (0, 1, 2)), Choice("b", (0, 1, 2))], decode)


@dataclasses.dataclass(frozen=True)
class _Sum:
    """An architecture of which the order of its parts is of no matter."""

    parts: tuple[int, ...]

    @property
    def fingerprint(self):
        return " + ".join(map(str, sorted(self.parts)))


def _score(spec):
    parts = spec.parts if isinstance(spec, _Sum) else tuple(spec.values())
    return 1.0 + sum(parts)


class _Learning(Evaluator):
    """Remembers all that it is told; with each step it scores higher."""

    def __init__(self, space, fn=_score, is_repeatable=True, keeps=True):
        self.inner = FunctionEvaluator(space, fn)
        self.is_repeatable, self.keeps = is_repeatable, keeps
        self.told, self.asked = [], []
        self.level = 0

    def evaluate(self, tokens, seed):
        self.asked.append(tuple(tokens[0].tolist()))
        self.told.append("evaluate")
        (evaluation,) = self.inner.evaluate(tokens, seed)
        if evaluation.reward is None:
            return [evaluation]
        reward = evaluation.reward + self.level * (not self.is_repeatable)
        metrics = {"reward_before": evaluation.reward}
        return [dataclasses.replace(evaluation, reward=reward, metrics=metrics)]

    def config(self):
        return self.inner.config()

    def open(self, folder, step, cluster):
        self.told.append(("open", step))
        self.level = step
        return self.keeps or not step

    def prepare(self, step, controller):
        self.told.append(("prepare", step))
        self.level = step + 1


class _Scripted(RandomController):
    """Proposes what it is told to; remembers what it learns from."""

    def __init__(self, space, rows, bonus=None):
        super().__init__(space)
        self.rows, self.used, self.learnt = np.array(rows, np.int32), 0, []
        self.told = None
        self._bonus = bonus

    def sample(self, noise):
        samples = super().sample(noise)
        rows = self.rows[self.used : self.used + len(noise)]
        self.used += len(noise)
        missing = len(noise) - len(rows)
        rows = np.concatenate([rows, np.zeros((missing, rows.shape[1]), int)])
        if self.told is not None:
            self.told.append("sample")
        return Samples(rows.astype(np.int32), samples.log_prob, samples.entropy)

    def update(self, samples, advantage):
        self.learnt.append(advantage)
        return super().update(samples, advantage)

    def bonus(self, samples):
        if self._bonus is None:
            return super().bonus(samples)
        return self._bonus(samples)


def _run(evaluator, controller=None, workdir=None, **arguments):
    controller = controller or RandomController(evaluator.inner.space)
    arguments = {
        "num_trials": _NUM_TRIALS, "batch_size": _BATCH_SIZE, **arguments
    }  # fmt: skip
    return list(search(controller, evaluator, workdir=workdir, **arguments))


def _stop_after(num, evaluator, workdir, **arguments):
    trials = search(
        RandomController(evaluator.inner.space), evaluator, _NUM_TRIALS,
        workdir, batch_size=_BATCH_SIZE, **arguments,
    )  # fmt: skip
    for _ in range(num):
        next(trials)
    trials.close()


def _records(workdir):
    lines = (workdir / "trials.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        assert (record.pop("elapsed_s") == 0) == (record["same_as"] is not None)
    return records


def _told(trials):
    return [
        (t.id, t.tokens, t.evaluation.reward, t.evaluation.infeasible,
         dict(t.evaluation.metrics), t.same_as)
        for t in trials
    ]  # fmt: skip


def _raises(message, error=ValueError):
    return pytest.raises(error, match=re.escape(message))


# What is met again.


def _assert_reused(trials, evaluator, key):
    """Each key was evaluated once, where it was first met."""
    first = {}
    for trial in trials:
        known = first.setdefault(key(trial), trial)
        if known is trial:
            assert trial.same_as is None
            continue
        assert trial.same_as == known.id
        got, want = trial.evaluation, known.evaluation
        assert (got.reward, got.metrics) == (want.reward, want.metrics)
        assert got.infeasible == want.infeasible
        assert got.elapsed_s == 0.0
    assert evaluator.asked == [trial.tokens for trial in first.values()]
    assert len(first) < len(trials)


def test_an_architecture_that_is_met_again_has_its_first_score():
    evaluator = _Learning(_space())
    trials = _run(evaluator)
    assert [t.id for t in trials] == list(range(_NUM_TRIALS))
    _assert_reused(trials, evaluator, lambda trial: trial.tokens)


def test_different_tokens_of_one_fingerprint_are_the_same():
    evaluator = _Learning(_space(decode=lambda tokens: _Sum(tokens)))
    trials = _run(evaluator)
    _assert_reused(trials, evaluator, lambda t: tuple(sorted(t.tokens)))
    reused = [t for t in trials if t.same_as is not None]
    others = [t for t in reused if t.tokens != trials[t.same_as].tokens]
    assert others
    for trial in others:  # The spec is that of its own tokens.
        assert trial.spec.parts == trial.tokens


def test_cells_that_are_equal_by_commutativity_are_the_same():
    space = tree_space(2)
    # The first two of random rows that are one cell.
    rng = np.random.default_rng(0)
    seen = {}
    while True:
        row = tuple(int(rng.integers(num)) for num in space.num_options)
        other = seen.setdefault(space.decode(row).fingerprint, row)
        if other != row:
            break
    evaluator = _Learning(space, lambda spec: 1.0)
    lone = (0,) * len(row)
    controller = _Scripted(space, [lone, other, row, lone])
    trials = _run(evaluator, controller, num_trials=4)
    assert [t.same_as for t in trials] == [None, None, 1, 0]
    assert evaluator.asked == [lone, other]


def test_what_architectures_have_in_common_is_the_print_or_the_tokens():
    """Tokens are told apart; a print takes their place where there is one."""
    assert architecture_key((1, 2), None) == "1 2"
    assert architecture_key((1, 2), "") == "1 2"
    assert architecture_key((1, 2), "abc") == "abc"
    assert architecture_key((1, 23), None) != architecture_key((12, 3), None)


def test_every_trial_is_evaluated_if_that_is_asked_for(tmp_path):
    evaluator = _Learning(_space())
    trials = _run(evaluator, workdir=tmp_path, evaluate_again=True)
    assert evaluator.asked == [t.tokens for t in trials]
    assert {t.same_as for t in trials} == {None}
    assert {record["same_as"] for record in _records(tmp_path)} == {None}


def test_every_trial_of_an_evaluator_that_learns_is_evaluated():
    evaluator = _Learning(_space(), is_repeatable=False)
    trials = _run(evaluator)
    assert evaluator.asked == [t.tokens for t in trials]
    assert {t.same_as for t in trials} == {None}
    for trial in trials:
        want = _score(trial.spec) + trial.id // _BATCH_SIZE + 1
        assert trial.evaluation.reward == want


def test_what_is_met_again_in_its_batch_is_evaluated_once():
    evaluator = _Learning(_space())
    rows = [(0, 1), (0, 1), (2, 2), (0, 1), (2, 2), (1, 1), (0, 1), (1, 1)]
    controller = _Scripted(_space(), rows)
    trials = _run(evaluator, controller, num_trials=8)
    assert [t.same_as for t in trials] == [None, 0, None, 0, 2, None, 0, 5]
    assert evaluator.asked == [(0, 1), (2, 2), (1, 1)]
    assert [t.tokens for t in trials] == rows
    # The controller learns from all of them.
    first, state = EMABaseline().advantages([2.0, 2.0, 5.0, 2.0],
                                            BaselineState())  # fmt: skip
    second, _ = EMABaseline().advantages([5.0, 3.0, 2.0, 3.0], state)
    np.testing.assert_array_equal(controller.learnt, [first, second])


@pytest.mark.parametrize("num", [1, 2, 5, 6, 7, 9, 10, 15, 21])
@pytest.mark.parametrize("decode", [None, _Sum], ids=["tokens", "fingerprint"])
def test_a_search_goes_on_in_the_middle_of_repetitions(num, decode, tmp_path):
    evaluator = _Learning(_space(decode))
    want = _run(evaluator, workdir=tmp_path / "want")
    stopped = _Learning(_space(decode))
    _stop_after(num, stopped, tmp_path / "run")
    again = _Learning(_space(decode))
    got = _run(again, workdir=tmp_path / "run")
    assert _told(got) == _told(want)
    assert stopped.asked + again.asked == evaluator.asked
    assert _records(tmp_path / "run") == _records(tmp_path / "want")
    assert [record["same_as"] for record in _records(tmp_path / "run")] == [
        trial.same_as for trial in want
    ]


def test_the_table_of_trials_has_the_column(tmp_path):
    trials = _run(_Learning(_space()), workdir=tmp_path)
    with open(tmp_path / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    want = ["" if t.same_as is None else str(t.same_as) for t in trials]
    assert [row["same_as"] for row in rows] == want
    assert "" in want and "0" in want


def test_a_journal_from_before_repetitions_were_known_is_refused(tmp_path):
    _stop_after(5, _Learning(_space()), tmp_path)
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    assert stored["run"].pop("evaluate_again") is False
    path.write_text(json.dumps(stored))
    before = (tmp_path / "trials.jsonl").read_bytes()
    message = (
        "was written by another configuration: evaluate_again was None, is "
        "False. Choose another workdir, or the old values; nothing was changed."
    )
    with _raises(message):
        _run(_Learning(_space()), workdir=tmp_path)
    assert (tmp_path / "trials.jsonl").read_bytes() == before


def test_evaluating_again_is_part_of_the_configuration(tmp_path):
    _stop_after(5, _Learning(_space()), tmp_path)
    with _raises("evaluate_again was False, is True"):
        _run(_Learning(_space()), workdir=tmp_path, evaluate_again=True)


def _decode_or_fail(tokens):
    if tokens[0] == tokens[1]:
        raise RuntimeError(f"no {tokens[0]} twice")
    return {"a": tokens[0], "b": tokens[1]}


def test_what_cannot_be_decoded_is_decoded_no_more_than_told(tmp_path):
    evaluator = _Learning(_space(_decode_or_fail))
    trials = _run(evaluator, workdir=tmp_path)
    first = {}
    for trial in trials:
        known = first.setdefault(trial.tokens, trial)
        assert trial.same_as == (None if known is trial else known.id)
        a, b = trial.tokens
        want = f"RuntimeError: no {a} twice" if a == b else None
        assert trial.evaluation.infeasible == want
        assert (trial.spec is None) == (a == b)
    assert any(t.same_as is not None and t.spec is None for t in trials)
    assert all(a != b for a, b in evaluator.asked)
    again = _run(_Learning(_space(_decode_or_fail)), workdir=tmp_path)
    assert _told(again) == _told(trials)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_infeasible_is_so_again_and_counts(value):
    rows = [(0, 1), (2, 2), (2, 2), (1, 1), (2, 2), (2, 2), (2, 2), (0, 1)]
    evaluator = _Learning(
        _space(), lambda spec: value if spec["a"] == 2 else 1.0
    )
    controller = _Scripted(_space(), rows)
    trials = []
    message = (
        "3 architectures in a row were infeasible; the last: the reward is "
        f"{value}."
    )
    with _raises(message, SearchError):
        for trial in search(
            controller, evaluator, 8, batch_size=4, max_consecutive_failures=3
        ):
            trials.append(trial)
    assert [t.same_as for t in trials] == [None, None, 1, None, 1, 1, 1]
    assert [t.evaluation.reward for t in trials] == [
        1.0, None, None, 1.0, None, None, None
    ]  # fmt: skip
    assert evaluator.asked == [(0, 1), (2, 2), (1, 1)]


# Two workers.


class _InAThread(Cluster):
    """One of two workers in threads of this process."""

    def __init__(self, index, parts, barrier):
        super().__init__()
        self.size, self.index = 2, index
        self._parts, self._barrier = parts, barrier

    def _all_reduce(self, values):
        self._parts[self.index] = values
        self._barrier.wait(10)
        total = sum(self._parts)
        self._barrier.wait(10)
        return total


def _run_two(workdir, evaluators, controllers=(None, None), **arguments):
    """Returns the trials of both workers."""
    parts, barrier, found = [None, None], threading.Barrier(2), [None, None]

    def work(index):
        cluster = _InAThread(index, parts, barrier)
        try:
            found[index] = _run(
                evaluators[index], controllers[index], workdir,
                cluster=cluster, **arguments,
            )  # fmt: skip
        except BaseException as error:
            found[index] = error
            barrier.abort()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for trials in found:
        if isinstance(trials, BaseException):
            raise trials
    return found


@pytest.mark.parametrize("decode", [None, _Sum], ids=["tokens", "fingerprint"])
@pytest.mark.parametrize("num", [0, 6])
def test_two_workers_share_what_is_new_and_keep_the_same_journal(
    num, decode, tmp_path
):
    alone = _Learning(_space(decode))
    want = _run(alone, workdir=tmp_path / "want")
    first = _Learning(_space(decode))
    if num:
        _stop_after(num, first, tmp_path / "run")
    workers = [_Learning(_space(decode)) for _ in range(2)]
    for got in _run_two(tmp_path / "run", workers):
        assert _told(got) == _told(want)
    assert _records(tmp_path / "run") == _records(tmp_path / "want")
    asked = [row for worker in (first, *workers) for row in worker.asked]
    assert sorted(asked) == sorted(alone.asked)
    assert all(worker.asked for worker in workers) or num
    # And one goes on with what two have left.
    last = _Learning(_space(decode))
    assert _told(_run(last, workdir=tmp_path / "run")) == _told(want)
    assert last.asked == []


def test_two_workers_have_nothing_to_do_where_all_is_known():
    rows = [(0, 1), (1, 2), (0, 1), (1, 2)] * 2 + [(1, 1)] * 4
    want = _run(_Learning(_space()), _Scripted(_space(), rows), num_trials=12)
    workers = [_Learning(_space()) for _ in range(2)]
    controllers = [_Scripted(_space(), rows) for _ in range(2)]
    for got in _run_two(None, workers, controllers, num_trials=12):
        assert _told(got) == _told(want)
    assert workers[0].asked + workers[1].asked == [(0, 1), (1, 2), (1, 1)]
    np.testing.assert_array_equal(controllers[0].learnt, controllers[1].learnt)


# What an evaluator is told.


def test_an_evaluator_prepares_before_each_step_is_sampled():
    evaluator = _Learning(_space(), is_repeatable=False)
    controller = _Scripted(_space(), [(0, 1)] * 10)
    controller.told = evaluator.told
    _run(evaluator, controller, num_trials=10)
    want = [("open", 0)]
    for step, num in enumerate((4, 4, 2)):
        want += [("prepare", step), "sample", *["evaluate"] * num]
    assert evaluator.told == want


@pytest.mark.parametrize("num", [0, 1, 4, 5, 8, 21, 22])
def test_an_evaluator_goes_on_where_the_controller_does(num, tmp_path):
    want = _run(_Learning(_space(), is_repeatable=False))
    _stop_after(num, _Learning(_space(), is_repeatable=False), tmp_path)
    evaluator = _Learning(_space(), is_repeatable=False)
    assert _told(_run(evaluator, workdir=tmp_path)) == _told(want)
    # The update of a full batch is made when the next trial is asked for.
    done = max(num - 1, 0) // _BATCH_SIZE
    prepared = [("prepare", step) for step in range(done, 6)]
    told = [event for event in evaluator.told if event != "evaluate"]
    assert told == [("open", done), *prepared]
    assert len(evaluator.asked) == _NUM_TRIALS - num


def test_an_evaluator_that_forgot_is_taught_from_the_first_step(
    tmp_path, caplog
):
    want = _run(_Learning(_space(), is_repeatable=False))
    _stop_after(14, _Learning(_space(), is_repeatable=False), tmp_path)
    evaluator = _Learning(_space(), is_repeatable=False, keeps=False)
    assert _told(_run(evaluator, workdir=tmp_path)) == _told(want)
    told = [event for event in evaluator.told if event != "evaluate"]
    assert told == [
        ("open", 3), ("open", 0), *(("prepare", step) for step in range(6))
    ]  # fmt: skip
    assert len(evaluator.asked) == _NUM_TRIALS - 14
    assert "damaged or gone; replaying 3 updates" in caplog.text


def test_a_replay_learns_from_the_rewards_of_the_journal(tmp_path):
    space = _space()
    evaluator = _Learning(space, is_repeatable=False)
    controller = PolicyGradientController(space, units=4)
    fresh = controller.state()
    want = _run(evaluator, controller, tmp_path / "want")
    state = controller.state()
    controller.restore(fresh)
    trials = search(controller, evaluator, _NUM_TRIALS, tmp_path / "run",
                    batch_size=_BATCH_SIZE)  # fmt: skip
    for _ in range(14):
        next(trials)
    trials.close()
    controller.restore(fresh)
    forgetful = _Learning(space, is_repeatable=False, keeps=False)
    got = _run(forgetful, controller, tmp_path / "run")
    assert _told(got) == _told(want)
    for name, array in controller.state().items():
        np.testing.assert_array_equal(array, state[name])
    lines = [(tmp_path / name / "steps.jsonl").read_text()
             for name in ("run", "want")]  # fmt: skip
    assert lines[0] == lines[1]


def test_evaluations_of_a_batch_may_be_made_by_hand():
    """The rules of `Evaluator` that have a default."""

    class Plain(Evaluator):
        def evaluate(self, tokens, seed):
            return [Evaluation(1.0)] * len(tokens)

    evaluator = Plain()
    assert evaluator.is_repeatable
    assert evaluator.config() == {"class": "Plain"}
    assert evaluator.open(None, 3, Cluster()) is True
    assert evaluator.prepare(0, RandomController(_space())) is None


# The bonus of a controller.


def test_a_bonus_is_added_to_the_rewards_before_the_baseline():
    rows = [(0, 1), (2, 2), (1, 1), (0, 1), (1, 0), (0, 0), (2, 2), (2, 1)]
    evaluator = _Learning(
        _space(), lambda spec: math.nan if spec["a"] == 2 else _score(spec)
    )
    controller = _Scripted(
        _space(), rows, lambda samples: 10.0 * samples.tokens[:, 1]
    )
    trials = _run(evaluator, controller, num_trials=8)
    state, want = BaselineState(), []
    for batch in ([12.0, None, 13.0, 12.0], [2.0, 1.0, None, None]):
        advantage, state = EMABaseline().advantages(batch, state)
        want.append(advantage)
    np.testing.assert_array_equal(controller.learnt, want)
    # What is told of a trial is its reward alone.
    assert trials[0].evaluation.reward == 2.0


def test_the_sampled_entropy_is_a_bonus(tmp_path):
    space = _space()
    learnt, bonuses = [], []

    class Recording(PolicyGradientController):
        def update(self, samples, advantage):
            learnt.append(advantage)
            p = np.exp(samples.log_prob.astype(float))
            surrogate = -(p * np.log(p)).sum(axis=1)
            bonuses.append(0.7 * surrogate)
            return super().update(samples, advantage)

    controller = Recording(
        space, units=4, entropy_weight=0.7, entropy_bonus="sampled"
    )
    trials = _run(_Learning(space), controller, tmp_path)
    state = BaselineState()
    for step, (got, bonus) in enumerate(zip(learnt, bonuses, strict=True)):
        batch = trials[step * _BATCH_SIZE : (step + 1) * _BATCH_SIZE]
        rewards = [
            t.evaluation.reward + b for t, b in zip(batch, bonus, strict=True)
        ]
        want, state = EMABaseline().advantages(rewards, state)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
        assert min(bonus) > 0.1
    assert len(learnt) == _NUM_TRIALS // _BATCH_SIZE
    lines = (tmp_path / "steps.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["baseline"] == pytest.approx(state.mean)
