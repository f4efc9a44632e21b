"""Tests of rank correlations against counted pairs, ranks and known numbers."""

import itertools
import math
import warnings

import numpy as np
import pytest

from nas_keras import report


def _tau_b(x, y):
    """Kendall's tau-b by counting pairs."""
    concordant = discordant = tied_x = tied_y = 0
    for (x1, y1), (x2, y2) in itertools.combinations(zip(x, y, strict=True), 2):
        sign = np.sign(x1 - x2) * np.sign(y1 - y2)
        concordant += sign > 0
        discordant += sign < 0
        tied_x += x1 == x2
        tied_y += y1 == y2
    pairs = len(x) * (len(x) - 1) / 2
    return (concordant - discordant) / math.sqrt(
        (pairs - tied_x) * (pairs - tied_y)
    )


def _mean_ranks(values):
    """Ranks from 1, the mean of its places for each of several equal ones."""
    values = np.asarray(values)
    below = np.sum(values[None, :] < values[:, None], axis=1)
    equal = np.sum(values[None, :] == values[:, None], axis=1)
    return below + (equal + 1) / 2


def _rho(x, y):
    """Spearman's rho: Pearson's correlation of the ranks."""
    x, y = (r - r.mean() for r in (_mean_ranks(x), _mean_ranks(y)))
    return np.sum(x * y) / math.sqrt(np.sum(x * x) * np.sum(y * y))


def _bonett_wright(value, variance):
    z, half = np.arctanh(value), 1.959964 * math.sqrt(variance)
    return np.tanh(z - half), np.tanh(z + half)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("num", [5, 8, 40])
def test_coefficients_and_intervals_match_numpy(num, ties):
    rng = np.random.default_rng(num)
    x = rng.normal(size=num)
    y = x + rng.normal(size=num)
    if ties:
        x, y = np.round(x), np.round(y)
    got = report.rank_correlation(x, y)
    tau, rho = _tau_b(x, y), _rho(x, y)
    assert got.num == num
    assert 0.1 < tau < 0.95  # Neither nothing nor everything.
    assert got.kendall == pytest.approx(tau)
    assert got.spearman == pytest.approx(rho)
    assert (got.kendall_low, got.kendall_high) == pytest.approx(
        _bonett_wright(tau, 0.437 / (num - 4))
    )
    assert (got.spearman_low, got.spearman_high) == pytest.approx(
        _bonett_wright(rho, (1 + rho**2 / 2) / (num - 3))
    )


def test_p_is_the_share_of_orders_that_agree_as_much():
    x = [0.1, 0.4, 0.3, 0.8, 0.7, 0.9]
    y = [1.0, 3.0, 2.0, 4.0, 6.0, 5.0]
    tau = _tau_b(x, y)
    as_far = [
        abs(_tau_b(x, order)) > abs(tau) - 1e-9
        for order in itertools.permutations(y)
    ]
    got = report.rank_correlation(x, y)
    assert got.kendall_p == pytest.approx(np.mean(as_far))
    # Student's t of four degrees of freedom, whose distribution is known.
    t = got.spearman * math.sqrt(4 / (1 - got.spearman**2))
    sine = t / math.sqrt(t * t + 4)
    assert got.spearman_p == pytest.approx(1 - sine * (3 - sine**2) / 2)


def test_a_hand_made_example_with_a_tie():
    # Five concordant pairs, none discordant, one tie: 5 / sqrt(6 * 5).
    got = report.rank_correlation([1, 2, 3, 4], [1, 2, 2, 3])
    assert got.kendall == pytest.approx(5 / math.sqrt(30))
    assert got.spearman == pytest.approx(4.5 / math.sqrt(5 * 4.5))


def test_reversing_the_scores_changes_the_signs():
    x, y = np.arange(9.0), np.array([2.0, 0, 1, 4, 3, 8, 5, 6, 7])
    got, opposite = (report.rank_correlation(x, s * y) for s in (1, -1))
    for name in ("kendall", "spearman"):
        assert getattr(got, name) == pytest.approx(-getattr(opposite, name))
        assert getattr(got, f"{name}_low") == pytest.approx(
            -getattr(opposite, f"{name}_high")
        )
        assert getattr(got, f"{name}_low") > 0


def test_the_interval_of_shuffles_holds_0_in_about_95_of_100():
    rng = np.random.default_rng(0)
    x = np.arange(20.0)
    hits = {"kendall": 0, "spearman": 0}
    for _ in range(400):
        got = report.rank_correlation(x, rng.permutation(x))
        for name in hits:
            low, high = (
                getattr(got, f"{name}_{end}") for end in ("low", "high")
            )
            hits[name] += low <= 0 <= high
    # Three standard deviations of 400 throws are 13.
    assert all(364 <= count <= 396 for count in hits.values()), hits


@pytest.mark.parametrize(
    ("rewards", "scores"),
    [
        ([], []),
        ([1.0], [2.0]),
        ([1.0, 2.0], [2.0, 1.0]),
        ([0.3] * 6, [1.0, 2, 3, 4, 5, 6]),
        ([1.0, 2, 3, 4, 5, 6], [0.3] * 6),
        ([0.3] * 6, [0.3] * 6),
    ],
)
def test_without_an_order_there_is_no_correlation(rewards, scores):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        num, *figures = vars(report.rank_correlation(rewards, scores)).values()
    assert num == len(rewards)
    assert len(figures) == 8 and np.all(np.isnan(figures))


@pytest.mark.parametrize("num", [3, 4])
def test_few_pairs_have_no_interval(num):
    got = report.rank_correlation(range(num), [*range(1, num), 0])
    assert math.isfinite(got.kendall) and math.isfinite(got.kendall_p)
    assert math.isnan(got.kendall_low) and math.isnan(got.spearman_high)


@pytest.mark.parametrize("num", [3, 5, 7, 30])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_order_has_no_interval(sign, num):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = report.rank_correlation(range(num), sign * np.arange(num) ** 3)
    assert got.kendall == pytest.approx(sign)
    assert got.spearman == pytest.approx(sign)
    assert math.isnan(got.kendall_low) and math.isnan(got.spearman_low)


@pytest.mark.parametrize(
    ("rewards", "scores", "message"),
    [
        ([1, 2, 3], [1, 2], "must be equally many, received 3 and 2"),
        ([1, math.nan], [1, 2], r"rewards must be .* received \[1, nan\]"),
        ([1, 2], [-math.inf, 2], r"scores must be .* received \[-inf, 2\]"),
        ([[1, 2]], [[1, 2]], "rewards must be a sequence of finite numbers"),
    ],
)
def test_bad_values_are_refused(rewards, scores, message):
    with pytest.raises(ValueError, match=message):
        report.rank_correlation(rewards, scores)
