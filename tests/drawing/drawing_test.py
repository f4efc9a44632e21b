"""Tests of `draw`: the files that it and its program write."""

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

import nas_keras
from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.cells.language.spec import published_cells
from nas_keras.drawing import canvas
from nas_keras.drawing.cells import diagram_of
from nas_keras.drawing.cells import draw
from nas_keras.drawing.cells import scene_of
from tests import forked
from tests.drawing_testing import specs
from tests.drawing_testing import uses_in

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SVG = "{http://www.w3.org/2000/svg}"


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
    text = canvas.Text(0, 0, "a < b & c", "#000000", 13)
    svg = canvas.to_svg(canvas.Scene("<&>", 10, 10, [text]))
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
    width, height = _png_size(canvas.to_png(canvas.Scene("t", 1e6, 1e3, [])))
    assert 29_000 < width <= 30_000
    assert height == pytest.approx(width / 1e3, abs=1)


def test_every_kind_of_shape_leaves_ink_in_a_png():
    from matplotlib import image

    shapes = [
        canvas.Rectangle(0, 0, 80, 20, "#ffffff", "#ffffff", 0, 0),
        canvas.Rectangle(2, 2, 16, 16, "#ff0000", "#ff0000"),
        canvas.Line(((22, 10, 38, 10),), "#00ff00", 6.0, (0.0, 4.0, 4.0)),
        canvas.Polygon(((42, 2), (58, 2), (58, 18), (42, 18)), "#0000ff"),
        canvas.Text(62, 16, "W", "#000000", 16.0),
    ]
    data = canvas.to_png(canvas.Scene("t", 80, 20, shapes))
    pixels = image.imread(io.BytesIO(data))
    for part in range(4):
        assert pixels[:, 40 * part : 40 * part + 40, :3].min() < 0.2, part
    dashes = pixels[20, 48:72, 0] < 0.5
    assert 2 <= sum(a != b for a, b in itertools.pairwise(dashes)) <= 4


@hypothesis.given(specs())
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
        for ends, use in uses_in(spec).items()
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


@pytest.fixture(scope="module")
def program():
    yield from forked.program("draw")


def test_the_program_draws(program, tmp_path):
    nas_keras.save_spec(load_spec("gru"), tmp_path / "mine.json")
    result = program.run("mine.json", "mine.svg", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "Drawing: mine.svg\n"
    draw("gru", tmp_path / "gru.svg")
    drawn = (tmp_path / "mine.svg").read_bytes()
    assert drawn == (tmp_path / "gru.svg").read_bytes()


def test_the_program_lists_the_published_cells(program, tmp_path):
    result = program.run("--list", cwd=tmp_path)
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
def test_the_program_refuses_bad_arguments(
    program, arguments, pattern, tmp_path
):
    (tmp_path / "bad.json").write_text("{\n\n")
    (tmp_path / "folder.svg").mkdir()
    before = sorted(tmp_path.rglob("*"))
    result = program.run(*arguments, cwd=tmp_path)
    assert result.returncode == 2 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("nas-draw: ")
    assert re.search(pattern, line), line
    assert sorted(tmp_path.rglob("*")) == before


def test_help_shows_the_examples_and_the_flag(program, tmp_path):
    result = program.run("--help", cwd=tmp_path)
    assert result.returncode == 0
    for word in ("Examples:", "nas-draw lstm lstm.svg", "--[no]list"):
        assert word in result.stdout
