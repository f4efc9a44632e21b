"""What tests of the rendezvous share: workers, and raw connections."""

import contextlib
import json
import socket
import threading
import time
from concurrent import futures

import pytest

from nas_keras.distribute import rendezvous
from nas_keras.distribute.rendezvous import meet
from nas_keras.distribute.topology import Topology
from nas_keras.distribute.topology import split_address

LIMIT_S = 10.0  # Of what must not take long.


def free_addresses(num, host="localhost"):
    """Returns addresses whose ports are free."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("", 0)))
            for _ in range(num)
        ]
        return tuple(f"{host}:{s.getsockname()[1]}" for s in servers)


def port_of(address):
    return split_address(address, "test")[1]


def _quiet(text):
    pass


class Workers:
    """Workers that meet, each in a thread; ends what they have opened."""

    def __init__(self):
        self._threads = futures.ThreadPoolExecutor(16)
        self._futures = []

    def start(self, addresses, index, wait_s=LIMIT_S, say=_quiet):
        topology = Topology(addresses, index, "TF_CONFIG")
        future = self._threads.submit(meet, topology, wait_s, say)
        self._futures.append(future)
        return future

    def meet(self, addresses):
        workers = [self.start(addresses, k) for k in range(len(addresses))]
        return [worker.result(LIMIT_S) for worker in workers]

    def end(self):
        self._threads.shutdown()
        for future in self._futures:
            if future.exception() is None:
                future.result().close()


def workers_in_threads():
    """The body of a fixture: `Workers` that end with the test.

    They look about them more often than others, and the tests take less time.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_LOOK_EVERY_S", "_SETTLE_S"):
            patch.setattr(rendezvous, name, 0.03)
        workers = Workers()
        yield workers
        workers.end()


@contextlib.contextmanager
def connected(address):
    """Connects, as soon as somebody listens."""
    deadline_s = time.monotonic() + LIMIT_S
    while True:
        try:
            connection = socket.create_connection(
                ("localhost", port_of(address)), timeout=LIMIT_S
            )
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    with connection:
        yield connection


def say_hello(connection, index, addresses):
    hello = {"worker": index, "addresses": addresses}
    connection.sendall(json.dumps(hello).encode() + b"\n")


def line_from(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line


def _watchers():
    return [t for t in threading.enumerate() if t.name == "lifelines"]


def join_watchers():
    for thread in _watchers():
        thread.join(LIMIT_S)
        assert not thread.is_alive()
