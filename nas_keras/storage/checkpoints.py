"""Snapshots of a run: named arrays, checked when they are read.

Each is one `.npz` file, written whole or not at all; `manifest.json` holds
the SHA-256 of those that count. The last ones are kept, two unless told.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from absl import logging

from nas_keras.storage import files

NUM_KEPT = 2


def save(
    folder: Path,
    step: int,
    arrays: Mapping[str, np.ndarray],
    num_kept: int = NUM_KEPT,
) -> None:
    """Writes the snapshot taken after `step` updates; the last are kept."""
    files.make_folder(folder)
    data = encode(arrays)
    path = folder / _name(step)
    files.write_atomically(path, data)
    manifest = _manifest(folder)
    manifest[path.name] = hashlib.sha256(data).hexdigest()
    # None is newer; a damaged manifest may say so.
    older = [name for name in sorted(manifest) if name <= path.name]
    kept = {name: manifest[name] for name in older[-num_kept:]}
    files.write_json(folder / "manifest.json", kept)
    for old in folder.glob("step_*.npz"):
        if old.name not in kept:
            old.unlink()


def latest(folder: Path) -> tuple[int, dict[str, np.ndarray]] | None:
    """Returns the newest snapshot that is whole, or None.

    One that is damaged is passed over with a warning that names it.
    """
    manifest = _manifest(folder)
    for name in sorted(manifest, reverse=True):
        arrays = _read(folder / name, manifest[name])
        if arrays is not None:
            return _step(name), arrays
    return None


def load(folder: Path, step: int) -> dict[str, np.ndarray] | None:
    """Returns the snapshot taken after `step` updates, or None.

    One that is damaged is none, with a warning that names it.
    """
    name = _name(step)
    manifest = _manifest(folder)
    return _read(folder / name, manifest[name]) if name in manifest else None


def newest_step(folder: Path) -> int | None:
    """Returns the step of the newest snapshot, whole or not, or None."""
    manifest = _manifest(folder)
    return _step(max(manifest)) if manifest else None


def forget_newest(folder: Path) -> None:
    """Drops the newest snapshot, unless it is the only one."""
    manifest = _manifest(folder)
    if len(manifest) > 1:
        name = max(manifest)
        del manifest[name]
        files.write_json(folder / "manifest.json", manifest)
        (folder / name).unlink(missing_ok=True)


def _step(name: str) -> int:
    return int(name.removeprefix("step_").removesuffix(".npz"))


def _name(step: int) -> str:
    return f"step_{step:08d}.npz"


def _read(path: Path, digest: str) -> dict[str, np.ndarray] | None:
    data = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(data).hexdigest() == digest:
        return decode(data)
    logging.warning("%s is damaged; it is not used.", path)
    return None


def encode(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns named arrays in the format of `.npz`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # Not np.savez, to which a name is an argument: one may be "file".
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(
                    file, np.asanyarray(array), allow_pickle=False
                )
    return buffer.getvalue()


def decode(data: bytes) -> dict[str, np.ndarray]:
    """Returns the named arrays that `encode` was given."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def _manifest(folder: Path) -> dict[str, str]:
    path = folder / "manifest.json"
    if not path.exists():
        return {}
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        for name in manifest.keys():  # A list has none: an AttributeError.
            _step(name)
    except (AttributeError, ValueError, RecursionError):
        logging.warning("%s is damaged; no snapshot is used.", path)
        return {}
    return manifest
