"""Tests of leaving: its words, its status, by signals and with the parent."""

import fcntl
import signal
import subprocess
import sys
import termios
import time

import pytest

from nas_keras.distribute import exits
from tests.supervisor_testing import LIMIT_S
from tests.supervisor_testing import environ
from tests.supervisor_testing import python

_LEFT = "what is finished is kept, and the same command goes on from here.\n"


@pytest.mark.parametrize("status", [0, 2, 144])
def test_leaving_says_why_and_loses_no_output(status):
    code = f"""
        import atexit
        from nas_keras.distribute import exits

        atexit.register(print, "not the usual end")
        print("half a line", end="")
        try:
            exits.leave("program", {status}, "enough")
        finally:
            print("not the usual end")
    """
    with python(code) as process:
        output, errors = process.communicate(timeout=LIMIT_S)
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
        from nas_keras.distribute import exits

        signal.alarm(5)
        sys.stdin.readline()
        print("half a line", end="")
        arguments = ("program", 144, "enough")
        if {in_thread}:
            threading.Thread(target=exits.leave, args=arguments).start()
            while True:
                signal.pause()
        exits.leave(*arguments)
    """
    variables = {"PYTHONUNBUFFERED": ""}
    if colour:
        variables["FORCE_COLOR"] = "1"
    with python(
        code, stdin=subprocess.PIPE, env=environ(**variables)
    ) as process:
        getattr(process, stream).close()
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert process.wait(LIMIT_S) == 144


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
    from nas_keras.distribute import exits

    signal.alarm(10)
    libc = ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(256)
    libc.pthread_mutex_init(mutex, None)
    exits.leave_on_signals("program")
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
    with python(_WAITING.format(wait=wait)) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == status
    assert errors == f"program: {reason}; {_LEFT}"
    assert output == ""


@pytest.mark.skipif(sys.platform != "linux", reason="FIONREAD of a pipe")
def test_a_signal_ends_a_process_whose_output_nobody_reads():
    code = _WAITING.format(wait="while True: print('x' * 1000)")
    environment = environ(PYTHONUNBUFFERED="")
    with python(code, env=environment) as process:
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
    with python(_WAITING.format(wait=wait)) as process:
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "set\n"
        process.send_signal(signal.SIGUSR1)
        output, errors = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, output, errors) == (7, "usr1\n", "")


def test_a_process_whose_parent_is_gone_already_ends_at_once():
    code = """
        import os, signal
        from nas_keras.distribute import exits

        signal.alarm(10)
        exits.leave_with_parent("program", os.getppid() + 1)
        signal.pause()
    """
    with python(code) as process:
        _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 144
    assert errors == (
        f"program: the process that started this one is gone; {_LEFT}"
    )


def test_a_process_whose_parent_is_there_goes_on():
    code = """
        import os, sys, time
        from nas_keras.distribute import exits

        exits.leave_with_parent("program", os.getppid())
        time.sleep(1.2)  # It has looked twice.
        sys.exit(7)
    """
    with python(code) as process:
        _, errors = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, errors) == (7, "")


class ResourceExhaustedError(RuntimeError):
    """Named as TensorFlow's."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), ""),
        (ResourceExhaustedError("OOM of shape[9,9]\n\nDetected at node"),
         " OOM of shape[9,9]"),
        (RuntimeError("RESOURCE_EXHAUSTED: of 8 GiB"),
         " RESOURCE_EXHAUSTED: of 8 GiB"),
    ],
)  # fmt: skip
def test_too_little_memory_is_said_in_one_line(error, said, capsys):
    with pytest.raises(SystemExit) as ended:
        with exits.one_line("program", KeyError):
            raise error
    assert ended.value.code == exits.FAILED
    assert capsys.readouterr().err == f"program: out of memory:{said}\n"


def test_a_defect_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="a defect"):
        with exits.one_line("program", KeyError):
            raise RuntimeError("a defect")
