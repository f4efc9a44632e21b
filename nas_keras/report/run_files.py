"""The files of a run, read into frozen dataclasses.

Reads what the search wrote and nothing else: no statistics (`tables.py`), no
figures (`curves.py`), neither TensorFlow nor Keras. A last journal line that a
killed search left unfinished is skipped and noted; any other damage is an
error that names the file and the line. Unknown keys are ignored.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from nas_keras.report.decoding import get_field
from nas_keras.report.decoding import read_lines
from nas_keras.report.decoding import read_object
from nas_keras.report.decoding import shown

_NUMBER = (int, float)
_OPTIONAL_NUMBER = (*_NUMBER, type(None))


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
        elapsed_s: Training time in seconds; 0 where it was not trained.
        metrics: What the evaluator measured, e.g. `validation_perplexity`.
        same_as: The id of the earlier child of the same architecture whose
            evaluation was reused; None where this child was evaluated.
    """

    id: int
    reward: float | None
    infeasible: str | None
    fingerprint: str
    elapsed_s: float
    metrics: Mapping[str, Any]
    same_as: int | None


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
        reward: Of the child in its search, None for a published cell, and
            where an older search did not record it.
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
    reward: float | None


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """Everything a run left that a report shows.

    Attributes:
        workdir: The folder of the run.
        config: `config.json` as it is; empty where the file is missing.
        trials: The controller's children, by id; at least one.
        random_trials: The random baseline's children, by id.
        derived_trials: Architectures that were sampled from the trained
            controller and scored with the shared weights, by id.
        random_derived_trials: Those of the random baseline.
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
    derived_trials: tuple[TrialRecord, ...]
    random_derived_trials: tuple[TrialRecord, ...]
    steps: tuple[StepRecord, ...]
    shares: tuple[ShareRecord, ...]
    retrained: tuple[RetrainedRecord, ...]
    best_cell: CellRecord | None
    notes: tuple[str, ...]

    @property
    def shared_weights(self) -> bool:
        """Whether children were scored with shared weights, not trained."""
        value: Any = self.config
        for name in ("run", "settings", "evaluator"):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value == "shared"


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
    trials = _read_trials(folder, "trials.jsonl", notes)
    if not trials:
        raise ValueError(
            "workdir must hold a run with at least one finished child,"
            f" received {str(workdir)!r}: its trials.jsonl has none yet."
        )
    config = read_object(folder / "config.json")
    best_cell = read_object(folder / "best_cell.json")
    run = RunFiles(
        workdir=folder,
        config=config or {},
        trials=trials,
        random_trials=_read_trials(folder, "random/trials.jsonl", notes),
        derived_trials=_read_trials(folder, "derived/trials.jsonl", notes),
        random_derived_trials=_read_trials(
            folder, "random/derived/trials.jsonl", notes
        ),
        steps=read_lines(folder, "steps.jsonl", _step, notes),
        shares=tuple(
            share
            for name in ("workers.jsonl", "random/workers.jsonl")
            for share in read_lines(folder, name, _share, notes)
        ),
        retrained=read_lines(folder, "retrained.jsonl", _retrained, notes),
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
        (
            run.derived_trials or not run.shared_weights,
            "No derived/trials.jsonl: no architecture was sampled from the"
            " trained controller yet.",
        ),
        (run.steps, "No steps.jsonl: the controller's entropy is not shown."),
        (run.retrained, "No retrained.jsonl: no cell was trained to the end."),
        (run.best_cell, "No best_cell.json: the search chose no cell yet."),
        (run.config, "No config.json: how the run was made is unknown."),
    )
    return [sentence for part, sentence in parts if not part]


def _read_trials(
    folder: pathlib.Path, name: str, notes: list[str]
) -> tuple[TrialRecord, ...]:
    records = read_lines(folder, name, _trial, notes)
    by_id = {record.id: record for record in records}
    if len(by_id) < len(records):
        notes.append(
            f"{name}: {len(records) - len(by_id)} lines repeat the id"
            " of an earlier one; the last line of each id is shown."
        )
    return tuple(by_id[key] for key in sorted(by_id))


def _trial(data: Mapping[str, Any], where: str) -> TrialRecord:
    reward = _finite(get_field(data, "reward", _OPTIONAL_NUMBER, where))
    infeasible = get_field(data, "infeasible", (str, type(None)), where, None)
    if reward is None and infeasible is None:
        infeasible = "no finite reward"
    return TrialRecord(
        id=get_field(data, "id", int, where),
        reward=reward,
        infeasible=infeasible,
        fingerprint=get_field(
            data, "fingerprint", (str, type(None)), where, None
        )
        or "",
        elapsed_s=get_field(data, "elapsed_s", _NUMBER, where, math.nan),
        metrics=get_field(data, "metrics", (dict, type(None)), where, None)
        or {},
        same_as=get_field(data, "same_as", (int, type(None)), where, None),
    )


def _step(data: Mapping[str, Any], where: str) -> StepRecord:
    figures = {
        name: get_field(data, name, _OPTIONAL_NUMBER, where, None)
        for name in ("loss", "entropy_nats", "baseline")
    }
    return StepRecord(
        step=get_field(data, "step", int, where),
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
        values = get_field(data, name, list, where)
        if not values or not all(type(value) in types for value in values):
            raise ValueError(
                f"{where}: {name} must be a list of numbers, received"
                f" {shown(values)}."
            )
        columns[name] = tuple(values)
    if len({len(values) for values in columns.values()}) > 1:
        raise ValueError(
            f"{where}: num_items, busy_s and waiting_s must be equally long."
        )
    return ShareRecord(**columns)


def _retrained(data: Mapping[str, Any], where: str) -> RetrainedRecord:
    spec = get_field(data, "spec", (dict, type(None)), where, None)
    return RetrainedRecord(
        cell=get_field(data, "cell", str, where),
        origin=get_field(data, "origin", str, where),
        trial=get_field(data, "trial", (int, type(None)), where, None),
        spec=_cell(spec, where) if spec else None,
        units=get_field(data, "units", int, where),
        num_parameters=get_field(data, "num_parameters", int, where),
        seed=get_field(data, "seed", int, where),
        metrics=get_field(data, "metrics", (dict, type(None)), where, None)
        or {},
        elapsed_s=get_field(data, "elapsed_s", _NUMBER, where, math.nan),
        infeasible=get_field(
            data, "infeasible", (str, type(None)), where, None
        ),
        reward=_finite(
            get_field(data, "reward", _OPTIONAL_NUMBER, where, None)
        ),
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _cell(data: Mapping[str, Any], where: str) -> CellRecord:
    for name in ("states", "equations"):
        value = get_field(data, name, list, where)
        if not all(isinstance(item, str) for item in value):
            raise ValueError(
                f"{where}: {name} must be a list of strings, received"
                f" {shown(value)}."
            )
    provenance = get_field(data, "provenance", (dict, type(None)), where, None)
    return CellRecord(
        name=get_field(data, "name", str, where),
        states=tuple(data["states"]),
        equations=tuple(data["equations"]),
        provenance=provenance or {},
    )
