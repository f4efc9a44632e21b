"""Policy-gradient losses: pure functions of tensors.

No variables, no optimizers, no distribution. Axes: B sampled architectures,
A decisions each.
"""

import math

import tensorflow as tf


def reinforce_loss(log_prob: tf.Tensor, advantage: tf.Tensor) -> tf.Tensor:
    """Returns the REINFORCE loss of a batch of architectures.

    Minimizing it raises the probability of architectures whose reward beats
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


def ppo_loss(
    log_prob: tf.Tensor,
    old_log_prob: tf.Tensor,
    advantage: tf.Tensor,
    clip: float,
) -> tf.Tensor:
    """Returns the clipped surrogate loss of a batch of architectures.

    A decision's probability gains nothing by moving further from the old one
    than the clip allows. The ratio is that of each token: that of a whole
    sequence leaves the clip's interval at once. Where the policies are equal,
    the gradient is that of `reinforce_loss`.

    Args:
        log_prob: float32 [B, A], log pi(token) in nats.
        old_log_prob: float32 [B, A], of the policy that sampled.
        advantage: float32 [B], the same for all decisions of an architecture,
            whose only reward is at its end.
        clip: The ratio is clipped to [1 - clip, 1 + clip].

    Returns:
        float32 [], the mean over B of the loss summed over A.

    Raises:
        ValueError: If the shapes are not [B, A], [B, A] and [B].

    Reference:
        [Schulman et al., 2017](https://arxiv.org/abs/1707.06347), equation 7.
    """
    tf.debugging.assert_shapes(
        [
            (log_prob, ("B", "A")),
            (old_log_prob, ("B", "A")),
            (advantage, ("B",)),
        ]
    )
    ratio = tf.exp(log_prob - tf.stop_gradient(old_log_prob))
    advantage = tf.stop_gradient(advantage)[:, None]
    clipped = tf.clip_by_value(ratio, 1 - clip, 1 + clip)
    per_token = tf.minimum(ratio * advantage, clipped * advantage)
    return -tf.reduce_mean(tf.reduce_sum(per_token, axis=-1))


def skip_kl(logits: tf.Tensor, target: float, num_layers: int) -> tf.Tensor:
    """Returns how far the rate of skip connections is from a target.

    Of each connection it is the divergence of the probability sigmoid(logit)
    from the target, summed over those of a layer, and the mean over layers.

    Args:
        logits: float32 [B, number of connections].
        target: The wished probability of a connection, in (0, 1).
        num_layers: How many layers the connections are of, at least 1.

    Returns:
        float32 [], the mean over B, in nats.

    Raises:
        ValueError: If `logits` are not [B, number of connections].

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 3.2; the
        formula is that of its authors' program, github.com/melodyguan/enas,
        src/cifar10/general_controller.py.
    """
    tf.debugging.assert_shapes([(logits, ("B", "N"))])
    divergence = tf.zeros_like(logits)
    for logit, wished in ((logits, target), (-logits, 1 - target)):
        log_ratio = tf.math.log_sigmoid(logit) - math.log(wished)
        divergence += tf.sigmoid(logit) * log_ratio
    return tf.reduce_mean(tf.reduce_sum(divergence, axis=-1)) / num_layers
