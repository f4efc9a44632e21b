r"""Runs Bazel 2.1.0 on the BUILD files, with no network.

That version is one file, with its Java, which npm has:

  npm pack @bazel/bazel-linux_x64@2.1.0
  tar xf bazel-bazel-linux_x64-2.1.0.tgz
  python tools/bazel_offline.py package/bazel-2.1.0-linux-x86_64 build //...

It would fetch five repositories when it starts, for rules that it has itself:
what is written here stands in for them. It wants a WORKSPACE file, too, where
later versions want MODULE.bazel. All of it, and what Bazel makes, goes to
build/bazel, where links lead to the sources. Tests see the environment of the
Python that runs this. Who has a current Bazel and a network needs none of it.
"""

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

_ROOT = pathlib.Path(__file__).resolve().parents[1]

# Repository -> folder, and those of its rules that Bazel 2.1.0 has itself.
_RULES = {
    "rules_cc": (
        "cc",
        "cc_binary cc_import cc_library cc_libc_top_alias cc_proto_library "
        "cc_test cc_toolchain cc_toolchain_suite objc_library",
    ),
    "rules_java": (
        "java",
        "java_binary java_import java_library java_proto_library java_runtime "
        "java_toolchain",
    ),
    "rules_proto": ("proto", "proto_lang_toolchain proto_library"),
    "rules_python": ("python", "py_binary py_library py_test"),
}
_COVERAGE = "remote_coverage_tools"
_COVERAGE_BUILD = """\
filegroup(
    name = "coverage_report_generator",
    visibility = ["//visibility:public"],
)
"""


def write_repositories(folder: pathlib.Path) -> list[str]:
    """Writes the five repositories; returns the options that name them."""
    files = {f"{_COVERAGE}/BUILD": _COVERAGE_BUILD}
    for name, (package, rules) in _RULES.items():
        lines = [f"{rule} = native.{rule}\n" for rule in rules.split()]
        files[f"{name}/{package}/BUILD"] = ""
        files[f"{name}/{package}/defs.bzl"] = "".join(lines)
    names = [*_RULES, _COVERAGE]
    for name in names:
        files[f"{name}/WORKSPACE"] = f'workspace(name = "{name}")\n'
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return [f"--override_repository={name}={folder / name}" for name in names]


def link_workspace(folder: pathlib.Path) -> None:
    """Makes a workspace of the BUILD files, without .venv and what runs leave.

    Args:
        folder: Of the workspace; it must not exist.
    """
    folder.mkdir(parents=True)
    (folder / "WORKSPACE").write_text("", encoding="utf-8")
    for path in _ROOT.iterdir():
        if path.is_file() or (path / "BUILD").is_file():
            (folder / path.name).symlink_to(path)


def run(
    bazel: str | os.PathLike[str],
    command: str,
    options: Sequence[str],
    folder: pathlib.Path = _ROOT / "build" / "bazel",
) -> int:
    """Runs a command of Bazel's and returns its exit status.

    Args:
        bazel: Path of the program, of version 2.1.0.
        command: `"build"` or `"test"`.
        options: Of the command, and its targets.
        folder: For all that is written, but for what Bazel unpacks of itself.
    """
    workspace = folder / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    link_workspace(workspace)
    arguments = [
        os.path.abspath(bazel),
        "--batch",  # Else a server would stay.
        "--nohome_rc",
        f"--output_base={folder / 'output'}",
        command,
        *write_repositories(folder / "repositories"),
        "--symlink_prefix=/",
        "--spawn_strategy=local",
        "--action_env=PATH",
        "--test_env=PATH",
        *options,
    ]
    path = [os.path.dirname(sys.executable), os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(path)}
    return subprocess.run(arguments, cwd=workspace, env=environment).returncode


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit status."""
    if len(argv) < 4 or not pathlib.Path(argv[1]).is_file():
        print(
            "bazel_offline.py: the path of Bazel, a command and targets must "
            f"be given. Received: {list(argv[1:])}. The top of this file says "
            "where to get Bazel.",
            file=sys.stderr,
        )
        return 2
    return run(argv[1], argv[2], argv[3:])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
