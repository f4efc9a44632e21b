"""The report of a run: one HTML file that needs no network and no script.

Every string that comes from the run passes through `_text`, which escapes it;
only this module and `curves.py` write markup. The page follows the reader's
light or dark setting and fits a phone.
"""

import html
import json
import math
import os
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from nas_keras.report import curves
from nas_keras.report import ranking
from nas_keras.report import summary
from nas_keras.report import tables
from nas_keras.report import workers
from nas_keras.report.run_files import CellRecord
from nas_keras.report.run_files import RunFiles
from nas_keras.report.run_files import TrialRecord
from nas_keras.report.run_files import read_run
from nas_keras.report.style import STYLE
from nas_keras.storage.files import write_atomically

_RIGHT = 'class="right"'
_SOFT = 'class="soft"'
_MAX_REASONS = 20
_RETRAINED_LEGEND = (
    "Sorted by mean validation {}. Mean ± sample standard deviation over the"
    " seeds that finished; seconds are those of one seed."
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


def render_report(run: RunFiles) -> str:
    """Returns the whole page.

    Args:
        run: From `read_run`.

    Raises:
        ImportError: If matplotlib is not installed, or scipy where there is
            a rank correlation to show.
    """
    drawn = _curves(run)
    name = run.workdir.resolve().name or str(run.workdir)
    title = f"Architecture search: {_text(name)}"
    noun = run.measure.noun
    body = (
        _tag("h1", title),
        _command(run.config),
        _notes(run.notes),
        _section("Summary", _summary(run)),
        _section("How the search went", _figures(drawn)),
        _section(f"Best {noun}", _best(run)),
        _section(f"Retrained {noun}s", _retrained(run)),
        _ranking(run, len(drawn) + 1),
        _section("Infeasible children", _infeasible(run)),
        _workers(run),
        _section("How the run was made", _config(run.config)),
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


def _text(value: Any) -> str:
    return html.escape(tables.printable(str(value)), quote=True)


def _tag(name: str, content: str, attributes: str = "") -> str:
    """Wraps markup; `attributes` are this module's own, never a run's."""
    return f"<{name}{' ' if attributes else ''}{attributes}>{content}</{name}>"


def _section(title: str, content: str) -> str:
    return _tag("section", f"{_tag('h2', title)}\n{content}")


def _items(sentences: Iterable[str]) -> str:
    """Returns a list of plain-text sentences."""
    lines = "\n".join(_tag("li", _text(s)) for s in sentences)
    return _tag("ul", lines) if lines else ""


def _command(config: Mapping[str, Any]) -> str:
    command = config.get("command")
    return _tag("pre", _tag("code", _text(command))) if command else ""


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return _tag("div", _items(notes), 'class="note"')


def _summary(run: RunFiles) -> str:
    sides = {"controller": summary.summarise_trials(run.trials)}
    if run.random_trials:
        sides["random search"] = summary.summarise_trials(run.random_trials)
    verb = "scored" if run.shared_weights else "trained"
    again, seconds = f"met again, not {verb} again", f"seconds {verb}"
    lines = {
        "children": lambda s: f"{s.num_trials:,}",
        "feasible": lambda s: f"{s.num_feasible:,}",
        "distinct": lambda s: f"{s.num_distinct:,}" if s.num_distinct else "–",
        again: lambda s: f"{s.num_reused:,}",
        "best reward": lambda s: tables.format_number(s.best_reward),
        "mean, first fifth": lambda s: tables.format_number(
            s.first_fifth_reward
        ),
        "mean, last fifth": lambda s: tables.format_number(s.last_fifth_reward),
        seconds: lambda s: tables.format_number(s.elapsed_s, 3),
    }
    if not any(side.num_reused for side in sides.values()):
        del lines[again]
    head = "".join(_tag("th", name, _RIGHT) for name in sides)
    rows = [
        _tag(
            "tr",
            _tag("th", name)
            + "".join(
                _tag("td", show(side), _RIGHT) for side in sides.values()
            ),
        )
        for name, show in lines.items()
    ]
    table = _tag("thead", _tag("tr", "<td></td>" + head))
    table += _tag("tbody", "\n".join(rows))
    return _items(summary.describe(run)) + _tag(
        "table", table, 'class="pairs versus"'
    )


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
        _tag(
            "figure",
            f"{_tag('h3', _text(f'Figure {number}. {curve.title}'))}\n"
            f"{curve.svg}\n{_tag('figcaption', _text(curve.caption))}",
        )
        for number, curve in enumerate(drawn, start=first)
    )
    return _tag("div", figures, 'class="figures"')


def _rewards(trials: Sequence[TrialRecord]) -> list[float]:
    return [
        trial.reward if trial.infeasible is None else math.nan
        for trial in trials
    ]


def _best(run: RunFiles) -> str:
    if run.best_cell is None:
        return _tag("p", f"The search has not chosen a {run.measure.noun}.")
    return _cell(run.best_cell)


def _cell(cell: CellRecord) -> str:
    equations = "".join(_tag("code", _text(e)) for e in cell.equations)
    states = ""
    if cell.states:  # An image network has none.
        names = ", ".join(cell.states)
        states = _tag("p", _text(f"States: {names}."), _SOFT) + "\n"
    return (
        f"{_tag('h3', _text(cell.name))}\n{states}"
        f"{_tag('pre', equations)}\n{_pairs(cell.provenance)}"
    )


def _retrained(run: RunFiles) -> str:
    rows = tables.summarise_retrained(run.retrained)
    if not rows:
        return _tag("p", f"No {run.measure.noun} was retrained.")
    headings = tables.table_columns(rows)
    head = "".join(_tag("th", name, _align(name)) for name in headings)
    lines = [
        _tag(
            "tr",
            "".join(
                _tag(
                    "td",
                    _text(cells[name]),
                    f'{_align(name)} data-label="{name}"',
                )
                for name in headings
            ),
        )
        for cells in (tables.table_cells(row, "±") for row in rows)
    ]
    table = _tag("thead", _tag("tr", head)) + _tag("tbody", "\n".join(lines))
    failed = summary.count_reasons(r.infeasible for r in run.retrained)
    return "\n".join(
        (
            _tag("table", table, 'class="cells"'),
            _tag("p", _RETRAINED_LEGEND.format(run.measure.name), _SOFT),
            _items(
                f"{count:,} of the seeds failed: {reason}"
                for reason, count in failed
            ),
            _equations(run),
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
    return _section(
        "Reward and retrained score",
        _items(ranking.describe_ranking(run.retrained))
        + _figures([curves.ranking_scatter(series, cells[0].measure)], number),
    )


def _align(heading: str) -> str:
    return "" if heading in tables.LEFT else _RIGHT


def _parts(cell: CellRecord) -> str:
    return "Equations" if cell.states else "Layers"


def _equations(run: RunFiles) -> str:
    """Returns the equations of every retrained cell, folded up."""
    cells = {r.cell: r.spec for r in run.retrained if r.spec is not None}
    return "\n".join(
        _tag(
            "details",
            _tag("summary", f"{_parts(cell)} of {_text(name)}") + _cell(cell),
        )
        for name, cell in cells.items()
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
        parts.append(_tag("p", f"{name}: {total:,} of {len(trials):,}."))
        shown, rest = counts[:_MAX_REASONS], counts[_MAX_REASONS:]
        lines = [f"{count:,} × {reason}" for reason, count in shown]
        if rest:
            lines.append(f"{sum(n for _, n in rest):,} × other reasons")
        parts.append(_items(lines))
    return "\n".join(parts) or _tag("p", "None: every child had a reward.")


def _workers(run: RunFiles) -> str:
    """Returns the section on workers, if there were several."""
    rows = workers.summarise_workers(run.shares)
    if len(rows) < 2:
        return ""
    columns = {
        "worker": lambda row: str(row.worker),
        "children": lambda row: f"{row.num_children:,}",
        "seconds a child": lambda row: tables.format_number(row.child_s, 3),
        "busy, s": lambda row: tables.format_number(row.busy_s, 3),
        "waiting, s": lambda row: tables.format_number(row.waiting_s, 3),
    }
    head = "".join(_tag("th", name, _RIGHT) for name in columns)
    lines = [
        "".join(_tag("td", show(row), _RIGHT) for show in columns.values())
        for row in rows
    ]
    table = _tag("thead", _tag("tr", head))
    table += _tag("tbody", "\n".join(_tag("tr", line) for line in lines))
    return _section(
        "Workers",
        _items(workers.describe_workers(rows))
        + _tag("table", table, 'class="pairs versus"'),
    )


def _config(config: Mapping[str, Any]) -> str:
    """Returns one folded table for each part of the configuration."""
    loose = {k: v for k, v in config.items() if not isinstance(v, Mapping)}
    parts = {k: v for k, v in config.items() if isinstance(v, Mapping)}
    if loose:
        parts["other" if "command" not in loose else "command"] = loose
    return "\n".join(
        _tag("details", _tag("summary", _text(name)) + _pairs(part))
        for name, part in parts.items()
    ) or _tag("p", "Unknown: the run left no config.json.")


def _pairs(values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    rows = "\n".join(
        _tag("tr", _tag("th", _text(name)) + _tag("td", _text(value)))
        for name, value in _flat(values)
    )
    return _tag("table", _tag("tbody", rows), 'class="pairs"')


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields dotted names and texts of a nested dict."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            for inner, text in _flat(value):
                yield f"{name}.{inner}", text
        elif isinstance(value, str):
            yield str(name), value
        else:
            yield str(name), json.dumps(value, ensure_ascii=False)
