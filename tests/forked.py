"""A program of `train/`, run often: its process is forked, not begun anew.

Importing a program takes a second, most of it the libraries; a fork, some
milliseconds. Each run is a process of its own all the same, with its arguments,
folder, output and exit status. For runs that load no TensorFlow.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

_ROOT = pathlib.Path(__file__).resolve().parents[1]

_SERVER = """
import importlib.util, json, os, sys, traceback

spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = importlib.util.module_from_spec(spec)
sys.modules["program"] = program
spec.loader.exec_module(program)


def run(case):
    os.chdir(case["cwd"])
    for number, path in ((1, case["output"]), (2, case["errors"])):
        os.dup2(os.open(path, os.O_WRONLY), number)
    sys.argv = [spec.origin, *case["arguments"]]
    try:
        program.run()
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    if "tensorflow" in sys.modules:
        print("TensorFlow was loaded", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


for line in sys.stdin:
    child = os.fork()
    if not child:
        run(json.loads(line))
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclasses.dataclass(frozen=True)
class Result:
    """Of a run; in its place, `subprocess.CompletedProcess` would do."""

    returncode: int
    stdout: str
    stderr: str


class Program:
    """Runs a program; to be closed.

    Args:
        name: Of its file in `train/`, without suffix.
    """

    def __init__(self, name: str):
        self._console_script = f"nas-{name.replace('_', '-')}"
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER, _ROOT / "train" / f"{name}.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )  # fmt: skip

    def run(self, *arguments: object, cwd: pathlib.Path) -> Result:
        """Runs the program in a folder."""
        with tempfile.TemporaryDirectory() as folder:
            output, errors = (pathlib.Path(folder) / name for name in "oe")
            output.touch()
            errors.touch()
            case = {
                "arguments": [str(word) for word in arguments],
                "cwd": str(cwd),
                "output": str(output),
                "errors": str(errors),
            }
            self._server.stdin.write(json.dumps(case) + "\n")
            self._server.stdin.flush()
            status = int(self._server.stdout.readline())
            return Result(status, output.read_text(), errors.read_text())

    def refusal(self, *arguments: object, cwd: pathlib.Path) -> str:
        """Runs what the program refuses; returns the one line it says."""
        result = self.run(*arguments, cwd=cwd)
        assert result.returncode == 2, result.stderr
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith(f"{self._console_script}: ")
        return lines[0]

    def help(self) -> str:
        """Returns what the program says of itself, with single blanks."""
        result = self.run("--help", cwd=_ROOT)
        assert result.returncode == 0, result.stderr
        return " ".join(result.stdout.split())

    def close(self) -> None:
        """Ends the process that is forked."""
        self._server.communicate()


def contents(folder: pathlib.Path) -> dict[pathlib.Path, bytes]:
    """Returns what is in each file of a folder."""
    return {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def program(name: str) -> Iterator[Program]:
    """The body of a fixture that is a program."""
    running = Program(name)
    yield running
    running.close()
