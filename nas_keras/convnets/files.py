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
from nas_keras.storage import specs


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
    path = specs.path_of(name_or_path, "network")
    if path is not None:
        return _read(path)
    if name_or_path not in published_convnets():
        raise ValueError(
            f"No network is named {name_or_path!r}. Published networks: "
            f"{published_convnets()}. A file's path must end in '.json'."
        )
    return _read(_published_folder() / f"{name_or_path}.json")


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
    specs.write(path, _text(spec.to_dict()), "network")


def published_convnets() -> list[str]:
    """Returns the names of the networks that come with the package."""
    return specs.names_in(_published_folder())


def _published_folder() -> Path:
    return specs.published_folder("convnets")


def _read(path: Path) -> ConvNetSpec | MicroNetSpec:
    return specs.read(path, spec_from_dict, "network")


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
