"""Tests of the policy-gradient losses, against numbers derived by hand."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nas_keras.controllers.losses import ppo_loss
from nas_keras.controllers.losses import reinforce_loss

# Two architectures of three decisions, advantages +2 and -1.
_LOG_PROB = np.log([[0.5, 0.25, 0.5], [0.5, 0.5, 0.125]]).astype("float32")
_ADVANTAGE = np.array([2.0, -1.0], np.float32)


def _loss_and_gradients(log_prob, advantage):
    log_prob, advantage = tf.constant(log_prob), tf.constant(advantage)
    with tf.GradientTape() as tape:
        tape.watch([log_prob, advantage])
        loss = reinforce_loss(log_prob, advantage)
    return loss.numpy(), tape.gradient(loss, [log_prob, advantage])


def test_reinforce_loss_of_a_hand_derived_batch():
    # log pi: log(1/16) = -4 log 2 and log(1/32) = -5 log 2.
    # -(2 * -4 + -1 * -5) / 2 * log 2 = 1.5 log 2.
    loss, _ = _loss_and_gradients(_LOG_PROB, _ADVANTAGE)
    assert loss == pytest.approx(1.5 * np.log(2), rel=1e-6)


def test_descent_raises_the_log_prob_of_what_beat_the_baseline():
    _, (gradient, _) = _loss_and_gradients(_LOG_PROB, _ADVANTAGE)
    # d loss / d log pi = -advantage / B, the same for all decisions of a row.
    np.testing.assert_allclose(gradient, [[-1.0] * 3, [0.5] * 3])


def test_the_advantage_is_a_constant_to_the_gradient():
    _, (_, gradient) = _loss_and_gradients(_LOG_PROB, _ADVANTAGE)
    assert gradient is None


def test_an_advantage_made_of_the_log_prob_adds_no_gradient():
    log_prob = tf.constant(_LOG_PROB)
    with tf.GradientTape() as tape:
        tape.watch(log_prob)
        advantage = tf.reduce_sum(log_prob, axis=1)
        loss = reinforce_loss(log_prob, advantage)
    rows = -advantage.numpy()[:, None] / 2
    gradient = tape.gradient(loss, log_prob)
    np.testing.assert_allclose(gradient, np.tile(rows, 3), rtol=1e-6)


@given(st.integers(1, 5), st.integers(1, 7), st.data())
def test_reinforce_loss_equals_numpy(batch_size, num_choices, data):
    def draw(shape, low, high):
        elements = st.floats(low, high, width=32)
        return data.draw(hnp.arrays(np.float32, shape, elements=elements))

    log_prob = draw((batch_size, num_choices), -16, 0)
    advantage = draw((batch_size,), -8, 8)
    loss, (gradient, _) = _loss_and_gradients(log_prob, advantage)
    want = -np.mean(log_prob.astype("float64").sum(axis=1) * advantage)
    np.testing.assert_allclose(loss, want, rtol=1e-4, atol=1e-3)
    want = np.broadcast_to(-advantage[:, None] / batch_size, log_prob.shape)
    np.testing.assert_allclose(gradient, want, rtol=1e-6)


@pytest.mark.parametrize(
    ("log_prob_shape", "advantage_shape"),
    [((2, 3), (3,)), ((2, 3), (2, 1)), ((2,), (2,)), ((2, 3, 1), (2,))],
)
def test_shapes_that_do_not_fit_are_refused(log_prob_shape, advantage_shape):
    with pytest.raises(ValueError, match="(?s)dimension|rank"):
        reinforce_loss(tf.zeros(log_prob_shape), tf.zeros(advantage_shape))


# PPO.


def _ppo(log_prob, old_log_prob, advantage, clip):
    """Returns the loss and its gradients by the three tensors."""
    values = [tf.constant(v) for v in (log_prob, old_log_prob, advantage)]
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = ppo_loss(*values, clip)
    return loss.numpy(), tape.gradient(loss, values)


def _ppo_oracle(log_prob, old_log_prob, advantage, clip):
    """Equation 7 token by token; float64. Returns the loss and its gradient."""
    batch_size, num_choices = log_prob.shape
    total, gradient = 0.0, np.zeros(log_prob.shape)
    for b in range(batch_size):
        for a in range(num_choices):
            gap = float(log_prob[b, a]) - float(old_log_prob[b, a])
            ratio, gain = np.exp(gap), float(advantage[b])
            if gain > 0 and ratio > 1 + clip:
                total += (1 + clip) * gain
            elif gain < 0 and ratio < 1 - clip:
                total += (1 - clip) * gain
            else:
                total += ratio * gain
                gradient[b, a] = -ratio * gain / batch_size
    return -total / batch_size, gradient


def test_ppo_loss_of_a_hand_derived_batch():
    # Ratios below, inside and above [0.8, 1.2]; advantages +2 and -1.
    ratio = np.array([[0.5, 1.1, 1.5], [0.5, 1.1, 1.5]], np.float32)
    loss, (gradient, *_) = _ppo(np.log(ratio), 0 * ratio, _ADVANTAGE, 0.2)
    # Gains: 2 * (0.5 + 1.1 + 1.2) = 5.6 and -(0.8 + 1.1 + 1.5) = -3.4.
    assert loss == pytest.approx(-(5.6 - 3.4) / 2, rel=1e-6)
    want = [[-0.5, -1.1, 0.0], [0.0, 0.55, 0.75]]
    np.testing.assert_allclose(gradient, want, rtol=1e-5)


@pytest.mark.parametrize("gap", [1e-3, 0.5, 3.0])
@pytest.mark.parametrize("advantage", [2.5, -2.5])
def test_where_the_clip_is_active_the_gradient_is_exactly_zero(gap, advantage):
    # Beyond the clip on the side that the advantage asks for.
    edge = np.log(1 + np.sign(advantage) * 0.3)
    beyond = np.float32(edge + np.sign(advantage) * gap)
    log_prob = np.array([[beyond, 0.0, -beyond]], np.float32)
    zeros, advantage = np.zeros((1, 3), np.float32), np.float32([advantage])
    _, (gradient, *_) = _ppo(log_prob, zeros, advantage, 0.3)
    assert gradient[0, 0] == 0
    # Inside the interval, and beyond it on the other side, it is not.
    want = -np.exp(log_prob[0, 1:]) * advantage
    np.testing.assert_allclose(gradient[0, 1:], want, rtol=1e-5)


def test_where_the_policies_are_equal_the_gradient_is_reinforces():
    want, (want_gradient, _) = _loss_and_gradients(_LOG_PROB, _ADVANTAGE)
    loss, (gradient, *_) = _ppo(_LOG_PROB, _LOG_PROB, _ADVANTAGE, 0.2)
    np.testing.assert_array_equal(gradient, want_gradient)
    # The loss itself is another number: minus the advantages, A times each.
    assert loss == -_ADVANTAGE.mean() * 3
    assert loss != want


def test_old_policy_and_advantage_are_constants_to_ppos_gradient():
    _, (_, old, advantage) = _ppo(_LOG_PROB, _LOG_PROB, _ADVANTAGE, 0.2)
    assert old is None
    assert advantage is None


@given(st.integers(1, 5), st.integers(1, 7), st.floats(0.05, 0.9), st.data())
def test_ppo_loss_equals_numpy(batch_size, num_choices, clip, data):
    def draw(shape, low, high):
        elements = st.floats(low, high, width=32)
        return data.draw(hnp.arrays(np.float32, shape, elements=elements))

    shape = (batch_size, num_choices)
    old_log_prob, gap = draw(shape, -8, 0), draw(shape, -1.5, 1.5)
    log_prob, advantage = old_log_prob + gap, draw((batch_size,), -8, 8)
    loss, (gradient, *_) = _ppo(log_prob, old_log_prob, advantage, clip)
    want, want_gradient = _ppo_oracle(log_prob, old_log_prob, advantage, clip)
    np.testing.assert_allclose(loss, want, rtol=1e-4, atol=1e-3)
    # At an edge of the interval rounding decides which side it is.
    ratio = np.exp(log_prob.astype("float64") - old_log_prob)
    clear = np.abs(np.abs(ratio - 1) - clip) > 1e-5
    np.testing.assert_allclose(
        np.asarray(gradient)[clear],
        want_gradient[clear],
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("log_prob_shape", "old_shape", "advantage_shape"),
    [
        ((2, 3), (2, 3), (3,)),
        ((2, 3), (2, 3), (2, 1)),
        ((2, 3), (2, 4), (2,)),
        ((2, 3), (1, 3), (2,)),
        ((2, 3), (3,), (2,)),
        ((2, 3, 1), (2, 3, 1), (2,)),
    ],
)
def test_shapes_that_do_not_fit_ppo_are_refused(
    log_prob_shape, old_shape, advantage_shape
):
    with pytest.raises(ValueError, match="(?s)dimension|rank"):
        ppo_loss(
            tf.zeros(log_prob_shape),
            tf.zeros(old_shape),
            tf.zeros(advantage_shape),
            0.2,
        )
