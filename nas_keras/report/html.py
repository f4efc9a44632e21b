"""The report of a run: one HTML file that needs no network and no script.

And, for a terminal, what the run came to. What there is in which order; the
markup is made by `markup.py`, which escapes
every string of the run, by `curves.py` and by `architectures.py`. The page
follows the reader's light or dark setting and fits a phone.
"""

import math
import os
import pathlib
import re
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from nas_keras.report import architectures
from nas_keras.report import curves
from nas_keras.report import markup
from nas_keras.report import ranking
from nas_keras.report import summary
from nas_keras.report import tables
from nas_keras.report import workers
from nas_keras.report.markup import section
from nas_keras.report.markup import soft
from nas_keras.report.markup import tag
from nas_keras.report.markup import text
from nas_keras.report.run_files import RunFiles
from nas_keras.report.run_files import TrialRecord
from nas_keras.report.run_files import best_file
from nas_keras.report.run_files import read_run
from nas_keras.report.style import STYLE
from nas_keras.storage.files import write_atomically

_MAX_REASONS = 20
_RETRAINED_LEGEND = (
    "Trained from scratch to the end, all by the same recipe. Sorted by mean"
    " validation {name}. Mean ± sample standard deviation over the seeds that"
    " finished; a seed sets the first weights and the order of the data."
    " Parameters are the trained weights of the whole model, multiply-adds"
    " those of its matrix products for one example, seconds those of one"
    " training. Origin: controller and random, found by that search;{drawn}"
    " published, of the literature{matched}."
)


def write_report(workdir: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` into the folder of a run, finished or not.

    The file appears whole or not at all: a report that is already there is
    replaced only by a complete one. The same run gives the same bytes.

    Args:
        workdir: The folder that the search wrote.

    Returns:
        The path of the report.

    Raises:
        ValueError: If the folder or a file in it is not that of a run.
        ImportError: If matplotlib or scipy is not installed.
        OSError: If a file cannot be read or written.
    """
    page = render_report(read_run(workdir))
    path = pathlib.Path(workdir) / "report.html"
    write_atomically(path, page.encode())
    return path


def describe_result(
    workdir: str | os.PathLike[str], is_reported: bool
) -> Iterator[str]:
    """Yields the result of a run as lines of plain text.

    Args:
        workdir: The folder that the search wrote.
        is_reported: Whether to compute rank correlations and to write the
            report, which needs matplotlib and scipy; it is written when the
            last line is yielded.

    Raises:
        ValueError: If the folder or a file in it is not that of a run.
        ImportError: If what the report needs is not installed.
    """
    run = read_run(workdir)
    yield tables.format_table(tables.summarise_retrained(run.retrained))
    yield from workers.describe_workers(workers.summarise_workers(run.shares))
    if is_reported:
        yield from ranking.describe_ranking(run.retrained)
    best = best_file(run.workdir)
    if best:
        yield f"Best {run.measure.noun}: {best}"
    if is_reported:
        yield f"Report: {write_report(workdir)}"


def render_report(run: RunFiles) -> str:
    """Returns the whole page.

    Args:
        run: From `read_run`.

    Raises:
        ImportError: If matplotlib or scipy is not installed.
    """
    drawn = _curves(run)
    name = run.workdir.resolve().name or str(run.workdir)
    title = f"Architecture search: {text(name)}"
    noun = run.measure.noun
    body = (
        tag("h1", title),
        _notes(run.notes),
        section("Summary", _summary(run)),
        section("How the search went", _figures(drawn)),
        section(f"Best {noun}s", architectures.best(run)),
        section(f"Retrained {noun}s", _retrained(run)),
        _ranking(run, len(drawn) + 1),
        section("Infeasible children", _infeasible(run)),
        section("Time", _time(run)),
        section("How the run was made", _origin(run.config)),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,'
        ' initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src'
        " 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>\n{STYLE}\n</style>\n</head>\n"
        "<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return tag("div", markup.items(notes), 'class="note"')


def _words(run: RunFiles) -> str:
    """Returns what the words of the report mean."""
    noun = run.measure.noun
    trained = "it is trained for a short while, and its"
    if run.shared_weights:
        trained = "it is scored with weights that all share, and its"
    reward = f"says how well it did on the validation data{_reward(run)}"
    if not run.evaluator:  # A score of the user's own.
        trained, reward = "its", "is the score that it was given"
    return soft(
        f"A child is one {noun} that the search tries: {trained} reward"
        f" {reward}; more is better. It is infeasible if it has no reward, as"
        " when its training fails; means leave it out. The controller proposes"
        " children and learns from their rewards; random search proposes as"
        " many at random, which the controller has to beat."
    )


def _reward(run: RunFiles) -> str:
    """Returns what the reward is, where the configuration says it."""
    measure = run.measure
    formula, constant = run.evaluator.get("reward"), run.evaluator.get("c")
    if not isinstance(formula, str) or not measure.name:
        return ""
    words = f", by its {measure.name}"
    if formula == "metric":
        return words if measure.is_more_better else f"{words}, negative"
    if formula != measure.name:
        words += f", as {formula}"
    if re.search(r"\bc\b", formula) and isinstance(constant, int | float):
        words += f" with c = {constant:g}"
    return words


def _summary(run: RunFiles) -> str:
    sides = {"controller": summary.summarise_trials(run.trials)}
    if run.random_trials:
        sides["random search"] = summary.summarise_trials(run.random_trials)
    verb = "scored" if run.shared_weights else "trained"
    again, seconds = f"met again, not {verb} again", f"seconds {verb}"
    number = tables.format_number
    lines = {
        "children": lambda s: f"{s.num_trials:,}",
        "feasible": lambda s: f"{s.num_feasible:,}",
        "distinct": lambda s: f"{s.num_distinct:,}" if s.num_distinct else "–",
        again: lambda s: f"{s.num_reused:,}",
        "best reward": lambda s: number(s.best_reward),
        "mean reward, first fifth": lambda s: number(s.first_fifth.mean),
        "mean reward, last fifth": lambda s: number(s.last_fifth.mean),
        seconds: lambda s: number(s.elapsed_s, 3),
    }
    if not any(side.num_reused for side in sides.values()):
        del lines[again]
    head = "".join(tag("th", name, markup.RIGHT) for name in sides)
    rows = [
        tag(
            "tr",
            tag("th", name)
            + "".join(
                tag("td", show(side), markup.RIGHT) for side in sides.values()
            ),
        )
        for name, show in lines.items()
    ]
    table = tag("thead", tag("tr", "<td></td>" + head))
    table += tag("tbody", "\n".join(rows))
    table = tag("table", table, 'class="pairs versus"')
    return "\n".join([_words(run), markup.items(summary.describe(run)), table])


def _curves(run: RunFiles) -> list[curves.Curve]:
    series = {"controller": _rewards(run.trials)}
    if run.random_trials:
        series["random"] = _rewards(run.random_trials)
    drawn = [curves.reward_curve(series), curves.top_curve(series)]
    entropy = [s for s in run.steps if math.isfinite(s.entropy_nats)]
    if entropy:
        drawn.append(
            curves.entropy_curve(
                [s.step for s in entropy], [s.entropy_nats for s in entropy]
            )
        )
    return drawn


def _figures(drawn: Sequence[curves.Curve], first: int = 1) -> str:
    """Returns the figures, numbered from `first`."""
    figures = "\n".join(
        tag(
            "figure",
            f"{tag('h3', text(f'Figure {number}. {curve.title}'))}\n"
            f"{curve.svg}\n{tag('figcaption', text(curve.caption))}",
        )
        for number, curve in enumerate(drawn, start=first)
    )
    return tag("div", figures, 'class="figures"')


def _rewards(trials: Sequence[TrialRecord]) -> list[float]:
    return [
        math.nan
        if trial.reward is None or trial.infeasible is not None
        else trial.reward
        for trial in trials
    ]


def _retrained(run: RunFiles) -> str:
    rows = tables.summarise_retrained(run.retrained)
    if not rows:
        return tag("p", text(f"No {run.measure.noun} was retrained."))
    failed = summary.count_reasons(r.infeasible for r in run.retrained)
    origins = {row.origin for row in rows}
    legend = _RETRAINED_LEGEND.format(
        name=run.measure.name,
        drawn=" drawn, at random and not selected;" * ("drawn" in origins),
        matched="; matched, of equal cost" * ("matched" in origins),
    )
    return "\n".join(
        (
            markup.table(tables.table_columns(rows, "±"), tables.NUM_NAMES),
            soft(legend),
            markup.items(
                f"{count:,} of the seeds failed: {reason}"
                for reason, count in failed
            ),
            architectures.others(run),
        )
    )


def _ranking(run: RunFiles, number: int) -> str:
    """Returns the section on rewards and scores, if there are any.

    Args:
        run: The run.
        number: Of the section's figure.
    """
    cells = ranking.ranked_cells(run.retrained)
    if not cells:
        return ""
    series: dict[str, list[tuple[float, float]]] = {}
    for cell in cells:
        known = cell.origin in curves.SERIES_COLORS
        name = cell.origin if known else "other"
        series.setdefault(name, []).append((cell.reward, cell.figure))
    return section(
        "Reward and retrained score",
        markup.items(ranking.describe_ranking(run.retrained)),
        soft(
            "How well the order by reward, which the search goes by, agrees"
            " with the order after retraining: 1 is the same order, 0 none"
            " that chance would not give, -1 the reverse."
        ),
        _figures([curves.ranking_scatter(series, cells[0].measure)], number),
    )


def _infeasible(run: RunFiles) -> str:
    parts = []
    for name, trials in (
        ("Controller", run.trials),
        ("Random search", run.random_trials),
        ("Sampled from the controller", run.derived_trials),
        ("Sampled at random", run.random_derived_trials),
    ):
        counts = summary.count_reasons(t.infeasible for t in trials)
        if not counts:
            continue
        total = sum(count for _, count in counts)
        parts.append(tag("p", f"{name}: {total:,} of {len(trials):,}."))
        shown, rest = counts[:_MAX_REASONS], counts[_MAX_REASONS:]
        lines = [f"{count:,} × {reason}" for reason, count in shown]
        if rest:
            lines.append(f"{sum(n for _, n in rest):,} × other reasons")
        parts.append(markup.items(lines))
    return "\n".join(parts) or tag("p", "None: every child had a reward.")


def _time(run: RunFiles) -> str:
    """Returns the time that children took, of each worker."""
    rows = workers.summarise_workers(run.shares)
    if len(rows) < 2:
        trials = [*run.trials, *run.random_trials]
        return tag("p", text(workers.describe_alone(trials)))
    number = tables.format_number
    columns = {
        "worker": [str(row.worker) for row in rows],
        "children": [f"{row.num_children:,}" for row in rows],
        "seconds a child": [number(row.child_s, 3) for row in rows],
        "busy, s": [number(row.busy_s, 3) for row in rows],
        "waiting, s": [number(row.waiting_s, 3) for row in rows],
    }
    return "\n".join(
        [
            markup.items(workers.describe_workers(rows)),
            markup.table(columns),
            soft(
                "A worker is a process of the search. Seconds a child are the"
                " median over steps; a worker waits where another has not"
                " finished its children of the step."
            ),
        ]
    )


def _origin(config: Mapping[str, Any]) -> str:
    """Returns the command, the environment and, folded, all settings."""
    if not config:
        return tag("p", "Unknown: the run left no config.json.")
    parts = []
    command = config.get("command")
    if command:
        parts += [
            tag(
                "p",
                "The command that made it; in an empty workdir it makes"
                " it anew:",
            ),
            markup.command(str(command)),
        ]
    environment = config.get("environment")
    if isinstance(environment, Mapping):
        parts += [
            tag("p", "With these versions, on this machine:"),
            markup.pairs(environment),
        ]
    rest = {
        name: value
        for name, value in config.items()
        if name not in ("command", "environment")
    }
    parts.append(markup.details("All settings", markup.pairs(rest)))
    return "\n".join(parts)
