"""What a user installs: the wheel, built from the sdist, away from here.

The wheel goes into an environment of its own, which sees the libraries of this
one, but not its `nas_keras`.
"""

import configparser
import os
import pathlib
import shutil
import site
import subprocess
import sys
import venv
import zipfile

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
# Not of the project: environments, runs, what was built.
_FOREIGN = shutil.ignore_patterns(
    ".*", "runs", "build", "dist", "*.egg-info", "__pycache__"
)
# Folder here -> folder in the package, and the files of it that go there.
_MAPPED = {
    "nas_keras": ("nas_keras", ("**/*.py",)),
    "train": ("nas_keras/train", ("*.py",)),
    "cells": ("nas_keras/cells/published", ("*.json", "README.md")),
    "convnets": ("nas_keras/convnets/published", ("*.json", "README.md")),
}
_PROGRAMS = (
    "nas-draw",
    "nas-image-classification",
    "nas-language-model",
    "nas-report",
    "nas-search",
    "nas-translation",
)
_HEAVY = ("keras", "tensorflow", "tensorflow_datasets", "matplotlib", "scipy")
_LOADED = f"print('loaded:', [m for m in {_HEAVY} if m in sys.modules])\n"


def _build(kind, source, folder):
    """Builds as pip does, but with the setuptools of this environment."""
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-c",
         "import sys\nfrom setuptools import build_meta\n"
         f"build_meta.build_{kind}(sys.argv[1])", str(folder)],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    (built,) = folder.iterdir()
    return built


def _install(wheel, folder):
    """Returns the Python of a new environment with the wheel and our rest."""
    venv.create(folder, symlinks=os.name != "nt")
    python = folder / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check",
         "--python", python, "install", "--quiet", "--no-deps", "--no-index",
         "--no-compile", wheel],
        check=True,
    )  # fmt: skip
    (packages,) = folder.glob("lib/python*/site-packages")
    # Folders that a .pth file names are searched for modules, not for .pth
    # files: that of the editable install of this environment has no effect.
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
    return python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip(
        "setuptools", "77", reason="Needs pip install 'nas_keras[test]'."
    )
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(_ROOT, folder / "tree", ignore=_FOREIGN)
    sdist = _build("sdist", folder / "tree", folder / "sdist")
    (folder / "source").mkdir()
    subprocess.run(["tar", "xf", sdist], cwd=folder / "source", check=True)
    (source,) = (folder / "source").iterdir()
    return _build("wheel", source, folder / "wheel")


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    pytest.importorskip("pip", reason="Needs python -m ensurepip.")
    return _install(wheel, tmp_path_factory.mktemp("environment") / "new")


def _environment(home):
    """Returns the variables of a process that knows of no other Python."""
    return {"PATH": os.environ["PATH"], "HOME": str(home)}


def _run(python, code, *arguments, cwd):
    result = subprocess.run(
        [python, "-W", "error", "-c", f"import sys\n{code}", *arguments],
        capture_output=True, text=True, cwd=cwd,
        env=_environment(cwd),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def _files_of_the_tree():
    return {
        f"{target}/{path.relative_to(_ROOT / folder).as_posix()}"
        for folder, (target, patterns) in _MAPPED.items()
        for pattern in patterns
        for path in (_ROOT / folder).glob(pattern)
    }


def test_the_wheel_of_the_sdist_holds_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == _files_of_the_tree()
    (folder,) = {name.split("/")[0] for name in about}
    assert folder.startswith("nas_keras-")
    assert f"{folder}/licenses/LICENSE" in about


def test_the_programs_of_the_wheel_are_these(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
    entries = configparser.ConfigParser()
    entries.read_string(archive.read(name).decode())
    assert sorted(entries["console_scripts"]) == sorted(_PROGRAMS)


@pytest.mark.parametrize("program", _PROGRAMS)
def test_a_program_shows_its_help_and_loads_nothing_heavy(
    program, python, tmp_path
):
    code = (
        "import runpy\n"
        "sys.argv = sys.argv[1:]\n"
        "try:\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
    )
    script = str(python.with_name(program))
    output = _run(python, code + _LOADED, script, "--help", cwd=tmp_path)
    for words in ("Example", program, "Exit status:", "loaded: []\n"):
        assert words in output


def test_a_program_runs_in_another_folder(python, tmp_path):
    draw = python.with_name("nas-draw")
    subprocess.run(
        [draw, "lstm", "out.svg"],
        cwd=tmp_path, check=True, env=_environment(tmp_path),
    )  # fmt: skip
    assert "</svg>" in (tmp_path / "out.svg").read_text("utf-8")


def test_what_is_published_loads_from_the_wheel_without_keras(python, tmp_path):
    code = """
from nas_keras import cells, convnets
for name in cells.published_cells():
    print(cells.load_spec(name).name)
for name in convnets.published_convnets():
    print(convnets.load_convnet(name).name)
for name, module in sorted(sys.modules.items()):
    if name.split('.')[0] == 'nas_keras':
        assert module.__file__.startswith(sys.prefix), module.__file__
import nas_keras
print(nas_keras.__file__)
"""
    *names, file, loaded = _run(
        python, code + _LOADED, cwd=tmp_path
    ).splitlines()
    published = [
        path.stem
        for folder in ("cells", "convnets")
        for path in sorted((_ROOT / folder).glob("*.json"))
    ]
    assert names == published
    environment = python.parents[1]
    assert pathlib.Path(file).is_relative_to(environment), file
    assert loaded == "loaded: []"
