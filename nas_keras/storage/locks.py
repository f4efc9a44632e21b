"""The lock of a workdir: one writer at a time."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
from absl import logging

from nas_keras.storage.files import write_atomically

_LEASE_S = 120.0  # Network file systems free a lost machine's locks in 90 s.


@contextlib.contextmanager
def exclusive(workdir: Path) -> Iterator[str]:
    """Holds a workdir for this process; gives the name of the holder.

    Raises:
        ValueError: If another process holds it; the message names it.
    """
    # Without a soft lock: one of those outlives its process.
    lock = filelock.FileLock(
        workdir / "lock", thread_local=False, fallback_to_soft=False
    )
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        _wait_for_lease(lock, workdir)
    try:
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        holder = f"pid {os.getpid()} on {_machine()} since {began}"
        write_atomically(workdir / "lock.holder", f"{holder}\n".encode())
        yield holder
    finally:
        (workdir / "lock.holder").unlink(missing_ok=True)
        lock.release()


def _wait_for_lease(lock: filelock.BaseFileLock, workdir: Path) -> None:
    """Waits for a lock whose holder may have been lost with its machine.

    A network file system keeps such a lock for a while. The holder may also
    not have written its name yet.
    """
    holder = holder_of(workdir) or "another process"
    is_elsewhere = f" on {_machine()} " not in holder
    try:
        if is_elsewhere and holder != "another process":
            logging.warning(
                "Waiting up to %.0f s for workdir %r: it is in use by %s.",
                _LEASE_S,
                str(workdir),
                holder,
            )
            lock.acquire(timeout=_LEASE_S)
            return
    except filelock.Timeout:
        holder = holder_of(workdir) or holder
    raise ValueError(
        f"workdir {str(workdir)!r} is in use by {holder}. A workdir has one "
        "writer at a time."
    )


def _machine() -> str:
    """Returns a name of this machine, or of its run: a pod keeps its name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return socket.gethostname()  # Not on every system.
    return f"{socket.gethostname()} (boot {boot})"


def holder_of(workdir: Path) -> str | None:
    """Returns the name of who holds a workdir, if it is there."""
    try:
        return (workdir / "lock.holder").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
