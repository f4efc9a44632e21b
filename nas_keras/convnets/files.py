"""Image networks as JSON files, the published ones among them.

No TensorFlow, no Keras.
"""

import json
import os
from pathlib import Path
from typing import Any

from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.convnets.spec import spec_from_dict
from nas_keras.storage.files import read_json
from nas_keras.storage.files import write_atomically

MAX_FILE_BYTES = 1_000_000


def load_convnet(
    name_or_path: str | os.PathLike,
) -> ConvNetSpec | MicroNetSpec:
    """Returns a published network by name, or a network from a JSON file.

    Args:
        name_or_path: A text that ends in `.json` or holds a path separator is
            a path.

    Raises:
        ValueError: If there is no such network, or the file is not a valid
            one.

    Example:

    >>> load_convnet("resnet_20").num_layers
    19
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise ValueError(
            "A network is given by a name or a path. Received: "
            f"{name_or_path!r} of type {type(name_or_path).__name__}."
        )
    text = os.fspath(name_or_path)
    is_path = isinstance(name_or_path, os.PathLike) or os.sep in text
    if is_path or text.endswith(".json"):
        return _read(Path(text))
    if text not in published_convnets():
        raise ValueError(
            f"No network is named {text!r}. Published networks: "
            f"{published_convnets()}. A file's path must end in '.json'."
        )
    return _read(_published_folder() / f"{text}.json")


def save_convnet(
    spec: ConvNetSpec | MicroNetSpec, path: str | os.PathLike
) -> None:
    """Writes a network as JSON; an existing file is replaced whole or not.

    Args:
        spec: The network.
        path: Of the file.

    Raises:
        ValueError: If `spec` is no network, or `path` does not end in
            `.json`.
    """
    if not isinstance(spec, ConvNetSpec | MicroNetSpec):
        raise ValueError(
            "spec must be a ConvNetSpec or a MicroNetSpec. Received: "
            f"{type(spec).__name__}."
        )
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(
            "A network is saved as a '.json' file. Received: "
            f"path={str(path)!r}."
        )
    write_atomically(path, _text(spec.to_dict()).encode())


def published_convnets() -> list[str]:
    """Returns the names of the networks that come with the package."""
    return sorted(path.stem for path in _published_folder().glob("*.json"))


def _published_folder() -> Path:
    """The folder in the wheel, or in a checkout the one beside the package."""
    here = Path(__file__).resolve()
    installed = here.parent / "published"
    return installed if installed.is_dir() else here.parents[2] / "convnets"


def _read(path: Path) -> ConvNetSpec | MicroNetSpec:
    if not path.is_file():  # A pipe would never end.
        raise ValueError(f"{path}: cannot be read as a network: no such file.")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(
            f"{path}: a network's file has at most {MAX_FILE_BYTES} bytes. "
            f"Received: {size} bytes."
        )
    try:
        data = read_json(path)  # Its message names the file.
        try:
            return spec_from_dict(data)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply.") from None


def _text(data: dict[str, Any]) -> str:
    """Returns JSON that has a line for each layer and each node."""
    lines = []
    for key, value in sorted(
        data.items(), key=lambda item: isinstance(item[1], list | dict)
    ):
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list):
            parts = (json.dumps(part, ensure_ascii=False) for part in value)
            text = "[\n  " + ",\n  ".join(parts) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
