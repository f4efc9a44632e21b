"""JSON files of specs: of cells (`spec.py`) and networks (`convnets/files.py`).

`what` is `"cell"` or `"network"`, for messages. No TensorFlow, no Keras.
"""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import TypeVar

from nas_keras.checks import is_name
from nas_keras.storage.files import write_atomically

MAX_BYTES = 1_000_000

_Spec = TypeVar("_Spec")


def published_folder(package: str) -> Path:
    """Returns the folder of the files that come with `nas_keras.<package>`.

    In a wheel it is in the package, in a checkout beside the library.
    """
    library = Path(__file__).resolve().parents[1]
    installed = library / package / "published"
    return installed if installed.is_dir() else library.parent / package


def names_in(folder: Path) -> list[str]:
    """Returns the names of the specs in a folder.

    A file whose stem is no valid name is left out: it is loaded by its path.
    """
    names = (path.stem for path in folder.glob("*.json"))
    return sorted(name for name in names if is_name(name))


def path_of(name_or_path: Any, what: str) -> Path | None:
    """Returns the path that was given, or None for a name.

    Raises:
        ValueError: If the argument is neither.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise ValueError(
            f"A {what} is given by a name or a path. Received: "
            f"{name_or_path!r} of type {type(name_or_path).__name__}."
        )
    if isinstance(name_or_path, str):
        if not name_or_path.endswith(".json") and os.sep not in name_or_path:
            return None
    return Path(name_or_path)


def read(path: Path, from_dict: Callable[[Any], _Spec], what: str) -> _Spec:
    """Returns the spec in a file.

    Args:
        path: The file.
        from_dict: Returns the spec of a JSON value.
        what: See the module.

    Raises:
        ValueError: If the file cannot be read or is not valid; the message
            names the file.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # A pipe would never end.
            raise ValueError(f"{path}: cannot be read as a {what}: not a file.")
        if status.st_size > MAX_BYTES:
            raise ValueError(
                f"{path}: a {what}'s file has at most {MAX_BYTES} bytes. "
                f"Received: {status.st_size} bytes."
            )
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read as a {what}: {error.strerror}."
        ) from None
    try:
        return from_dict(_decoded(data))
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _decoded(data: bytes) -> Any:
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


def write(path: str | os.PathLike, text: str, what: str) -> None:
    """Writes a file; an existing one is replaced whole or not at all.

    Raises:
        ValueError: If `path` does not end in `.json`.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(
            f"A {what} is saved as a '.json' file. Received: "
            f"path={str(path)!r}."
        )
    write_atomically(path, text.encode())
