"""`Replicas`: devices and workers that train one model together.

They are one device of one process, the devices of this machine, or the workers
of a `Cluster`.
"""

import contextlib
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any
from typing import Protocol

from nas_keras import libraries
from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.cluster import devices_here
from nas_keras.distribute.cluster import mirrored_strategy
from nas_keras.distribute.cluster import replica_context


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


def replicas_of(cluster: Cluster, devices: Sequence[str] = ()) -> Replicas:
    """Returns the replicas of a training.

    Args:
        cluster: The processes that train together.
        devices: Of this machine, such as `"GPU:0"`, if no other process takes
            part; by default its GPUs, if there are several.

    Raises:
        ValueError: If there are devices and several processes, or Keras's
            backend is not TensorFlow, or a device is not of this machine.
    """
    if not libraries.is_backend_tensorflow():
        if devices:
            raise ValueError(
                "devices must be left out on a backend other than TensorFlow: "
                f"one device trains. Received: devices={list(devices)}."
            )
        return OneReplica()
    if cluster.size > 1:
        if devices:
            raise ValueError(
                "devices must be left out where several processes train "
                "together: each has one. Received: "
                f"devices={list(devices)}."
            )
        return _Mirrored(cluster.strategy, cluster)
    here = devices_here()
    if not set(devices) <= set(here) or len(set(devices)) < len(devices):
        raise ValueError(
            f"devices must be of {here}, each at most once. Received: "
            f"devices={list(devices)}."
        )
    if not devices:
        devices = [name for name in here if name.startswith("GPU:")]
        if len(devices) < 2:
            return OneReplica()
    return _Mirrored(mirrored_strategy(devices), cluster)


class _Mirrored:
    """The replicas of a strategy."""

    def __init__(self, strategy: Any, cluster: Cluster):
        self._strategy, self._cluster = strategy, cluster
        self.num = strategy.num_replicas_in_sync
        self.is_chief = cluster.is_chief

    def scope(self) -> AbstractContextManager[Any]:
        return self._strategy.scope()

    def run(self, function: Callable[[Any], Any]) -> Any:
        def of_replica() -> Any:
            return function(replica_context().replica_id_in_sync_group)

        results = self._strategy.run(of_replica)
        return self._strategy.experimental_local_results(results)[0]

    def sum(self, tensors: Sequence[Any]) -> list[Any]:
        return list(replica_context().all_reduce("SUM", list(tensors)))

    def watched(self) -> AbstractContextManager[Any]:
        return self._cluster.watched()

    def broadcast(self, message: bytes) -> bytes:
        return self._cluster.broadcast(message)
