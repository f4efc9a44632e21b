"""Tests of searches whose networks grow: the schedule and the controller."""

import re

import numpy as np
import pytest

from nas_keras.controllers import DepthSchedule
from nas_keras.controllers import EvolutionController
from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.controllers import grown
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_recurrent_space
from nas_keras.spaces import nas_conv_space
from tests.controller_testing import evaluations_of
from tests.controller_testing import proposed

# Few calls: to compile a controller takes longer than they do.
_EAGERLY = pytest.mark.usefixtures("eagerly")


def _controller(space, **arguments):
    arguments = {"units": 6, "num_layers": 1, **arguments}
    return PolicyGradientController(space, **arguments)


def _trained(space, steps=3, **arguments):
    controller, rng = _controller(space, **arguments), np.random.default_rng(0)
    for _ in range(steps):
        samples = proposed(controller, rng.random((8, len(space.choices))))
        controller.learn(samples, samples.tokens.sum(axis=1) - 6.0)
    return controller


# The schedule.


def test_the_schedule_is_that_of_the_paper():
    stages = DepthSchedule().stages()
    assert [layers for layers, _ in stages] == [6, 8, 10, 12, 14, 16, 18, 20]
    assert {samples for _, samples in stages} == {1600}
    assert sum(samples for _, samples in stages) == 12_800


def test_a_schedule_may_have_other_steps_or_one_stage():
    schedule = DepthSchedule(first=2, step=3, samples=5, last=8)
    assert schedule.stages() == ((2, 5), (5, 5), (8, 5))
    assert DepthSchedule(4, 2, 10, 4).stages() == ((4, 10),)


@pytest.mark.parametrize("field", ["first", "step", "samples", "last"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True, None])
def test_a_schedule_is_made_of_positive_ints(field, value):
    message = (
        f"{field} must be an int of at least 1. Received: {field}={value}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DepthSchedule(**{field: value})


@pytest.mark.parametrize(
    ("first", "step", "last"), [(6, 2, 4), (6, 2, 9), (6, 5, 20)]
)
def test_a_schedule_ends_after_whole_steps(first, step, last):
    message = (
        "last must be first and whole steps more. Received: "
        f"first={first}, step={step}, last={last}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DepthSchedule(first, step, last=last)


# The controller.


@_EAGERLY
@pytest.mark.parametrize(
    ("small", "large"),
    [
        (nas_conv_space(3), nas_conv_space(5)),
        (enas_macro_space(2), enas_macro_space(5)),
        # Here the options of a choice grow, too.
        (enas_recurrent_space(4), enas_recurrent_space(7)),
    ],
)
def test_a_grown_controller_proposes_what_the_smaller_did(small, large):
    old, new = _trained(small), _controller(large, seed=5)
    noise = np.random.default_rng(1).random((16, len(large.choices)))
    num_common = len(small.choices)
    wanted = proposed(old, noise[:, :num_common])
    fresh = proposed(new, noise).log_prob[:, :num_common]
    assert np.abs(fresh - wanted.log_prob).max() > 0.01
    new.restore(grown(old.state(), old, new))
    samples = proposed(new, noise)
    common = samples.tokens[:, :num_common]
    np.testing.assert_array_equal(common, wanted.tokens)
    for got, want in (
        (samples.log_prob, wanted.log_prob),
        (samples.entropy, wanted.entropy),
    ):
        np.testing.assert_allclose(got[:, :num_common], want, atol=1e-6)


@_EAGERLY
def test_what_is_new_is_that_of_a_new_controller():
    old = _trained(enas_macro_space(2))
    new = _controller(enas_macro_space(4), seed=5)
    first = {name: array.copy() for name, array in new.state().items()}
    state = grown(old.state(), old, new)
    for name, array in new.state().items():
        np.testing.assert_array_equal(array, first[name])  # Left as it is.
    assert sorted(state) == sorted(first)
    grew = set()
    for name, small in old.state().items():
        if state[name].shape == small.shape:
            np.testing.assert_array_equal(state[name], small)
            continue
        grew.add(name.split("_", 1)[1].removeprefix("policy_"))
        # Of three steps: two operations and one run of links.
        np.testing.assert_array_equal(state[name][:3], small)
        np.testing.assert_array_equal(state[name][3:], first[name][3:])
    assert {"heads", "biases", "embeddings"} < grew
    assert len(grew) == 9  # And Adam's two of each.


@_EAGERLY
def test_a_grown_controller_goes_on_learning_where_it_was():
    old = _trained(enas_macro_space(2))
    new = _controller(enas_macro_space(4))
    state = grown(old.state(), old, new)
    (name,) = (name for name in state if name.endswith("_iteration"))
    assert state[name] == 3
    new.restore(state)
    samples = proposed(new, np.random.default_rng(0).random((4, 10)))
    figures = new.learn(samples, np.array([1.0, -1.0, 0.5, -0.5]))
    assert figures["gradient_norm"] > 0
    assert new.state()[name] == 4


@_EAGERLY
def test_a_grown_controller_has_no_baseline_yet():
    old = _trained(enas_macro_space(2))
    proposals = old.propose(2, np.random.default_rng(0))
    old.feedback(proposals, evaluations_of([1.0, 2.0]))
    new = _controller(enas_macro_space(4))
    state = grown(old.state(), old, new)
    assert old.state()["baseline"].tolist() == [1.5, 0.25, 1, 1]
    assert state["baseline"].tolist() == [0, 0, np.inf, 0]


def test_a_grown_population_has_the_first_option_of_further_choices():
    old, new = (
        EvolutionController(enas_macro_space(n), population_size=3)
        for n in (2, 3)
    )
    proposals = old.propose(2, np.random.default_rng(0))
    old.feedback(proposals, evaluations_of([1.0, None]))
    new.restore(grown(old.state(), old, new))
    state = new.state()
    np.testing.assert_array_equal(state["tokens"][:2, :3], proposals.tokens)
    assert not state["tokens"][:, 3:].any()
    assert state["rewards"].tolist() == [1.0, -np.inf, -np.inf]
    assert state["num_evaluated"] == 2


@_EAGERLY
def test_growing_by_nothing_is_the_same_state():
    old = _trained(enas_macro_space(3))
    state = grown(old.state(), old, _controller(enas_macro_space(3), seed=9))
    for name, array in old.state().items():
        np.testing.assert_array_equal(state[name], array)


def test_a_grown_state_is_a_copy():
    old, new = (_controller(enas_macro_space(n)) for n in (2, 3))
    state = old.state()
    larger = grown(state, old, new)
    for array in larger.values():
        array[...] = 7
    assert not any((array == 7).any() for array in state.values())


def test_controllers_without_a_state_grow():
    old, new = (RandomController(nas_conv_space(n)) for n in (2, 4))
    assert grown({}, old, new) == {}


@pytest.mark.parametrize(
    "large",
    [
        enas_macro_space(2),
        nas_conv_space(4),
        # Its further choice would be made at a step that the smaller has.
        Space(
            [
                *enas_macro_space(3).choices,
                Choice("layer_2_reads_itself", (0, 1), link=2),
            ]
        ),
    ],
)
def test_the_larger_space_must_begin_with_the_smaller(large):
    old, new = RandomController(enas_macro_space(3)), RandomController(large)
    message = (
        "The larger space must begin with the choices of the smaller, "
        f"enas_macro(layers=3, filters=36). Received: {large.name}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        grown({}, old, new)


def test_the_larger_controller_must_be_of_the_same_network():
    old = _controller(enas_macro_space(2), units=6)
    for arguments, message in (
        ({"units": 4}, "must be at least (1, 6). Received: (1, 4)."),
        ({"num_layers": 2}, "must have the arrays of the smaller. It lacks ["),
    ):
        new = _controller(enas_macro_space(3), **arguments)
        with pytest.raises(ValueError, match=re.escape(message)):
            grown(old.state(), old, new)
    with pytest.raises(ValueError, match=r"must have the arrays of the small"):
        grown({}, old, _controller(enas_macro_space(3)))
