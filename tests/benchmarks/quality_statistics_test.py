"""Tests of what is computed from searches: against values worked by hand."""

import importlib
import math
import pathlib
import sys
from unittest import mock

import numpy as np
import pytest

_FOLDER = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
with mock.patch.object(sys, "path", [str(_FOLDER), *sys.path]):
    quality = importlib.import_module("quality_statistics")


def test_top_k_curve_counts_an_architecture_once():
    losses = [3.0, None, 2.0, 2.0, 1.0, 4.0]
    keys = ["a", "b", "c", "c", "d", "e"]
    np.testing.assert_array_equal(
        quality.top_k_curve(losses, keys, 2),
        [math.nan, math.nan, 2.5, 2.5, 1.5, 1.5],
    )
    np.testing.assert_array_equal(
        quality.top_k_curve(losses, keys, 1), [3, 3, 2, 2, 1, 1]
    )


def test_top_k_curve_of_an_architecture_scored_twice_has_the_first_score():
    curve = quality.top_k_curve([2.0, 1.0], ["a", "a"], 1)
    np.testing.assert_array_equal(curve, [2, 2])


@pytest.mark.parametrize("losses,keys,k", [([1.0], [], 1), ([1.0], ["a"], 0)])
def test_top_k_curve_refuses(losses, keys, k):
    with pytest.raises(ValueError, match="equally many and k at least 1"):
        quality.top_k_curve(losses, keys, k)


def test_window_means_leave_infeasible_children_and_a_part_window_out():
    losses = [1.0, 3.0, None, 5.0, None, None, 9.0]
    means = quality.window_means(losses, 2)
    np.testing.assert_array_equal(means, [2.0, 5.0, math.nan])


def test_t_interval_of_a_table():
    # Mean 3, standard error sqrt(2.5 / 5); t of 4 degrees at 97.5 %: 2.77645.
    interval = quality.t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.7764451 * math.sqrt(0.5)
    assert interval.mean == 3
    assert interval.low == pytest.approx(3 - half)
    assert interval.high == pytest.approx(3 + half)


def test_an_interval_needs_two_values():
    assert quality.t_interval([2.0]).mean == 2
    assert math.isnan(quality.t_interval([2.0]).low)
    assert math.isnan(quality.t_interval([]).mean)
    assert math.isnan(quality.welch_interval([2.0], [1.0, 1.5]).low)


def test_welch_interval_of_equal_variances_and_sizes_has_2n_2_degrees():
    # Variances 1, n = 3: standard error sqrt(2/3), 4 degrees of freedom.
    interval = quality.welch_interval([4.0, 5.0, 6.0], [1.0, 2.0, 3.0])
    half = 2.7764451 * math.sqrt(2 / 3)
    assert interval.mean == 3
    assert interval.low == pytest.approx(3 - half)
    assert interval.high == pytest.approx(3 + half)


def test_intervals_are_apart_if_they_share_nothing():
    a = quality.Interval(1.0, 0.0, 2.0)
    assert a.is_apart_from(quality.Interval(4.0, 3.0, 5.0))
    assert quality.Interval(4.0, 3.0, 5.0).is_apart_from(a)
    assert not a.is_apart_from(quality.Interval(2.5, 1.9, 3.0))
    assert not a.is_apart_from(quality.Interval(2.5, math.nan, math.nan))


@pytest.mark.parametrize("num,expected", [(1, 1.0), (3, 2 / 20), (5, 2 / 252)])
def test_samples_wholly_apart_have_the_smallest_p(num, expected):
    a = [float(value) for value in range(num)]
    b = [value + 100 for value in a]
    result = quality.compare(a, b)
    assert result.smallest_p == pytest.approx(expected)
    assert result.mann_whitney_p == pytest.approx(expected)
    assert result.difference.mean == -100


def test_mann_whitney_of_two_and_two_interleaved():
    # U of (1, 3) against (2, 4) is 1; of the 6 orders U is 0, 1, 2, 2, 3, 4:
    # P(U <= 1) = 2/6, two-sided 4/6.
    result = quality.compare([1.0, 3.0], [2.0, 4.0])
    assert result.mann_whitney_p == pytest.approx(4 / 6)


def test_welch_p_by_hand():
    # t = 3 / sqrt(2/3) with 4 degrees of freedom; for 4 degrees
    # P(|T| > t) = 1 - u (3 - u^2) / 2 with u = t / sqrt(t^2 + 4).
    t = 3 / math.sqrt(2 / 3)
    u = t / math.sqrt(t * t + 4)
    result = quality.compare([4.0, 5.0, 6.0], [1.0, 2.0, 3.0])
    assert result.welch_p == pytest.approx(1 - u * (3 - u * u) / 2)


def test_samples_without_variance_have_no_p():
    result = quality.compare([1.0, 1.0], [1.0, 1.0])
    assert math.isnan(result.welch_p) and math.isnan(result.mann_whitney_p)
    assert result.difference == quality.Interval(0.0, 0.0, 0.0)


def test_bands_are_the_intervals_of_each_point():
    curves = np.array([[math.nan, 4.0], [1.0, 5.0], [2.0, 6.0]])
    result = quality.band(curves)
    assert np.isnan(result[:, 0]).all()
    expected = quality.t_interval([4.0, 5.0, 6.0])
    np.testing.assert_allclose(
        result[:, 1], [expected.mean, expected.low, expected.high]
    )
    apart = quality.difference_band(curves, curves - 1.0)
    assert np.isnan(apart[:, 0]).all()
    assert apart[0, 1] == pytest.approx(1.0)
    assert apart[1, 1] < 1 < apart[2, 1]
