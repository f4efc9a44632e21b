"""Tests of who is sent away from the rendezvous, refused or outwaited."""

import contextlib
import socket
import threading

import pytest

from nas_keras.distribute import rendezvous
from nas_keras.distribute.rendezvous import meet
from nas_keras.distribute.topology import Topology
from tests.raising import raises_first as raises
from tests.rendezvous_testing import LIMIT_S
from tests.rendezvous_testing import connected
from tests.rendezvous_testing import free_addresses
from tests.rendezvous_testing import line_from
from tests.rendezvous_testing import port_of
from tests.rendezvous_testing import say_hello
from tests.rendezvous_testing import workers_in_threads


@pytest.fixture
def workers():
    yield from workers_in_threads()


@pytest.fixture
def short_hello(monkeypatch):
    monkeypatch.setattr(rendezvous, "_HELLO_S", 0.3)


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
    addresses = free_addresses(2)
    chief = workers.start(addresses, 0)
    with connected(addresses[0]) as stranger:
        stranger.sendall(garbage)
        if not stays:
            stranger.close()
        workers.start(addresses, 1, 5.0).result(LIMIT_S)
        chief.result(LIMIT_S)
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
    addresses = free_addresses(2)
    chief = workers.start(addresses, 0)
    with connected(addresses[0]) as stranger:
        say_hello(stranger, index, addresses)
        workers.start(addresses, 1, 5.0).result(LIMIT_S)
        chief.result(LIMIT_S)
        assert line_from(stranger) not in (b"welcome\n", b"go\n")


def test_a_stranger_that_speaks_slowly_keeps_nobody_waiting(
    workers, short_hello
):
    addresses = free_addresses(2)
    chief = workers.start(addresses, 0, 8.0)
    has_ended = threading.Event()
    with connected(addresses[0]) as stranger:
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
            workers.start(addresses, 1, 3.0).result(LIMIT_S)
            chief.result(LIMIT_S)
        finally:
            has_ended.set()
            thread.join()


def test_the_second_of_two_with_one_index_is_refused(workers):
    addresses = free_addresses(3)
    chief = workers.start(addresses, 0)
    with connected(addresses[0]) as first:
        say_hello(first, 1, addresses)
        assert line_from(first) == b"welcome\n"
        message = "TF_CONFIG: Worker 1 is there already: two have this index."
        with raises(message):
            workers.start(addresses, 1).result(LIMIT_S)
        workers.start(addresses, 2).result(LIMIT_S)
        chief.result(LIMIT_S)  # The first is not disturbed.
        assert line_from(first) == b"go\n"


@pytest.mark.parametrize("change", ["another", "order", "more"])
def test_a_worker_that_knows_other_addresses_is_refused(change, workers):
    *known, extra = free_addresses(4)
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
    with raises(message):
        workers.start(tuple(others), 1).result(LIMIT_S)
    assert not chief.done()  # It waits on.
    for index in (1, 2):
        workers.start(tuple(known), index)
    chief.result(LIMIT_S)


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_whose_port_is_in_use_is_refused(index):
    addresses = free_addresses(2)
    port = port_of(addresses[index])
    message = (
        f"TF_CONFIG: worker {index} cannot listen on port {port} of "
        f"'localhost:{port}': Address already in use"
    )
    with socket.create_server(("", port)), raises(message):
        meet(Topology(addresses, index, "TF_CONFIG"), 5.0, pytest.fail)


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
    addresses = free_addresses(2)
    with socket.create_server(("", port_of(addresses[0]))) as server:
        worker = workers.start(addresses, 1)
        server.settimeout(LIMIT_S)
        with contextlib.ExitStack() as stack:
            for _ in range(1 if answer == b"welcome\n" and stays else 2):
                connection, _ = server.accept()
                stack.enter_context(connection)
                connection.sendall(answer)
                if not stays:
                    connection.close()
            assert not worker.done()
    workers.start(addresses, 0).result(LIMIT_S)
    worker.result(LIMIT_S)
