"""`FunctionEvaluator`: scores architectures by a function of the user's."""

from collections.abc import Callable
from typing import Any

from absl import logging

from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.evaluators.evaluator import Score
from nas_keras.evaluators.trial import Architecture
from nas_keras.spaces.space import Space


class FunctionEvaluator(Evaluator):
    """Scores by a function of the user's.

    Args:
        space: The `Space` that decodes the tokens.
        fn: Takes a decoded architecture and returns a number to maximize. If
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
    >>> evaluator.evaluate([[1]], seed=0)[0].reward
    -16.0
    """

    def __init__(self, space: Space, fn: Callable[[Any], float]):
        super().__init__(space)
        if not callable(fn):
            raise ValueError(f"fn must be callable. Received: fn={fn!r}.")
        self.fn = fn
        self._has_failed = False

    def score(self, architecture: Architecture, seed: int) -> Score:
        try:
            return self.fn(architecture.spec), {}
        except Exception:
            # Every architecture meets a mistake in fn: once is enough.
            if not self._has_failed:
                logging.warning("fn failed, for the first time.", exc_info=True)
            self._has_failed = True
            raise

    def config(self) -> dict[str, Any]:
        name = getattr(self.fn, "__qualname__", type(self.fn).__name__)
        return {**super().config(), "fn": name}
