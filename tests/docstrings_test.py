"""Docstrings of public names have their parts, as far as a test can tell.

Sources are read, not imported. That examples run, examples_test.py checks.
"""

import ast
import re

import pytest

from tests import facades

_WITH_EXAMPLE = {
    "cells.CellSpec", "cells.NASCell", "cells.NASRNN", "cells.draw",
    "cells.import_tfa_weights", "cells.load_spec",
    "cells.units_for_parameters",
    "controllers.EMABaseline", "controllers.PolicyGradientController",
    "controllers.RandomController", "controllers.grown",
    "convnets.ConvNetSpec", "convnets.build_convnet", "convnets.load_convnet",
    "data.Corpus", "data.ImageSet", "data.ParallelCorpus", "data.Subwords",
    "search.ChildTrainer", "search.Cluster", "search.Evaluator",
    "search.FunctionEvaluator", "search.search",
    "spaces.Choice", "spaces.Space", "spaces.enas_macro_space",
    "spaces.enas_micro_space", "spaces.enas_recurrent_space",
    "spaces.nas_conv_space", "spaces.tree_space",
    "tasks.LanguageModelConfig", "tasks.LanguageModelTask",
}  # fmt: skip


def _exported():
    """Returns public name -> the definition, a class or a function."""
    found = {}
    for path in sorted(facades.LIBRARY.glob("*/__init__.py")):
        for module, names in facades.named_by(path).items():
            for node in facades.tree_of(module).body:
                if getattr(node, "name", None) in names:
                    found[f"{path.parent.name}.{node.name}"] = node
    return found


_EXPORTED = _exported()


def _parts(node):
    """Returns the sections of a docstring by heading; "" is what is before."""
    text = ast.get_docstring(node) or ""
    first, *others = re.split(r"^([A-Z][a-z ]+):\n", text, flags=re.MULTILINE)
    return {"": first, **dict(zip(others[::2], others[1::2], strict=True))}


def _makers(node):
    """Returns the function itself, or those that make an object of a class."""
    if isinstance(node, ast.FunctionDef):
        return [node]
    names = ("__init__", "__post_init__")
    return [its for its in node.body if getattr(its, "name", None) in names]


def _arguments(node):
    """Returns the names that a caller may give."""
    makers = [its for its in _makers(node) if its.name != "__post_init__"]
    if makers:
        its = makers[0].args
        names = [a.arg for a in (*its.posonlyargs, *its.args, *its.kwonlyargs)]
        return [name for name in names if name != "self"]
    if not any("dataclass" in ast.unparse(d) for d in node.decorator_list):
        return []
    return [n.target.id for n in node.body if isinstance(n, ast.AnnAssign)]


def _settings(node):
    """Returns name -> sentence of the fields that describe themselves."""
    return {
        field.target.id: ast.unparse(field.value.args[1])
        for field in getattr(node, "body", [])
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.value, ast.Call)
        and ast.unparse(field.value.func).endswith("setting")
    }


def _described(section):
    """Returns the arguments that a section names, several on a line too."""
    lines = re.findall(r"^    (\w[\w, ]*):", section, re.MULTILINE)
    return {name for line in lines for name in line.split(", ")}


def test_all_packages_are_looked_at():
    assert len(_EXPORTED) > 110
    assert {"cells.NASRNN", "data.Corpus", "report.read_run"} <= set(_EXPORTED)


@pytest.mark.parametrize("name", sorted(_EXPORTED))
def test_a_public_name_says_what_it_is_and_takes_and_raises(name):
    node, parts = _EXPORTED[name], _parts(_EXPORTED[name])
    assert re.match(r"[A-Z].+\.(\n|$)", parts[""]), "a sentence on one line"
    section = parts.get("Args", "") + parts.get("Attributes", "")
    missing = set(_arguments(node)) - _described(section) - set(_settings(node))
    # The first sentence may say what a function of one argument takes.
    is_said = isinstance(node, ast.FunctionDef) and _arguments(node)[1:] == []
    assert is_said or not missing, f"Args or Attributes lack {sorted(missing)}"
    if any(_raises(maker) for maker in _makers(node)):
        assert re.match(r" +\w+: ", parts["Raises"])
    if isinstance(node, ast.FunctionDef):
        kind = ast.unparse(node.returns)
        says = parts[""].startswith(("Returns", "Yields"))
        says = says or {"Returns", "Yields"} & set(parts)
        assert says or kind == "None", f"does not say what it returns: {kind}"


@pytest.mark.parametrize("name", sorted(_EXPORTED))
def test_a_setting_says_what_it_is_in_a_sentence(name):
    """Settings are frozen dataclasses without a decorator."""
    for field, words in _settings(_EXPORTED[name]).items():
        assert re.fullmatch(r"f?(['\"])[A-Z].+\.\1", words), field


def _raises(maker):
    return any(isinstance(node, ast.Raise) for node in ast.walk(maker))


@pytest.mark.parametrize("name", sorted(_WITH_EXAMPLE))
def test_a_name_that_one_begins_with_has_an_example(name):
    assert ">>> " in _parts(_EXPORTED[name])["Example"]
