"""The BUILD files, read by the programs that they are for.

What they must say of the sources, architecture_test.py checks.
"""

import pathlib
import runpy
import subprocess

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_FILES = sorted(
    path
    for pattern in ("BUILD", "MODULE.bazel", "*/BUILD", "nas_keras/*/**/BUILD")
    for path in _ROOT.glob(pattern)
)


def _program(name):
    path = _ROOT / "build" / "npm" / name
    if not path.is_file():
        pytest.skip(f"{name} is not here: make build/npm/{name}")
    return path


def test_build_files_are_formatted_and_lint_is_clean():
    buildifier = _program("buildifier-linux_amd64")
    options = ["--mode=check", "--lint=warn", "--warnings=all"]
    result = subprocess.run(
        [buildifier, *options, *_FILES], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_bazel_understands_every_target(tmp_path, capfd):
    bazel = _program("bazel-2.1.0-linux-x86_64")
    tool = runpy.run_path(str(_ROOT / "tools" / "bazel_offline.py"))
    status = tool["run"](bazel, "build", ["--nobuild", "//..."], tmp_path)
    assert status == 0, capfd.readouterr().err
