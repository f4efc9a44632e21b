"""Tests of `scene_of`: the boxes, texts, marks and lines of a picture."""

import itertools
from xml.etree import ElementTree

import hypothesis
import pytest

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.drawing import canvas
from nas_keras.drawing.cells import diagram_of
from nas_keras.drawing.cells import draw
from nas_keras.drawing.cells import scene_of
from tests.drawing_testing import memory_in
from tests.drawing_testing import overlap
from tests.drawing_testing import specs
from tests.drawing_testing import uses_in


def _rectangles(picture):
    """Returns the boxes by the name that stands in them first, in bold."""
    paper, *boxes = (
        shape for shape in picture.shapes if isinstance(shape, canvas.Rectangle)
    )
    texts = [s for s in picture.shapes if isinstance(s, canvas.Text)]
    found = {}
    for box in boxes:
        inside = [text for text in texts if _is_in(text, box)]
        assert inside[0].bold and not any(text.bold for text in inside[1:])
        found[inside[0].text] = (box, inside)
    return paper, found


def _is_in(text, box):
    return (
        box.x + 8 <= text.x
        and text.x + text.width + 8 <= box.x + box.width
        and box.y + 8 <= text.y - 0.8 * text.size
        and text.y + 0.25 * text.size + 8 <= box.y + box.height
    )


@hypothesis.given(specs())
def test_all_text_lies_in_its_box_and_all_boxes_in_the_picture(spec):
    picture = scene_of(spec)
    paper, boxes = _rectangles(picture)
    assert (paper.width, paper.height) == (picture.width, picture.height)
    names = ["x", *spec.states]
    names += [equation.split("=")[0].strip() for equation in spec.equations]
    assert sorted(boxes) == sorted(names)
    values = {value.name: value.text for value in diagram_of(spec).values}
    for name, (_, (_, *lines)) in boxes.items():
        assert " ".join(line.text for line in lines) == values[name]
    for shape in picture.shapes:
        if isinstance(shape, canvas.Text):
            assert _is_in(shape, paper)
    for (a, _), (b, _) in itertools.combinations(boxes.values(), 2):
        assert not overlap(a, b)


@hypothesis.given(specs())
def test_every_use_ends_in_its_mark_at_the_box(spec):
    picture = scene_of(spec)
    _, boxes = _rectangles(picture)
    marks = [s for s in picture.shapes if isinstance(s, canvas.Polygon)]
    uses = uses_in(spec)
    for name, (box, _) in boxes.items():
        tips = {
            tuple(y for x, y in mark.points if x == box.x)
            for mark in marks
            if max(x for x, _ in mark.points) == box.x
            and box.y <= mark.points[0][1] <= box.y + box.height
        }
        assert len(tips) == sum(target == name for _, target in uses)


@pytest.mark.parametrize("name", ["lstm", "nascell", "enas_ptb"])
def test_lines_of_memory_are_thick_and_in_the_color_of_their_state(name):
    spec = load_spec(name)
    picture = scene_of(spec)
    _, boxes = _rectangles(picture)
    states = {state for states in memory_in(spec).values() for state in states}
    thick = {
        line.stroke
        for line in picture.shapes
        if isinstance(line, canvas.Line)
        and line.width == 3.0
        and line.stroke != "#ffffff"
    }
    assert thick == {boxes[state][0].stroke for state in states}
    for state in spec.states:
        box, following = boxes[state][0], boxes[f"next_{state}"][0]
        assert box.stroke == following.stroke and box.fill == following.fill


def test_the_legend_explains_what_is_there_and_nothing_else():
    texts = {
        name: {
            shape.text
            for shape in scene_of(load_spec(name)).shapes
            if isinstance(shape, canvas.Text) and shape.size == 12
        }
        for name in ("simple_rnn", "lstm", "enas_ptb")
    }
    linear = "W·v: each W a weight matrix of its own"
    assert texts["simple_rnn"] == {linear}
    assert texts["lstm"] == {linear, "elementwise", "memory of c"}
    assert texts["enas_ptb"] == {linear, "memory of h", "both"}


def test_an_inked_character_is_no_wider_than_estimated():
    from matplotlib import font_manager
    from matplotlib import textpath

    for weight in ("normal", "bold"):
        font = font_manager.FontProperties(
            family="DejaVu Sans Mono", weight=weight
        )
        drawn = textpath.TextPath((0, 0), "W·" * 50, size=13, prop=font)
        text = canvas.Text(0, 0, "W·" * 50, "#000000", 13)
        assert drawn.get_extents().xmax < text.width


_EDGE_CASES = {
    "one": (["next_h = h"], ["h"]),
    "constant": (["k = 0.5", "m = k + 1", "next_h = m * h"], ["h"]),
    "long_name": ([f"{'a' * 999} = linear(x)", f"next_h = {'a' * 999}"], ["h"]),
    "long_text": (
        [f"next_h = mean({', '.join(['tanh(linear(x) * h)'] * 180)})"],
        ["h"],
    ),
    "states": (
        [f"next_{s} = {s} + h" for s in ("h", *map("s{}".format, range(15)))],
        ["h", *map("s{}".format, range(15))],
    ),
    "chain": (
        ["v0 = x"]
        + [f"v{i + 1} = tanh(v{i}) * v{i // 2}" for i in range(510)]
        + ["next_h = v510"],
        ["h"],
    ),
    "wide": (
        [f"v{i} = tanh(linear(x) + h)" for i in range(511)]
        + [f"next_h = mean({', '.join(f'v{i}' for i in range(511))})"],
        ["h"],
    ),
}


@pytest.mark.parametrize("name", _EDGE_CASES)
def test_cells_of_extreme_size_are_drawn(name, tmp_path):
    equations, states = _EDGE_CASES[name]
    spec = CellSpec("n" * 100, equations, states)
    paper, boxes = _rectangles(scene_of(spec))
    assert len(boxes) == 1 + len(states) + len(equations)
    draw(spec, tmp_path / "cell.svg")
    ElementTree.parse(tmp_path / "cell.svg")
