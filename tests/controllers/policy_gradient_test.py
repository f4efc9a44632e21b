"""Updates: gradients, the bonuses of the entropy, the baseline."""

import dataclasses

import numpy as np
import pytest

from nas_keras.controllers import BaselineState
from nas_keras.controllers import EMABaseline
from nas_keras.controllers import PolicyGradientController
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from tests import policy_oracles
from tests.controller_testing import EAGERLY
from tests.controller_testing import batch_of
from tests.controller_testing import evaluations_of
from tests.controller_testing import log_prob_and_entropy
from tests.controller_testing import names_of_weights
from tests.controller_testing import noise_of
from tests.controller_testing import of_oracle
from tests.controller_testing import proposed
from tests.controller_testing import randomized
from tests.controller_testing import shapes_of
from tests.controller_testing import small_space
from tests.raising import raises

# Gradients, which Adam's first moment shows: a tenth of them after one step.


def _gradient(controller):
    """Returns the gradient of the first update, flat."""
    state = controller.state()
    moments = [a for name, a in state.items() if name.endswith("_momentum")]
    assert [m.shape for m in moments] == [
        state[name].shape for name in names_of_weights(state)
    ]
    return np.concatenate([10 * m.ravel() for m in moments])


def _numeric_gradient(function, state):
    """Returns the central differences of a function of the oracle's weights."""
    state = {n: np.array(state[n], np.float64) for n in state}
    gradient = []
    for name in names_of_weights(state):
        flat = state[name].reshape(-1)
        for k, value in enumerate(flat):
            ends = []
            for step in (1e-5, -1e-5):
                flat[k] = value + step
                ends.append(function(of_oracle(state)))
            flat[k] = value
            gradient.append((ends[0] - ends[1]) / 2e-5)
    return np.array(gradient)


_SMALL = (
    Choice("kind", ("a", "b")),
    Choice("reads", (0, 1, 2), (0, -1, -1)),
    Choice("function", ("f", "g", "h")),
)


@EAGERLY
@pytest.mark.parametrize("loss", ["reinforce", "ppo"])
@pytest.mark.parametrize("bonus", ["exact", "sampled"])
def test_the_gradient_of_an_update_is_that_of_the_objective(loss, bonus):
    arguments = {"units": 2, "num_layers": 1, "tanh_constant": 1.5}
    controller = randomized(
        Space(_SMALL),
        loss=loss,
        entropy_weight=0.4,
        entropy_bonus=bonus,
        num_epochs=1,
        num_minibatches=1,
        **arguments,
    )
    tokens = np.array([[0, 0, 1], [1, 1, 2], [1, 2, 0]])
    advantage = np.array([1.5, -0.5, 0.25])
    samples, state = controller.score(tokens), controller.state()

    def objective(weights):
        _, distributions = policy_oracles.policy(
            shapes_of(controller.space), weights, tokens=tokens, bound=1.5
        )
        log_prob, entropy = log_prob_and_entropy(tokens, distributions)
        value = -np.mean(advantage * log_prob.sum(axis=1))
        # What "sampled" adds is in the reward, not in the loss.
        return value - 0.4 * (bonus == "exact") * entropy.sum(axis=1).mean()

    want = _numeric_gradient(objective, state)
    metrics = controller.learn(samples, advantage)
    got = _gradient(controller)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
    norm = np.linalg.norm(want)
    assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-4)


def test_the_exact_bonus_has_the_gradient_of_the_true_entropy():
    # Of a single decision: no entropy of later ones depends on it.
    controller = randomized(
        small_space((5,)), units=2, num_layers=2, entropy_weight=1.0
    )
    state = controller.state()

    def entropy(weights):
        _, [[probs]] = policy_oracles.policy([(5, None)], weights, tokens=[[0]])
        return -(probs * np.log(probs)).sum()

    want = _numeric_gradient(entropy, state)
    assert np.linalg.norm(want) > 0.1
    controller.learn(batch_of([[3], [0]]), np.zeros(2))
    np.testing.assert_allclose(_gradient(controller), -want, atol=1e-5)


def test_only_the_sampled_bonus_is_added_to_the_reward():
    space, noise = small_space(), noise_of(5)
    for controller in (
        PolicyGradientController(space, entropy_weight=0.3),
        randomized(space, entropy_weight=0.0, entropy_bonus="sampled"),
    ):
        bonus = controller._bonus(proposed(controller, noise))
        np.testing.assert_array_equal(bonus, np.zeros(5))
    controller = randomized(space, entropy_weight=0.3, entropy_bonus="sampled")
    samples = proposed(controller, noise)
    want = [
        0.3 * sum(-np.exp(value) * value for value in row)
        for row in samples.log_prob.astype("float64")
    ]
    np.testing.assert_allclose(controller._bonus(samples), want, rtol=1e-9)
    assert np.ptp(want) > 1e-3


@EAGERLY
def test_the_sampled_bonus_leaves_the_loss_without_an_entropy():
    controllers = [
        randomized(
            small_space(), entropy_weight=weight, entropy_bonus="sampled"
        )
        for weight in (0.0, 0.7)
    ]
    samples, advantage = (
        proposed(controllers[0], noise_of(4)),
        np.arange(4.0) - 1,
    )
    first, second = (c.learn(samples, advantage) for c in controllers)
    assert first == second
    exact = randomized(small_space(), entropy_weight=0.7)
    metrics = exact.learn(samples, advantage)
    want = first["loss"] - 0.7 * first["entropy_nats"]
    assert metrics["loss"] == pytest.approx(want, rel=1e-5)


# The baseline.


class _Recording(PolicyGradientController):
    """Remembers the advantages that it learns from."""

    def __init__(self, space, **arguments):
        super().__init__(space, units=4, num_layers=1, **arguments)
        self.learned = []

    def learn(self, proposals, advantage):
        self.learned.append(advantage)
        return super().learn(proposals, advantage)


@EAGERLY
@pytest.mark.parametrize("decay", [0.95, 0.5])
@pytest.mark.parametrize("normalize", [True, False])
def test_feedback_measures_rewards_against_the_baseline(decay, normalize):
    controller = _Recording(
        small_space(), baseline_decay=decay, normalize_advantage=normalize
    )
    baseline, state = EMABaseline(decay, normalize), BaselineState()
    for step, rewards in enumerate(([2.0, None, 3.0, 1.0], [None, 1.0, 0, 5])):
        proposals = proposed(controller, noise_of(4, step))
        metrics = controller.feedback(proposals, evaluations_of(rewards))
        want, state = baseline.advantages(rewards, state)
        np.testing.assert_array_equal(controller.learned[-1], want)
        assert metrics["baseline"] == state.mean
        np.testing.assert_array_equal(
            controller.state()["baseline"], dataclasses.astuple(state)
        )


@EAGERLY
def test_the_sampled_bonus_is_added_to_the_rewards_before_the_baseline():
    controller = _Recording(
        small_space(), entropy_weight=0.7, entropy_bonus="sampled"
    )
    proposals = proposed(controller, noise_of(4))
    rewards = [1.0, None, 4.0, 2.0]
    metrics = controller.feedback(proposals, evaluations_of(rewards))
    log_prob = proposals.log_prob.astype("float64")
    bonus = -0.7 * (np.exp(log_prob) * log_prob).sum(axis=1)
    assert bonus.min() > 0.1
    gained = [
        None if reward is None else reward + more
        for reward, more in zip(rewards, bonus, strict=True)
    ]
    want, state = EMABaseline().advantages(gained, BaselineState())
    np.testing.assert_allclose(controller.learned[0], want, rtol=1e-6)
    assert metrics["baseline"] == pytest.approx(state.mean)


def test_a_restored_controller_measures_against_the_baseline_it_had():
    first, second = (_Recording(small_space()) for _ in range(2))
    proposals = proposed(first, noise_of(2))
    first.feedback(proposals, evaluations_of([1.0, 3.0]))
    assert first.has_learned and not second.has_learned
    second.restore(first.state())
    for controller in (first, second):
        proposals = proposed(controller, noise_of(2, 1))
        controller.feedback(proposals, evaluations_of([6.0, None]))
    np.testing.assert_array_equal(first.learned[1], second.learned[0])
    for name, array in first.state().items():
        np.testing.assert_array_equal(array, second.state()[name])
    state = {**first.state(), "baseline": np.zeros(3)}
    with raises("state must hold 'baseline' of shape (4,). Received: (3,)."):
        first.restore(state)


@EAGERLY
def test_feedback_that_fails_leaves_the_baseline_alone():
    controller = _Recording(small_space())
    with pytest.raises(ValueError, match="must be an int in"):
        controller.feedback(batch_of([[0, 9, 0]]), evaluations_of([1.0]))
    assert controller.state()["baseline"].tolist() == [0, 0, np.inf, 0]
