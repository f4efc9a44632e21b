"""Tests of the rendezvous: who waits for whom, for how long, and says so."""

import itertools
import queue
import re
import socket
import time
import types

import pytest

from nas_keras.distribute import rendezvous
from nas_keras.distribute.rendezvous import PeerLostError
from nas_keras.distribute.rendezvous import meet
from nas_keras.distribute.topology import Topology
from tests.raising import raises_first as raises
from tests.rendezvous_testing import LIMIT_S
from tests.rendezvous_testing import connected
from tests.rendezvous_testing import free_addresses
from tests.rendezvous_testing import join_watchers
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


@pytest.mark.parametrize(
    "order", list(itertools.permutations(range(3))), ids=str
)
def test_all_meet_whatever_the_order_of_arrival(order, workers):
    addresses = free_addresses(3)
    began = [workers.start(addresses, index) for index in order]
    for worker in began:
        assert isinstance(worker.result(LIMIT_S), rendezvous.Lifelines)


def test_nobody_goes_on_before_the_last_has_come(workers):
    addresses = free_addresses(3)
    told = queue.SimpleQueue()
    first = workers.start(addresses, 0, say=told.put)
    second = workers.start(addresses, 1)
    told.get(timeout=LIMIT_S)  # A second has gone by.
    assert not first.done() and not second.done()
    workers.start(addresses, 2).result(LIMIT_S)
    first.result(LIMIT_S)
    second.result(LIMIT_S)


def test_a_worker_that_is_alone_waits_for_nobody():
    lifelines = meet(Topology(free_addresses(1), 0), 0.0, pytest.fail)
    lifelines.watch(pytest.fail)
    join_watchers()
    lifelines.close()


def test_many_meet(workers):
    workers.meet(free_addresses(12))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6")
def test_workers_with_addresses_of_ipv6_meet(workers):
    # Once: the chief listens for IPv4 alone.
    addresses = free_addresses(2, "[::1]")
    began = [workers.start(addresses, k, wait_s=2.0) for k in (0, 1)]
    for worker in began:
        worker.result(LIMIT_S)


def test_the_chief_tells_for_whom_it_waits(workers):
    addresses = free_addresses(3)
    told = queue.SimpleQueue()
    chief = workers.start(addresses, 0, LIMIT_S, told.put)
    assert told.get(timeout=LIMIT_S) == (
        f"Waiting for 2 of 3 workers: 1 ({addresses[1]}), 2 ({addresses[2]}): "
        "1 s of 10 s."
    )
    for index in (2, 1):
        workers.start(addresses, index)
    chief.result(LIMIT_S)
    assert told.empty()


def test_a_worker_tells_that_it_waits_for_the_chief(workers):
    addresses = free_addresses(2)
    told = queue.SimpleQueue()
    worker = workers.start(addresses, 1, LIMIT_S, told.put)
    assert told.get(timeout=LIMIT_S) == (
        f"Waiting for the chief, worker 0 ({addresses[0]}): 1 s of 10 s."
    )
    workers.start(addresses, 0).result(LIMIT_S)
    worker.result(LIMIT_S)
    assert told.empty()


def test_a_worker_tells_that_it_waits_for_the_others(workers):
    addresses = free_addresses(3)
    told = queue.SimpleQueue()
    workers.start(addresses, 0)
    worker = workers.start(addresses, 1, LIMIT_S, told.put)
    text = told.get(timeout=LIMIT_S)
    assert text == "Waiting for the other workers: 1 s of 10 s."
    workers.start(addresses, 2)
    worker.result(LIMIT_S)


@pytest.mark.parametrize("index", [0, 1])
def test_a_waiting_worker_speaks_every_ten_seconds(index, monkeypatch):
    clock = types.SimpleNamespace(
        monotonic=itertools.count(100.0, 5.0).__next__, sleep=lambda s: None
    )
    monkeypatch.setattr(rendezvous, "time", clock)
    told = []
    with pytest.raises(PeerLostError, match="waited 40 s in vain for "):
        meet(Topology(free_addresses(2), index), 40.0, told.append)
    ends = [re.search(r": (\d+) s of 40 s\.$", text)[1] for text in told]
    assert ends == ["5", "15", "25", "35"]


def test_the_chief_waits_no_longer_than_it_was_told_to():
    addresses = free_addresses(8)
    names = ", ".join(f"{k} ({addresses[k]})" for k in range(1, 6))
    message = f"waited 0 s in vain for 7 of 8 workers: {names}, …"
    start_s = time.monotonic()
    with raises(message, PeerLostError):
        meet(Topology(addresses, 0), 0.4, pytest.fail)
    assert 0.4 <= time.monotonic() - start_s < LIMIT_S


def test_the_chief_names_only_those_that_have_not_come(workers):
    addresses = free_addresses(3)
    chief = workers.start(addresses, 0, 1.0)
    workers.start(addresses, 1, 1.5)
    message = f"waited 1 s in vain for 1 of 3 workers: 2 ({addresses[2]})"
    with raises(message, PeerLostError):
        chief.result(LIMIT_S)


def test_a_worker_waits_for_the_chief_no_longer_than_it_was_told_to():
    addresses = free_addresses(2)
    message = f"waited 0 s in vain for the chief, worker 0 ({addresses[0]})"
    start_s = time.monotonic()
    with raises(message, PeerLostError):
        meet(Topology(addresses, 1), 0.4, pytest.fail)
    assert 0.4 <= time.monotonic() - start_s < LIMIT_S


def test_a_worker_waits_for_the_others_no_longer_than_it_was_told_to(workers):
    addresses = free_addresses(3)
    workers.start(addresses, 0, 1.5)
    with raises("waited 1 s in vain for the other workers", PeerLostError):
        workers.start(addresses, 1, 1.0).result(LIMIT_S)


def test_a_worker_that_comes_and_goes_may_come_again(workers):
    addresses = free_addresses(3)
    chief = workers.start(addresses, 0)
    for _ in range(3):
        with connected(addresses[0]) as connection:
            say_hello(connection, 1, addresses)
            assert line_from(connection) == b"welcome\n"
    began = [workers.start(addresses, index) for index in (1, 2)]
    for worker in (chief, *began):
        worker.result(LIMIT_S)


def test_the_last_that_has_gone_is_waited_for_again(workers):
    addresses = free_addresses(3)
    chief = workers.start(addresses, 0)
    with connected(addresses[0]) as connection:
        say_hello(connection, 1, addresses)
        assert line_from(connection) == b"welcome\n"
    second = workers.start(addresses, 2)
    workers.start(addresses, 1).result(LIMIT_S)
    second.result(LIMIT_S)
    chief.result(LIMIT_S)


def test_a_worker_that_had_gone_before_it_was_welcomed_is_not_there(
    workers, short_hello
):
    addresses = free_addresses(2)
    chief = workers.start(addresses, 0)
    with connected(addresses[0]):  # The chief is busy with a stranger.
        with connected(addresses[0]) as connection:
            say_hello(connection, 1, addresses)
        # Once: the chief has met a worker that is gone, and listens no more.
        # So it is when a worker is tired of waiting for its welcome, at 5 s,
        # behind a stranger that says nothing.
        workers.start(addresses, 1, 5.0).result(LIMIT_S)
        chief.result(LIMIT_S)


def test_a_chief_that_gives_up_lets_go_of_those_who_had_come(workers):
    addresses = free_addresses(3)
    chief = workers.start(addresses, 0, 1.0)
    with connected(addresses[0]) as connection:
        say_hello(connection, 1, addresses)
        assert line_from(connection) == b"welcome\n"
        error = chief.exception(LIMIT_S)
        assert isinstance(error, PeerLostError)
        # Once: it stays open for as long as the error is kept.
        connection.settimeout(1.0)
        assert connection.recv(1) == b""


def test_the_ports_are_free_again_when_all_have_met(workers):
    addresses = free_addresses(3)
    workers.meet(addresses)  # The lifelines are open.
    for address in addresses:
        with socket.create_server(("", port_of(address))):
            pass
        if socket.has_dualstack_ipv6():  # As TensorFlow does it.
            with socket.create_server(
                ("", port_of(address)),
                family=socket.AF_INET6,
                dualstack_ipv6=True,
            ):
                pass
