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


def read_guarded(path: Path, tell: Callable[..., None] | None = None) -> bytes:
    """Returns what a file holds; nothing, if it and its guard are missing.

    Args:
        path: Of the file.
        tell: Is told of a guard that is passed over because it is missing or
            damaged; `logging.warning` by default.

    Raises:
        ValueError: If the file is not what was written, or longer.
    """
    guard, tell = guard_of(path), tell or logging.warning
    # First the guard: the file may be growing.
    text = guard.read_bytes().decode(errors="replace") if guard.exists() else ""
    data = path.read_bytes() if path.exists() else b""
    if not guard.exists():
        if data:
            tell("%s has no guard; taken as it is.", path)
        return data
    fields = text.split()
    if len(fields) != 3 or text.encode() != _sealed(" ".join(fields[:2])):
        tell("%s is damaged; not looked at.", guard)
        return data
    written = data[: int(fields[0])]
    if hashlib.sha256(written).hexdigest() != fields[1]:
        raise ValueError(
            f"{path} is damaged: its first {int(fields[0])} bytes are not "
            f"those that were written (see {guard.name}); it has {len(data)}. "
            "Restore the file from a copy; nothing was changed."
        )
    return data


def _sealed(text: str) -> bytes:
    """Returns a line with a checksum of its own."""
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()
