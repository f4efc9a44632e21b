"""Processes of Python that are forked, not begun anew.

Importing a program of `train/` takes a second, TensorFlow four; a fork, some
milliseconds. Each run is a process of its own all the same, with its arguments,
folder, environment, output and exit status.

`Program` is a program of `train/` in runs that load no TensorFlow. `start` and
`run` are for whatever loads it: they fork a process that has imported
TensorFlow and Keras, has run nothing with them, and knows nothing of this
package.
"""

import dataclasses
import gc
import json
import multiprocessing
import os
import pathlib
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from collections.abc import Mapping

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


# Of all tests of this process; begun by the first of them.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tensorflow", "keras"])


def _become(command, cwd, env, files):
    """Runs in this process what `python COMMAND` would."""
    gc.freeze()  # To look for garbage in all of TensorFlow takes 0.4 s.
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for number, path in zip((1, 2), files, strict=True):
        os.dup2(os.open(path, os.O_WRONLY), number)
    if command[0] == "-c":
        sys.argv = ["-c", *command[2:]]
        exec(compile(command[1], "-c", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = list(command)
        runpy.run_path(command[0], run_name="__main__")


class Process:
    """Of Python; in its place, `subprocess.Popen` would do.

    Args:
        command: What would follow `python`: a file and its arguments, or `-c`,
            code and its arguments.
        cwd: The folder to run in.
        env: The variables of the process.
    """

    def __init__(
        self,
        command: tuple[object, ...],
        cwd: str | pathlib.Path,
        env: Mapping[str, str],
    ):
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder)
        self._files = [pathlib.Path(folder, name) for name in "oe"]
        for path in self._files:
            path.touch()
        words = tuple(str(word) for word in command)
        self._process = _FORKS.Process(
            target=_become,
            args=(words, cwd, dict(env), self._files),
            daemon=True,  # It ends with the tests, whatever they do.
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """Returns output and errors, once the process has ended."""
        self._process.join(timeout)
        if self.returncode is None:
            self.kill()
            raise TimeoutError(self._files[1].read_text())
        output, errors = (path.read_text() for path in self._files)
        return output, errors


def start(
    *command: object,
    cwd: str | pathlib.Path = ".",
    env: Mapping[str, str] | None = None,
) -> Process:
    """Returns a process that was begun; see `Process`.

    Args:
        *command: Of `Process`.
        cwd: Of `Process`.
        env: The variables of the process; those of the tests by default.
    """
    return Process(command, cwd, os.environ if env is None else env)


def run(
    *command: object,
    cwd: str | pathlib.Path = ".",
    env: Mapping[str, str] | None = None,
) -> Result:
    """Returns the result of a process that has ended; see `start`."""
    process = start(*command, cwd=cwd, env=env)
    output, errors = process.communicate()
    return Result(process.returncode, output, errors)
