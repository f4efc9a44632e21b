"""Tests of `draw`: what a drawing shows, where it is, and what is written."""

import io
import itertools
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
from xml.etree import ElementTree

import hypothesis
import pytest
from hypothesis import strategies as st

import nas_keras
from nas_keras.cells import layout
from nas_keras.cells import scene
from nas_keras.cells.diagram import broken_into_lines
from nas_keras.cells.diagram import diagram_of
from nas_keras.cells.drawing import draw
from nas_keras.cells.drawing import scene_of
from nas_keras.cells.graph import FUNCTIONS
from nas_keras.cells.spec import CellSpec
from nas_keras.cells.spec import load_spec
from nas_keras.cells.spec import published_cells

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_PROGRAM = _ROOT / "train" / "draw.py"
_SVG = "{http://www.w3.org/2000/svg}"
_FORMS = (
    "{a}",
    "linear({a})",
    "tanh({a})",
    "(1 - {a}) * linear({a})",
    "linear(sigmoid({a}) * {b})",
    "sigmoid(linear({a}) + linear({b})) * {b}",
    "mean({a}, linear(relu(linear({b}))), 0.5, -{a})",
)


@st.composite
def _specs(make):
    """Cells of all kinds: up to 3 states and 15 equations."""
    states = make(st.sampled_from([("h",), ("h", "c"), ("m", "h", "c")]))
    names, equations, unused = ["x", *states], [], []
    for index in range(make(st.integers(0, 12))):
        terms = make(st.lists(st.sampled_from(_FORMS), min_size=1, max_size=3))
        text = []
        for form in terms:
            a, b = (make(st.sampled_from(names)) for _ in range(2))
            text.append(form.format(a=a, b=b))
            used = {a, b} if "{b}" in form else {a}
            unused = [name for name in unused if name not in used]
        name = f"v{index}"
        equations.append(f"{name} = {' + '.join(text)}")
        names.append(name)
        unused.append(name)
    for state in states:
        terms = [make(st.sampled_from(names))]
        if state == states[0]:
            terms += unused
        equations.append(f"next_{state} = {' * '.join(terms)}")
        names.append(f"next_{state}")
    return CellSpec("any", equations, states)


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


def _overlap(a, b):
    return (
        a.x < b.x + b.width
        and b.x < a.x + a.width
        and a.y < b.y + b.height
        and b.y < a.y + a.height
    )


# The layout.


@hypothesis.given(_graphs())
def test_no_two_boxes_overlap_and_none_is_smaller_than_asked(graph):
    boxes, nets, num_first = graph
    arranged = layout.arrange(boxes, nets, num_first, origin=(7, 11))
    for a, b in itertools.combinations(arranged.places, 2):
        assert not _overlap(a, b)
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


# What is shown.


def _names_used(equation):
    right = equation.split("=", 1)[1]
    words = re.findall(r"(?<![\w.])[A-Za-z_]\w*", right)
    return {word for word in words if word not in FUNCTIONS}


def _uses(spec):
    diagram = diagram_of(spec)
    name = [value.name for value in diagram.values]
    return {(name[use.source], name[use.target]): use for use in diagram.uses}


@hypothesis.given(_specs())
def test_every_name_in_an_equation_is_a_use(spec):
    wanted = {
        (used, equation.split("=")[0].strip())
        for equation in spec.equations
        for used in _names_used(equation)
    }
    assert set(_uses(spec)) == wanted


def test_uses_tell_what_is_inside_linear():
    spec = CellSpec(
        "ways",
        [
            "a = linear(x) + linear(h * tanh(c))",
            "next_c = c * linear(c) + a",
            "next_h = linear(a) * next_c",
        ],
    )
    uses = _uses(spec)
    ways = {
        names: (use.is_linear, use.is_elementwise)
        for names, use in uses.items()
    }
    assert ways == {
        ("x", "a"): (True, False),
        ("h", "a"): (True, False),
        ("c", "a"): (True, False),
        ("c", "next_c"): (True, True),
        ("a", "next_c"): (False, True),
        ("a", "next_h"): (True, False),
        ("next_c", "next_h"): (False, True),
    }


def _memory(spec):
    return {
        names: use.memory_of
        for names, use in _uses(spec).items()
        if use.memory_of
    }


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("lstm", "c next_c next_h"),
        ("nascell", "c injected next_c next_h"),
        ("gru", "h next_h"),
        ("rhn_5", "h s1 s2 s3 s4 next_h"),
        ("simple_rnn", ""),
    ],
)
def test_the_memory_path_of_published_cells(name, path):
    names = path.split()
    wanted = {pair: (names[0],) for pair in itertools.pairwise(names)}
    assert _memory(load_spec(name)) == wanted


def test_the_memory_path_ends_where_only_matrices_lead_on():
    spec = CellSpec(
        "ends",
        ["a = tanh(h)", "b = a * x", "next_h = linear(b) + linear(a)"],
        ["h"],
    )
    assert _memory(spec) == {}


def test_a_use_can_carry_the_memory_of_several_states():
    spec = CellSpec("both", ["a = h + c", "next_c = a", "next_h = a * h"])
    assert _memory(spec) == {
        ("h", "a"): ("h",),
        ("c", "a"): ("c",),
        ("a", "next_c"): ("h", "c"),
        ("a", "next_h"): ("h", "c"),
        ("h", "next_h"): ("h",),
    }


def _reached_without_linear(graph, state):
    """Returns the next states that a state reaches in the graph."""
    reached = set()
    for index, node in enumerate(graph.nodes):
        if (node.operation, node.value) == ("name", state):
            reached.add(index)
        elif node.operation != "linear" and reached & set(node.operands):
            reached.add(index)
    return {
        f"next_{name}"
        for name, output in zip(graph.states, graph.outputs, strict=True)
        if output in reached
    }


@hypothesis.given(_specs())
def test_the_memory_path_is_that_of_the_graph_of_operations(spec):
    memory = _memory(spec)
    next_states = {f"next_{state}" for state in spec.states}
    for state in spec.states:
        wires = {ends for ends, states in memory.items() if state in states}
        reached = {state}
        for _ in wires:
            reached |= {target for source, target in wires if source in reached}
        assert {end for wire in wires for end in wire} <= reached
        wanted = _reached_without_linear(spec.graph, state)
        assert reached & next_states == wanted
        # And every wire leads on to a next state.
        for _, target in wires:
            assert target in next_states or any(
                source == target for source, _ in wires
            )


@pytest.mark.parametrize(
    ("right", "text"),
    [
        ("linear(x)", "W·x"),
        ("linear(x * h)", "W·(x * h)"),
        ("linear(-x)", "W·(-x)"),
        ("linear(tanh(x))", "W·tanh(x)"),
        ("linear(linear(x))", "W·W·x"),
        ("((x)) + max( h,x )  # A comment", "x + max(h, x)"),
    ],
)
def test_the_text_of_an_equation(right, text):
    spec = CellSpec("text", [f"a = {right}", "next_h = a * h * x"], ["h"])
    assert diagram_of(spec).values[2].text == text


def test_a_long_text_is_broken_at_outer_operators():
    text = "h + (tanh(W·x + W·h) - h) * sigmoid(W·x + W·h)"
    assert broken_into_lines(text) == [
        "h + (tanh(W·x + W·h) - h)",
        "* sigmoid(W·x + W·h)",
    ]


@hypothesis.given(
    st.lists(st.integers(1, 60).map("v".__mul__), min_size=1, max_size=60)
)
def test_lines_are_short_and_hold_all_of_the_text(names):
    text = " + ".join(names)
    lines = broken_into_lines(text)
    longest = max(26, int((4 * len(text)) ** 0.5))
    assert all(len(line) <= longest for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


# The picture.


def _rectangles(picture):
    """Returns the boxes by the name that stands in them first, in bold."""
    paper, *boxes = (
        shape for shape in picture.shapes if isinstance(shape, scene.Rectangle)
    )
    texts = [s for s in picture.shapes if isinstance(s, scene.Text)]
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


@hypothesis.given(_specs())
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
        if isinstance(shape, scene.Text):
            assert _is_in(shape, paper)
    for (a, _), (b, _) in itertools.combinations(boxes.values(), 2):
        assert not _overlap(a, b)


@hypothesis.given(_specs())
def test_every_use_ends_in_its_mark_at_the_box(spec):
    picture = scene_of(spec)
    _, boxes = _rectangles(picture)
    marks = [s for s in picture.shapes if isinstance(s, scene.Polygon)]
    uses = _uses(spec)
    for name, (box, _) in boxes.items():
        tips = {
            tuple(y for x, y in mark.points if x == box.x)
            for mark in marks
            if max(x for x, _ in mark.points) == box.x
            and box.y <= mark.points[0][1] <= box.y + box.height
        }
        assert len(tips) == sum(target == name for _, target in uses)


@pytest.mark.parametrize("name", ["lstm", "nascell", "enas_ptb"])
def test_lines_of_memory_are_thick_and_in_the_colour_of_their_state(name):
    spec = load_spec(name)
    picture = scene_of(spec)
    _, boxes = _rectangles(picture)
    states = {state for states in _memory(spec).values() for state in states}
    thick = {
        line.stroke
        for line in picture.shapes
        if isinstance(line, scene.Line)
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
            if isinstance(shape, scene.Text) and shape.size == 12
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
        text = scene.Text(0, 0, "W·" * 50, "#000000", 13)
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


# The files.


@pytest.mark.parametrize("name", published_cells())
def test_the_svg_is_whole_and_nothing_is_clipped(name, tmp_path):
    draw(name, tmp_path / "cell.svg")
    root = ElementTree.parse(tmp_path / "cell.svg").getroot()
    assert root.tag == f"{_SVG}svg" and root.get("role") == "img"
    assert root.findtext(f"{_SVG}title") == f"The cell {name}"
    left, top, width, height = map(float, root.get("viewBox").split())
    assert (left, top) == (0, 0)
    assert (root.get("width"), root.get("height")) == (
        f"{width:g}",
        f"{height:g}",
    )
    texts = root.findall(f"{_SVG}text")
    for text in texts:
        end = float(text.get("x")) + 0.62 * float(text.get("font-size")) * len(
            text.text
        )
        assert end <= width and 12 <= float(text.get("y")) <= height
    shown = {text.text for text in texts if text.get("font-weight") == "bold"}
    assert {name, "x", "h", "next_h"} <= shown
    content = (tmp_path / "cell.svg").read_text(encoding="utf-8")
    assert content.count("http") == 1  # The name of the format.
    assert "url(" not in content and "<script" not in content


@pytest.mark.parametrize("name", published_cells())
def test_the_drawings_of_the_documentation_are_those_of_today(name, tmp_path):
    draw(name, tmp_path / "cell.svg")
    committed = _ROOT / "docs" / "drawings" / f"{name}.svg"
    assert committed.read_bytes() == (tmp_path / "cell.svg").read_bytes(), (
        "make them anew as CONTRIBUTING.md tells"
    )
    page = (_ROOT / "docs" / "cells.md").read_text(encoding="utf-8")
    assert f"![{name}](drawings/{name}.svg)" in page


def test_there_is_no_drawing_of_a_cell_that_is_gone():
    files = (_ROOT / "docs" / "drawings").iterdir()
    assert sorted(file.name for file in files) == [
        f"{name}.svg" for name in published_cells()
    ]


def test_text_is_escaped_in_svg():
    text = scene.Text(0, 0, "a < b & c", "#000000", 13)
    svg = scene.to_svg(scene.Scene("<&>", 10, 10, [text]))
    root = ElementTree.fromstring(svg)
    assert root.findtext(f"{_SVG}title") == "<&>"
    assert root.findtext(f"{_SVG}text") == "a < b & c"


def _png_size(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR"
    return struct.unpack(">II", data[16:24])


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_the_png_has_twice_the_size_of_the_svg(name, tmp_path):
    draw(name, tmp_path / "cell.png")
    picture = scene_of(load_spec(name))
    size = _png_size((tmp_path / "cell.png").read_bytes())
    assert size == pytest.approx((2 * picture.width, 2 * picture.height), abs=1)


def test_a_huge_png_is_scaled_down():
    width, height = _png_size(scene.to_png(scene.Scene("t", 1e6, 1e3, [])))
    assert 29_000 < width <= 30_000
    assert height == pytest.approx(width / 1e3, abs=1)


def test_every_kind_of_shape_leaves_ink_in_a_png():
    from matplotlib import image

    shapes = [
        scene.Rectangle(0, 0, 80, 20, "#ffffff", "#ffffff", 0, 0),
        scene.Rectangle(2, 2, 16, 16, "#ff0000", "#ff0000"),
        scene.Line(((22, 10, 38, 10),), "#00ff00", 6.0, (0.0, 4.0, 4.0)),
        scene.Polygon(((42, 2), (58, 2), (58, 18), (42, 18)), "#0000ff"),
        scene.Text(62, 16, "W", "#000000", 16.0),
    ]
    data = scene.to_png(scene.Scene("t", 80, 20, shapes))
    pixels = image.imread(io.BytesIO(data))
    for part in range(4):
        assert pixels[:, 40 * part : 40 * part + 40, :3].min() < 0.2, part
    dashes = pixels[20, 48:72, 0] < 0.5
    assert 2 <= sum(a != b for a, b in itertools.pairwise(dashes)) <= 4


@hypothesis.given(_specs())
def test_mermaid_has_all_names_and_uses(spec):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "cell.mmd")
        draw(spec, path)
        lines = path.read_text("utf-8").splitlines()
    assert lines[:4] == ["---", 'title: "any"', "---", "flowchart LR"]
    labels = {}
    for line in lines:
        if match := re.fullmatch(r'  (v\d+)\["(.*)"\]', line):
            text = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), match[2])
            labels[match[1]] = text
    assert list(labels.values()) == [
        value.name if value.is_given else f"{value.name} = {value.text}"
        for value in diagram_of(spec).values
    ]
    arrows = {}
    for line in lines:
        if match := re.fullmatch(r"  (v\d+) (-->|-\.->|==>) (v\d+)", line):
            ends = (labels[match[n]].split(" ")[0] for n in (1, 3))
            arrows[tuple(ends)] = match[2]
    assert arrows == {
        ends: "==>"
        if use.memory_of
        else "-.->"
        if use.is_elementwise
        else "-->"
        for ends, use in _uses(spec).items()
    }


def test_mermaid_sees_no_markdown_in_a_label(tmp_path):
    spec = CellSpec(
        "md", ["_a_ = x * h", "a__b = _a_ * 2", "next_h = a__b * h"], ["h"]
    )
    draw(spec, tmp_path / "cell.mmd")
    text = (tmp_path / "cell.mmd").read_text("utf-8")
    assert '["#95;a#95; = x #42; h"]' in text
    assert '["a#95;#95;b = #95;a#95; #42; 2"]' in text
    assert '["next_h = a#95;#95;b #42; h"]' in text


@pytest.mark.parametrize("suffix", [".svg", ".mmd"])
def test_the_same_cell_gives_the_same_bytes_in_every_process(suffix, tmp_path):
    code = (
        "import sys, nas_keras\n"
        "nas_keras.draw('nascell', sys.argv[1])\n"
        "loaded = {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    files = []
    for seed in ("1", "2"):
        files.append(tmp_path / f"{seed}{suffix}")
        environment = {
            **os.environ, "PYTHONPATH": str(_ROOT), "PYTHONHASHSEED": seed,
        }  # fmt: skip
        subprocess.run(
            [sys.executable, "-c", code, files[-1]], check=True, env=environment
        )
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_path_a_name_and_a_spec_give_the_same_drawing(tmp_path):
    nas_keras.save_spec(load_spec("gru"), tmp_path / "mine.json")
    for number, cell in enumerate(
        ("gru", str(tmp_path / "mine.json"), tmp_path / "mine.json",
         load_spec("gru"))
    ):  # fmt: skip
        nas_keras.draw(cell, str(tmp_path / f"{number}.svg"))
    contents = {file.read_bytes() for file in tmp_path.glob("*.svg")}
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("cell", "path", "pattern"),
    [
        (
            "lstm",
            "a.pdf",
            r"path must end in one of .*\.svg.* Received: .*a.pdf",
        ),
        ("lstm", "a", r"path must end in one of .*\.mmd.* Received: path='a'"),
        ("lstm", "a.SVG", r"path must end in one of .*Received: path='a.SVG'"),
        (
            "lstm",
            3,
            r"path must be a string or a path. Received: path=3 of .*int",
        ),
        ("lstm", "none/a.svg", r"path must be in a folder that exists.*none/a"),
        ("nope", "a.svg", r"No cell is named 'nope'. Published cells: .*lstm"),
        (["lstm"], "a.svg", r"given by a name or a path. Received: \['lstm'\]"),
    ],
)
def test_bad_arguments_are_refused(cell, path, pattern, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=pattern):
        draw(cell, path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_survives_what_fails(tmp_path, monkeypatch):
    file = tmp_path / "cell.png"
    file.write_text("mine")
    with pytest.raises(ValueError, match="nope"):
        draw("nope", file)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"matplotlib.*nas_keras\[report\]"):
        draw("lstm", file)
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


# The program.


def _run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(_PROGRAM), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )


def test_the_program_draws(tmp_path):
    nas_keras.save_spec(load_spec("gru"), tmp_path / "mine.json")
    result = _run("mine.json", "mine.svg", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "Drawing: mine.svg\n"
    draw("gru", tmp_path / "gru.svg")
    drawn = (tmp_path / "mine.svg").read_bytes()
    assert drawn == (tmp_path / "gru.svg").read_bytes()


def test_the_program_lists_the_published_cells(tmp_path):
    result = _run("--list", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == published_cells()


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ([], r"CELL and PATH must be given.*\[\]. Example: nas-draw lstm"),
        (["lstm"], r"CELL and PATH must be given.*\['lstm'\]"),
        (["lstm", "a.svg", "b.svg"], r"CELL and PATH must be given.*b\.svg"),
        (["nope", "a.svg"], r"No cell is named 'nope'"),
        (["bad.json", "a.svg"], r"bad.json: .*not JSON"),
        (["lstm", "a.pdf"], r"path must end in one of .*'a.pdf'"),
        (["lstm", "none/a.svg"], r"folder that exists.*'none/a.svg'"),
        (["lstm", "folder.svg"], r"Is a directory.*folder.svg"),
        (["--list", "lstm"], r"--list takes no arguments.*\['lstm'\]"),
        (["--lisp"], r"[Uu]nknown command line flag 'lisp'"),
    ],
    ids=lambda value: " ".join(value)[:30],
)
def test_the_program_refuses_bad_arguments(arguments, pattern, tmp_path):
    (tmp_path / "bad.json").write_text("{\n\n")
    (tmp_path / "folder.svg").mkdir()
    before = sorted(tmp_path.rglob("*"))
    result = _run(*arguments, cwd=tmp_path)
    assert result.returncode == 2 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("nas-draw: ")
    assert re.search(pattern, line), line
    assert sorted(tmp_path.rglob("*")) == before


def test_help_shows_the_examples_and_the_flag(tmp_path):
    result = _run("--help", cwd=tmp_path)
    assert result.returncode == 0
    for word in ("Examples:", "nas-draw lstm lstm.svg", "--[no]list"):
        assert word in result.stdout
