"""Devices and workers that train one model together.

The workers of a `Cluster`, or the devices of this machine, as
`nas_keras.tasks.replicas.Replicas`.
"""

from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from nas_keras.search.cluster import Cluster
from nas_keras.search.cluster import gpus
from nas_keras.search.cluster import mirrored_strategy
from nas_keras.search.cluster import replica_context
from nas_keras.tasks.replicas import OneReplica
from nas_keras.tasks.replicas import Replicas


def replicas_of(cluster: Cluster, devices: Sequence[str] = ()) -> Replicas:
    """Returns the replicas of a training.

    Args:
        cluster: The processes that train together.
        devices: Of this machine, such as `"GPU:0"`, if there are several and
            no other process takes part.

    Raises:
        ValueError: If there are several devices and several processes.
    """
    if cluster.size > 1:
        if len(devices) > 1:
            raise ValueError(
                "devices must be left out where several processes train "
                "together: each has one. Received: "
                f"devices={list(devices)}."
            )
        return _Mirrored(cluster.strategy, cluster)
    if len(devices) > 1:
        return _Mirrored(mirrored_strategy(devices), cluster)
    return OneReplica()


def devices_of(cluster: Cluster, devices: Sequence[str]) -> list[str]:
    """Returns the devices of this machine that are to train together.

    Args:
        cluster: The processes that train together.
        devices: Those that are asked for; if none are, and no other process
            takes part, they are the machine's GPUs.
    """
    if devices or cluster.size > 1:
        return list(devices)
    return gpus()


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
