"""`Cluster`: the processes of one search, and what they tell one another.

The one module that names `tf.distribute`: `MultiWorkerMirroredStrategy` is the
engine. TensorFlow is loaded only where there are several workers.
"""

import contextlib
import hashlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

import numpy as np
from absl import logging

from nas_keras import libraries
from nas_keras.data.sources import is_read_by_tensorflow
from nas_keras.distribute import exits
from nas_keras.distribute import rendezvous
from nas_keras.distribute.rendezvous import PeerLostError
from nas_keras.distribute.topology import Topology
from nas_keras.distribute.topology import from_environment

_Item = TypeVar("_Item")
_WORD_BYTES = 4  # Messages travel as int32.


class Cluster(contextlib.AbstractContextManager):
    """The workers of a search; each process has one, made before any tensor.

    All workers call the same methods in the same order. Worker 0, the chief,
    is the one that owns the workdir.

    Args:
        topology: The workers, or None: this process is alone.
        wait_s: Seconds to wait for the others.
        say: Is told what is waited for.
        on_lost: Called in a thread when a worker is lost, with a sentence,
            and the exit status if it has failed for good. Without it, the
            next `gather` raises.

    Attributes:
        size: N, the number of workers.
        index: Which of them this is.
        strategy: The `MultiWorkerMirroredStrategy`, or None if N is 1.

    Raises:
        PeerLostError: If a worker does not come in time.
        ValueError: If the port of this worker is in use, the chief knows
            other workers, or a worker sees more than one GPU.

    Example:

    >>> with Cluster() as cluster:
    ...     cluster.gather(b"a message")
    [b'a message']
    """

    def __init__(
        self,
        topology: Topology | None = None,
        wait_s: float = 600.0,
        say: Callable[[str], None] = logging.warning,
        on_lost: rendezvous.OnLost | None = None,
    ):
        self.size = len(topology.addresses) if topology else 1
        self.index = topology.index if topology else 0
        self.strategy = None
        self._loss: str | None = None
        self._on_lost = on_lost
        self._lifelines = None
        if topology is not None and self.size > 1:
            self._lifelines = rendezvous.meet(topology, wait_s, say)
            self._lifelines.watch(self._lost)
            try:
                self.strategy = _strategy(topology)
            except Exception:
                self.__exit__(*sys.exc_info())
                raise
            self._sum = _summation(self.strategy)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, resolver: str = "auto",
        **arguments: Any,
    ) -> "Cluster":  # fmt: skip
        """Returns the cluster of `TF_CONFIG` or of Slurm, or one of one.

        Args:
            environ: The environment.
            resolver: As for `topology.from_environment`.
            **arguments: Those of `Cluster`.
        """
        return cls(from_environment(environ, resolver), **arguments)

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._lifelines is None:
            return
        if error is None:
            self._lifelines.close()
        elif isinstance(error, Exception) and not isinstance(
            error, PeerLostError
        ):
            self._lifelines.fail(exits.status_of(error))
        else:
            self._lifelines.cut()

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def share(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """Returns this worker's part of a list that all workers have."""
        low, high = (
            len(items) * index // self.size
            for index in (self.index, self.index + 1)
        )
        return items[low:high]

    def gather(self, message: bytes) -> list[bytes]:
        """Returns the messages of all workers, in their order.

        Raises:
            PeerLostError: If a worker is lost.
        """
        if self.size == 1:
            return [message]
        lengths = np.zeros(self.size, np.int32)
        lengths[self.index] = len(message)
        lengths = self._all_reduce(lengths)
        ends = np.cumsum(-(-lengths // _WORD_BYTES))
        if not ends[-1]:
            return [b""] * self.size  # TensorFlow crashes on an empty sum.
        words = np.zeros(ends[-1], np.int32)
        end = ends[self.index]
        padded = message + bytes(-len(message) % _WORD_BYTES)
        words[end - len(padded) // _WORD_BYTES : end] = np.frombuffer(
            padded, np.int32
        )
        parts = np.split(self._all_reduce(words), ends[:-1])
        return [
            part.tobytes()[:length]
            for part, length in zip(parts, lengths, strict=True)
        ]

    def broadcast(self, message: bytes) -> bytes:
        """Returns the chief's message; that of the others is not looked at.

        Raises:
            PeerLostError: If a worker is lost.
        """
        return self.gather(message if self.is_chief else b"")[0]

    def broadcast_array(self, array: np.ndarray) -> np.ndarray:
        """Returns the chief's array, in one exchange instead of two.

        Args:
            array: int32; of the others only the shape counts, which must be
                that of the chief's.

        Raises:
            PeerLostError: If a worker is lost.
        """
        if self.size == 1:
            return array
        if not self.is_chief:
            array = np.zeros_like(array)
        return self._all_reduce(array.ravel()).reshape(array.shape)

    def check_agreement(self, name: str, value: bytes) -> None:
        """Makes sure that a value is the same on all workers.

        Raises:
            PeerLostError: If a worker is lost.
            ValueError: If not; the message names the workers that differ.
        """
        digests = self.gather(hashlib.sha256(value).digest())
        others = [k for k, digest in enumerate(digests) if digest != digests[0]]
        if others:
            raise ValueError(
                f"{name} must be the same on all workers. Received: another "
                f"one on the workers {others} than on the chief."
            )

    def mean(self, values: Any) -> Any:
        """Returns the mean over the workers of a float tensor, in a graph.

        To be called in a `tf.function` that all workers call alike, inside
        `watched`.
        """
        if self.strategy is None:
            return values
        return self.strategy.run(_average, args=(values,))

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Raises `PeerLostError` for what a lost worker makes fail.

        Raises:
            PeerLostError: If a worker is lost.
        """
        if self.size == 1:
            yield
            return
        import tensorflow as tf

        self.check_peers()
        try:
            yield
        except tf.errors.OpError as error:
            kind = type(error).__name__
            raise PeerLostError(
                self._loss or f"a worker is lost, or hangs: {kind}"
            ) from error

    def check_peers(self) -> None:
        """Raises `PeerLostError` if a worker is known to be lost."""
        if self._loss is not None:
            raise PeerLostError(self._loss)

    def _lost(self, reason: str, status: int | None) -> None:
        self._loss = reason
        if self._on_lost is not None:
            self._on_lost(reason, status)

    def _all_reduce(self, values: np.ndarray) -> np.ndarray:
        with self.watched():
            return self._sum(values).numpy()


def limit_threads(num_threads: int) -> None:
    """Limits the threads of an operation; to be called before any tensor.

    The last digits of a sum depend on how many threads share it, so runs that
    are to be equal have an equal number. Other backends than TensorFlow have
    no such limit.

    Args:
        num_threads: At most so many; 0: one for each core.
    """
    if not libraries.is_backend_tensorflow():
        return
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(num_threads)


def prepare_to_read(dataset: str, num_threads: int) -> None:
    """Limits the threads before a data set is read, if TensorFlow reads it.

    Afterwards it would be too late.
    """
    if is_read_by_tensorflow(dataset):
        limit_threads(num_threads)


def check_dataset(dataset: str, num_workers: int) -> None:
    """Refuses data that several workers cannot read.

    Raises:
        ValueError: If TensorFlow would read them: it must be told of the
            other workers before it does anything.
    """
    if num_workers > 1 and is_read_by_tensorflow(dataset):
        raise ValueError(
            "Several workers read files or embedded data, not TensorFlow "
            "Datasets: write the set to a folder of files first. Received: "
            f"dataset={dataset!r} for {num_workers} workers."
        )


def mirrored_strategy(devices: Sequence[str]) -> Any:
    """Returns a `tf.distribute.MirroredStrategy` of devices of this machine."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


def devices_here() -> list[str]:
    """Returns this machine's devices, such as `"GPU:0"`."""
    import tensorflow as tf

    return [
        device.name.removeprefix("/device:")
        for device in tf.config.list_logical_devices()
    ]


def replica_context() -> Any:
    """Returns TensorFlow's context of the replica that is being traced."""
    import tensorflow as tf

    return tf.distribute.get_replica_context()


def _strategy(topology: Topology) -> Any:
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(topology.addresses)}),
        task_type="worker",
        task_id=topology.index,
        rpc_layer="grpc",
    )
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(
            cluster_resolver=resolver
        )
    except tf.errors.OpError as error:
        raise PeerLostError(
            f"TensorFlow's workers did not meet: {error}"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # TensorFlow has taken it.
    devices = strategy.extended.worker_devices
    if len(devices) > 1:
        raise ValueError(
            "A worker must see at most one GPU: start one worker for each, "
            f"with its CUDA_VISIBLE_DEVICES. Received: {list(devices)}."
        )
    return strategy


def _average(values: Any) -> Any:
    import tensorflow as tf

    return replica_context().all_reduce("MEAN", tf.identity(values))


def _summation(strategy: Any) -> Callable:
    """Returns a function of int32 [n] that sums over the workers."""
    import tensorflow as tf

    def add(values: Any) -> Any:
        # All-reduce of a raw argument fails: it has no device.
        return replica_context().all_reduce("SUM", tf.identity(values))

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False
    )
    def summed(values: Any) -> Any:
        return strategy.run(add, args=(values,))

    return summed
