"""The files of a run, read into frozen dataclasses.

Reads what the search wrote and nothing else: no statistics (`tables.py`), no
figures (`curves.py`), neither TensorFlow nor Keras. A last journal line that a
killed search left unfinished is skipped and noted; any other damage is an
error that names the file and the line. Unknown keys are ignored.
"""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import TypeVar

_Record = TypeVar("_Record")
_REQUIRED = object()
_NUMBER = (int, float)
_MAX_SHOWN = 80  # Characters of a received value in an error message.


@dataclasses.dataclass(frozen=True)
class CellRecord:
    """A cell as its equations, not validated: a report only shows it."""

    name: str
    states: tuple[str, ...]
    equations: tuple[str, ...]
    provenance: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """One child of a search.

    Attributes:
        id: Position in the search; children are sorted by it.
        reward: None where the child has no finite reward.
        infeasible: Why the child has no score; None for a feasible child, so
            `reward` is a finite float wherever this is None.
        fingerprint: Of the architecture; empty where it was not recorded.
        elapsed_s: Training time in seconds.
        metrics: What the evaluator measured, e.g. `validation_perplexity`.
    """

    id: int
    reward: float | None
    infeasible: str | None
    fingerprint: str
    elapsed_s: float
    metrics: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """One update of the controller; NaN where a figure was not recorded."""

    step: int
    loss: float
    entropy_nats: float
    baseline: float


@dataclasses.dataclass(frozen=True)
class ShareRecord:
    """Who did how much of a step; a value for each worker.

    Attributes:
        num_items: Children evaluated.
        busy_s: Seconds that they took.
        waiting_s: Seconds waited, after them, for the slowest.
    """

    num_items: tuple[int, ...]
    busy_s: tuple[float, ...]
    waiting_s: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class RetrainedRecord:
    """One cell trained to the end with one seed.

    Attributes:
        cell: Display name.
        origin: "controller", "random" or "published".
        trial: The child's id in its search, None for a published cell.
        spec: The cell's equations, None where they were not recorded.
        units: H, the width of the cell.
        num_parameters: Of the whole model.
        seed: Of the initial weights and the order of the data.
        metrics: e.g. `test_perplexity`, `test_bits_per_char`.
        elapsed_s: Training time in seconds.
        infeasible: Why there are no metrics; None where there are.
    """

    cell: str
    origin: str
    trial: int | None
    spec: CellRecord | None
    units: int
    num_parameters: int
    seed: int
    metrics: Mapping[str, Any]
    elapsed_s: float
    infeasible: str | None


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """Everything a run left that a report shows.

    Attributes:
        workdir: The folder of the run.
        config: `config.json` as it is; empty where the file is missing.
        trials: The controller's children, by id; at least one.
        random_trials: The random baseline's children, by id.
        steps: The controller's updates, by step.
        shares: How the steps of both were spread over workers; empty for a
            run of one process.
        retrained: One record a cell and seed, in the order of the file.
        best_cell: `best_cell.json`.
        notes: Sentences on what is missing or was skipped.
    """

    workdir: pathlib.Path
    config: Mapping[str, Any]
    trials: tuple[TrialRecord, ...]
    random_trials: tuple[TrialRecord, ...]
    steps: tuple[StepRecord, ...]
    shares: tuple[ShareRecord, ...]
    retrained: tuple[RetrainedRecord, ...]
    best_cell: CellRecord | None
    notes: tuple[str, ...]


def read_run(workdir: str | os.PathLike[str]) -> RunFiles:
    """Reads the folder of a run, finished or not.

    Args:
        workdir: The folder that the search wrote; `trials.jsonl` must be in
            it, every other file may be missing and is then noted.

    Raises:
        ValueError: If `workdir` is no folder, holds no finished child, or
            holds a file that cannot be decoded.
        OSError: If a file cannot be read.
    """
    folder = _checked_folder(workdir)
    notes: list[str] = []
    trials = _read_trials(folder / "trials.jsonl", notes)
    if not trials:
        raise ValueError(
            "workdir must hold a run with at least one finished child,"
            f" received {str(workdir)!r}: its trials.jsonl has none yet."
        )
    config = _read_object(folder / "config.json")
    best_cell = _read_object(folder / "best_cell.json")
    run = RunFiles(
        workdir=folder,
        config=config or {},
        trials=trials,
        random_trials=_read_trials(folder / "random" / "trials.jsonl", notes),
        steps=_read_lines(folder / "steps.jsonl", _step, notes),
        shares=tuple(
            share
            for part in (folder, folder / "random")
            for share in _read_lines(part / "workers.jsonl", _share, notes)
        ),
        retrained=_read_lines(folder / "retrained.jsonl", _retrained, notes),
        best_cell=_cell(best_cell, "best_cell.json") if best_cell else None,
        notes=(),
    )
    notes += _missing(run)
    return dataclasses.replace(
        run,
        steps=tuple(sorted(run.steps, key=lambda record: record.step)),
        notes=tuple(notes),
    )


def _checked_folder(workdir: str | os.PathLike[str]) -> pathlib.Path:
    folder = pathlib.Path(workdir)
    if not folder.is_dir():
        problem = "this is a file" if folder.exists() else "no such folder"
        raise ValueError(
            "workdir must be the folder of a run, received"
            f" {str(workdir)!r}: {problem}."
        )
    if not (folder / "trials.jsonl").is_file():
        raise ValueError(
            "workdir must hold the journal trials.jsonl of a search, received"
            f" {str(workdir)!r}: no such file in it."
        )
    return folder


def _missing(run: RunFiles) -> list[str]:
    """Returns a sentence for each optional part that the run lacks."""
    parts = (
        (
            run.random_trials,
            "No random/trials.jsonl: random search was not run, so nothing"
            " here shows that the controller does better than chance.",
        ),
        (run.steps, "No steps.jsonl: the controller's entropy is not shown."),
        (run.retrained, "No retrained.jsonl: no cell was trained to the end."),
        (run.best_cell, "No best_cell.json: the search chose no cell yet."),
        (run.config, "No config.json: how the run was made is unknown."),
    )
    return [sentence for part, sentence in parts if not part]


def _read_trials(
    path: pathlib.Path, notes: list[str]
) -> tuple[TrialRecord, ...]:
    records = _read_lines(path, _trial, notes)
    by_id = {record.id: record for record in records}
    if len(by_id) < len(records):
        notes.append(
            f"{_label(path)}: {len(records) - len(by_id)} lines repeat the id"
            " of an earlier one; the last line of each id is shown."
        )
    return tuple(by_id[key] for key in sorted(by_id))


def _read_lines(
    path: pathlib.Path,
    make: Callable[[Mapping[str, Any], str], _Record],
    notes: list[str],
) -> tuple[_Record, ...]:
    """Returns the records of a JSON Lines file, none if it is missing."""
    if not path.is_file():
        return ()
    lines = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{_label(path)} line {number}"
        try:
            data = _decode(line, where)
        except ValueError:
            if number < len(lines):
                raise
            # No newline: the writer was stopped in the middle of this line.
            notes.append(f"{where} is unfinished and was skipped.")
            continue
        records.append(make(data, where))
    return tuple(records)


def _read_object(path: pathlib.Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    return _decode(path.read_bytes(), path.name)


def _decode(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{where} must be a JSON object in UTF-8, received"
            f" {_shown(data)}: {reason}."
        ) from error
    if not isinstance(value, dict):
        raise ValueError(
            f"{where} must be a JSON object, received {_shown(value)}."
        )
    return value


def _trial(data: Mapping[str, Any], where: str) -> TrialRecord:
    reward = _get(data, "reward", (*_NUMBER, type(None)), where)
    infeasible = _get(data, "infeasible", (str, type(None)), where, None)
    if reward is not None and not math.isfinite(reward):
        reward = None
    if reward is None and infeasible is None:
        infeasible = "no finite reward"
    return TrialRecord(
        id=_get(data, "id", int, where),
        reward=None if reward is None else float(reward),
        infeasible=infeasible,
        fingerprint=_get(data, "fingerprint", (str, type(None)), where, None)
        or "",
        elapsed_s=_get(data, "elapsed_s", _NUMBER, where, math.nan),
        metrics=_get(data, "metrics", (dict, type(None)), where, None) or {},
    )


def _step(data: Mapping[str, Any], where: str) -> StepRecord:
    figures = {
        name: _get(data, name, (*_NUMBER, type(None)), where, None)
        for name in ("loss", "entropy_nats", "baseline")
    }
    return StepRecord(
        step=_get(data, "step", int, where),
        **{
            name: math.nan if value is None else float(value)
            for name, value in figures.items()
        },
    )


def _share(data: Mapping[str, Any], where: str) -> ShareRecord:
    columns = {}
    for name, types in (
        ("num_items", (int,)),
        ("busy_s", _NUMBER),
        ("waiting_s", _NUMBER),
    ):
        values = _get(data, name, list, where)
        if not values or not all(type(value) in types for value in values):
            raise ValueError(
                f"{where}: {name} must be a list of numbers, received"
                f" {_shown(values)}."
            )
        columns[name] = tuple(values)
    if len({len(values) for values in columns.values()}) > 1:
        raise ValueError(
            f"{where}: num_items, busy_s and waiting_s must be equally long."
        )
    return ShareRecord(**columns)


def _retrained(data: Mapping[str, Any], where: str) -> RetrainedRecord:
    spec = _get(data, "spec", (dict, type(None)), where, None)
    return RetrainedRecord(
        cell=_get(data, "cell", str, where),
        origin=_get(data, "origin", str, where),
        trial=_get(data, "trial", (int, type(None)), where, None),
        spec=_cell(spec, where) if spec else None,
        units=_get(data, "units", int, where),
        num_parameters=_get(data, "num_parameters", int, where),
        seed=_get(data, "seed", int, where),
        metrics=_get(data, "metrics", (dict, type(None)), where, None) or {},
        elapsed_s=_get(data, "elapsed_s", _NUMBER, where, math.nan),
        infeasible=_get(data, "infeasible", (str, type(None)), where, None),
    )


def _cell(data: Mapping[str, Any], where: str) -> CellRecord:
    for name in ("states", "equations"):
        value = _get(data, name, list, where)
        if not all(isinstance(item, str) for item in value):
            raise ValueError(
                f"{where}: {name} must be a list of strings, received"
                f" {_shown(value)}."
            )
    provenance = _get(data, "provenance", (dict, type(None)), where, None)
    return CellRecord(
        name=_get(data, "name", str, where),
        states=tuple(data["states"]),
        equations=tuple(data["equations"]),
        provenance=provenance or {},
    )


def _get(
    data: Mapping[str, Any],
    name: str,
    types: type | tuple[type, ...],
    where: str,
    default: Any = _REQUIRED,
) -> Any:
    """Returns a field after a check of its type; True is not a number."""
    value = data.get(name, default)
    if value is _REQUIRED:
        raise ValueError(
            f"{where} must have the key {name!r}, received the keys"
            f" {_shown(sorted(data))}."
        )
    if value is default:
        return value
    if not isinstance(value, types) or isinstance(value, bool):
        allowed = types if isinstance(types, tuple) else (types,)
        names = " or ".join(kind.__name__ for kind in allowed)
        raise ValueError(
            f"{where}: {name} must be {names}, received {_shown(value)}."
        )
    return value


def _label(path: pathlib.Path) -> str:
    """Returns the file's name, with the folder for the random baseline's."""
    return f"random/{path.name}" if path.parent.name == "random" else path.name


def _shown(value: Any) -> str:
    text = repr(value[: 2 * _MAX_SHOWN] if isinstance(value, bytes) else value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
