"""The figures of `search_quality`, as SVG files."""

from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import figure as mpl_figure

# Colours after Okabe and Ito, which the colour-blind can tell apart; lines
# differ in dash as well.
_INK, _FAINT = "#222222", "#dddddd"
_STYLES = (
    ("#0072b2", "solid"),
    ("#d55e00", (0, (6, 2))),
    ("#00775a", (0, (2, 1.5))),
    ("#8a6100", (0, (6, 2, 2, 2))),
)

Lines = Mapping[str, np.ndarray]  # Name -> mean, low and high [3, N].


def draw_curves(
    panels: Sequence[tuple[str, str, Sequence[float], Lines]],
    note: str,
    path: Path,
) -> None:
    """Writes panels of lines with their bands.

    Args:
        panels: Title, label of the y axis, numbers of children, and lines.
        note: Above all.
        path: Of the file.
    """
    rows = -(-len(panels) // 2)
    figure, all_axes = _figure(rows, min(2, len(panels)), note)
    for axes, (title, ylabel, x, lines) in zip(all_axes, panels, strict=False):
        _prepare(axes, title, "children", ylabel)
        if "−" in ylabel:
            axes.axhline(0, color=_INK, linewidth=0.8)
        for (name, line), style in zip(lines.items(), _STYLES, strict=False):
            color, dash = style
            axes.plot(
                x, line[0], color=color, linestyle=dash, linewidth=1.8,
                label=name,
            )  # fmt: skip
            axes.fill_between(
                x, line[1], line[2], color=color, alpha=0.15, linewidth=0
            )
        axes.legend(frameon=False, fontsize=9, labelcolor=_INK)
    _save(figure, path)


def draw_points(
    panels: Sequence[tuple[str, str, str, Mapping[str, np.ndarray]]],
    note: str,
    path: Path,
) -> None:
    """Writes panels of points.

    Args:
        panels: Title, labels of the x and of the y axis, points [2, N] by
            name.
        note: Above all.
        path: Of the file.
    """
    figure, all_axes = _figure(1, len(panels), note)
    marks = "o^sD"
    for axes, (title, xlabel, ylabel, points) in zip(
        all_axes, panels, strict=True
    ):
        _prepare(axes, title, xlabel, ylabel)
        for index, (name, (x, y)) in enumerate(points.items()):
            color, mark = _STYLES[index % 4][0], marks[index % 4]
            if len(x) and np.nanmax(x) > 10 * np.nanmin(x):
                axes.set_xscale("log")
            axes.scatter(
                x, y, s=22, color=color, marker=mark, alpha=0.8, linewidth=0,
                label=name,
            )  # fmt: skip
        if len(points) > 1:
            axes.legend(frameon=False, fontsize=9, labelcolor=_INK)
    _save(figure, path)


def _figure(rows: int, columns: int, note: str) -> tuple[Any, Sequence[Any]]:
    figure = mpl_figure.Figure(
        figsize=(5.2 * columns, 3.6 * rows), layout="constrained"
    )
    figure.patch.set_facecolor("white")
    figure.suptitle(note, fontsize=10, color=_INK)
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def _prepare(axes: Any, title: str, xlabel: str, ylabel: str) -> None:
    axes.set_title(title, fontsize=11, color=_INK)
    axes.set_xlabel(xlabel, color=_INK)
    axes.set_ylabel(ylabel, color=_INK)
    axes.grid(color=_FAINT, linewidth=0.6)
    axes.tick_params(colors=_INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))


def _save(figure: Any, path: Path) -> None:
    options = {"svg.hashsalt": "quality", "svg.fonttype": "path"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(options):
        figure.savefig(path, format="svg", metadata={"Date": None})
