"""The experiments on cells that are trained anew: ENAS, and the best found.

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

from nas_keras.cells.spec import CellSpec
from nas_keras.cells.spec import save_spec
from nas_keras.report import rank_correlation

PUBLISHED = ("lstm", "gru", "nascell", "enas_ptb", "darts_v2")
_SHARED_SEEDS = 3  # Of --seeds, the first.
_RANKS_SEED = 7
_SPACES = ("tree", "enas")

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
        return min(self.cells, key=_loss)

    def minutes_to(self, perplexity: float) -> float:
        """Returns core-minutes to the first cell that is as good, or NaN.

        In hindsight, of those cells that were trained anew, and only for a
        search from scratch: shared weights are trained to the end first.
        """
        trials = [
            cell["trial"]
            for cell in self.cells
            if math.exp(_loss(cell)) <= perplexity
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
        for cell in _feasible(runs.read_retrained(path))
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


def finalists(
    setting: runs.Setting, of_jobs: Iterable[runs.Job], num: int
) -> list[CellSpec]:
    """Returns the distinct cells of the lowest validation loss of all jobs.

    Only of finished searches, of all algorithms.
    """
    of_cell = [
        (cell, job)
        for job in of_jobs
        if job.kind != "ranks" and runs.is_done(setting.path(job))
        for cell in _feasible(runs.read_retrained(setting.path(job)))
    ]
    chosen: dict[str, CellSpec] = {}
    for cell, job in sorted(of_cell, key=lambda pair: _loss(pair[0])):
        if len(chosen) < num and cell["fingerprint"] not in chosen:
            provenance = {
                "job": job.name,
                "trial": cell["trial"],
                "reward": cell["reward"],
            }
            chosen[cell["fingerprint"]] = dataclasses.replace(
                CellSpec.from_dict(cell["spec"]), provenance=provenance
            )
    return list(chosen.values())


def cell_path(setting: runs.Setting, spec: CellSpec) -> Path:
    """Returns where a finalist is saved."""
    return setting.folder / "cells" / f"{spec.name}.json"


def save(setting: runs.Setting, specs: Sequence[CellSpec]) -> None:
    """Writes the finalists."""
    for spec in specs:
        path = cell_path(setting, spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_spec(spec, path)


def winners(
    setting: runs.Setting,
    chosen: Sequence[CellSpec],
    console: rich.console.Console,
) -> Headline:
    """Compares finalists with published cells, in fresh seeds."""
    origins = {spec.name: spec.provenance["job"] for spec in chosen}
    origins |= dict.fromkeys(PUBLISHED, "published")
    trained: dict[str, list[Record]] = {}
    for name in origins:
        folder = setting.folder / f"final-{name}"
        if runs.is_done(folder):
            trained[name] = runs.read_retrained(folder)
    if not trained:
        return {}
    console.print(_winners_table(trained, origins))
    known = [s.name for s in chosen if perplexities(trained.get(s.name, ()))]
    if not known:
        return {}
    best = min(known, key=lambda n: numbers.fmean(perplexities(trained[n])))
    return _against_published(best, trained, console)


def perplexities(
    records: Iterable[Record], split: str = "validation"
) -> list[float]:
    """Returns those of a cell's fresh seeds: seed 0 chose the finalists."""
    return [
        math.exp(_loss(record, split))
        for record in _feasible(records)
        if record["seed"] > 0
    ]


def _loss(record: Record, split: str = "validation") -> float:
    return record["metrics"][f"{split}_loss_nats"]


def _feasible(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record["infeasible"] is None]


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
        cells = _feasible(runs.read_retrained(folder))
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
        numbers.fmean(math.exp(_loss(cell)) for cell in found.cells),
        math.exp(_loss(found.best)),
        math.exp(_loss(found.best, "test")),
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
    for record in _feasible(runs.read_retrained(folder)):
        columns["retrained"][record["trial"]] = -_loss(record)
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
            "retrained": [-_loss(cell) for cell in distinct],
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
            points = {"": np.array([1 / rewards, np.exp(-scores)])}
            panels.append(
                (
                    f"{space} space",
                    f"perplexity, {name}",
                    "trained anew",
                    points,
                )
            )
    if panels:
        note = "random cells; validation perplexity at equal parameters"
        figures.draw_points(panels, note, path)


def _winners_table(
    trained: Mapping[str, Sequence[Record]], origins: Mapping[str, str]
) -> rich.table.Table:
    table = rich.table.Table(
        "", "found by", "seeds", "units", "weights", "validation perplexity",
        "sd", "test perplexity", "sd",
        title="winners: cells trained with fresh seeds, 95 % t-intervals",
    )  # fmt: skip
    own_of = {name: perplexities(r) for name, r in trained.items()}
    known = [name for name, values in own_of.items() if values]
    for name in sorted(known, key=lambda name: numbers.fmean(own_of[name])):
        own, test = own_of[name], perplexities(trained[name], "test")
        first = trained[name][0]
        texts = []
        for values in (own, test):
            texts.append(interval_text(values))
            sd = numbers.stdev(values) if len(values) > 1 else math.nan
            texts.append(f"{sd:.3f}")
        table.add_row(
            name, origins[name], str(len(own)), str(first["units"]),
            str(first["num_parameters"]), *texts,
        )  # fmt: skip
    return table


def _against_published(
    best: str,
    trained: Mapping[str, Sequence[Record]],
    console: rich.console.Console,
) -> Headline:
    """Prints a table of the best finalist, chosen by validation."""
    table = rich.table.Table(
        "", "test perplexity, %", "intervals", "Welch p", "Mann-Whitney p",
        "least possible p",
        title=f"winners: {best}, the best finalist by validation",
    )  # fmt: skip
    own = perplexities(trained[best], "test")
    headline: Headline = {"winner_test_perplexity": numbers.fmean(own)}
    for name in PUBLISHED:
        other = perplexities(trained.get(name, ()), "test")
        if not other:
            continue
        result = statistics.compare(own, other)
        percent = 100 * result.difference.mean / numbers.fmean(other)
        is_apart = statistics.t_interval(own).is_apart_from(
            statistics.t_interval(other)
        )
        table.add_row(
            f"against {name}", f"{percent:+.2f}",
            "apart" if is_apart else "overlap",
            f"{result.welch_p:.4f}", f"{result.mann_whitney_p:.4f}",
            f"{result.smallest_p:.4f}",
        )  # fmt: skip
        if name in ("lstm", "gru"):
            headline[f"winner_vs_{name}_percent"] = percent
            headline[f"winner_vs_{name}_p"] = result.welch_p
    console.print(table)
    return headline
