"""Tests of the moving-average baseline, against a table made by hand."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.controllers.baseline import BaselineState
from nas_keras.controllers.baseline import EMABaseline

_BATCHES = st.lists(
    st.lists(st.integers(-100, 100).map(float), min_size=4, max_size=4),
    min_size=1,
    max_size=5,
)
# decay 0.5:   rewards      mean before   variance           mean after
#   batch 1    1, 3         2 (its own)   1                  2
#   batch 2    6, 4         2             (1 + 10) / 2       3.5
#   batch 3    None, 2.5    3.5           (5.5 + 1) / 2      3
_TABLE = (
    ([1.0, 3.0], [-1.0, 1.0], 1.0, 2.0, 1.0),
    ([6.0, 4.0], [4.0, 2.0], 5.5, 3.5, 1.0),
    ([None, 2.5], [1.0 - 3.5, -1.0], 3.25, 3.0, 1.0),
)


def _run(baseline, batches):
    state, advantages = BaselineState(), []
    for rewards in batches:
        advantage, state = baseline.advantages(rewards, state)
        advantages.append(advantage)
    return advantages, state


@pytest.mark.parametrize("normalize", [True, False])
def test_three_batches_give_the_table_made_by_hand(normalize):
    baseline, state = EMABaseline(0.5, normalize), BaselineState()
    for num, (rewards, want, variance, mean, lowest) in enumerate(_TABLE, 1):
        advantage, state = baseline.advantages(rewards, state)
        scale = math.sqrt(variance) if normalize else 1.0
        np.testing.assert_allclose(advantage, np.array(want) / scale, 1e-6)
        assert advantage.dtype == np.float32
        assert state == BaselineState(mean, variance, lowest, num)


@given(_BATCHES, st.lists(st.floats(-9, 9), min_size=4, max_size=4))
def test_the_baseline_is_made_of_earlier_rewards_alone(batches, last):
    _, state = _run(EMABaseline(0.9, normalize=False), batches)
    advantage, following = EMABaseline(0.9, False).advantages(last, state)
    want = np.array(last) - state.mean
    np.testing.assert_allclose(advantage, want, rtol=1e-5, atol=1e-5)
    mean = 0.9 * state.mean + 0.1 * np.mean(last)
    assert following.mean == pytest.approx(mean, rel=1e-9, abs=1e-9)


@given(
    _BATCHES,
    st.sampled_from([1e-6, 1e-3, 0.7, 1e3, 1e6]),
    st.sampled_from([-1e3, -1.0, 0.0, 1e3]),
)
def test_scale_and_shift_are_without_effect_when_normalized(
    batches, scale, shift
):
    moved = [[scale * reward + shift for reward in row] for row in batches]
    want, _ = _run(EMABaseline(), batches)
    got, _ = _run(EMABaseline(), moved)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


def test_the_scale_shows_when_not_normalized():
    want, _ = _run(EMABaseline(normalize=False), [[1.0, 3.0]])
    got, _ = _run(EMABaseline(normalize=False), [[10.0, 30.0]])
    np.testing.assert_allclose(got[0], 10 * want[0])


@given(_BATCHES, st.integers(1, 3))
def test_infeasible_rewards_leave_the_averages_alone(batches, num):
    _, want = _run(EMABaseline(), batches)
    padded = [[*row, *[None] * num] for row in batches]
    advantages, got = _run(EMABaseline(), padded)
    assert got == want
    for advantage in advantages:
        assert (advantage[-num:] <= advantage.min()).all()


def test_an_infeasible_reward_counts_as_the_lowest_so_far():
    (_, first, second), _ = _run(
        EMABaseline(normalize=False),
        [[5.0, -2.0], [None, 4.0], [None, -9.0]],
    )
    np.testing.assert_allclose(first[0], -2.0 - 1.5)
    assert second[0] == second[1]


def test_a_batch_without_a_reward_changes_no_average():
    state = EMABaseline().advantages([5.0, -2.0], BaselineState())[1]
    advantage, following = EMABaseline().advantages([None, None], state)
    assert following == state
    np.testing.assert_allclose(advantage, [-1.0, -1.0])  # (-2 - 1.5) / 3.5


def test_a_first_batch_without_a_reward_gives_zeros():
    advantage, state = EMABaseline().advantages([None] * 3, BaselineState())
    np.testing.assert_array_equal(advantage, np.zeros(3, np.float32))
    assert state == BaselineState()
    advantage, _ = EMABaseline().advantages([1.0, 3.0], state)
    np.testing.assert_allclose(advantage, [-1.0, 1.0])


@given(
    st.floats(-1e9, 1e9),
    st.integers(1, 50),
    st.integers(1, 6),
    st.booleans(),
)
def test_equal_rewards_give_zeros(reward, batch_size, num_batches, normalize):
    batches = [[reward] * batch_size] * num_batches
    advantages, _ = _run(EMABaseline(0.95, normalize), batches)
    # Exactly: the rounding of the mean must not be scaled up to 1.
    np.testing.assert_array_equal(advantages, 0.0)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5, math.nan])
def test_decay_must_be_in_range(decay):
    message = f"decay must be in [0, 1). Received: decay={decay!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        EMABaseline(decay)
