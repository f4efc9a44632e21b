"""Weight sharing against training from scratch: cost, quality, ranks.

All models have equally many weights. A perplexity is of the validation text
unless it says test; a mean over seeds is that of perplexities.
"""

import dataclasses
import math
import statistics as numbers
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import quality_figures as figures
import quality_runs as runs
import quality_statistics as statistics
import rich.console
import rich.table
from quality_of_searches import Headline
from quality_of_searches import comparison_texts
from quality_of_searches import interval_text

from nas_keras.report import rank_correlation

_SHARED_SEEDS = 3  # Of --seeds, the first.
_RANKS_SEED = 7
_SPACES = ("tree", "enas")
_MAX_DRAWN = 100  # Perplexity: one child may have 1e31.

Record = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Found:
    """What a finished search of the experiment `shared` has come to.

    Attributes:
        job: The search.
        num_scored: Children that had a score, derived ones included.
        search_s: CPU seconds up to the last score.
        elapsed_s: Seconds of each child, in their order.
        cells: Records of its best cells, trained anew; feasible ones.
    """

    job: runs.Job
    num_scored: int
    search_s: float
    elapsed_s: Sequence[float]
    cells: Sequence[Record]

    @property
    def best(self) -> Record:
        """The retrained cell of the lowest validation loss."""
        return min(self.cells, key=runs.loss_of)

    def minutes_to(self, perplexity: float) -> float:
        """Returns core-minutes to the first cell that is as good, or NaN.

        In hindsight, of those cells that were trained anew, and only for a
        search from scratch: shared weights are trained to the end first.
        """
        trials = [
            cell["trial"]
            for cell in self.cells
            if math.exp(runs.loss_of(cell)) <= perplexity
        ]
        if not trials:
            return math.nan
        return sum(self.elapsed_s[: min(trials) + 1]) / 60


def jobs(seeds: Sequence[int]) -> list[runs.Job]:
    """Returns the runs of the experiment `shared`, seed by seed."""
    searches = [
        runs.Job(kind, space, algorithm, seed)
        for seed in seeds[:_SHARED_SEEDS]
        for kind, space, algorithm in (
            ("scratch", "tree", "reinforce"),
            ("scratch", "tree", "random"),
            ("shared", "tree", "reinforce"),
            ("scratch", "enas", "reinforce"),
            ("scratch", "enas", "random"),
            ("shared", "enas", "reinforce"),
            ("shared", "enas", "random"),
        )
    ]
    ranks = [runs.Job("ranks", s, "random", _RANKS_SEED) for s in _SPACES]
    return [*searches, *ranks]


def shared(
    setting: runs.Setting,
    seeds: Sequence[int],
    console: rich.console.Console,
    folder: Path | None,
) -> Headline:
    """Compares shared weights with training from scratch."""
    headline: Headline = {}
    found = _read_found(setting, jobs(seeds))
    if found:
        console.print(_found_table(found))
        console.print(_cost_table(found))
        headline |= _costs(found)
    columns = {
        job.space: _rank_columns(setting.path(job))
        for job in jobs(seeds)
        if job.kind == "ranks" and runs.is_done(setting.path(job))
    }
    tops = [
        cell
        for path in sorted(setting.folder.glob("scratch-tree-*"))
        if runs.is_done(path)
        for cell in runs.feasible(runs.read_retrained(path))
    ]
    if columns or tops:
        console.print(_rank_table(columns, tops))
    for space, of_space in columns.items():
        for name in ("shared", "scratch"):
            result = _correlation(of_space, name, "retrained")
            headline[f"{name}_{space}_kendall"] = result.kendall
    if columns and folder is not None:
        _draw(columns, folder / "shared.svg")
    return headline


def _read_found(
    setting: runs.Setting, of_jobs: Sequence[runs.Job]
) -> dict[tuple[str, str, str], list[Found]]:
    """Returns finished searches by space, kind and algorithm."""
    groups: dict[tuple[str, str, str], list[Found]] = {}
    for job in of_jobs:
        folder = setting.path(job)
        if job.kind == "ranks" or not runs.is_done(folder):
            continue
        trials = runs.read_trials(folder)
        scored = list(trials)
        if job.kind == "shared":
            scored += runs.read_trials(folder / "derived")
        cells = runs.feasible(runs.read_retrained(folder))
        if cells:
            one = Found(
                job,
                sum(trial["reward"] is not None for trial in scored),
                runs.read_cost(folder)["search_s"],
                [trial["elapsed_s"] for trial in trials],
                cells,
            )
            key = job.space, job.kind, job.algorithm
            groups.setdefault(key, []).append(one)
    return dict(sorted(groups.items()))


def _found_columns(found: Found) -> list[float]:
    """Returns CPU minutes, number scored, and perplexities of its cells."""
    return [
        found.search_s / 60,
        found.num_scored,
        numbers.fmean(math.exp(runs.loss_of(cell)) for cell in found.cells),
        math.exp(runs.loss_of(found.best)),
        math.exp(runs.loss_of(found.best, "test")),
    ]


def _found_table(
    groups: Mapping[tuple[str, str, str], Sequence[Found]],
) -> rich.table.Table:
    table = rich.table.Table(
        "", "seed", "CPU min of search", "scored", "mean of its top cells",
        "the best of them", "its test perplexity",
        title="shared: perplexity of each search's top cells, trained anew "
        "with one seed; 95 % t-intervals over seeds",
    )  # fmt: skip
    digits = (1, 0, 3, 3, 3)
    for key, of_one in groups.items():
        rows = [_found_columns(found) for found in of_one]
        for found, row in zip(of_one, rows, strict=True):
            texts = [f"{x:.{d}f}" for x, d in zip(row, digits, strict=True)]
            table.add_row(" ".join(key), str(found.job.seed), *texts)
        texts = [
            interval_text(column, d)
            for column, d in zip(zip(*rows, strict=True), digits, strict=True)
        ]
        table.add_row("", "mean", *texts, end_section=True)
    return table


def _pairs(groups: Iterable[tuple[str, str, str]]) -> list[tuple]:
    """Returns shared against scratch of one space that both are there."""
    known = set(groups)
    return [
        ((space, "shared", own), (space, "scratch", other))
        for space in _SPACES
        for own in ("reinforce", "random")
        for other in ("reinforce", "random")
        if {(space, "shared", own), (space, "scratch", other)} <= known
    ]


def _cost_table(
    groups: Mapping[tuple[str, str, str], Sequence[Found]],
) -> rich.table.Table:
    table = rich.table.Table(
        "", "perplexity less", "95 % interval (Welch)", "Mann-Whitney p",
        "least possible p", "CPU min, shared", "scratch", "ratio",
        "scratch as good after core min",
        title="shared against scratch: the best retrained cell, and what the "
        "search cost; as good: as the mean of shared, in hindsight",
    )  # fmt: skip
    for own, other in _pairs(groups):
        result, minutes = _compared(groups[own], groups[other])
        target = numbers.fmean(_found_columns(f)[3] for f in groups[own])
        reached = [found.minutes_to(target) for found in groups[other]]
        table.add_row(
            f"{own[0]}: shared {own[2]} against scratch {other[2]}",
            *comparison_texts(result),
            *(f"{value:.1f}" for value in minutes),
            f"{minutes[1] / minutes[0]:.2f}",
            ", ".join(
                f"{x:.1f}" if math.isfinite(x) else "never" for x in reached
            ),
        )
    return table


def _compared(
    own: Sequence[Found], other: Sequence[Found]
) -> tuple[statistics.Comparison, tuple[float, float]]:
    """Returns how much worse the other is, and the CPU minutes of both."""
    rows = [[_found_columns(f) for f in group] for group in (own, other)]
    best = [[row[3] for row in group] for group in rows]
    minutes = [numbers.fmean(row[0] for row in group) for group in rows]
    return statistics.compare(best[1], best[0]), (minutes[0], minutes[1])


def _costs(
    groups: Mapping[tuple[str, str, str], Sequence[Found]],
) -> Headline:
    headline: Headline = {}
    for own, other in _pairs(groups):
        if own[2] != "reinforce":
            continue
        result, minutes = _compared(groups[own], groups[other])
        key = f"shared_{own[0]}_{other[2]}"
        headline[f"{key}_gain"] = result.difference.mean
        headline[f"{key}_cost_ratio"] = minutes[1] / minutes[0]
    return headline


def _rank_columns(folder: Path) -> dict[str, list[float | None]]:
    """Returns scores of the same cells in three ways, None if infeasible."""
    columns: dict[str, list[float | None]] = runs.read_rewards(folder)
    columns["retrained"] = [None] * len(columns["scratch"])
    for record in runs.feasible(runs.read_retrained(folder)):
        columns["retrained"][record["trial"]] = -runs.loss_of(record)
    return columns


def _both(
    columns: Mapping[str, Sequence[float | None]], *names: str
) -> tuple[list[float], ...]:
    """Returns columns where none of them is None."""
    rows = zip(*(columns[name] for name in names), strict=True)
    known = [row for row in rows if None not in row]
    return tuple(map(list, zip(*known, strict=True))) or ([],) * len(names)


def _correlation(columns: Mapping[str, Sequence[float | None]], a: str, b: str):
    return rank_correlation(*_both(columns, a, b))


def _rank_table(
    spaces: Mapping[str, Mapping[str, Sequence[float | None]]],
    tops: Sequence[Record],
) -> rich.table.Table:
    table = rich.table.Table(
        "", "cells", "infeasible", "Kendall's tau", "p", "Spearman's rho", "p",
        title="shared: what rewards rank, random cells of a space; "
        "95 % intervals",
    )  # fmt: skip

    def add(name: str, columns, a: str, b: str) -> None:
        result = _correlation(columns, a, b)
        lost = [f"{columns[x].count(None)} {x}" for x in (a, b)]
        table.add_row(
            name, str(result.num), ", ".join(lost),
            f"{result.kendall:.2f} ({result.kendall_low:.2f} to "
            f"{result.kendall_high:.2f})",
            f"{result.kendall_p:.2g}",
            f"{result.spearman:.2f} ({result.spearman_low:.2f} to "
            f"{result.spearman_high:.2f})",
            f"{result.spearman_p:.2g}",
        )  # fmt: skip

    for space, columns in spaces.items():
        for a, b in (
            ("shared", "retrained"),
            ("scratch", "retrained"),
            ("shared", "scratch"),
        ):
            add(f"{space}: {a} and {b}", columns, a, b)
    if tops:
        # A cell that two searches found counts once.
        distinct = {cell["fingerprint"]: cell for cell in tops}.values()
        columns = {
            "reward": [cell["reward"] for cell in distinct],
            "retrained": [-runs.loss_of(cell) for cell in distinct],
        }
        name = "tree: top cells of all searches from scratch"
        add(name, columns, "reward", "retrained")
    return table


def _draw(
    spaces: Mapping[str, Mapping[str, Sequence[float | None]]], path: Path
) -> None:
    """Draws perplexities; a reward is one over that of its child."""
    panels = []
    for space, columns in spaces.items():
        for name in ("shared", "scratch"):
            rewards, scores = map(np.array, _both(columns, name, "retrained"))
            if not len(rewards):
                continue
            points = np.array([1 / rewards, np.exp(-scores)])
            is_drawn = (points < _MAX_DRAWN).all(axis=0)
            points = {"": points[:, is_drawn]}
            beyond = f", {sum(~is_drawn)} beyond" if not is_drawn.all() else ""
            panels.append(
                (
                    f"{space} space{beyond}",
                    f"perplexity, {name}",
                    "trained anew",
                    points,
                )
            )
    if panels:
        note = "random cells; validation perplexity at equal parameters"
        figures.draw_points(panels, note, path)
