"""Tests of `FunctionEvaluator` and `Evaluation`."""

import math
import re

import numpy as np
import pytest
import tensorflow as tf

from nas_keras.search import Evaluation
from nas_keras.search import FunctionEvaluator
from tests.raising import raises
from tests.search_testing import one_max
from tests.search_testing import small_space


def _evaluate(fn):
    evaluator = FunctionEvaluator(small_space(), fn)
    (evaluation,) = evaluator.evaluate(np.zeros((1, 6), np.int32), seed=0)
    return evaluation


@pytest.mark.parametrize(
    "value",
    [0.25, -3, np.float32(0.5), np.int64(2), np.array(1.5), tf.constant(2.5)],
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
        (np.True_, "the reward is not a number: np.True_"),
        (np.array(True), r"the reward is not a number: array\(True\)"),
        (np.array("3"), r"the reward is not a number: array\('3'"),
        (np.complex64(1), "the reward is not a number: "),
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


def test_the_first_exception_is_logged_with_its_traceback(caplog):
    def fn(spec):
        raise RuntimeError("a mistake")

    FunctionEvaluator(small_space(), fn).evaluate(np.zeros((3, 6), int), seed=0)
    (record,) = (r for r in caplog.records if r.levelname == "WARNING")
    assert record.message == "fn failed, for the first time."
    assert record.exc_info[2].tb_next.tb_frame.f_code.co_name == "fn"


def test_a_keyboard_interrupt_passes_through():
    def fn(spec):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _evaluate(fn)


def test_each_row_is_decoded_and_timed_for_itself():
    space = small_space(2)
    evaluator = FunctionEvaluator(space, lambda spec: spec["choice_1"])
    evaluations = evaluator.evaluate(np.array([[0, 3], [0, 1]]), seed=0)
    assert [e.reward for e in evaluations] == [3.0, 1.0]
    assert all(e.elapsed_s > 0 for e in evaluations)


def test_the_arguments_of_a_function_evaluator_are_checked():
    with raises("space must be a Space. Received: dict."):
        FunctionEvaluator({}, one_max)
    with raises("fn must be callable. Received: fn=3."):
        FunctionEvaluator(small_space(), 3)


def test_an_evaluation_has_a_reward_or_a_reason():
    with raises("either a reward or a reason"):
        Evaluation(None)
    with raises("either a reward or a reason"):
        Evaluation(1.0, infeasible="why")
    with raises("reward must be finite. Received: reward=nan."):
        Evaluation(math.nan)
