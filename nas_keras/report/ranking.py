"""Whether the search ranks cells as training to the end does.

Pure functions. `rank_correlation` takes any rewards and scores; the others
take the retrained cells of a run, of which only those that the search found
have a reward. scipy, of the extra `nas_keras[report]`, is imported where a
correlation is computed, so that this module can be imported without it.
"""

import dataclasses
import math
import statistics
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas_keras import libraries
from nas_keras.report.records import Measure
from nas_keras.report.records import RetrainedRecord
from nas_keras.report.tables import summarise_retrained

_MIN_CELLS = 3  # With two every order is a perfect one.
_MIN_CELLS_OF_INTERVAL = 5
_QUANTILE = statistics.NormalDist().inv_cdf(0.975)  # Of a 95 % interval.


@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    """How well one order agrees with another; 1 is fully, -1 is reversed.

    A figure is NaN where there is none: all of them for fewer than three
    pairs and where all rewards or all scores are equal, the intervals also for
    fewer than five pairs and for a correlation of 1 or -1.

    Attributes:
        num: Pairs of a reward and a score.
        kendall: Kendall's tau-b, which allows for ties.
        kendall_low, kendall_high: 95 % confidence interval.
        kendall_p: Probability of a correlation at least as far from 0 if
            the orders have nothing to do with one another.
        spearman, spearman_low, spearman_high, spearman_p: Likewise,
            Spearman's rho.
    """

    num: int
    kendall: float
    kendall_low: float
    kendall_high: float
    kendall_p: float
    spearman: float
    spearman_low: float
    spearman_high: float
    spearman_p: float


@dataclasses.dataclass(frozen=True)
class RankedCell:
    """An architecture that the search found, trained to the end.

    Attributes:
        origin: "controller" or "random".
        trial: The child's id in its search.
        reward: Of the child in its search.
        figure: Validation figure, the mean over seeds, as the table of what
            was retrained has it: then this order is that of the table.
        measure: What the figure is called.
    """

    origin: str
    trial: int
    reward: float
    figure: float
    measure: Measure

    @property
    def score(self) -> float:
        """The figure, with such a sign that more is better."""
        return self.figure if self.measure.is_more_better else -self.figure


def rank_correlation(
    rewards: Sequence[float], scores: Sequence[float]
) -> RankCorrelation:
    """Returns the rank correlations of rewards and scores.

    Args:
        rewards: Finite numbers, higher is better.
        scores: As many, higher is better.

    Raises:
        ValueError: If there are not as many of each, or one is not finite.
        ImportError: If scipy is not installed.

    Reference:
        The intervals: [Bonett & Wright, 2000](
        https://doi.org/10.1007/BF02294183).
    """
    columns = _checked("rewards", rewards), _checked("scores", scores)
    num = len(columns[0])
    if num != len(columns[1]):
        raise ValueError(
            "rewards and scores must be equally many, received"
            f" {num} and {len(columns[1])}."
        )
    stats = _scipy_stats()
    if num < _MIN_CELLS or any(np.all(c == c[0]) for c in columns):
        return RankCorrelation(num, *[math.nan] * 8)
    kendall = stats.kendalltau(*columns)
    spearman = stats.spearmanr(*columns)
    tau, rho = float(kendall.statistic), float(spearman.statistic)
    return RankCorrelation(
        num,
        tau,
        *_interval(tau, num, 0.437, 4),
        float(kendall.pvalue),
        rho,
        *_interval(rho, num, 1 + rho**2 / 2, 3),
        float(spearman.pvalue),
    )


def ranked_cells(records: Iterable[RetrainedRecord]) -> list[RankedCell]:
    """Returns the found cells that have a reward and a validation figure.

    Args:
        records: One for each cell and seed, in any order. Of two records of
            the same cell and seed the last one counts.

    Returns:
        By origin and child; published cells, which have no reward, and cells
        of which no seed finished are left out.
    """
    found = list(records)
    rewards = {
        (record.origin, record.trial): record.reward
        for record in found
        if record.trial is not None and record.reward is not None
    }
    rows = {(row.origin, row.trial): row for row in summarise_retrained(found)}
    return [
        RankedCell(
            origin=origin,
            trial=trial,
            reward=reward,
            figure=rows[origin, trial].validation.mean,
            measure=rows[origin, trial].measure,
        )
        for (origin, trial), reward in sorted(rewards.items())
        if rows[origin, trial].validation.num
    ]


def describe_ranking(records: Iterable[RetrainedRecord]) -> list[str]:
    """Returns a sentence on the search's reward as a predictor.

    Args:
        records: As in `ranked_cells`.

    Returns:
        One sentence; none where no found cell with a reward was retrained.

    Raises:
        ImportError: If there is a correlation to tell and scipy is not
            installed.
    """
    cells = ranked_cells(records)
    num = len(cells)
    if not cells:
        return []
    nouns = f"{cells[0].measure.noun}s"
    if num < _MIN_CELLS:
        return [
            f"Rank correlation of reward and retrained score: too few {nouns}"
            f" ({num}) of the search were retrained to tell."
        ]
    result = rank_correlation(
        [cell.reward for cell in cells], [cell.score for cell in cells]
    )
    if math.isnan(result.kendall):
        equal = len({cell.reward for cell in cells}) == 1
        return [
            "Rank correlation of reward and retrained score: none, all"
            f" {num} {'rewards' if equal else 'scores'} are equal."
        ]
    _, *figures = dataclasses.astuple(result)
    kendall, spearman = (
        _correlation_text(nouns, num, *its)
        for its in (figures[:4], figures[4:])
    )
    return [
        f"Rank correlation of reward and retrained score, {num} {nouns} of the"
        f" search: Kendall's tau-b {kendall}; Spearman's rho {spearman}."
    ]


def _checked(name: str, values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not np.all(np.isfinite(array)):
        raise ValueError(
            f"{name} must be a sequence of finite numbers, received {values!r}."
        )
    return array


def _interval(
    value: float, num: int, numerator: float, lost: int
) -> tuple[float, float]:
    """Returns the interval of a correlation, by Fisher's z.

    The standard error of z is the root of `numerator / (num - lost)`.
    """
    if num < _MIN_CELLS_OF_INTERVAL or _is_perfect(value):
        return math.nan, math.nan
    half = _QUANTILE * math.sqrt(numerator / (num - lost))
    z = math.atanh(value)
    return math.tanh(z - half), math.tanh(z + half)


def _is_perfect(value: float) -> bool:
    return abs(value) > 1 - 1e-9  # As far as rounding lets one tell.


def _correlation_text(
    nouns: str, num: int, value: float, low: float, high: float, p: float
) -> str:
    """Returns a coefficient and, in brackets, what it is worth."""
    if num < _MIN_CELLS_OF_INTERVAL:
        interval = (
            f"no interval for fewer than {_MIN_CELLS_OF_INTERVAL} {nouns}"
        )
    elif math.isnan(low):
        interval = "no interval for a perfect correlation"
    else:
        interval = f"95 % interval {low:.2f} to {high:.2f}"
    chance = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    verdict = "; not significant" if low <= 0 <= high else ""
    return f"{value:.2f} ({interval}, {chance}{verdict})"


def _scipy_stats() -> Any:
    with libraries.needed("Rank correlations need scipy", "report"):
        from scipy import stats
    return stats
