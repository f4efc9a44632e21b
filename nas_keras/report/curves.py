"""The figures of a report, as SVG to be placed inside an HTML page.

Colours are CSS variables (`INK`, `FAINT`, `SERIES_COLORS`), so that the page
decides on light or dark; lines differ in dash as well as in colour. Text is
drawn as outlines: it looks the same wherever the page is opened.
"""

import dataclasses
import html
import io
import re
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nas_keras.report.figures import new_figure
from nas_keras.report.intervals import running_interval
from nas_keras.report.records import Measure

# The page must define these variables, once for light and once for dark.
INK = "--ink"
FAINT = "--faint"
SERIES_COLORS = {"controller": "--controller", "random": "--random"}

_FIGURE_INCHES = (5.6, 4.1)
_FONT_POINTS = 12  # 11 pixels on a phone 390 pixels wide.
_MAX_DOTS = 1500  # Of one series; more make the file large, not clearer.
# matplotlib knows no CSS variables: it draws with these colours, which occur
# nowhere else in its output, and they are replaced afterwards.
_STAND_INS = {
    INK: "#0a0b01",
    FAINT: "#0a0b02",
    "--controller": "#0a0b03",
    "--random": "#0a0b04",
}
_SOLID = "solid"
_DASHES = {
    ("controller", "strong"): _SOLID,
    ("random", "strong"): (0, (6, 2)),
    ("controller", "weak"): (0, (1, 1.4)),
    ("random", "weak"): (0, (6, 2, 1, 2)),
}
_MARKERS = {"controller": "o", "random": "x"}
_WIDTHS = {"strong": 2.0, "weak": 1.7}


@dataclasses.dataclass(frozen=True)
class Curve:
    """A figure: plain-text title and caption, and the `<svg>` element."""

    title: str
    svg: str
    caption: str


def running_mean(rewards: ArrayLike, window: int) -> np.ndarray:
    """Returns the mean of each child's and its predecessors' rewards.

    Args:
        rewards: Of the children in order, NaN for an infeasible one.
        window: Positive int, children averaged over.

    Returns:
        float64, as long as `rewards`: entry i is the mean of the feasible
        ones among children i-window+1..i, NaN before the window is full.
    """
    values = np.asarray(rewards, np.float64)
    finite = np.isfinite(values)
    sums = np.cumsum(np.concatenate([[0.0], np.where(finite, values, 0.0)]))
    counts = np.cumsum(np.concatenate([[0], finite]))
    result = np.full(values.shape, np.nan)
    total = sums[window:] - sums[:-window]
    count = counts[window:] - counts[:-window]
    result[window - 1 :] = np.where(
        count > 0, total / np.maximum(count, 1), np.nan
    )
    return result


def best_so_far(rewards: ArrayLike) -> np.ndarray:
    """Returns the highest reward up to each child, NaN before the first."""
    return np.fmax.accumulate(np.asarray(rewards, np.float64))


def top_mean_so_far(rewards: Sequence[float], count: int) -> np.ndarray:
    """Returns the mean of the `count` highest rewards up to each child.

    NaN until `count` children were feasible, so that every point of a curve
    is a mean of equally many.
    """
    top: list[float] = []
    result = np.full(len(rewards), np.nan)
    for index, reward in enumerate(rewards):
        if np.isfinite(reward):
            top = sorted([*top, float(reward)], reverse=True)[:count]
        if len(top) == count:
            result[index] = np.mean(top)
    return result


def reward_curve(series: Mapping[str, Sequence[float]]) -> Curve:
    """Draws the reward of every child, its running mean and the best so far.

    Args:
        series: Rewards in order, NaN for an infeasible child, by the name of
            the search; the names are keys of `SERIES_COLORS`.

    Returns:
        The figure.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    longest = max(len(rewards) for rewards in series.values())
    window = max(1, min(longest, max(10, longest // 10)))
    figure, axes = _figure("children evaluated", "reward")
    for name, rewards in series.items():
        values = np.asarray(rewards, np.float64)
        _dots(axes, name, values)
        _line(axes, name, "strong", best_so_far(values), "best so far")
        if len(values) >= window:
            mean = running_mean(values, window)
            _line(axes, name, "weak", mean, "running mean")
            _band(axes, name, running_interval(values, window))
    caption = (
        "Each disc (controller) or cross (random) is a child; running means"
        f" are over {window} children, and the bands about them are their"
        " 95 % confidence intervals (Student's t, the children of a window"
        " taken as independent). They say nothing of other runs: this is one"
        " seed of each. Infeasible children count on the horizontal axis and"
        " have no mark."
    )
    caption += _limit_rewards(axes, np.concatenate(list(series.values())))
    if longest > _MAX_DOTS:
        caption += (
            f" Of every {-(-longest // _MAX_DOTS)} children one is drawn."
        )
    title = "Reward of the children"
    return Curve(title, _svg(figure, axes, "reward", title), caption)


def top_curve(
    series: Mapping[str, Sequence[float]], counts: tuple[int, int] = (5, 15)
) -> Curve:
    """Draws the mean reward of the best few children found so far.

    Args:
        series: As in `reward_curve`.
        counts: How many children the solid and the faint lines average.

    Returns:
        The figure.

    Raises:
        ImportError: If matplotlib is not installed.

    Reference:
        After figure 6 of [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578),
        which shows the controller's lead over random search.
    """
    figure, axes = _figure("children evaluated", "mean reward")
    for name, rewards in series.items():
        for style, count in zip(("strong", "weak"), counts, strict=True):
            values = top_mean_so_far(rewards, count)
            _line(axes, name, style, values, f"top {count}")
    title = f"Mean of the top {counts[0]} and top {counts[1]} so far"
    caption = "A line starts once that many children were feasible."
    if "random" in series:
        caption += (
            " The further the controller's lines lie above those of random"
            " search, the more is owed to its choices and not to the number"
            " of children."
        )
    return Curve(title, _svg(figure, axes, "top", title), caption)


def entropy_curve(steps: Sequence[int], entropy_nats: Sequence[float]) -> Curve:
    """Draws the controller's entropy against its updates.

    Args:
        steps: Numbers of the updates.
        entropy_nats: Entropy of the policy at each of them, in nats.

    Returns:
        The figure.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure, axes = _figure("controller updates", "entropy (nats)")
    color = _STAND_INS[SERIES_COLORS["controller"]]
    marker = "o" if len(steps) < 40 else None
    axes.plot(
        steps, entropy_nats, color=color, lw=2.0, marker=marker, markersize=3.5
    )
    title = "Entropy of the controller"
    caption = (
        "How undecided the controller is, in nats: ln(n) for a choice among n"
        " architectures that are equally likely. It falls as the controller"
        " settles on some, and stays flat while it learns nothing."
    )
    return Curve(title, _svg(figure, axes, "entropy", title), caption)


def ranking_scatter(
    series: Mapping[str, Sequence[tuple[float, float]]],
    measure: Measure,
) -> Curve:
    """Draws the reward of cells against how they did once retrained.

    Args:
        series: (reward, validation figure) of each cell, by the origin of
            the cell; one that is no key of `SERIES_COLORS` is drawn in ink.
        measure: What the figure is called.

    Returns:
        The figure.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure, axes = _figure(
        "reward in the search", f"validation {measure.name}{measure.suffix}"
    )
    for name, pairs in series.items():
        axes.plot(
            *zip(*pairs, strict=True),
            linestyle="none",
            marker=_MARKERS.get(name, "s"),
            markersize=6,
            color=_STAND_INS[SERIES_COLORS.get(name, INK)],
            alpha=0.8,
            label=name,
        )
    _plain_ticks(axes, [y for pairs in series.values() for _, y in pairs])
    title = f"Reward against retrained {measure.name}"
    noun, slope = measure.noun, "fall from the upper left to the lower right"
    if measure.is_more_better:
        slope = "rise from the lower left to the upper right"
    caption = (
        f"Each disc (controller) or cross (random) is a retrained {noun}: its"
        f" reward in the search, and its validation {measure.name}, the mean"
        f" over seeds. Where the reward tells good {noun}s from"
        f" bad ones, the marks {slope}. Only {noun}s that the search chose were"
        " retrained; over all children the correlation may be another."
    )
    return Curve(title, _svg(figure, axes, "ranking", title), caption)


def _plain_ticks(axes: Any, heights: Sequence[float]) -> None:
    """Sets ticks of real numbers; heights far apart get a log axis."""
    from matplotlib import ticker

    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=5))
    axes.ticklabel_format(useOffset=False)
    finite = [height for height in heights if np.isfinite(height)]
    if finite and max(finite) > 10 * min(finite):
        axes.set_yscale("log")


def _dots(axes: Any, name: str, values: np.ndarray) -> None:
    shown = slice(None, None, -(-len(values) // _MAX_DOTS) or 1)
    axes.plot(
        np.arange(1, len(values) + 1)[shown],
        values[shown],
        linestyle="none",
        marker=_MARKERS[name],
        markersize=3,
        color=_STAND_INS[SERIES_COLORS[name]],
        alpha=0.45 if len(values) < 400 else 0.2,
    )


def _band(axes: Any, name: str, interval: np.ndarray) -> None:
    if np.any(np.isfinite(interval[1:])):
        axes.fill_between(
            *interval,
            color=_STAND_INS[SERIES_COLORS[name]],
            alpha=0.2,
            linewidth=0,
        )


def _line(
    axes: Any, name: str, style: str, values: np.ndarray, what: str
) -> None:
    if not np.any(np.isfinite(values)):
        return
    axes.plot(
        np.arange(1, len(values) + 1),
        values,
        color=_STAND_INS[SERIES_COLORS[name]],
        linestyle=_DASHES[name, style],
        linewidth=_WIDTHS[style],
        drawstyle="default" if what == "running mean" else "steps-post",
        label=f"{name}: {what}",
    )


def _limit_rewards(axes: Any, rewards: np.ndarray) -> str:
    """Cuts far outliers off the axis; returns the sentence that says so."""
    finite = rewards[np.isfinite(rewards)]
    if not finite.size:
        return ""
    low, high = np.percentile(finite, [5, 95])
    margin = 1.5 * (high - low)
    floor = low - margin
    hidden = int(np.sum(finite < floor))
    if not hidden or margin == 0:
        return ""
    top = float(finite.max())
    axes.set_ylim(floor, top + 0.05 * (top - floor))
    noun = "child lies" if hidden == 1 else "children lie"
    return f" {hidden} {noun} below the lower edge."


def _figure(xlabel: str, ylabel: str) -> tuple[Any, Any]:
    figure = new_figure(*_FIGURE_INCHES)
    from matplotlib import ticker

    axes = figure.add_subplot()
    ink, faint = _STAND_INS[INK], _STAND_INS[FAINT]
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    # A metric of a run may have any name, a dollar begins no formula.
    look = {"color": ink, "fontsize": _FONT_POINTS, "parse_math": False}
    axes.set_xlabel(xlabel, **look)
    axes.set_ylabel(ylabel, **look)
    axes.tick_params(colors=ink, labelsize=_FONT_POINTS - 0.5)
    axes.grid(color=faint, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink)
    axes.xaxis.set_major_locator(
        ticker.MaxNLocator(nbins=6, integer=True, min_n_ticks=1)
    )
    return figure, axes


def _svg(figure: Any, axes: Any, name: str, title: str) -> str:
    """Returns the figure as an `<svg>` element whose ids start with `name`."""
    import matplotlib

    if axes.get_legend_handles_labels()[1]:
        figure.legend(
            loc="outside upper left",
            ncols=2,
            frameon=False,
            fontsize=_FONT_POINTS - 1,
            labelcolor=_STAND_INS[INK],
            handlelength=3.0,
            columnspacing=1.2,
        )
    # The salt makes the ids, and so the report, the same every time.
    options: dict[Any, str] = {"svg.hashsalt": name, "svg.fonttype": "path"}
    buffer = io.StringIO()
    with matplotlib.rc_context(options):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _inline(buffer.getvalue(), name, title)


def _inline(document: str, name: str, title: str) -> str:
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    for variable, color in _STAND_INS.items():
        svg = svg.replace(color, f"var({variable})")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    # The page sets the size; the view box keeps the proportions.
    head, rest = svg.split(">", 1)
    head = re.sub(r'\s(width|height|version)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{html.escape(title)}">{rest}'
