r"""Draws a recurrent cell: its equations, and how the old states reach the new.

CELL is the name of a published cell or the path of a cell's JSON file. The
suffix of PATH is the format: .svg, .png, or .mmd for Mermaid.

Examples:
  nas-draw lstm lstm.svg
  nas-draw runs/demo/best_cell.json best_cell.png
  nas-draw --list

Exit status: 0 done, 2 bad input.
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

from absl import app
from absl import flags

from nas_keras.cells.drawing import draw
from nas_keras.cells.spec import published_cells

_LIST = flags.DEFINE_boolean(
    "list", False, "Whether to print the names of the published cells instead."
)

_USAGE_ERROR = 2


def main(argv: Sequence[str]) -> None:
    """Draws the cell `argv[1]` to the file `argv[2]`, or lists the cells.

    Raises:
        SystemExit: With status 2, after one line on stderr, if the arguments
            or the cell are bad.
    """
    if _LIST.value:
        if len(argv) > 1:
            _fail(f"--list takes no arguments. Received: {list(argv[1:])}.")
        print("\n".join(published_cells()))
        return
    if len(argv) != 3:
        _fail(
            "CELL and PATH must be given, nothing else. Received: "
            f"{list(argv[1:])}. Example: nas-draw lstm lstm.svg"
        )
    try:
        draw(argv[1], argv[2])
    except (ImportError, OSError, ValueError) as error:
        _fail(str(error))
    sys.stdout.reconfigure(errors="backslashreplace")
    print(f"Drawing: {argv[2]}")


def _parse_flags(argv: Sequence[str]) -> list[str]:
    if {"--help", "-help", "-h"} & set(argv[1:]):
        # absl's own help is of the main module, here a console script.
        print(__doc__)
        print(flags.FLAGS.module_help(sys.modules[__name__]))
        sys.exit(0)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    line = " ".join(message.split())
    print(f"nas-draw: {line}", file=sys.stderr)
    sys.exit(_USAGE_ERROR)


def run() -> None:
    """Runs the program; the console script `nas-draw`."""
    app.run(main, flags_parser=_parse_flags)


if __name__ == "__main__":
    run()
