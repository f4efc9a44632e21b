"""Where boxes and the wires between them go: a layered layout, left to right.

Geometry alone: no drawing, and nothing of cells. After [Sugiyama, Tagawa &
Toda, 1981](https://doi.org/10.1109/TSMC.1981.4308636): columns by the longest
path, a dummy where a wire passes a column, an order with few crossings, then
heights that keep the order. A wire forks on its way, so it passes a column
once however many boxes it leads to. Lengths are pixels; y grows downwards.
"""

import dataclasses
from collections.abc import Sequence

from nas_keras.drawing.layout_grid import Grid

TIP = 18.0  # The straight end of a wire, room for an arrow.
_COLUMN_GAPS = (60.0, 180.0)  # The higher wires climb, the wider the gap.
_SLOPE = 0.35  # Of a gap's width to the highest climb in it.

Piece = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Box:
    """The least size of a box."""

    width: float
    height: float


@dataclasses.dataclass(frozen=True)
class Net:
    """A wire from one box to others.

    Attributes:
        source: Index of a box.
        targets: Indices of later boxes, each once.
        weight: How much it matters that this wire is straight.
    """

    source: int
    targets: tuple[int, ...]
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a box is: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclasses.dataclass(frozen=True)
class Wire:
    """The course of a net.

    Attributes:
        pieces: Curves `(x0, y0, x1, y1)`, level at both ends, x0 < x1. Their
            x-ranges are gaps between columns, or columns they pass level.
        tips: `(x, y)` of the end at each target; the last `TIP` is level.
    """

    pieces: tuple[Piece, ...]
    tips: tuple[tuple[float, float], ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where all is, and the right lower corner of it."""

    right: float
    bottom: float
    places: tuple[Place, ...]
    wires: tuple[Wire, ...]


def arrange(
    boxes: Sequence[Box],
    nets: Sequence[Net],
    num_first: int,
    origin: tuple[float, float] = (0.0, 0.0),
) -> Layout:
    """Returns where boxes and wires go; the same for the same arguments.

    Args:
        boxes: In an order in which every wire leads to a later one.
        nets: The wires.
        num_first: Positive int, how many boxes stand in the first column.
            They are the first ones; no wire leads to them.
        origin: The left upper corner of it all.
    """
    grid = Grid(
        [box.height for box in boxes],
        [(net.source, net.targets, net.weight) for net in nets],
        _columns(len(boxes), nets, num_first),
    )
    grid.order()
    grid.set_ports()
    grid.set_heights(origin[1])
    lefts, rights = _sides(boxes, grid, origin[0])
    tops = grid.extent(0)
    places = []
    for box, size in enumerate(grid.size[: len(boxes)]):
        left, right = lefts[grid.column[box]], rights[grid.column[box]]
        places.append(Place(left, tops[box], right - left, size))
    wires = _wires(nets, grid, lefts, rights)
    return Layout(rights[-1], max(grid.extent(1)), tuple(places), wires)


def _columns(count: int, nets: Sequence[Net], num_first: int) -> list[int]:
    """Returns each box's column: how long a path leads to it, mostly."""
    column = [0] * num_first + [1] * (count - num_first)
    users: list[list[int]] = [[] for _ in range(count)]
    for net in nets:
        users[net.source] += net.targets
    for source in range(count):
        for target in users[source]:
            column[target] = max(column[target], column[source] + 1)
    reached = {target for targets in users for target in targets}
    for box in reversed(range(num_first, count)):
        if not users[box]:  # A result: at the right end.
            column[box] = max(column)
        elif box not in reached:  # A constant: next to its user.
            column[box] = min(column[target] for target in users[box]) - 1
    return column


def _sides(
    boxes: Sequence[Box], grid: Grid, x: float
) -> tuple[list[float], list[float]]:
    """Returns the left and the right ends of the columns."""
    climbs = [0.0] * len(grid.columns)
    for link in grid.links:
        start = grid.y[link.start] + link.leaves
        climb = abs(grid.y[link.end] + link.enters - start)
        where = grid.column[link.start]
        climbs[where] = max(climbs[where], climb)
    lefts, rights = [], []
    low, high = _COLUMN_GAPS
    for nodes, climb in zip(grid.columns, climbs, strict=True):
        lefts.append(x)
        widths = [boxes[n].width for n in nodes if not grid.is_dummy(n)]
        x += max(widths, default=0.0)
        rights.append(x)
        x += min(max(low, climb * _SLOPE), high)
    return lefts, rights


def _wires(
    nets: Sequence[Net], grid: Grid, lefts: list[float], rights: list[float]
) -> tuple[Wire, ...]:
    pieces: list[list[Piece]] = [[] for _ in nets]
    tips: list[dict[int, tuple[float, float]]] = [{} for _ in nets]
    for link in grid.links:
        where = grid.column[link.start]
        right, left = rights[where], lefts[where + 1]
        y0 = grid.y[link.start] + link.leaves
        y1 = grid.y[link.end] + link.enters
        end = rights[where + 1] if grid.is_dummy(link.end) else left
        if y0 != y1:
            _go_on(pieces[link.net], (right, y0, left - TIP, y1))
            right = left - TIP
        _go_on(pieces[link.net], (right, y1, end, y1))
        tips[link.net][link.end] = (left, y1)
    return tuple(
        Wire(tuple(course), tuple(ends[target] for target in net.targets))
        for net, course, ends in zip(nets, pieces, tips, strict=True)
    )


def _go_on(pieces: list[Piece], piece: Piece) -> None:
    """Appends a piece; one that goes straight on makes the last one longer."""
    x0, y0, x1, y1 = piece
    if pieces and pieces[-1][1:] == (y0, x0, y1) and y0 == y1:
        piece = (pieces.pop()[0], y0, x1, y1)
    pieces.append(piece)
