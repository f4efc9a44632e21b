"""Devices and workers that train one model together.

The workers of a `Cluster`, or the devices of this machine, as
`nas_keras.tasks.training.replicas.Replicas`.
"""

from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from nas_keras import libraries
from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.cluster import devices_here
from nas_keras.distribute.cluster import mirrored_strategy
from nas_keras.distribute.cluster import replica_context
from nas_keras.tasks.training.replicas import OneReplica
from nas_keras.tasks.training.replicas import Replicas


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
