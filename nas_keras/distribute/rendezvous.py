"""How the workers of a search find, and lose, one another.

The chief listens on its own address until every worker has come; TensorFlow
takes the port over after that. The connections stay open and carry nothing:
when a process or its machine ends, however suddenly, its peers read the end of
the stream, or keep-alive probes stay unanswered, and they know within seconds
even in the middle of a child. A worker that was started again is a new
connection, so it cannot be taken for the one that was lost.
"""

import contextlib
import json
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from nas_keras.distribute.topology import Topology
from nas_keras.distribute.topology import listen
from nas_keras.distribute.topology import split_address

_KEEPALIVE = {  # Seconds; seconds; count: 20 s to notice a machine's end.
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
}
_HELLO_S = 5.0  # Time to say hello, and to answer it.
_SAY_EVERY_S = 10.0
_SETTLE_S = 0.2
# How long one that is done waits for the others' goodbyes: a worker may be
# starved, the chief still busy.
_PARTING_S = 60.0
_LOOK_EVERY_S = 0.2
_WELCOME, _GO = b"welcome\n", b"go\n"
_BYE, _FAILED, _ERROR = b"bye\n", b"failed ", b"error "
_MAX_LINE = 2**20


class PeerLostError(RuntimeError):
    """A worker of the cluster is gone, or never came; start all again."""


OnLost = Callable[[str, int | None], None]


class Lifelines:
    """Open connections to peers: of the chief to all, of others to the chief.

    Args:
        peers: Index of a worker -> the connection.
    """

    def __init__(self, peers: dict[int, socket.socket]):
        self._peers = peers
        self._is_closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def watch(self, on_lost: OnLost) -> None:
        """Calls `on_lost` once, in a thread, when a peer is lost.

        Args:
            on_lost: Takes a sentence that says which, and the exit status
                that the peer has ended with, if it could tell.
        """
        selector = selectors.DefaultSelector()
        for index, peer in self._peers.items():
            selector.register(peer, selectors.EVENT_READ, index)
        self._watcher = threading.Thread(
            target=self._watch,
            args=(selector, on_lost),
            name="lifelines",
            daemon=True,
        )
        self._watcher.start()

    def _watch(self, selector: selectors.BaseSelector, on_lost: OnLost) -> None:
        with selector:
            while selector.get_map() and not self._is_closed.is_set():
                for key, _ in selector.select(timeout=_LOOK_EVERY_S):
                    peer = self._peers[key.data]
                    farewell, reason = _received(peer)
                    if self._is_closed.is_set():
                        return
                    selector.unregister(peer)
                    match = re.fullmatch(_FAILED + rb"(\d{1,3})\n", farewell)
                    if match:
                        status = int(match[1])
                        self.fail(status)  # The chief tells the others.
                        on_lost(f"worker {key.data} has failed", status)
                        return
                    if farewell != _BYE:
                        on_lost(f"worker {key.data} is lost: {reason}", None)
                        return

    def close(self) -> None:
        """Says goodbye, and returns when all have: what follows is no loss.

        A worker that left before would take its end of TensorFlow's
        connections along, and a peer may still wait for the last message.
        """
        is_chief = 0 not in self._peers
        if not is_chief:
            self._send(_BYE)
        if self._watcher is not None:  # It ends when all peers have gone.
            self._watcher.join(_PARTING_S)
        self._end(_BYE if is_chief else b"")

    def fail(self, status: int) -> None:
        """Says that this worker has failed for good.

        Args:
            status: Its exit status, with which its peers are to end too.
        """
        self._end(_FAILED + b"%d\n" % status)

    def cut(self) -> None:
        """Leaves without a word: for the peers this worker is lost."""
        self._end(b"")

    def _end(self, farewell: bytes) -> None:
        self._is_closed.set()
        self._send(farewell)
        for peer in self._peers.values():
            peer.close()

    def _send(self, farewell: bytes) -> None:
        for peer in self._peers.values():
            with contextlib.suppress(OSError):  # It has gone already.
                peer.sendall(farewell)


def _received(peer: socket.socket) -> tuple[bytes, str]:
    try:
        return _line(peer), "its connection was closed"
    except OSError as error:
        return b"", str(error.strerror)


def meet(
    topology: Topology, wait_s: float, say: Callable[[str], None]
) -> Lifelines:
    """Returns once all workers are there.

    Args:
        topology: The workers.
        wait_s: Seconds to wait for them.
        say: Is told, every ten seconds, for whom this worker waits.

    Raises:
        PeerLostError: If a worker has not come in time.
        ValueError: If this worker's port is in use, or the chief knows of
            another cluster than this worker.
    """
    if topology.index == 0:
        return Lifelines(_expect_workers(topology, wait_s, say))
    topology.check_port()
    return Lifelines({0: _join_chief(topology, wait_s, say)})


class _Patience:
    """Says at intervals what is waited for; raises when the time is over."""

    def __init__(self, wait_s: float, say: Callable[[str], None]):
        self._wait_s = wait_s
        self._say = say
        self._start = time.monotonic()
        self._said = 0.0

    def check(self, whom: str) -> None:
        waited_s = time.monotonic() - self._start
        if waited_s >= self._wait_s:
            raise PeerLostError(
                f"waited {self._wait_s:.0f} s in vain for {whom}"
            )
        if waited_s >= self._said + (_SAY_EVERY_S if self._said else 1.0):
            self._said = waited_s
            self._say(
                f"Waiting for {whom}: {waited_s:.0f} s of {self._wait_s:.0f} s."
            )


def _expect_workers(
    topology: Topology, wait_s: float, say: Callable[[str], None]
) -> dict[int, socket.socket]:
    patience = _Patience(wait_s, say)
    with _Arrivals(topology) as arrivals:
        while missing := arrivals.missing():
            patience.check(
                f"{len(missing)} of {len(topology.addresses)} workers: "
                + ", ".join(missing[:5])
                + (", …" if len(missing) > 5 else "")
            )
            arrivals.receive(_LOOK_EVERY_S)
        return arrivals.let_go()


class _Arrivals(contextlib.AbstractContextManager):
    """Who has come to the chief, and who only knocks."""

    def __init__(self, topology: Topology):
        self._topology = topology
        self._there: dict[int, socket.socket] = {}
        self._hellos: dict[socket.socket, bytes] = {}
        self._deadlines_s: dict[socket.socket, float] = {}
        self._selector = selectors.DefaultSelector()
        self._server = listen(topology)
        self._server.setblocking(False)
        self._selector.register(self._server, selectors.EVENT_READ)

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._selector.close()
        self._server.close()
        left = [*self._hellos, *(self._there.values() if error else ())]
        for connection in left:
            connection.close()

    def missing(self) -> list[str]:
        """Returns who has not come, or has gone again."""
        if len(self._there) == len(self._topology.addresses) - 1:
            # Perhaps one has gone by now, and its end is on the way.
            self.receive(_SETTLE_S)
        return [
            f"{index} ({address})"
            for index, address in enumerate(self._topology.addresses)
            if index and index not in self._there
        ]

    def receive(self, timeout_s: float) -> None:
        """Takes what has come since, waiting a while for something."""
        for key, _ in self._selector.select(timeout_s):
            connection: Any = key.fileobj  # The socket that was registered.
            if connection is self._server:
                self._accept()
            elif key.data is None:
                self._read(connection)
            else:  # A worker has nothing to say: it has ended.
                self._drop(connection)
                del self._there[key.data]
        now_s = time.monotonic()
        for connection, deadline_s in list(self._deadlines_s.items()):
            if now_s > deadline_s:
                self._drop(connection)

    def let_go(self) -> dict[int, socket.socket]:
        """Tells all workers that all are there; returns the connections."""
        for index, connection in self._there.items():
            try:
                connection.settimeout(_HELLO_S)
                connection.sendall(_GO)
            except OSError as error:
                raise PeerLostError(
                    f"worker {index} is lost: {error.strerror}"
                ) from None
        return self._there

    def _accept(self) -> None:
        try:
            connection, _ = self._server.accept()
        except (ConnectionError, BlockingIOError):
            return  # It has gone again.
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ)
        self._hellos[connection] = b""
        self._deadlines_s[connection] = time.monotonic() + _HELLO_S

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        self._hellos.pop(connection, None)
        self._deadlines_s.pop(connection, None)
        connection.close()

    def _read(self, connection: socket.socket) -> None:
        """Reads on in a hello; welcomes a worker once it is whole."""
        try:
            data = connection.recv(2**16)
        except OSError:
            data = b""
        hello = self._hellos[connection] + data
        self._hellos[connection] = hello
        if data and not hello.endswith(b"\n") and len(hello) < _MAX_LINE:
            return
        index, error = _introduction(hello, self._topology)
        if index in self._there:
            error = f"Worker {index} is there already: two have this index."
        try:
            if error is not None:
                connection.sendall(_ERROR + error.encode() + b"\n")
            if index is None or error is not None:
                self._drop(connection)
                return
            _keep_alive(connection)
            connection.sendall(_WELCOME)
        except OSError:
            self._drop(connection)
            return
        del self._hellos[connection], self._deadlines_s[connection]
        self._selector.modify(connection, selectors.EVENT_READ, index)
        self._there[index] = connection


def _introduction(
    hello: bytes, topology: Topology
) -> tuple[int | None, str | None]:
    """Returns the index of a worker, and what is wrong with it; or nothing."""
    try:
        value = json.loads(hello)
        index, addresses = value["worker"], value["addresses"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None, None  # Not one of ours: a probe of the port.
    if addresses != list(topology.addresses):
        return None, (
            f"The chief knows the workers {list(topology.addresses)}. Received "
            f"from worker {index}: {addresses}."
        )
    if type(index) is not int or not 0 < index < len(addresses):
        return None, f"There is no such worker: {index!r}."
    return index, None


def _join_chief(
    topology: Topology, wait_s: float, say: Callable[[str], None]
) -> socket.socket:
    patience = _Patience(wait_s, say)
    while True:
        patience.check(f"the chief, worker 0 ({topology.addresses[0]})")
        connection = _try_to_join(topology, patience)
        if connection is not None:
            return connection
        time.sleep(_LOOK_EVERY_S)


def _try_to_join(
    topology: Topology, patience: _Patience
) -> socket.socket | None:
    """Returns the connection once all have come; None: it ended, try again.

    What answers may also be what is left of an earlier run.
    """
    address = split_address(topology.addresses[0], topology.source)
    hello = {"worker": topology.index, "addresses": topology.addresses}
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(
                socket.create_connection(address, timeout=_HELLO_S)
            )
            _keep_alive(connection)
            connection.sendall(json.dumps(hello).encode() + b"\n")
            answer = _line(connection)
            if answer.startswith(_ERROR):
                reason = answer.removeprefix(_ERROR).decode()
                raise ValueError(f"{topology.source}: {reason.strip()}")
            if answer != _WELCOME:
                return None
            while not _has_come(connection):
                patience.check("the other workers")
            if _line(connection) != _GO:
                return None
        except (OSError, UnicodeDecodeError):
            return None
        stack.pop_all()  # It stays open.
        return connection


def _has_come(connection: socket.socket) -> bool:
    """Waits a while; returns whether there is something to read, or an end."""
    connection.settimeout(_LOOK_EVERY_S)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return False
    finally:
        connection.settimeout(_HELLO_S)
    return True


def _line(connection: socket.socket) -> bytes:
    """Reads to the end of a line, byte by byte: nothing beyond it is taken."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _MAX_LINE:
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # Not on every system.
            connection.setsockopt(
                socket.IPPROTO_TCP, getattr(socket, name), value
            )
