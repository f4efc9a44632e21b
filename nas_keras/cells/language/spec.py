"""`CellSpec`: what a recurrent cell is, as a value and as a JSON file.

No TensorFlow, no Keras and no weights here. `equations.py` reads the language
of the equations; `nas_cell.py` and `nas_rnn.py` compute them.
"""

import dataclasses
import functools
import json
import os
import re
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_keras import checks
from nas_keras.cells.language import canonical
from nas_keras.cells.language import equations as language
from nas_keras.cells.language.functions import FUNCTIONS
from nas_keras.cells.language.graph import Graph
from nas_keras.storage import specs

SCHEMA = 1
MAX_STATES = 16
CELLS_VARIABLE = "NAS_KERAS_CELLS"

_STATE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a cell costs. See `CellSpec.cost`.

    Attributes:
        parameters: Number of weights.
        multiply_adds: Multiply-adds of the matrix products, for one step of
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
    `+ - *` and unary minus; functions: `linear(v)`, `tanh(v)` and the others
    of the table `FUNCTIONS` in `functions.py`, which docs/cells.md lists.

    Args:
        name: Letters, digits, `_ . -`; at most 100 characters.
        equations: Texts `"name = expression"`, in an order of evaluation.
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
        checks.check_name(self.name, "cell")
        where = f"cell {self.name!r}"
        for field in ("equations", "states"):
            values = _strings(getattr(self, field), f"{where}: {field}")
            object.__setattr__(self, field, values)
        _check_states(self.states, where)
        provenance = checks.json_copy(self.provenance, f"{where}: provenance")
        object.__setattr__(self, "provenance", provenance)
        try:
            _ = self.graph  # Parses and checks the equations.
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
            "provenance": checks.json_copy(self.provenance, "provenance"),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "CellSpec":
        """Returns the spec of a JSON object.

        Raises:
            ValueError: On unknown or missing keys, another schema, or a rule
                of `CellSpec` that is broken.
        """
        required = ("schema", "name", "equations")
        checks.check_keys(data, required, ("states", "provenance"), "A cell")
        checks.check_schema(data["schema"], SCHEMA)
        return cls(**{key: data[key] for key in data if key != "schema"})

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
            projection: P, the width of the output, or None for H.
            use_bias: Whether linear terms other than `linear(x)` have a bias.

        Raises:
            WidthError: If the equations join values of different widths.
        """
        widths = self.graph.operand_widths(
            input_width, units, projection or units
        )
        products = biases = 0
        for group in self.graph.groups:
            products += widths[group.name] * len(group.terms) * units
            if use_bias and not group.is_of_x:
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
    path = specs.path_of(name_or_path, "cell")
    if path is not None:
        return _read(path)
    name = str(name_or_path)
    if name in _registered:
        return _registered[name]
    files = [
        folder / f"{name}.json"
        for folder in (*_user_folders(), _published_folder())
        if checks.is_name(name) and (folder / f"{name}.json").is_file()
    ]
    if len(files) > 1:
        raise ValueError(
            f"cell {name!r} is ambiguous: {[str(file) for file in files]}. "
            f"Rename the one in ${CELLS_VARIABLE}, or give its path."
        )
    if not files:
        raise ValueError(
            f"No cell is named {name!r}. Published cells: "
            f"{published_cells()}; registered: {sorted(_registered)}; in "
            f"${CELLS_VARIABLE}: {_user_cells()}. A file's path must end in "
            "'.json'."
        )
    return _read(files[0])


def save_spec(spec: CellSpec, path: str | os.PathLike) -> None:
    """Writes a cell as JSON; an existing file is replaced whole or not at all.

    Args:
        spec: The cell.
        path: The file to write.

    Raises:
        ValueError: If `path` does not end in `.json`.
    """
    text = json.dumps(spec.to_dict(), indent=1, ensure_ascii=False) + "\n"
    specs.write(path, text, "cell")


def published_cells() -> list[str]:
    """Returns the names of the cells that come with the package."""
    return specs.names_in(_published_folder())


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
    return specs.published_folder("cells")


def _user_folders() -> list[Path]:
    folders = os.environ.get(CELLS_VARIABLE, "").split(os.pathsep)
    return [Path(folder) for folder in folders if folder]


def _user_cells() -> list[str]:
    return sorted(
        name for folder in _user_folders() for name in specs.names_in(folder)
    )


def _read(path: Path) -> CellSpec:
    return specs.read(path, CellSpec.from_dict, "cell")


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
