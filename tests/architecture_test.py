"""The dependency rule, held against the sources and the BUILD files."""

import ast
import functools
import pathlib
import re

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_PACKAGES = ("nas_keras", "train", "benchmarks", "examples", "tests", "tools")

# Package -> what it may import of the project, itself apart.
_ALLOWED = {
    "cells": {"storage"},
    "convnets": {"cells"},
    "data": set(),
    "report": {"cells", "convnets", "storage"},
    "spaces": {"cells", "convnets"},
    "controllers": {"spaces"},
    "storage": set(),
    "tasks": {"cells", "convnets", "data", "storage"},
    "search": {
        "cells",
        "controllers",
        "convnets",
        "data",
        "spaces",
        "storage",
        "tasks",
    },
}
# Modules, and whole packages, that import neither TensorFlow nor Keras when
# they are loaded.
_WITHOUT_KERAS = (
    "cells/canonical.py",
    "cells/checks.py",
    "cells/diagram.py",
    "cells/drawing.py",
    "cells/equations.py",
    "cells/graph.py",
    "cells/layout.py",
    "cells/layout_grid.py",
    "cells/linearization.py",
    "cells/looks.py",
    "cells/scene.py",
    "cells/sizing.py",
    "cells/spec.py",
    "cells/spec_files.py",
    "controllers/baseline.py",
    "controllers/controller.py",
    "controllers/growth.py",
    "controllers/steps.py",
    "convnets/checks.py",
    "convnets/diagram.py",
    "convnets/drawing.py",
    "convnets/files.py",
    "convnets/net_spec.py",
    "convnets/resnet.py",
    "convnets/spec.py",
    "data",
    "report",
    "search/cluster.py",
    "search/command_line.py",
    "search/configuration.py",
    "search/evaluator.py",
    "search/finished.py",
    "search/image_baseline.py",
    "search/image_kind.py",
    "search/image_presets.py",
    "search/journal.py",
    "search/kind.py",
    "search/kinds.py",
    "search/loop.py",
    "search/named_spaces.py",
    "search/pending.py",
    "search/presets.py",
    "search/process.py",
    "search/progress.py",
    "search/rendezvous.py",
    "search/rewards.py",
    "search/search_config.py",
    "search/sharing.py",
    "search/step_trials.py",
    "search/stopping.py",
    "search/supervisor.py",
    "search/text_kind.py",
    "search/text_presets.py",
    "search/topology.py",
    "search/trial.py",
    "search/workdir.py",
    "spaces",
    "storage",
    "tasks/checked_config.py",
    "tasks/image_batches.py",
    "tasks/image_config.py",
    "tasks/image_grid.py",
    "tasks/image_presets.py",
    "tasks/image_scores.py",
    "tasks/image_task.py",
    "tasks/language_model_config.py",
    "tasks/replicas.py",
    "tasks/schedules.py",
    "tasks/scores.py",
    "tasks/training_config.py",
    "tasks/training_files.py",
    "tasks/training_loop.py",
    "tasks/training_place.py",
    "tasks/sentence_batches.py",
    "tasks/training_presets.py",
    "tasks/translation_config.py",
    "tasks/translation_presets.py",
    "tasks/translation_scores.py",
    "tasks/translation_task.py",
    "tasks/windows.py",
)
# Keras and NumPy, so that other backends than TensorFlow's can use them. These
# modules of theirs, or parts of them, are for TensorFlow's only.
_WITHOUT_TENSORFLOW = (
    "cells",
    "convnets",
    "tasks/compilation.py",
    "tasks/gradients.py",
    "tasks/image_classification.py",
    "tasks/image_grid_training.py",
    "tasks/image_network.py",
    "tasks/image_steps.py",
    "tasks/image_updates.py",
    "tasks/language_model.py",
    "tasks/language_model_epochs.py",
    "tasks/language_model_scoring.py",
    "tasks/language_model_steps.py",
    "tasks/language_model_use.py",
    "tasks/translation_model.py",
    "tasks/training_variables.py",
    "tasks/translation_search.py",
    "tasks/attention.py",
)
_FOR_TENSORFLOW = (
    "compilation.py",
    "fast_path.py",
    "recurrence.py",
    "step_arrays.py",
)


def _sources(*folders):
    return sorted(
        path for name in folders for path in (_ROOT / name).rglob("*.py")
    )


def _imports(path, top_level_only=False):
    """Returns the dotted names that a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    names = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _modules(name):
    path = _ROOT / "nas_keras" / name
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("package", sorted(_ALLOWED))
def test_a_package_imports_only_what_is_below_it(package):
    for path in _sources(f"nas_keras/{package}"):
        for name in _imports(path):
            parts = name.split(".")
            if parts[0] == "nas_keras" and len(parts) > 2:
                allowed = _ALLOWED[package] | {package, "version"}
                assert parts[1] in allowed, (path, name)


def test_every_package_has_a_rule():
    packages = {
        path.parent.name for path in (_ROOT / "nas_keras").glob("*/__init__.py")
    }
    assert packages == set(_ALLOWED)


def test_the_library_imports_no_program_and_no_flags():
    for path in _sources("nas_keras"):
        for name in _imports(path):
            assert not name.startswith(("train", "nas_keras.train")), path
            assert not name.startswith("absl.flags"), path


@pytest.mark.parametrize("name", _WITHOUT_KERAS)
def test_imports_neither_tensorflow_nor_keras(name):
    for path in _modules(name):
        for imported in _imports(path, top_level_only=True):
            top = imported.split(".")[0]
            assert top not in ("tensorflow", "keras"), (path, imported)


@pytest.mark.parametrize("name", _WITHOUT_TENSORFLOW)
def test_layers_and_models_do_not_import_tensorflow(name):
    for path in _modules(name):
        for imported in _imports(path):
            assert (
                imported.split(".")[0] != "tensorflow"
                or path.name in _FOR_TENSORFLOW
            ), (path, imported)


def test_one_module_names_the_distribution_strategy():
    naming = [
        path.name
        for path in _sources("nas_keras", "train")
        if "tf.distribute" in _code_of(path)
    ]
    assert naming == ["cluster.py"]


def _code_of(path):
    """Returns a module without its docstrings and comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""
    return ast.unparse(tree)


def test_every_module_has_a_docstring():
    for path in _sources(*_PACKAGES):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path


# BUILD files: read as Python, whose syntax they share.


@functools.cache
def _targets():
    """Returns label -> (folder, keyword arguments) of all targets."""
    targets = {}
    for path in sorted([_ROOT / "BUILD", *_ROOT.glob("[!.]*/**/BUILD")]):
        folder = path.parent.relative_to(_ROOT).as_posix()
        if folder.split("/")[0] in ("runs", "build"):
            continue
        folder = "" if folder == "." else folder
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            call = node.value
            arguments = {word.arg: word.value for word in call.keywords}
            if "name" in arguments:
                label = f"//{folder}:{arguments['name'].value}"
                targets[label] = (folder, arguments)
    return targets


def _strings(tree):
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def _absolute(label, folder):
    if label.startswith(":"):
        return f"//{folder}{label}"
    if ":" not in label:
        return f"{label}:{label.rsplit('/', 1)[-1]}"
    return label


def test_every_module_is_in_a_target_and_every_source_exists():
    listed = set()
    for folder, arguments in _targets().values():
        for name in _strings(arguments.get("srcs", ast.List([]))):
            if name.endswith(".py"):
                assert (_ROOT / folder / name).is_file(), (folder, name)
                listed.add(f"{folder}/{name}")
    modules = {
        path.relative_to(_ROOT).as_posix() for path in _sources(*_PACKAGES)
    }
    assert modules == listed


def test_every_label_exists_and_is_visible():
    targets = _targets()
    for label, (folder, arguments) in targets.items():
        for key in ("deps", "data", "actual"):
            for name in _strings(arguments.get(key, ast.List([]))):
                wanted = _absolute(name, folder)
                assert wanted in targets, (label, name)
                where, its = targets[wanted]
                visible = _strings(its.get("visibility", ast.List([])))
                assert (
                    where == folder
                    or "//visibility:public" in visible
                    or f"//{folder}:__pkg__" in visible
                ), (label, "may not see", wanted)


def test_build_deps_are_what_the_sources_import():
    for package in _ALLOWED:
        deps = {
            match.group(1)
            for folder, arguments in _targets().values()
            if folder == f"nas_keras/{package}"
            for name in _strings(arguments.get("deps", ast.List([])))
            if (match := re.match(r"//nas_keras/(\w+)", name))
        }
        assert deps <= _ALLOWED[package], (package, deps)


def test_build_deps_of_a_program_or_a_test_have_all_that_it_imports():
    missing = set()
    for label, (folder, arguments) in _targets().items():
        if folder.startswith("nas_keras") or "deps" not in arguments:
            continue
        deps = _strings(arguments["deps"])
        found = {
            re.split("[/:]", dep)[3] for dep in deps if "//nas_keras/" in dep
        }
        for name in _strings(arguments["srcs"]):
            for imported in _imports(_ROOT / folder / name):
                package = imported.removeprefix("nas_keras.").split(".")[0]
                if package in set(_ALLOWED) - found and package != imported:
                    missing.add((label, package))
    assert missing == set()


def test_build_deps_have_the_modules_beside_them_that_sources_import():
    targets, missing = _targets(), set()

    def sources(arguments):
        names = _strings(arguments.get("srcs", ast.List([])))
        return [name for name in names if name.endswith(".py")]

    for label, (folder, arguments) in targets.items():
        given = set(sources(arguments))
        for dep in _strings(arguments.get("deps", ast.List([]))):
            given.update(sources(targets[_absolute(dep, folder)][1]))
        for name in sources(arguments):
            for imported in _imports(_ROOT / folder / name):
                file = imported.split(".")[0] + ".py"
                if (_ROOT / folder / file).is_file() and file not in given:
                    missing.add((label, file))
    assert missing == set()
