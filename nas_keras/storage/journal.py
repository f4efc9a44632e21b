"""Append-only files of JSON lines, fsynced: what a search must not lose."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from nas_keras.storage import guards
from nas_keras.storage.files import sync_folder
from nas_keras.storage.files import write_atomically


class Journal:
    """A file of JSON objects, one a line, each on disk once `append` returns.

    Beside it is its guard, a file with the length and the SHA-256 of what was
    written: a journal that was cut, changed or removed is an error, for it is
    what all else can be rebuilt from. A last line that a crash cut short is
    dropped, loudly; so is a damaged guard.

    Args:
        path: The file; made when the first record is appended.
        required: The keys of a record, and the types of their values.

    Raises:
        ValueError: If what was written is not there any more.
    """

    def __init__(self, path: Path, required: Mapping[str, tuple[type, ...]]):
        self.path = path
        self.records: list[dict[str, Any]] = []
        data, seal = guards.read(path)
        whole = data.rfind(b"\n") + 1
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            self.records.append(_decode(line, path, number, required))
        guards.check(path, data, seal)
        if whole < len(data):
            logging.warning(
                "%s: dropping the last line, which a crash cut short: %r.",
                path,
                data[whole : whole + 60],
            )
            self._cut(whole)
        self._digest = hashlib.sha256(data[:whole])
        self._num_bytes = whole

    def append(self, *records: Mapping[str, Any]) -> None:
        """Adds records; they survive a crash once this returns.

        Raises:
            OSError: If there is no room; the file is then as it was, unless
                it was the guard that could not be written.
        """
        lines = "".join(
            json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n"
            for record in records
        ).encode()
        is_new = not self.path.exists()
        try:
            with open(self.path, "ab") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                sync_folder(self.path.parent)
        except OSError as error:
            if self.path.exists():
                self._cut(self._num_bytes)
            error.filename = str(self.path)
            raise
        self._digest.update(lines)
        self._num_bytes += len(lines)
        self.records += map(dict, records)
        guards.write(self.path, self._num_bytes, self._digest.hexdigest())

    def _cut(self, num_bytes: int) -> None:
        with open(self.path, "r+b") as file:
            file.truncate(num_bytes)
            os.fsync(file.fileno())


def write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes trials for a spreadsheet, a column for each metric."""
    metrics = sorted({name for record in records for name in record["metrics"]})
    columns = ["id", "step", "row", "reward", "infeasible", "elapsed_s"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*columns, *metrics, "same_as", "fingerprint", "tokens"])
    for record in records:
        writer.writerow(
            [
                *(record[column] for column in columns),
                *(record["metrics"].get(name, "") for name in metrics),
                record.get("same_as"),  # Not of older journals.
                record["fingerprint"],
                " ".join(map(str, record["tokens"])),
            ]
        )
    write_atomically(path, text.getvalue().encode())


def _decode(
    line: bytes,
    path: Path,
    number: int,
    required: Mapping[str, tuple[type, ...]],
) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not all(
        key in record and type(record[key]) in types
        for key, types in required.items()
    ):
        raise ValueError(
            f"{path}: line {number} is damaged: {line[:60]!r}. Restore the "
            "file from a copy; nothing was changed."
        )
    return record
