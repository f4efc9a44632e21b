"""What a finished run came to, as lines of plain text."""

import os
import pathlib
from collections.abc import Iterator

from nas_keras.report.html import write_report
from nas_keras.report.ranking import describe_ranking
from nas_keras.report.run_files import read_run
from nas_keras.report.tables import format_table
from nas_keras.report.tables import summarise_retrained
from nas_keras.report.workers import describe_workers
from nas_keras.report.workers import summarise_workers


def describe_result(
    workdir: str | os.PathLike[str], is_reported: bool
) -> Iterator[str]:
    """Yields the result of a run, the last line when the report is written.

    Args:
        workdir: The folder that the search wrote.
        is_reported: Whether to compute rank correlations and to write the
            report, which needs matplotlib and scipy.

    Raises:
        ValueError: If the folder or a file in it is not that of a run.
        ImportError: If what the report needs is not installed.
    """
    folder = pathlib.Path(workdir)
    run = read_run(folder)
    yield format_table(summarise_retrained(run.retrained))
    yield from describe_workers(summarise_workers(run.shares))
    if is_reported:
        yield from describe_ranking(run.retrained)
    path = folder / f"best_{run.measure.noun}.json"
    if path.exists():
        yield f"Best {run.measure.noun}: {path}"
    if is_reported:
        yield f"Report: {write_report(folder)}"
