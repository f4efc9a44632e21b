"""`finished.json`: says that a run is done, and what its results were.

With it a process that is started again after the end, alone or as one of
several, knows at once that there is nothing to do. It holds the SHA-256 of
every result: a run with a damaged one is not taken for finished.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_keras.storage import files

_RESULTS = (
    "*.json", "*.jsonl", "*.csv", "checkpoints/*", "shared_weights/*",
)  # fmt: skip
_FOLDERS = (
    ".", "derived", "depth_*", "random", "random/derived", "random/depth_*",
)  # fmt: skip
_NAME = "finished.json"


def mark(workdir: Path, config: Mapping[str, Any]) -> None:
    """Says that the run of this configuration is done."""
    files.write_json(workdir / _NAME, _state(workdir, config))


def is_finished(workdir: Path, config: Mapping[str, Any]) -> bool:
    """Returns whether the run is done and its results are as they were."""
    path = workdir / _NAME
    if not path.exists():
        return False
    try:
        return files.read_json(path) == _state(workdir, config)
    except ValueError:
        return False  # A damaged mark is none: the run looks for itself.


def _state(workdir: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(config, sort_keys=True)
    paths = sorted(
        path
        for folder in _FOLDERS
        for pattern in _RESULTS
        for path in workdir.glob(f"{folder}/{pattern}")
        if path.name != _NAME and not path.name.startswith(".")
    )
    return {
        "config": hashlib.sha256(text.encode()).hexdigest(),
        "results": {
            path.relative_to(workdir).as_posix(): hashlib.sha256(
                path.read_bytes()
            ).hexdigest()
            for path in paths
        },
    }
