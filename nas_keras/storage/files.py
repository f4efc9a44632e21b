"""Writing a file so that a crash leaves the old one or the new one."""

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces a file whole: temporary file, fsync, rename, fsync."""
    temporary = temporary_path(path)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)  # Not the temporary name, or none.
        raise
    finally:
        # Where the disk may not be written, the first error is the one to tell.
        with contextlib.suppress(OSError):
            temporary.unlink()
    sync_folder(path.parent)


def temporary_path(path: Path, suffix: str = "") -> Path:
    """Returns where to write what is to become a file.

    Args:
        path: Of the file.
        suffix: What the writer wants the name to end in.
    """
    return path.with_name(f".{path.name}.{os.getpid()}.tmp{suffix}")


# Their names, with the suffixes that writers want.
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp(\.keras)?", re.S)


def sync_folder(folder: Path) -> None:
    """Puts the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporary(folder: Path) -> None:
    """Removes what writers that were killed have left in a folder."""
    for path in folder.glob(".*.tmp*"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Makes a folder; its name survives a crash once this returns."""
    if not folder.exists():
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


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
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, not JSON: {error}.") from None
