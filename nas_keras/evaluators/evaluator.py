"""`Evaluator`: what scores architectures; and scoring by a user's function.

An architecture that cannot be scored is an `Evaluation` with a reason, never
a crash. Axes: B architectures, A decisions each.
"""

import abc
import functools
import math
import time
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import SupportsFloat

import numpy as np
from absl import logging

from nas_keras.controllers.controller import Controller
from nas_keras.distribute.cluster import Cluster
from nas_keras.evaluators.trial import Evaluation
from nas_keras.spaces.space import Space

_MAX_REWARD = 1e100  # Its square is still a float.


class Evaluator(abc.ABC):
    """Scores architectures.

    Attributes:
        is_repeatable: Whether an architecture scores the same at any time of
            a search, so that one evaluation of it will do.

    Example:

    >>> class FewTokens(Evaluator):
    ...     def evaluate(self, tokens, seed):
    ...         return [Evaluation(-float(row.sum())) for row in tokens]
    >>> FewTokens().evaluate(np.array([[2, 1]]), seed=0)[0].reward
    -3.0
    """

    is_repeatable = True

    @abc.abstractmethod
    def evaluate(self, tokens: np.ndarray, seed: int) -> list[Evaluation]:
        """Returns the evaluations of `tokens` int [B, A], in order.

        An evaluation depends on its row and on `seed` alone, not on what else
        is in the batch.
        """

    def config(self) -> dict[str, Any]:
        """Returns what the scores depend on, JSON-able."""
        return {"class": type(self).__name__}

    def open(self, folder: Path | None, step: int, cluster: Cluster) -> bool:
        """Begins a search, or goes on with one; called once, by all workers.

        Args:
            folder: The workdir, or None.
            step: Updates of the controller so far.
            cluster: The workers.

        Returns:
            Whether this evaluator is as it was after `step` updates. If not,
            the search is replayed from step 0, with the rewards it has.
        """
        return True

    def prepare(  # noqa: B027  (to do nothing is the rule)
        self, step: int, controller: Controller
    ) -> None:
        """Called by all workers before a step's architectures are sampled.

        An evaluator that learns, such as `SharedWeights`, does it here: what
        it does may depend on the steps before, and on the controller as it
        is, and on nothing else.
        """


class FunctionEvaluator(Evaluator):
    """Scores by a function of the user's.

    Args:
        space: The `Space` that decodes the tokens.
        fn: Takes a decoded architecture and returns a number to maximise. If
            it raises, or returns no finite number, the architecture is
            infeasible; the first exception is logged with its traceback. A
            workdir knows it by its name alone: use another workdir when what
            it computes, or its data, has changed.

    Raises:
        ValueError: If `space` is not a `Space` or `fn` cannot be called.

    Example:

    >>> from nas_keras.spaces import Choice
    >>> space = Space([Choice("width", (8, 16))])
    >>> evaluator = FunctionEvaluator(space, lambda spec: -spec["width"])
    >>> evaluator.evaluate(np.array([[1]]), seed=0)[0].reward
    -16.0
    """

    def __init__(self, space: Space, fn: Callable[[Any], float]):
        if not isinstance(space, Space):
            raise ValueError(
                f"space must be a Space. Received: {type(space).__name__}."
            )
        if not callable(fn):
            raise ValueError(f"fn must be callable. Received: fn={fn!r}.")
        self.space = space
        self.fn = fn
        self._has_failed = False

    def evaluate(self, tokens: np.ndarray, seed: int) -> list[Evaluation]:
        return [guarded(functools.partial(self._score, row)) for row in tokens]

    def _score(self, row: Any) -> tuple[float, dict[str, float]]:
        architecture = self.space.decode(row)
        try:
            return self.fn(architecture), {}
        except Exception:
            # Every architecture meets a mistake in fn: once is enough.
            if not self._has_failed:
                logging.warning("fn failed, for the first time.", exc_info=True)
            self._has_failed = True
            raise

    def config(self) -> dict[str, Any]:
        name = getattr(self.fn, "__qualname__", type(self.fn).__name__)
        return {**super().config(), "fn": name}


def guarded(
    score: Callable[[], tuple[float, Mapping[str, float]]],
    passing: tuple[type[Exception], ...] = (),
) -> Evaluation:
    """Returns the evaluation of one architecture; what goes wrong is a reason.

    Args:
        score: Returns the reward and the metrics, or raises. An exception
            (out of memory is one) or a reward that is not finite, or beyond
            1e100, makes the architecture infeasible. Metrics that are not
            finite are left out.
        passing: Exceptions that are not of the architecture, and not caught.
    """
    start = time.perf_counter()
    reward = reason = None
    metrics: Mapping[str, float] = {}
    try:
        value, metrics = score()
        if not _is_reward(value):
            reason = f"the reward is not a number: {value!r:.80}"
        elif abs(number := float(value)) <= _MAX_REWARD:
            reward = number
        else:
            reason = f"the reward is {number}"
    except passing:
        raise
    except Exception as error:  # The point of this function: see above.
        logging.debug("An architecture failed.", exc_info=True)
        message = str(error).strip().split("\n")[0][:300]
        reason = f"{type(error).__name__}: {message}"
    metrics = {
        name: float(value)
        for name, value in metrics.items()
        if math.isfinite(value)
    }
    elapsed_s = time.perf_counter() - start
    return Evaluation(reward, metrics, elapsed_s, reason)


def _is_reward(value: Any) -> bool:
    """Returns whether a value is a real number, or an array or tensor of it."""
    if isinstance(value, np.ndarray):
        value = value.dtype.type(0)
    if isinstance(value, bool | np.generic):
        return isinstance(value, np.integer | np.floating)
    return isinstance(value, SupportsFloat)
