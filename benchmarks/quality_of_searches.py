"""The experiments on searches alone: Figure 6 of the paper, and its control.

All perplexities are of the validation text; a mean over children is the
exponential of their mean loss, a mean over seeds is that of perplexities.
"""

import dataclasses
import math
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

ALGORITHMS = ("reinforce", "ppo", "random")
TOPS = {"best": 1, "top 5": 5, "top 15": 15}
WINDOW = 100  # Children.

Headline = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Search:
    """The children of a finished search, as its journal has them.

    Attributes:
        job: The search.
        records: The journal's lines.
        cpu_s: CPU seconds of its process up to the last child.
    """

    job: runs.Job
    records: Sequence[Mapping[str, Any]]
    cpu_s: float

    @property
    def losses(self) -> list[float | None]:
        """The validation losses in nats, None of infeasible children."""
        return [
            None
            if record["reward"] is None
            else record["metrics"]["validation_loss_nats"]
            for record in self.records
        ]

    @property
    def keys(self) -> list[str]:
        """What children of one architecture have in common."""
        return [record["fingerprint"] for record in self.records]

    @property
    def core_minutes(self) -> float:
        """Minutes that the children took, on one thread."""
        return sum(record["elapsed_s"] for record in self.records) / 60

    def top(self, num: int) -> list[Mapping[str, Any]]:
        """Returns the records of the best distinct architectures."""
        feasible = [r for r in self.records if r["reward"] is not None]
        found: dict[str, Mapping[str, Any]] = {}
        for record in sorted(feasible, key=lambda r: -r["reward"]):
            found.setdefault(record["fingerprint"], record)
        return list(found.values())[:num]


Searches = Mapping[str, Sequence[Search]]


def jobs(
    space: str, algorithms: Sequence[str], seeds: Sequence[int]
) -> list[runs.Job]:
    """Returns searches from scratch, seed by seed."""
    return [
        runs.Job("scratch", space, algorithm, seed)
        for seed in seeds
        for algorithm in algorithms
    ]


def read_searches(
    setting: runs.Setting, of_jobs: Sequence[runs.Job]
) -> dict[str, list[Search]]:
    """Returns the finished ones of some searches by algorithm.

    Raises:
        ValueError: If one is of another number of children.
    """
    searches: dict[str, list[Search]] = {}
    for job in of_jobs:
        folder = setting.path(job)
        if not runs.is_done(folder):
            continue
        records = runs.read_trials(folder)
        if len(records) != setting.children:
            raise ValueError(
                f"{folder} has {len(records)} children, not "
                f"{setting.children}. Choose another --workdir or --children."
            )
        search = Search(job, records, runs.read_cost(folder)["search_s"])
        searches.setdefault(job.algorithm, []).append(search)
    return searches


def figure6(
    setting: runs.Setting,
    seeds: Sequence[int],
    console: rich.console.Console,
    folder: Path | None,
) -> Headline:
    """Compares the algorithms; returns headline figures."""
    searches = read_searches(setting, jobs("tree", ALGORITHMS, seeds))
    if not searches:
        return {}
    console.print(_table("figure6: by algorithm", searches))
    pairs = [("reinforce", "random"), ("ppo", "random"), ("ppo", "reinforce")]
    pairs = [pair for pair in pairs if set(pair) <= searches.keys()]
    console.print(_comparisons("figure6", searches, pairs))
    console.print(_windows("figure6", searches))
    if folder is not None:
        _draw_figure6(searches, folder / "figure6.svg")
    headline: Headline = {}
    for name in [a for a, b in pairs if b == "random"]:
        for measure in (*TOPS, f"last {WINDOW}"):
            result = _compare(searches["random"], searches[name], measure)
            key = f"{name}_{measure.replace(' ', '')}"
            headline[f"{key}_gain"] = result.difference.mean
            headline[f"{key}_p"] = result.mann_whitney_p
    return headline


def control(
    setting: runs.Setting,
    seeds: Sequence[int],
    console: rich.console.Console,
    folder: Path | None,
) -> Headline:
    """Compares the space with max and sin; returns headline figures."""
    names = ("reinforce", "random")
    own = read_searches(setting, jobs("tree", names, seeds))
    extended = read_searches(setting, jobs("extended", names, seeds))
    if not extended:
        return {}
    both = own | {f"{k} + max, sin": v for k, v in extended.items()}
    console.print(_table("control: the space with max and sin", both))
    pairs = [(f"{name} + max, sin", name) for name in names]
    pairs.append(("reinforce + max, sin", "random + max, sin"))
    pairs = [pair for pair in pairs if set(pair) <= both.keys()]
    console.print(_comparisons("control", both, pairs))
    console.print(_windows("control", both))
    usage = {name: _usage(of_one) for name, of_one in extended.items()}
    console.print(_usage_table(usage))
    if folder is not None:
        _draw(_of_searches(both), both, folder / "control.svg")
    headline: Headline = {}
    for name in [name for name in own if name in extended]:
        result = _compare(own[name], extended[name], "top 15")
        headline[f"control_{name}_top15_gain"] = result.difference.mean
        headline[f"control_{name}_top15_p"] = result.mann_whitney_p
        sin, maximum = usage[name]["top 15"]
        headline[f"control_{name}_sin_share"] = sin
        headline[f"control_{name}_max_share"] = maximum
    return headline


def measure_of(search: Search, measure: str) -> float:
    """Returns a perplexity of a search: "best", "top 5", "last 100", ..."""
    losses = search.losses
    if measure in TOPS:
        return _exp(
            statistics.top_k_curve(losses, search.keys, TOPS[measure])[-1]
        )
    last = losses[-WINDOW:]
    return _exp(statistics.window_means(last, len(last))[0])


def _values(of_one: Sequence[Search], measure: str) -> list[float]:
    return [measure_of(search, measure) for search in of_one]


def _compare(
    a: Sequence[Search], b: Sequence[Search], measure: str
) -> statistics.Comparison:
    """Compares those seeds that have the measure."""
    columns = [
        [value for value in _values(x, measure) if math.isfinite(value)]
        for x in (a, b)
    ]
    return statistics.compare(*columns)


def interval_text(values: Sequence[float], digits: int = 3) -> str:
    """Returns a mean and its 95 % t-interval."""
    known = [value for value in values if math.isfinite(value)]
    result = statistics.t_interval(known)
    text = f"{result.mean:.{digits}f}"
    if math.isfinite(result.low):
        text += f" ({result.low:.{digits}f} to {result.high:.{digits}f})"
    lost = len(values) - len(known)
    return f"{text}, none of {lost}" if lost else text


def _table(title: str, searches: Searches) -> rich.table.Table:
    children = len(next(iter(searches.values()))[0].records)
    table = rich.table.Table(
        "", "seeds", *TOPS, f"last {WINDOW}", "infeasible", "of these last",
        "distinct", "core min", "CPU min",
        title=f"{title}; validation perplexity, {children} children, 95 % "
        "t-intervals over seeds; top k are distinct cells",
    )  # fmt: skip
    for name, of_one in searches.items():
        failed = [[loss is None for loss in s.losses] for s in of_one]
        table.add_row(
            name,
            str(len(of_one)),
            *(interval_text(_values(of_one, m)) for m in TOPS),
            interval_text(_values(of_one, f"last {WINDOW}")),
            f"{np.mean([sum(f) for f in failed]):.1f}",
            f"{np.mean([sum(f[-WINDOW:]) for f in failed]):.1f}",
            f"{np.mean([len(set(s.keys)) for s in of_one]):.0f}",
            f"{np.mean([s.core_minutes for s in of_one]):.1f}",
            f"{np.mean([s.cpu_s for s in of_one]) / 60:.1f}",
        )
    return table


def _comparisons(
    title: str, searches: Searches, pairs: Sequence[tuple[str, str]]
) -> rich.table.Table:
    table = rich.table.Table(
        "", "measure", "perplexity less", "95 % interval (Welch)",
        "Mann-Whitney p", "least possible p",
        title=f"{title}: how much better the first is than the second; "
        "two-sided tests over seeds, not corrected for their number",
    )  # fmt: skip
    for name, other in pairs:
        for measure in (*TOPS, f"last {WINDOW}"):
            result = _compare(searches[other], searches[name], measure)
            table.add_row(
                f"{name} against {other}", measure, *comparison_texts(result)
            )
    return table


def comparison_texts(result: statistics.Comparison) -> list[str]:
    """Returns difference, interval, rank p and the least p as text."""
    difference = result.difference
    return [
        f"{difference.mean:.4f}",
        f"{difference.low:.4f} to {difference.high:.4f}",
        f"{result.mann_whitney_p:.4f}",
        f"{result.smallest_p:.4f}",
    ]


def _window_curves(of_one: Sequence[Search]) -> np.ndarray:
    size = min(WINDOW, len(of_one[0].records))
    means = [statistics.window_means(s.losses, size) for s in of_one]
    return np.exp(np.array(means))


def _windows(title: str, searches: Searches) -> rich.table.Table:
    first = next(iter(searches.values()))
    size = min(WINDOW, len(first[0].records))
    num = len(first[0].records) // size
    table = rich.table.Table(
        "", *(f"{size * k + 1}-{size * (k + 1)}" for k in range(num)),
        title=f"{title}: validation perplexity of the children sampled, "
        "feasible ones, 95 % t-intervals",
    )  # fmt: skip
    for name, of_one in searches.items():
        columns = _window_curves(of_one).T.tolist()
        table.add_row(name, *(interval_text(c, 2) for c in columns))
    return table


def _usage(of_one: Sequence[Search]) -> dict[str, tuple[float, float]]:
    """Returns the shares of sin and of max among activations and combines."""
    groups = {
        **{f"top {k}": [s.top(k) for s in of_one] for k in (1, 5, 15)},
        f"last {WINDOW}": [s.records[-WINDOW:] for s in of_one],
        "all": [s.records for s in of_one],
    }
    tree = runs.SPACES[of_one[0].job.space]().structure
    sin, maximum = tree.activations.index("sin"), tree.combines.index("max")
    usage = {}
    for name, records in groups.items():
        tokens = np.array([r["tokens"] for group in records for r in group])
        pairs = tokens[:, :-2]  # Without the two indices.
        usage[name] = (
            float(np.mean(pairs[:, 1::2] == sin)),
            float(np.mean(pairs[:, 0::2] == maximum)),
        )
    return usage


def _usage_table(
    usage: Mapping[str, Mapping[str, tuple[float, float]]],
) -> rich.table.Table:
    table = rich.table.Table(
        "", "of", "sin among activations", "max among combines",
        title="control: what cells are made of; by chance 20 % and 33.3 %",
    )  # fmt: skip
    for name, groups in usage.items():
        for group, (sin, maximum) in groups.items():
            table.add_row(
                name, group, f"{100 * sin:.1f} %", f"{100 * maximum:.1f} %"
            )
    return table


def _top_curves(of_one: Sequence[Search], k: int) -> np.ndarray:
    """Returns perplexities [S, N]."""
    curves = [statistics.top_k_curve(s.losses, s.keys, k) for s in of_one]
    return np.exp(np.array(curves))


def _draw_figure6(searches: Searches, path: Path) -> None:
    panels = []
    for name in ("reinforce", "ppo"):
        if not {name, "random"} <= searches.keys():
            continue
        drawn = _drawn(len(searches[name][0].records))
        lines = {
            measure: statistics.difference_band(
                _top_curves(searches["random"], k)[:, drawn],
                _top_curves(searches[name], k)[:, drawn],
            )
            for measure, k in TOPS.items()
        }
        x = drawn + 1
        panels.append(
            (f"random search − {name}", "perplexity, random − own", x, lines)
        )
    _draw(panels + _of_searches(searches), searches, path)


def _drawn(num_children: int) -> np.ndarray:
    """Returns the places of the children that curves are drawn at.

    Not of the first, which would set the scale.
    """
    return np.arange(min(49, num_children - 1), num_children, 5)


def _draw(panels: Sequence[tuple], searches: Searches, path: Path) -> None:
    numbers = sorted({len(of_one) for of_one in searches.values()})
    seeds = " or ".join(map(str, numbers))
    note = f"{seeds} seeds; bands: 95 % intervals at each point"
    figures.draw_curves(panels, note, path)


def _of_searches(searches: Searches) -> list[tuple]:
    """Returns the panels of the top 15 and of what is sampled."""
    ylabel = "validation perplexity"
    num_children = len(next(iter(searches.values()))[0].records)
    drawn = _drawn(num_children)
    tops = {
        name: statistics.band(_top_curves(of_one, 15)[:, drawn])
        for name, of_one in searches.items()
    }
    size = min(WINDOW, num_children)
    ends = size * np.arange(1, num_children // size + 1)
    sampled = {
        name: statistics.band(_window_curves(of_one))
        for name, of_one in searches.items()
    }
    return [
        ("the best 15 so far", ylabel, drawn + 1, tops),
        (f"the last {size} sampled", ylabel, ends, sampled),
    ]


def _exp(loss_nats: float) -> float:
    return math.exp(loss_nats) if math.isfinite(loss_nats) else math.nan
