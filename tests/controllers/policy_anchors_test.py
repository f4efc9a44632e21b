"""Anchors, temperature and the bound of the logits, against NumPy."""

import functools

import numpy as np
import pytest

from nas_keras.controllers import PolicyGradientController
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import enas_recurrent_space
from tests import policy_oracles
from tests.controller_testing import EAGERLY
from tests.controller_testing import all_tokens
from tests.controller_testing import log_prob_and_entropy
from tests.controller_testing import names_of_weights
from tests.controller_testing import noise_of
from tests.controller_testing import of_oracle
from tests.controller_testing import proposed
from tests.controller_testing import randomized
from tests.controller_testing import shapes_of
from tests.controller_testing import small_space

# Labels of differing numbers between anchored choices, some of whose options
# share an anchor; the last attends to an anchored choice and to a label's.
_ANCHORED = (
    Choice("kind", ("a", "b", "c")),
    Choice("reads_1", (0, 1), (-1, 0)),
    Choice("function", ("f", "g", "h", "i")),
    Choice("reads_2", (0, 1, 2), (1, -1, 0)),
    Choice("only", (0,), (-1,)),
    Choice("reads_3", (0, 1, 2, 3), (3, 2, 3, -1)),
)
_FIRST = Choice("first", (0, 1, 2), (-1, -1, -1))  # There is nothing else.


@EAGERLY
@pytest.mark.parametrize(
    ("choices", "num_layers", "temperature", "tanh_constant"),
    [
        (small_space().choices, 2, 1.0, 0.0),
        (small_space().choices, 1, 3.0, 1.5),
        (_ANCHORED, 1, 1.0, 0.0),
        (_ANCHORED, 2, 5.0, 2.5),
        (_ANCHORED, 2, 0.3, 0.0),
        ((_FIRST, Choice("label", ("a", "b"))), 1, 1.0, 2.0),
        # More labels than any choice has anchors.
        (_ANCHORED[:2], 1, 1.0, 0.0),
        (_ANCHORED[:4], 2, 5.0, 2.5),
        (enas_recurrent_space(1).choices, 1, 5.0, 2.5),
        (enas_recurrent_space(2).choices, 1, 5.0, 2.5),
        (enas_recurrent_space(3).choices, 1, 5.0, 2.5),
        (enas_recurrent_space(6).choices, 1, 5.0, 2.5),
    ],
)
def test_the_policy_equals_numpy(
    choices, num_layers, temperature, tanh_constant
):
    controller = randomized(
        Space(choices),
        units=5,
        num_layers=num_layers,
        temperature=temperature,
        tanh_constant=tanh_constant,
    )
    noise = np.random.default_rng(7).random((12, len(choices)))
    weights = of_oracle(controller.state())
    assert ("attention" in weights) == any(c.anchors for c in choices)
    squash = {"temperature": temperature, "bound": tanh_constant}
    shapes = shapes_of(controller.space)
    samples = proposed(controller, noise)
    tokens, distributions = policy_oracles.policy(
        shapes, weights, noise=noise, **squash
    )
    np.testing.assert_array_equal(samples.tokens, tokens)
    log_prob, entropy = log_prob_and_entropy(tokens, distributions)
    np.testing.assert_allclose(samples.log_prob, log_prob, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(samples.entropy, entropy, rtol=2e-4, atol=1e-5)
    # Other tokens than those that it would sample.
    tokens = np.random.default_rng(8).integers(
        controller.space.num_options, size=noise.shape
    )
    scored = controller.score(tokens)
    _, distributions = policy_oracles.policy(
        shapes, weights, tokens=tokens, **squash
    )
    log_prob, entropy = log_prob_and_entropy(tokens, distributions)
    np.testing.assert_allclose(scored.log_prob, log_prob, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(scored.entropy, entropy, rtol=2e-4, atol=1e-5)


@functools.cache
def _anchored():
    """Returns a controller on anchors that no test updates."""
    return randomized(Space(_ANCHORED), seed=3, units=5, scale=1.5)


@pytest.mark.parametrize("batch_size", [1, 5, 33])
def test_scoring_agrees_with_sampling_to_the_last_bit_with_anchors(batch_size):
    noise = np.random.default_rng(batch_size).random((batch_size, 6))
    samples = proposed(_anchored(), noise)
    scored = _anchored().score(samples.tokens)
    np.testing.assert_array_equal(scored.log_prob, samples.log_prob)
    np.testing.assert_array_equal(scored.entropy, samples.entropy)


@pytest.mark.parametrize("place", range(6))
def test_the_probabilities_of_each_choice_sum_to_one_with_anchors(place):
    tokens = np.tile([2, 1, 3, 1, 0, 3], (len(_ANCHORED[place].options), 1))
    tokens[:, place] = range(len(tokens))
    log_prob = _anchored().score(tokens).log_prob[:, place]
    total = np.exp(log_prob.astype("float64")).sum()
    assert total == pytest.approx(1, abs=1e-6)
    if len(tokens) > 1:
        assert np.ptp(log_prob) > 0.01  # Not uniform, else nothing is tested.


def test_frequencies_match_the_probabilities_with_anchors():
    num = 20_000
    noise = np.random.default_rng(11).random((num, 6))
    samples = proposed(_anchored(), noise)
    every = np.array(list(np.ndindex(*_anchored().space.num_options)))
    log_prob = _anchored().score(every).log_prob.astype("float64")
    probs = np.exp(log_prob.sum(axis=1))
    assert probs.sum() == pytest.approx(1, abs=1e-5)
    places = np.ravel_multi_index(
        samples.tokens.T, _anchored().space.num_options
    )
    counts = np.bincount(places, minlength=len(every))
    # Chi-square with the rare ones as one cell; mean k, variance 2k.
    rare = probs * num < 10
    expected = np.append(probs[~rare], probs[rare].sum()) * num
    counts = np.append(counts[~rare], counts[rare].sum())
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert freedom > 50
    assert chi_square < freedom + 4 * np.sqrt(2 * freedom)


def test_options_that_share_an_anchor_are_equally_likely():
    # Of reads_3, options 0 and 2 point to choice 3.
    tokens = [[1, 0, 1, 2, 0, option] for option in range(4)]
    log_prob = _anchored().score(tokens).log_prob[:, 5]
    assert log_prob[0] == log_prob[2]
    assert len({float(value) for value in log_prob}) == 3


def test_without_anchors_there_is_no_attention_and_nothing_has_changed():
    controller = PolicyGradientController(
        small_space(), seed=4, init_scale=0.9, units=6
    )
    names = [
        name.split("_", 1)[1] for name in names_of_weights(controller.state())
    ]
    assert names == [
        *("start", "heads", "biases", "embeddings"),
        *("kernel", "recurrent_kernel", "bias") * 2,
    ]
    # What the program before anchors sampled.
    samples = proposed(controller, noise_of(3))
    np.testing.assert_array_equal(
        samples.tokens, [[2, 0, 0], [0, 1, 4], [2, 1, 2]]
    )
    want = [
        [-0.512773275, -0.549219728, -2.111138344],
        [-1.230452418, -0.841188967, -2.243774653],
        [-0.512773275, -0.861329436, -1.203791738],
    ]
    np.testing.assert_allclose(samples.log_prob, want, rtol=1e-4)


def test_anchors_leave_the_other_initial_weights_as_they_are():
    def weights(choices):
        state = PolicyGradientController(Space(choices), seed=4).state()
        return {
            n.split("_", 1)[1]: state[n] for n in names_of_weights(state)[:7]
        }

    labels = [Choice(c.name, c.options) for c in _ANCHORED]
    without, anchored = weights(labels), weights(_ANCHORED)
    for name in ("start", "heads", "biases", "embeddings"):
        np.testing.assert_array_equal(without[name], anchored[name])
    assert [anchored[n].shape for n in list(anchored)[4:]] == [
        *((35, 35), (35, 35), (35,))
    ]
    assert (anchored["key_kernel"] != anchored["query_kernel"]).any()


@EAGERLY
def test_a_bound_and_a_temperature_keep_the_policy_close_to_uniform():
    def entropy(**arguments):
        controller = randomized(small_space(), scale=3.0, **arguments)
        return controller.score(all_tokens()).entropy.sum(axis=1).mean()

    uniform = np.log(30)
    assert entropy() < uniform - 0.5
    assert entropy(temperature=1e4) == pytest.approx(uniform, abs=1e-3)
    assert entropy(tanh_constant=1e-2) == pytest.approx(uniform, abs=1e-3)
    assert entropy(tanh_constant=2.5) > entropy()
    # tanh(logits / temperature), not tanh(logits) / temperature.
    both = entropy(temperature=1e-3, tanh_constant=1.0)
    assert both < entropy(tanh_constant=1e-3) - 0.05
