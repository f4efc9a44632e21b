"""Perplexity over all tokens of a text, with carried states.

Axes: B streams side by side, T steps of a window, N predictions.
"""

import math
from collections.abc import Iterator

import numpy as np

from nas_keras.tasks.language_model.steps import LanguageModelSteps

# Steps of a window: no part of the result, which carries states over.
_NUM_STEPS = 128


def loss_of_text(
    steps: LanguageModelSteps,
    tokens: np.ndarray,
    batch_size: int = 1,
    dynamic_rate: float = 0.0,
    num_steps: int = _NUM_STEPS,
) -> float:
    """Returns the mean loss in nats of a text's tokens but the first.

    Args:
        steps: The model, with the weights that it is to have.
        tokens: int32 [N+1].
        batch_size: B, streams that the text is cut into; each begins with
            states of zero. With 1 the whole text is read in order.
        dynamic_rate: Rate of dynamic evaluation; 0: none. The model's weights
            are changed by it.
        num_steps: T. Of dynamic evaluation, what is scored between two steps.

    Returns:
        The mean over all N; NaN if a loss is.

    Reference:
        [Krause et al., 2018](https://arxiv.org/abs/1709.07432), section 3, of
        dynamic evaluation; here by plain gradient steps, clipped as those of
        the training.
    """
    states = steps.model.initial_states(batch_size)
    total, count = 0.0, 0
    for window, is_real in _windows(tokens, batch_size, num_steps):
        if dynamic_rate:
            nats, states = steps.adapt(window, states, dynamic_rate)
        else:
            nats, states = steps.score(window, states)
        # Of padding the loss may be anything; the sum is in float64.
        total += float(np.where(is_real, nats, 0.0).sum(dtype=np.float64))
        count += int(is_real.sum())
    return total / count


def _windows(
    tokens: np.ndarray, batch_size: int, num_steps: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields windows [B, T+1], and [B, T] which of their targets count.

    Stream b has the predictions from b R on, R of them, the last ones fewer.
    """
    num = len(tokens) - 1
    length = math.ceil(num / batch_size)  # R.
    num_windows = math.ceil(length / num_steps)
    starts = np.arange(batch_size)[:, None] * length
    for window in range(num_windows):
        first = window * num_steps
        offsets = first + np.arange(num_steps + 1)
        places = starts + offsets
        is_real = (offsets < length) & (places < num)
        yield tokens[np.minimum(places, num)], is_real[:, :-1]
