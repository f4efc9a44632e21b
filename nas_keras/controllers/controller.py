"""`Controller`, what all controllers share, and the one that learns nothing.

Randomness is an argument: `noise` is uniform in [0, 1), shaped [B, A], and
sampling inverts the distribution function of each choice. Axes: B sampled
architectures, A decisions each.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from nas_keras.spaces.space import Space

# Of `PolicyGradientController`; here, they can be known without TensorFlow.
LOSSES = ("reinforce", "ppo")
ENTROPY_BONUSES = ("exact", "sampled")


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Architectures, and what the policy thought of them.

    Attributes:
        tokens: int32 [B, A].
        log_prob: float32 [B, A], log pi(token) in nats.
        entropy: float32 [B, A], of the policy at each decision, in nats.
    """

    tokens: np.ndarray
    log_prob: np.ndarray
    entropy: np.ndarray


class Controller(abc.ABC):
    """Proposes architectures of a space.

    Args:
        space: The `Space` to propose from.

    Attributes:
        has_learnt: Whether `update` has changed what it proposes, since it
            was made or restored.

    Raises:
        ValueError: If `space` is not a `Space`.
    """

    has_learnt = False

    def __init__(self, space: Space):
        if not isinstance(space, Space):
            raise ValueError(
                f"space must be a Space. Received: {type(space).__name__}."
            )
        self.space = space

    @abc.abstractmethod
    def sample(self, noise: np.ndarray) -> Samples:
        """Returns the architectures that `noise` [B, A] stands for.

        Raises:
            ValueError: If `noise` is not [B, A] or not in [0, 1).
        """

    @abc.abstractmethod
    def update(
        self, samples: Samples, advantage: np.ndarray
    ) -> dict[str, float]:
        """Learns from a batch.

        Args:
            samples: What `sample` returned.
            advantage: [B], reward minus baseline.

        Returns:
            Figures of the step, such as `loss` and `entropy_nats`.
        """

    def bonus(self, samples: Samples) -> np.ndarray:
        """Returns what is added to the rewards [B], before any baseline."""
        return np.zeros(len(samples.tokens))

    @abc.abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Returns everything that `update` changes, as named arrays."""

    @abc.abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `state` returned.

        Raises:
            ValueError: If an array is missing or has another shape.
        """

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """Returns the arguments, JSON-able, that make this controller."""

    def check_noise(self, noise: np.ndarray) -> np.ndarray:
        """Returns `noise` as float32 [B, A].

        Raises:
            ValueError: If it is not [B, A] or not in [0, 1).
        """
        noise = np.asarray(noise)
        num_choices = len(self.space.choices)
        if noise.ndim != 2 or noise.shape[1] != num_choices:
            raise ValueError(
                f"noise must have the shape [B, {num_choices}]. Received: "
                f"{list(noise.shape)}."
            )
        if not ((noise >= 0) & (noise < 1)).all():
            raise ValueError(
                "noise must lie in [0, 1). Received values from "
                f"{noise.min()} to {noise.max()}."
            )
        return float32_below_one(noise)

    def check_advantage(
        self, samples: Samples, advantage: np.ndarray
    ) -> np.ndarray:
        """Returns `advantage` as float32 [B].

        Raises:
            ValueError: If it is not [B] or not finite.
        """
        advantage = np.asarray(advantage, np.float32)
        if advantage.shape != (len(samples.tokens),):
            raise ValueError(
                f"advantage must have the shape [{len(samples.tokens)}]. "
                f"Received: {list(advantage.shape)}."
            )
        if not np.isfinite(advantage).all():
            raise ValueError(
                f"advantage must be finite. Received: {advantage.tolist()}."
            )
        return advantage


def float32_below_one(uniform: np.ndarray) -> np.ndarray:
    """Returns numbers in [0, 1) as float32, none of them rounded up to 1."""
    below_one = np.nextafter(np.float32(1), np.float32(0))
    return np.minimum(uniform.astype(np.float32), below_one)


class _WithoutState(Controller):
    """A controller that learns nothing."""

    def update(
        self, samples: Samples, advantage: np.ndarray
    ) -> dict[str, float]:
        self.check_advantage(samples, advantage)
        return {"entropy_nats": float(samples.entropy.sum(axis=1).mean())}

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        if state:
            raise ValueError(
                f"A {type(self).__name__} has no state. Received: "
                f"{sorted(state)}."
            )


class RandomController(_WithoutState):
    """Samples every option with equal probability and never learns.

    The baseline of any search, by the same interface and the same budget.

    Example:

    >>> from nas_keras.spaces import tree_space
    >>> controller = RandomController(tree_space(2))
    >>> controller.sample(np.zeros((1, 10))).tokens
    array([[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]], dtype=int32)
    """

    def sample(self, noise: np.ndarray) -> Samples:
        noise = self.check_noise(noise)
        num_options = np.asarray(self.space.num_options)
        # float32 may round a product up to the number of options.
        tokens = np.minimum(noise * num_options, num_options - 1)
        entropy = np.broadcast_to(np.log(num_options), noise.shape)
        entropy = entropy.astype(np.float32)
        return Samples(tokens.astype(np.int32), -entropy, entropy)

    def config(self) -> dict[str, Any]:
        return {"class": type(self).__name__}


class FrozenController(_WithoutState):
    """Samples as another controller does, which must not change meanwhile.

    With it architectures are derived from a controller that has learnt.

    Args:
        controller: The other one.
    """

    def __init__(self, controller: Controller):
        super().__init__(controller.space)
        self._controller = controller

    def sample(self, noise: np.ndarray) -> Samples:
        return self._controller.sample(noise)

    def config(self) -> dict[str, Any]:
        return {
            "class": type(self).__name__,
            "controller": self._controller.config(),
        }
