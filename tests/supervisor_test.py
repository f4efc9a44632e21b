"""Tests of the supervisor, of leaving, and of progress sent to a supervisor.

The supervisor runs in a process of its own, and its workers are a few lines
of Python without TensorFlow.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import termios
import textwrap
import time

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.search.progress import ReceivedProgress
from nas_keras.search.progress import SentProgress

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_LIMIT_S = 20.0  # Of what must not take long.
_DRIVER = """
    import sys
    from nas_keras.search import supervisor

    num_workers, max_restarts, leave_s, *command = sys.argv[1:]
    supervisor._LEAVE_S = float(leave_s)
    sys.exit(
        supervisor.Supervisor(
            command, int(num_workers), int(max_restarts)
        ).run()
    )
"""
# What every worker begins with: nothing is left behind, whatever goes wrong.
_PRELUDE = """
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


def _environment(**variables):
    return {**os.environ, "PYTHONPATH": str(_ROOT), **variables}


@contextlib.contextmanager
def _python(code, *arguments, **options):
    """Runs a program with pipes; ends it, whatever becomes of the test."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        **{
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": _environment(),
            **options,
        },
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _supervising(
    folder, worker, num_workers=3, max_restarts=3, leave_s=0.5, **options
):
    code = textwrap.dedent(_PRELUDE) + textwrap.dedent(worker)
    return _python(
        _DRIVER, num_workers, max_restarts, leave_s,
        sys.executable, "-c", code, folder, **options,
    )  # fmt: skip


def _supervise(folder, worker, *arguments, **options):
    """Returns exit status, standard output and standard error."""
    with _supervising(folder, worker, *arguments, **options) as process:
        output, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
    return process.returncode, output, errors


def _starts(folder):
    """Returns how often each worker was started."""
    paths = sorted(folder.glob("starts_*"))
    return [path.stat().st_size for path in paths]


def _own(errors):
    """Returns what the supervisor itself has said."""
    return [
        line for line in errors.splitlines() if line.startswith("nas-search: ")
    ]


def _assert_none_is_left(pids):
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def _restarting(status, restart, max_restarts):
    return (
        f"nas-search: a worker ended with status {status}; starting all again "
        f"(restart {restart} of {max_restarts})."
    )


def _gave_up(max_restarts):
    return (
        f"nas-search: gave up after {max_restarts} restarts with nothing "
        "finished in between."
    )


# The supervisor.


@pytest.mark.parametrize("num_workers", [1, 3])
def test_the_status_is_0_when_all_workers_end_with_0(num_workers, tmp_path):
    status, _, errors = _supervise(tmp_path, "count()", num_workers)
    assert (status, errors) == (0, "")
    assert _starts(tmp_path) == [1] * num_workers


def test_every_worker_finds_its_place_and_its_supervisor(tmp_path):
    worker = """
        (folder / f"{index}.json").write_text(json.dumps([
            config, os.environ["NAS_KERAS_PARENT"], os.getppid(),
            os.getpgid(0) == os.getpid(), sys.stdin.read(),
        ]))
    """
    with _supervising(tmp_path, worker) as process:
        process.communicate(timeout=30)
    assert process.returncode == 0
    addresses = None
    for index in range(3):
        config, parent, parent_is, has_own_group, given_input = json.loads(
            (tmp_path / f"{index}.json").read_text()
        )
        assert config["task"] == {"type": "worker", "index": index}
        addresses = addresses or config["cluster"]["worker"]
        assert config["cluster"] == {"worker": addresses}
        assert int(parent) == parent_is == process.pid
        assert has_own_group and given_input == ""
    assert len(set(addresses)) == 3
    for address in addresses:
        assert re.fullmatch(r"localhost:\d+", address)


def test_workers_that_take_longer_are_waited_for(tmp_path):
    worker = """
        if index:
            while not (folder / "slow").exists():
                time.sleep(0.05)
        else:
            time.sleep(1.0)  # More than leave_s.
            (folder / "slow").touch()
    """
    assert _supervise(tmp_path, worker)[0] == 0


@pytest.mark.parametrize("status", [1, 2, 74, 127])
def test_a_status_below_128_ends_all_and_is_that_of_the_whole(status, tmp_path):
    worker = f"""
        (folder / f"pid_{{index}}").write_text(str(os.getpid()))
        count()
        if index == 1:
            while len(list(folder.glob("pid_*"))) < 3:
                time.sleep(0.01)
            print("--seed is wrong", file=sys.stderr)
            sys.exit({status})
        signal.pause()
    """
    found, output, errors = _supervise(tmp_path, worker)
    assert (found, output) == (status, "")
    assert errors == "[worker 1] --seed is wrong\n"
    assert _starts(tmp_path) == [1, 1, 1]
    pids = [int(path.read_text()) for path in tmp_path.glob("pid_*")]
    assert len(pids) == 3
    _assert_none_is_left(pids)


def test_a_permanent_status_goes_before_those_of_the_peers_it_ended(tmp_path):
    worker = """
        (folder / f"began_{index}").touch()
        if index == 0:  # As one that has lost a peer.
            while not (folder / "failed").exists():
                time.sleep(0.01)
            sys.exit(144)
        while len(list(folder.glob("began_*"))) < 2:
            time.sleep(0.01)
        (folder / "failed").touch()
        time.sleep(0.3)  # The supervisor sees the peer first.
        sys.exit(2)
    """
    status, _, errors = _supervise(tmp_path, worker, 2)
    assert (status, errors) == (2, "")


@pytest.mark.parametrize(
    ("end", "status"),
    [("die()", 137), ("sys.exit(144)", 144), ("sys.exit(128)", 128),
     ("os.abort()", 134)],
)  # fmt: skip
def test_all_are_started_again_when_one_is_lost(end, status, tmp_path):
    worker = f"""
        if count() == 0:
            if index == 1:
                while len(list(folder.glob("starts_*"))) < 3:
                    time.sleep(0.01)
                {end}
            signal.pause()
    """
    found, output, errors = _supervise(tmp_path, worker)
    assert (found, output) == (0, "")
    assert errors.splitlines() == [_restarting(status, 1, 3)]
    assert _starts(tmp_path) == [2, 2, 2]


@pytest.mark.parametrize("max_restarts", [0, 1, 2])
def test_it_gives_up_after_too_many_restarts(max_restarts, tmp_path):
    worker = """
        count()
        if index == 1:
            die()
    """
    status, output, errors = _supervise(tmp_path, worker, 2, max_restarts)
    assert (status, output) == (137, "")
    restarts = range(1, max_restarts + 1)
    assert errors.splitlines() == [
        *(_restarting(137, restart, max_restarts) for restart in restarts),
        _gave_up(max_restarts),
    ]
    assert _starts(tmp_path)[1] == max_restarts + 1


_SENDING = """
    from nas_keras.search.progress import SentProgress

    number = count()
    with SentProgress("search", 4, "children") as progress:
        progress.advance({item}, 0.5, reward=0.25)
    if number < 3:
        die()
"""


def test_what_was_finished_in_between_begins_the_count_of_restarts_anew(
    tmp_path,
):
    worker = _SENDING.format(item="number")
    status, output, errors = _supervise(tmp_path, worker, 1, 1)
    assert status == 0
    assert errors.splitlines() == [_restarting(137, 1, 1)] * 3
    assert _starts(tmp_path) == [4]
    assert "search 1/4  best 0.25  " in output


def test_what_is_told_again_is_nothing_finished(tmp_path):
    worker = _SENDING.format(item="0")
    status, _, errors = _supervise(tmp_path, worker, 1, 1)
    assert status == 137
    # The first start finished something, the second nothing.
    assert errors.splitlines() == [_restarting(137, 1, 1), _gave_up(1)]
    assert _starts(tmp_path) == [2]


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
    with _supervising(tmp_path, worker, leave_s=15.0) as process:
        pids = _wait_until_ready(process, 3)
        start_s = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (status, "")
    assert sorted(output.splitlines()) == [
        f"worker {index} got 15" for index in range(3)
    ]
    assert time.monotonic() - start_s < 10  # Not the time limit.
    _assert_none_is_left(pids)


def test_a_signal_to_workers_that_are_done_is_no_failure(tmp_path):
    worker = _LISTENING.format(status=0)
    with _supervising(tmp_path, worker) as process:
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
    with _supervising(tmp_path, worker, leave_s=1.0) as process:
        pids = _wait_until_ready(process, 3)
        start_s = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == status
    assert 0.9 < time.monotonic() - start_s < 10
    _assert_none_is_left(pids)


def test_a_signal_between_two_starts_ends_the_supervisor(tmp_path):
    worker = """
        count()
        die()
    """
    with _supervising(tmp_path, worker, 1, 10) as process:
        # Three seconds lie before the fourth start.
        while "(restart 3 of 10)" not in process.stderr.readline():
            assert process.poll() is None
        start_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 143
    assert time.monotonic() - start_s < 2
    assert _starts(tmp_path) == [3]


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
    with _supervising(tmp_path, worker, 2, leave_s=3.0) as process:
        assert process.stdout.readline() == "lost\n"
        time.sleep(0.5)  # It now waits for the other to leave by itself.
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    # Once: it is not told, but killed at the end of the time limit.
    assert output == "got 15\n"


def test_progress_of_several_workers_is_one_display_and_counted_once(tmp_path):
    worker = """
        from nas_keras.search.progress import SentProgress

        with SentProgress("search", 4, "children", 3) as progress:
            for item in range(4):
                progress.advance(item, 1.5, reward=item / 4)
    """
    status, output, errors = _supervise(tmp_path, worker)
    assert (status, errors) == (0, "")
    first, last = output.splitlines()
    assert first.startswith("search 1/4  best 0  7,200 children/h  ")
    assert last == "search 4/4  best 0.75  7,200 children/h  0:00:00 left"


def test_phases_follow_one_another(tmp_path):
    worker = """
        from nas_keras.search.progress import SentProgress

        for label in ("search", "random", "retrain"):
            with SentProgress(label, 2, "children") as progress:
                for item in range(2):
                    progress.advance(item, 1.0, reward=0.5)
    """
    _, output, _ = _supervise(tmp_path, worker, 1)
    assert [line.split("  ")[0] for line in output.splitlines()] == [
        f"{label} {num}/2"
        for label in ("search", "random", "retrain")
        for num in (1, 2)
    ]


def test_what_else_a_worker_prints_passes_through(tmp_path):
    lines = ["a table", "", '{"reward": 1}', "[1, 2]", "3", "ä {", "\\x1b[1m"]
    worker = f"""
        for line in {lines!r}:
            print(line, flush=True)
        print("last words", end="")
    """
    status, output, errors = _supervise(tmp_path, worker, 1)
    assert (status, errors) == (0, "")
    assert output.splitlines() == [*lines, "last words"]


def test_nothing_that_was_printed_is_lost(tmp_path):
    worker = """
        for number in range(5_000):
            print(index, number)
            print(index, number, file=sys.stderr)
        sys.exit(2)
    """
    status, output, errors = _supervise(tmp_path, worker, 2, leave_s=15.0)
    assert status == 2
    for index in (0, 1):
        numbers = [
            int(line.split()[1])
            for line in output.splitlines()
            if line.startswith(f"{index} ")
        ]
        assert numbers == list(range(5_000))
        begin = f"[worker {index}] {index} "
        assert errors.count(begin) == 5_000


def test_bytes_that_are_no_text_are_shown_somehow(tmp_path):
    worker = """
        for stream in (sys.stdout, sys.stderr):
            stream.buffer.write(b"caf\\xe9\\n")
    """
    status, output, errors = _supervise(tmp_path, worker, 1)
    assert (status, output) == (0, "caf\ufffd\n")
    assert errors == "[worker 0] caf\ufffd\n"


def test_the_chatter_of_tensorflow_is_dropped(tmp_path):
    worker = """
        for line in (
            "WARNING: All log messages before absl::InitializeLog() is called "
            "are written to STDERR",
            "I0000 00:00:1700000000.123456   12 cpu_feature_guard.cc:210] This",
            "W0000 00:00:1700000000.123456   12 gpu_device.cc:2341] No GPU",
            "E0927 12:00:00.123456   12 search.py:1] lost",
            "Indeed",
        ):
            print(line, file=sys.stderr)
        print("I0000 00:00 of standard output")
    """
    _, output, errors = _supervise(tmp_path, worker, 1)
    assert output == "I0000 00:00 of standard output\n"
    begins = [line[:17] for line in errors.splitlines()]
    assert begins == [
        "[worker 0] W0000 ", "[worker 0] E0927 ", "[worker 0] Indeed",
    ]  # fmt: skip


@pytest.mark.parametrize("num_workers", [1, 3])
def test_workers_end_soon_after_a_supervisor_that_was_killed(
    num_workers, tmp_path
):
    worker = """
        from nas_keras.search import stopping

        connection = socket.create_connection(("localhost", int(sys.argv[2])))
        parent = int(os.environ["NAS_KERAS_PARENT"])
        stopping.leave_with_parent("nas-search", parent)
        connection.sendall(b"x")
        while True:
            signal.pause()
    """
    code = textwrap.dedent(_PRELUDE) + textwrap.dedent(worker)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("localhost", 0)))
        server.settimeout(_LIMIT_S)
        port = server.getsockname()[1]
        process = stack.enter_context(
            _python(
                _DRIVER, num_workers, 0, 1.0,
                sys.executable, "-c", code, tmp_path, port,
            )
        )  # fmt: skip
        connections = []
        for _ in range(num_workers):
            connection, _ = server.accept()
            connections.append(stack.enter_context(connection))
            connection.settimeout(_LIMIT_S)
            assert connection.recv(1) == b"x"
        process.kill()
        deadline_s = time.monotonic() + 2.0
        for connection in connections:
            connection.settimeout(max(deadline_s - time.monotonic(), 0.01))
            # Once: the supervisor's pipes are gone with it, so printing the
            # reason is a BrokenPipeError, and the worker stays for ever.
            assert connection.recv(1) == b""


# Leaving.

_LEFT = "what is finished is kept, and the same command goes on from here.\n"


@pytest.mark.parametrize("status", [0, 2, 144])
def test_leaving_says_why_and_loses_no_output(status):
    code = f"""
        import atexit
        from nas_keras.search import stopping

        atexit.register(print, "not the usual end")
        print("half a line", end="")
        try:
            stopping.leave("program", {status}, "enough")
        finally:
            print("not the usual end")
    """
    with _python(code) as process:
        output, errors = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == status
    assert output == "half a line"
    left = _LEFT if status >= 128 else "what is finished is kept.\n"
    assert errors == f"program: enough; {left}"


# Once: what cannot be printed keeps the process from ending: from another
# thread, such as those of signals, of the parent and of the lifelines, for
# ever.
@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_leaving_needs_nobody_who_listens(stream, colour, in_thread):
    code = f"""
        import signal, sys, threading
        from nas_keras.search import stopping

        signal.alarm(5)
        sys.stdin.readline()
        print("half a line", end="")
        arguments = ("program", 144, "enough")
        if {in_thread}:
            threading.Thread(target=stopping.leave, args=arguments).start()
            while True:
                signal.pause()
        stopping.leave(*arguments)
    """
    variables = {"PYTHONUNBUFFERED": ""}
    if colour:
        variables["FORCE_COLOR"] = "1"
    with _python(
        code, stdin=subprocess.PIPE, env=_environment(**variables)
    ) as process:
        getattr(process, stream).close()
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert process.wait(_LIMIT_S) == 144


_WAITS = {
    "Python's sleep": "time.sleep(60)",
    "a lock of Python's": "lock = threading.Lock(); lock.acquire(); "
    "lock.acquire()",
    "a loop": "while True: pass",
    # Not interrupted by a signal, and no handler of Python's runs meanwhile.
    "native code": "libc.pthread_mutex_lock(mutex); "
    "libc.pthread_mutex_lock(mutex)",
}
_WAITING = """
    import ctypes, signal, sys, threading, time
    from nas_keras.search import stopping

    signal.alarm(10)
    libc = ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(256)
    libc.pthread_mutex_init(mutex, None)
    stopping.leave_on_signals("program")
    print("ready", flush=True)
    {wait}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="libc of Linux")
@pytest.mark.parametrize("wait", _WAITS.values(), ids=_WAITS)
@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_signal_ends_a_process_wherever_its_main_thread_is(
    number, status, reason, wait
):
    with _python(_WAITING.format(wait=wait)) as process:
        assert process.stdout.readline() == "ready\n"
        start_s = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == status
    assert errors == f"program: {reason}; {_LEFT}"
    assert output == ""
    assert time.monotonic() - start_s < 3


@pytest.mark.skipif(sys.platform != "linux", reason="FIONREAD of a pipe")
def test_a_signal_ends_a_process_whose_output_nobody_reads():
    code = _WAITING.format(wait="while True: print('x' * 1000)")
    environment = _environment(PYTHONUNBUFFERED="")
    with _python(code, env=environment) as process:
        num_before = -1
        while num_before != (num := _num_unread(process.stdout)) or not num:
            num_before = num
            time.sleep(0.1)  # Until the pipe is full.
        process.send_signal(signal.SIGTERM)
        # Once: it waits until what was printed before can be flushed.
        assert process.wait(5) == 143


def _num_unread(pipe):
    data = fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(data, sys.byteorder)


def test_other_signals_do_not_end_a_process():
    wait = """
    import time

    got = []
    signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    print("set", flush=True)
    while not got:  # Not pause(): the signal may have come before it.
        time.sleep(0.01)
    print("usr1")
    sys.exit(7)
    """
    with _python(_WAITING.format(wait=wait)) as process:
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "set\n"
        process.send_signal(signal.SIGUSR1)
        output, errors = process.communicate(timeout=_LIMIT_S)
    assert (process.returncode, output, errors) == (7, "usr1\n", "")


def test_a_process_whose_parent_is_gone_already_ends_at_once():
    code = """
        import os, signal
        from nas_keras.search import stopping

        signal.alarm(10)
        stopping.leave_with_parent("program", os.getppid() + 1)
        signal.pause()
    """
    with _python(code) as process:
        _, errors = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 144
    assert errors == (
        f"program: the process that started this one is gone; {_LEFT}"
    )


def test_a_process_whose_parent_is_there_goes_on():
    code = """
        import os, sys, time
        from nas_keras.search import stopping

        stopping.leave_with_parent("program", os.getppid())
        time.sleep(1.2)  # It has looked twice.
        sys.exit(7)
    """
    with _python(code) as process:
        _, errors = process.communicate(timeout=_LIMIT_S)
    assert (process.returncode, errors) == (7, "")


# Progress that is sent and received.


def _sent(capsys, *arguments, items=()):
    """Returns the lines that a worker sends of a phase."""
    with SentProgress(*arguments) as progress:
        for item in items:
            progress.advance(*item)
    return capsys.readouterr().out.splitlines()


def test_what_is_sent_is_a_line_of_json_each(capsys):
    lines = _sent(
        capsys, "search", 4, "children", 2,
        items=[(0, 1.5, 0.25), (1, 2.0), (2, 0.0, None, "perplexity 3.1")],
    )  # fmt: skip
    assert list(map(json.loads, lines)) == [
        {"progress": ["search", 4, "children", 2]},
        {"progress": ["search", 0, 1.5, 0.25, None]},
        {"progress": ["search", 1, 2.0, None, None]},
        {"progress": ["search", 2, 0.0, None, "perplexity 3.1"]},
    ]


def test_what_is_sent_is_shown_as_if_it_were_not(capsys):
    lines = _sent(
        capsys, "search", 2, "children",
        items=[(0, 1.0, 0.25), (1, 1.0, 0.5)],
    )  # fmt: skip
    received = ReceivedProgress()
    for line in lines:
        assert received.receive(line)
    received.close()
    assert received.num_items == 2
    assert capsys.readouterr().out.splitlines() == [
        "search 1/2  best 0.25  3,600 children/h  0:00:01 left",
        "search 2/2  best 0.5  3,600 children/h  0:00:00 left",
    ]


def test_items_told_of_by_several_are_counted_once(capsys):
    phase = ("search", 3, "children")
    lines = _sent(capsys, *phase, items=[(k, 1.0, k / 2) for k in range(3)])
    received = ReceivedProgress()
    for line in lines:
        for _ in range(3):  # Workers.
            assert received.receive(line)
    assert received.num_items == 3
    received.close()
    for line in lines:  # All again, after a restart.
        assert received.receive(line)
    assert received.num_items == 3
    output = capsys.readouterr().out
    assert output.count("search 3/3  best 1  ") == 2


def test_late_items_of_a_phase_that_is_over_are_not_shown(capsys):
    first = _sent(capsys, "search", 2, "children", items=[(0, 1.0, 0.5)])
    second = _sent(capsys, "random", 2, "children", items=[(0, 1.0, 0.25)])
    received = ReceivedProgress()
    for line in (*first, second[0], first[1], second[1]):
        assert received.receive(line)
    assert received.num_items == 2
    lines = [line[:10] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["search 1/2", "random 1/2"]


@pytest.mark.parametrize(
    "line",
    ["", "text", "{", "3", "null", "[]", '["progress"]', '"progress"', "{}",
     '{"Progress": ["search", 4, "children", 2]}', '{"progress": 3}',
     '{"progress": null}', '{"progress": []}', '{"progress": {}}'],
)  # fmt: skip
def test_other_lines_are_no_progress(line):
    received = ReceivedProgress()
    assert not received.receive(line)
    assert received.num_items == 0


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


# Once: what a program prints under the key "progress" with other values
# ends the supervisor with a TypeError.
@given(
    st.lists(
        st.one_of(
            st.text(),
            _JSON.map(json.dumps),
            st.builds(
                lambda values: json.dumps({"progress": values}),
                st.lists(st.just("search") | _JSON, max_size=6),
            ),
        ),
        max_size=4,
    )
)
@example(['{"progress": ["search", 1]}'])
@example(['{"progress": ["search", [1], 1.0, null, null]}'])
@example(['{"progress": ["search", 1, "long", null, null]}'])
@example(['{"progress": "abcd"}'])
def test_no_line_that_a_program_prints_ends_the_supervisor(lines):
    received = ReceivedProgress()
    assert received.receive('{"progress": ["search", 4, "children", 2]}')
    for line in lines:
        assert received.receive(line) in (True, False)
    received.close()
