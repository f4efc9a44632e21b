"""`config.json`: what a workdir's results depend on, and what they came from.

A workdir belongs to one configuration; another is refused before anything in
the folder is touched. No TensorFlow, no Keras.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_keras.storage import files
from nas_keras.version import __version__

# What a program tells the workers that it starts: its own command.
COMMAND_VARIABLE = "NAS_KERAS_COMMAND"

# What runs write over or remove, so that without a configuration they may not
# begin beside it: it is what an earlier one has left, or somebody else's.
_OF_A_RUN = """
    trials.jsonl trials.jsonl.sha256 steps.jsonl steps.jsonl.sha256
    workers.jsonl workers.jsonl.sha256 retrained.jsonl retrained.jsonl.sha256
    beginning checkpoints pending pending_retraining retraining shared_weights
    random derived best_cell.json best_network.json trials.csv finished.json
    report.html best epochs model model.keras history.csv
    learning_curve.png metrics.json result.json
""".split()


def check(
    workdir: Path, config: Mapping[str, Any], may_change: Iterable[str] = ()
) -> None:
    """Refuses a workdir of another configuration; writes nothing.

    Args:
        workdir: A folder, which may not exist yet.
        config: What the run's results depend on, JSON-able, or a part of it.
        may_change: Keys of `config` that may differ.

    Raises:
        ValueError: If `config.json` differs, the message says in what, or is
            damaged or missing, or there is a file in the folder's place.
    """
    for path in (workdir, *workdir.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(
                f"workdir {str(workdir)!r} cannot be made: {str(path)!r} is "
                "not a folder."
            )
    old = _stored(workdir)
    if old is None:
        return
    new = json.loads(json.dumps(config))  # Tuples to lists.
    differences = [
        f"{name} was {old_value!r}, is {new_value!r}"
        for key in sorted(new.keys() - set(may_change))
        for name, old_value, new_value in _differences(
            old.get(key), new[key], key
        )
    ]
    if differences:
        raise ValueError(
            f"workdir {str(workdir)!r} was written by another configuration: "
            f"{'; '.join(differences)}. Choose another workdir, or the old "
            "values; nothing was changed."
        )


def write(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes `config.json`, unless it says this already."""
    run = json.loads(json.dumps(config))
    if _stored(workdir) == run:
        return
    files.write_json(
        workdir / "config.json",
        {
            "run": run,
            "environment": environment(),
            "command": command(),
        },
    )


def _stored(workdir: Path) -> dict[str, Any] | None:
    """Returns the configuration a workdir was written by, if it was."""
    path = workdir / "config.json"
    if not path.exists():
        found = [name for name in _OF_A_RUN if (workdir / name).exists()]
        if found:
            raise ValueError(
                f"{path} is missing beside what runs of this package write: "
                f"{found}. Restore it from a copy, if they are of a run, or "
                "choose another workdir; nothing was changed."
            )
        return None
    stored = files.read_json(path)
    run = stored.get("run") if isinstance(stored, dict) else None
    if not isinstance(run, dict):
        raise ValueError(f"{path}: damaged, it holds no 'run'.")
    return run


def _differences(
    old: Any, new: Any, name: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yields the dotted names at which two JSON values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            dotted = f"{name}.{key}" if name else key
            yield from _differences(old.get(key), new.get(key), dotted)
    elif old != new:
        yield name, old, new


def command() -> str:
    """Returns the command that was given, as a shell takes it.

    Of a worker, the command of the program that started it.
    """
    given = os.environ.get(COMMAND_VARIABLE)
    if given:
        return given
    program, *arguments = sys.argv
    if program.endswith(".py"):
        return shlex.join(["python", program, *arguments])
    return shlex.join([Path(program).name, *arguments])


def environment() -> dict[str, str]:
    """Returns the versions and the machine that a result may depend on."""
    versions = {
        "nas_keras": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": str(os.cpu_count()),
        "git": _git_hash(),
    }
    for name in ("tensorflow", "jax", "keras", "numpy"):
        module = sys.modules.get(name)
        versions[name] = getattr(module, "__version__", "not imported")
    return versions


def _git_hash() -> str:
    here = Path(__file__).resolve().parent
    try:
        result = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"  # Installed without a repository, or no git.
    return result.stdout.strip()
