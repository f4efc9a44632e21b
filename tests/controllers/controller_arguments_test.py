"""What controllers are made of and given, and what they refuse."""

import json

import numpy as np
import pytest

from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.spaces import Choice
from tests.controller_testing import BOTH
from tests.controller_testing import NUM_OPTIONS
from tests.controller_testing import batch_of
from tests.controller_testing import evaluations_of
from tests.controller_testing import noise_of
from tests.controller_testing import proposed
from tests.controller_testing import small_space
from tests.raising import raises


@BOTH
def test_a_config_is_jsonable_and_names_the_class(make):
    config = make(small_space()).config()
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
        "baseline_decay": 0.5,
        "normalize_advantage": False,
    }
    config = PolicyGradientController(small_space(), **arguments).config()
    assert config == {"class": "PolicyGradientController", **arguments}


def test_a_config_holds_the_arguments_of_ppo_if_that_is_the_loss():
    arguments = {"clip": 0.1, "num_epochs": 3, "num_minibatches": 2}
    reinforce = PolicyGradientController(small_space(), **arguments).config()
    assert not set(arguments) & set(reinforce)
    arguments["loss"] = "ppo"
    config = PolicyGradientController(small_space(), **arguments).config()
    assert config == {**reinforce, **arguments}
    again = {name: v for name, v in config.items() if name != "class"}
    again = PolicyGradientController(small_space(), **again).config()
    assert again == config
    defaults = PolicyGradientController(small_space(), loss="ppo").config()
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
        ("tanh_constant", -2.5, "must be finite and not negative"),
        ("tanh_constant", float("nan"), "must be finite and not negative"),
        ("clip", 0, "must be positive"),
        ("clip", -0.2, "must be positive"),
        ("clip", float("nan"), "must be positive"),
        ("num_epochs", 0, "must be an int of at least 1"),
        ("num_epochs", 4.0, "must be an int"),
        ("num_epochs", True, "must be an int"),
        ("num_minibatches", 0, "must be an int of at least 1"),
        ("num_minibatches", "four", "must be an int"),
        ("num_minibatches", False, "must be an int"),
        ("seed", -1, "must be an int of at least 0"),
        ("seed", 1.5, "must be an int"),
        ("units", 0, "must be an int of at least 1"),
        ("units", True, "must be an int"),
        ("units", "four", "must be an int"),
        ("num_layers", 0, "must be an int of at least 1"),
        ("num_layers", 2.0, "must be an int"),
        ("init_scale", 0.0, "must be positive"),
        ("init_scale", float("nan"), "must be positive"),
        ("learning_rate", 0, "must be positive"),
        ("learning_rate", -0.1, "must be positive"),
        ("baseline_decay", 1.0, "must be in [0, 1)"),
        ("baseline_decay", -0.1, "must be in [0, 1)"),
        ("normalize_advantage", 1, "must be True or False"),
        ("entropy_weight", -1e-9, "must be finite and not negative"),
        ("entropy_weight", float("nan"), "must be finite and not negative"),
    ],
)
def test_an_argument_out_of_range_is_refused(argument, value, rule):
    with pytest.raises(ValueError) as caught:
        PolicyGradientController(small_space(), **{argument: value})
    message = str(caught.value)
    assert message.startswith(f"{argument} {rule}")
    assert message.endswith(f"Received: {argument}={value!r}.")


@BOTH
def test_a_space_is_needed(make):
    with raises("space must be a Space. Received: list."):
        make([Choice("width", (1, 2))])


@BOTH
@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, None])
def test_a_batch_size_out_of_range_is_refused(make, batch_size):
    message = (
        "batch_size must be an int of at least 1. Received: "
        f"batch_size={batch_size}."
    )
    with raises(message):
        make(small_space()).propose(batch_size, np.random.default_rng(0))


@BOTH
@pytest.mark.parametrize("num", [0, 1, 3])
def test_evaluations_of_another_number_are_refused(make, num):
    message = (
        f"evaluations must be one for each of the 2 proposals. Received: {num}."
    )
    with raises(message):
        make(small_space()).feedback(
            batch_of([[0, 0, 0], [1, 1, 1]]), evaluations_of([1.0] * num)
        )


@pytest.mark.parametrize("shape", [(), (3,), (2, 1)])
def test_an_advantage_of_another_shape_is_refused(shape):
    message = f"advantage must have the shape [2]. Received: {list(shape)}."
    with raises(message):
        PolicyGradientController(small_space()).learn(
            batch_of([[0, 0, 0], [1, 1, 1]]), np.zeros(shape)
        )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_advantage_that_is_not_finite_is_refused(value):
    controller = PolicyGradientController(small_space())
    with raises(f"advantage must be finite. Received: [{value}]."):
        controller.learn(batch_of([[0, 0, 0]]), np.array([value]))


@pytest.mark.parametrize("tokens", [[3, 0, 0], [0, 2, 0], [0, 0, -1]])
def test_tokens_out_of_range_are_refused(tokens):
    controller = PolicyGradientController(small_space())
    with pytest.raises(ValueError, match=r"'choice_\d' must be an int in \[0"):
        controller.score([tokens])
    with pytest.raises(ValueError, match=r"'choice_\d' must be an int in \[0"):
        controller.learn(batch_of([tokens]), np.ones(1))


def test_too_few_tokens_are_refused():
    with pytest.raises(ValueError, match="takes 3 tokens. Received: 2."):
        PolicyGradientController(small_space()).score([[0, 0]])


def test_a_random_controller_is_uniform_and_learns_nothing():
    controller = RandomController(small_space())
    samples = proposed(controller, noise_of(4))
    want = np.broadcast_to(np.log(NUM_OPTIONS), (4, 3)).astype("float32")
    np.testing.assert_array_equal(samples.entropy, want)
    np.testing.assert_array_equal(samples.log_prob, -want)
    metrics = controller.feedback(samples, evaluations_of([1.0, 2, 3, None]))
    assert metrics["entropy_nats"] == pytest.approx(np.log(30), rel=1e-6)
    again = proposed(controller, noise_of(4))
    np.testing.assert_array_equal(again.tokens, samples.tokens)


def test_a_random_controller_has_no_state():
    controller = RandomController(small_space())
    assert controller.state() == {}
    controller.restore({})
    with raises("A RandomController has no state. Received: ['weights']."):
        controller.restore({"weights": np.zeros(1)})
