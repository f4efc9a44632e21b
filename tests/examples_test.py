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


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.name)
def test_the_links_of_a_page_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)", path.read_text("utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target
