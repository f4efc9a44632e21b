"""Tests of networks that hold every image network of a space, against NumPy."""

import re

import numpy as np
import pytest
import tensorflow as tf

from nas_keras.spaces import enas_macro_space
from nas_keras.supernets.macro import MacroNetwork
from nas_keras.supernets.micro import MicroNetwork
from tests.shared_images_testing import CLASSES
from tests.shared_images_testing import MACRO
from tests.shared_images_testing import MICRO
from tests.shared_images_testing import SMALL_MICRO
from tests.shared_images_testing import macro_logits
from tests.shared_images_testing import micro_logits
from tests.shared_images_testing import random_tokens

_SPACES = pytest.mark.parametrize("space", [MACRO, MICRO], ids=str)


def _network(space):
    """Returns a network with random weights and its NumPy version."""
    if space is MACRO:
        network, oracle = MacroNetwork(space.structure, CLASSES), macro_logits
    else:
        network, oracle = MicroNetwork(space.structure, CLASSES), micro_logits
    network.build((None, 8, 8, 1))
    rng = np.random.default_rng(1)
    for weight in network.trainable_variables:
        weight.assign(rng.normal(0.3, 0.7, weight.shape))
    return network, oracle


@_SPACES
def test_a_network_equals_numpy_whatever_the_tokens(space):
    network, oracle = _network(space)
    images = np.random.default_rng(2).normal(size=(5, 8, 8, 1))
    rows = [  # Each choice takes each of its options.
        [(k + place) % num for place, num in enumerate(space.num_options)]
        for k in range(max(space.num_options))
    ]
    inputs = tf.constant(images, tf.float32)
    for row in rows:
        want = oracle(network, images, row)
        got = network(inputs, tokens=tf.constant(row))
        np.testing.assert_allclose(got, want, 2e-4, 2e-4 * np.abs(want).max())
        # As one architecture alone, nothing is chosen any more.
        alone = network(inputs, tokens=tuple(row))
        np.testing.assert_allclose(alone, got, 1e-5, 1e-5)


def test_only_what_an_architecture_uses_has_gradients():
    network, _ = _network(MACRO)
    row = random_tokens(MACRO, 1)[0]
    images = tf.random.stateless_normal((4, 8, 8, 1), (0, 1))
    with tf.GradientTape() as tape:
        logits = network(images, tokens=tf.constant(row))
        loss = tf.reduce_sum(logits**2)
    gradients = tape.gradient(loss, network.trainable_variables)
    used = {
        weight.name
        for weight, gradient in zip(
            network.trainable_variables, gradients, strict=True
        )
        if gradient is not None  # What is not chosen is not run.
    }
    assert {"stem_kernel", "head_kernel"} <= used
    for layer, place in enumerate((0, 1, 3, 6)):
        its = {
            int(name.split("_")[2])
            for name in used
            if re.match(rf"layer_{layer}_\d_", name)
        }
        assert its == {row[place]}


@pytest.mark.parametrize(
    ("make", "space"),
    [
        (MacroNetwork, enas_macro_space(3, filters=4)),
        (MicroNetwork, SMALL_MICRO),
    ],
    ids=["macro", "micro"],
)
def test_gradients_are_those_of_the_architecture_alone(make, space):
    # What is chosen from has a gradient that is written out.
    network = make(space.structure, CLASSES)
    network.build((None, 8, 8, 1))
    images = tf.random.stateless_normal((4, 8, 8, 1), (0, 1))
    variables = [weight.value for weight in network.trainable_variables]

    def gradients(tokens):
        with tf.GradientTape() as tape:
            logits = network(images, tokens=tokens)
            loss = tf.reduce_sum((logits - 0.3) ** 2)
        found = tape.gradient(loss, variables, unconnected_gradients="zero")
        return [tf.convert_to_tensor(gradient) for gradient in found]

    compiled = tf.function(gradients)
    for row in random_tokens(space, 4):
        got = compiled(tf.constant(row))
        want = gradients(tuple(row.tolist()))
        scale = max(np.abs(gradient).max() for gradient in want)
        for gradient, wanted in zip(got, want, strict=True):
            np.testing.assert_allclose(gradient, wanted, 0, 1e-5 * scale)


@_SPACES
def test_dropout_is_of_what_the_logits_are_of(space):
    make = {MACRO: MacroNetwork, MICRO: MicroNetwork}[space]
    network = make(space.structure, CLASSES, dropout=0.5)
    images = tf.random.stateless_normal((4, 8, 8, 1), (0, 1))
    row = tf.constant(random_tokens(space, 1)[0])
    plain = network(images, tokens=row)
    np.testing.assert_array_equal(network(images, tokens=row), plain)
    dropped = network(images, tokens=row, training=True)
    assert np.abs(dropped - plain).max() > 1e-3
