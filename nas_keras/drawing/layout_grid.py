"""Columns of boxes and of the dummies of wires: their orders and heights.

The second half of `layout.py`, which says what it is for. A dummy stands for
a wire that passes a column. A node is a box or a dummy.
"""

import bisect
import dataclasses
import math
from collections.abc import Sequence

BOX_GAP = 18.0  # Between two boxes of a column.
WIRE_GAP = 12.0  # Between a wire and what is next to it in a column.
PORT_GAP = 10.0  # Between the ends of two wires at a box.
_FIRMNESS = (1.0, 2.0, 8.0)  # Of links that end at 0, 1, 2 dummies.
_EFFORT = 30_000  # Links times sweeps; a huge graph has few sweeps.


@dataclasses.dataclass
class Link:
    """A part of a net, between two adjacent columns.

    Attributes:
        start: Node, a box or a dummy, in the left column.
        end: Node in the right column.
        net: Index of the net.
        weight: How much it matters that the link is level.
        leaves: Where it leaves `start`, from its centre.
        enters: Where it enters `end`, from its centre.
    """

    start: int
    end: int
    net: int
    weight: float
    leaves: float = 0.0
    enters: float = 0.0


class Grid:
    """The columns of nodes: first the boxes, by their indices, then dummies.

    Attributes:
        column: Of each node.
        columns: The nodes of each, from top to bottom.
        rank: Of each node, its place in its column.
        near: For the left and the right side, for each node, its neighbours
            with the links to them.
        size: Of each node, its height.
        y: Of each node, its centre.
    """

    def __init__(
        self,
        sizes: Sequence[float],
        nets: Sequence[tuple[int, Sequence[int], float]],
        column: Sequence[int],
    ) -> None:
        """Makes the nodes and links.

        Args:
            sizes: Least heights of the boxes.
            nets: Source, targets and weight of each wire.
            column: Of each box; targets are right of their sources.
        """
        self.num_boxes, self.column = len(sizes), list(column)
        self.links: list[Link] = []
        self.dummies = [self._add(i, *net) for i, net in enumerate(nets)]
        count = len(self.column)
        self.size = [*sizes] + [0.0] * (count - len(sizes))
        self.y = [0.0] * count
        self.rank = [0] * count
        self.near: tuple[list[list[tuple[int, Link]]], ...] = (
            [[] for _ in range(count)],
            [[] for _ in range(count)],
        )
        for link in self.links:
            self.near[0][link.end].append((link.start, link))
            self.near[1][link.start].append((link.end, link))
        columns: list[list[int]] = [[] for _ in range(max(self.column) + 1)]
        for node, where in enumerate(self.column):
            columns[where].append(node)
        self._set_columns(columns)

    def _add(
        self, number: int, source: int, targets: Sequence[int], weight: float
    ) -> list[int]:
        """Adds the links of a net; returns its dummies from left to right."""
        nodes, first = [source], self.column[source]
        pairs = []
        last = max(self.column[target] for target in targets)
        for where in range(first + 1, last):
            nodes.append(len(self.column))
            self.column.append(where)
            pairs.append((nodes[-2], nodes[-1]))
        for target in targets:
            pairs.append((nodes[self.column[target] - first - 1], target))
        for start, end in pairs:
            firmness = _FIRMNESS[self.is_dummy(start) + self.is_dummy(end)]
            self.links.append(Link(start, end, number, weight * firmness))
        return nodes[1:]

    def is_dummy(self, node: int) -> bool:
        """Returns whether a node is no box."""
        return node >= self.num_boxes

    def _set_columns(self, columns: list[list[int]]) -> None:
        self.columns = columns
        for nodes in columns:
            for rank, node in enumerate(nodes):
                self.rank[node] = rank

    def _num_sweeps(self, most: int) -> int:
        return min(most, 3 + _EFFORT // (len(self.links) + 1))

    # The order of each column.

    def order(self) -> None:
        """Sorts the columns so that few wires cross."""
        fewest, best = self._num_crossings(), [[*c] for c in self.columns]
        for sweep in range(self._num_sweeps(24)):
            self._sort_columns(sweep % 2)
            if len(self.links) < 2_000:
                self._swap_neighbours()
            found = self._num_crossings()
            if found < fewest:
                fewest, best = found, [[*c] for c in self.columns]
        self._set_columns(best)

    def _sort_columns(self, side: int) -> None:
        """Sorts by the mean rank of the neighbours on one side."""
        for nodes in self.columns[:: -1 if side else 1]:
            means = {}
            for node in nodes:
                ranks = [self.rank[other] for other, _ in self.near[side][node]]
                ranks = ranks or [self.rank[node]]
                means[node] = sum(ranks) / len(ranks)
            nodes.sort(key=means.__getitem__)
            for rank, node in enumerate(nodes):
                self.rank[node] = rank

    def _swap_neighbours(self) -> None:
        for nodes in self.columns:
            for index in range(len(nodes) - 1):
                a, b = nodes[index : index + 2]
                if self._crossings_of(b, a) < self._crossings_of(a, b):
                    nodes[index : index + 2] = b, a
                    self.rank[a], self.rank[b] = index + 1, index

    def _crossings_of(self, above: int, below: int) -> int:
        found = 0
        for near in self.near:
            lower = sorted(self.rank[other] for other, _ in near[below])
            for other, _ in near[above]:
                found += bisect.bisect_left(lower, self.rank[other])
        return found

    def _num_crossings(self) -> int:
        found = 0
        for nodes in self.columns:
            seen: list[int] = []
            for node in nodes:
                ranks = [self.rank[other] for other, _ in self.near[1][node]]
                for rank in ranks:
                    found += len(seen) - bisect.bisect_right(seen, rank)
                for rank in ranks:
                    bisect.insort(seen, rank)
        return found

    def set_ports(self) -> None:
        """Spreads the ends of wires over the sides of a box."""
        for box in range(self.num_boxes):
            ends: dict[int, list[Link]] = {}
            for _, link in self.near[1][box]:
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
            links = [link for _, link in self.near[0][box]]
            links.sort(key=lambda link: (self.rank[link.start], link.leaves))
            for port, link in enumerate(links):
                link.enters = (port - (len(links) - 1) / 2) * PORT_GAP
            self._grow(box, len(links))

    def _grow(self, box: int, num_ports: int) -> None:
        self.size[box] = max(self.size[box], (num_ports + 1) * PORT_GAP)

    # Heights.

    def set_heights(self, top: float) -> None:
        """Levels nodes with their neighbours, in order, without overlap."""
        for nodes in self.columns:
            self._place(nodes, [(0.0, 1.0)] * len(nodes))
        sweeps = self._num_sweeps(40)
        for sweep in range(sweeps):
            side = sweep % 2
            sides = (0, 1) if sweep >= sweeps - 3 else (side,)
            for nodes in self.columns[:: -1 if side else 1]:
                self._place(nodes, [self._aim(node, sides) for node in nodes])
        for _ in range(2):
            for dummies in self.dummies:
                self._straighten(dummies)
            for nodes in self.columns[1:]:
                for node in nodes:
                    self._snap(node)
        shift = top - min(self.extent(0))
        self.y = [y + shift for y in self.y]

    def extent(self, side: int) -> list[float]:
        """Returns the top (0) or the bottom (1) of each node."""
        half = side - 0.5
        return [y + half * s for y, s in zip(self.y, self.size, strict=True)]

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
        """Returns the least distance of the centres of two neighbours."""
        dummy = self.is_dummy(above) or self.is_dummy(below)
        gap = WIRE_GAP if dummy else BOX_GAP
        return gap + (self.size[above] + self.size[below]) / 2

    def _place(
        self, nodes: Sequence[int], aims: Sequence[tuple[float, float]]
    ) -> None:
        """Moves a column as near to its aims as the distances let it.

        The least squares of an order: pool adjacent violators.
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
        """Levels a long wire as far as its neighbours leave room."""
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
                for side, node in ((0, run[0]), (1, run[-1]))
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
            for level, weight in self._levels(node, (0,))
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
