"""What a run retrained: means, spreads and a table of plain text.

Pure functions of the records of `run_files.py`. Means and standard deviations
are over the seeds that finished; a figure that nobody measured is NaN and is
printed as "n/a".
"""

import dataclasses
import math
import statistics
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from nas_keras.report.measure import ACCURACY
from nas_keras.report.measure import PERPLEXITY
from nas_keras.report.measure import Measure
from nas_keras.report.run_files import RetrainedRecord


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


LEFT = ("cell", "network", "origin")  # Headings of columns of names.
_NOTHING = Spread(math.nan, math.nan, 0)


@dataclasses.dataclass(frozen=True)
class RetrainedRow:
    """One cell of one size, or network, trained to the end with several seeds.

    Attributes:
        cell: Display name.
        origin: "controller", "random", "drawn", "published" or "matched".
        trial: The child's id in its search, None for a published cell.
        units: H, the width of the cell; None of an image network.
        num_parameters: Of the whole model; None where it was not built.
        num_seeds: Seeds that finished.
        num_infeasible: Seeds that did not.
        validation_perplexity, test_perplexity: Over the finished seeds.
        validation_bits_per_char, test_bits_per_char: Likewise; of no value
            in a word model.
        elapsed_s: Seconds of training of one seed.
        validation_accuracy, test_accuracy: In percent, of an image network.
        multiply_adds: For one image or one token; None where unknown.
    """

    cell: str
    origin: str
    trial: int | None
    units: int | None
    num_parameters: int | None
    num_seeds: int
    num_infeasible: int
    validation_perplexity: Spread
    test_perplexity: Spread
    validation_bits_per_char: Spread
    test_bits_per_char: Spread
    elapsed_s: Spread
    validation_accuracy: Spread = _NOTHING
    test_accuracy: Spread = _NOTHING
    multiply_adds: int | None = None

    @property
    def measure(self) -> Measure:
        """What the figure is called."""
        return ACCURACY if self.units is None else PERPLEXITY

    @property
    def validation(self) -> Spread:
        """The figure on the validation part."""
        return getattr(self, f"validation_{self.measure.metric}")

    @property
    def test(self) -> Spread:
        """The figure on the test part."""
        return getattr(self, f"test_{self.measure.metric}")


def spread(values: Iterable[float | None]) -> Spread:
    """Returns mean and sample standard deviation of the finite values."""
    finite = [
        float(value)
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
    """Groups the seeds of each cell, best mean validation figure first.

    Args:
        records: One for each cell and seed, in any order. Of two records of
            the same cell, size and seed the last one counts.

    Returns:
        One row a cell and size; rows without a finished seed come last.
    """
    groups: dict[tuple[Any, ...], dict[int, RetrainedRecord]] = {}
    for record in records:
        key = (
            record.cell,
            record.origin,
            record.trial,
            record.units,
            # A network that could not be trained has no size in its record.
            None if record.units is None else record.num_parameters,
        )
        groups.setdefault(key, {})[record.seed] = record
    rows = [_row(list(seeds.values())) for seeds in groups.values()]

    def by_validation(row: RetrainedRow) -> tuple[bool, float, str]:
        mean = row.validation.mean
        missing = math.isnan(mean)
        sign = -1 if row.measure.is_more_better else 1
        return missing, 0.0 if missing else sign * mean, row.cell

    return sorted(rows, key=by_validation)


def _row(records: Sequence[RetrainedRecord]) -> RetrainedRow:
    finished = [r for r in records if r.infeasible is None]
    measured = {
        name: spread(r.metrics.get(name) for r in finished)
        for name in (
            "validation_perplexity",
            "test_perplexity",
            "validation_bits_per_char",
            "test_bits_per_char",
        )
    }
    measured |= {
        name: spread(
            _times(r.metrics.get(name), ACCURACY.factor) for r in finished
        )
        for name in ("validation_accuracy", "test_accuracy")
    }
    cost = spread(r.metrics.get("multiply_adds") for r in finished)
    sizes = [r.num_parameters for r in records if r.num_parameters is not None]
    return RetrainedRow(
        cell=records[0].cell,
        origin=records[0].origin,
        trial=records[0].trial,
        units=records[0].units,
        num_parameters=sizes[0] if sizes else None,
        num_seeds=len(finished),
        num_infeasible=len(records) - len(finished),
        elapsed_s=spread(r.elapsed_s for r in finished),
        multiply_adds=int(cost.mean) if cost.num else None,
        **measured,
    )


def _times(value: Any, factor: float) -> Any:
    return value * factor if isinstance(value, int | float) else None


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


def printable(text: str) -> str:
    """Replaces what a terminal or a browser might obey rather than show."""
    return "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def table_columns(rows: Sequence[RetrainedRow]) -> tuple[str, ...]:
    """Returns the headings of the table; bits per character if measured."""
    if rows and rows[0].measure is ACCURACY:
        short = ACCURACY.short
        return (
            *("network", "origin", "parameters", "multiply-adds", "seeds"),
            *(f"validation {short}", f"test {short}", "seconds"),
        )
    headings = ["cell", "origin", "units", "parameters", "seeds"]
    headings += ["validation ppl", "test ppl"]
    if any(row.validation_bits_per_char.num for row in rows):
        headings.append("valid. bits/char")
    if any(row.test_bits_per_char.num for row in rows):
        headings.append("test bits/char")
    if any(row.multiply_adds is not None for row in rows):
        headings.insert(headings.index("seeds"), "multiply-adds")
    return (*headings, "seconds")


def table_cells(row: RetrainedRow, plus_minus: str = "+-") -> dict[str, str]:
    """Returns the text of every column of one row, by heading."""
    seeds = str(row.num_seeds)
    if row.num_infeasible:
        seeds += f" ({row.num_infeasible} failed)"
    short = row.measure.short
    return {
        row.measure.noun: printable(row.cell),
        "origin": printable(row.origin),
        "units": _count(row.units),
        "parameters": _count(row.num_parameters),
        "multiply-adds": _count(row.multiply_adds),
        "seeds": seeds,
        f"validation {short}": format_spread(row.validation, plus_minus),
        f"test {short}": format_spread(row.test, plus_minus),
        "valid. bits/char": format_spread(
            row.validation_bits_per_char, plus_minus
        ),
        "test bits/char": format_spread(row.test_bits_per_char, plus_minus),
        "seconds": format_number(row.elapsed_s.mean, 3),
    }


def _count(value: int | None) -> str:
    return "n/a" if value is None else f"{value:,}"


def format_table(rows: Sequence[RetrainedRow]) -> str:
    """Returns what was retrained as plain text, one line a cell or network.

    Names are on the left, figures on the right; ASCII but for what names
    hold. "5.123 +- 0.031" is mean and sample standard deviation.

    Args:
        rows: From `summarise_retrained`.

    Returns:
        Lines joined by newlines, none at the end.
    """
    if not rows:
        return "Nothing was retrained."
    headings = table_columns(rows)
    lines = [dict(zip(headings, headings, strict=True))]
    lines += [table_cells(row) for row in rows]
    widths = [max(len(line[name]) for line in lines) for name in headings]
    lines.insert(1, {n: "-" * w for n, w in zip(headings, widths, strict=True)})
    return "\n".join(
        "  ".join(
            line[name].ljust(width) if name in LEFT else line[name].rjust(width)
            for name, width in zip(headings, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _decimals(value: float, digits: int) -> int:
    """Returns the decimals that show `digits` significant digits."""
    if value == 0 or not math.isfinite(value):
        return digits - 1
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))
