"""Results that are finished and not in a journal yet, each in a file.

Every worker writes its own before it meets the others, so a run that is
killed loses no finished result, and whoever goes on with it, on however many
workers, finds them all.
"""

import hashlib
import json
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from nas_keras.storage import files


class Pending:
    """A folder of finished results.

    Beside each file is a mark, so that a file which is gone is missed.

    Args:
        folder: Made with the first result.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, key: str, record: Mapping[str, Any]) -> None:
        """Keeps a result; it survives a crash once this returns."""
        files.make_folder(self._folder)
        text = json.dumps(record, allow_nan=False, ensure_ascii=False)
        value = {"sha256": _digest(text), "record": record}
        data = json.dumps(value, allow_nan=False, ensure_ascii=False)
        files.write_atomically(self._path(key), data.encode())
        files.write_atomically(self._mark(key), key.encode())

    def keys(self) -> set[str]:
        """Returns the keys of all results, damaged or not."""
        return {
            path.stem
            for suffix in ("json", "mark")
            for path in self._folder.glob(f"[!.]*.{suffix}")
        }

    def read(self) -> dict[str, dict[str, Any]]:
        """Returns key -> result.

        One that is damaged or gone is left out with a warning that names it,
        and is evaluated once more.
        """
        found = {}
        for key in sorted(self.keys()):
            path = self._path(key)
            record = _record(path.read_bytes()) if path.exists() else None
            if record is None:
                logging.warning(
                    "%s is damaged or gone; evaluating it once more.", path
                )
            else:
                found[key] = record
        return found

    def remove(self, keys: Iterable[str]) -> None:
        """Forgets results that are in a journal now."""
        for key in keys:
            self._mark(key).unlink(missing_ok=True)
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _mark(self, key: str) -> Path:
        return self._folder / f"{key}.mark"


def _record(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
        record, digest = value["record"], value["sha256"]
        text = json.dumps(record, allow_nan=False, ensure_ascii=False)
        return record if _digest(text) == digest else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
