"""What a run left, a frozen dataclass for each line, and how it is decoded."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from nas_keras.report.decoding import get_field
from nas_keras.report.decoding import shown
from nas_keras.report.measure import ACCURACY
from nas_keras.report.measure import PERPLEXITY
from nas_keras.report.measure import Measure
from nas_keras.report.networks import is_network
from nas_keras.report.networks import network_lines

_NUMBER = (int, float)
_OPTIONAL_NUMBER = (*_NUMBER, type(None))


@dataclasses.dataclass(frozen=True)
class CellRecord:
    """A cell as its equations, not validated: a report only shows it.

    An image network has no states, and a line for each part as equations.
    `data` is the JSON form of either.
    """

    name: str
    states: tuple[str, ...]
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
    """One cell trained to the end with one seed.

    Attributes:
        cell: Display name, of a cell or of an image network.
        origin: "controller", "random", "drawn" at random and not selected,
            "published", or "matched" in cost to the best found one.
        trial: The child's id in its search, None for a published cell.
        spec: The cell's equations, None where they were not recorded.
        units: H, the width of the cell; None of an image network.
        num_parameters: Of the whole model; None where it was not built.
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
    units: int | None
    num_parameters: int | None
    seed: int
    metrics: Mapping[str, Any]
    elapsed_s: float
    infeasible: str | None
    reward: float | None

    @property
    def measure(self) -> Measure:
        """What the figure is called."""
        return ACCURACY if self.units is None else PERPLEXITY


def trial_record(data: Mapping[str, Any], where: str) -> TrialRecord:
    """Returns a child, as `RunFiles` holds it.

    Raises:
        ValueError: If a field is missing or of another type.
    """
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


def step_record(data: Mapping[str, Any], where: str) -> StepRecord:
    """Returns an update of the controller, as `RunFiles` holds it.

    Raises:
        ValueError: If a field is missing or of another type.
    """
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
    spec = get_field(data, "spec", (dict, type(None)), where, None)
    metrics = get_field(data, "metrics", (dict, type(None)), where, None) or {}
    return RetrainedRecord(
        cell=get_field(data, "cell", str, where),
        origin=get_field(data, "origin", str, where),
        trial=get_field(data, "trial", (int, type(None)), where, None),
        spec=cell_record(spec, where) if spec else None,
        **_size(data, spec, metrics, where),
        seed=get_field(data, "seed", int, where),
        metrics=metrics,
        elapsed_s=get_field(data, "elapsed_s", _NUMBER, where, math.nan),
        infeasible=get_field(
            data, "infeasible", (str, type(None)), where, None
        ),
        reward=_finite(
            get_field(data, "reward", _OPTIONAL_NUMBER, where, None)
        ),
    )


def _size(
    data: Mapping[str, Any],
    spec: Mapping[str, Any] | None,
    metrics: Mapping[str, Any],
    where: str,
) -> dict[str, int | None]:
    """Returns units and weights; a network's are known once it is trained."""
    if spec and is_network(spec):
        num: Any = metrics.get("num_parameters")
        is_number = isinstance(num, _NUMBER) and math.isfinite(num)
        return {
            "units": None,
            "num_parameters": int(num) if is_number else None,
        }
    return {
        name: get_field(data, name, int, where)
        for name in ("units", "num_parameters")
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def cell_record(data: Mapping[str, Any], where: str) -> CellRecord:
    """Returns a cell or an image network, as `RunFiles` holds it.

    Raises:
        ValueError: If a field is missing or of another type.
    """
    provenance = get_field(data, "provenance", (dict, type(None)), where, None)
    if is_network(data):
        return CellRecord(
            name=get_field(data, "name", str, where),
            states=(),
            equations=network_lines(data, where),
            provenance=provenance or {},
            data=data,
        )
    for name in ("states", "equations"):
        value = get_field(data, name, list, where)
        if not all(isinstance(item, str) for item in value):
            raise ValueError(
                f"{where}: {name} must be a list of strings, received"
                f" {shown(value)}."
            )
    return CellRecord(
        name=get_field(data, "name", str, where),
        states=tuple(data["states"]),
        equations=tuple(data["equations"]),
        provenance=provenance or {},
        data=data,
    )
