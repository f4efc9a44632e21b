"""Guards: what was written to a file that only grows, to tell if it was cut.

A guard is a file beside the other one, with its length and its SHA-256. It is
written after each addition, so it may be behind, never ahead.
"""

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path

from absl import logging

from nas_keras.storage.files import write_atomically


def guard_of(path: Path) -> Path:
    """Returns the path of a file's guard."""
    return path.with_name(path.name + ".sha256")


def write(path: Path, num_bytes: int, digest: str) -> None:
    """Writes the guard of a file.

    Args:
        path: Of the file.
        num_bytes: Its length.
        digest: Its SHA-256, in hexadecimal digits.
    """
    write_atomically(guard_of(path), _sealed(f"{num_bytes} {digest}"))


def read(path: Path) -> tuple[bytes, bytes | None]:
    """Returns what a file and its guard hold, for `check`.

    No file is an empty one; no guard is None.
    """
    guard = guard_of(path)
    # First the guard: the file may be growing.
    seal = guard.read_bytes() if guard.exists() else None
    return path.read_bytes() if path.exists() else b"", seal


def check(
    path: Path,
    data: bytes,
    seal: bytes | None,
    tell: Callable[..., None] | None = None,
) -> None:
    """Refuses a file that is not what was written, or longer.

    Args:
        path: Of the file.
        data: What it holds.
        seal: What its guard holds, or None.
        tell: Is told of a guard that is passed over because it is missing or
            damaged; `logging.warning` by default.

    Raises:
        ValueError: If it is not.
    """
    guard, tell = guard_of(path), tell or logging.warning
    if seal is None:
        if data:
            tell("%s has no guard; taken as it is.", path)
        return
    text = seal.decode(errors="replace")
    fields = text.split()
    if len(fields) != 3 or text.encode() != _sealed(" ".join(fields[:2])):
        tell("%s is damaged; not looked at.", guard)
        return
    written = data[: int(fields[0])]
    if hashlib.sha256(written).hexdigest() != fields[1]:
        raise ValueError(
            f"{path} is damaged: its first {int(fields[0])} bytes are not "
            f"those that were written (see {guard.name}); it has {len(data)}. "
            "Restore the file from a copy; nothing was changed."
        )


def _sealed(text: str) -> bytes:
    """Returns a line with a checksum of its own."""
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()
