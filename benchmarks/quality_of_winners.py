"""The best cells found against published ones, at equal parameters.

A perplexity is of the validation text unless it says test; a mean over seeds
is that of perplexities.
"""

import dataclasses
import math
import statistics as numbers
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import quality_runs as runs
import quality_statistics as statistics
import rich.console
import rich.table
from quality_of_searches import Headline
from quality_of_searches import interval_text

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import save_spec

PUBLISHED = ("lstm", "gru", "nascell", "enas_ptb", "darts_v2")

Record = Mapping[str, Any]


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
        for cell in runs.feasible(runs.read_retrained(setting.path(job)))
    ]
    chosen: dict[str, CellSpec] = {}
    for cell, job in sorted(of_cell, key=lambda pair: runs.loss_of(pair[0])):
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
    # One that diverged with a seed does not win by the others.
    known = [
        spec.name
        for spec in chosen
        if spec.name in trained and not num_diverged(trained[spec.name])
    ]
    if not known:
        return {}
    best = min(known, key=lambda n: numbers.fmean(perplexities(trained[n])))
    return _against_published(best, trained, console)


def perplexities(
    records: Iterable[Record], split: str = "validation"
) -> list[float]:
    """Returns those of a cell's fresh seeds: seed 0 chose the finalists."""
    return [
        math.exp(runs.loss_of(record, split))
        for record in runs.feasible(records)
        if record["seed"] > 0
    ]


def num_diverged(records: Iterable[Record]) -> int:
    """Returns how many of a cell's fresh seeds failed."""
    return sum(r["seed"] > 0 and r["infeasible"] is not None for r in records)


def _winners_table(
    trained: Mapping[str, Sequence[Record]], origins: Mapping[str, str]
) -> rich.table.Table:
    table = rich.table.Table(
        "", "found by", "seeds", "diverged", "units", "weights",
        "validation perplexity", "sd", "test perplexity", "sd",
        title="winners: cells trained with fresh seeds, 95 % t-intervals",
    )  # fmt: skip
    own_of = {name: perplexities(r) for name, r in trained.items()}
    order = {
        name: numbers.fmean(values) if values else math.inf
        for name, values in own_of.items()
    }
    for name in sorted(order, key=order.get):
        own, test = own_of[name], perplexities(trained[name], "test")
        first = trained[name][0]
        texts = []
        for values in (own, test):
            texts.append(interval_text(values))
            sd = numbers.stdev(values) if len(values) > 1 else math.nan
            texts.append(f"{sd:.3f}")
        table.add_row(
            name, origins[name], str(len(own)),
            str(num_diverged(trained[name])), str(first["units"]),
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
