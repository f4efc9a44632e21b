"""Tests of links: skip connections that a policy decides by attention.

And of the learned vectors of anchors before the beginning, and of the penalty
on the rate of links. The policy is held against NumPy.
"""

import functools
import math
import re

import numpy as np
import pytest

from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.controllers import skip_kl
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_micro_space
from nas_keras.spaces import nas_conv_space
from tests import oracles
from tests.controller_testing import proposed

# Links at the end and one behind another, to labels, anchored choices and
# other links; more links at a step than any label has options.
_MIXED = (
    Choice("kind", ("a", "b", "c")),
    Choice("reads", (0, 1, 2), (-2, 0, -1)),
    Choice("link_0", (0, 1), link=1),
    Choice("function", ("f", "g")),
    *(Choice(f"link_1_{k}", (0, 1), link=k) for k in (2, 0, 3, 1)),
    Choice("reads_links", (0, 1, 2, 3), (2, 7, -3, 4)),
    Choice("link_2_0", (0, 1), link=8),
    Choice("link_2_1", (0, 1), link=6),
)
_SPACES = {
    "mixed": Space(_MIXED),
    "nas_conv": nas_conv_space(4),
    "enas_macro": enas_macro_space(4),
    "enas_micro": enas_micro_space(2),
}
# Few calls: to compile a controller takes longer than they do.
_EAGERLY = pytest.mark.usefixtures("eagerly")
_ALMOST_ONE = np.nextafter(np.float32(1), np.float32(0))


def _randomized(space, scale=1.5, **arguments):
    """Returns a controller with large random weights, and those."""
    controller = PolicyGradientController(space, **arguments)
    rng = np.random.default_rng(0)
    state, weights = controller.state(), {}
    for name in state:
        role = name.split("_", 1)[1]
        if role == "iteration":
            break  # What follows is Adam's.
        values = rng.normal(size=state[name].shape) * scale
        state[name] = values.astype(np.float32)
        weights.setdefault(role, []).append(state[name].astype(np.float64))
    controller.restore(state)
    return controller, weights


def _runs(choices):
    """Returns lists of places: of one choice, or of links side by side."""
    runs = []
    for place, choice in enumerate(choices):
        if place and choice.link is not None:
            if choices[place - 1].link is not None:
                runs[-1].append(place)
                continue
        runs.append([place])
    return runs


def _oracle(choices, weights, given, is_noise, squash, skip_scale):
    """Decides one row: Zoph & Le, section 3.3, and ENAS, in float64.

    Returns:
        Tokens [A], a distribution for each choice, and a logit for each link.
    """
    layers = [weights[role] for role in ("kernel", "recurrent_kernel", "bias")]
    units = weights["start"][0].shape[-1]
    states = [(np.zeros((1, units)), np.zeros((1, units)))] * len(layers[0])
    remembered = {-1: np.zeros(units)}
    for number, vector in enumerate(weights.get("landmarks", [()])[0]):
        remembered[-2 - number] = vector
    value = weights["start"][0]
    tokens, distributions, link_logits = [], [], []

    def decide(probs):
        place, option = len(tokens), None
        option = int(given[place])
        if is_noise:
            option = int(np.searchsorted(np.cumsum(probs), given[place]))
        tokens.append(option)
        distributions.append(np.array(probs))
        return option

    def attention(place, hidden):
        (key,), (query,) = weights["key_kernel"], weights["query_kernel"]
        joined = np.tanh(remembered[place] @ key + hidden @ query)
        return joined @ weights["attention"][0]

    for step, run in enumerate(_runs(choices)):
        for layer, arrays in enumerate(zip(*layers, strict=True)):
            states[layer] = oracles.lstm(value, *states[layer], *arrays)
            value = states[layer][0]
        hidden, choice = value[0], choices[run[0]]
        if choice.link is not None:
            total, count = np.zeros(units), 0
            for link in (choices[place].link for place in run):
                logit = squash(attention(link, hidden))
                yes = 1 / (1 + math.exp(-skip_scale * logit))
                link_logits.append(logit)
                if decide((1 - yes, yes)):
                    total, count = total + remembered[link], count + 1
            value = total[None] / (1 + count)
        else:
            if choice.anchors is None:
                logits = hidden @ weights["heads"][0][step]
                logits = logits + weights["biases"][0][step]
                logits = logits[: len(choice.options)]
            else:
                logits = [attention(place, hidden) for place in choice.anchors]
            logits = squash(np.array(logits))
            option = decide(np.exp(logits) / np.exp(logits).sum())
            value = weights["embeddings"][0][step, option][None]
            if choice.anchors is not None:
                value = remembered[choice.anchors[option]][None]
        remembered |= dict.fromkeys(run, hidden)
    return tokens, distributions, link_logits


def _squash(temperature=1.0, tanh_constant=0.0):
    if not tanh_constant:
        return lambda logits: logits / temperature
    return lambda logits: tanh_constant * np.tanh(logits / temperature)


@functools.cache
def _case(name, skip_scale=1.0):
    """Returns a controller that no test updates, and what the oracle says."""
    space, squashing = _SPACES[name], {}
    if skip_scale != 1:
        squashing = {"temperature": 2.0, "tanh_constant": 1.5}
    controller, weights = _randomized(
        space,
        units=5,
        num_layers=1 + (name == "mixed"),
        skip_scale=skip_scale,
        **squashing,
    )
    noise = np.random.default_rng(7).random((12, len(space.choices)))
    rows = [
        _oracle(
            space.choices, weights, row, True, _squash(**squashing), skip_scale
        )
        for row in noise
    ]
    return controller, noise, rows


@_EAGERLY
@pytest.mark.parametrize("skip_scale", [1.0, 2.0])
@pytest.mark.parametrize("name", list(_SPACES))
def test_the_policy_with_links_equals_numpy(name, skip_scale):
    controller, noise, rows = _case(name, skip_scale)
    samples = proposed(controller, noise)
    tokens = np.array([row[0] for row in rows])
    np.testing.assert_array_equal(samples.tokens, tokens)
    log_prob, entropy = [], []
    for row, distributions, _ in rows:
        pairs = list(zip(row, distributions, strict=True))
        log_prob.append([np.log(probs[token]) for token, probs in pairs])
        entropy.append([-(probs * np.log(probs)).sum() for _, probs in pairs])
    np.testing.assert_allclose(samples.log_prob, log_prob, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(samples.entropy, entropy, rtol=2e-4, atol=1e-5)


def test_scoring_agrees_with_sampling_to_the_last_bit():
    controller, noise, _ = _case("mixed")
    samples = proposed(controller, noise)
    scored = controller.score(samples.tokens)
    np.testing.assert_array_equal(scored.tokens, samples.tokens)
    np.testing.assert_array_equal(scored.log_prob, samples.log_prob)
    np.testing.assert_array_equal(scored.entropy, samples.entropy)


@_EAGERLY
def test_the_probabilities_of_all_sequences_sum_to_one():
    choices = (*_MIXED[:4], _MIXED[4], _MIXED[5])
    controller, _ = _randomized(Space(choices), units=4, num_layers=1)
    every = np.array(list(np.ndindex(*controller.space.num_options)))
    log_prob = controller.score(every).log_prob.astype("float64").sum(axis=1)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-5)
    assert np.ptp(log_prob) > 1  # Far from uniform.


@_EAGERLY
def test_noise_below_the_probability_of_no_is_no():
    space = Space((Choice("first", (0, 1)), Choice("link", (0, 1), link=0)))
    controller, _ = _randomized(space, units=4, num_layers=1)
    no = np.exp(controller.score([[0, 0]]).log_prob[0, 1])
    noise = np.zeros((4, 2))
    noise[:, 1] = [0, no - 1e-4, no + 1e-4, _ALMOST_ONE]
    tokens = proposed(controller, noise).tokens
    np.testing.assert_array_equal(tokens, [[0, 0], [0, 0], [0, 1], [0, 1]])


@_EAGERLY
def test_links_of_a_step_are_independent_and_what_follows_is_not():
    controller, _, _ = _case("enas_macro")
    # The links at places 4 and 5 are decided at once; then comes layer 3.
    tokens = np.zeros((2, 10), int)
    tokens[1, 4] = 1
    log_prob = controller.score(tokens).log_prob
    # Rows of a batch may round differently.
    assert log_prob[0, 5] == pytest.approx(log_prob[1, 5], rel=1e-6)
    assert abs(log_prob[0, 6] - log_prob[1, 6]) > 5e-3


def test_a_policy_on_links_has_a_head_for_each_step():
    state = PolicyGradientController(enas_macro_space(5)).state()
    shapes = {name.partition("_")[2]: a.shape for name, a in state.items()}
    # Five operations and four runs of links.
    assert shapes["heads"] == (9, 35, 6)
    assert "landmarks" not in shapes
    state = PolicyGradientController(enas_micro_space(1)).state()
    shapes = {name.partition("_")[2]: a.shape for name, a in state.items()}
    assert shapes["landmarks"] == (2, 35)


@_EAGERLY
def test_the_two_inputs_of_a_cell_are_told_apart():
    controller, _, _ = _case("enas_micro")
    tokens = np.zeros((2, 16), int)
    tokens[1, 0] = 1
    log_prob = controller.score(tokens).log_prob
    # As options of a choice, and as the next input.
    assert abs(log_prob[0, 0] - log_prob[1, 0]) > 1e-2
    assert abs(log_prob[0, 1] - log_prob[1, 1]) > 1e-2


def test_a_random_controller_answers_links_like_any_choice():
    space = enas_macro_space(4)
    noise = np.random.default_rng(0).random((400, len(space.choices)))
    samples = proposed(RandomController(space), noise)
    is_link = np.array([c.link is not None for c in space.choices])
    assert samples.tokens[:, is_link].mean() == pytest.approx(0.5, abs=0.03)


def test_a_policy_learns_which_layers_shall_be_read():
    space = enas_macro_space(4)
    names = [choice.name for choice in space.choices]
    links = [k for k, name in enumerate(names) if "reads" in name]
    wanted = np.array([int(names[k].endswith("_0")) for k in links])
    controller = PolicyGradientController(
        space, seed=1, units=16, num_layers=1, learning_rate=0.03
    )
    rng, rewards = np.random.default_rng(0), []
    for _ in range(40):
        samples = proposed(controller, rng.random((16, len(names))))
        reward = (samples.tokens[:, links] == wanted).mean(axis=1)
        controller.learn(samples, reward - reward.mean())
        rewards.append(reward.mean())
    assert np.mean(rewards[:3]) < 0.65
    assert np.mean(rewards[-3:]) > 0.9


# The penalty on the rate of links.


def test_skip_kl_is_that_of_the_authors_program():
    logits = np.array([[0.3, -1.2, 2.0], [0.0, 0.7, -0.4]])
    want = []
    for row in logits:
        layers = (row[:1], row[1:])  # Layer 1 has one link, layer 2 two.
        sums = []
        for layer in layers:
            both = np.stack([-layer, layer], axis=1)
            probs = 1 / (1 + np.exp(-both))
            sums.append((probs * np.log(probs / [0.6, 0.4])).sum())
        want.append(np.mean(sums))
    got = skip_kl(logits.astype(np.float32), 0.4, num_layers=2)
    assert float(got) == pytest.approx(np.mean(want), rel=1e-5)


def test_skip_kl_is_zero_at_the_target_alone():
    for target in (0.1, 0.4, 0.5):
        at = np.log(target / (1 - target))
        logits = np.full((2, 3), at, np.float32)
        assert float(skip_kl(logits, target, 1)) == pytest.approx(0, abs=1e-6)
        for other in (at - 0.5, at + 0.5):
            logits = np.full((2, 3), other, np.float32)
            assert float(skip_kl(logits, target, 1)) > 0.01


def test_skip_kl_needs_a_row_for_each_architecture():
    with pytest.raises(ValueError):
        skip_kl(np.zeros(3, np.float32), 0.4, 1)


@_EAGERLY
@pytest.mark.parametrize("loss", ["reinforce", "ppo"])
@pytest.mark.parametrize("skip_scale", [1.0, 2.0])
def test_an_update_returns_the_penalty_and_has_it_in_the_loss(skip_scale, loss):
    controller, noise, rows = _case("enas_macro", skip_scale)
    config = {k: v for k, v in controller.config().items() if k != "class"}
    config |= {"loss": loss, "num_epochs": 1, "num_minibatches": 1}
    logits = np.array([row[2] for row in rows])
    want = float(skip_kl(logits.astype(np.float32), 0.3, num_layers=3))
    losses = []
    for weight in (0.0, 0.8):
        config |= {"skip_weight": weight, "skip_target": 0.3}
        other = PolicyGradientController(controller.space, **config)
        other.restore(controller.state())
        metrics = other.learn(proposed(other, noise), np.zeros(len(noise)))
        assert metrics["skip_kl"] == pytest.approx(want, rel=1e-4)
        losses.append(metrics["loss"])
    assert losses[0] == 0
    assert losses[1] == pytest.approx(0.8 * want, rel=1e-4)


def test_the_penalty_leads_to_the_rate_that_is_wished():
    target = 0.2
    controller = PolicyGradientController(
        enas_macro_space(3), units=8, num_layers=1, learning_rate=0.03,
        skip_weight=0.8, skip_target=target,
    )  # fmt: skip
    is_link = [c.link is not None for c in controller.space.choices]
    rng, num_choices = np.random.default_rng(0), len(is_link)
    for _ in range(80):
        samples = proposed(controller, rng.random((4, num_choices)))
        controller.learn(samples, np.zeros(4))
    tokens = proposed(controller, rng.random((500, num_choices))).tokens
    assert tokens[:, is_link].mean() == pytest.approx(target, abs=0.05)


@_EAGERLY
def test_what_is_said_of_links_is_in_the_config_of_spaces_with_links():
    arguments = {"skip_target": 0.3, "skip_weight": 0.8, "skip_scale": 2.0}
    without = PolicyGradientController(_SPACES["enas_micro"], **arguments)
    assert not set(arguments) & set(without.config())
    controller = PolicyGradientController(_SPACES["nas_conv"], **arguments)
    assert controller.config() == {**without.config(), **arguments}
    samples = proposed(without, np.zeros((1, 16)))
    assert "skip_kl" not in without.learn(samples, np.zeros(1))


@pytest.mark.parametrize(
    ("argument", "value", "rule"),
    [
        ("skip_target", 0, "must be in (0, 1)"),
        ("skip_target", 1.0, "must be in (0, 1)"),
        ("skip_target", math.nan, "must be in (0, 1)"),
        ("skip_weight", -0.1, "must be finite and not negative"),
        ("skip_weight", math.nan, "must be finite and not negative"),
        ("skip_scale", 0, "must be positive and finite"),
        ("skip_scale", math.nan, "must be positive and finite"),
    ],
)
def test_an_argument_out_of_range_is_refused(argument, value, rule):
    message = f"{argument} {rule}. Received: {argument}={value!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PolicyGradientController(_SPACES["enas_macro"], **{argument: value})
