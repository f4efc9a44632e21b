"""`Evaluator`: what scores architectures.

An architecture that cannot be scored is an `Evaluation` with a reason, never
a crash. Axes: B architectures, A decisions each.
"""

import abc
import math
import time
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import SupportsFloat
from typing import final

import numpy as np
from absl import logging

from nas_keras.controllers.controller import Controller
from nas_keras.distribute.cluster import Cluster
from nas_keras.evaluators.trial import Architecture
from nas_keras.evaluators.trial import Evaluation
from nas_keras.evaluators.trial import reason_of
from nas_keras.spaces.space import Space

_MAX_REWARD = 1e100  # Its square is still a float.

Score = tuple[float, Mapping[str, float]]


class Evaluator(abc.ABC):
    """Scores architectures of a space. A subclass says how, in `score`.

    Args:
        space: The `Space` of the architectures.

    Attributes:
        is_repeatable: Whether an architecture scores the same at any time of
            a search, so that one evaluation of it is enough.

    Raises:
        ValueError: If `space` is not a `Space`.

    Example:

    >>> from nas_keras.spaces import Choice
    >>> class Narrow(Evaluator):
    ...     def score(self, architecture, seed):
    ...         width = architecture.spec["width"]
    ...         return -width, {"log2_width": math.log2(width)}
    >>> evaluator = Narrow(Space([Choice("width", (8, 16))]))
    >>> (evaluation,) = evaluator.evaluate([[1]], seed=0)
    >>> evaluation.reward, evaluation.metrics
    (-16.0, {'log2_width': 4.0})
    """

    is_repeatable = True

    def __init__(self, space: Space):
        if not isinstance(space, Space):
            raise ValueError(
                f"space must be a Space. Received: {type(space).__name__}."
            )
        self.space = space

    @abc.abstractmethod
    def score(self, architecture: Architecture, seed: int) -> Score:
        """Returns the reward of an architecture, and further figures by name.

        It depends on the arguments alone, not on what was scored before. An
        exception (out of memory is one) or a reward that is not finite, or
        beyond 1e100, makes the architecture infeasible.
        """

    @final
    def evaluate(self, tokens: np.ndarray, seed: int) -> list[Evaluation]:
        """Returns the evaluations of `tokens` int [B, A], in order.

        Raises:
            ValueError: If a row is not an architecture of the space.
        """
        rows = [self.space.validate(row) for row in np.asarray(tokens).tolist()]
        return [
            self.evaluation(Architecture.of_tokens(self.space, row), seed)
            for row in rows
        ]

    @final
    def evaluation(self, architecture: Architecture, seed: int) -> Evaluation:
        """Returns the evaluation of one architecture."""
        if architecture.infeasible is not None:
            return Evaluation(None, infeasible=architecture.infeasible)
        return guarded(self.score, architecture, seed)

    def config(self) -> dict[str, Any]:
        """Returns what the scores depend on, JSON-able."""
        return {"class": type(self).__name__}

    def open(self, folder: Path | None, step: int, cluster: Cluster) -> bool:
        """Begins a search, or resumes one; called once, by all workers.

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
        """Called by all workers before a step's architectures are proposed.

        An evaluator that learns, such as `SharedWeights`, does it here: what
        it does may depend on the steps before, and on the controller as it
        is, and on nothing else.
        """


def guarded(
    score: Callable[..., Score],
    *arguments: Any,
    passing: tuple[type[Exception], ...] = (),
) -> Evaluation:
    """Returns the evaluation of one architecture; what goes wrong is a reason.

    Args:
        score: Returns the reward and the metrics, or raises. An exception
            (out of memory is one) or a reward that is not finite, or beyond
            1e100, makes the architecture infeasible. Metrics that are not
            finite are left out.
        *arguments: What `score` is called with.
        passing: Exceptions that are not about the architecture: not caught.

    Raises:
        ValueError: If `score` returns something else.
    """
    start = time.perf_counter()
    reward: float | None = None
    metrics: dict[str, float] = {}
    try:
        value, figures = _checked(score(*arguments))
        reward, reason = _reward(value)
        metrics = {name: float(figure) for name, figure in figures.items()}
    except Exception as error:  # The point of this function: see above.
        if isinstance(error, (_WrongScoreError, *passing)):
            raise
        logging.debug("An architecture failed.", exc_info=True)
        reward, reason = None, reason_of(error)
    elapsed_s = time.perf_counter() - start
    finite = {k: v for k, v in metrics.items() if math.isfinite(v)}
    return Evaluation(reward, finite, elapsed_s, reason)


class _WrongScoreError(ValueError):
    """An evaluator is wrong, not an architecture."""


def _checked(score: Any) -> Score:
    is_pair = isinstance(score, tuple) and len(score) == 2
    if not is_pair or not isinstance(score[1], Mapping):
        raise _WrongScoreError(
            "score must return a reward and a mapping of metrics. Received: "
            f"{score!r:.200}."
        )
    return score


def _reward(value: Any) -> tuple[float | None, str | None]:
    """Returns a reward, or why a value is none."""
    if not _is_real(value):
        return None, f"the reward is not a number: {value!r:.80}"
    number = float(value)
    if not abs(number) <= _MAX_REWARD:
        return None, f"the reward is {number}"
    return number, None


def _is_real(value: Any) -> bool:
    """Returns whether a value is a real number, or an array or tensor of it."""
    if isinstance(value, np.ndarray):
        value = value.dtype.type(0)
    if isinstance(value, bool | np.generic):
        return isinstance(value, np.integer | np.floating)
    return isinstance(value, SupportsFloat)
