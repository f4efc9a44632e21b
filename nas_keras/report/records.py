"""What a run left, a frozen dataclass for each line, and how it is decoded.

What a figure is called and which is better, the lines say themselves: nothing
here knows a task.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from nas_keras.report.decoding import get_field
from nas_keras.report.decoding import get_optional
from nas_keras.report.decoding import printable
from nas_keras.report.decoding import shown
from nas_keras.report.networks import is_network
from nas_keras.report.networks import network_lines

_NUMBER = (int, float)
_OPTIONAL_NUMBER = (*_NUMBER, type(None))


@dataclasses.dataclass(frozen=True)
class Measure:
    """What retrained architectures are compared by, in words.

    Attributes:
        noun: What an architecture is, e.g. "cell".
        name: Name of the metric; `validation_` and `test_` before it make its
            keys in the metrics of a training. Empty where there is none.
        unit: Its unit, "" for a number without one. "%": values are fractions,
            shown times 100.
        is_more_better: Whether more of it is better.
    """

    noun: str = "architecture"
    name: str = ""
    unit: str = ""
    is_more_better: bool = True

    @property
    def factor(self) -> float:
        """What a value is multiplied by to be shown."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def suffix(self) -> str:
        """The unit as it is written behind a figure."""
        return f" {self.unit}" if self.unit else ""

    @property
    def best(self) -> str:
        """What the best figure of several is."""
        return "highest" if self.is_more_better else "lowest"


@dataclasses.dataclass(frozen=True)
class CellRecord:
    """A cell or another architecture, not validated: a report only shows it.

    Attributes:
        name: Display name.
        states: Names of a cell's states; of others none.
        parts: What its lines are: "Equations", "Layers" or "Fields".
        equations: The lines, as text.
        provenance: Where it comes from.
        data: Its JSON form.
    """

    name: str
    states: tuple[str, ...]
    parts: str
    equations: tuple[str, ...]
    provenance: Mapping[str, Any]
    data: Mapping[str, Any]


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
    """One architecture trained to the end with one seed.

    Attributes:
        cell: Display name of the architecture.
        origin: "controller", "random", "drawn" at random and not selected,
            "published", or "matched" in cost to the best found one.
        trial: The child's id in its search, None for a published one.
        reward: Of the child in its search, None for a published one.
        spec: The architecture, None where it was not recorded.
        measure: What its figure is called.
        is_baseline: Whether it is what the best found one is compared with.
        size: Name -> number, e.g. of units and parameters, in the order of a
            table's columns.
        seed: Of the initial weights and the order of the data.
        metrics: e.g. `test_perplexity`, `test_bits_per_char`.
        elapsed_s: Training time in seconds.
        infeasible: Why there are no metrics; None where there are.
    """

    cell: str
    origin: str
    trial: int | None
    reward: float | None
    spec: CellRecord | None
    measure: Measure
    is_baseline: bool
    size: Mapping[str, int]
    seed: int
    metrics: Mapping[str, Any]
    elapsed_s: float
    infeasible: str | None


def measure_of(data: Mapping[str, Any], where: str) -> Measure:
    """Returns what the figure of a training, or of a run, is called.

    Raises:
        ValueError: If a field is missing or of another type.
    """
    metric = get_field(data, "metric", dict, where)
    inside = f"{where}: metric"
    return Measure(
        printable(get_field(data, "noun", str, where)),
        printable(get_field(metric, "name", str, inside)),
        printable(get_field(metric, "unit", str, inside)),
        get_field(metric, "is_more_better", bool, inside),
    )


def trial_record(data: Mapping[str, Any], where: str) -> TrialRecord:
    """Returns a child, as `RunFiles` holds it.

    Raises:
        ValueError: If a field is missing or of another type.
    """
    reward = _finite(get_field(data, "reward", _OPTIONAL_NUMBER, where))
    infeasible = get_optional(data, "infeasible", str, where)
    if reward is None and infeasible is None:
        infeasible = "no finite reward"
    return TrialRecord(
        id=get_field(data, "id", int, where),
        reward=reward,
        infeasible=infeasible,
        fingerprint=get_optional(data, "fingerprint", str, where) or "",
        elapsed_s=get_field(data, "elapsed_s", _NUMBER, where, math.nan),
        metrics=get_optional(data, "metrics", dict, where) or {},
        same_as=get_optional(data, "same_as", int, where),
    )


def step_record(data: Mapping[str, Any], where: str) -> StepRecord:
    """Returns an update of the controller, as `RunFiles` holds it.

    Raises:
        ValueError: If a field is missing or of another type.
    """
    figures = {
        name: get_optional(data, name, _NUMBER, where)
        for name in ("loss", "entropy_nats", "baseline")
    }
    return StepRecord(
        step=get_field(data, "step", int, where),
        **{
            name: math.nan if value is None else float(value)
            for name, value in figures.items()
        },
    )


def share_record(data: Mapping[str, Any], where: str) -> ShareRecord:
    """Returns a step of several workers, as `RunFiles` holds it.

    Raises:
        ValueError: If a field is missing or of another type.
    """
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


def retrained_record(data: Mapping[str, Any], where: str) -> RetrainedRecord:
    """Returns a training to the end, as `RunFiles` holds it.

    Raises:
        ValueError: If a field is missing or of another type.
    """
    spec = get_optional(data, "spec", dict, where)
    size = get_field(data, "size", dict, where)
    return RetrainedRecord(
        cell=get_field(data, "cell", str, where),
        origin=get_field(data, "origin", str, where),
        trial=get_optional(data, "trial", int, where),
        reward=_finite(get_optional(data, "reward", _NUMBER, where)),
        spec=cell_record(spec, where) if spec else None,
        measure=measure_of(data, where),
        is_baseline=get_field(data, "is_baseline", bool, where),
        size={
            printable(name): get_field(size, name, int, f"{where}: size")
            for name in size
        },
        seed=get_field(data, "seed", int, where),
        metrics=get_optional(data, "metrics", dict, where) or {},
        elapsed_s=get_field(data, "elapsed_s", _NUMBER, where, math.nan),
        infeasible=get_optional(data, "infeasible", str, where),
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def cell_record(data: Mapping[str, Any], where: str) -> CellRecord:
    """Returns an architecture of any kind, as `RunFiles` holds it.

    Raises:
        ValueError: If a field is missing or of another type.
    """
    provenance = get_optional(data, "provenance", dict, where)
    states: tuple[str, ...] = ()
    if is_network(data):
        parts, lines = "Layers", network_lines(data, where)
    elif "equations" in data:
        parts, lines = "Equations", _strings(data, "equations", where)
        states = _strings(data, "states", where)
    else:  # Of a form that only its task knows.
        parts = "Fields"
        lines = tuple(
            f"{name}: {json.dumps(value, ensure_ascii=False)}"
            for name, value in data.items()
            if name not in ("name", "provenance")
        )
    return CellRecord(
        name=get_field(data, "name", str, where),
        states=states,
        parts=parts,
        equations=lines,
        provenance=provenance or {},
        data=data,
    )


def _strings(data: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    value = get_field(data, name, list, where)
    if not all(isinstance(item, str) for item in value):
        raise ValueError(
            f"{where}: {name} must be a list of strings, received"
            f" {shown(value)}."
        )
    return tuple(value)
