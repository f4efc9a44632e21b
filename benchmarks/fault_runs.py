"""Runs of two workers for `fault_injection.py`, and what they come to.

The workers are `fault_worker.py`. A run is a folder: the search's workdir, and
a log of what its workers began and kept.
"""

import concurrent.futures
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import measuring

CHILD_S = 0.3  # A child is made to last: most moments are within one.

_HUNG_S = 900.0  # From which on a worker counts as one that does not end.
_WORKER = pathlib.Path(__file__).with_name("fault_worker.py")
_TIMES = r'"elapsed_s": [0-9.e-]+'


@dataclasses.dataclass(frozen=True)
class Ended:
    """How one start of a worker ended.

    Attributes:
        status: Exit status, negative for a signal.
        elapsed_s: Seconds from start to end.
        errors: Standard error, without TensorFlow's chatter.
    """

    status: int
    elapsed_s: float
    errors: str


def start(
    folder: pathlib.Path,
    faults: Mapping[str, object],
    tf_config: str | None = None,
    **options: Any,
) -> subprocess.Popen:
    """Starts a worker in the folder of a run.

    Args:
        folder: Of the run.
        faults: What `fault_worker.py` does, by name in small letters.
        tf_config: Of the worker; None if it is alone.
        **options: Of the process.
    """
    folder.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "FAULT_LOG": str(folder / "log"),
        **{f"FAULT_{name.upper()}": str(v) for name, v in faults.items()},
    }
    if tf_config is not None:
        environment["TF_CONFIG"] = tf_config
    return subprocess.Popen(
        [sys.executable, str(_WORKER), "--preset=faults", "--workdir=run",
         "--noreport", "--wait_s=20"],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def start_pair(
    folder: pathlib.Path, faults: Sequence[Mapping[str, object]] = ({}, {})
) -> list[subprocess.Popen]:
    """Starts two workers with slow children, each with faults of its own."""
    configs = measuring.tf_configs(len(faults))
    return [
        start(folder, {"slow": CHILD_S, **fault}, config)
        for fault, config in zip(faults, configs, strict=True)
    ]


def wait(workers: Sequence[subprocess.Popen]) -> list[Ended]:
    """Waits for all; a worker that does not end is an error."""
    start_s = time.monotonic()

    def end(worker: subprocess.Popen) -> Ended:
        _, errors = worker.communicate(timeout=_HUNG_S)
        chatter = r"(?m)^(I\d{4} |WARNING: All log messages).*\n"
        errors = re.sub(chatter, "", errors)
        return Ended(worker.returncode, time.monotonic() - start_s, errors)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        try:
            return list(pool.map(end, workers))
        finally:
            for worker in workers:
                worker.kill()  # Nothing to one that has ended.


def results(folder: pathlib.Path) -> dict[str, bytes]:
    """Returns what must be equal: name -> content without times."""
    run = folder / "run"
    paths = [run / "best_cell.json"]
    for part in (run, run / "random"):
        paths += part.glob("*.jsonl")
        paths += part.glob("checkpoints/*")
    return {
        path.relative_to(run).as_posix(): re.sub(
            _TIMES.encode(), b"", path.read_bytes()
        )
        for path in paths
        if path.name != "workers.jsonl"  # All of it is times.
    }


def differences(folder: pathlib.Path, want: pathlib.Path) -> list[str]:
    """Returns the names of the results in which two runs differ."""
    ours, theirs = results(folder), results(want)
    names = sorted(ours.keys() | theirs.keys())
    return [name for name in names if ours.get(name) != theirs.get(name)]


def num_in_vain(folder: pathlib.Path) -> int:
    """Returns how many children were begun after they had been kept."""
    kept, num = set(), 0
    for line in (folder / "log").read_text().splitlines():
        event, *key = line.split()
        if event == "kept":
            kept.add(tuple(key))
        num += event == "begun" and tuple(key) in kept
    return num


def sleep_unless_done(
    workers: Sequence[subprocess.Popen], seconds: float
) -> None:
    """Sleeps, at most until all workers have ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(
        worker.poll() is None for worker in workers
    ):
        time.sleep(0.01)
