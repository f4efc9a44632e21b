"""The dependency rule, held against the sources and the BUILD files.

`LAYERS` in nas_keras/BUILD gives the order of the packages. It is read here
with all BUILD files, as Python, whose syntax they share.
"""

import ast
import dataclasses
import functools
import pathlib
import subprocess
import sys

import pytest

from tests import facades

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_LIBRARY = _ROOT / "nas_keras"
_OUTSIDE = ("train", "benchmarks", "examples", "tests", "tools")
_HEAVY = ("tensorflow", "keras", "tensorflow_datasets")

# Folders and modules that load none of these, with all that they import: what
# says what may be built, what is trained and what was found. Layers, models
# and their training load them.
_LIGHT = (
    "cells/language",
    "cells/**/linearization.py",
    "controllers",
    "convnets",
    "data",
    "distribute",
    "drawing",
    "evaluators",
    "experiment",
    "programs",
    "recipes",
    "report",
    "search",
    "spaces",
    "storage",
    "tasks/*.py",
    "tasks/*/batches.py",
    "tasks/*/config.py",
    "tasks/*/scores.py",
    "tasks/*/task.py",
    "tasks/images/grid.py",
    "tasks/training",
)
# Modules in these folders that do load them -> why.
_BUT = {
    "controllers/losses.py": "gradients of the policy",
    "controllers/policy*.py": "a network that learns",
    "convnets/b*.py": "Keras models of the specs",
    "convnets/drop_path.py": "a Keras layer",
    "convnets/micro.py": "Keras models of the specs",
    "convnets/wirings.py": "Keras models of the specs",
    "data/builders.py": "data sets for TensorFlow Datasets",
    "evaluators/shared*.py": "trains the weights",
    "experiment/run.py": "begins the search",
    "experiment/searches.py": "begins the search",
    "tasks/training/compilation.py": "training steps of Keras models",
    "tasks/training/gradients.py": "training steps of Keras models",
}
# Layers and models are for every backend of Keras. Their modules for
# TensorFlow, which they import in functions where others are used too -> why.
_FOR_EVERY_BACKEND = ("cells/layers", "convnets", "tasks")
_FOR_TENSORFLOW = {
    "cells/layers/loops/tensorflow.py": "the loop of NASRNN",
    "tasks/*/program.py": "one compiled program for a space",
    "tasks/training/compilation.py": "how a backend compiles a step",
    "tasks/training/gradients.py": "how a backend clips a gradient",
    "tasks/translation/steps.py": "replicas of one training",
}


# BUILD files.


@dataclasses.dataclass(frozen=True)
class _Target:
    """A target of Bazel's; `files` are paths from the root."""

    rule: str
    folder: str
    arguments: dict[str, object]

    @property
    def files(self):
        names = self.arguments.get("srcs", [])
        return [str(pathlib.PurePath(self.folder, name)) for name in names]

    def labels(self, *keys):
        """Returns the targets that arguments name, as //folder:name."""
        found = []
        for key in keys:
            value = self.arguments.get(key, [])
            for label in [value] if isinstance(value, str) else value:
                if label.startswith(":"):
                    label = f"//{self.folder}{label}"
                elif ":" not in label:
                    label = f"{label}:{label.rsplit('/', 1)[-1]}"
                found.append(label)
        return found


def _build_files():
    paths = [*_ROOT.glob("BUILD"), *_ROOT.glob("*/BUILD")]
    return sorted({*paths, *_LIBRARY.rglob("BUILD")})


def _glob(folder):
    """Returns Bazel's function for the files of one BUILD file."""

    def matches(pattern):
        names = [
            name.as_posix()
            for path in folder.glob(pattern)
            if path.is_file()
            and (name := path.relative_to(folder))
            # The files of a package below are not of this one.
            and not any(
                (folder / p / "BUILD").is_file() for p in name.parents[:-1]
            )
        ]
        assert names, f"{folder}: nothing is {pattern}"
        return names

    def glob(include, exclude=()):
        left_out = {name for pattern in exclude for name in matches(pattern)}
        found = {name for pattern in include for name in matches(pattern)}
        return sorted(found - left_out)

    return glob


def _read(path, targets):
    """Adds the targets of a BUILD file; returns the names that it assigns."""
    folder = path.parent.relative_to(_ROOT).as_posix().removeprefix(".")

    def add(rule, name, **arguments):
        label = f"//{folder}:{name}"
        assert label not in targets, label
        targets[label] = _Target(rule, folder, arguments)

    def exports_files(names, visibility=("//visibility:public",)):
        for name in names:
            add("file", name, srcs=[name], visibility=visibility)

    names = {
        rule: functools.partial(add, rule)
        for rule in (
            "alias", "filegroup", "package_group",
            "py_binary", "py_library", "py_test",
        )
    } | {
        "exports_files": exports_files,
        "glob": _glob(path.parent),
        "load": lambda *names: None,
        "package": lambda **arguments: None,
    }  # fmt: skip
    exec(path.read_text(encoding="utf-8"), names)
    return names


@functools.cache
def _bazel():
    """Returns all targets by their labels, and `LAYERS` of nas_keras/BUILD."""
    targets = {}
    names = [_read(path, targets) for path in _build_files()]
    (layers,) = [n["LAYERS"] for n in names if "LAYERS" in n]
    return targets, layers


def _layers():
    return _bazel()[1]


def _targets():
    return _bazel()[0]


# Sources.


def _sources(*folders):
    return sorted(
        path for name in folders for path in (_ROOT / name).rglob("*.py")
    )


@functools.cache
def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def _nodes(tree, at_load):
    """Returns the nodes of a module, or those that its import executes."""
    if not at_load:
        return list(ast.walk(tree))
    nodes = [tree]
    for node in nodes:
        nodes += [
            child
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, ast.FunctionDef | ast.Lambda)
            and not (
                isinstance(child, ast.If)
                and "TYPE_CHECKING" in ast.unparse(child.test)
            )
        ]
    return nodes


@functools.cache
def _imports(path, at_load=False):
    """Returns the dotted names that a module imports, as they are written."""
    names = []
    for node in _nodes(_tree(path), at_load):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@functools.cache
def _files():
    """Returns dotted name -> file of all modules of the project."""
    files = {}
    for path in _sources("nas_keras", *_OUTSIDE):
        parts = path.relative_to(_ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        files[name] = path
        if parts[0] == "train":  # In the wheel, it is in the package.
            files[f"nas_keras.{name}"] = path
    return files


@functools.cache
def _imported(path, at_load=False):
    """Returns the modules of the project that a module imports."""
    names = _imports(path, at_load)
    if path.parent == _ROOT / "benchmarks":  # Imports what is beside it.
        names = [*names, *(f"benchmarks.{name}" for name in names)]
    found = set()
    for name in names:
        while name and name not in _files():
            name = name.rpartition(".")[0]
        found.add(_files().get(name))
    return found - {None}


def _is_lazy(path):
    """Says whether a module only names what others have, until it is used."""
    return path.name == "__init__.py" and any(
        name.startswith("lazy_loader") for name in _imports(path)
    )


def _package(path):
    """Returns the package of `LAYERS` that a module is in; `""` at the root."""
    name = path.relative_to(_LIBRARY).as_posix()
    packages = [package for layer in _layers() for package in layer]
    (package,) = [p for p in packages if name.startswith(f"{p}/")] or [""]
    return package


def _rank(package):
    """Returns how far below the highest layer a package, or the root, is."""
    ranks = [i for i, layer in enumerate(_layers()) if package in layer]
    return ranks[0] if package else len(_layers())


def _edges():
    """Returns (module, module of another package that it imports) of all."""
    return [
        (path, module)
        for path in _sources("nas_keras")
        if not _is_lazy(path)
        for module in sorted(_imported(path))
        if module.is_relative_to(_LIBRARY)
        and _package(module) != _package(path)
    ]


def _short(path):
    return path.relative_to(_ROOT).as_posix()


def test_every_package_has_a_rule():
    folders = {path.parent for path in _sources("nas_keras")}
    # What only names modules of its sub-packages is of the whole.
    whole = {_LIBRARY, _LIBRARY / "cells"}
    assert {_package(folder / "x.py") for folder in folders - whole} == {
        package for layer in _layers() for package in layer
    }
    assert _sources("nas_keras/cells")[0] == _LIBRARY / "cells/__init__.py"
    assert [*(_LIBRARY / "cells").glob("*.py")] == [
        _LIBRARY / "cells" / "__init__.py"
    ]


def test_a_package_imports_only_what_is_below_or_beside_it():
    upward = [
        f"{_short(path)} imports {_short(module)}"
        for path, module in _edges()
        if _package(module)
        and (
            not _package(path)
            or _rank(_package(module)) < _rank(_package(path))
        )
    ]
    assert upward == []


@pytest.mark.parametrize("folder_of", [_package, lambda path: path.parent])
def test_packages_and_folders_import_each_other_in_no_cycle(folder_of):
    imports = {}
    for path in _sources("nas_keras"):
        if path.parent != _LIBRARY and not _is_lazy(path):
            imports.setdefault(folder_of(path), set()).update(
                folder_of(module)
                for module in _imported(path)
                if module.is_relative_to(_LIBRARY)
                and module.parent != _LIBRARY
                and folder_of(module) != folder_of(path)
            )
    # What imports none of the others, or none of them imports, is in no cycle.
    while ends := {
        name
        for name, below in imports.items()
        if not below or name not in set().union(*imports.values())
    }:
        imports = {
            name: below - ends
            for name, below in imports.items()
            if name not in ends
        }
    assert imports == {}, "each of these imports another of them"


def test_a_task_imports_no_other_task():
    for path in _sources("nas_keras/tasks"):
        for module in [] if _is_lazy(path) else _imported(path):
            folder = module.parent
            if folder.is_relative_to(_LIBRARY / "tasks"):
                shared = folder.name in ("tasks", "training")
                assert shared or folder == path.parent, (path, module)


def test_modules_are_imported_where_they_are():
    """Names of a package that is lazy hide what is imported."""
    for path in _sources("nas_keras"):
        for module in [] if _is_lazy(path) else _imported(path):
            assert not _is_lazy(module), (path, module)


def test_what_a_package_names_lazily_is_there():
    for path in filter(_is_lazy, _sources("nas_keras")):
        for module, names in facades.named_by(path).items():
            assert set(names) <= _defined(module), (path, module)


def _defined(path):
    """Returns the names that a module defines itself."""
    names = set()
    for node in _tree(path).body:
        names.add(getattr(node, "name", None))
        if isinstance(node, ast.Assign | ast.AnnAssign):
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return names


def test_the_library_imports_no_program_and_only_programs_have_flags():
    for path in _sources("nas_keras"):
        for name in _imports(path):
            top = name.removeprefix("nas_keras.").split(".")[0]
            assert top not in _OUTSIDE, (path, name)
            if _package(path) != "programs":
                assert not name.startswith("absl.flags"), path


# TensorFlow and Keras.


def _chain_to_keras(path):
    """Returns the imports by which a module loads Keras or TensorFlow."""
    chains = {path: [_short(path)]}
    for module in (waiting := [path]):
        for name in _imports(module, at_load=True):
            if name.split(".")[0] in _HEAVY:
                return " -> ".join([*chains[module], name])
        for other in sorted(_imported(module, at_load=True) - set(chains)):
            chains[other] = [*chains[module], _short(other)]
            waiting.append(other)
    return None


def _matching(patterns):
    """Returns the modules of folders, and those of patterns."""
    return {
        path
        for pattern in patterns
        for found in _LIBRARY.glob(pattern)
        for path in ([found] if found.is_file() else found.rglob("*.py"))
    }


def _light():
    return sorted(_matching(_LIGHT) - _matching(_BUT))


def test_what_is_light_imports_nothing_that_loads_keras():
    chains = map(_chain_to_keras, _light())
    assert [chain for chain in chains if chain] == []


def test_what_is_light_does_not_load_keras():
    names = [
        ".".join(path.relative_to(_ROOT).with_suffix("").parts)
        for path in _light()
    ]
    code = f"""
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    loaded = {set(_HEAVY)} & set(sys.modules)
    assert not loaded, f"{{name}} loads {{loaded}}"
"""
    result = subprocess.run(
        [sys.executable, "-c", code, *names],
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("pattern", [*_LIGHT, *_BUT, *_FOR_TENSORFLOW])
def test_every_rule_is_of_modules_that_exist(pattern):
    assert _matching([pattern])


@pytest.mark.parametrize("pattern", _BUT)
def test_no_exception_is_in_vain(pattern):
    for path in _matching([pattern]):
        assert _chain_to_keras(path), path


def test_layers_and_models_do_not_import_tensorflow():
    """Neither do their functions: Keras has other backends, too."""
    naming = {
        path
        for path in _matching(_FOR_EVERY_BACKEND)
        if any(name.split(".")[0] == "tensorflow" for name in _imports(path))
    }
    assert naming == _matching(_FOR_TENSORFLOW)


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
    for path in _sources("nas_keras", *_OUTSIDE):
        assert ast.get_docstring(_tree(path)), path


# BUILD files.


def test_build_files_are_short():
    texts = [path.read_text(encoding="utf-8") for path in _build_files()]
    assert sum(text.count("\n") for text in texts) <= 500


def test_every_module_is_in_a_target_and_every_source_exists():
    listed = {file for target in _targets().values() for file in target.files}
    for file in listed:
        assert (_ROOT / file).is_file(), file
    modules = {_short(path) for path in _sources("nas_keras", *_OUTSIDE)}
    assert modules | {"setup.py"} == {f for f in listed if f.endswith(".py")}


def test_every_test_is_a_target_of_its_own():
    tests = {
        target.files[0]: target.arguments["args"]
        for target in _targets().values()
        if target.rule == "py_test"
    }
    assert tests == {
        f"tests/{name}": [f"$(rootpath {name})"]
        for name in _glob(_ROOT / "tests")(["**/*_test.py"])
    }


def test_every_label_exists_and_is_visible():
    targets = _targets()
    for label, target in targets.items():
        for wanted in target.labels("deps", "data", "actual"):
            assert wanted in targets, (label, wanted)
            its = targets[wanted]
            assert its.folder == target.folder or any(
                _may_see(target.folder, name)
                for name in its.labels("visibility")
            ), (label, "may not see", wanted)


def _may_see(folder, visibility):
    """Says whether a label of `visibility` admits the targets of a folder."""
    package, name = visibility.removeprefix("//").split(":")
    if visibility == "//visibility:public":
        return True
    if name == "__pkg__":
        return folder == package
    if name == "__subpackages__":
        return f"{folder}/".startswith(f"{package}/")
    return f"//{folder}" in _targets()[visibility].arguments["packages"]


def _library_targets():
    return {
        package: _targets()[f"//nas_keras/{package}:{package.split('/')[-1]}"]
        for layer in _layers()
        for package in layer
    }


def test_a_package_is_visible_to_what_is_above_or_beside_it():
    for package, target in _library_targets().items():
        for user in _library_targets():
            sees = any(
                _may_see(f"nas_keras/{user}", name)
                for name in target.labels("visibility")
            )
            assert sees == (_rank(user) <= _rank(package)), (user, package)


@pytest.mark.parametrize("package", sorted(_library_targets()))
def test_build_deps_are_what_the_sources_import(package):
    target = _library_targets()[package]
    imported = {
        f"//nas_keras/{_package(module)}"
        if _package(module)
        else "//nas_keras:base"
        for path, module in _edges()
        if _short(path) in target.files
    }
    deps = sorted(imported, key=lambda label: label.replace(":", " "))
    assert target.arguments["deps"] == deps, f"{package}: deps = {deps}"


def test_a_target_has_all_modules_that_its_sources_import():
    targets = _targets()

    @functools.cache
    def files(label):
        deps = targets[label].labels("deps")
        return set(targets[label].files).union(*map(files, deps))

    missing = {
        (label, _short(module))
        for label, target in targets.items()
        if target.rule.startswith("py_")
        for file in target.files
        if not _is_lazy(_ROOT / file)
        for module in _imported(_ROOT / file)
        if _short(module) not in files(label)
    }
    assert missing == set()
