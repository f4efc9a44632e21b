"""Tests of lifelines: what workers that have met learn of one another."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import queue
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading

import pytest

from tests.rendezvous_testing import LIMIT_S
from tests.rendezvous_testing import connected
from tests.rendezvous_testing import free_addresses
from tests.rendezvous_testing import join_watchers
from tests.rendezvous_testing import line_from
from tests.rendezvous_testing import port_of
from tests.rendezvous_testing import say_hello
from tests.rendezvous_testing import workers_in_threads

_ROOT = pathlib.Path(__file__).resolve().parents[2]


class _Losses:
    """What `on_lost` was told, in whatever thread."""

    def __init__(self):
        self._told = queue.SimpleQueue()

    def __call__(self, reason, status):
        self._told.put((reason, status))

    def next(self):
        return self._told.get(timeout=LIMIT_S)

    def assert_no_more(self):
        """To be called when the watchers have ended."""
        assert self._told.empty()


@pytest.fixture
def workers():
    yield from workers_in_threads()


@contextlib.contextmanager
def _chief_and_raw_workers(workers, num=1):
    """Gives the chief's lifelines and the others' ends of them."""
    addresses = free_addresses(num + 1)
    chief = workers.start(addresses, 0)
    with contextlib.ExitStack() as stack:
        ends = []
        for index in range(1, num + 1):
            end = stack.enter_context(connected(addresses[0]))
            say_hello(end, index, addresses)
            assert line_from(end) == b"welcome\n"
            ends.append(end)
        lifelines = chief.result(LIMIT_S)
        for end in ends:
            assert line_from(end) == b"go\n"
        yield lifelines, ends


@contextlib.contextmanager
def _worker_and_raw_chief(workers):
    """Gives a worker's lifelines and the chief's end of them."""
    addresses = free_addresses(3)
    with socket.create_server(("", port_of(addresses[0]))) as server:
        worker = workers.start(addresses, 2)
        server.settimeout(LIMIT_S)
        end, _ = server.accept()
    with end:
        end.settimeout(LIMIT_S)
        hello = json.loads(line_from(end))
        assert hello == {"worker": 2, "addresses": list(addresses)}
        end.sendall(b"welcome\n")
        end.sendall(b"go\n")
        yield worker.result(LIMIT_S), end


def _reset(connection):
    """Closes as a machine does that was started anew."""
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


_ENDS = [
    (socket.socket.close, "its connection was closed"),
    (_reset, "Connection reset by peer"),
]


@pytest.mark.parametrize(("end_it", "reason"), _ENDS)
def test_the_chief_learns_of_a_lost_worker_once(end_it, reason, workers):
    lost = _Losses()
    with _chief_and_raw_workers(workers, 3) as (lifelines, ends):
        lifelines.watch(lost)
        end_it(ends[1])
        assert lost.next() == (f"worker 2 is lost: {reason}", None)
        for end in ends:
            end.close()
        join_watchers()
        lost.assert_no_more()


@pytest.mark.parametrize(("end_it", "reason"), _ENDS)
def test_a_worker_learns_of_a_lost_chief_once(end_it, reason, workers):
    lost = _Losses()
    with _worker_and_raw_chief(workers) as (lifelines, end):
        lifelines.watch(lost)
        end_it(end)
        assert lost.next() == (f"worker 0 is lost: {reason}", None)
        join_watchers()
        lost.assert_no_more()


def test_what_was_lost_before_the_watch_began_is_told(workers):
    lost = _Losses()
    with _chief_and_raw_workers(workers, 2) as (lifelines, ends):
        ends[0].close()
        lifelines.watch(lost)
        reason = "worker 1 is lost: its connection was closed"
        assert lost.next() == (reason, None)


def test_a_loss_is_told_in_another_thread(workers):
    names = queue.SimpleQueue()

    def on_lost(reason, status):
        names.put(threading.current_thread().name)

    with _chief_and_raw_workers(workers) as (lifelines, ends):
        lifelines.watch(on_lost)
        ends[0].close()
        assert names.get(timeout=LIMIT_S) == "lifelines"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)], ids=str)
def test_a_goodbye_is_no_loss_and_nobody_leaves_before_all_say_it(
    order, workers
):
    lost = _Losses()
    lifelines = workers.meet(free_addresses(3))
    for lifeline in lifelines:
        lifeline.watch(lost)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        closing = []
        for index in order:
            assert not any(future.done() for future in closing)
            # Once: a goodbye so soon ended the thread that begins to watch
            # with "Invalid file descriptor: -1", now and then.
            closing.append(pool.submit(lifelines[index].close))
        for future in closing:
            future.result(LIMIT_S)
    join_watchers()
    lost.assert_no_more()


def test_a_loss_after_a_goodbye_is_told(workers):
    lost = _Losses()
    with _chief_and_raw_workers(workers, 2) as (lifelines, ends):
        lifelines.watch(lost)
        ends[0].sendall(b"bye\n")
        ends[0].close()
        ends[1].close()
        reason = "worker 2 is lost: its connection was closed"
        assert lost.next() == (reason, None)
        join_watchers()
        lost.assert_no_more()


def test_a_worker_says_goodbye_and_waits_for_the_chiefs(workers):
    lost = _Losses()
    with _worker_and_raw_chief(workers) as (lifelines, end):
        lifelines.watch(lost)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            closing = pool.submit(lifelines.close)
            assert line_from(end) == b"bye\n"
            with pytest.raises(TimeoutError):
                closing.result(0.3)
            end.sendall(b"bye\n")
            closing.result(LIMIT_S)
        assert end.recv(1) == b""
        join_watchers()
        lifelines.close()  # Twice is no harm.
    lost.assert_no_more()


def test_the_chief_waits_for_the_goodbye_of_all(workers):
    lost = _Losses()
    with _chief_and_raw_workers(workers, 2) as (lifelines, ends):
        lifelines.watch(lost)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            closing = pool.submit(lifelines.close)
            ends[1].sendall(b"bye\n")
            with pytest.raises(TimeoutError):
                closing.result(0.3)
            ends[0].sendall(b"bye\n")
            closing.result(LIMIT_S)
        for end in ends:
            assert line_from(end) == b"bye\n"
    lost.assert_no_more()


@pytest.mark.parametrize("is_chief", [False, True])
def test_who_is_lost_is_not_waited_for(is_chief, workers):
    lost = _Losses()
    meeting = _chief_and_raw_workers if is_chief else _worker_and_raw_chief
    with meeting(workers) as (lifelines, ends):
        lifelines.watch(lost)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            closing = pool.submit(lifelines.close)
            (ends[0] if is_chief else ends).close()
            closing.result(LIMIT_S)
    assert " is lost: " in lost.next()[0]


def test_a_goodbye_to_one_that_is_gone_is_no_error(workers):
    with _chief_and_raw_workers(workers, 2) as (lifelines, ends):
        _reset(ends[0])
        lifelines.close()
        assert line_from(ends[1]) == b"bye\n"


@pytest.mark.parametrize("status", [1, 2, 74])
@pytest.mark.parametrize("failed", [0, 2])
def test_all_learn_of_a_failure_for_good_and_its_status(
    failed, status, workers
):
    lifelines = workers.meet(free_addresses(4))
    losses = [_Losses() for _ in lifelines]
    for lifeline, lost in zip(lifelines, losses, strict=True):
        lifeline.watch(lost)
    lifelines[failed].fail(status)
    for index, lost in enumerate(losses):
        if index != failed:
            # Workers hear it from the chief, whoever it was.
            teller = failed if index == 0 else 0
            assert lost.next() == (f"worker {teller} has failed", status)
    join_watchers()
    for lost in losses:
        lost.assert_no_more()


@pytest.mark.parametrize("gone", [0, 1])
def test_one_that_leaves_without_a_word_is_lost(gone, workers):
    lifelines = workers.meet(free_addresses(2))
    lost, own = _Losses(), _Losses()
    lifelines[1 - gone].watch(lost)
    lifelines[gone].watch(own)
    lifelines[gone].cut()
    reason = f"worker {gone} is lost: its connection was closed"
    assert lost.next() == (reason, None)
    join_watchers()
    lost.assert_no_more()
    own.assert_no_more()


@pytest.mark.parametrize(
    "farewell",
    [
        b"by",
        b"stay\n",
        b"\xff\n",
        # Once: ValueError of int(), and the loss is not told.
        b"failed \n",
        b"failed",
        b"failed ",
        b"failed very\n",
    ],
)
def test_a_farewell_that_is_torn_or_unknown_is_a_loss(farewell, workers):
    lost = _Losses()
    with _worker_and_raw_chief(workers) as (lifelines, end):
        lifelines.watch(lost)
        end.sendall(farewell)
        end.close()
        join_watchers()
        reason = "worker 0 is lost: its connection was closed"
        assert lost.next() == (reason, None)
        lost.assert_no_more()


_WORKER = """
    import signal, sys
    from nas_keras.distribute.rendezvous import meet
    from nas_keras.distribute.topology import Topology

    signal.alarm(60)
    lifelines = meet(Topology(tuple(sys.argv[1:]), 1), 10.0, print)
    print("met", flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_whose_process_is_killed_is_lost(number, workers):
    addresses = free_addresses(2)
    chief = workers.start(addresses, 0)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WORKER), *addresses],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    ) as process:
        try:
            lost = _Losses()
            chief.result(LIMIT_S).watch(lost)
            assert process.stdout.readline() == b"met\n"
            process.send_signal(number)
            reason = "worker 1 is lost: its connection was closed"
            assert lost.next() == (reason, None)
        finally:
            process.kill()
