"""What drawings are made of: shapes, their looks, and the file.

A picture is a `Scene` of shapes, written as SVG or PNG. Cells (`cells.py`) and
image networks (`convnets.py`) decide what it shows, `layout.py` where. Widths
of text are estimated from above, so that none is clipped whichever font a
viewer has. No TensorFlow, no Keras; a PNG alone needs matplotlib.
"""

import dataclasses
import io
import math
import os
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax import saxutils

from nas_keras import libraries
from nas_keras.drawing import layout
from nas_keras.storage.files import write_atomically

SUFFIXES = (".mmd", ".png", ".svg")

FONT, LINE = 13.0, 18.0  # In boxes: size of text, height of a line.
TITLE_FONT = 16.0
CHAR_WIDTH = 0.62  # A character's width divided by the font's size, at most.
PAD = 10.0  # Between the text and the edge of a box.
MARGIN = 24.0
ARROW = 9.0  # Length of an arrow's head.
INK, GRAY, FAINT = "#1f2328", "#59616b", "#b9c0c9"
PAPER, SHADE = "#ffffff", "#f4f5f7"
BLUE, ORANGE, GREEN = (  # Line and fill.
    ("#1b66ad", "#e9f1f9"),
    ("#c2500f", "#fcefe6"),
    ("#2b7a4b", "#e8f4ec"),
)
PNG_SCALE = 2.0
_HALO = 1.2  # Paper on both sides of a wire that crosses others.
_PNG_MOST_PIXELS = 40e6
_PNG_LONGEST = 30_000.0  # Side in pixels; matplotlib ends at 65,536.
_FAMILIES = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"


@dataclasses.dataclass(frozen=True)
class Rectangle:
    """A rectangle with round corners; its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str
    stroke_width: float = 1.0
    radius: float = 4.0


@dataclasses.dataclass(frozen=True)
class Line:
    """Curves from (x0, y0) to (x1, y1), level at both ends, as one line.

    Attributes:
        pieces: `(x0, y0, x1, y1)` of each curve.
        stroke: Color.
        width: Width in pixels.
        dash: Offset, length and space of the dashes, or None for a full line.
    """

    pieces: tuple[tuple[float, float, float, float], ...]
    stroke: str
    width: float
    dash: tuple[float, float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Polygon:
    """A filled polygon."""

    points: tuple[tuple[float, float], ...]
    fill: str


@dataclasses.dataclass(frozen=True)
class Text:
    """A line of text that begins at x, with its baseline at y."""

    x: float
    y: float
    text: str
    fill: str = INK
    size: float = FONT
    bold: bool = False

    @property
    def width(self) -> float:
        """An upper bound of the width in pixels."""
        return len(self.text) * self.size * CHAR_WIDTH


Shape = Rectangle | Line | Polygon | Text


@dataclasses.dataclass(frozen=True)
class Scene:
    """A picture: what comes later is drawn over what comes earlier."""

    title: str
    width: float
    height: float
    shapes: Sequence[Shape]


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
    path: Path, picture: Callable[[], Scene], mermaid: Callable[[], str]
) -> None:
    """Writes a drawing in the format that the suffix names.

    Raises:
        ImportError: If matplotlib, which a `.png` needs, is not installed.
    """
    if path.suffix == ".mmd":
        data = mermaid().encode()
    elif path.suffix == ".svg":
        data = to_svg(picture())
    else:
        data = to_png(picture())
    write_atomically(path, data)


def title(name: str) -> Text:
    """Returns the heading of a drawing."""
    return Text(MARGIN, MARGIN + TITLE_FONT, name, INK, TITLE_FONT, True)


def paper(width: float, height: float) -> Rectangle:
    """Returns the background of a drawing."""
    return Rectangle(0, 0, width, height, PAPER, PAPER, 0, 0)


def least_box(name: str, lines: Sequence[str]) -> layout.Box:
    """Returns the least size of a box with a name and lines below it."""
    width = max(Text(0, 0, words).width for words in (name, *lines))
    return layout.Box(width + 2 * PAD, LINE * (1 + len(lines)) + 2 * PAD)


def box(
    place: layout.Place,
    name: str,
    lines: Sequence[str],
    colors: tuple[str, str],
    width: float = 1.0,
    ink: str = INK,
) -> list[Shape]:
    """Returns a box: its name, bold, and its lines, at mid-height.

    Args:
        place: Where the box is.
        name: The first line.
        lines: The other lines.
        colors: Colors of the edge and of the inside.
        width: Width of the edge in pixels.
        ink: Color of the lines.
    """
    stroke, fill = colors
    size = (place.x, place.y, place.width, place.height)
    x = place.x + PAD
    y = place.y + (place.height - LINE * (1 + len(lines))) / 2 + 0.72 * LINE
    return [
        Rectangle(*size, fill, stroke, width),
        Text(x, y, name, bold=True),
        *(
            Text(x, y + row * LINE, line, ink)
            for row, line in enumerate(lines, 1)
        ),
    ]


def wire(
    course: layout.Wire, color: str, width: float, tip: float
) -> list[Line]:
    """Returns a wire and its halo.

    Args:
        course: Where the wire goes.
        color: Color of the wire.
        width: Width of the wire in pixels.
        tip: How long before each tip it ends: room for a narrow mark.
    """
    tips = set(course.tips)
    pieces = tuple(
        (x0, y0, x1 - tip if (x1, y1) in tips else x1, y1)
        for x0, y0, x1, y1 in course.pieces
    )
    return [
        Line(pieces, PAPER, width + 2 * _HALO),
        Line(pieces, color, width),
    ]


def arrow(x: float, y: float, color: str, spread: float = 0.4) -> Polygon:
    """Returns the head of an arrow to (x, y)."""
    left, half = x - ARROW, spread * ARROW
    return Polygon(((left, y - half), (x, y), (left, y + half)), color)


# SVG and PNG.


def to_svg(scene: Scene) -> bytes:
    """Returns an SVG file that needs nothing beside it."""
    size = f"{_number(scene.width)} {_number(scene.height)}"
    width, height = size.split()
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{height}" viewBox="0 0 {size}" role="img">',
        f"<title>{saxutils.escape(scene.title)}</title>",
        *(_element(shape) for shape in scene.shapes),
        "</svg>",
    ]
    return ("\n".join(lines) + "\n").encode()


def _element(shape: Shape) -> str:
    match shape:
        case Rectangle():
            return (
                f'<rect x="{_number(shape.x)}" y="{_number(shape.y)}" '
                f'width="{_number(shape.width)}" '
                f'height="{_number(shape.height)}" rx="{shape.radius:g}" '
                f'fill="{shape.fill}" stroke="{shape.stroke}" '
                f'stroke-width="{shape.stroke_width:g}"/>'
            )
        case Line():
            dash = ""
            if shape.dash:
                offset, length, space = shape.dash
                dash = (
                    f' stroke-dasharray="{length:g} {space:g}" '
                    f'stroke-dashoffset="{-offset:g}"'
                )
            course = "".join(map(_course, shape.pieces))
            return (
                f'<path d="{course}" fill="none" stroke="{shape.stroke}" '
                f'stroke-width="{shape.width:g}"{dash}/>'
            )
        case Polygon():
            points = " ".join(
                f"{_number(x)},{_number(y)}" for x, y in shape.points
            )
            return f'<polygon points="{points}" fill="{shape.fill}"/>'
        case Text():
            bold = ' font-weight="bold"' if shape.bold else ""
            return (
                f'<text x="{_number(shape.x)}" y="{_number(shape.y)}" '
                f'font-family="{_FAMILIES}" '
                f'font-size="{shape.size:g}"{bold} fill="{shape.fill}" '
                f'xml:space="preserve">{saxutils.escape(shape.text)}</text>'
            )


def _course(piece: tuple[float, float, float, float]) -> str:
    x0, y0, x1, y1 = map(_number, piece)
    if y0 == y1:
        return f"M{x0} {y0}H{x1}"
    middle = _number((piece[0] + piece[2]) / 2)
    return f"M{x0} {y0}C{middle} {y0} {middle} {y1} {x1} {y1}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def to_png(scene: Scene) -> bytes:
    """Returns a PNG file at `PNG_SCALE`, or smaller if it were huge.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    what = "A drawing as .png, unlike .svg and .mmd, needs matplotlib"
    with libraries.needed(what, "report"):
        from matplotlib import figure as mpl_figure
    scale = min(
        PNG_SCALE,
        _PNG_LONGEST / max(scene.width, scene.height),
        math.sqrt(_PNG_MOST_PIXELS / (scene.width * scene.height)),
    )
    # 72 pixels an inch: a point is a pixel of the scene.
    figure = mpl_figure.Figure(
        figsize=(scene.width / 72, scene.height / 72), dpi=72 * scale
    )
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, scene.width)
    axes.set_ylim(scene.height, 0)
    for order, shape in enumerate(scene.shapes):
        _add_artist(axes, shape, order)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Title": scene.title})
    return buffer.getvalue()


def _add_artist(axes: Any, shape: Shape, order: int) -> None:
    from matplotlib import patches

    artist: Any
    match shape:
        case Rectangle():
            style = patches.BoxStyle.Round(pad=0, rounding_size=shape.radius)
            artist = patches.FancyBboxPatch(
                (shape.x, shape.y),
                shape.width,
                shape.height,
                boxstyle=style,
                facecolor=shape.fill,
                edgecolor=shape.stroke,
                linewidth=shape.stroke_width,
            )
        case Line():
            artist = _curves(shape)
        case Polygon():
            artist = patches.Polygon(shape.points, facecolor=shape.fill)
        case Text():
            axes.text(
                shape.x,
                shape.y,
                shape.text,
                color=shape.fill,
                fontsize=shape.size,
                family="DejaVu Sans Mono",
                weight="bold" if shape.bold else "normal",
                verticalalignment="baseline",
                parse_math=False,
                zorder=order,
            )
            return
    artist.set_zorder(order)
    axes.add_artist(artist)


def _curves(line: Line) -> Any:
    from matplotlib import patches
    from matplotlib import path as mpl_path

    points, codes = [], []
    for x0, y0, x1, y1 in line.pieces:
        middle = (x0 + x1) / 2
        points += [(x0, y0), (middle, y0), (middle, y1), (x1, y1)]
        codes += [1, 4, 4, 4]  # MOVETO, then a cubic curve.
    style: Any = "solid"
    if line.dash:  # It is given in line widths there.
        offset, length, space = (size / line.width for size in line.dash)
        style = (-offset, (length, space))
    return patches.PathPatch(
        mpl_path.Path(points, codes),
        fill=False,
        edgecolor=line.stroke,
        linewidth=line.width,
        capstyle="butt",
        linestyle=style,
    )
