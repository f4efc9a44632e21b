"""Pictures of boxes, lines and text, written as SVG or as PNG.

What a picture shows is decided elsewhere (`drawing.py`). Widths of text are
estimated from above, so that none is clipped whichever font a viewer has.
"""

import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any
from xml.sax import saxutils

from nas_keras import libraries

CHAR_WIDTH = 0.62  # Of a character to the font's size; from above.
PNG_SCALE = 2.0
_PNG_MOST_PIXELS = 40e6
_PNG_LONGEST = 30_000.0  # Of a side, in pixels; matplotlib ends at 65,536.
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
        pieces: `(x0, y0, x1, y1)` of each.
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
    fill: str
    size: float
    bold: bool = False

    @property
    def width(self) -> float:
        """At most so wide, in pixels."""
        return len(self.text) * self.size * CHAR_WIDTH


Shape = Rectangle | Line | Polygon | Text


@dataclasses.dataclass(frozen=True)
class Scene:
    """A picture: what comes later is drawn over what comes earlier."""

    title: str
    width: float
    height: float
    shapes: Sequence[Shape]


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
