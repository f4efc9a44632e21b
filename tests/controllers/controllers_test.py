"""Controllers sample, score, learn and keep their state."""

import keras
import numpy as np
import pytest

from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from tests.controller_testing import ALMOST_ONE
from tests.controller_testing import BOTH
from tests.controller_testing import EAGERLY
from tests.controller_testing import NUM_OPTIONS
from tests.controller_testing import all_tokens
from tests.controller_testing import batch_of
from tests.controller_testing import kept
from tests.controller_testing import names_of_weights
from tests.controller_testing import noise_of
from tests.controller_testing import proposed
from tests.controller_testing import small_space
from tests.controller_testing import trained
from tests.raising import raises


@BOTH
def test_noise_zero_is_the_first_option_and_almost_one_the_last(make):
    noise = np.stack([np.zeros(3), np.full(3, ALMOST_ONE), np.ones(3) - 1e-12])
    tokens = proposed(make(small_space()), noise).tokens
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(tokens, [[0, 0, 0], [2, 1, 4], [2, 1, 4]])


def test_a_trained_policy_still_gives_the_ends_of_each_choice():
    noise = np.stack([np.zeros(3), np.full(3, ALMOST_ONE)])
    tokens = proposed(kept(), noise).tokens
    np.testing.assert_array_equal(tokens, [[0, 0, 0], [2, 1, 4]])


def test_sampling_inverts_the_distribution_function():
    controller = kept()
    first = np.array([[option, 0, 0] for option in range(3)])
    cdf = np.cumsum(np.exp(controller.score(first).log_prob[:, 0]))
    assert np.ptp(np.diff(cdf, prepend=0)) > 0.05  # Not uniform any more.
    noise = np.full((5, 3), 0.5)
    noise[:, 0] = [
        cdf[0] - 1e-4, cdf[0] + 1e-4, cdf[1] - 1e-4, cdf[1] + 1e-4, 0.999,
    ]  # fmt: skip
    tokens = proposed(controller, noise).tokens
    np.testing.assert_array_equal(tokens[:, 0], [0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    "make", [kept, lambda: RandomController(small_space())]
)
def test_frequencies_match_the_probabilities(make):
    controller, num = make(), 20_000
    samples = proposed(controller, noise_of(num))
    rows, index, counts = np.unique(
        samples.tokens, axis=0, return_index=True, return_counts=True
    )
    assert len(rows) == 30
    probs = np.exp(samples.log_prob[index].sum(axis=1))
    bound = 5 * np.sqrt(probs * (1 - probs) / num)
    assert (np.abs(counts / num - probs) < bound).all()


@pytest.mark.parametrize("batch_size", [1, 2, 5, 16, 33])
def test_scoring_agrees_with_sampling_to_the_last_bit(batch_size):
    for controller in (PolicyGradientController(small_space()), kept()):
        samples = proposed(controller, noise_of(batch_size, 99))
        scored = controller.score(samples.tokens)
        np.testing.assert_array_equal(scored.tokens, samples.tokens)
        np.testing.assert_array_equal(scored.log_prob, samples.log_prob)
        np.testing.assert_array_equal(scored.entropy, samples.entropy)


def test_a_sample_depends_on_its_own_row_of_noise_alone():
    controller, noise = kept(), noise_of(16, 99)
    whole = proposed(controller, noise)
    for rows in (slice(0, 1), slice(5, 7), slice(8, 16)):
        part = proposed(controller, noise[rows])
        np.testing.assert_array_equal(part.tokens, whole.tokens[rows])
        # A matrix product rounds as its number of rows lets it.
        want = whole.log_prob[rows]
        np.testing.assert_allclose(part.log_prob, want, rtol=1e-5)


@pytest.mark.parametrize("steps", [0, 6])
def test_the_probabilities_of_all_sequences_sum_to_one(steps):
    controller = kept() if steps else PolicyGradientController(small_space())
    log_prob = controller.score(all_tokens()).log_prob
    total = np.exp(log_prob.astype("float64").sum(axis=1)).sum()
    assert total == pytest.approx(1, abs=1e-5)


def test_a_later_decision_depends_on_the_earlier():
    log_prob = kept().score([[0, 0, 1], [2, 0, 1]]).log_prob
    assert abs(log_prob[0, 2] - log_prob[1, 2]) > 1e-4


def test_entropy_is_that_of_the_whole_distribution_of_a_decision():
    controller = kept()
    options = [[1, 1, option] for option in range(5)]
    scored = controller.score(options)
    log_prob = scored.log_prob[:, 2].astype("float64")
    want = -(np.exp(log_prob) * log_prob).sum()
    np.testing.assert_allclose(scored.entropy[:, 2], want, rtol=1e-5)


@pytest.mark.parametrize("init_scale", [0.08, 0.01])
def test_initial_weights_are_uniform_in_the_scale(init_scale):
    controller = PolicyGradientController(small_space(), init_scale=init_scale)
    state = controller.state()
    weights = [state[name] for name in names_of_weights(state)]
    values = np.concatenate([weight.ravel() for weight in weights])
    assert np.abs(values).max() <= init_scale
    assert np.abs(values).max() > 0.99 * init_scale
    assert values.std() == pytest.approx(init_scale / np.sqrt(3), rel=0.02)
    # No two weights are of one stream.
    begins = [tuple(weight.ravel()[:2]) for weight in weights]
    assert len(set(begins)) == len(begins)


def test_the_initial_policy_is_close_to_uniform():
    log_prob = (
        PolicyGradientController(small_space()).score(all_tokens()).log_prob
    )
    want = np.broadcast_to(-np.log(NUM_OPTIONS), log_prob.shape)
    np.testing.assert_allclose(log_prob, want, atol=0.1)


@pytest.mark.parametrize(("units", "num_layers"), [(35, 2), (6, 1)])
def test_the_network_has_the_layers_asked_for(units, num_layers):
    arguments = {"units": units, "num_layers": num_layers}
    if (units, num_layers) == (35, 2):
        arguments = {}  # The paper's are the default.
    controller = PolicyGradientController(small_space(), **arguments)
    shapes = [a.shape for n, a in controller.state().items() if "kernel" in n]
    # Kernel and recurrent kernel of each layer, and Adam's two slots of each.
    assert shapes.count((units, 4 * units)) == 3 * 2 * num_layers


@EAGERLY
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_update_moves_the_probability_with_the_advantages_sign(sign):
    controller = PolicyGradientController(small_space())
    samples = batch_of([[2, 1, 4], [0, 0, 1]])
    before = controller.score(samples.tokens).log_prob.sum(axis=1)
    controller.learn(samples, sign * np.array([1.0, -1.0]))
    after = controller.score(samples.tokens).log_prob.sum(axis=1)
    assert (np.sign(after - before) == sign * np.array([1, -1])).all()


@EAGERLY
def test_an_update_without_advantage_changes_no_probability():
    controller = PolicyGradientController(small_space())
    before = controller.score(all_tokens()).log_prob
    metrics = controller.learn(batch_of([[0, 1, 2]]), np.zeros(1))
    assert metrics["loss"] == 0 and metrics["gradient_norm"] == 0
    np.testing.assert_array_equal(
        controller.score(all_tokens()).log_prob, before
    )


@EAGERLY
def test_an_update_returns_the_figures_of_the_policy_before_it():
    controller = trained()
    samples = proposed(controller, noise_of(4))
    advantage = np.array([1.0, -2.0, 0.5, 3.0])
    metrics = controller.learn(samples, advantage)
    want = -np.mean(advantage * samples.log_prob.sum(axis=1))
    assert metrics["loss"] == pytest.approx(want, rel=1e-5)
    entropy_nats = samples.entropy.sum(axis=1).mean()
    assert metrics["entropy_nats"] == pytest.approx(entropy_nats, rel=1e-5)
    assert metrics["gradient_norm"] > 0


def test_the_entropy_bonus_raises_the_entropy():
    def entropy_after(entropy_weight):
        controller = PolicyGradientController(
            small_space(), learning_rate=0.02, entropy_weight=entropy_weight
        )
        controller.restore(kept().state())
        for _ in range(20):
            samples = proposed(controller, noise_of(8))
            controller.learn(samples, np.zeros(8))
        return controller.score(all_tokens()).entropy.sum(axis=1).mean()

    assert entropy_after(0.5) > entropy_after(0.0) + 0.5


@EAGERLY
def test_the_learning_rate_is_that_of_adam():
    moved = []
    for learning_rate in (0.001, 0.002):
        controller = PolicyGradientController(
            small_space(), learning_rate=learning_rate
        )
        before = controller.state()
        controller.learn(batch_of([[2, 1, 4]]), np.ones(1))
        after = controller.state()
        name = next(n for n in before if n.endswith("_biases"))
        moved.append(np.abs(after[name] - before[name]).max())
    # Adam's first step is the rate itself.
    np.testing.assert_allclose(moved, [0.001, 0.002], rtol=1e-3)


@EAGERLY
def test_the_same_seed_gives_the_same_result_and_another_seed_another():
    states = [trained(1, seed=seed).state() for seed in (3, 3, 4)]
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name])
    name = next(n for n in states[0] if n.endswith("_heads"))
    assert (states[0][name] != states[2][name]).any()


def test_the_initial_weights_do_not_depend_on_the_global_seed():
    keras.utils.set_random_seed(1)
    first = PolicyGradientController(small_space(), seed=3).state()
    keras.utils.set_random_seed(2)
    second = PolicyGradientController(small_space(), seed=3).state()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_a_restored_controller_goes_on_bit_for_bit():
    controller = trained(3)
    state = {name: array.copy() for name, array in controller.state().items()}
    other = PolicyGradientController(small_space(), seed=9, learning_rate=0.05)
    other.restore(state)
    for step in range(3):
        noise = noise_of(8, 50 + step)
        samples, others = proposed(controller, noise), proposed(other, noise)
        np.testing.assert_array_equal(samples.log_prob, others.log_prob)
        advantage = samples.tokens.sum(axis=1) - 3.5
        # Adam's slots and step count were restored, or this would differ.
        assert controller.learn(samples, advantage) == other.learn(
            others, advantage
        )
    for name, array in controller.state().items():
        np.testing.assert_array_equal(array, other.state()[name])


@EAGERLY
def test_a_state_is_a_copy_that_later_updates_leave_alone():
    controller = trained(1)
    state = controller.state()
    copies = {name: array.copy() for name, array in state.items()}
    controller.learn(batch_of([[2, 1, 4]]), np.ones(1))
    for name, array in state.items():
        np.testing.assert_array_equal(array, copies[name])


@EAGERLY
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    controller = trained(1)
    before = {name: a.copy() for name, a in controller.state().items()}
    *_, name, _ = before
    state = PolicyGradientController(small_space(), seed=7).state()
    missing = {key: array for key, array in state.items() if key != name}
    message = f"state must hold {name!r} of shape "
    with raises(message):
        controller.restore(missing)
    with pytest.raises(ValueError, match=r"Received: \(9, 9\)"):
        controller.restore({**state, name: np.zeros((9, 9))})
    for key, array in controller.state().items():
        np.testing.assert_array_equal(array, before[key])
