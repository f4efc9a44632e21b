"""Docstrings of public names have their parts, as far as a test can tell.

Sources are read, not imported. That examples run, examples_test.py checks.
"""

import ast
import pathlib
import re

import pytest

_LIBRARY = pathlib.Path(__file__).resolve().parents[1] / "nas_keras"
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
    for path in sorted(_LIBRARY.glob("*/__init__.py")):
        package = path.parent.name
        for module, names in _modules_of(path).items():
            source = (_LIBRARY / package / f"{module}.py").read_text("utf-8")
            for node in ast.parse(source).body:
                if getattr(node, "name", None) in names:
                    found[f"{package}.{node.name}"] = node
    return found


def _modules_of(path):
    """Returns the names that a package exports, by module of the package."""
    modules = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "submod_attrs":
            modules |= ast.literal_eval(node.value)
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".")[-1]
            modules.setdefault(module, []).extend(a.name for a in node.names)
    return modules


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
    missing = set(_arguments(node)) - _described(section)
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


def _raises(maker):
    return any(isinstance(node, ast.Raise) for node in ast.walk(maker))


@pytest.mark.parametrize("name", sorted(_WITH_EXAMPLE))
def test_a_name_that_one_begins_with_has_an_example(name):
    assert ">>> " in _parts(_EXPORTED[name])["Example"]
