"""`EvolutionController`: regularized evolution. NumPy only."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas_keras.controllers.config import Evolution
from nas_keras.controllers.controller import Controller
from nas_keras.controllers.controller import Evaluated
from nas_keras.controllers.controller import Proposals
from nas_keras.controllers.controller import RandomController
from nas_keras.controllers.controller import check_arrays
from nas_keras.controllers.controller import rewards_of
from nas_keras.spaces.space import Space


class EvolutionController(Controller):
    """Proposes mutations of the best of a random sample of a population.

    The population is the last P evaluated architectures: a new one takes the
    place of the oldest, however good that was. The first P architectures are
    random. Each later one is a tournament: S members are drawn with
    replacement, and one choice of the best is changed to another option. An
    infeasible member ages like the others and never wins; if all members
    drawn are infeasible, the proposal is random.

    All architectures of a batch are proposed from the population before it.

    Args:
        space: The `Space` to propose from.
        **arguments: The fields of `Evolution`.

    What `feedback` returns are `best` and `mean`, of the rewards of the
    population, and `num_feasible`, its feasible members. The log-probabilities
    and entropies of its proposals are zeros.

    Raises:
        ValueError: If an argument breaks its rule.

    Example:

    >>> from nas_keras.spaces import tree_space
    >>> controller = EvolutionController(tree_space(2), population_size=20)
    >>> controller.propose(3, np.random.default_rng(0)).tokens.shape
    (3, 10)

    Reference:
        [Real et al., 2019](https://arxiv.org/abs/1802.01548), algorithm 1.
    """

    def __init__(self, space: Space, **arguments: Any):
        super().__init__(space)
        self.settings = Evolution(**arguments)
        size = self.settings.population_size
        # Architecture n of a search is in row n % P. The reward of a row that
        # is infeasible, or still empty, is -inf.
        size = self.settings.population_size
        self._tokens = np.zeros((size, len(space.choices)), np.int32)
        self._rewards = np.full(size, -np.inf)
        self._num_evaluated = 0

    def propose(self, batch_size: int, rng: np.random.Generator) -> Proposals:
        tokens = RandomController(self.space).propose(batch_size, rng).tokens
        num_random = self.settings.population_size - self._num_evaluated
        for row in range(max(num_random, 0), batch_size):
            parent = self._winner(rng)
            if parent is not None:
                tokens[row] = self._mutated(parent, rng)
        zeros = np.zeros(tokens.shape, np.float32)
        return Proposals(tokens, zeros, zeros)

    def _winner(self, rng: np.random.Generator) -> np.ndarray | None:
        """Returns the best of a sample, [A], or None if none is feasible."""
        num_members = min(self._num_evaluated, len(self._rewards))
        if not num_members:
            return None
        drawn = rng.integers(num_members, size=self.settings.sample_size)
        best = drawn[np.argmax(self._rewards[drawn])]
        return self._tokens[best] if np.isfinite(self._rewards[best]) else None

    def _mutated(
        self, parent: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Returns a copy with another option of one choice, all as likely."""
        num_options = np.array(self.space.num_options)
        place = rng.choice(np.flatnonzero(num_options > 1))
        child = parent.copy()
        child[place] += rng.integers(1, num_options[place])
        child[place] %= num_options[place]
        return child

    def feedback(
        self, proposals: Proposals, evaluations: Sequence[Evaluated]
    ) -> dict[str, float]:
        rewards = rewards_of(proposals, evaluations)
        for tokens, reward in zip(proposals.tokens, rewards, strict=True):
            oldest = self._num_evaluated % len(self._rewards)
            self._tokens[oldest] = tokens
            self._rewards[oldest] = -np.inf if reward is None else reward
            self._num_evaluated += 1
        self.has_learned = True
        feasible = self._rewards[np.isfinite(self._rewards)]
        metrics = {"num_feasible": float(len(feasible))}
        if len(feasible):
            metrics |= {
                "best": float(feasible.max()),
                "mean": float(feasible.mean()),
            }
        return metrics

    def state(self) -> dict[str, np.ndarray]:
        return {
            "tokens": self._tokens.copy(),
            "rewards": self._rewards.copy(),
            "num_evaluated": np.array(self._num_evaluated),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        shapes = {name: array.shape for name, array in self.state().items()}
        check_arrays(state, shapes)
        self._tokens = np.array(state["tokens"], np.int32)
        self._rewards = np.array(state["rewards"], np.float64)
        self._num_evaluated = int(state["num_evaluated"])
        self.has_learned = False

    def config(self) -> dict[str, Any]:
        return {"class": type(self).__name__, **self.settings.to_dict()}
