"""Several workers of a search on this machine: started, watched, restarted.

A worker that is lost takes the others down, for TensorFlow cannot replace one;
all are then started again, and nothing that was finished is lost. No
TensorFlow, no Keras: the work is done by the processes below this one.
"""

import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from nas_keras.distribute import exits
from nas_keras.programs.progress import ReceivedProgress
from nas_keras.storage import run_config

PARENT_VARIABLE = "NAS_KERAS_PARENT"  # Process id of the supervisor.

# What TensorFlow tells at each start, whatever its log level.
_CHATTER = re.compile(r"I\d{4} |WARNING: All log messages before absl")
_NOTICE_S = 2.0  # Time for workers to notice that one of them is lost.
_LEAVE_S = 12.0  # Time to leave, before they are killed.
_MOST_BACKOFF_S = 30.0


class Supervisor:
    """Runs a command as N workers until it is done.

    Args:
        command: What to start; each worker finds its place in `TF_CONFIG`.
        num_workers: N.
        max_restarts: Restarts in a row, with nothing finished in between,
            after which it gives up.
    """

    def __init__(
        self, command: Sequence[str], num_workers: int, max_restarts: int
    ):
        self._command = list(command)
        self._num_workers = num_workers
        self._max_restarts = max_restarts
        self._progress = ReceivedProgress()
        self._lines: queue.SimpleQueue = queue.SimpleQueue()
        self._readers: list[threading.Thread] = []
        self._signal: int | None = None

    def run(self) -> int:
        """Returns the exit status of the whole.

        0 if all workers ended with 0; that of the first that ended with one
        below 128, which a restart would not change; 143 or 130 if this
        process was told to end; else, after too many restarts, the last.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)
        restarts = 0
        while True:
            num_before = self._progress.num_items
            status = self._run_once()
            if status != exits.DONE and self._signal is not None:
                return 128 + self._signal
            if status < 128:
                return status
            restarts = (
                restarts + 1 if self._progress.num_items == num_before else 1
            )
            if restarts > self._max_restarts:
                self._say(
                    f"gave up after {self._max_restarts} restarts with nothing "
                    "finished in between."
                )
                return status
            backoff_s = min(2.0 ** min(restarts - 1, 9) - 1, _MOST_BACKOFF_S)
            self._say(
                f"a worker ended with status {status}; starting all again "
                f"(restart {restarts} of {self._max_restarts})."
            )
            self._wait(backoff_s)
            if self._signal is not None:
                return 128 + self._signal

    def _remember(self, number: int, frame: object) -> None:
        self._signal = number

    def _wait(self, seconds: float) -> None:
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s and self._signal is None:
            time.sleep(0.1)

    def _run_once(self) -> int:
        """Starts the workers; returns how they ended, all in all."""
        workers = self._start()
        try:
            while all(worker.poll() in (None, 0) for worker in workers):
                if self._signal is not None:
                    break
                if all(worker.poll() == 0 for worker in workers):
                    break
                self._show(0.1)
            ended = [w.poll() for w in workers if w.poll() not in (None, 0)]
        finally:
            self._end(workers)
        self._show(0.0)
        self._progress.close()
        codes = [*ended, *(worker.returncode for worker in workers)]
        statuses = [_status(code) for code in codes if code]
        permanent = [status for status in statuses if status < 128]
        return next(iter([*permanent, *statuses]), exits.DONE)

    def _start(self) -> list[subprocess.Popen]:
        addresses = _free_addresses(self._num_workers)
        workers = []
        for index in range(self._num_workers):
            config = {
                "cluster": {"worker": addresses},
                "task": {"type": "worker", "index": index},
            }
            worker = subprocess.Popen(
                self._command,
                env={
                    **os.environ,
                    "TF_CONFIG": json.dumps(config),
                    PARENT_VARIABLE: str(os.getpid()),
                    run_config.COMMAND_VARIABLE: run_config.command(),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C comes through this process.
            )
            workers.append(worker)
            for stream in (worker.stdout, worker.stderr):
                reader = threading.Thread(
                    target=self._read,
                    args=(index, stream, stream is worker.stderr),
                    daemon=True,
                )
                reader.start()
                self._readers.append(reader)
        return workers

    def _read(self, index: int, stream: Any, is_error: bool) -> None:
        with stream:
            for line in stream:
                self._lines.put((index, is_error, line.rstrip("\n")))

    def _show(self, timeout_s: float) -> None:
        """Shows what the workers have said, waiting a while for the first."""
        try:
            line = self._lines.get(
                timeout=timeout_s or None, block=timeout_s > 0
            )
            while True:
                self._show_line(*line)
                line = self._lines.get_nowait()
        except queue.Empty:
            return

    def _show_line(self, index: int, is_error: bool, line: str) -> None:
        if is_error and not _CHATTER.match(line):
            print(f"[worker {index}] {line}", file=sys.stderr, flush=True)
        elif not is_error and not self._progress.receive(line):
            print(line, flush=True)

    def _end(self, workers: list[subprocess.Popen]) -> None:
        """Sees to it that no worker is left."""
        start_s = time.monotonic()
        is_told = False
        while any(worker.poll() is None for worker in workers):
            waited_s = time.monotonic() - start_s
            if waited_s > _LEAVE_S:
                _tell(workers, signal.SIGKILL)
            elif not is_told and (
                self._signal is not None or waited_s > _NOTICE_S
            ):
                _tell(workers, signal.SIGTERM)
                is_told = True
            self._show(0.1)
        while self._readers:  # Their last words.
            self._readers.pop().join(1.0)
        self._show(0.0)

    def _say(self, text: str) -> None:
        print(f"nas-search: {text}", file=sys.stderr, flush=True)


def _tell(workers: Sequence[subprocess.Popen], number: int) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(number)


def _status(code: int) -> int:
    """Returns an exit status as a shell gives it: 128 + signal."""
    return 128 - code if code < 0 else code


def _free_addresses(num: int) -> list[str]:
    """Returns addresses of this machine that are free now."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("localhost", 0)))
            for _ in range(num)
        ]
        return [f"localhost:{s.getsockname()[1]}" for s in servers]
