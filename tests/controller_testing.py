"""What tests of controllers share: a small space, weights that differ."""

import functools
import itertools
import types

import numpy as np
import pytest

from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import Proposals
from nas_keras.controllers import RandomController
from nas_keras.spaces import Choice
from nas_keras.spaces import Space

NUM_OPTIONS = (3, 2, 5)  # Differing: padding must never be sampled.
ALMOST_ONE = np.nextafter(np.float32(1), np.float32(0))
BOTH = pytest.mark.parametrize(
    "make", [PolicyGradientController, RandomController]
)

# Few calls: to compile a controller takes longer than they do.
EAGERLY = pytest.mark.usefixtures("eagerly")


def small_space(num_options=NUM_OPTIONS):
    return Space(
        [
            Choice(f"choice_{place}", tuple(range(num)))
            for place, num in enumerate(num_options)
        ]
    )


def noise_of(num, seed=0):
    return np.random.default_rng(seed).random((num, len(NUM_OPTIONS)))


class _Given:
    """A generator whose numbers are given."""

    def __init__(self, noise):
        self._noise = np.asarray(noise)

    def random(self, shape):
        assert shape == self._noise.shape
        return self._noise


def proposed(controller, noise):
    """Returns the proposals that given noise [B, A] stands for."""
    return controller.propose(len(noise), _Given(noise))


def evaluations_of(rewards):
    """Returns evaluations of rewards, None where infeasible."""
    return [
        types.SimpleNamespace(
            reward=reward, infeasible="diverged" if reward is None else None
        )
        for reward in rewards
    ]


def all_tokens():
    return np.array(list(itertools.product(*map(range, NUM_OPTIONS))))


def batch_of(tokens):
    zeros = np.zeros(np.shape(tokens), np.float32)
    return Proposals(np.array(tokens), zeros, zeros)


def trained(steps=6, **arguments):
    """Returns a controller that is no longer near to uniform."""
    arguments = {"learning_rate": 0.02, **arguments}
    controller = PolicyGradientController(small_space(), **arguments)
    for step in range(steps):
        samples = proposed(controller, noise_of(16, step))
        advantage = samples.tokens.sum(axis=1) - 3.5
        controller.learn(samples, advantage)
    return controller


@functools.cache
def kept():
    """Returns a trained controller that no test updates."""
    return trained()


def shapes_of(space):
    return [(len(c.options), c.anchors) for c in space.choices]


def randomized(space, seed=0, scale=0.8, **arguments):
    """Returns a controller with large random weights."""
    controller = PolicyGradientController(space, **arguments)
    rng = np.random.default_rng(seed)
    state = controller.state()
    for name in names_of_weights(state):
        values = rng.normal(size=state[name].shape) * scale
        state[name] = values.astype(np.float32)
    controller.restore(state)
    return controller


def names_of_weights(state):
    """Returns the names of the weights, which stand before Adam's."""
    names = list(state)
    return names[: next(k for k, n in enumerate(names) if "iteration" in n)]


def of_oracle(state):
    """Returns the weights as `policy_oracles.policy` takes them; float64."""
    weights, layers = {}, {"kernel": [], "recurrent_kernel": [], "bias": []}
    for name in names_of_weights(state):
        array = np.asarray(state[name], np.float64)
        role = name.split("_", 1)[1]
        if role in layers:
            layers[role].append(array)
        else:
            weights[role] = array
    return {**weights, "lstm": list(zip(*layers.values(), strict=True))}


def log_prob_and_entropy(tokens, distributions):
    log_prob = [
        [np.log(probs[token]) for token, probs in zip(*row, strict=True)]
        for row in zip(tokens, distributions, strict=True)
    ]
    entropy = [
        [-(probs * np.log(probs)).sum() for probs in row]
        for row in distributions
    ]
    return np.array(log_prob), np.array(entropy)
