"""What is computed from the children of searches. Pure functions.

Losses are in nats; perplexities are made of them last. A mean of losses is
the logarithm of the geometric mean of perplexities, which one child that
hardly trained does not rule. None stands for an infeasible child. Axes: S
seeds, N children.
"""

import bisect
import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval, NaN where there is none."""

    mean: float
    low: float
    high: float

    def is_apart_from(self, other: "Interval") -> bool:
        """Returns whether no number is in both intervals."""
        return self.high < other.low or other.high < self.low


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two samples compared; p values are two-sided.

    Attributes:
        difference: Mean of the first minus mean of the second, with Welch's
            interval.
        welch_p: Of Welch's t-test.
        mann_whitney_p: Of the rank test; exact where no value is there twice.
        smallest_p: The least that the rank test can give for so many values.
    """

    difference: Interval
    welch_p: float
    mann_whitney_p: float
    smallest_p: float


def top_k_curve(
    losses: Sequence[float | None], keys: Sequence[str], k: int
) -> np.ndarray:
    """Returns the mean loss [N] of the k best distinct architectures so far.

    NaN until there are k of them. An architecture met again does not count
    again; of several scores it has the first.

    Args:
        losses: Of each child, in the order of the search.
        keys: What children of one architecture have in common.
        k: At least 1.
    """
    if len(losses) != len(keys) or k < 1:
        raise ValueError(
            "losses and keys must be equally many and k at least 1. Received: "
            f"{len(losses)}, {len(keys)} and k={k}."
        )
    best: list[float] = []
    seen: set[str] = set()
    curve = np.full(len(losses), math.nan)
    for index, (loss, key) in enumerate(zip(losses, keys, strict=True)):
        if loss is not None and key not in seen:
            seen.add(key)
            bisect.insort(best, loss)
            del best[k:]
        if len(best) == k:
            curve[index] = math.fsum(best) / k
    return curve


def window_means(losses: Sequence[float | None], size: int) -> list[float]:
    """Returns the mean loss of each whole window of `size` children.

    Infeasible children are left out; NaN where a window has no other.
    """
    means = []
    for start in range(0, len(losses) - size + 1, size):
        known = [x for x in losses[start : start + size] if x is not None]
        means.append(math.fsum(known) / len(known) if known else math.nan)
    return means


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Returns the mean and Student's interval; of one value no interval."""
    if not values:
        return Interval(math.nan, math.nan, math.nan)
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    error = statistics.stdev(values) / math.sqrt(len(values))
    quantile = stats.t.ppf((1 + confidence) / 2, len(values) - 1)
    half = float(quantile) * error
    return Interval(mean, mean - half, mean + half)


def welch_interval(
    a: Sequence[float], b: Sequence[float], confidence: float = 0.95
) -> Interval:
    """Returns the difference of two means, the first minus the second.

    The variances may differ: Welch's interval. It has no width where neither
    sample varies, and is NaN where one has fewer than two values.
    """
    if not len(a) or not len(b):
        return Interval(math.nan, math.nan, math.nan)
    mean = statistics.fmean(a) - statistics.fmean(b)
    if min(len(a), len(b)) < 2:
        return Interval(mean, math.nan, math.nan)
    parts = [statistics.variance(x) / len(x) for x in (a, b)]
    error = math.sqrt(sum(parts))
    if not error:
        return Interval(mean, mean, mean)
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(x) - 1) for part, x in zip(parts, (a, b), strict=True)
    )
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Interval(mean, mean - half, mean + half)


def compare(a: Sequence[float], b: Sequence[float]) -> Comparison:
    """Returns how two independent samples differ."""
    a, b = list(map(float, a)), list(map(float, b))
    difference = welch_interval(a, b)
    welch_p = rank_p = math.nan
    if min(len(a), len(b)) >= 2 and difference.high > difference.low:
        welch_p = float(stats.ttest_ind(a, b, equal_var=False).pvalue)
    if a and b and len({*a, *b}) > 1:
        is_exact = len({*a, *b}) == len(a) + len(b)
        method = "exact" if is_exact else "asymptotic"
        test = stats.mannwhitneyu(a, b, alternative="two-sided", method=method)
        rank_p = float(test.pvalue)
    return Comparison(difference, welch_p, rank_p, smallest_p(len(a), len(b)))


def smallest_p(num_a: int, num_b: int) -> float:
    """Returns the least p of a two-sided Mann-Whitney test without ties.

    Both orders in which the samples are wholly apart, of all equally likely.
    """
    if not num_a or not num_b:
        return math.nan
    return min(1.0, 2 / math.comb(num_a + num_b, num_a))


def band(curves: np.ndarray) -> np.ndarray:
    """Returns mean, low and high [3, N] of curves [S, N], by `t_interval`.

    NaN where a curve has not begun.
    """
    return _by_point(lambda column: t_interval(column), curves)


def difference_band(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns mean, low and high [3, N] of curves [S, N] minus others [R, N].

    By `welch_interval`, at each point for itself; NaN where one has not begun.
    """
    return _by_point(lambda x, y: welch_interval(x, y), a, b)


def _by_point(interval, *groups: np.ndarray) -> np.ndarray:
    groups = [np.asarray(group, np.float64) for group in groups]
    points = groups[0].shape[1]
    result = np.full((3, points), math.nan)
    for index in range(points):
        columns = [group[:, index].tolist() for group in groups]
        if all(map(math.isfinite, sum(columns, []))):
            result[:, index] = dataclasses.astuple(interval(*columns))
    return result
