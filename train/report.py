r"""Writes the HTML report of a search and prints its retrained cells.

The report is one file, WORKDIR/report.html, that opens without a network. A
search may still be running: the report then shows what there is so far.

Example:
  nas-report runs/demo

Exit status: 0 done, 2 bad input, 74 the disk failed.
"""

import pathlib
from collections.abc import Sequence

from absl import app
from absl import flags

from nas_keras import report
from nas_keras.distribute import exits
from nas_keras.programs import flags as command_line

_NAME = "nas-report"


def main(argv: Sequence[str]) -> None:
    """Writes the report of the one folder in `argv`.

    Raises:
        SystemExit: With status 2, after one line on stderr, if the arguments
            or the run's files are bad; with 74 if the disk fails.
    """
    try:
        _write(argv[1:])
    except (ImportError, ValueError) as error:
        exits.fail(_NAME, str(error), exits.USAGE)
    except OSError as error:
        exits.fail(_NAME, str(error), exits.DISK)


def _write(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise ValueError(
            "WORKDIR must be exactly one folder of a search. Received: "
            f"{list(arguments)}. Example: nas-report runs/demo"
        )
    workdir = pathlib.Path(arguments[0])
    if not workdir.is_dir():
        raise ValueError(
            "WORKDIR must be the folder of a search. Received: "
            f"{arguments[0]!r}: no such folder."
        )
    lines = list(report.describe_result(workdir, is_reported=True))
    for line in lines:
        print(line)


def run() -> None:
    """Runs the program; the console script `nas-report`."""
    app.run(main, flags_parser=command_line.parser(flags, _NAME, __name__))


if __name__ == "__main__":
    run()
