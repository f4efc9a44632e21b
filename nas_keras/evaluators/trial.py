"""`Architecture`, `Evaluation`, `Trial`: values, and their form in a journal.

No TensorFlow, no Keras.
"""

import dataclasses
import math
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from nas_keras.spaces.space import Space


class SearchError(RuntimeError):
    """A search cannot go on: too many failures, or a diverged controller."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """An architecture in both of its forms, decoded once.

    Attributes:
        tokens: A ints.
        spec: What they decode to, a `CellSpec` in a space of cells; None if
            the space's `decode` failed.
        fingerprint: The canonical fingerprint of `spec`, if it has one.
        infeasible: Why `decode` failed, or None.
    """

    tokens: tuple[int, ...]
    spec: Any
    fingerprint: str | None = None
    infeasible: str | None = None

    @classmethod
    def of_tokens(cls, space: Space, tokens: Sequence[int]) -> "Architecture":
        """Returns the architecture that tokens stand for in a space."""
        row = tuple(map(int, tokens))
        try:
            spec = space.decode(row)
            return cls(row, spec, getattr(spec, "fingerprint", None))
        except Exception as error:  # A function of the user's.
            return cls(row, None, infeasible=reason_of(error))

    @property
    def key(self) -> str:
        """What two trials of one architecture have in common.

        That is the fingerprint, which different tokens may share; of a space
        whose architectures have none, the tokens.
        """
        return self.fingerprint or " ".join(map(str, self.tokens))


def reason_of(error: Exception) -> str:
    """Returns why an architecture is infeasible, in a line."""
    message = str(error).strip().split("\n")[0][:300]
    return f"{type(error).__name__}: {message}"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The score of one architecture.

    Attributes:
        reward: What the controller maximizes; None exactly if infeasible.
        metrics: Further figures, finite, by name.
        elapsed_s: Seconds that the evaluation took.
        infeasible: Why there is no reward, or None.

    Raises:
        ValueError: If a number is not finite, or there is both a reward and a
            reason for having none, or neither.
    """

    reward: float | None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    elapsed_s: float = 0.0
    infeasible: str | None = None

    def __post_init__(self):
        if (self.reward is None) == (self.infeasible is None):
            raise ValueError(
                "An evaluation has either a reward or a reason in infeasible. "
                f"Received: reward={self.reward!r}, "
                f"infeasible={self.infeasible!r}."
            )
        if self.reward is not None:
            reward = _finite(self.reward, "reward")
            object.__setattr__(self, "reward", reward)
        metrics = {
            name: _finite(value, f"metrics[{name!r}]")
            for name, value in self.metrics.items()
        }
        object.__setattr__(self, "metrics", metrics)
        if self.infeasible is not None:
            # A name of a file may be in it that is no text.
            printable = str(self.infeasible).encode(errors="backslashreplace")
            object.__setattr__(self, "infeasible", printable.decode())
        elapsed_s = _finite(self.elapsed_s, "elapsed_s")
        object.__setattr__(self, "elapsed_s", elapsed_s)


@dataclasses.dataclass(frozen=True)
class Trial:
    """One evaluated architecture of a search.

    Attributes:
        id: Its place in the search, from 0.
        tokens: A ints.
        spec: What they decode to, a `CellSpec` in a space of cells; None if
            the space's `decode` fails.
        evaluation: Its score.
        same_as: The first trial of the same architecture, whose score this
            is; None if this one was evaluated itself.
    """

    id: int
    tokens: tuple[int, ...]
    spec: Any
    evaluation: Evaluation
    same_as: int | None = None

    def to_record(self, batch_size: int) -> dict[str, Any]:
        """Returns the journal's line of the trial, JSON-able."""
        step, row = divmod(self.id, batch_size)
        return {
            "id": self.id,
            "step": step,
            "row": row,
            "tokens": list(self.tokens),
            "fingerprint": getattr(self.spec, "fingerprint", None),
            "reward": self.evaluation.reward,
            "metrics": dict(self.evaluation.metrics),
            "elapsed_s": self.evaluation.elapsed_s,
            "infeasible": self.evaluation.infeasible,
            "same_as": self.same_as,
        }


def evaluation_of_record(record: Mapping[str, Any]) -> Evaluation:
    """Returns the evaluation in a journal's line."""
    return Evaluation(
        record["reward"],
        record["metrics"],
        record["elapsed_s"],
        record["infeasible"],
    )


RECORD_TYPES: dict[str, tuple[type, ...]] = {
    "id": (int,),
    "tokens": (list,),
    "reward": (float, int, type(None)),
    "metrics": (dict,),
    "elapsed_s": (float, int),
    "infeasible": (str, type(None)),
    "same_as": (int, type(None)),
}


def _finite(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite. Received: {name}={value!r}.")
    return number
