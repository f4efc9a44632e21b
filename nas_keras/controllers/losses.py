"""Policy-gradient losses: pure functions of tensors.

No variables, no optimizers, no distribution. Axes: B sampled architectures,
A decisions each.
"""

import tensorflow as tf


def reinforce_loss(log_prob: tf.Tensor, advantage: tf.Tensor) -> tf.Tensor:
    """Returns the REINFORCE loss of a batch of architectures.

    Minimising it raises the probability of architectures whose reward beats
    the baseline. The advantage is a constant to the gradient.

    Args:
        log_prob: float32 [B, A], log pi(token) in nats.
        advantage: float32 [B], reward minus baseline.

    Returns:
        float32 [], the mean over B of the loss summed over A.

    Raises:
        ValueError: If the shapes are not [B, A] and [B].

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), section 3.2;
        [Williams, 1992](https://doi.org/10.1007/BF00992696).
    """
    tf.debugging.assert_shapes([(log_prob, ("B", "A")), (advantage, ("B",))])
    per_architecture = tf.reduce_sum(log_prob, axis=-1)  # [B]
    return -tf.reduce_mean(tf.stop_gradient(advantage) * per_architecture)
