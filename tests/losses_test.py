"""Tests of the policy-gradient losses, against numbers derived by hand."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

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
