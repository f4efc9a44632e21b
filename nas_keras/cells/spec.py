"""`CellSpec`: what a recurrent cell is, as a value and as a JSON file.

No TensorFlow, no Keras and no weights here. The language of the equations is
in `equations.py`; layers that compute them are in `nas_cell.py` and
`nas_rnn.py`.
"""

import dataclasses
import functools
import json
import os
import re
import stat
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_keras.cells import canonical
from nas_keras.cells import equations as language
from nas_keras.cells.graph import FUNCTIONS
from nas_keras.cells.graph import Graph
from nas_keras.storage.files import write_atomically

SCHEMA = 1
MAX_FILE_BYTES = 1_000_000
MAX_STATES = 16
CELLS_VARIABLE = "NAS_KERAS_CELLS"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
_STATE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a cell takes. See `CellSpec.cost`.

    Attributes:
        parameters: Weights of the cell.
        multiply_adds: Multiply-adds of its matrix products, for one step of
            one sequence.
    """

    parameters: int
    multiply_adds: int


@dataclasses.dataclass(frozen=True)
class CellSpec:
    """A recurrent cell, given by its equations.

    Names are `x` (the input), the states, and what earlier equations assign.
    Every state `s` has one equation `next_s = ...`; the output is `next_h`.
    Each occurrence of `linear(v)` has a weight matrix of its own. Operators:
    `+ - *` and unary minus; functions: `linear identity tanh sigmoid relu sin
    max(a, b) mean(a, b, ...)`.

    Args:
        name: Letters, digits, `_ . -`; at most 100 characters.
        equations: Each `"name = expression"`, in an order of evaluation.
        states: State names with `"h"` among them. Default `("h", "c")`.
        provenance: Where the cell comes from; anything JSON can hold.

    Raises:
        ValueError: If a rule is broken; the message names the equation and
            the column.

    Example:

    >>> spec = CellSpec("rnn", ["next_h = tanh(linear(x) + linear(h))"], ["h"])
    >>> spec.cost(input_width=3, units=4).parameters
    28
    """

    name: str
    equations: tuple[str, ...]
    states: tuple[str, ...] = ("h", "c")
    provenance: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, hash=False
    )

    def __post_init__(self) -> None:
        _check_name(self.name)
        where = f"cell {self.name!r}"
        for field in ("equations", "states"):
            values = _strings(getattr(self, field), f"{where}: {field}")
            object.__setattr__(self, field, values)
        _check_states(self.states, where)
        object.__setattr__(
            self, "provenance", _json_copy(self.provenance, where)
        )
        try:
            _ = self.graph  # Parsed, checked and kept.
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    @functools.cached_property
    def graph(self) -> Graph:
        """The equations as a graph of operations."""
        return language.parse(self.equations, self.states)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the equations in canonical form.

        It does not depend on the cell's name, the provenance, the names of
        values, the order of equations, or the order of commutative operands.
        """
        return canonical.fingerprint(self.graph)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON-able form that `from_dict` reads."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "states": list(self.states),
            "equations": list(self.equations),
            "provenance": _json_copy(self.provenance, self.name),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "CellSpec":
        """Returns the spec of a JSON object.

        Raises:
            ValueError: On unknown or missing keys, another schema, or a rule
                of `CellSpec` that is broken.
        """
        if not isinstance(data, Mapping):
            raise ValueError(
                "A cell must be a JSON object. Received: "
                f"{type(data).__name__}."
            )
        known = {"schema", "name", "states", "equations", "provenance"}
        required = {"schema", "name", "equations"}
        unknown, missing = set(data) - known, required - set(data)
        if unknown or missing:
            raise ValueError(
                f"A cell has the keys {sorted(known)}. Received unknown: "
                f"{sorted(map(str, unknown))}, missing: {sorted(missing)}."
            )
        if type(data["schema"]) is not int or data["schema"] != SCHEMA:
            raise ValueError(
                f"schema must be {SCHEMA}, the one this version reads. "
                f"Received: schema={data['schema']!r}."
            )
        fields = {key: data[key] for key in known - {"schema"} if key in data}
        return cls(**fields)

    def cost(
        self,
        input_width: int,
        units: int,
        projection: int | None = None,
        use_bias: bool = False,
    ) -> Cost:
        """Returns the weights and multiply-adds of the cell's layer.

        Args:
            input_width: D, the width of `x`.
            units: H, the width of the states.
            projection: Width of the output, or None for `units`.
            use_bias: Whether linear terms other than those of `x` have one.

        Raises:
            WidthError: If the equations join values of two widths.
        """
        widths = self.graph.operand_widths(
            input_width, units, projection or units
        )
        products = biases = 0
        for group in self.graph.groups:
            products += widths[group.name] * len(group.terms) * units
            if use_bias and group.name != "kernel":
                biases += len(group.terms) * units
        products += units * projection if projection else 0
        return Cost(products + biases, products)


def load_spec(name_or_path: str | os.PathLike) -> CellSpec:
    """Returns a cell by name, or from a JSON file.

    Args:
        name_or_path: A text that ends in `.json` or holds a path separator is
            a path; anything else is the name of a registered cell, of a file
            in a folder of `$NAS_KERAS_CELLS`, or of a published cell.

    Raises:
        ValueError: If there is no such cell, or the file is not a valid one.

    Example:

    >>> load_spec("lstm").states
    ('h', 'c')
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise ValueError(
            "A cell is given by a name or a path. Received: "
            f"{name_or_path!r} of type {type(name_or_path).__name__}."
        )
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, os.PathLike) or text.endswith(".json"):
        return _read(Path(text))
    if os.sep in text:
        return _read(Path(text))
    if text in _registered:
        return _registered[text]
    files = [
        folder / f"{text}.json"
        for folder in (*_user_folders(), _published_folder())
        if _NAME.fullmatch(text) and (folder / f"{text}.json").is_file()
    ]
    if len(files) > 1:
        raise ValueError(
            f"cell {text!r} is ambiguous: {[str(file) for file in files]}. "
            f"Rename the one in ${CELLS_VARIABLE}, or give its path."
        )
    if not files:
        raise ValueError(
            f"No cell is named {text!r}. Published cells: "
            f"{published_cells()}; registered: {sorted(_registered)}; in "
            f"${CELLS_VARIABLE}: {_user_cells()}. A file's path must end in "
            "'.json'."
        )
    return _read(files[0])


def save_spec(spec: CellSpec, path: str | os.PathLike) -> None:
    """Writes a cell as JSON; an existing file is replaced whole or not at all.

    Args:
        spec: The cell.
        path: Of the file.

    Raises:
        ValueError: If `path` does not end in `.json`.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(
            f"A cell is saved as a '.json' file. Received: path={str(path)!r}."
        )
    text = json.dumps(spec.to_dict(), indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def published_cells() -> list[str]:
    """Returns the names of the cells that come with the package."""
    return sorted(path.stem for path in _published_folder().glob("*.json"))


def register_cell(spec: CellSpec) -> None:
    """Makes a spec's name work wherever a cell is named, in this process.

    Raises:
        ValueError: If the name belongs to another cell already.
    """
    if not isinstance(spec, CellSpec):
        raise ValueError(
            f"spec must be a CellSpec. Received: {type(spec).__name__}."
        )
    taken = [*_registered, *published_cells(), *_user_cells()]
    if spec.name in taken and load_spec(spec.name) != spec:
        raise ValueError(
            f"The name {spec.name!r} belongs to another cell. Taken: "
            f"{sorted(set(taken))}."
        )
    _registered[spec.name] = spec


_registered: dict[str, CellSpec] = {}


def _published_folder() -> Path:
    """The folder in the wheel, or in a checkout the one beside the package."""
    here = Path(__file__).resolve()
    installed = here.parent / "published"
    return installed if installed.is_dir() else here.parents[2] / "cells"


def _user_folders() -> list[Path]:
    folders = os.environ.get(CELLS_VARIABLE, "").split(os.pathsep)
    return [Path(folder) for folder in folders if folder]


def _user_cells() -> list[str]:
    return sorted(
        path.stem
        for folder in _user_folders()
        for path in folder.glob("*.json")
    )


def _read(path: Path) -> CellSpec:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # A pipe would never end.
            raise ValueError(f"{path}: cannot be read as a cell: not a file.")
        size = status.st_size
        if size > MAX_FILE_BYTES:
            raise ValueError(
                f"{path}: a cell's file has at most {MAX_FILE_BYTES} bytes. "
                f"Received: {size} bytes."
            )
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read as a cell: {error.strerror}."
        ) from None
    try:
        return CellSpec.from_dict(_decode(data))
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _decode(data: bytes) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise ValueError(f"keys given twice: {repeated}.")
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON.")

    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique,
            parse_constant=refuse,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}.") from None


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            "A cell's name has 1 to 100 letters, digits, '_', '.', '-' and "
            f"begins with no '.' or '-'. Received: name={name!r}."
        )


def _strings(values: Any, where: str) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(
            f"{where} must be a list of strings. Received: {values!r:.80}."
        )
    for value in values:
        if not isinstance(value, str):
            raise ValueError(
                f"{where} must be strings. Received: {value!r:.80}."
            )
    return tuple(values)


def _check_states(states: tuple[str, ...], where: str) -> None:
    reserved = {"x", *FUNCTIONS}
    wrong = [
        state
        for state in states
        if not _STATE.fullmatch(state)
        or state in reserved
        or state.startswith("next_")
    ]
    if wrong or "h" not in states or len(set(states)) < len(states):
        raise ValueError(
            f"{where}: states must be distinct names with 'h' among them, none "
            f"of {sorted(reserved)}, none that begins with 'next_'. Received: "
            f"states={list(states)}."
        )
    if len(states) > MAX_STATES:
        raise ValueError(
            f"{where}: at most {MAX_STATES} states. Received: {len(states)}."
        )


def _json_copy(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{where}: provenance must be a mapping. Received: {value!r:.80}."
        )
    try:
        return json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: provenance must be JSON-able: {error}."
        ) from None
