"""What trains together, as a training sees it: devices and processes.

`OneReplica` is one device of one process. Others are made where strategies of
distribution are known, by `nas_keras.distribute.replicas`.
"""

import contextlib
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any
from typing import Protocol


class Replicas(Protocol):
    """Devices that hold the same weights, each with its rows of a batch.

    Attributes:
        num: How many there are, in all processes.
        is_chief: Whether this process is the one that writes.
    """

    num: int
    is_chief: bool

    def scope(self) -> AbstractContextManager[Any]:
        """Returns the context that variables are to be made in."""

    def run(self, function: Callable[[Any], Any]) -> Any:
        """Calls `function(index)` on each replica; returns the first's result.

        To be called while a `tf.function` is traced.
        """

    def sum(self, tensors: Sequence[Any]) -> list[Any]:
        """Returns the sums over all replicas; to be called in `run`."""

    def watched(self) -> AbstractContextManager[Any]:
        """Returns the context of a call whose peers may be lost."""

    def broadcast(self, message: bytes) -> bytes:
        """Returns the chief's message."""


class OneReplica:
    """One device of one process."""

    num = 1
    is_chief = True

    def scope(self) -> AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def run(self, function: Callable[[Any], Any]) -> Any:
        return function(0)

    def sum(self, tensors: Sequence[Any]) -> list[Any]:
        return list(tensors)

    def watched(self) -> AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def broadcast(self, message: bytes) -> bytes:
        return message
