"""JSON files of a workdir, and its lock."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from nas_keras.files import write_atomically


def write_json(path: Path, value: Any) -> None:
    """Writes JSON for people to read, atomically."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file.

    Raises:
        ValueError: If it cannot be read; the message names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ValueError(f"{path}: damaged, not JSON: {error}.") from None


@contextlib.contextmanager
def exclusive(workdir: Path) -> Iterator[None]:
    """Holds a workdir for this process.

    Raises:
        ValueError: If another process holds it; the message names it.
    """
    lock = filelock.FileLock(workdir / "lock", thread_local=False)
    holder = workdir / "lock.holder"
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        try:
            name = holder.read_text()
        except OSError:
            name = "another process"  # It has not written its name yet.
        raise ValueError(
            f"workdir {str(workdir)!r} is in use by {name.strip()}. A workdir "
            "has one writer at a time."
        ) from None
    try:
        write_atomically(
            holder, f"pid {os.getpid()} on {socket.gethostname()}\n".encode()
        )
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
