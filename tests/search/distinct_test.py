"""Tests of `search()`: what is met again has its first score."""

import csv
import itertools
import json
import math
import threading

import numpy as np
import pytest

from nas_keras.controllers import EvolutionController
from nas_keras.search import Architecture
from nas_keras.search import Cluster
from nas_keras.search import SearchError
from nas_keras.search import search
from nas_keras.spaces import tree_space
from tests.raising import raises
from tests.recorded_search import BATCH_SIZE
from tests.recorded_search import NUM_TRIALS
from tests.recorded_search import Learning
from tests.recorded_search import Scripted
from tests.recorded_search import Sum
from tests.recorded_search import run_search
from tests.recorded_search import score
from tests.recorded_search import space_of_nine
from tests.recorded_search import stop_after
from tests.recorded_search import told_of


def _records(workdir):
    lines = (workdir / "trials.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        assert (record.pop("elapsed_s") == 0) == (record["same_as"] is not None)
    return records


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
    evaluator = Learning(space_of_nine())
    trials = run_search(evaluator)
    assert [t.id for t in trials] == list(range(NUM_TRIALS))
    _assert_reused(trials, evaluator, lambda trial: trial.tokens)


def test_different_tokens_of_one_fingerprint_are_the_same():
    evaluator = Learning(space_of_nine(decode=lambda tokens: Sum(tokens)))
    trials = run_search(evaluator)
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
    evaluator = Learning(space, lambda spec: 1.0)
    lone = (0,) * len(row)
    controller = Scripted(space, [lone, other, row, lone])
    trials = run_search(evaluator, controller, num_trials=4)
    assert [t.same_as for t in trials] == [None, None, 1, 0]
    assert evaluator.asked == [lone, other]


def test_what_architectures_have_in_common_is_the_print_or_the_tokens():
    """Tokens are told apart; a print takes their place where there is one."""
    assert Architecture((1, 2), None).key == "1 2"
    assert Architecture((1, 2), None, "").key == "1 2"
    assert Architecture((1, 2), None, "abc").key == "abc"
    assert Architecture((1, 23), None).key != Architecture((12, 3), None).key


def test_every_trial_is_evaluated_if_that_is_asked_for(tmp_path):
    evaluator = Learning(space_of_nine())
    trials = run_search(evaluator, workdir=tmp_path, evaluate_again=True)
    assert evaluator.asked == [t.tokens for t in trials]
    assert {t.same_as for t in trials} == {None}
    assert {record["same_as"] for record in _records(tmp_path)} == {None}


def test_every_trial_of_an_evaluator_that_learns_is_evaluated():
    evaluator = Learning(space_of_nine(), is_repeatable=False)
    trials = run_search(evaluator)
    assert evaluator.asked == [t.tokens for t in trials]
    assert {t.same_as for t in trials} == {None}
    for trial in trials:
        want = score(trial.spec) + trial.id // BATCH_SIZE + 1
        assert trial.evaluation.reward == want


def test_what_is_met_again_in_its_batch_is_evaluated_once():
    evaluator = Learning(space_of_nine())
    rows = [(0, 1), (0, 1), (2, 2), (0, 1), (2, 2), (1, 1), (0, 1), (1, 1)]
    controller = Scripted(space_of_nine(), rows)
    trials = run_search(evaluator, controller, num_trials=8)
    assert [t.same_as for t in trials] == [None, 0, None, 0, 2, None, 0, 5]
    assert evaluator.asked == [(0, 1), (2, 2), (1, 1)]
    assert [t.tokens for t in trials] == rows
    # The controller learns from all of them.
    assert controller.rewards == [[2.0, 2.0, 5.0, 2.0], [5.0, 3.0, 2.0, 3.0]]


@pytest.mark.parametrize("num", [1, 2, 5, 6, 7, 9, 10, 15, 21])
@pytest.mark.parametrize("decode", [None, Sum], ids=["tokens", "fingerprint"])
def test_a_search_goes_on_in_the_middle_of_repetitions(num, decode, tmp_path):
    evaluator = Learning(space_of_nine(decode))
    want = run_search(evaluator, workdir=tmp_path / "want")
    stopped = Learning(space_of_nine(decode))
    stop_after(num, stopped, tmp_path / "run")
    again = Learning(space_of_nine(decode))
    got = run_search(again, workdir=tmp_path / "run")
    assert told_of(got) == told_of(want)
    assert stopped.asked + again.asked == evaluator.asked
    assert _records(tmp_path / "run") == _records(tmp_path / "want")
    assert [record["same_as"] for record in _records(tmp_path / "run")] == [
        trial.same_as for trial in want
    ]


def test_the_table_of_trials_has_the_column(tmp_path):
    trials = run_search(Learning(space_of_nine()), workdir=tmp_path)
    with open(tmp_path / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    want = ["" if t.same_as is None else str(t.same_as) for t in trials]
    assert [row["same_as"] for row in rows] == want
    assert "" in want and "0" in want


def test_a_journal_from_before_repetitions_were_known_is_refused(tmp_path):
    stop_after(5, Learning(space_of_nine()), tmp_path)
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    assert stored["run"].pop("evaluate_again") is False
    path.write_text(json.dumps(stored))
    before = (tmp_path / "trials.jsonl").read_bytes()
    message = (
        "was written by another configuration: evaluate_again was None, is "
        "False. Choose another workdir, or the old values; nothing was changed."
    )
    with raises(message):
        run_search(Learning(space_of_nine()), workdir=tmp_path)
    assert (tmp_path / "trials.jsonl").read_bytes() == before


def test_evaluating_again_is_part_of_the_configuration(tmp_path):
    stop_after(5, Learning(space_of_nine()), tmp_path)
    with raises("evaluate_again was False, is True"):
        run_search(
            Learning(space_of_nine()), workdir=tmp_path, evaluate_again=True
        )


def _decode_or_fail(tokens):
    if tokens[0] == tokens[1]:
        raise RuntimeError(f"no {tokens[0]} twice")
    return {"a": tokens[0], "b": tokens[1]}


def test_what_cannot_be_decoded_is_decoded_no_more_than_told(tmp_path):
    evaluator = Learning(space_of_nine(_decode_or_fail))
    trials = run_search(evaluator, workdir=tmp_path)
    first = {}
    for trial in trials:
        known = first.setdefault(trial.tokens, trial)
        if (
            known.spec is None
            and known.id // BATCH_SIZE < trial.id // BATCH_SIZE
        ):
            known = first[trial.tokens] = trial
        assert trial.same_as == (None if known is trial else known.id)
        a, b = trial.tokens
        want = f"RuntimeError: no {a} twice" if a == b else None
        assert trial.evaluation.infeasible == want
        assert (trial.spec is None) == (a == b)
    assert sum(t.spec is None for t in trials) > 1
    assert all(a != b for a, b in evaluator.asked)
    again = run_search(
        Learning(space_of_nine(_decode_or_fail)), workdir=tmp_path
    )
    assert told_of(again) == told_of(trials)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_infeasible_is_asked_again_in_later_steps_and_counts(value):
    rows = [(0, 1), (2, 2), (2, 2), (1, 1), (2, 2), (2, 2), (2, 2), (0, 1)]
    evaluator = Learning(
        space_of_nine(), lambda spec: value if spec["a"] == 2 else 1.0
    )
    controller = Scripted(space_of_nine(), rows)
    trials = []
    message = (
        "3 architectures in a row were infeasible; the last: the reward is "
        f"{value}."
    )
    with raises(message, SearchError):
        for trial in search(
            controller, evaluator, 8, batch_size=4, max_consecutive_failures=3
        ):
            trials.append(trial)
    assert [t.same_as for t in trials] == [None, None, 1, None, None, 4, 4]
    assert [t.evaluation.reward for t in trials] == [
        1.0, None, None, 1.0, None, None, None
    ]  # fmt: skip
    assert evaluator.asked == [(0, 1), (2, 2), (1, 1), (2, 2)]


def test_what_failed_for_a_while_is_asked_again_when_it_is_met(tmp_path):
    rows = [(0, 1), (2, 2), (2, 2), (1, 1), (2, 2), (0, 1), (2, 2), (2, 2)]

    def trials(answers, limit):
        values = iter(answers)
        evaluator = Learning(space_of_nine(), lambda spec: next(values))
        searching = search(
            Scripted(space_of_nine(), rows), evaluator, 8, tmp_path,
            batch_size=2,
        )  # fmt: skip
        return list(itertools.islice(searching, limit)), evaluator.asked

    # Stopped between the failure and the next of its kind, or not.
    found, asked = trials([1.0, math.nan], 2)
    assert asked == [(0, 1), (2, 2)]
    found, asked = trials([3.0, 4.0], None)
    assert asked == [(2, 2), (1, 1)]
    assert [t.same_as for t in found] == [None, None, None, None, 2, 0, 2, 2]
    rewards = [t.evaluation.reward for t in found]
    assert rewards == [1.0, None, 3.0, 4.0, 3.0, 1.0, 3.0, 3.0]


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
            found[index] = run_search(
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


@pytest.mark.parametrize("decode", [None, Sum], ids=["tokens", "fingerprint"])
@pytest.mark.parametrize("num", [0, 6])
def test_two_workers_share_what_is_new_and_keep_the_same_journal(
    num, decode, tmp_path
):
    alone = Learning(space_of_nine(decode))
    want = run_search(alone, workdir=tmp_path / "want")
    first = Learning(space_of_nine(decode))
    if num:
        stop_after(num, first, tmp_path / "run")
    workers = [Learning(space_of_nine(decode)) for _ in range(2)]
    for got in _run_two(tmp_path / "run", workers):
        assert told_of(got) == told_of(want)
    assert _records(tmp_path / "run") == _records(tmp_path / "want")
    asked = [row for worker in (first, *workers) for row in worker.asked]
    assert sorted(asked) == sorted(alone.asked)
    if not num:
        assert all(worker.asked for worker in workers)
    # And one goes on with what two have left.
    last = Learning(space_of_nine(decode))
    assert told_of(run_search(last, workdir=tmp_path / "run")) == told_of(want)
    assert last.asked == []


@pytest.mark.parametrize("num", [0, 6])
def test_two_workers_evolve_as_one_does(num, tmp_path):
    def controller():
        return EvolutionController(
            space_of_nine(), population_size=5, sample_size=2
        )

    want = run_search(Learning(space_of_nine()), controller())
    assert len({trial.tokens for trial in want[8:]}) > 1
    if num:
        trials = search(
            controller(), Learning(space_of_nine()), NUM_TRIALS, tmp_path,
            batch_size=BATCH_SIZE,
        )  # fmt: skip
        list(itertools.islice(trials, num))
        trials.close()
    controllers = [controller(), controller()]
    workers = [Learning(space_of_nine()) for _ in range(2)]
    for got in _run_two(tmp_path, workers, controllers):
        assert told_of(got) == told_of(want)
    first, second = (controller.state() for controller in controllers)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_two_workers_have_nothing_to_do_where_all_is_known():
    rows = [(0, 1), (1, 2), (0, 1), (1, 2)] * 2 + [(1, 1)] * 4
    want = run_search(
        Learning(space_of_nine()),
        Scripted(space_of_nine(), rows),
        num_trials=12,
    )
    workers = [Learning(space_of_nine()) for _ in range(2)]
    controllers = [Scripted(space_of_nine(), rows) for _ in range(2)]
    for got in _run_two(None, workers, controllers, num_trials=12):
        assert told_of(got) == told_of(want)
    assert workers[0].asked + workers[1].asked == [(0, 1), (1, 2), (1, 1)]
    assert controllers[0].rewards == controllers[1].rewards
    assert len(controllers[0].rewards) == 3
