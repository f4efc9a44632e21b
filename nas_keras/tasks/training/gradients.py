"""What becomes of gradients before a step, and who takes it: pure functions.

Keras only.
"""

from collections.abc import Sequence
from typing import Any

import keras

from nas_keras import libraries


def clipped(gradients: Sequence[Any], clip_norm: float) -> list[Any]:
    """Returns gradients scaled to a global norm of at most `clip_norm`.

    What is not finite stays so, and is noticed.
    """
    if libraries.is_backend_tensorflow():
        import tensorflow as tf

        return tf.clip_by_global_norm(gradients, clip_norm)[0]
    squares = [keras.ops.sum(keras.ops.square(g)) for g in gradients]
    norm = keras.ops.sqrt(sum(squares))
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


def apply(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[Any],
    weights: Sequence[keras.Variable],
    num_replicas: int = 1,
) -> None:
    """Takes a step of an optimizer, as `optimizer.apply` does.

    On TensorFlow that sums over the replicas, even where there is one, by an
    operation with a gradient of its own; and what such an operation is traced
    in, a whole training step, TensorFlow keeps as long as the process lives.
    Searches train thousands of networks: here one replica sums nothing.

    Args:
        optimizer: Built; its only settings are those of its update.
        gradients: Dense.
        weights: What they are of.
        num_replicas: That train together.
    """
    if num_replicas > 1 or not libraries.is_backend_tensorflow():
        optimizer.apply(gradients, weights)
        return
    rate = optimizer.learning_rate
    for gradient, weight in zip(gradients, weights, strict=True):
        optimizer.update_step(gradient, weight.value, rate)
    optimizer.iterations.assign_add(1)
