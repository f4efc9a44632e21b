r"""Draws a recurrent cell: its equations, and how the old states reach the new.

CELL is the name of a published cell or the path of a cell's JSON file. The
suffix of PATH is the format: .svg, .png, or .mmd for Mermaid.

Examples:
  nas-draw lstm lstm.svg
  nas-draw runs/demo/best_cell.json best_cell.png
  nas-draw --list

Exit status: 0 done, 2 bad input.
"""

from collections.abc import Sequence

from absl import app
from absl import flags

from nas_keras.cells.language.spec import published_cells
from nas_keras.distribute import exits
from nas_keras.drawing.cells import draw
from nas_keras.programs import flags as command_line

_LIST = flags.DEFINE_boolean(
    "list", False, "Whether to print the names of the published cells instead."
)

_NAME = "nas-draw"


def main(argv: Sequence[str]) -> None:
    """Draws the cell `argv[1]` to the file `argv[2]`, or lists the cells.

    Raises:
        SystemExit: With status 2, after one line on stderr, if the arguments
            or the cell are bad.
    """
    try:
        _draw_or_list(argv[1:])
    except (ImportError, OSError, ValueError) as error:
        exits.fail(_NAME, str(error), exits.USAGE)


def _draw_or_list(arguments: Sequence[str]) -> None:
    if _LIST.value:
        if arguments:
            raise ValueError(
                f"--list takes no arguments. Received: {list(arguments)}."
            )
        print("\n".join(published_cells()))
        return
    if len(arguments) != 2:
        raise ValueError(
            "CELL and PATH must be given, nothing else. Received: "
            f"{list(arguments)}. Example: nas-draw lstm lstm.svg"
        )
    draw(*arguments)
    print(f"Drawing: {arguments[1]}")


def run() -> None:
    """Runs the program; the console script `nas-draw`."""
    app.run(main, flags_parser=command_line.parser(flags, _NAME, __name__))


if __name__ == "__main__":
    run()
