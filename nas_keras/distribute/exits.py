"""How a process of a search ends before its work does.

What is finished is on disk at any moment, so there is nothing to save: the
process says why it ends and is gone, wherever its main thread is, in native
code or waiting for a peer.
"""

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

import rich.console

DONE, FAILED, USAGE, DISK = 0, 1, 2, 74
# From 128 on: start the same command again, and it goes on.
INTERRUPTED, PREEMPTED, PEER_LOST = 130, 143, 144

_SAY_S = 1.0
# Bad input, or a library that an extra has and this environment lacks.
_OF_A_USER = (ImportError, ValueError)

_ON_SIGNAL: dict[int, tuple[int, str]] = {
    signal.SIGINT: (INTERRUPTED, "interrupted"),
    signal.SIGTERM: (PREEMPTED, "stopped by SIGTERM"),
}


def status_of(error: Exception) -> int:
    """Returns the exit status that an error ends a program with."""
    if isinstance(error, _OF_A_USER):
        return USAGE
    return DISK if isinstance(error, OSError) else FAILED


def leave(program: str, status: int, reason: str) -> NoReturn:
    """Ends the process, with one line that says why.

    The usual end of an interpreter would wait for TensorFlow, and that for
    peers which may be gone.
    """
    # In a thread: perhaps nobody listens, or a full pipe holds the streams.
    speaker = threading.Thread(
        target=_say, args=(program, status, reason), daemon=True
    )
    speaker.start()
    speaker.join(_SAY_S)
    os._exit(status)


def fail(program: str, message: str, status: int) -> NoReturn:
    """Ends a program that cannot do its work, with one line that says why."""
    line = " ".join(message.split())
    print(f"{program}: {line}", file=sys.stderr, flush=True)
    sys.exit(status)


@contextlib.contextmanager
def one_line(program: str, failure: type[Exception]) -> Iterator[None]:
    """Ends a program by `fail` if its work raises what a user is told.

    Args:
        program: Its name.
        failure: What its work raises when it was in vain.
    """
    try:
        yield
    except _OF_A_USER as error:
        fail(program, str(error), USAGE)
    except failure as error:
        fail(program, str(error), FAILED)
    except OSError as error:
        fail(program, f"{error}. What was finished is kept.", DISK)
    except KeyboardInterrupt:
        fail(
            program,
            "interrupted; the same command goes on from here.",
            INTERRUPTED,
        )
    except Exception as error:
        if not _is_of_memory(error):
            raise
        reason = (str(error).splitlines() or [""])[0]
        fail(program, f"out of memory: {reason}", FAILED)


def _is_of_memory(error: Exception) -> bool:
    """Returns whether memory was short; TensorFlow and JAX are not loaded."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or "RESOURCE_EXHAUSTED" in str(error)
    )


def end(status: int) -> NoReturn:
    """Ends a process that has peers, when all is said; see `leave`."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _say(program: str, status: int, reason: str) -> None:
    line = f"{program}: {reason}; what is finished is kept"
    if status >= 128:
        line += ", and the same command goes on from here"
    with contextlib.suppress(OSError, ValueError):  # Nobody listens.
        print(f"{line}.", file=sys.stderr, flush=True)
        rich.console.Console().show_cursor()  # A progress bar has hidden it.
        sys.stdout.flush()


def leave_on_signals(program: str) -> None:
    """Makes SIGTERM and SIGINT end the process; for the main thread."""
    # Python runs handlers in the main thread, once that is in Python. A byte
    # comes through this pair at once.
    ours, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    wake = functools.partial(_do_nothing, waker)  # Else it would be closed.
    for number in _ON_SIGNAL:
        signal.signal(number, wake)

    def watch() -> NoReturn:
        while True:
            for number in ours.recv(16):
                if number in _ON_SIGNAL:
                    leave(program, *_ON_SIGNAL[number])

    threading.Thread(target=watch, name="signals", daemon=True).start()


def _do_nothing(waker: socket.socket, number: int, frame: object) -> None:
    """Leaves a signal to the thread that the waker wakes."""


def leave_with_parent(program: str, parent: int) -> None:
    """Ends this process soon after its parent, however that ends.

    Args:
        program: Its name.
        parent: The parent's process id.
    """

    def watch() -> NoReturn:
        while os.getppid() == parent:
            time.sleep(0.5)
        leave(program, PEER_LOST, "the process that started this one is gone")

    threading.Thread(target=watch, name="parent", daemon=True).start()
