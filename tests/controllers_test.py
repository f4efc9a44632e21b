"""Tests of the controllers: sampling, scoring, learning, state, errors."""

import functools
import itertools
import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import oracles
from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.controllers import Samples
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import enas_recurrent_space

_NUM_OPTIONS = (3, 2, 5)  # Differing: padding must never be sampled.
_ALMOST_ONE = np.nextafter(np.float32(1), np.float32(0))
_BOTH = pytest.mark.parametrize(
    "make", [PolicyGradientController, RandomController]
)

# Few calls: to compile a controller takes longer than they do.
_EAGERLY = pytest.mark.usefixtures("eagerly")


@pytest.fixture
def eagerly():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def _space(num_options=_NUM_OPTIONS):
    return Space(
        [
            Choice(f"choice_{place}", tuple(range(num)))
            for place, num in enumerate(num_options)
        ]
    )


def _noise(num, seed=0):
    return np.random.default_rng(seed).random((num, len(_NUM_OPTIONS)))


def _all_tokens():
    return np.array(list(itertools.product(*map(range, _NUM_OPTIONS))))


def _batch(tokens):
    zeros = np.zeros(np.shape(tokens), np.float32)
    return Samples(np.array(tokens), zeros, zeros)


def _trained(steps=6, **arguments):
    """Returns a controller that is no longer near to uniform."""
    arguments = {"learning_rate": 0.02, **arguments}
    controller = PolicyGradientController(_space(), **arguments)
    for step in range(steps):
        samples = controller.sample(_noise(16, step))
        advantage = samples.tokens.sum(axis=1) - 3.5
        controller.update(samples, advantage)
    return controller


@functools.cache
def _kept():
    """Returns a trained controller that no test updates."""
    return _trained()


def _raises(message):
    return pytest.raises(ValueError, match=re.escape(message))


@_BOTH
def test_noise_zero_is_the_first_option_and_almost_one_the_last(make):
    noise = np.stack([np.zeros(3), np.full(3, _ALMOST_ONE), np.ones(3) - 1e-12])
    tokens = make(_space()).sample(noise).tokens
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(tokens, [[0, 0, 0], [2, 1, 4], [2, 1, 4]])


def test_a_trained_policy_still_gives_the_ends_of_each_choice():
    noise = np.stack([np.zeros(3), np.full(3, _ALMOST_ONE)])
    tokens = _kept().sample(noise).tokens
    np.testing.assert_array_equal(tokens, [[0, 0, 0], [2, 1, 4]])


def test_sampling_inverts_the_distribution_function():
    controller = _kept()
    first = np.array([[option, 0, 0] for option in range(3)])
    cdf = np.cumsum(np.exp(controller.score(first).log_prob[:, 0]))
    assert np.ptp(np.diff(cdf, prepend=0)) > 0.05  # Not uniform any more.
    noise = np.full((5, 3), 0.5)
    noise[:, 0] = [
        cdf[0] - 1e-4, cdf[0] + 1e-4, cdf[1] - 1e-4, cdf[1] + 1e-4, 0.999,
    ]  # fmt: skip
    tokens = controller.sample(noise).tokens
    np.testing.assert_array_equal(tokens[:, 0], [0, 1, 1, 2, 2])


@pytest.mark.parametrize("make", [_kept, lambda: RandomController(_space())])
def test_frequencies_match_the_probabilities(make):
    controller, num = make(), 20_000
    samples = controller.sample(_noise(num))
    rows, index, counts = np.unique(
        samples.tokens, axis=0, return_index=True, return_counts=True
    )
    assert len(rows) == 30
    probs = np.exp(samples.log_prob[index].sum(axis=1))
    bound = 5 * np.sqrt(probs * (1 - probs) / num)
    assert (np.abs(counts / num - probs) < bound).all()


@pytest.mark.parametrize("batch_size", [1, 2, 5, 16, 33])
def test_scoring_agrees_with_sampling_to_the_last_bit(batch_size):
    for controller in (PolicyGradientController(_space()), _kept()):
        samples = controller.sample(_noise(batch_size, 99))
        scored = controller.score(samples.tokens)
        np.testing.assert_array_equal(scored.tokens, samples.tokens)
        np.testing.assert_array_equal(scored.log_prob, samples.log_prob)
        np.testing.assert_array_equal(scored.entropy, samples.entropy)


def test_a_sample_depends_on_its_own_row_of_noise_alone():
    controller, noise = _kept(), _noise(16, 99)
    whole = controller.sample(noise)
    for rows in (slice(0, 1), slice(5, 7), slice(8, 16)):
        part = controller.sample(noise[rows])
        np.testing.assert_array_equal(part.tokens, whole.tokens[rows])
        # A matrix product rounds as its number of rows lets it.
        want = whole.log_prob[rows]
        np.testing.assert_allclose(part.log_prob, want, rtol=1e-5)


@pytest.mark.parametrize("steps", [0, 6])
def test_the_probabilities_of_all_sequences_sum_to_one(steps):
    controller = _kept() if steps else PolicyGradientController(_space())
    log_prob = controller.score(_all_tokens()).log_prob
    total = np.exp(log_prob.astype("float64").sum(axis=1)).sum()
    assert total == pytest.approx(1, abs=1e-5)


def test_a_later_decision_depends_on_the_earlier():
    log_prob = _kept().score([[0, 0, 1], [2, 0, 1]]).log_prob
    assert abs(log_prob[0, 2] - log_prob[1, 2]) > 1e-4


def test_entropy_is_that_of_the_whole_distribution_of_a_decision():
    controller = _kept()
    options = [[1, 1, option] for option in range(5)]
    scored = controller.score(options)
    log_prob = scored.log_prob[:, 2].astype("float64")
    want = -(np.exp(log_prob) * log_prob).sum()
    np.testing.assert_allclose(scored.entropy[:, 2], want, rtol=1e-5)


@pytest.mark.parametrize("init_scale", [0.08, 0.01])
def test_initial_weights_are_uniform_in_the_scale(init_scale):
    controller = PolicyGradientController(_space(), init_scale=init_scale)
    weights = [
        array
        for name, array in controller.state().items()
        if array.size > 1 and array.any()  # Adam's slots are zeros.
    ]
    values = np.concatenate([weight.ravel() for weight in weights])
    assert np.abs(values).max() <= init_scale
    assert np.abs(values).max() > 0.99 * init_scale
    assert values.std() == pytest.approx(init_scale / np.sqrt(3), rel=0.02)
    # No two weights are of one stream.
    begins = [tuple(weight.ravel()[:2]) for weight in weights]
    assert len(set(begins)) == len(begins)


def test_the_initial_policy_is_close_to_uniform():
    log_prob = PolicyGradientController(_space()).score(_all_tokens()).log_prob
    want = np.broadcast_to(-np.log(_NUM_OPTIONS), log_prob.shape)
    np.testing.assert_allclose(log_prob, want, atol=0.1)


@pytest.mark.parametrize(("units", "num_layers"), [(35, 2), (6, 1)])
def test_the_network_has_the_layers_asked_for(units, num_layers):
    arguments = {"units": units, "num_layers": num_layers}
    if (units, num_layers) == (35, 2):
        arguments = {}  # The paper's are the default.
    controller = PolicyGradientController(_space(), **arguments)
    shapes = [a.shape for n, a in controller.state().items() if "kernel" in n]
    # Kernel and recurrent kernel of each layer, and Adam's two slots of each.
    assert shapes.count((units, 4 * units)) == 3 * 2 * num_layers


@_EAGERLY
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_update_moves_the_probability_with_the_advantages_sign(sign):
    controller = PolicyGradientController(_space())
    samples = _batch([[2, 1, 4], [0, 0, 1]])
    before = controller.score(samples.tokens).log_prob.sum(axis=1)
    controller.update(samples, sign * np.array([1.0, -1.0]))
    after = controller.score(samples.tokens).log_prob.sum(axis=1)
    assert (np.sign(after - before) == sign * np.array([1, -1])).all()


@_EAGERLY
def test_an_update_without_advantage_changes_no_probability():
    controller = PolicyGradientController(_space())
    before = controller.score(_all_tokens()).log_prob
    metrics = controller.update(_batch([[0, 1, 2]]), np.zeros(1))
    assert metrics["loss"] == 0 and metrics["gradient_norm"] == 0
    np.testing.assert_array_equal(
        controller.score(_all_tokens()).log_prob, before
    )


@_EAGERLY
def test_an_update_returns_the_figures_of_the_policy_before_it():
    controller = _trained()
    samples = controller.sample(_noise(4))
    advantage = np.array([1.0, -2.0, 0.5, 3.0])
    metrics = controller.update(samples, advantage)
    want = -np.mean(advantage * samples.log_prob.sum(axis=1))
    assert metrics["loss"] == pytest.approx(want, rel=1e-5)
    entropy_nats = samples.entropy.sum(axis=1).mean()
    assert metrics["entropy_nats"] == pytest.approx(entropy_nats, rel=1e-5)
    assert metrics["gradient_norm"] > 0


def test_the_entropy_bonus_raises_the_entropy():
    def entropy_after(entropy_weight):
        controller = PolicyGradientController(
            _space(), learning_rate=0.02, entropy_weight=entropy_weight
        )
        controller.restore(_kept().state())
        for _ in range(20):
            samples = controller.sample(_noise(8))
            controller.update(samples, np.zeros(8))
        return controller.score(_all_tokens()).entropy.sum(axis=1).mean()

    assert entropy_after(0.5) > entropy_after(0.0) + 0.5


@_EAGERLY
def test_the_learning_rate_is_that_of_adam():
    moved = []
    for learning_rate in (0.001, 0.002):
        controller = PolicyGradientController(
            _space(), learning_rate=learning_rate
        )
        before = controller.state()
        controller.update(_batch([[2, 1, 4]]), np.ones(1))
        after = controller.state()
        name = next(n for n in before if n.endswith("_biases"))
        moved.append(np.abs(after[name] - before[name]).max())
    # Adam's first step is the rate itself.
    np.testing.assert_allclose(moved, [0.001, 0.002], rtol=1e-3)


@_EAGERLY
def test_the_same_seed_gives_the_same_result_and_another_seed_another():
    states = [_trained(1, seed=seed).state() for seed in (3, 3, 4)]
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name])
    name = next(n for n in states[0] if n.endswith("_heads"))
    assert (states[0][name] != states[2][name]).any()


def test_the_initial_weights_do_not_depend_on_the_global_seed():
    keras.utils.set_random_seed(1)
    first = PolicyGradientController(_space(), seed=3).state()
    keras.utils.set_random_seed(2)
    second = PolicyGradientController(_space(), seed=3).state()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_a_restored_controller_goes_on_bit_for_bit():
    controller = _trained(3)
    state = {name: array.copy() for name, array in controller.state().items()}
    other = PolicyGradientController(_space(), seed=9, learning_rate=0.05)
    other.restore(state)
    for step in range(3):
        noise = _noise(8, 50 + step)
        samples, others = controller.sample(noise), other.sample(noise)
        np.testing.assert_array_equal(samples.log_prob, others.log_prob)
        advantage = samples.tokens.sum(axis=1) - 3.5
        # Adam's slots and step count were restored, or this would differ.
        assert controller.update(samples, advantage) == other.update(
            others, advantage
        )
    for name, array in controller.state().items():
        np.testing.assert_array_equal(array, other.state()[name])


@_EAGERLY
def test_a_state_is_a_copy_that_later_updates_leave_alone():
    controller = _trained(1)
    state = controller.state()
    copies = {name: array.copy() for name, array in state.items()}
    controller.update(_batch([[2, 1, 4]]), np.ones(1))
    for name, array in state.items():
        np.testing.assert_array_equal(array, copies[name])


@_EAGERLY
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    controller = _trained(1)
    before = {name: a.copy() for name, a in controller.state().items()}
    name = list(before)[-1]
    state = PolicyGradientController(_space(), seed=7).state()
    missing = {key: array for key, array in state.items() if key != name}
    message = f"state must hold {name!r} of shape "
    with _raises(message):
        controller.restore(missing)
    with pytest.raises(ValueError, match=r"Received: \(9, 9\)"):
        controller.restore({**state, name: np.zeros((9, 9))})
    for key, array in controller.state().items():
        np.testing.assert_array_equal(array, before[key])


@_BOTH
def test_a_config_is_jsonable_and_names_the_class(make):
    config = make(_space()).config()
    assert json.loads(json.dumps(config)) == config
    assert config["class"] == make.__name__


def test_a_config_holds_every_argument():
    arguments = {
        "loss": "reinforce",
        "seed": 5,
        "units": 4,
        "num_layers": 1,
        "init_scale": 0.1,
        "learning_rate": 0.02,
        "entropy_weight": 0.3,
        "entropy_bonus": "sampled",
        "temperature": 5.0,
        "tanh_constant": 2.5,
    }
    config = PolicyGradientController(_space(), **arguments).config()
    assert config == {"class": "PolicyGradientController", **arguments}


def test_a_config_holds_the_arguments_of_ppo_if_that_is_the_loss():
    arguments = {"clip": 0.1, "num_epochs": 3, "num_minibatches": 2}
    reinforce = PolicyGradientController(_space(), **arguments).config()
    assert not set(arguments) & set(reinforce)
    arguments["loss"] = "ppo"
    config = PolicyGradientController(_space(), **arguments).config()
    assert config == {**reinforce, **arguments}
    again = {name: v for name, v in config.items() if name != "class"}
    again = PolicyGradientController(_space(), **again).config()
    assert again == config
    defaults = PolicyGradientController(_space(), loss="ppo").config()
    assert [defaults[k] for k in ("clip", "num_epochs", "num_minibatches")] == [
        *(0.2, 4, 4)
    ]


@pytest.mark.parametrize(
    ("argument", "value", "rule"),
    [
        ("loss", "a2c", "must be one of ['reinforce', 'ppo']"),
        ("loss", "PPO", "must be one of ['reinforce', 'ppo']"),
        ("loss", None, "must be one of ['reinforce', 'ppo']"),
        ("entropy_bonus", "none", "must be one of ['exact', 'sampled']"),
        ("entropy_bonus", True, "must be one of ['exact', 'sampled']"),
        ("temperature", 0.0, "must be positive"),
        ("temperature", -5, "must be positive"),
        ("temperature", float("nan"), "must be positive"),
        ("tanh_constant", -2.5, "must be at least 0"),
        ("tanh_constant", float("nan"), "must be at least 0"),
        ("clip", 0, "must be positive"),
        ("clip", -0.2, "must be positive"),
        ("clip", float("nan"), "must be positive"),
        ("num_epochs", 0, "must be at least 1"),
        ("num_epochs", 4.0, "must be an int"),
        ("num_epochs", True, "must be an int"),
        ("num_minibatches", 0, "must be at least 1"),
        ("num_minibatches", "four", "must be an int"),
        ("num_minibatches", False, "must be an int"),
        ("seed", -1, "must be at least 0"),
        ("seed", 1.5, "must be an int"),
        ("units", 0, "must be at least 1"),
        ("units", True, "must be an int"),
        ("units", "four", "must be an int"),
        ("num_layers", 0, "must be at least 1"),
        ("num_layers", 2.0, "must be an int"),
        ("init_scale", 0.0, "must be positive"),
        ("init_scale", float("nan"), "must be positive"),
        ("learning_rate", 0, "must be positive"),
        ("learning_rate", -0.1, "must be positive"),
        ("entropy_weight", -1e-9, "must be at least 0"),
        ("entropy_weight", float("nan"), "must be at least 0"),
    ],
)
def test_an_argument_out_of_range_is_refused(argument, value, rule):
    with pytest.raises(ValueError) as caught:
        PolicyGradientController(_space(), **{argument: value})
    message = str(caught.value)
    assert message.startswith(f"{argument} {rule}")
    assert message.endswith(f"Received: {argument}={value!r}.")


@_BOTH
def test_a_space_is_needed(make):
    with _raises("space must be a Space. Received: list."):
        make([Choice("width", (1, 2))])


@_BOTH
@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 4), (1, 2, 3)])
def test_noise_of_another_shape_is_refused(make, shape):
    message = f"noise must have the shape [B, 3]. Received: {list(shape)}."
    with _raises(message):
        make(_space()).sample(np.zeros(shape))


@_BOTH
@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan])
def test_noise_out_of_range_is_refused(make, value):
    with _raises("noise must lie in [0, 1). Received values from "):
        make(_space()).sample(np.array([[0.5, value, 0.5]]))


@pytest.mark.parametrize("shape", [(), (3,), (2, 1)])
def test_an_advantage_of_another_shape_is_refused(shape):
    message = f"advantage must have the shape [2]. Received: {list(shape)}."
    with _raises(message):
        PolicyGradientController(_space()).update(
            _batch([[0, 0, 0], [1, 1, 1]]), np.zeros(shape)
        )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_advantage_that_is_not_finite_is_refused(value):
    controller = PolicyGradientController(_space())
    with _raises(f"advantage must be finite. Received: [{value}]."):
        controller.update(_batch([[0, 0, 0]]), np.array([value]))


@pytest.mark.parametrize("tokens", [[3, 0, 0], [0, 2, 0], [0, 0, -1]])
def test_tokens_out_of_range_are_refused(tokens):
    controller = PolicyGradientController(_space())
    with pytest.raises(ValueError, match=r"'choice_\d' must be an int in \[0"):
        controller.score([tokens])
    with pytest.raises(ValueError, match=r"'choice_\d' must be an int in \[0"):
        controller.update(_batch([tokens]), np.ones(1))


def test_too_few_tokens_are_refused():
    with pytest.raises(ValueError, match="takes 3 tokens. Received: 2."):
        PolicyGradientController(_space()).score([[0, 0]])


def test_a_random_controller_is_uniform_and_learns_nothing():
    controller = RandomController(_space())
    samples = controller.sample(_noise(4))
    want = np.broadcast_to(np.log(_NUM_OPTIONS), (4, 3)).astype("float32")
    np.testing.assert_array_equal(samples.entropy, want)
    np.testing.assert_array_equal(samples.log_prob, -want)
    metrics = controller.update(samples, np.ones(4))
    assert metrics["entropy_nats"] == pytest.approx(np.log(30), rel=1e-6)
    again = controller.sample(_noise(4))
    np.testing.assert_array_equal(again.tokens, samples.tokens)


def test_a_random_controller_has_no_state():
    controller = RandomController(_space())
    assert controller.state() == {}
    controller.restore({})
    with _raises("A RandomController has no state. Received: ['weights']."):
        controller.restore({"weights": np.zeros(1)})


# Anchors, temperature and the bound of the logits, against NumPy.

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


def _choices(space):
    return [(len(c.options), c.anchors) for c in space.choices]


def _randomized(space, seed=0, scale=0.8, **arguments):
    """Returns a controller with large random weights."""
    controller = PolicyGradientController(space, **arguments)
    rng = np.random.default_rng(seed)
    state = controller.state()
    for name in _weights_of(state):
        values = rng.normal(size=state[name].shape) * scale
        state[name] = values.astype(np.float32)
    controller.restore(state)
    return controller


def _weights_of(state):
    """Returns the names of the weights, which stand before Adam's."""
    names = list(state)
    return names[: next(k for k, n in enumerate(names) if "iteration" in n)]


def _of_oracle(state):
    """Returns the weights as `oracles.policy` takes them; float64."""
    weights, layers = {}, {"kernel": [], "recurrent_kernel": [], "bias": []}
    for name in _weights_of(state):
        array = np.asarray(state[name], np.float64)
        role = name.split("_", 1)[1]
        if role in layers:
            layers[role].append(array)
        else:
            weights[role] = array
    return {**weights, "lstm": list(zip(*layers.values(), strict=True))}


def _log_prob_and_entropy(tokens, distributions):
    log_prob = [
        [np.log(probs[token]) for token, probs in zip(*row, strict=True)]
        for row in zip(tokens, distributions, strict=True)
    ]
    entropy = [
        [-(probs * np.log(probs)).sum() for probs in row]
        for row in distributions
    ]
    return np.array(log_prob), np.array(entropy)


@_EAGERLY
@pytest.mark.parametrize(
    ("choices", "num_layers", "temperature", "tanh_constant"),
    [
        (_space().choices, 2, 1.0, 0.0),
        (_space().choices, 1, 3.0, 1.5),
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
    controller = _randomized(
        Space(choices),
        units=5,
        num_layers=num_layers,
        temperature=temperature,
        tanh_constant=tanh_constant,
    )
    noise = np.random.default_rng(7).random((12, len(choices)))
    weights = _of_oracle(controller.state())
    assert ("attention" in weights) == any(c.anchors for c in choices)
    squash = {"temperature": temperature, "bound": tanh_constant}
    shapes = _choices(controller.space)
    samples = controller.sample(noise)
    tokens, distributions = oracles.policy(
        shapes, weights, noise=noise, **squash
    )
    np.testing.assert_array_equal(samples.tokens, tokens)
    log_prob, entropy = _log_prob_and_entropy(tokens, distributions)
    np.testing.assert_allclose(samples.log_prob, log_prob, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(samples.entropy, entropy, rtol=2e-4, atol=1e-5)
    # Other tokens than those that it would sample.
    tokens = np.random.default_rng(8).integers(
        controller.space.num_options, size=noise.shape
    )
    scored = controller.score(tokens)
    _, distributions = oracles.policy(shapes, weights, tokens=tokens, **squash)
    log_prob, entropy = _log_prob_and_entropy(tokens, distributions)
    np.testing.assert_allclose(scored.log_prob, log_prob, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(scored.entropy, entropy, rtol=2e-4, atol=1e-5)


@functools.cache
def _anchored():
    """Returns a controller on anchors that no test updates."""
    return _randomized(Space(_ANCHORED), seed=3, units=5, scale=1.5)


@pytest.mark.parametrize("batch_size", [1, 5, 33])
def test_scoring_agrees_with_sampling_to_the_last_bit_with_anchors(batch_size):
    noise = np.random.default_rng(batch_size).random((batch_size, 6))
    samples = _anchored().sample(noise)
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
    samples = _anchored().sample(noise)
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
        _space(), seed=4, init_scale=0.9, units=6
    )
    names = [name.split("_", 1)[1] for name in _weights_of(controller.state())]
    assert names == [
        *("start", "heads", "biases", "embeddings"),
        *("kernel", "recurrent_kernel", "bias") * 2,
    ]
    # What the program before anchors sampled.
    samples = controller.sample(_noise(3))
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
        return {n.split("_", 1)[1]: state[n] for n in _weights_of(state)[:7]}

    labels = [Choice(c.name, c.options) for c in _ANCHORED]
    without, anchored = weights(labels), weights(_ANCHORED)
    for name in ("start", "heads", "biases", "embeddings"):
        np.testing.assert_array_equal(without[name], anchored[name])
    assert [anchored[n].shape for n in list(anchored)[4:]] == [
        *((35, 35), (35, 35), (35,))
    ]
    assert (anchored["key_kernel"] != anchored["query_kernel"]).any()


@_EAGERLY
def test_a_bound_and_a_temperature_keep_the_policy_close_to_uniform():
    def entropy(**arguments):
        controller = _randomized(_space(), scale=3.0, **arguments)
        return controller.score(_all_tokens()).entropy.sum(axis=1).mean()

    uniform = np.log(30)
    assert entropy() < uniform - 0.5
    assert entropy(temperature=1e4) == pytest.approx(uniform, abs=1e-3)
    assert entropy(tanh_constant=1e-2) == pytest.approx(uniform, abs=1e-3)
    assert entropy(tanh_constant=2.5) > entropy()
    # tanh(logits / temperature), not tanh(logits) / temperature.
    both = entropy(temperature=1e-3, tanh_constant=1.0)
    assert both < entropy(tanh_constant=1e-3) - 0.05


# Gradients, which Adam's first moment shows: a tenth of them after one step.


def _gradient(controller):
    """Returns the gradient of the first update, flat."""
    state = controller.state()
    moments = [a for name, a in state.items() if name.endswith("_momentum")]
    assert [m.shape for m in moments] == [
        state[name].shape for name in _weights_of(state)
    ]
    return np.concatenate([10 * m.ravel() for m in moments])


def _numeric_gradient(function, state):
    """Returns the central differences of a function of the oracle's weights."""
    state = {n: np.array(state[n], np.float64) for n in state}
    gradient = []
    for name in _weights_of(state):
        flat = state[name].reshape(-1)
        for k, value in enumerate(flat):
            ends = []
            for step in (1e-5, -1e-5):
                flat[k] = value + step
                ends.append(function(_of_oracle(state)))
            flat[k] = value
            gradient.append((ends[0] - ends[1]) / 2e-5)
    return np.array(gradient)


_SMALL = (
    Choice("kind", ("a", "b")),
    Choice("reads", (0, 1, 2), (0, -1, -1)),
    Choice("function", ("f", "g", "h")),
)


@_EAGERLY
@pytest.mark.parametrize("loss", ["reinforce", "ppo"])
@pytest.mark.parametrize("bonus", ["exact", "sampled"])
def test_the_gradient_of_an_update_is_that_of_the_objective(loss, bonus):
    arguments = {"units": 2, "num_layers": 1, "tanh_constant": 1.5}
    controller = _randomized(
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
        _, distributions = oracles.policy(
            _choices(controller.space), weights, tokens=tokens, bound=1.5
        )
        log_prob, entropy = _log_prob_and_entropy(tokens, distributions)
        value = -np.mean(advantage * log_prob.sum(axis=1))
        # What "sampled" adds is in the reward, not in the loss.
        return value - 0.4 * (bonus == "exact") * entropy.sum(axis=1).mean()

    want = _numeric_gradient(objective, state)
    metrics = controller.update(samples, advantage)
    got = _gradient(controller)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
    norm = np.linalg.norm(want)
    assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-4)


def test_the_exact_bonus_has_the_gradient_of_the_true_entropy():
    # Of a single decision: no entropy of later ones depends on it.
    controller = _randomized(
        _space((5,)), units=2, num_layers=2, entropy_weight=1.0
    )
    state = controller.state()

    def entropy(weights):
        _, [[probs]] = oracles.policy([(5, None)], weights, tokens=[[0]])
        return -(probs * np.log(probs)).sum()

    want = _numeric_gradient(entropy, state)
    assert np.linalg.norm(want) > 0.1
    controller.update(_batch([[3], [0]]), np.zeros(2))
    np.testing.assert_allclose(_gradient(controller), -want, atol=1e-5)


def test_only_the_sampled_bonus_is_added_to_the_reward():
    space, noise = _space(), _noise(5)
    for controller in (
        RandomController(space),
        PolicyGradientController(space, entropy_weight=0.3),
        _randomized(space, entropy_weight=0.0, entropy_bonus="sampled"),
    ):
        bonus = controller.bonus(controller.sample(noise))
        np.testing.assert_array_equal(bonus, np.zeros(5))
    controller = _randomized(space, entropy_weight=0.3, entropy_bonus="sampled")
    samples = controller.sample(noise)
    want = [
        0.3 * sum(-np.exp(value) * value for value in row)
        for row in samples.log_prob.astype("float64")
    ]
    np.testing.assert_allclose(controller.bonus(samples), want, rtol=1e-9)
    assert np.ptp(want) > 1e-3


@_EAGERLY
def test_the_sampled_bonus_leaves_the_loss_without_an_entropy():
    controllers = [
        _randomized(_space(), entropy_weight=weight, entropy_bonus="sampled")
        for weight in (0.0, 0.7)
    ]
    samples, advantage = controllers[0].sample(_noise(4)), np.arange(4.0) - 1
    first, second = (c.update(samples, advantage) for c in controllers)
    assert first == second
    exact = _randomized(_space(), entropy_weight=0.7)
    metrics = exact.update(samples, advantage)
    want = first["loss"] - 0.7 * first["entropy_nats"]
    assert metrics["loss"] == pytest.approx(want, rel=1e-5)


# PPO.


def _ppo(seed=0, **arguments):
    arguments = {"loss": "ppo", "learning_rate": 0.02, **arguments}
    controller = PolicyGradientController(_space(), seed=seed, **arguments)
    controller.restore(_kept().state())
    return controller


def _ppo_batch(num=16, seed=5):
    samples = _kept().sample(_noise(num, seed))
    advantage = samples.tokens.sum(axis=1) - 3.5
    return samples, advantage.astype(np.float32)


def _log_prob(controller):
    return controller.score(_all_tokens()).log_prob


def _recorded(controller):
    """Returns the list of (tokens, old_log_prob, advantage) of each step."""
    steps, update = [], controller._update

    def recording(*arguments):
        steps.append([np.asarray(argument) for argument in arguments])
        return update(*arguments)

    controller._update = recording
    return steps


@_EAGERLY
def test_one_step_of_ppo_is_reinforces():
    samples, advantage = _ppo_batch()
    ppo = _ppo(num_epochs=1, num_minibatches=1)
    reinforce = _ppo(loss="reinforce")
    figures, want = (c.update(samples, advantage) for c in (ppo, reinforce))
    for name in ("entropy_nats", "gradient_norm"):
        assert figures[name] == pytest.approx(want[name], rel=1e-5)
    assert figures["kl_nats"] == pytest.approx(0, abs=1e-6)
    assert figures["clipped"] == 0
    # The loss is minus the advantages, once a decision.
    assert figures["loss"] == pytest.approx(-3 * advantage.mean(), rel=1e-5)
    state, want = ppo.state(), reinforce.state()
    for name in _weights_of(state):
        np.testing.assert_allclose(
            state[name], want[name], rtol=0, atol=1e-6, err_msg=name
        )


@_EAGERLY
@pytest.mark.parametrize(
    ("num_epochs", "num_minibatches", "batch_size", "sizes"),
    [
        (1, 4, 16, [4, 4, 4, 4]),
        (3, 4, 14, [4, 4, 3, 3]),
        (2, 5, 3, [1, 1, 1]),  # No more parts than architectures.
        (2, 1, 7, [7]),
    ],
)
def test_each_epoch_of_ppo_covers_each_architecture_once(
    num_epochs, num_minibatches, batch_size, sizes
):
    controller = _ppo(num_epochs=num_epochs, num_minibatches=num_minibatches)
    tokens = _all_tokens()[:batch_size]
    samples = controller.score(tokens)
    steps = _recorded(controller)
    advantage = np.linspace(-1, 1, batch_size).astype(np.float32)
    controller.update(samples, advantage)
    assert [len(step[0]) for step in steps] == sizes * num_epochs
    for epoch in range(num_epochs):
        parts = steps[epoch * len(sizes) : (epoch + 1) * len(sizes)]
        rows = [np.concatenate(column) for column in zip(*parts, strict=True)]
        order = np.argsort(rows[2])
        for got, want in zip(
            rows, (tokens, samples.log_prob, advantage), strict=True
        ):
            np.testing.assert_array_equal(got[order], want)


@_EAGERLY
def test_each_epoch_of_ppo_has_an_order_of_its_own():
    controller = _ppo(num_epochs=3, num_minibatches=2)
    samples, _ = _ppo_batch()
    steps = _recorded(controller)
    for _ in range(2):
        controller.update(samples, np.linspace(-1, 1, 16))
    epochs = [
        np.concatenate([first[2], second[2]])
        for first, second in zip(steps[::2], steps[1::2], strict=True)
    ]
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs) == 6


def test_ppo_is_deterministic_and_goes_on_where_it_stopped():
    batches = [_ppo_batch(10, seed) for seed in range(3)]
    controller, again, resumed = _ppo(), _ppo(), _ppo(learning_rate=0.5)
    controller.update(*batches[0])
    again.update(*batches[0])
    resumed.restore(controller.state())
    for batch in batches[1:]:
        figures = [c.update(*batch) for c in (controller, again, resumed)]
        assert figures[0] == figures[1] == figures[2]
    want = controller.state()
    for other in (again.state(), resumed.state()):
        for name, array in want.items():
            np.testing.assert_array_equal(other[name], array)


@_EAGERLY
def test_the_seed_shuffles_the_minibatches_of_ppo():
    batch, probs = _ppo_batch(), []
    for seed in (1, 2):  # The weights are the same: they are restored.
        controller = _ppo(seed)
        controller.update(*batch)
        probs.append(_log_prob(controller))
    assert (probs[0] != probs[1]).any()


@_EAGERLY
def test_more_epochs_of_ppo_move_further():
    moved = []
    for num_epochs in (1, 4):
        controller = PolicyGradientController(
            _space(), loss="ppo", num_epochs=num_epochs, learning_rate=0.003
        )
        before, samples = _log_prob(controller), controller.sample(_noise(16))
        controller.update(samples, samples.tokens.sum(axis=1) - 3.5)
        moved.append(np.abs(_log_prob(controller) - before).mean())
    assert moved[1] > 2 * moved[0] > 0


@_EAGERLY
@pytest.mark.parametrize("clip", [0.02, 0.2])
def test_figures_of_ppo_are_the_means_of_its_steps(clip):
    samples, advantage = _ppo_batch()
    arguments = {"num_minibatches": 1, "clip": clip, "learning_rate": 0.01}
    controller = _ppo(num_epochs=1, **arguments)
    first = controller.update(samples, advantage)
    # What the second step sees.
    log_prob = controller.score(samples.tokens).log_prob.astype("float64")
    gap = log_prob - samples.log_prob
    gain = advantage[:, None] * np.exp(gap)
    cut = advantage[:, None] * np.clip(np.exp(gap), 1 - clip, 1 + clip)
    figures = _ppo(num_epochs=2, **arguments).update(samples, advantage)
    # The estimate, from what the old policy sampled, of its divergence.
    kl_nats = (samples.log_prob - log_prob).sum(axis=1).mean()
    assert figures["kl_nats"] == pytest.approx(kl_nats / 2, rel=1e-3, abs=1e-6)
    clipped = (np.abs(np.exp(gap) - 1) > clip).mean()
    assert figures["clipped"] == pytest.approx(clipped / 2, rel=1e-5)
    assert clipped > 0 or clip == 0.2
    loss = -np.minimum(gain, cut).sum(axis=1).mean()
    want = (first["loss"] + loss) / 2
    assert figures["loss"] == pytest.approx(want, rel=1e-4)


@_EAGERLY
def test_the_clip_holds_the_policy_back():
    batch, before, moved = _ppo_batch(), _log_prob(_kept()), []
    for clip in (0.01, 10.0):
        controller = _ppo(clip=clip, num_epochs=20, num_minibatches=1)
        controller.update(*batch)
        moved.append(np.abs(_log_prob(controller) - before).mean())
    assert moved[0] < 0.5 * moved[1]


@pytest.mark.parametrize("entropy_bonus", ["exact", "sampled"])
def test_ppo_learns_one_max(entropy_bonus):
    space = _space((3, 4, 2, 5))
    controller = PolicyGradientController(
        space,
        loss="ppo",
        seed=1,
        entropy_weight=0.01,
        entropy_bonus=entropy_bonus,
    )
    rng, rewards, best = np.random.default_rng(0), [], [2, 3, 1, 4]
    for _ in range(25):
        samples = controller.sample(rng.random((16, 4)))
        reward = (samples.tokens == best).mean(axis=1)
        gained = reward + controller.bonus(samples)
        controller.update(samples, gained - gained.mean())
        rewards.append(reward.mean())
    chance = np.mean([1 / n for n in space.num_options])
    assert np.mean(rewards[:2]) == pytest.approx(chance, abs=0.15)
    assert np.mean(rewards[-5:]) > 0.9
