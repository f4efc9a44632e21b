"""Where boxes and the wires between them go: a layered layout, left to right.

Geometry alone: no drawing, and nothing of cells. Lengths are pixels; y grows
downwards. After [Sugiyama, Tagawa & Toda,
1981](https://doi.org/10.1109/TSMC.1981.4308636), in five steps, shown for
three boxes and the wires 0 -> 1, 2 and 1 -> 2, a `Net` for each source:

1. Columns, by the longest path that leads to a box: 0 | 1 | 2.
2. Dummies. A wire that passes a column has a node there, without height. The
   wire of 0 passes column 1 by the dummy 3: 0 | 1 3 | 2. A wire forks on its
   way, so it passes a column once however many boxes it leads to. Its parts
   between adjacent columns are links: 0-1, 0-3 and 3-2; the other wire is 1-2.
3. Orders of the columns, with few crossings of links. Each column is sorted by
   the mean rank of its nodes' neighbors at the left, then at the right, again
   and again; two of a column swap where that saves crossings; the best order
   is kept. Here neither [1, 3] nor [3, 1] has a crossing, so the first stays.
4. Ports. Where several wires end at one side of a box they do so one below the
   other, in the order of what they lead to: into 2 at -5 and +5 of its center,
   1-2 above, 3-2 below.
5. Heights. A link is level if its ends are equally high. Each column is moved
   to where its links are level, as nearly as order and distances permit (least
   squares), columns from left to right and back. Then the dummies of a wire
   are leveled where there is room, and links that are almost level. Here the
   wire of 0 runs level at y = 52: box 1 has its center at 20, half its height
   is 20, and a wire keeps 12 from a box; 0 has its center at 52, 2 at 52 - 5.

>>> nets = [Net(0, (1, 2)), Net(1, (2,))]
>>> arranged = arrange([Box(50, 40)] * 3, nets, num_first=1)
>>> [place.y + place.height / 2 for place in arranged.places]
[52.0, 20.0, 47.0]
>>> for piece in arranged.wires[0].pieces:
...     print(piece)
(50.0, 52.0, 160.0, 52.0)
(50.0, 52.0, 92.0, 20.0)
(92.0, 20.0, 110.0, 20.0)
(160.0, 52.0, 220.0, 52.0)
"""

import bisect
import dataclasses
import math
from collections.abc import Sequence

TIP = 18.0  # The straight end of a wire, room for an arrow.
BOX_GAP = 18.0  # Between two boxes of a column.
WIRE_GAP = 12.0  # Between a wire and what is next to it in a column.
PORT_GAP = 10.0  # Between the ends of two wires at a box.
_COLUMN_GAPS = (60.0, 180.0)  # The higher wires climb, the wider the gap.
_SLOPE = 0.35  # A gap's width divided by the highest climb in it.
_FIRMNESS = (1.0, 2.0, 8.0)  # Weight of links that end at 0, 1, 2 dummies.
_EFFORT = 30_000  # Links times sweeps; a huge graph has few sweeps.
_MOST_LINKS_TO_SWAP = 2_000
_LEFT, _RIGHT = 0, 1  # Sides of a node.

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
    """Where all boxes and wires are, and the right lower corner of it all."""

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
    grid = _Grid(boxes, nets, _columns(len(boxes), nets, num_first))
    grid.order()
    grid.set_ports()
    grid.set_heights(origin[1])
    lefts, rights = _sides(boxes, grid, origin[0])
    places = []
    for box, top in enumerate(grid.tops()[: len(boxes)]):
        left, right = lefts[grid.column[box]], rights[grid.column[box]]
        places.append(Place(left, top, right - left, grid.height[box]))
    wires = _wires(nets, grid, lefts, rights)
    bottom = max(
        y + 0.5 * height for y, height in zip(grid.y, grid.height, strict=True)
    )
    return Layout(rights[-1], bottom, tuple(places), wires)


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


@dataclasses.dataclass
class _Link:
    """A part of a net, between two adjacent columns.

    Attributes:
        start: Node, a box or a dummy, in the left column.
        end: Node in the right column.
        net: Index of the net.
        weight: How much it matters that the link is level.
        leaves: Where it leaves `start`, relative to its center.
        enters: Where it enters `end`, relative to its center.
    """

    start: int
    end: int
    net: int
    weight: float
    leaves: float = 0.0
    enters: float = 0.0


class _Grid:
    """The columns of nodes: boxes, by their indices, and after them dummies.

    Args:
        boxes: The boxes.
        nets: The wires.
        column: The column of each box; targets are right of their sources.

    Attributes:
        column: The column of each node.
        columns: The nodes of each column, from top to bottom.
        rank: Each node's index in its column.
        links: All links.
        near: For the left and the right side, for each node, its neighbors
            with the links to them.
        dummies: The dummies of each net, from left to right.
        height: The height of each node.
        y: The center of each node.
    """

    def __init__(
        self, boxes: Sequence[Box], nets: Sequence[Net], column: Sequence[int]
    ) -> None:
        self.num_boxes, self.column = len(boxes), list(column)
        self.links: list[_Link] = []
        self.dummies = [self._add(i, net) for i, net in enumerate(nets)]
        count = len(self.column)
        self.height = [box.height for box in boxes]
        self.height += [0.0] * (count - len(boxes))
        self.y = [0.0] * count
        self.rank = [0] * count
        self.near: tuple[list[list[tuple[int, _Link]]], ...] = (
            [[] for _ in range(count)],
            [[] for _ in range(count)],
        )
        for link in self.links:
            self.near[_LEFT][link.end].append((link.start, link))
            self.near[_RIGHT][link.start].append((link.end, link))
        columns: list[list[int]] = [[] for _ in range(max(self.column) + 1)]
        for node, where in enumerate(self.column):
            columns[where].append(node)
        self._set_columns(columns)

    def _add(self, number: int, net: Net) -> list[int]:
        """Adds the links of a net; returns its dummies."""
        nodes, first = [net.source], self.column[net.source]
        pairs = []
        last = max(self.column[target] for target in net.targets)
        for where in range(first + 1, last):
            nodes.append(len(self.column))
            self.column.append(where)
            pairs.append((nodes[-2], nodes[-1]))
        for target in net.targets:
            pairs.append((nodes[self.column[target] - first - 1], target))
        for start, end in pairs:
            firmness = _FIRMNESS[self.is_dummy(start) + self.is_dummy(end)]
            self.links.append(_Link(start, end, number, net.weight * firmness))
        return nodes[1:]

    def is_dummy(self, node: int) -> bool:
        """Returns whether a node is no box."""
        return node >= self.num_boxes

    def _set_columns(self, columns: list[list[int]]) -> None:
        self.columns = columns
        for nodes in columns:
            self._set_ranks(nodes)

    def _set_ranks(self, nodes: Sequence[int]) -> None:
        for rank, node in enumerate(nodes):
            self.rank[node] = rank

    def _num_sweeps(self, most: int) -> int:
        return min(most, 3 + _EFFORT // (len(self.links) + 1))

    # Orders.

    def order(self) -> None:
        """Sorts the columns so that few wires cross."""
        fewest, best = self._num_crossings(), [[*c] for c in self.columns]
        for sweep in range(self._num_sweeps(24)):
            self._sort_columns(sweep % 2)
            if len(self.links) < _MOST_LINKS_TO_SWAP:
                self._swap_neighbors()
            num_crossings = self._num_crossings()
            if num_crossings < fewest:
                fewest, best = num_crossings, [[*c] for c in self.columns]
        self._set_columns(best)

    def _from(self, side: int) -> list[list[int]]:
        """Returns the columns, beginning with the one at a side."""
        return self.columns[:: -1 if side == _RIGHT else 1]

    def _sort_columns(self, side: int) -> None:
        """Sorts by the mean rank of the neighbors on one side."""
        for nodes in self._from(side):
            means = {}
            for node in nodes:
                ranks = [self.rank[other] for other, _ in self.near[side][node]]
                ranks = ranks or [self.rank[node]]
                means[node] = sum(ranks) / len(ranks)
            nodes.sort(key=means.__getitem__)
            self._set_ranks(nodes)

    def _swap_neighbors(self) -> None:
        for nodes in self.columns:
            for index in range(len(nodes) - 1):
                a, b = nodes[index : index + 2]
                if self._crossings_of(b, a) < self._crossings_of(a, b):
                    nodes[index : index + 2] = b, a
                    self.rank[a], self.rank[b] = index + 1, index

    def _crossings_of(self, above: int, below: int) -> int:
        """Returns how often links of two nodes cross, on both sides."""
        count = 0
        for near in self.near:
            lower = sorted(self.rank[other] for other, _ in near[below])
            for other, _ in near[above]:
                count += bisect.bisect_left(lower, self.rank[other])
        return count

    def _num_crossings(self) -> int:
        """Returns how often links cross: inversions of their ends' ranks."""
        count = 0
        for nodes in self.columns:
            seen: list[int] = []
            for node in nodes:
                ranks = [
                    self.rank[other] for other, _ in self.near[_RIGHT][node]
                ]
                for rank in ranks:
                    count += len(seen) - bisect.bisect_right(seen, rank)
                for rank in ranks:
                    bisect.insort(seen, rank)
        return count

    # Ports.

    def set_ports(self) -> None:
        """Spreads the ends of wires over the sides of a box."""
        for box in range(self.num_boxes):
            ends: dict[int, list[_Link]] = {}
            for _, link in self.near[_RIGHT][box]:
                ends.setdefault(link.net, []).append(link)
            means = {
                net: sum(self.rank[link.end] for link in links) / len(links)
                for net, links in ends.items()
            }
            for port, net in enumerate(sorted(means, key=means.__getitem__)):
                for link in ends[net]:
                    link.leaves = (port - (len(ends) - 1) / 2) * PORT_GAP
            self._grow(box, len(ends))
        for box in range(self.num_boxes):
            links = [link for _, link in self.near[_LEFT][box]]
            links.sort(key=lambda link: (self.rank[link.start], link.leaves))
            for port, link in enumerate(links):
                link.enters = (port - (len(links) - 1) / 2) * PORT_GAP
            self._grow(box, len(links))

    def _grow(self, box: int, num_ports: int) -> None:
        self.height[box] = max(self.height[box], (num_ports + 1) * PORT_GAP)

    # Heights.

    def set_heights(self, top: float) -> None:
        """Levels nodes with their neighbors, in order, without overlap."""
        for nodes in self.columns:
            self._move(nodes, [(0.0, 1.0)] * len(nodes))
        sweeps = self._num_sweeps(40)
        for sweep in range(sweeps):
            side = sweep % 2
            sides = (_LEFT, _RIGHT) if sweep >= sweeps - 3 else (side,)
            for nodes in self._from(side):
                self._move(nodes, [self._aim(node, sides) for node in nodes])
        for _ in range(2):
            for dummies in self.dummies:
                self._straighten(dummies)
            for nodes in self.columns[1:]:
                for node in nodes:
                    self._snap(node)
        shift = top - min(self.tops())
        self.y = [y + shift for y in self.y]

    def tops(self) -> list[float]:
        """Returns the upper end of each node."""
        return [
            y - 0.5 * height
            for y, height in zip(self.y, self.height, strict=True)
        ]

    def _aim(self, node: int, sides: Sequence[int]) -> tuple[float, float]:
        """Returns where a node's links are level, and how much it matters."""
        levels = self._levels(node, sides)
        if not levels:
            return self.y[node], 0.01
        return _median(levels), sum(weight for _, weight in levels)

    def _levels(
        self, node: int, sides: Sequence[int]
    ) -> list[tuple[float, float]]:
        """Returns where each link is level, with its weight."""
        return [
            (
                self.y[other] + (1, -1)[side] * (link.leaves - link.enters),
                link.weight,
            )
            for side in sides
            for other, link in self.near[side][node]
        ]

    def _distance(self, above: int, below: int) -> float:
        """Returns the least distance of the centers of two neighbors."""
        dummy = self.is_dummy(above) or self.is_dummy(below)
        gap = WIRE_GAP if dummy else BOX_GAP
        return gap + (self.height[above] + self.height[below]) / 2

    def _move(
        self, nodes: Sequence[int], aims: Sequence[tuple[float, float]]
    ) -> None:
        """Moves a column as near to its aims as the distances permit.

        Weighted least squares under an order, by pooling adjacent violators:
        a node that its aim would push into the block above joins the block,
        whose nodes then stand as close as they may, at their mean aim.
        """
        shifts, shift = [], 0.0  # Of nodes that stand as close as they may.
        blocks: list[tuple[float, float, int]] = []  # Mean, weight, nodes.
        for rank, (aim, weight) in enumerate(aims):
            if rank:
                shift += self._distance(nodes[rank - 1], nodes[rank])
            shifts.append(shift)
            mean, count = aim - shift, 1
            while blocks and blocks[-1][0] > mean:
                above, its_weight, its_count = blocks.pop()
                total = weight + its_weight
                mean = (mean * weight + above * its_weight) / total
                weight, count = total, count + its_count
            blocks.append((mean, weight, count))
        means = [mean for mean, _, count in blocks for _ in range(count)]
        for node, mean, shift in zip(nodes, means, shifts, strict=True):
            self.y[node] = mean + shift

    def _straighten(self, dummies: Sequence[int]) -> None:
        """Levels a long wire as far as its neighbors leave room."""
        while dummies:
            low, high, count = *self._room(dummies[0]), 1
            for node in dummies[1:]:
                lower, upper = self._room(node)
                if max(low, lower) > min(high, upper):
                    break
                low, high = max(low, lower), min(high, upper)
                count += 1
            run, dummies = dummies[:count], dummies[count:]
            middle = sorted(self.y[node] for node in run)[count // 2]
            levels = [
                level
                for side, node in ((_LEFT, run[0]), (_RIGHT, run[-1]))
                for level, _ in self._levels(node, (side,))
                if low <= level <= high
            ]
            level = levels[0] if levels else min(max(middle, low), high)
            for node in run:
                self.y[node] = level

    def _snap(self, node: int) -> None:
        """Makes a link level that is almost so."""
        low, high = self._room(node)
        y = self.y[node]
        levels = [
            (-weight, abs(level - y), level)
            for level, weight in self._levels(node, (_LEFT,))
            if low <= level <= high and abs(level - y) < PORT_GAP
        ]
        if levels:
            self.y[node] = min(levels)[2]

    def _room(self, node: int) -> tuple[float, float]:
        """Returns how high and how low a node may be moved."""
        nodes, rank = self.columns[self.column[node]], self.rank[node]
        low, high = -math.inf, math.inf
        if rank:
            above = nodes[rank - 1]
            low = self.y[above] + self._distance(above, node)
        if rank + 1 < len(nodes):
            below = nodes[rank + 1]
            high = self.y[below] - self._distance(node, below)
        # Rounding errors must leave it at least where it is.
        return min(low, self.y[node]), max(high, self.y[node])


def _median(values: Sequence[tuple[float, float]]) -> float:
    """Returns the median of `(value, weight)`."""
    values = sorted(values)
    rest = sum(weight for _, weight in values) / 2
    for index, (value, weight) in enumerate(values):
        rest -= weight
        if rest == 0 and index + 1 < len(values):
            return (value + values[index + 1][0]) / 2
        if rest < 0:
            return value
    return values[-1][0]


# Places.


def _sides(
    boxes: Sequence[Box], grid: _Grid, x: float
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
    nets: Sequence[Net], grid: _Grid, lefts: list[float], rights: list[float]
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
            _append(pieces[link.net], (right, y0, left - TIP, y1))
            right = left - TIP
        _append(pieces[link.net], (right, y1, end, y1))
        tips[link.net][link.end] = (left, y1)
    return tuple(
        Wire(tuple(course), tuple(ends[target] for target in net.targets))
        for net, course, ends in zip(nets, pieces, tips, strict=True)
    )


def _append(pieces: list[Piece], piece: Piece) -> None:
    """Appends a piece; a level one makes a level one before it longer."""
    x0, y0, x1, y1 = piece
    if pieces and pieces[-1][1:] == (y0, x0, y1) and y0 == y1:
        piece = (pieces.pop()[0], y0, x1, y1)
    pieces.append(piece)
