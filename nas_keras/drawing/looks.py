"""What drawings of cells and of image networks have in common.

Sizes, colours, boxes, wires, and the file. What is drawn is in `drawing.py`
here and in `convnets/`. No TensorFlow, no Keras.
"""

import os
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_keras.drawing import canvas
from nas_keras.drawing import layout
from nas_keras.storage.files import write_atomically

SUFFIXES = (".mmd", ".png", ".svg")

FONT, LINE = 13.0, 18.0  # Of the boxes: size of text, height of a line.
TITLE_FONT = 16.0
PAD = 10.0  # Between the text and the edge of a box.
MARGIN = 24.0
ARROW = 9.0  # Length of the head.
INK, GREY, FAINT = "#1f2328", "#59616b", "#b9c0c9"
PAPER, SHADE = "#ffffff", "#f4f5f7"
BLUE, ORANGE, GREEN = (  # Line and fill.
    ("#1b66ad", "#e9f1f9"),
    ("#c2500f", "#fcefe6"),
    ("#2b7a4b", "#e8f4ec"),
)
_HALO = 1.2  # Of paper, on both sides of a wire that crosses others.


def checked(path: Any) -> Path:
    """Returns the path of a file that a drawing can be written to.

    Raises:
        ValueError: If it is no path, or has another suffix or no folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            "path must be a string or a path. Received: "
            f"path={path!r:.200} of type {type(path).__name__}."
        )
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"path must end in one of {list(SUFFIXES)}, the formats of "
            f"drawings. Received: path={str(path)!r}."
        )
    if not path.parent.is_dir():
        raise ValueError(
            "path must be in a folder that exists. Received: "
            f"path={str(path)!r}."
        )
    return path


def write(
    path: Path, picture: Callable[[], canvas.Scene], mermaid: Callable[[], str]
) -> None:
    """Writes a drawing in the format that the suffix names.

    Raises:
        ImportError: If matplotlib, which a `.png` needs, is not installed.
    """
    if path.suffix == ".mmd":
        data = mermaid().encode()
    elif path.suffix == ".svg":
        data = canvas.to_svg(picture())
    else:
        data = canvas.to_png(picture())
    write_atomically(path, data)


def text(
    words: str,
    x: float,
    y: float,
    size: float = FONT,
    bold: bool = False,
    fill: str = INK,
) -> canvas.Text:
    """Returns a line of text."""
    return canvas.Text(x, y, words, fill, size, bold)


def title(name: str) -> canvas.Text:
    """Returns the heading of a drawing."""
    return text(name, MARGIN, MARGIN + TITLE_FONT, TITLE_FONT, True)


def paper(width: float, height: float) -> canvas.Rectangle:
    """Returns what is under all."""
    return canvas.Rectangle(0, 0, width, height, PAPER, PAPER, 0, 0)


def least_box(name: str, lines: Sequence[str]) -> layout.Box:
    """Returns the least size of a box with a name and lines below it."""
    width = max(text(words, 0, 0).width for words in (name, *lines))
    return layout.Box(width + 2 * PAD, LINE * (1 + len(lines)) + 2 * PAD)


def box(
    place: layout.Place,
    name: str,
    lines: Sequence[str],
    colors: tuple[str, str],
    width: float = 1.0,
    ink: str = INK,
) -> list[canvas.Shape]:
    """Returns a box: its name, bold, and its lines, amid its height.

    Args:
        place: Where it is.
        name: Its first line.
        lines: The others.
        colors: Of its edge and of its inside.
        width: Of its edge.
        ink: Of the lines.
    """
    stroke, fill = colors
    size = (place.x, place.y, place.width, place.height)
    x = place.x + PAD
    y = place.y + (place.height - LINE * (1 + len(lines))) / 2 + 0.72 * LINE
    return [
        canvas.Rectangle(*size, fill, stroke, width),
        text(name, x, y, bold=True),
        *(
            text(line, x, y + row * LINE, fill=ink)
            for row, line in enumerate(lines, 1)
        ),
    ]


def wire(
    course: layout.Wire, color: str, width: float, tip: float
) -> list[canvas.Line]:
    """Returns a wire with its halo, which ends `tip` before each of its tips.

    Under a mark, where it is narrow, is no line.
    """
    tips = set(course.tips)
    pieces = tuple(
        (x0, y0, x1 - tip if (x1, y1) in tips else x1, y1)
        for x0, y0, x1, y1 in course.pieces
    )
    return [
        canvas.Line(pieces, PAPER, width + 2 * _HALO),
        canvas.Line(pieces, color, width),
    ]


def arrow(
    x: float, y: float, color: str, spread: float = 0.4
) -> canvas.Polygon:
    """Returns the head of an arrow to (x, y)."""
    left, half = x - ARROW, spread * ARROW
    return canvas.Polygon(((left, y - half), (x, y), (left, y + half)), color)
