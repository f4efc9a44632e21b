"""Tests of the rendezvous: threads, or processes, and real connections."""

import contextlib
import itertools
import json
import os
import pathlib
import queue
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
import types
from concurrent import futures

import pytest

from nas_keras.search import rendezvous
from nas_keras.search.rendezvous import PeerLostError
from nas_keras.search.rendezvous import meet
from nas_keras.search.topology import Topology
from nas_keras.search.topology import split_address

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_LIMIT_S = 10.0  # Of what must not take long.


def _addresses(num, host="localhost"):
    """Returns addresses whose ports are free."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("", 0)))
            for _ in range(num)
        ]
        return tuple(f"{host}:{s.getsockname()[1]}" for s in servers)


def _port(address):
    return split_address(address, "test")[1]


def _quiet(text):
    pass


class _Workers:
    """Workers that meet, each in a thread; ends what they have opened."""

    def __init__(self):
        self._threads = futures.ThreadPoolExecutor(16)
        self._futures = []

    def start(self, addresses, index, wait_s=_LIMIT_S, say=_quiet):
        topology = Topology(addresses, index, "TF_CONFIG")
        future = self._threads.submit(meet, topology, wait_s, say)
        self._futures.append(future)
        return future

    def meet(self, addresses):
        workers = [self.start(addresses, k) for k in range(len(addresses))]
        return [worker.result(_LIMIT_S) for worker in workers]

    def end(self):
        self._threads.shutdown()
        for future in self._futures:
            if future.exception() is None:
                future.result().close()


@pytest.fixture
def workers():
    workers = _Workers()
    yield workers
    workers.end()


@pytest.fixture
def short_hello(monkeypatch):
    monkeypatch.setattr(rendezvous, "_HELLO_S", 0.3)


@contextlib.contextmanager
def _connection(address):
    """Connects, as soon as somebody listens."""
    deadline_s = time.monotonic() + _LIMIT_S
    while True:
        try:
            connection = socket.create_connection(
                ("localhost", _port(address)), timeout=_LIMIT_S
            )
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    with connection:
        yield connection


def _say_hello(connection, index, addresses):
    hello = {"worker": index, "addresses": addresses}
    connection.sendall(json.dumps(hello).encode() + b"\n")


def _line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line


def _raises(message, kind=ValueError):
    return pytest.raises(kind, match="^" + re.escape(message))


class _Losses:
    """What `on_lost` was told, in whatever thread."""

    def __init__(self):
        self._told = queue.SimpleQueue()

    def __call__(self, reason, status):
        self._told.put((reason, status))

    def next(self):
        return self._told.get(timeout=_LIMIT_S)

    def assert_no_more(self):
        """To be called when the watchers have ended."""
        assert self._told.empty()


def _watchers():
    return [t for t in threading.enumerate() if t.name == "lifelines"]


def _join_watchers():
    for thread in _watchers():
        thread.join(_LIMIT_S)
        assert not thread.is_alive()


# Meeting.


@pytest.mark.parametrize(
    "order", list(itertools.permutations(range(3))), ids=str
)
def test_all_meet_whatever_the_order_of_arrival(order, workers):
    addresses = _addresses(3)
    began = [workers.start(addresses, index) for index in order]
    for worker in began:
        assert isinstance(worker.result(_LIMIT_S), rendezvous.Lifelines)


def test_nobody_goes_on_before_the_last_has_come(workers):
    addresses = _addresses(3)
    told = queue.SimpleQueue()
    first = workers.start(addresses, 0, say=told.put)
    second = workers.start(addresses, 1)
    told.get(timeout=_LIMIT_S)  # A second has gone by.
    assert not first.done() and not second.done()
    workers.start(addresses, 2).result(_LIMIT_S)
    first.result(_LIMIT_S)
    second.result(_LIMIT_S)


def test_a_worker_that_is_alone_waits_for_nobody():
    lifelines = meet(Topology(_addresses(1), 0), 0.0, pytest.fail)
    lifelines.watch(pytest.fail)
    _join_watchers()
    lifelines.close()


def test_many_meet(workers):
    workers.meet(_addresses(12))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6")
def test_workers_with_addresses_of_ipv6_meet(workers):
    # Once: the chief listens for IPv4 alone.
    addresses = _addresses(2, "[::1]")
    began = [workers.start(addresses, k, wait_s=2.0) for k in (0, 1)]
    for worker in began:
        worker.result(_LIMIT_S)


def test_the_chief_tells_for_whom_it_waits(workers):
    addresses = _addresses(3)
    told = queue.SimpleQueue()
    chief = workers.start(addresses, 0, _LIMIT_S, told.put)
    assert told.get(timeout=_LIMIT_S) == (
        f"Waiting for 2 of 3 workers: 1 ({addresses[1]}), 2 ({addresses[2]}): "
        "1 s of 10 s."
    )
    for index in (2, 1):
        workers.start(addresses, index)
    chief.result(_LIMIT_S)
    assert told.empty()


def test_a_worker_tells_that_it_waits_for_the_chief(workers):
    addresses = _addresses(2)
    told = queue.SimpleQueue()
    worker = workers.start(addresses, 1, _LIMIT_S, told.put)
    assert told.get(timeout=_LIMIT_S) == (
        f"Waiting for the chief, worker 0 ({addresses[0]}): 1 s of 10 s."
    )
    workers.start(addresses, 0).result(_LIMIT_S)
    worker.result(_LIMIT_S)
    assert told.empty()


def test_a_worker_tells_that_it_waits_for_the_others(workers):
    addresses = _addresses(3)
    told = queue.SimpleQueue()
    workers.start(addresses, 0)
    worker = workers.start(addresses, 1, _LIMIT_S, told.put)
    text = told.get(timeout=_LIMIT_S)
    assert text == "Waiting for the other workers: 1 s of 10 s."
    workers.start(addresses, 2)
    worker.result(_LIMIT_S)


@pytest.mark.parametrize("index", [0, 1])
def test_a_waiting_worker_speaks_every_ten_seconds(index, monkeypatch):
    clock = types.SimpleNamespace(
        monotonic=itertools.count(100.0, 5.0).__next__, sleep=lambda s: None
    )
    monkeypatch.setattr(rendezvous, "time", clock)
    told = []
    with pytest.raises(PeerLostError, match="waited 40 s in vain for "):
        meet(Topology(_addresses(2), index), 40.0, told.append)
    ends = [re.search(r": (\d+) s of 40 s\.$", text)[1] for text in told]
    assert ends == ["5", "15", "25", "35"]


def test_the_chief_waits_no_longer_than_it_was_told_to():
    addresses = _addresses(8)
    names = ", ".join(f"{k} ({addresses[k]})" for k in range(1, 6))
    message = f"waited 0 s in vain for 7 of 8 workers: {names}, …"
    start_s = time.monotonic()
    with _raises(message, PeerLostError):
        meet(Topology(addresses, 0), 0.4, pytest.fail)
    assert 0.4 <= time.monotonic() - start_s < 3.0


def test_the_chief_names_only_those_that_have_not_come(workers):
    addresses = _addresses(3)
    chief = workers.start(addresses, 0, 1.5)
    workers.start(addresses, 1, 3.0)
    message = f"waited 2 s in vain for 1 of 3 workers: 2 ({addresses[2]})"
    with _raises(message, PeerLostError):
        chief.result(_LIMIT_S)


def test_a_worker_waits_for_the_chief_no_longer_than_it_was_told_to():
    addresses = _addresses(2)
    message = f"waited 0 s in vain for the chief, worker 0 ({addresses[0]})"
    start_s = time.monotonic()
    with _raises(message, PeerLostError):
        meet(Topology(addresses, 1), 0.4, pytest.fail)
    assert 0.4 <= time.monotonic() - start_s < 3.0


def test_a_worker_waits_for_the_others_no_longer_than_it_was_told_to(workers):
    addresses = _addresses(3)
    workers.start(addresses, 0, 3.0)
    with _raises("waited 1 s in vain for the other workers", PeerLostError):
        workers.start(addresses, 1, 1.0).result(_LIMIT_S)


def test_a_worker_that_comes_and_goes_may_come_again(workers):
    addresses = _addresses(3)
    chief = workers.start(addresses, 0)
    for _ in range(3):
        with _connection(addresses[0]) as connection:
            _say_hello(connection, 1, addresses)
            assert _line(connection) == b"welcome\n"
    began = [workers.start(addresses, index) for index in (1, 2)]
    for worker in (chief, *began):
        worker.result(_LIMIT_S)


def test_the_last_that_has_gone_is_waited_for_again(workers):
    addresses = _addresses(3)
    chief = workers.start(addresses, 0)
    with _connection(addresses[0]) as connection:
        _say_hello(connection, 1, addresses)
        assert _line(connection) == b"welcome\n"
    second = workers.start(addresses, 2)
    workers.start(addresses, 1).result(_LIMIT_S)
    second.result(_LIMIT_S)
    chief.result(_LIMIT_S)


def test_a_worker_that_had_gone_before_it_was_welcomed_is_not_there(
    workers, short_hello
):
    addresses = _addresses(2)
    chief = workers.start(addresses, 0)
    with _connection(addresses[0]):  # The chief is busy with a stranger.
        with _connection(addresses[0]) as connection:
            _say_hello(connection, 1, addresses)
        # Once: the chief has met a worker that is gone, and listens no more.
        # So it is when a worker is tired of waiting for its welcome, at 5 s,
        # behind a stranger that says nothing.
        workers.start(addresses, 1, 5.0).result(_LIMIT_S)
        chief.result(_LIMIT_S)


def test_a_chief_that_gives_up_lets_go_of_those_who_had_come(workers):
    addresses = _addresses(3)
    chief = workers.start(addresses, 0, 1.0)
    with _connection(addresses[0]) as connection:
        _say_hello(connection, 1, addresses)
        assert _line(connection) == b"welcome\n"
        error = chief.exception(_LIMIT_S)
        assert isinstance(error, PeerLostError)
        # Once: it stays open for as long as the error is kept.
        connection.settimeout(1.0)
        assert connection.recv(1) == b""


_GARBAGE = {
    "nothing": b"",
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "not UTF-8": b"\xff\xfe\x00\n",
    "a number": b"3\n",
    "a list": b"[]\n",
    "an empty object": b"{}\n",
    "a hello without addresses": b'{"worker": 1}\n',
    "a torn hello": b'{"worker": 1, "addre',
    # Once: RecursionError, of the parser of JSON, ends the chief.
    "lists without end": b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("garbage", _GARBAGE.values(), ids=_GARBAGE)
def test_a_stranger_is_sent_away(garbage, stays, workers, short_hello):
    addresses = _addresses(2)
    chief = workers.start(addresses, 0)
    with _connection(addresses[0]) as stranger:
        stranger.sendall(garbage)
        if not stays:
            stranger.close()
        workers.start(addresses, 1, 5.0).result(_LIMIT_S)
        chief.result(_LIMIT_S)
        if stays:
            with contextlib.suppress(ConnectionResetError):
                assert stranger.recv(1) == b""


@pytest.mark.parametrize(
    "index",
    # Once: "7", 0 and the like are counted as workers; a list ends the
    # chief with a TypeError.
    [7, 2, 0, -1, "1", True, None, [], {}],
    ids=repr,
)
def test_an_index_that_no_worker_has_is_sent_away(index, workers):
    addresses = _addresses(2)
    chief = workers.start(addresses, 0)
    with _connection(addresses[0]) as stranger:
        _say_hello(stranger, index, addresses)
        workers.start(addresses, 1, 5.0).result(_LIMIT_S)
        chief.result(_LIMIT_S)
        assert _line(stranger) not in (b"welcome\n", b"go\n")


def test_a_stranger_that_speaks_slowly_keeps_nobody_waiting(
    workers, short_hello
):
    addresses = _addresses(2)
    chief = workers.start(addresses, 0, 8.0)
    has_ended = threading.Event()
    with _connection(addresses[0]) as stranger:
        stranger.sendall(b"x")

        def drip():
            with contextlib.suppress(OSError):
                for _ in range(60):  # Six seconds at most.
                    if has_ended.wait(0.1):
                        return
                    stranger.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            # Once: the time to say hello is that of each byte, and the
            # chief listens to nobody else meanwhile.
            workers.start(addresses, 1, 3.0).result(_LIMIT_S)
            chief.result(_LIMIT_S)
        finally:
            has_ended.set()
            thread.join()


def test_the_second_of_two_with_one_index_is_refused(workers):
    addresses = _addresses(3)
    chief = workers.start(addresses, 0)
    with _connection(addresses[0]) as first:
        _say_hello(first, 1, addresses)
        assert _line(first) == b"welcome\n"
        message = "TF_CONFIG: Worker 1 is there already: two have this index."
        with _raises(message):
            workers.start(addresses, 1).result(_LIMIT_S)
        workers.start(addresses, 2).result(_LIMIT_S)
        chief.result(_LIMIT_S)  # The first is not disturbed.
        assert _line(first) == b"go\n"


@pytest.mark.parametrize("change", ["another", "order", "more"])
def test_a_worker_that_knows_other_addresses_is_refused(change, workers):
    *known, extra = _addresses(4)
    others = {
        "another": [*known[:2], extra],
        "order": [known[0], known[2], known[1]],
        "more": [*known, extra],
    }[change]
    chief = workers.start(tuple(known), 0)
    message = (
        f"TF_CONFIG: The chief knows the workers {known}. Received from worker "
        f"1: {others}."
    )
    with _raises(message):
        workers.start(tuple(others), 1).result(_LIMIT_S)
    assert not chief.done()  # It waits on.
    for index in (1, 2):
        workers.start(tuple(known), index)
    chief.result(_LIMIT_S)


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_whose_port_is_in_use_is_refused(index):
    addresses = _addresses(2)
    port = _port(addresses[index])
    message = (
        f"TF_CONFIG: worker {index} cannot listen on port {port} of "
        f"'localhost:{port}': Address already in use"
    )
    with socket.create_server(("", port)), _raises(message):
        meet(Topology(addresses, index, "TF_CONFIG"), 5.0, pytest.fail)


def test_the_ports_are_free_again_when_all_have_met(workers):
    addresses = _addresses(3)
    workers.meet(addresses)  # The lifelines are open.
    for address in addresses:
        with socket.create_server(("", _port(address))):
            pass
        if socket.has_dualstack_ipv6():  # As TensorFlow does it.
            with socket.create_server(
                ("", _port(address)),
                family=socket.AF_INET6,
                dualstack_ipv6=True,
            ):
                pass


_OLD_ANSWERS = {
    "ends at once": b"",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no line": b"\x00\x00\x12\x04\x00\x00",
    "the hello itself": b'{"worker": 1, "addresses": []}\n',
    "a chief that left": b"welcome\n",
    "a chief that left torn": b"welcome\ng",
    "another protocol": b"welcome\nstay\n",
    # Once: taken for the chief's words, and cannot be decoded.
    "an error of its own": b"error \xff\n",
}


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("answer", _OLD_ANSWERS.values(), ids=_OLD_ANSWERS)
def test_an_old_server_in_the_chiefs_place_is_outwaited(
    answer, stays, workers, short_hello
):
    addresses = _addresses(2)
    with socket.create_server(("", _port(addresses[0]))) as server:
        worker = workers.start(addresses, 1)
        server.settimeout(_LIMIT_S)
        with contextlib.ExitStack() as stack:
            for _ in range(1 if answer == b"welcome\n" and stays else 2):
                connection, _ = server.accept()
                stack.enter_context(connection)
                connection.sendall(answer)
                if not stays:
                    connection.close()
            assert not worker.done()
    workers.start(addresses, 0).result(_LIMIT_S)
    worker.result(_LIMIT_S)


# Losing one another.


@contextlib.contextmanager
def _chief_and_raw_workers(workers, num=1):
    """Gives the chief's lifelines and the others' ends of them."""
    addresses = _addresses(num + 1)
    chief = workers.start(addresses, 0)
    with contextlib.ExitStack() as stack:
        ends = []
        for index in range(1, num + 1):
            end = stack.enter_context(_connection(addresses[0]))
            _say_hello(end, index, addresses)
            assert _line(end) == b"welcome\n"
            ends.append(end)
        lifelines = chief.result(_LIMIT_S)
        for end in ends:
            assert _line(end) == b"go\n"
        yield lifelines, ends


@contextlib.contextmanager
def _worker_and_raw_chief(workers):
    """Gives a worker's lifelines and the chief's end of them."""
    addresses = _addresses(3)
    with socket.create_server(("", _port(addresses[0]))) as server:
        worker = workers.start(addresses, 2)
        server.settimeout(_LIMIT_S)
        end, _ = server.accept()
    with end:
        end.settimeout(_LIMIT_S)
        hello = json.loads(_line(end))
        assert hello == {"worker": 2, "addresses": list(addresses)}
        end.sendall(b"welcome\n")
        end.sendall(b"go\n")
        yield worker.result(_LIMIT_S), end


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
        _join_watchers()
        lost.assert_no_more()


@pytest.mark.parametrize(("end_it", "reason"), _ENDS)
def test_a_worker_learns_of_a_lost_chief_once(end_it, reason, workers):
    lost = _Losses()
    with _worker_and_raw_chief(workers) as (lifelines, end):
        lifelines.watch(lost)
        end_it(end)
        assert lost.next() == (f"worker 0 is lost: {reason}", None)
        _join_watchers()
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
        assert names.get(timeout=_LIMIT_S) == "lifelines"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)], ids=str)
def test_a_goodbye_is_no_loss(order, workers):
    lost = _Losses()
    lifelines = workers.meet(_addresses(3))
    for lifeline in lifelines:
        lifeline.watch(lost)
    for index in order:
        # Once: a goodbye so soon ends the thread that begins to watch with
        # "Invalid file descriptor: -1", now and then.
        lifelines[index].close()
    _join_watchers()
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
        _join_watchers()
        lost.assert_no_more()


def test_the_own_goodbye_is_no_loss_and_ends_the_watch(workers):
    lost = _Losses()
    with _worker_and_raw_chief(workers) as (lifelines, end):
        lifelines.watch(lost)
        lifelines.close()
        assert _line(end) == b"bye\n"
        assert end.recv(1) == b""
        _join_watchers()
        lifelines.close()  # Twice is no harm.
    lost.assert_no_more()


def test_a_goodbye_to_one_that_is_gone_is_no_error(workers):
    with _chief_and_raw_workers(workers, 2) as (lifelines, ends):
        _reset(ends[0])
        lifelines.close()
        assert _line(ends[1]) == b"bye\n"


@pytest.mark.parametrize("status", [1, 2, 74])
@pytest.mark.parametrize("failed", [0, 2])
def test_all_learn_of_a_failure_for_good_and_its_status(
    failed, status, workers
):
    lifelines = workers.meet(_addresses(4))
    losses = [_Losses() for _ in lifelines]
    for lifeline, lost in zip(lifelines, losses, strict=True):
        lifeline.watch(lost)
    lifelines[failed].fail(status)
    for index, lost in enumerate(losses):
        if index != failed:
            # Workers hear it from the chief, whoever it was.
            teller = failed if index == 0 else 0
            assert lost.next() == (f"worker {teller} has failed", status)
    _join_watchers()
    for lost in losses:
        lost.assert_no_more()


@pytest.mark.parametrize("gone", [0, 1])
def test_one_that_leaves_without_a_word_is_lost(gone, workers):
    lifelines = workers.meet(_addresses(2))
    lost, own = _Losses(), _Losses()
    lifelines[1 - gone].watch(lost)
    lifelines[gone].watch(own)
    lifelines[gone].cut()
    reason = f"worker {gone} is lost: its connection was closed"
    assert lost.next() == (reason, None)
    _join_watchers()
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
        _join_watchers()
        reason = "worker 0 is lost: its connection was closed"
        assert lost.next() == (reason, None)
        lost.assert_no_more()


_WORKER = """
    import signal, sys
    from nas_keras.search.rendezvous import meet
    from nas_keras.search.topology import Topology

    signal.alarm(60)
    lifelines = meet(Topology(tuple(sys.argv[1:]), 1), 10.0, print)
    print("met", flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_whose_process_is_killed_is_lost(number, workers):
    addresses = _addresses(2)
    chief = workers.start(addresses, 0)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WORKER), *addresses],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    ) as process:
        try:
            lost = _Losses()
            chief.result(_LIMIT_S).watch(lost)
            assert process.stdout.readline() == b"met\n"
            process.send_signal(number)
            reason = "worker 1 is lost: its connection was closed"
            assert lost.next() == (reason, None)
        finally:
            process.kill()
