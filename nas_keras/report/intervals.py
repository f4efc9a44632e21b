"""95 % confidence intervals of means, by Student's t.

Of independent values; the values of a search are so as far as its policy
stands still. Needs scipy, of the extra `nas_keras[report]`.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from nas_keras import libraries
from nas_keras.report.tables import Spread


def mean_interval(values: Spread) -> tuple[float, float]:
    """Returns the interval of a mean, NaN for fewer than two values."""
    if values.num < 2:
        return math.nan, math.nan
    half = _quantile(values.num - 1) * values.sd / math.sqrt(values.num)
    return values.mean - half, values.mean + half


def difference_interval(ours: Spread, theirs: Spread) -> tuple[float, float]:
    """Returns the interval of `ours.mean - theirs.mean`.

    Of two samples whose variances may differ. NaN if a sample has fewer than
    two values, or if neither has a spread.

    Reference:
        [Welch, 1947](https://doi.org/10.1093/biomet/34.1-2.28), with the
        degrees of freedom of Satterthwaite.
    """
    if min(ours.num, theirs.num) < 2 or ours.sd == theirs.sd == 0:
        return math.nan, math.nan
    parts = [side.sd**2 / side.num for side in (ours, theirs)]
    freedom = sum(parts) ** 2 / sum(
        part**2 / (side.num - 1)
        for part, side in zip(parts, (ours, theirs), strict=True)
    )
    half = _quantile(freedom) * math.sqrt(sum(parts))
    difference = ours.mean - theirs.mean
    return difference - half, difference + half


def running_interval(
    values: ArrayLike, window: int, most: int = 300
) -> np.ndarray:
    """Returns the interval of a running mean at some of the places.

    Args:
        values: In order, NaN for what has none.
        window: Positive int, values averaged over.
        most: Places at which it is computed, at most.

    Returns:
        float64 [3, places]: the number of values up to a place, and both ends
        of the interval of the mean of the window that ends there; NaN with
        fewer than two finite values in it.
    """
    array = np.asarray(values, np.float64)
    num = min(most, len(array) - window + 1)
    ends = np.linspace(window, len(array), max(0, num)).astype(int)
    rows = []
    for end in ends:
        part = array[end - window : end]
        part = part[np.isfinite(part)]
        with np.errstate(over="ignore", invalid="ignore"):
            sd = part.std(ddof=1) if part.size > 1 else math.nan
            mean = part.mean() if part.size else math.nan
        rows.append((end, *mean_interval(Spread(mean, sd, part.size))))
    return np.array(rows, np.float64).reshape(-1, 3).T


def _quantile(freedom: float) -> float:
    with libraries.needed("Confidence intervals need scipy", "report"):
        from scipy import special
    return float(special.stdtrit(freedom, 0.975))
