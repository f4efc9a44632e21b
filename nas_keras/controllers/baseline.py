"""Rewards to advantages, by an exponential moving average. Pure functions.

The baseline of a batch is made of earlier rewards alone, which keeps the
direction of the policy gradient unbiased (Zoph & Le, section 3.2); the first
batch, which has no past, is measured against its own mean. The deviation that
advantages are divided by includes the present batch. No TensorFlow here.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class BaselineState:
    """What is remembered of earlier rewards.

    Attributes:
        mean: Moving average of the rewards; the baseline.
        variance: Moving average of the squared distance from it.
        lowest: Lowest reward so far.
        num_batches: Batches seen that had a feasible reward.
    """

    mean: float = 0.0
    variance: float = 0.0
    lowest: float = math.inf
    num_batches: int = 0


@dataclasses.dataclass(frozen=True)
class EMABaseline:
    """Turns rewards into advantages.

    Attributes:
        decay: Weight of the past in both averages, in [0, 1). The paper does
            not state it; 0.95 is NASNet's.
        normalize: Whether advantages are divided by the moving standard
            deviation, so that the reward's scale is without effect.

    Raises:
        ValueError: If `decay` is out of range.

    Example:

    >>> advantage, state = EMABaseline().advantages([1.0, 3.0], BaselineState())
    >>> advantage.tolist(), state.mean
    ([-1.0, 1.0], 2.0)
    """

    decay: float = 0.95
    normalize: bool = True

    def __post_init__(self):
        if not 0 <= self.decay < 1:
            raise ValueError(
                f"decay must be in [0, 1). Received: decay={self.decay!r}."
            )

    def advantages(
        self, rewards: Sequence[float | None], state: BaselineState
    ) -> tuple[np.ndarray, BaselineState]:
        """Returns the advantages [B] and the state for the next batch.

        An infeasible architecture (None) counts as the lowest reward so far
        and leaves the averages alone. The first batch, which has no past, is
        measured against its own mean.
        """
        feasible = [reward for reward in rewards if reward is not None]
        if not feasible:
            if not state.num_batches:
                return np.zeros(len(rewards), np.float32), state
            lowest, mean, variance = state.lowest, state.mean, state.variance
            following = state
        else:
            lowest = min(state.lowest, *feasible)
            first = not state.num_batches
            decay = 0.0 if first else self.decay
            batch_mean = math.fsum(feasible) / len(feasible)
            mean = batch_mean if first else state.mean
            batch_variance = math.fsum(
                (reward - mean) ** 2 for reward in feasible
            ) / len(feasible)
            variance = decay * state.variance + (1 - decay) * batch_variance
            following = BaselineState(
                decay * state.mean + (1 - decay) * batch_mean,
                variance,
                lowest,
                state.num_batches + 1,
            )
        filled = [lowest if reward is None else reward for reward in rewards]
        advantage = np.asarray(filled, np.float64) - mean
        # What is left of equal rewards is rounding: not to be blown up.
        rounding = 1e-12 * max(abs(mean), *map(abs, filled))
        advantage[np.abs(advantage) <= rounding] = 0.0
        deviation = math.sqrt(variance)
        if self.normalize and deviation > rounding:
            advantage = advantage / deviation
        return advantage.astype(np.float32), following
