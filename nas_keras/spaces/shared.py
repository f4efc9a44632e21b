"""What the spaces of image networks share: checks, names, membership."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import MicroNetSpec


def check_int(value: Any, name: str, low: int, high: int) -> None:
    """Raises a `ValueError` if an argument is no int in [low, high]."""
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if not is_int or not low <= value <= high:
        raise ValueError(
            f"{name} must be an int in [{low}, {high}]. Received: "
            f"{name}={value!r}."
        )


def check_filters(value: Any) -> None:
    """Raises a `ValueError` if a network cannot have so many filters."""
    check_int(value, "filters", 2, 2**16)
    if value % 2:
        raise ValueError(
            "filters must be even: what halves a map has two paths of half "
            f"the filters each. Received: filters={value!r}."
        )


def check_kind(spec: Any, kind: type) -> None:
    """Raises a `ValueError` if a network is of another kind."""
    if not isinstance(spec, kind):
        raise ValueError(
            f"The network must be a {kind.__name__}. Received: {spec!r:.80}."
        )


def origin(prefix: str, space: str, tokens: Sequence[int]) -> dict[str, Any]:
    """Returns the name and the provenance of a decoded network."""
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
