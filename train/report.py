r"""Writes the HTML report of a search and prints its retrained cells.

The report is one file, WORKDIR/report.html, that opens without a network. A
search may still be running: the report then shows what there is so far.

Example:
  nas-report runs/demo

Exit status: 0 done, 2 bad input.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from absl import app
from absl import flags

from nas_keras import report

_USAGE_ERROR = 2


def main(argv: Sequence[str]) -> None:
    """Writes the report of the one folder in `argv`.

    Raises:
        SystemExit: With status 2, after one line on stderr, if the arguments
            or the run's files are bad.
    """
    if len(argv) != 2:
        _fail(
            "WORKDIR must be exactly one folder of a search, received"
            f" {list(argv[1:])}. Example: nas-report runs/demo"
        )
    if not pathlib.Path(argv[1]).is_dir():
        _fail(
            "WORKDIR must be the folder of a search, received"
            f" {argv[1]!r}: no such folder."
        )
    try:
        path = report.write_report(argv[1])
        files = report.read_run(argv[1])
        rows = report.summarise_retrained(files.retrained)
        ranking = report.describe_ranking(files.retrained)
    except (ImportError, OSError, ValueError) as error:
        _fail(str(error))
    sys.stdout.reconfigure(errors="backslashreplace")
    print(report.format_table(rows))
    workers = report.describe_workers(report.summarise_workers(files.shares))
    for line in [*workers, *ranking]:
        print(line)
    print(f"Report: {path}")


def run() -> None:
    """Runs the program; the console script `nas-report`."""
    app.run(main, flags_parser=_parse_flags)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    if {"--help", "-help", "-h"} & set(argv[1:]):
        # absl's own help is of the main module, here a console script.
        print(__doc__)
        sys.exit(0)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    line = " ".join(message.split())
    print(f"nas-report: {line}", file=sys.stderr)
    sys.exit(_USAGE_ERROR)


if __name__ == "__main__":
    run()
