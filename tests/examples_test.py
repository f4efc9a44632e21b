"""The examples of docstrings, README and docs run."""

import doctest
import importlib
import pathlib
import re

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_MODULES = sorted(
    path.relative_to(_ROOT).with_suffix("").as_posix().replace("/", ".")
    for path in (_ROOT / "nas_keras").rglob("*.py")
    if path.name != "__init__.py"
)
_PAGES = sorted([_ROOT / "README.md", *(_ROOT / "docs").glob("*.md")])
# All others, too, lead readers on.
_LINKING = sorted([*_ROOT.glob("*.md"), *_ROOT.glob("[!.]*/*.md")])
_LINK = re.compile(r"\]\(([^)#\s]*)#?([^)\s]*)\)")
_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", _MODULES)
def test_the_examples_of_docstrings_run(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.name)
def test_the_python_blocks_of_a_page_run(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in _BLOCK.findall(path.read_text(encoding="utf-8")):
        exec(compile(block, str(path), "exec"), names)


def _anchors(text):
    """Returns what GitHub calls the headings of a page."""
    headings = re.findall("^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading) for heading in headings)
    return {heading.lower().replace(" ", "-") for heading in kept}


@pytest.mark.parametrize(
    "path", _LINKING, ids=lambda path: path.relative_to(_ROOT).as_posix()
)
def test_the_links_of_a_page_lead_somewhere(path):
    links = _LINK.findall(_FENCED.sub("", path.read_text("utf-8")))
    for target, anchor in links:
        if target.startswith("http"):
            continue
        found = path.parent / target if target else path
        assert found.exists(), target
        if anchor:
            assert anchor in _anchors(found.read_text("utf-8")), target + anchor


def test_a_heading_has_the_anchor_of_github():
    text = "# One, `two` & three-four\n```sh\n# A comment\n```\n## 5: six\n"
    assert _anchors(text) == {"one-two--three-four", "5-six"}
