"""JSON and JSON Lines files, decoded with errors that name file and field.

What is in them only `run_files.py` knows.
"""

import json
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import TypeVar

from absl import logging

from nas_keras.storage import guards

_Record = TypeVar("_Record")
_REQUIRED = object()
_MAX_SHOWN = 80  # Characters of a received value in an error message.


def read_lines(
    folder: pathlib.Path,
    name: str,
    make: Callable[[Mapping[str, Any], str], _Record],
    notes: list[str],
) -> tuple[_Record, ...]:
    """Returns the records of a JSON Lines file, none if it is missing.

    Args:
        folder: Of the run.
        name: The file in it, as messages shall name it.
        make: Makes a record of a line and of the words that name the line.
        notes: A sentence is added for a last line that was skipped.

    Raises:
        ValueError: If another line cannot be decoded, or the file is not what
            was written.
    """
    whole, seal = guards.read(folder / name)
    lines = whole.split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name} line {number}"
        try:
            data = _decode(line, where)
        except ValueError:
            if number < len(lines):
                raise
            # No newline: the writer was stopped in the middle of this line.
            notes.append(f"{where} is unfinished and was skipped.")
            continue
        records.append(make(data, where))
    guards.check(folder / name, whole, seal, tell=logging.debug)
    return tuple(records)


def read_object(path: pathlib.Path) -> Mapping[str, Any] | None:
    """Returns the JSON object that a file is, None if it is missing.

    Raises:
        ValueError: If it cannot be decoded.
    """
    if not path.is_file():
        return None
    return _decode(path.read_bytes(), path.name)


def _decode(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{where} must be a JSON object in UTF-8, received"
            f" {shown(data)}: {reason}."
        ) from error
    if not isinstance(value, dict):
        raise ValueError(
            f"{where} must be a JSON object, received {shown(value)}."
        )
    return value


def get_field(
    data: Mapping[str, Any],
    name: str,
    types: type | tuple[type, ...],
    where: str,
    default: Any = _REQUIRED,
) -> Any:
    """Returns a field after a check of its type; True is not a number.

    Raises:
        ValueError: If it is missing and has no default, or of another type.
    """
    allowed = types if isinstance(types, tuple) else (types,)
    value = data.get(name, default)
    if value is _REQUIRED:
        raise ValueError(
            f"{where} must have the key {name!r}, received the keys"
            f" {shown(sorted(data))}."
        )
    if value is default:
        return value
    is_number = bool in allowed or not isinstance(value, bool)
    if not isinstance(value, allowed) or not is_number:
        names = " or ".join(kind.__name__ for kind in allowed)
        raise ValueError(
            f"{where}: {name} must be {names}, received {shown(value)}."
        )
    return value


def get_optional(
    data: Mapping[str, Any],
    name: str,
    types: type | tuple[type, ...],
    where: str,
) -> Any:
    """Returns a field that may be None or missing, as `get_field` does."""
    allowed = types if isinstance(types, tuple) else (types,)
    return get_field(data, name, (*allowed, type(None)), where, None)


def shown(value: Any) -> str:
    """Returns a received value for an error message, cut if it is long."""
    text = repr(value[: 2 * _MAX_SHOWN] if isinstance(value, bytes) else value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def printable(text: str) -> str:
    """Replaces what a terminal or a browser might obey rather than show."""
    return "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )
