"""What becomes of gradients before a step, and who takes it: pure functions.

Keras only.
"""

from collections.abc import Sequence
from typing import Any

import keras


def clipped(gradients: Sequence[Any], clip_norm: float) -> list[Any]:
    """Returns gradients scaled to a global norm of at most `clip_norm`."""
    squares = [keras.ops.sum(keras.ops.square(g)) for g in gradients]
    norm = keras.ops.sqrt(sum(squares))
    # As tf.clip_by_global_norm: what is not finite stays so, and is noticed.
    scale = clip_norm / keras.ops.maximum(norm, clip_norm)
    return [gradient * scale for gradient in gradients]


def decayed(
    gradients: Sequence[Any],
    weights: Sequence[Any],
    weight_decay: float,
    least_rank: int = 0,
) -> list[Any]:
    """Returns gradients plus `weight_decay` times the weights they are of.

    Args:
        gradients: Dense.
        weights: What they are of.
        weight_decay: 0 for none.
        least_rank: Weights of fewer axes do not decay.
    """
    return [
        g + weight_decay * w
        if weight_decay and len(w.shape) >= least_rank
        else g
        for g, w in zip(gradients, weights, strict=True)
    ]


def plain_optimizer(name: str, rate: Any) -> keras.optimizers.Optimizer:
    """Returns an optimizer, not built.

    Args:
        name: `"adam"` or `"sgd"`.
        rate: A number or a schedule.
    """
    if name == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.SGD(rate)
