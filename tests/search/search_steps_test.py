"""Tests of `search()`: what evaluators and controllers are told."""

import json
import math

import numpy as np
import pytest

from nas_keras.controllers import EMABaseline
from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.controllers.baseline import BaselineState
from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.search import Cluster
from nas_keras.search import search
from tests.raising import raises
from tests.recorded_search import BATCH_SIZE
from tests.recorded_search import NUM_TRIALS
from tests.recorded_search import Learning
from tests.recorded_search import Scripted
from tests.recorded_search import run_search
from tests.recorded_search import score
from tests.recorded_search import space_of_nine
from tests.recorded_search import stop_after
from tests.recorded_search import told_of

# What an evaluator is told.


def test_an_evaluator_prepares_before_each_step_is_proposed():
    evaluator = Learning(space_of_nine(), is_repeatable=False)
    controller = Scripted(space_of_nine(), [(0, 1)] * 10)
    controller.told = evaluator.told
    run_search(evaluator, controller, num_trials=10)
    want = [("open", 0)]
    for step, num in enumerate((4, 4, 2)):
        want += [("prepare", step), "propose", *["evaluate"] * num]
    assert evaluator.told == want


@pytest.mark.parametrize("num", [0, 1, 4, 5, 8, 21, 22])
def test_an_evaluator_goes_on_where_the_controller_does(num, tmp_path):
    want = run_search(Learning(space_of_nine(), is_repeatable=False))
    stop_after(num, Learning(space_of_nine(), is_repeatable=False), tmp_path)
    evaluator = Learning(space_of_nine(), is_repeatable=False)
    assert told_of(run_search(evaluator, workdir=tmp_path)) == told_of(want)
    # The update of a full batch is made when the next trial is asked for.
    done = max(num - 1, 0) // BATCH_SIZE
    prepared = [("prepare", step) for step in range(done, 6)]
    told = [event for event in evaluator.told if event != "evaluate"]
    assert told == [("open", done), *prepared]
    assert len(evaluator.asked) == NUM_TRIALS - num


def test_an_evaluator_that_forgot_is_taught_from_the_first_step(
    tmp_path, caplog
):
    want = run_search(Learning(space_of_nine(), is_repeatable=False))
    stop_after(14, Learning(space_of_nine(), is_repeatable=False), tmp_path)
    evaluator = Learning(space_of_nine(), is_repeatable=False, keeps=False)
    assert told_of(run_search(evaluator, workdir=tmp_path)) == told_of(want)
    told = [event for event in evaluator.told if event != "evaluate"]
    assert told == [
        ("open", 3), ("open", 0), *(("prepare", step) for step in range(6))
    ]  # fmt: skip
    assert len(evaluator.asked) == NUM_TRIALS - 14
    assert "damaged or gone; replaying 3 updates" in caplog.text


def test_a_replay_learns_from_the_rewards_of_the_journal(tmp_path):
    space = space_of_nine()
    evaluator = Learning(space, is_repeatable=False)
    controller = PolicyGradientController(space, units=4)
    fresh = controller.state()
    want = run_search(evaluator, controller, tmp_path / "want")
    state = controller.state()
    controller.restore(fresh)
    trials = search(controller, evaluator, NUM_TRIALS, tmp_path / "run",
                    batch_size=BATCH_SIZE)  # fmt: skip
    for _ in range(14):
        next(trials)
    trials.close()
    controller.restore(fresh)
    forgetful = Learning(space, is_repeatable=False, keeps=False)
    got = run_search(forgetful, controller, tmp_path / "run")
    assert told_of(got) == told_of(want)
    for name, array in controller.state().items():
        np.testing.assert_array_equal(array, state[name])
    lines = [(tmp_path / name / "steps.jsonl").read_text()
             for name in ("run", "want")]  # fmt: skip
    assert lines[0] == lines[1]


def test_evaluations_of_a_batch_may_be_made_by_hand():
    """The rules of `Evaluator` that have a default."""

    class Plain(Evaluator):
        def score(self, architecture, seed):
            return 1.0, {"seed": seed}

    evaluator = Plain(space_of_nine())
    (first, second) = evaluator.evaluate([[0, 1], [2, 2]], seed=3)
    assert first.reward == second.reward == 1.0
    assert first.metrics == {"seed": 3.0}
    with raises("The token of 'b' must be an int in [0, 2]. Received: 3."):
        evaluator.evaluate([[0, 1], [2, 3]], seed=3)
    assert evaluator.is_repeatable
    assert evaluator.config() == {"class": "Plain"}
    assert evaluator.open(None, 3, Cluster()) is True
    assert evaluator.prepare(0, RandomController(space_of_nine())) is None


# What a controller is told.


def test_a_controller_is_fed_the_evaluations_of_each_full_batch():
    rows = [(0, 1), (2, 2), (1, 1), (0, 1), (1, 0), (0, 0), (2, 2), (2, 1)]
    evaluator = Learning(
        space_of_nine(),
        lambda spec: math.nan if spec["a"] == 2 else score(spec),
    )
    controller = Scripted(space_of_nine(), rows)
    trials = run_search(evaluator, controller, num_trials=10)
    want = [[2.0, None, 3.0, 2.0], [2.0, 1.0, None, None]]
    assert controller.rewards == want
    assert trials[0].evaluation.reward == 2.0


def test_the_sampled_entropy_is_a_bonus(tmp_path):
    space = space_of_nine()
    learned, bonuses = [], []

    class Recording(PolicyGradientController):
        def learn(self, proposals, advantage):
            learned.append(advantage)
            p = np.exp(proposals.log_prob.astype(float))
            surrogate = -(p * np.log(p)).sum(axis=1)
            bonuses.append(0.7 * surrogate)
            return super().learn(proposals, advantage)

    controller = Recording(
        space, units=4, entropy_weight=0.7, entropy_bonus="sampled"
    )
    trials = run_search(Learning(space), controller, tmp_path)
    state = BaselineState()
    for step, (got, bonus) in enumerate(zip(learned, bonuses, strict=True)):
        batch = trials[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
        rewards = [
            t.evaluation.reward + b for t, b in zip(batch, bonus, strict=True)
        ]
        want, state = EMABaseline().advantages(rewards, state)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
        assert min(bonus) > 0.1
    assert len(learned) == NUM_TRIALS // BATCH_SIZE
    lines = (tmp_path / "steps.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["baseline"] == pytest.approx(state.mean)
