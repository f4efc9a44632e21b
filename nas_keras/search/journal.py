"""Append-only files of JSON lines, fsynced: what a search must not lose."""

import csv
import io
import json
import os
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from nas_keras.files import sync_folder
from nas_keras.files import write_atomically


class Journal:
    """A file of JSON objects, one a line, each on disk once `append` returns.

    A last line that a crash cut short is dropped, loudly; any other damage is
    an error, for the journal is what all else can be rebuilt from.

    Args:
        path: The file; made when the first record is appended.
        required: The keys of a record, and the types of their values.

    Raises:
        ValueError: If a line other than the last is damaged.
    """

    def __init__(self, path: Path, required: Mapping[str, tuple[type, ...]]):
        self.path = path
        self.records: list[dict[str, Any]] = []
        data = path.read_bytes() if path.exists() else b""
        whole = data.rfind(b"\n") + 1
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            self.records.append(_decode(line, path, number, required))
        if whole < len(data):
            logging.warning(
                "%s: dropping the last line, which a crash cut short: %r.",
                path,
                data[whole : whole + 60],
            )
            with open(path, "r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds a record; it survives a crash once this returns."""
        line = json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n"
        is_new = not self.path.exists()
        with open(self.path, "ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_folder(self.path.parent)
        self.records.append(dict(record))


def write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes trials for a spreadsheet, a column for each metric."""
    metrics = sorted({name for record in records for name in record["metrics"]})
    columns = ["id", "step", "row", "reward", "infeasible", "elapsed_s"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*columns, *metrics, "fingerprint", "tokens"])
    for record in records:
        writer.writerow(
            [
                *(record[column] for column in columns),
                *(record["metrics"].get(name, "") for name in metrics),
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
    except ValueError:
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
