"""Tests of signals to a supervisor, and of what becomes of its workers."""

import contextlib
import re
import signal
import socket
import sys
import textwrap
import time

import pytest

from tests.supervisor_testing import DRIVER
from tests.supervisor_testing import LIMIT_S
from tests.supervisor_testing import PRELUDE
from tests.supervisor_testing import assert_none_is_left
from tests.supervisor_testing import python
from tests.supervisor_testing import starts
from tests.supervisor_testing import supervising

_LISTENING = """
    def leave(number, frame):
        print("worker", index, "got", number, flush=True)
        sys.exit({status})

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    print("ready", os.getpid(), flush=True)
    while True:
        signal.pause()
"""


def _wait_until_ready(process, num_workers):
    """Returns the process ids of the workers."""
    lines = [process.stdout.readline() for _ in range(num_workers)]
    return [int(re.fullmatch(r"ready (\d+)\n", line)[1]) for line in lines]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_to_the_supervisor_ends_the_workers_by_sigterm(
    number, status, tmp_path
):
    worker = _LISTENING.format(status=143)
    with supervising(tmp_path, worker, leave_s=15.0) as process:
        pids = _wait_until_ready(process, 3)
        start_s = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (status, "")
    assert sorted(output.splitlines()) == [
        f"worker {index} got 15" for index in range(3)
    ]
    assert time.monotonic() - start_s < 10  # Not the time limit.
    assert_none_is_left(pids)


def test_a_signal_to_workers_that_are_done_is_no_failure(tmp_path):
    worker = _LISTENING.format(status=0)
    with supervising(tmp_path, worker) as process:
        _wait_until_ready(process, 3)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_workers_that_ignore_sigterm_are_killed(number, status, tmp_path):
    worker = """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", os.getpid(), flush=True)
        while True:
            signal.pause()
    """
    with supervising(tmp_path, worker, leave_s=1.0) as process:
        pids = _wait_until_ready(process, 3)
        start_s = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == status
    assert time.monotonic() - start_s > 0.9
    assert_none_is_left(pids)


def test_a_signal_between_two_starts_ends_the_supervisor(tmp_path):
    worker = """
        count()
        die()
    """
    with supervising(tmp_path, worker, 1, 10) as process:
        # Three seconds lie before the fourth start.
        while "(restart 3 of 10)" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 143
    assert starts(tmp_path) == [3]


def test_a_signal_while_the_workers_end_by_themselves_reaches_them(tmp_path):
    worker = """
        if index == 1:
            while not (folder / "ready").exists():
                time.sleep(0.01)
            print("lost", flush=True)
            sys.exit(144)
        def leave(number, frame):
            print("got", number, flush=True)
            sys.exit(143)

        signal.signal(signal.SIGTERM, leave)
        (folder / "ready").touch()
        while True:
            signal.pause()
    """
    with supervising(tmp_path, worker, 2, leave_s=3.0) as process:
        assert process.stdout.readline() == "lost\n"
        time.sleep(0.5)  # It now waits for the other to leave by itself.
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    # Once: it is not told, but killed at the end of the time limit.
    assert output == "got 15\n"


@pytest.mark.parametrize("num_workers", [1, 3])
def test_workers_end_soon_after_a_supervisor_that_was_killed(
    num_workers, tmp_path
):
    worker = """
        from nas_keras.distribute import exits

        connection = socket.create_connection(("localhost", int(sys.argv[2])))
        parent = int(os.environ["NAS_KERAS_PARENT"])
        exits.leave_with_parent("nas-search", parent)
        connection.sendall(b"x")
        while True:
            signal.pause()
    """
    code = textwrap.dedent(PRELUDE) + textwrap.dedent(worker)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("localhost", 0)))
        server.settimeout(LIMIT_S)
        port = server.getsockname()[1]
        process = stack.enter_context(
            python(
                DRIVER, num_workers, 0, 1.0,
                sys.executable, "-c", code, tmp_path, port,
            )
        )  # fmt: skip
        connections = []
        for _ in range(num_workers):
            connection, _ = server.accept()
            connections.append(stack.enter_context(connection))
            connection.settimeout(LIMIT_S)
            assert connection.recv(1) == b"x"
        process.kill()
        deadline_s = time.monotonic() + 2.0
        for connection in connections:
            connection.settimeout(max(deadline_s - time.monotonic(), 0.01))
            # Once: the supervisor's pipes are gone with it, so printing the
            # reason is a BrokenPipeError, and the worker stays for ever.
            assert connection.recv(1) == b""
