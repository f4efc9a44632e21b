"""What the spaces share: checks, names, membership."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from nas_keras.checks import checked_int
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.spaces.space import Space

MAX_SIZE = 2**16  # Of a kernel, of a stride, of filters.


def space_of(structure: Any) -> Space:
    """Returns the space of what has choices and a name, decodes and encodes."""
    return Space(
        structure.choices(),
        structure.decode,
        structure.name,
        structure=structure,
        encode=structure.encode,
    )


def set_checked_ints(structure: Any, **limits: tuple[int, int]) -> None:
    """Makes attributes of a frozen dataclass ints in [least, most].

    Raises:
        ValueError: If one is none.
    """
    for name, (least, most) in limits.items():
        value = checked_int(getattr(structure, name), name, least, most)
        object.__setattr__(structure, name, value)


def check_even(filters: int) -> None:
    """Raises a `ValueError` if filters cannot be halved."""
    if filters % 2:
        raise ValueError(
            "filters must be even: what halves a map has two paths of half "
            f"the filters each. Received: filters={filters}."
        )


def check_kind(spec: Any, kind: type) -> None:
    """Raises a `ValueError` if a network is of another kind."""
    if not isinstance(spec, kind):
        raise ValueError(
            f"The network must be a {kind.__name__}. Received: {spec!r:.80}."
        )


def name_of(structure: Any, prefix: str) -> str:
    """Returns how journals call a space: what is not at its default.

    Args:
        structure: A dataclass; its first field is in the name at any value.
        prefix: What the name begins with.
    """
    first, *others = dataclasses.fields(structure)
    text = f"{first.name}={getattr(structure, first.name)}"
    for field in others:
        value = getattr(structure, field.name)
        if value != field.default:
            if isinstance(value, tuple):
                value = "|".join(map(str, value))
            text += f", {field.name}={value}"
    return f"{prefix}({text})"


def origin(prefix: str, space: str, tokens: Sequence[int]) -> dict[str, Any]:
    """Returns the name and the provenance of a decoded architecture."""
    text = json.dumps([space, list(tokens)])
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {
        "name": f"{prefix}_{digest[:8]}",
        "provenance": {"space": space, "tokens": list(tokens)},
    }


def token_of(options: Sequence[Any], value: Any) -> int:
    """Returns the place of a value, 0 if it is not among the options.

    What a network becomes with the wrong token tells that it is not in the
    space: `check_member` decodes all tokens again.
    """
    return list(options).index(value) if value in options else 0


def check_member(
    structure: Any, spec: ConvNetSpec | MicroNetSpec, tokens: Sequence[int]
) -> None:
    """Raises a `ValueError` if a space has not the network for these tokens.

    Args:
        structure: Of the space: what has `choices`, `decode` and a `name`.
        spec: The network.
        tokens: What the network would have as tokens.
    """
    num_options = [len(choice.options) for choice in structure.choices()]
    is_valid = len(tokens) == len(num_options) and all(
        token < num for token, num in zip(tokens, num_options, strict=True)
    )
    if not is_valid or structure.decode(tokens).fingerprint != spec.fingerprint:
        raise ValueError(
            f"The network must be one of {structure.name}. Received: "
            f"{spec.name!r}, which differs from those."
        )
