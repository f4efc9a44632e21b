"""Checks that the specs of image networks share. No TensorFlow, no Keras."""

import dataclasses
import json
import numbers
import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")


def checked_name(name: Any) -> None:
    """Raises a `ValueError` if a network may not be called so."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            "A network's name has 1 to 100 letters, digits, '_', '.', '-' and "
            f"begins with no '.' or '-'. Received: name={name!r}."
        )


def int_at_least(least: int, value: Any, name: str) -> int:
    """Returns an argument as an int, if it is one and not too small."""
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Integral)
        or value < least
    ):
        raise ValueError(
            f"{name} must be an int, at least {least}. Received: "
            f"{name}={value!r:.80}."
        )
    return int(value)


def listed(value: Any, name: str) -> Sequence[Any]:
    """Returns an argument that must be a list or a tuple."""
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"{name} must be a list. Received: {name}={value!r:.80}."
        )
    return value


def pair(value: Any, name: str) -> tuple[int, int]:
    """Returns (height, width) of an argument: an int for both, or two."""
    if isinstance(value, numbers.Integral):
        value = (value, value)
    if len(listed(value, name)) != 2:
        raise ValueError(
            f"{name} must be an int or (height, width). Received: "
            f"{name}={value!r:.80}."
        )
    height, width = (int_at_least(1, side, name) for side in value)
    return height, width


def one_of(known: Sequence[str], value: Any, name: str) -> None:
    """Raises a `ValueError` if an argument is none of those known."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(
            f"{name} must be one of {list(known)}. Received: "
            f"{name}={value!r:.80}."
        )


def json_copy(value: Any, name: str) -> dict[str, Any]:
    """Returns a deep copy of a mapping that JSON can hold."""
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{name} must be a mapping. Received: {name}={value!r:.80}."
        )
    try:
        return json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be JSON-able: {error}. Received: "
            f"{name}={value!r:.80}."
        ) from None


def checked_keys(
    data: Any, required: Iterable[str], optional: Iterable[str], what: str
) -> Mapping[str, Any]:
    """Returns a JSON object that has the keys it must have and no others."""
    if not isinstance(data, Mapping):
        raise ValueError(
            f"{what} must be a JSON object. Received: {data!r:.80}."
        )
    required = set(required)
    known = required | set(optional)
    unknown, missing = set(data) - known, required - set(data)
    if unknown or missing:
        raise ValueError(
            f"{what} has the keys {sorted(known)}. Received unknown: "
            f"{sorted(map(str, unknown))}, missing: {sorted(missing)}."
        )
    return data


def part_from_dict(part: type, data: Any, where: str) -> Any:
    """Returns the dataclass `part` of a JSON object; `where` is in errors."""
    fields = dataclasses.fields(part)
    required = [f.name for f in fields if f.default is dataclasses.MISSING]
    checked_keys(data, required, [f.name for f in fields], where)
    try:
        return part(**data)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
