"""What a run retrained: means, spreads and a table of plain text.

Pure functions of the records of `run_files.py`. Means and standard deviations
are over the seeds that finished; a figure that nobody measured is NaN and is
printed as "n/a".
"""

import dataclasses
import math
import statistics
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from nas_keras.report.decoding import printable
from nas_keras.report.records import Measure
from nas_keras.report.records import RetrainedRecord


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of `num` finite values.

    `mean` is NaN for no value, `sd` for fewer than two.
    """

    mean: float
    sd: float
    num: int

    def __str__(self) -> str:
        return format_spread(self)


NUM_NAMES = 2  # Columns of a table that hold names, not figures: the first.
_PARTS = ("validation", "test")
_NOTHING = Spread(math.nan, math.nan, 0)


@dataclasses.dataclass(frozen=True)
class RetrainedRow:
    """One architecture of one size, trained to the end with several seeds.

    Attributes:
        cell: Display name of the architecture.
        origin: "controller", "random", "drawn", "published" or "matched".
        trial: The child's id in its search, None for a published one.
        measure: What its figure is called.
        is_baseline: Whether it is what the best found one is compared with.
        size: Name -> number, e.g. of units and parameters.
        multiply_adds: For one example; None where unknown.
        num_seeds: Seeds that finished.
        num_infeasible: Seeds that did not.
        validation, test: The figure over the finished seeds, as it is shown:
            a share in percent.
        further: What else was measured on both parts, losses apart, by its
            name in the metrics.
        elapsed_s: Seconds of training of one seed.
    """

    cell: str
    origin: str
    trial: int | None
    measure: Measure
    is_baseline: bool
    size: Mapping[str, int]
    multiply_adds: int | None
    num_seeds: int
    num_infeasible: int
    validation: Spread
    test: Spread
    further: Mapping[str, Spread]
    elapsed_s: Spread

    @property
    def seeds(self) -> str:
        """The number of seeds that finished, in words."""
        return "1 seed" if self.num_seeds == 1 else f"{self.num_seeds} seeds"


def spread(values: Iterable[float | None], factor: float = 1.0) -> Spread:
    """Returns mean and deviation of the finite values, times a factor."""
    finite = [
        factor * float(value)
        for value in values
        if isinstance(value, int | float) and math.isfinite(value)
    ]
    return Spread(
        mean=statistics.fmean(finite) if finite else math.nan,
        sd=statistics.stdev(finite) if len(finite) > 1 else math.nan,
        num=len(finite),
    )


def summarise_retrained(
    records: Iterable[RetrainedRecord],
) -> list[RetrainedRow]:
    """Groups the seeds of each architecture, best validation figure first.

    Args:
        records: One for each architecture and seed, in any order. Of two
            records of the same architecture, size and seed the last counts.

    Returns:
        One row an architecture and size, by the mean over seeds; rows without
        a finished seed come last.
    """
    groups: dict[object, dict[int, RetrainedRecord]] = {}
    for record in records:
        size = tuple(record.size.items())
        key = record.cell, record.origin, record.trial, size
        groups.setdefault(key, {})[record.seed] = record
    rows = [_row(list(seeds.values())) for seeds in groups.values()]

    def by_validation(row: RetrainedRow) -> tuple[bool, float, str]:
        mean = row.validation.mean
        missing = math.isnan(mean)
        sign = -1 if row.measure.is_more_better else 1
        return missing, 0.0 if missing else sign * mean, row.cell

    return sorted(rows, key=by_validation)


def _row(records: Sequence[RetrainedRecord]) -> RetrainedRow:
    first = records[0]
    finished = [r for r in records if r.infeasible is None]

    def measured(name: str, factor: float = 1.0) -> Spread:
        return spread((r.metrics.get(name) for r in finished), factor)

    name, factor = first.measure.name, first.measure.factor
    others = _scored(r.metrics for r in finished)
    keys = [f"{p}_{n}" for n in others if n != name for p in _PARTS]
    cost = measured("multiply_adds")
    return RetrainedRow(
        cell=first.cell,
        origin=first.origin,
        trial=first.trial,
        measure=first.measure,
        is_baseline=first.is_baseline,
        size=first.size,
        multiply_adds=int(cost.mean) if cost.num else None,
        num_seeds=len(finished),
        num_infeasible=len(records) - len(finished),
        validation=measured(f"validation_{name}", factor),
        test=measured(f"test_{name}", factor),
        further={key: measured(key) for key in keys},
        elapsed_s=spread(r.elapsed_s for r in finished),
    )


def _scored(metrics: Iterable[Mapping[str, object]]) -> list[str]:
    """Returns what was measured on validation and test data, but losses."""
    keys = list(dict.fromkeys(key for its in metrics for key in its))
    names = (k.removeprefix("validation_") for k in keys if "loss" not in k)
    return [n for n in names if {f"{p}_{n}" for p in _PARTS} <= set(keys)]


def format_number(value: float, digits: int = 4) -> str:
    """Returns a number to `digits` significant digits, "n/a" for NaN."""
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else str(value)
    if value != 0 and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.{digits - 1}e}"
    rounded = float(f"{value:.{digits - 1}e}")
    return f"{rounded:,.{_decimals(rounded, digits)}f}"


def format_spread(value: Spread, plus_minus: str = "+-") -> str:
    """Returns mean and deviation, e.g. "5.123 +- 0.031".

    The deviation has the mean's decimals, or one significant digit where
    those would make it zero; it is left out for fewer than two values.
    """
    mean = format_number(value.mean)
    if math.isnan(value.sd):
        return mean
    decimals = _decimals(value.mean, 4)
    sd = f"{value.sd:,.{decimals}f}"
    if value.sd > 0 and float(sd.replace(",", "")) == 0:
        sd = f"{value.sd:.1g}"
    return f"{mean} {plus_minus} {sd}"


def table_columns(
    rows: Sequence[RetrainedRow], plus_minus: str = "+-"
) -> dict[str, list[str]]:
    """Returns the table of what was retrained.

    Args:
        rows: From `summarise_retrained`, at least one.
        plus_minus: Written between mean and deviation.

    Returns:
        Heading -> a text for each row; the first `NUM_NAMES` are names.
    """
    measure = rows[0].measure
    columns = {
        measure.noun: [printable(row.cell) for row in rows],
        "origin": [printable(row.origin) for row in rows],
    }
    for name in dict.fromkeys(name for row in rows for name in row.size):
        columns[name] = [_count(row.size.get(name)) for row in rows]
    if any(row.multiply_adds is not None for row in rows):
        columns["multiply-adds"] = [_count(row.multiply_adds) for row in rows]
    columns["seeds"] = [
        f"{row.num_seeds} ({row.num_infeasible} failed)"
        if row.num_infeasible
        else str(row.num_seeds)
        for row in rows
    ]
    name = measure.name + (f", {measure.unit}" if measure.unit else "")
    figures = {
        f"validation {name}": [row.validation for row in rows],
        f"test {name}": [row.test for row in rows],
    }
    for key in dict.fromkeys(key for row in rows for key in row.further):
        heading = printable(key.replace("_", " "))
        figures[heading] = [row.further.get(key, _NOTHING) for row in rows]
    for heading, spreads in figures.items():
        columns[heading] = [format_spread(s, plus_minus) for s in spreads]
    columns["seconds"] = [format_number(row.elapsed_s.mean, 3) for row in rows]
    return columns


def _count(value: int | None) -> str:
    return "n/a" if value is None else f"{value:,}"


def format_table(rows: Sequence[RetrainedRow]) -> str:
    """Returns what was retrained as plain text, one line an architecture.

    Names are on the left, figures on the right; ASCII but for what names
    hold. "5.123 +- 0.031" is mean and sample standard deviation.

    Args:
        rows: From `summarise_retrained`.

    Returns:
        Lines joined by newlines, none at the end.
    """
    if not rows:
        return "Nothing was retrained."
    padded = []
    for place, (heading, texts) in enumerate(table_columns(rows).items()):
        width = max(map(len, (heading, *texts)))
        side = "<" if place < NUM_NAMES else ">"
        lines = (heading, "-" * width, *texts)
        padded.append([f"{line:{side}{width}}" for line in lines])
    return "\n".join(
        "  ".join(line).rstrip() for line in zip(*padded, strict=True)
    )


def _decimals(value: float, digits: int) -> int:
    """Returns the decimals that show `digits` significant digits."""
    if value == 0 or not math.isfinite(value):
        return digits - 1
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))
