"""`Controller`: what proposes architectures; and those that learn nothing.

Randomness is an argument: proposals depend on the controller's state and on
the generator that `propose` is given, and on nothing else. Axes: B proposed
architectures, A decisions each.
"""

import abc
import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Protocol

import numpy as np

from nas_keras.checks import checked_int
from nas_keras.spaces.space import Space


@dataclasses.dataclass(frozen=True, eq=False)
class Proposals:
    """Architectures, and what their controller thought of them.

    Attributes:
        tokens: int32 [B, A].
        log_prob: float32 [B, A], log pi(token) in nats; zeros of a controller
            that has no distribution.
        entropy: float32 [B, A], entropy of the policy at each decision, in
            nats; likewise.
    """

    tokens: np.ndarray
    log_prob: np.ndarray
    entropy: np.ndarray

    @property
    def entropy_nats(self) -> float:
        """Mean entropy of a whole architecture."""
        return float(self.entropy.sum(axis=1).mean())


class Evaluated(Protocol):
    """What a controller reads of an evaluation."""

    @property
    def reward(self) -> float | None:
        """What to maximize; None exactly if infeasible."""

    @property
    def infeasible(self) -> str | None:
        """Why there is no reward, or None."""


class Controller(abc.ABC):
    """Proposes architectures of a space, and learns from their evaluations.

    Args:
        space: The `Space` to propose from.

    Attributes:
        has_learned: Whether `feedback` has changed the proposals since the
            controller was made or restored.

    Raises:
        ValueError: If `space` is not a `Space`.
    """

    has_learned = False

    def __init__(self, space: Space):
        if not isinstance(space, Space):
            raise ValueError(
                f"space must be a Space. Received: {type(space).__name__}."
            )
        self.space = space

    @abc.abstractmethod
    def propose(self, batch_size: int, rng: np.random.Generator) -> Proposals:
        """Returns the next architectures to evaluate.

        Args:
            batch_size: B, at least 1.
            rng: All chance of the proposals.
        """

    @abc.abstractmethod
    def feedback(
        self, proposals: Proposals, evaluations: Sequence[Evaluated]
    ) -> dict[str, float]:
        """Learns from the evaluations of a batch.

        Several workers call this with equal arguments, and must come to equal
        states.

        Args:
            proposals: What `propose` returned last.
            evaluations: B evaluations, in the order of the proposals.

        Returns:
            Figures of the update, such as `loss` and `entropy_nats`.

        Raises:
            ValueError: If there is not one evaluation for each proposal.
        """

    @abc.abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Returns everything that `feedback` changes, as named arrays."""

    @abc.abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores what `state` returned.

        Raises:
            ValueError: If an array is missing or has another shape.
        """

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """Returns the class and the settings of this controller, JSON-able."""

    def noise(self, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        """Returns one uniform number for each decision, float32 [B, A].

        The numbers lie in [0, 1). Each row is the same for every B that has
        it.
        """
        batch_size = checked_int(batch_size, "batch_size", 1)
        uniform = rng.random((batch_size, len(self.space.choices)))
        # Rounding to float32 may give 1.
        below_one = np.nextafter(np.float32(1), np.float32(0))
        return np.minimum(uniform.astype(np.float32), below_one)


def generator_of(seed: int, step: int) -> np.random.Generator:
    """Returns the generator of a step, which depends on the two ints alone."""
    return np.random.Generator(
        np.random.Philox(key=np.array([seed, step], np.uint64))
    )


def rewards_of(
    proposals: Proposals, evaluations: Sequence[Evaluated]
) -> list[float | None]:
    """Returns the reward of each proposal, None where it is infeasible.

    Raises:
        ValueError: If there is not one evaluation for each proposal.
    """
    if len(evaluations) != len(proposals.tokens):
        raise ValueError(
            "evaluations must be one for each of the "
            f"{len(proposals.tokens)} proposals. Received: {len(evaluations)}."
        )
    return [evaluation.reward for evaluation in evaluations]


def check_arrays(
    state: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuses a state that does not fit a controller.

    Args:
        state: Named arrays.
        shapes: The shape of each array that the controller needs.

    Raises:
        ValueError: If an array is missing or has another shape.
    """
    for name, shape in shapes.items():
        received = np.shape(state[name]) if name in state else "none"
        if received != shape:
            raise ValueError(
                f"state must hold {name!r} of shape {shape}. Received: "
                f"{received}."
            )


class _WithoutState(Controller):
    """A controller that learns nothing."""

    def feedback(
        self, proposals: Proposals, evaluations: Sequence[Evaluated]
    ) -> dict[str, float]:
        rewards_of(proposals, evaluations)  # Checks them.
        return {"entropy_nats": proposals.entropy_nats}

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        if state:
            raise ValueError(
                f"A {type(self).__name__} has no state. Received: "
                f"{sorted(state)}."
            )


class RandomController(_WithoutState):
    """Proposes every option with equal probability and never learns.

    The baseline of any search, by the same interface and the same budget.

    Example:

    >>> from nas_keras.spaces import tree_space
    >>> controller = RandomController(tree_space(2))
    >>> controller.propose(3, np.random.default_rng(0)).tokens.shape
    (3, 10)
    """

    def propose(self, batch_size: int, rng: np.random.Generator) -> Proposals:
        noise = self.noise(batch_size, rng)
        num_options = np.asarray(self.space.num_options)
        # float32 may round a product up to the number of options.
        tokens = np.minimum(noise * num_options, num_options - 1)
        entropy = np.broadcast_to(np.log(num_options), noise.shape)
        entropy = entropy.astype(np.float32)
        return Proposals(tokens.astype(np.int32), -entropy, entropy)

    def config(self) -> dict[str, Any]:
        return {"class": type(self).__name__}


class FrozenController(_WithoutState):
    """Proposes as another controller does, which must not change meanwhile.

    A search with it derives architectures from a controller that has learned.

    Args:
        controller: The other controller.
    """

    def __init__(self, controller: Controller):
        super().__init__(controller.space)
        self._controller = controller

    def propose(self, batch_size: int, rng: np.random.Generator) -> Proposals:
        return self._controller.propose(batch_size, rng)

    def config(self) -> dict[str, Any]:
        return {
            "class": type(self).__name__,
            "controller": self._controller.config(),
        }
