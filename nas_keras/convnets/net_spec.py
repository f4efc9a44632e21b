"""What the two kinds of network specs share: name, parts, JSON, fingerprint.

No TensorFlow, no Keras.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any
from typing import ClassVar
from typing import Self

from nas_keras import checks
from nas_keras.convnets.checks import listed
from nas_keras.convnets.checks import one_of

SCHEMA = 1
MAX_LAYERS = 1000


class NetSpec:
    """What the two kinds of spec share: their forms in JSON, and a hash."""

    kind = ""  # In JSON.
    name: str
    provenance: Mapping[str, Any]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    _parts: dict[str, type] = {}  # Field -> class of the parts it lists.

    def __post_init__(self) -> None:
        checks.check_name(self.name, "network")
        where = f"network {self.name!r}"
        copy = checks.json_copy(self.provenance, f"{where}: provenance")
        object.__setattr__(self, "provenance", copy)
        for field, part in self._parts.items():
            parts = tuple(listed(getattr(self, field), f"{where}: {field}"))
            if not 1 <= len(parts) <= MAX_LAYERS:
                raise ValueError(
                    f"{where}: {field} must be 1 to {MAX_LAYERS}. Received: "
                    f"{len(parts)}."
                )
            for value in parts:
                if not isinstance(value, part):
                    raise ValueError(
                        f"{where}: {field} must be a list of "
                        f"{part.__name__}. Received: {value!r:.80}."
                    )
            object.__setattr__(self, field, parts)
        try:
            self._check()
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def _check(self) -> None:
        """Checks what the fields must be to one another."""

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the architecture: of all but name and provenance."""
        data = self._architecture()
        return hashlib.sha256(
            json.dumps(data, sort_keys=True).encode()
        ).hexdigest()

    def _architecture(self) -> dict[str, Any]:
        data = self.to_dict()
        apart = ("schema", "name", "provenance")
        return {key: data[key] for key in data if key not in apart}

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON-able form that `from_dict` reads."""
        data = {"schema": SCHEMA, "kind": self.kind, **dataclasses.asdict(self)}
        return checks.json_copy(data, self.name)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the spec of a JSON object.

        Raises:
            ValueError: On unknown or missing keys, another schema or kind, or
                a rule that is broken.
        """
        fields = [field.name for field in dataclasses.fields(cls)]
        required = ("schema", "kind", "name", *cls._parts)
        checks.check_keys(data, required, fields, "A network")
        checks.check_schema(data["schema"], SCHEMA)
        one_of([cls.kind], data["kind"], "kind")
        values = {key: data[key] for key in fields if key in data}
        for field, part in cls._parts.items():
            values[field] = [
                _part_from_dict(part, value, f"{field}[{number}]")
                for number, value in enumerate(listed(values[field], field))
            ]
        return cls(**values)


def _part_from_dict(part: type, data: Any, where: str) -> Any:
    """Returns the dataclass `part` of a JSON object; `where` is in errors."""
    fields = dataclasses.fields(part)
    required = [f.name for f in fields if f.default is dataclasses.MISSING]
    checks.check_keys(data, required, [f.name for f in fields], where)
    try:
        return part(**data)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
