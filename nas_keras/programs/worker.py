"""A process of a program: its peers, its TensorFlow; and that of a search.

TensorFlow is loaded by `run_worker` and not before, unless it is to read the
data: whatever can be wrong with a command is known by then.
"""

import contextlib
import functools
import logging
import os
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import NoReturn

import rich.console

from nas_keras import libraries
from nas_keras.distribute import exits
from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.cluster import limit_threads
from nas_keras.distribute.rendezvous import PeerLostError
from nas_keras.distribute.topology import Topology
from nas_keras.experiment.experiment import Experiment
from nas_keras.programs import supervisor
from nas_keras.programs.progress import Progress
from nas_keras.programs.progress import SentProgress


def quieten_tensorflow(has_peers: bool) -> None:
    """Has TensorFlow say less; to be called before it is loaded."""
    # Of a lost worker it would tell at length.
    level = "3" if has_peers else "2"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", level)
    # What is retrained is a program of its own each; it would warn.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextlib.contextmanager
def joined(
    name: str, workers: Topology | None, num_threads: int, **options: Any
) -> Iterator[Cluster]:
    """Joins the other workers; the process ends when one of them is lost.

    Args:
        name: Of the program, for messages.
        workers: All of them, or None if this process is alone.
        num_threads: As for `limit_threads`.
        **options: Of the `Cluster`.

    Raises:
        ValueError: If there are several and Keras's backend is not TensorFlow.
    """

    def on_lost(reason: str, status: int | None = None) -> NoReturn:
        exits.leave(name, status or exits.PEER_LOST, reason)

    if workers is not None and len(workers.addresses) > 1:
        libraries.check_tensorflow("where several workers train")
    limit_threads(num_threads)
    try:
        with Cluster(workers, on_lost=on_lost, **options) as cluster:
            yield cluster
    except PeerLostError as error:
        on_lost(str(error))


def run_worker(
    name: str,
    experiment: Experiment,
    workdir: pathlib.Path,
    workers: Topology | None,
    wait_s: float,
    say: Callable[[str], None],
) -> None:
    """Runs a search, or this worker's part of it.

    Args:
        name: Of the program, for messages.
        experiment: The configuration and the data.
        workdir: Folder of all results.
        workers: All of them, or None if this process is alone.
        wait_s: Seconds to wait for the others.
        say: Prints a line.

    Raises:
        ValueError: As `run` does.
        SearchError: As `run` does.
    """
    exits.leave_on_signals(name)
    parent = os.environ.get(supervisor.PARENT_VARIABLE)
    if parent:
        exits.leave_with_parent(name, int(parent))
    quieten_tensorflow(workers is not None)
    from nas_keras.experiment.run import run

    options = {"wait_s": wait_s, "say": say}
    num_threads = experiment.config.num_threads
    with joined(name, workers, num_threads, **options) as cluster:
        display: Callable[..., Progress] = functools.partial(
            Progress, console=rich.console.Console(quiet=True)
        )
        if parent:
            display = SentProgress
        elif cluster.is_chief:
            display = Progress
        run(experiment, workdir, display, cluster)
