"""`Structure`: the settings of a space that the package has by name."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any
from typing import ClassVar

from nas_keras.cells.language.spec import CellSpec
from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.settings import Rule
from nas_keras.settings import Settings
from nas_keras.settings import fields_of
from nas_keras.settings import whole
from nas_keras.spaces.space import Choice
from nas_keras.spaces.space import Space

MAX_SIZE = 2**16  # Of a kernel, of a stride, of filters.


class Structure(Settings):
    """The shape and the vocabulary of a space, its decoding and its encoding.

    A subclass has `choices` and `decode`, and `_tokens_of` if it can encode.

    Attributes:
        prefix: Name of the space in `SPACES`; names in journals begin so.
        architecture: Class of what the space decodes to.
        supernet: `Space.supernet` of such spaces.
        always_named: How many fields are in the name at any value; the others
            are where they differ from their defaults.
    """

    prefix: ClassVar[str]
    architecture: ClassVar[type[CellSpec | ConvNetSpec | MicroNetSpec]]
    supernet: ClassVar[str | None] = None
    always_named: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """How journals call the space."""
        parts = []
        for place, field in enumerate(fields_of(self)):
            value = getattr(self, field.name)
            if place < self.always_named or value != field.default:
                if isinstance(value, tuple):
                    value = "|".join(map(str, value))
                parts.append(f"{field.name}={value}")
        return f"{self.prefix}({', '.join(parts)})"

    @property
    def noun(self) -> str:
        """What an architecture is, "cell" or "network"."""
        return "cell" if self.architecture is CellSpec else "network"

    def choices(self) -> list[Choice]:
        """Returns the decisions in the order of the tokens."""
        raise NotImplementedError

    def decode(self, tokens: Sequence[int]) -> Any:
        """Returns the architecture of valid tokens."""
        raise NotImplementedError

    def encode(self, spec: Any) -> list[int]:
        """Returns tokens that decode to an architecture.

        Raises:
            ValueError: If it is not in the space, or the space cannot encode.
        """
        if not isinstance(spec, self.architecture):
            raise ValueError(
                f"The {self.noun} must be a {self.architecture.__name__}. "
                f"Received: {spec!r:.80}."
            )
        tokens = self._tokens_of(spec)
        num_options = [len(choice.options) for choice in self.choices()]
        is_valid = len(tokens) == len(num_options) and all(
            token < num for token, num in zip(tokens, num_options, strict=True)
        )
        if not is_valid or self.decode(tokens).fingerprint != spec.fingerprint:
            raise ValueError(
                f"The {self.noun} must be one of {self.name}. Received: "
                f"{spec.name!r}, {self._difference(tokens)}."
            )
        return tokens

    def _tokens_of(self, spec: Any) -> list[int]:
        """Returns the tokens of an architecture, if it is in the space.

        For another one it returns any ints of at least 0; `encode` decodes
        them and compares.
        """
        raise ValueError(
            f"{self.name} cannot encode. Received: {type(spec).__name__}."
        )

    def _difference(self, tokens: Sequence[int]) -> str:
        """Returns what the message about a foreign architecture says of it."""
        return "which differs from those"

    def _origin(self, prefix: str, tokens: Sequence[int]) -> dict[str, Any]:
        """Returns the name and the provenance of a decoded architecture."""
        text = json.dumps([self.name, list(tokens)])
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {
            "name": f"{prefix}_{digest[:8]}",
            "provenance": {"space": self.name, "tokens": list(tokens)},
        }

    def make(self) -> Space:
        """Returns the space."""
        return Space(
            self.choices(),
            self.decode,
            self.name,
            structure=self,
            encode=self.encode,
            architecture=self.architecture,
            supernet=self.supernet,
        )


def even_filters() -> Rule:
    """A number of filters that can be halved, for two paths of half each."""
    rule = whole(2, MAX_SIZE)
    return dataclasses.replace(
        rule,
        words=f"an even int in [2, {MAX_SIZE}]: what halves a map has two "
        "paths of half the filters each",
        good=lambda v: rule.good(v) and v % 2 == 0,
    )


def token_of(options: Sequence[Any], value: Any) -> int:
    """Returns the place of a value, 0 if it is not among the options.

    What decodes from the wrong token differs from what was to be encoded, and
    `Structure.encode` refuses it.
    """
    return list(options).index(value) if value in options else 0
