"""What tests of processes share: Python that is run, and surely ended.

A supervisor runs in a process of its own, and its workers are a few lines of
Python without TensorFlow.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
LIMIT_S = 20.0  # Of what must not take long.
DRIVER = """
    import sys
    from nas_keras.programs import supervisor

    num_workers, max_restarts, leave_s, *command = sys.argv[1:]
    supervisor._LEAVE_S = float(leave_s)
    sys.exit(
        supervisor.Supervisor(
            command, int(num_workers), int(max_restarts)
        ).run()
    )
"""
# What every worker begins with: nothing is left behind, whatever goes wrong.
PRELUDE = """
    import json, os, pathlib, signal, socket, sys, time

    signal.alarm(60)
    config = json.loads(os.environ["TF_CONFIG"])
    index = config["task"]["index"]
    folder = pathlib.Path(sys.argv[1])

    def count():
        "Returns how often this worker was started before."
        with open(folder / f"starts_{index}", "a+") as file:
            file.write("x")
        return (folder / f"starts_{index}").stat().st_size - 1

    def die():
        os.kill(os.getpid(), signal.SIGKILL)
"""


def environ(**variables):
    return {**os.environ, "PYTHONPATH": str(_ROOT), **variables}


@contextlib.contextmanager
def python(code, *arguments, **options):
    """Runs a program with pipes; ends it, whatever becomes of the test."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        **{
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": environ(),
            **options,
        },
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def supervising(
    folder, worker, num_workers=3, max_restarts=3, leave_s=0.5, **options
):
    code = textwrap.dedent(PRELUDE) + textwrap.dedent(worker)
    return python(
        DRIVER, num_workers, max_restarts, leave_s,
        sys.executable, "-c", code, folder, **options,
    )  # fmt: skip


def supervise(folder, worker, *arguments, **options):
    """Returns exit status, standard output and standard error."""
    with supervising(folder, worker, *arguments, **options) as process:
        output, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
    return process.returncode, output, errors


def starts(folder):
    """Returns how often each worker was started."""
    paths = sorted(folder.glob("starts_*"))
    return [path.stat().st_size for path in paths]


def assert_none_is_left(pids):
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
