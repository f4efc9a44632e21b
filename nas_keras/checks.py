"""Checks of arguments that cells, image networks and spaces share.

No TensorFlow, no Keras.
"""

import json
import numbers
import re
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")


def is_int(value: Any) -> bool:
    """Returns whether a value is an integer, and no bool."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Returns whether a value is a real number, and no bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def checked_int(
    value: Any, name: str, least: int, most: int | None = None
) -> int:
    """Returns an argument as an int.

    Args:
        value: The argument.
        name: Its name.
        least: The least value.
        most: The greatest value, or None for no limit.

    Raises:
        ValueError: If the value is no int, or out of range.
    """
    if is_int(value) and least <= value and (most is None or value <= most):
        return int(value)
    limits = f"of at least {least}" if most is None else f"in [{least}, {most}]"
    raise ValueError(
        f"{name} must be an int {limits}. Received: {name}={value!r:.80}."
    )


def checked_bool(value: Any, name: str) -> bool:
    """Returns an argument that must be True or False."""
    if not isinstance(value, bool):
        raise ValueError(
            f"{name} must be True or False. Received: {name}={value!r:.80}."
        )
    return value


def checked_rate(value: Any, name: str) -> float:
    """Returns an argument that must be a fraction in [0, 1)."""
    if not is_number(value) or not 0 <= value < 1:
        raise ValueError(
            f"{name} must be in [0, 1). Received: {name}={value!r:.80}."
        )
    return float(value)


def is_name(value: Any) -> bool:
    """Returns whether a cell or a network may be called so."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def check_name(name: Any, what: str) -> None:
    """Raises a `ValueError` if a cell or a network may not be called so.

    Args:
        name: The name.
        what: `"cell"` or `"network"`, for the message.
    """
    if not is_name(name):
        raise ValueError(
            f"A {what}'s name has 1 to 100 letters, digits, '_', '.', '-' and "
            f"begins with no '.' or '-'. Received: name={name!r:.200}."
        )


def json_copy(value: Any, name: str) -> dict[str, Any]:
    """Returns a deep copy of a mapping that JSON can hold."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a mapping. Received: {value!r:.80}.")
    try:
        text = json.dumps(dict(value), allow_nan=False, ensure_ascii=False)
        return json.loads(text.encode())  # A file is UTF-8.
    except RecursionError:
        raise ValueError(
            f"{name} must be JSON-able. Received: one nested too deeply."
        ) from None
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be JSON-able: {error}. Received: {value!r:.80}."
        ) from None


def checked_object(data: Any, what: str) -> Mapping[str, Any]:
    """Returns what must be a JSON object."""
    if not isinstance(data, Mapping):
        raise ValueError(
            f"{what} must be a JSON object. Received: {data!r:.80}."
        )
    return data


def check_keys(
    data: Any, required: Iterable[str], optional: Iterable[str], what: str
) -> None:
    """Raises a `ValueError` unless a JSON object has its keys and no others."""
    required = set(required)
    known = required | set(optional)
    given = set(checked_object(data, what))
    unknown, missing = given - known, required - given
    if unknown or missing:
        raise ValueError(
            f"{what} has the keys {sorted(known)}. Received unknown: "
            f"{sorted(map(str, unknown))}, missing: {sorted(missing)}."
        )


def check_schema(schema: Any, known: int) -> None:
    """Raises a `ValueError` unless a file has the schema `known`."""
    if type(schema) is not int or schema != known:
        raise ValueError(
            f"schema must be {known}, the one this version reads. "
            f"Received: schema={schema!r:.80}."
        )
