"""Tests of `search()`: architectures and controllers that fail."""

import math
import re

import pytest

from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.search import Evaluation
from nas_keras.search import FunctionEvaluator
from nas_keras.search import SearchError
from nas_keras.search import search
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from tests.raising import raises
from tests.search_testing import Counting
from tests.search_testing import one_max
from tests.search_testing import one_max_evaluator
from tests.search_testing import records_in
from tests.search_testing import run_search
from tests.search_testing import small_space


class _FailEvery(Evaluator):
    """Wraps an evaluator; every k-th architecture, by its tokens, raises."""

    def __init__(self, k, inner):
        super().__init__(inner.space)
        self.k, self.inner = k, inner

    def score(self, architecture, seed):
        if sum(architecture.tokens) % self.k == 0:
            raise RuntimeError("out of order\nsecond line")
        return self.inner.score(architecture, seed)


class _Returning(Evaluator):
    """Returns whatever it is told to."""

    def __init__(self, value):
        super().__init__(small_space())
        self.value = value

    def score(self, architecture, seed):
        return self.value


@pytest.mark.parametrize("k", [2, 3])
def test_failing_architectures_do_not_end_the_run(k):
    evaluator = _FailEvery(k, one_max_evaluator())
    trials, *_ = run_search(
        None, 60, evaluator, controller=RandomController(small_space()),
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
        small_space(), lambda s: math.nan if s["choice_0"] == 1 else one_max(s)
    )
    trials, *_ = run_search(
        None, 800, evaluator, batch_size=16,
        controller=PolicyGradientController(small_space()),
    )  # fmt: skip
    rewards = [t.evaluation.reward for t in trials]
    assert rewards[:100].count(None) > 10
    assert rewards[-100:].count(None) < 5


def test_a_search_ends_when_too_many_fail_in_a_row():
    trials, counting = [], Counting(_FailEvery(1, one_max_evaluator()))
    message = (
        "3 architectures in a row were infeasible; the last: RuntimeError: "
        "out of order."
    )
    with pytest.raises(SearchError, match=re.escape(message)):
        for trial in search(
            RandomController(small_space()),
            counting,
            50,
            max_consecutive_failures=3,
        ):
            trials.append(trial)
    assert len(trials) == counting.num_calls == 3


def test_failures_that_are_not_in_a_row_do_not_add_up():
    outcomes = iter([1, 1, 0] * 7)
    evaluator = FunctionEvaluator(
        small_space(), lambda spec: math.nan if next(outcomes) else 1.0
    )
    trials, *_ = run_search(
        None, 21, evaluator, max_consecutive_failures=3,
        controller=RandomController(small_space()),
    )  # fmt: skip
    assert len(trials) == 21


def test_a_run_that_failed_goes_on_with_more_failures_allowed(tmp_path):
    evaluator = _FailEvery(1, one_max_evaluator())
    arguments = {"controller": RandomController(small_space())}
    with pytest.raises(SearchError):
        run_search(
            tmp_path, 6, evaluator, max_consecutive_failures=3, **arguments
        )
    assert len(records_in(tmp_path)) == 3
    # Failures of an earlier call do not count: their cause may be gone.
    trials, _, calls = run_search(
        tmp_path, 5, evaluator, max_consecutive_failures=3, **arguments
    )
    assert (len(trials), calls) == (5, 2)


@pytest.mark.parametrize(
    "value",
    [
        None,
        1.0,
        [0.5, {}],
        (),
        (1.0,),
        (1.0, 2.0),
        (1.0, {}, {}),
        Evaluation(1),
    ],
)
def test_an_evaluator_that_returns_something_else_is_an_error(value):
    message = (
        "score must return a reward and a mapping of metrics. Received: "
        f"{value!r}."
    )
    with raises(message):
        run_search(None, 2, _Returning(value))


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
        def feedback(self, proposals, evaluations):
            return {"loss": math.nan}

    space = small_space()
    with pytest.raises(SearchError, match="diverged at update 0"):
        list(
            search(
                Diverging(space), one_max_evaluator(), 4, tmp_path, batch_size=2
            )
        )
    assert not (tmp_path / "checkpoints").exists()
