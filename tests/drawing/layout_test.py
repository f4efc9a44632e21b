"""Tests of `layout`: where boxes and wires are."""

import itertools

import hypothesis
import pytest
from hypothesis import strategies as st

from nas_keras.drawing import layout
from tests.drawing_testing import overlap


@st.composite
def _graphs(make):
    """Boxes and nets for `layout.arrange`."""
    num_first = make(st.integers(1, 4))
    count = num_first + make(st.integers(0, 12))
    size = st.floats(1, 300)
    boxes = [layout.Box(make(size), make(size)) for _ in range(count)]
    nets = []
    for source in range(count):
        later = st.integers(max(source + 1, num_first), count - 1)
        if source + 1 < count and num_first < count:
            for _ in range(make(st.integers(0, 2))):
                targets = make(st.lists(later, min_size=1, unique=True))
                nets.append(layout.Net(source, tuple(targets)))
    return boxes, nets, num_first


def _points(piece):
    """Returns points of a curve, level at both ends, by Bernstein's formula."""
    x0, y0, x1, y1 = piece
    xm = (x0 + x1) / 2
    for step in range(11):
        t = step / 10
        a, b, c, d = (
            (1 - t) ** 3,
            3 * t * (1 - t) ** 2,
            3 * t * t * (1 - t),
            t**3,
        )
        yield a * x0 + (b + c) * xm + d * x1, (a + b) * y0 + (c + d) * y1


@hypothesis.given(_graphs())
def test_no_two_boxes_overlap_and_none_is_smaller_than_asked(graph):
    boxes, nets, num_first = graph
    arranged = layout.arrange(boxes, nets, num_first, origin=(7, 11))
    for a, b in itertools.combinations(arranged.places, 2):
        assert not overlap(a, b)
    for box, place in zip(boxes, arranged.places, strict=True):
        assert place.width >= box.width - 1e-6
        assert place.height >= box.height
        assert place.x >= 7 and place.y >= 11 - 1e-6
        assert place.x + place.width <= arranged.right + 1e-6
        assert place.y + place.height <= arranged.bottom + 1e-6


@hypothesis.given(_graphs())
def test_wires_lead_from_source_to_targets_and_to_the_right(graph):
    boxes, nets, num_first = graph
    arranged = layout.arrange(boxes, nets, num_first)
    for net, wire in zip(nets, arranged.wires, strict=True):
        source = arranged.places[net.source]
        (start,) = {
            (x0, y0)
            for x0, y0, _, _ in wire.pieces
            if x0 == source.x + source.width
        }
        assert source.y < start[1] < source.y + source.height
        reached = {start}
        for x0, y0, x1, y1 in sorted(wire.pieces):
            assert x0 < x1
            # A fork may be in the middle of a level piece.
            assert (x0, y0) in reached or any(
                a <= x0 <= c and b == d == y0 for a, b, c, d in wire.pieces
            )
            reached.add((x1, y1))
        assert len(wire.tips) == len(net.targets)
        for target, (x, y) in zip(net.targets, wire.tips, strict=True):
            place = arranged.places[target]
            assert x == place.x and place.y < y < place.y + place.height
            assert (x, y) in reached
            assert place.x > source.x + source.width


@hypothesis.given(_graphs())
def test_no_wire_runs_through_a_box_or_out_of_the_picture(graph):
    arranged = layout.arrange(*graph)
    for wire in arranged.wires:
        for piece in wire.pieces:
            for x, y in _points(piece):
                assert 0 <= x <= arranged.right
                assert -1e-6 <= y <= arranged.bottom + 1e-6
                for place in arranged.places:
                    assert not (
                        place.x + 1e-6 < x < place.x + place.width - 1e-6
                        and place.y < y < place.y + place.height
                    )


@hypothesis.given(_graphs())
def test_the_first_boxes_are_at_the_left_and_results_at_the_right(graph):
    boxes, nets, num_first = graph
    places = layout.arrange(boxes, nets, num_first).places
    users = {net.source for net in nets}
    last = max(place.x for place in places)
    for index, place in enumerate(places):
        assert (place.x == 0) == (index < num_first)
        if index >= num_first and index not in users:
            assert place.x == last


def test_a_constant_stands_next_to_its_user():
    boxes = [layout.Box(10, 10)] * 6  # 0 and the constant 1 lead to 5.
    nets = [(0, (2, 5)), (1, (5,)), (2, (3,)), (3, (4,))]
    arranged = layout.arrange(boxes, [layout.Net(*net) for net in nets], 1)
    columns = [place.x for place in arranged.places]
    assert columns[1] == columns[3] < columns[4] == columns[5]


def test_ends_of_wires_at_a_box_keep_their_distance():
    boxes = [layout.Box(10, 10)] * 9
    nets = [layout.Net(source, (8,)) for source in range(8)]
    arranged = layout.arrange(boxes, nets, 8)
    ends = sorted(tip[1] for wire in arranged.wires for tip in wire.tips)
    assert all(b - a == pytest.approx(10) for a, b in itertools.pairwise(ends))


def test_parallel_chains_are_drawn_without_a_crossing():
    # a0 -> b1 -> c0 and a1 -> b0 -> c1 are crossed in the order given.
    boxes = [layout.Box(10, 10)] * 6
    nets = [
        layout.Net(*net) for net in ((0, (3,)), (1, (2,)), (3, (4,)), (2, (5,)))
    ]
    places = layout.arrange(boxes, nets, 2).places
    above = [places[a].y < places[b].y for a, b in ((0, 1), (3, 2), (4, 5))]
    assert len(set(above)) == 1
