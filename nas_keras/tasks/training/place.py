"""Where a training is: what of its snapshots is no array. Needs NumPy only."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

Record = dict[str, Any]  # Of an epoch, JSON-able.


@dataclasses.dataclass
class Place:
    """Where a training is.

    Attributes:
        epoch: From 0.
        batch: In the epoch, from 0.
        updates: In all.
        loss_sum: Of the epoch's batches, nats.
        average_from: Update that averages begin with, or None.
        elapsed_s: Of the epoch.
        history: The record of each epoch that is over.
    """

    epoch: int = 0
    batch: int = 0
    updates: int = 0
    loss_sum: float = 0.0
    average_from: int | None = None
    elapsed_s: float = 0.0
    history: list[Record] = dataclasses.field(default_factory=list)

    def best_epoch(self, signs: Mapping[str, int]) -> Record:
        """Returns the record of the best epoch; of equal ones, the first.

        Args:
            signs: What of a record says so, and what if that is equal: 1 if
                more of it is better, -1 if less.
        """

        def goodness(record: Record) -> list[float]:
            return [sign * record[name] for name, sign in signs.items()]

        return max(self.history, key=goodness)

    def encoded(self) -> np.ndarray:
        """Returns the place as an array for a snapshot."""
        text = json.dumps(dataclasses.asdict(self))
        return np.frombuffer(text.encode(), np.uint8)

    @classmethod
    def decoded(cls, array: np.ndarray) -> "Place":
        """Returns what `encoded` was called of."""
        return cls(**json.loads(array.tobytes()))
