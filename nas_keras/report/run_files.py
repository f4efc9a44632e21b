"""The files of a run, read into frozen dataclasses.

Reads what the search wrote and nothing else: no statistics (`tables.py`), no
figures (`curves.py`), neither TensorFlow nor Keras. A last journal line that a
killed search left unfinished is skipped and noted; any other damage is an
error that names the file and the line. Unknown keys are ignored.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from nas_keras.report.decoding import read_lines
from nas_keras.report.decoding import read_object
from nas_keras.report.records import CellRecord
from nas_keras.report.records import Measure
from nas_keras.report.records import RetrainedRecord
from nas_keras.report.records import ShareRecord
from nas_keras.report.records import StepRecord
from nas_keras.report.records import TrialRecord
from nas_keras.report.records import cell_record
from nas_keras.report.records import measure_of
from nas_keras.report.records import retrained_record
from nas_keras.report.records import share_record
from nas_keras.report.records import step_record
from nas_keras.report.records import trial_record


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
        retrained: One record an architecture and seed, in the order of the
            file.
        best_cell: `best_cell.json`, or what the best architecture is called.
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
        return self.evaluator.get("class") == "Shared"

    @property
    def evaluator(self) -> Mapping[str, Any]:
        """What scored the children; empty for a score of the user's own."""
        evaluator = self.setting("evaluator")
        return evaluator if isinstance(evaluator, Mapping) else {}

    @property
    def measure(self) -> Measure:
        """What the figures of retrained architectures are called.

        Raises:
            ValueError: If `config.json` says it in another form.
        """
        if self.retrained:
            return self.retrained[0].measure
        if self.setting("noun") is None:  # A search by the user's own program.
            return Measure()
        return measure_of(self.config["run"]["settings"], "config.json")

    def setting(self, key: str) -> Any:
        """Returns a setting of the configuration, None if it has none."""
        value: Any = self.config
        for name in ("run", "settings", key):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


def read_run(workdir: str | os.PathLike[str]) -> RunFiles:
    """Reads the folder of a run, finished or not.

    Args:
        workdir: The folder that the search wrote; `trials.jsonl` must be in
            it, every other file may be missing and is then noted. Of a search
            whose networks grow, that of each depth is in a folder of its own;
            they are read as one.

    Returns:
        What its files hold, and notes of those that are missing or damaged.

    Raises:
        ValueError: If `workdir` is no folder, holds no finished child, or
            holds a file that cannot be decoded.
        OSError: If a file cannot be read.
    """
    folder = _checked_folder(workdir)
    notes: list[str] = []
    parts, random_parts = _depths(folder, ""), _depths(folder, "random/")
    trials = _read_all_trials(folder, parts, notes)
    if not trials:
        raise ValueError(
            "workdir must hold a run with at least one finished child,"
            f" received {str(workdir)!r}: its trials.jsonl has none yet."
        )
    config = read_object(folder / "config.json")
    run = RunFiles(
        workdir=folder,
        config=config or {},
        trials=trials,
        random_trials=_read_all_trials(folder, random_parts, notes),
        derived_trials=_read_trials(folder, "derived/trials.jsonl", notes),
        random_derived_trials=_read_trials(
            folder, "random/derived/trials.jsonl", notes
        ),
        steps=_read_all_steps(folder, parts, notes),
        shares=tuple(
            share
            for part in (*parts, *random_parts)
            for share in read_lines(
                folder, f"{part}workers.jsonl", share_record, notes
            )
        ),
        retrained=read_lines(
            folder, "retrained.jsonl", retrained_record, notes
        ),
        best_cell=_read_best(folder),
        notes=(),
    )
    notes += _missing(run)
    return dataclasses.replace(run, notes=tuple(notes))


def _checked_folder(workdir: str | os.PathLike[str]) -> pathlib.Path:
    folder = pathlib.Path(workdir)
    if not folder.is_dir():
        problem = "this is a file" if folder.exists() else "no such folder"
        raise ValueError(
            "workdir must be the folder of a run, received"
            f" {str(workdir)!r}: {problem}."
        )
    parts = _depths(folder, "")
    if not any((folder / part / "trials.jsonl").is_file() for part in parts):
        raise ValueError(
            "workdir must hold the journal trials.jsonl of a search, received"
            f" {str(workdir)!r}: no such file in it."
        )
    return folder


def _depths(folder: pathlib.Path, part: str) -> list[str]:
    """Returns the folders of a search's depths, each with its slash.

    Args:
        folder: Of the run.
        part: Folder in it, with its slash: what there is if the search has no
            depths.
    """
    paths = sorted((folder / part).glob("depth_*/trials.jsonl"))
    return [f"{part}{path.parent.name}/" for path in paths] or [part]


def best_file(folder: pathlib.Path) -> pathlib.Path | None:
    """Returns the file of the best architecture, e.g. `best_cell.json`."""
    return next(iter(sorted(folder.glob("best_*.json"))), None)


def _read_best(folder: pathlib.Path) -> CellRecord | None:
    path = best_file(folder)
    data = path and read_object(path)
    return cell_record(data, path.name) if path and data else None


def _read_all_trials(
    folder: pathlib.Path, parts: list[str], notes: list[str]
) -> tuple[TrialRecord, ...]:
    """Returns the children of a search, of all depths, numbered as one."""
    trials: list[TrialRecord] = []
    for part in parts:
        first = len(trials)
        trials += [
            dataclasses.replace(
                trial,
                id=first + trial.id,
                same_as=None
                if trial.same_as is None
                else first + trial.same_as,
            )
            for trial in _read_trials(folder, f"{part}trials.jsonl", notes)
        ]
    return tuple(trials)


def _read_all_steps(
    folder: pathlib.Path, parts: list[str], notes: list[str]
) -> tuple[StepRecord, ...]:
    """Returns the updates of a search, of all depths, numbered as one."""
    steps: list[StepRecord] = []
    for part in parts:
        its = read_lines(folder, f"{part}steps.jsonl", step_record, notes)
        first = len(steps)
        steps += [
            dataclasses.replace(record, step=first + record.step)
            for record in sorted(its, key=lambda record: record.step)
        ]
    return tuple(steps)


def _missing(run: RunFiles) -> list[str]:
    """Returns a sentence for each optional part that the run lacks."""
    noun = run.measure.noun
    chance = "so nothing here shows that the controller does better than chance"
    if any(record.origin == "drawn" for record in run.retrained):
        chance = f"and {noun}s drawn at random stand for chance"
    parts = (
        (
            run.random_trials,
            f"No random/trials.jsonl: random search was not run, {chance}.",
        ),
        (
            run.derived_trials or not run.shared_weights,
            "No derived/trials.jsonl: no architecture was sampled from the"
            " trained controller yet.",
        ),
        (run.steps, "No steps.jsonl: the controller's entropy is not shown."),
        (
            run.retrained,
            f"No retrained.jsonl: no {noun} was trained to the end.",
        ),
        (
            run.best_cell,
            f"No best_{run.setting('noun') or '*'}.json: the search chose no"
            f" {noun} yet.",
        ),
        (run.config, "No config.json: how the run was made is unknown."),
    )
    return [sentence for part, sentence in parts if not part]


def _read_trials(
    folder: pathlib.Path, name: str, notes: list[str]
) -> tuple[TrialRecord, ...]:
    records = read_lines(folder, name, trial_record, notes)
    by_id = {record.id: record for record in records}
    if len(by_id) < len(records):
        notes.append(
            f"{name}: {len(records) - len(by_id)} lines repeat the id"
            " of an earlier one; the last line of each id is shown."
        )
    return tuple(by_id[key] for key in sorted(by_id))
