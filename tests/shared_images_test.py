"""Tests of image networks that share weights, and of image children.

The networks are held against NumPy, which knows of them the names of their
weights and what the paper says.
"""

import dataclasses
import functools
import math
import re

import numpy as np
import pytest
import tensorflow as tf

import convnet_oracles as oracles
from nas_keras.controllers import PolicyGradientController
from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.search import ChildTrainer
from nas_keras.search import SharedWeights
from nas_keras.search import search
from nas_keras.search.macro_network import MacroNetwork
from nas_keras.search.micro_network import MicroNetwork
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_micro_space
from nas_keras.spaces import enas_recurrent_space
from nas_keras.spaces import nas_conv_space
from nas_keras.tasks.image_classification import train_images
from nas_keras.tasks.image_config import ImageConfig
from nas_keras.tasks.image_task import ImageTask

_MACRO = enas_macro_space(4, filters=4)
_MICRO = enas_micro_space(2, cells=3, filters=2)
# Of few branches: to trace the training of one takes a second.
_SMALL_MACRO = enas_macro_space(2, filters=4)
_SMALL_MICRO = enas_micro_space(1, cells=1, filters=4)
_SPACES = pytest.mark.parametrize("space", [_MACRO, _MICRO], ids=str)
_SMALL = pytest.mark.parametrize("space", [_SMALL_MACRO, _SMALL_MICRO], ids=str)
_CLASSES = 3


@functools.cache
def _images():
    """Returns images whose class is where they are bright."""
    rng = np.random.default_rng(0)

    def part(num):
        labels = np.arange(num) % _CLASSES
        pixels = rng.integers(0, 100, (num, 8, 8, 1))
        for pixel, label in zip(pixels, labels, strict=True):
            pixel[2 * label : 2 * label + 3] += 120
        return Images(pixels.astype(np.uint8), labels)

    names = ("top", "middle", "bottom")
    return ImageSet("bright", names, part(60), part(24), part(12))


def _task(**changes):
    arguments = {
        "batch_size": 12, "num_epochs": 2, "padding": 1, "flip": False,
        "learning_rate": 0.05, "weight_decay": 0.05, "num_threads": 1,
        **changes,
    }  # fmt: skip
    return ImageTask(ImageConfig("test", **arguments), _images())


def _shared(space, **changes):
    arguments = {"num_phases": 2, "steps_per_phase": 2, **changes}
    return SharedWeights(space, arguments.pop("task", _task()), **arguments)


@functools.cache
def _kept():
    """Returns shared weights whose program is traced once for several tests.

    Each begins with `_begin`.
    """
    return _shared(_SMALL_MACRO, task=_task(num_epochs=12))


def _tokens(space, num, seed=0):
    rng = np.random.default_rng(seed)
    shape = (num, len(space.choices))
    return rng.integers(space.num_options, size=shape).astype(np.int32)


def _raises(message):
    return pytest.raises(ValueError, match=re.escape(message))


# The networks.


class _Net:
    """The steps of both networks, by the weights' names."""

    def __init__(self, network):
        self.weights = {
            weight.name: np.array(weight, np.float64)
            for weight in network.trainable_variables
        }

    def norm(self, x, name, row=...):
        mean = x.mean(axis=(0, 1, 2))
        variance = x.var(axis=(0, 1, 2))
        scale = self.weights[f"{name}_scale"][row]
        offset = self.weights[f"{name}_offset"][row]
        return scale * (x - mean) / np.sqrt(variance + 1e-5) + offset

    def conv(self, x, name):
        return self.norm(oracles.conv(x, self.weights[f"{name}_kernel"]), name)

    def separable(self, x, name, row=...):
        depthwise = self.weights[f"{name}_depthwise_kernel"][row]
        x = oracles.depthwise(x, depthwise)
        pointwise = self.weights[f"{name}_pointwise_kernel"][row]
        return self.norm(oracles.conv(x, pointwise), name, row)

    def halved(self, x, name):
        even = x[:, ::2, ::2] @ self.weights[f"{name}_kernel"][0, 0]
        shifted = np.pad(x[:, 1:, 1:], [(0, 0), (0, 1), (0, 1), (0, 0)])
        kernel = self.weights[f"{name}_shifted_kernel"][0, 0]
        odd = shifted[:, ::2, ::2] @ kernel
        return self.norm(np.concatenate([even, odd], -1), name)

    def logits(self, x):
        return x.mean(axis=(1, 2)) @ self.weights["head_kernel"]


def _macro(network, images, tokens):
    net, tokens = _Net(network), list(tokens)
    x, outputs = net.conv(images, "stem"), []
    for layer in range(4):
        if layer in (1, 2):
            outputs = [
                net.halved(output, f"layer_{layer}_reduction_{k}")
                for k, output in enumerate(outputs)
            ]
            x = outputs[-1]
        operation = tokens.pop(0)
        name = f"layer_{layer}_{operation}"
        x = oracles.relu(net.conv(x, f"{name}_1x1"))
        if operation in (0, 2):
            x = oracles.relu(net.conv(x, name))
        elif operation in (1, 3):
            x = oracles.relu(net.separable(x, name))
        else:
            pool = (oracles.average_pool, oracles.max_pool)[operation - 4]
            x = pool(x, (3, 3), (1, 1))
        if layer:
            for output in outputs:
                x = x + tokens.pop(0) * output
            x = net.norm(x, f"layer_{layer}_sum")
        outputs.append(x)
    return net.logits(x)


def _micro(network, images, tokens):
    net, filters = _Net(network), 2
    x = net.conv(images, "stem")
    before, last = x, x
    for cell in range(5):
        name, own = f"cell_{cell}", tokens[:8]
        is_reduced = cell in (1, 3)
        if is_reduced:
            filters, own = 2 * filters, tokens[8:]
            before, last = last, net.halved(last, f"{name}_reduction")
        fit_before = net.halved if is_reduced else net.conv
        nodes = [before, last]
        if is_reduced or before.shape[-1] != filters:
            nodes[0] = fit_before(oracles.relu(before), f"{name}_before")
        if last.shape[-1] != filters:
            nodes[1] = net.conv(oracles.relu(last), f"{name}_last")
        read = set()
        for node in (2, 3):
            a, b, first, second = own[4 * node - 8 : 4 * node - 4]
            read |= {a, b}
            nodes.append(
                _operation(net, nodes[a], f"{name}_{node}_x", a, first)
                + _operation(net, nodes[b], f"{name}_{node}_y", b, second)
            )
        total = 0
        for number, node in enumerate(nodes):
            if number not in read:
                kernel = net.weights[f"{name}_{number}_out_kernel"]
                total = total + oracles.conv(oracles.relu(node), kernel)
        before, last = last, net.norm(total, f"{name}_out")
    return net.logits(oracles.relu(last))


def _operation(net, x, name, read, operation):
    if operation == 2:
        return oracles.average_pool(x, (3, 3), (1, 1))
    if operation == 3:
        return oracles.max_pool(x, (3, 3), (1, 1))
    if operation == 4:
        return x
    for k in range(2):
        size = (3, 5)[operation]
        x = net.separable(oracles.relu(x), f"{name}_{size}_{k}", read)
    return x


def _network(space):
    """Returns a network with random weights and its NumPy version."""
    if space is _MACRO:
        network, oracle = MacroNetwork(space.structure, _CLASSES), _macro
    else:
        network, oracle = MicroNetwork(space.structure, _CLASSES), _micro
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
    network, _ = _network(_MACRO)
    row = _tokens(_MACRO, 1)[0]
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
        (MicroNetwork, _SMALL_MICRO),
    ],
    ids=["macro", "micro"],
)
def test_gradients_are_those_of_the_architecture_alone(make, space):
    # What is chosen from has a gradient that is written out.
    network = make(space.structure, _CLASSES)
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
    for row in _tokens(space, 4):
        got = compiled(tf.constant(row))
        want = gradients(tuple(row.tolist()))
        scale = max(np.abs(gradient).max() for gradient in want)
        for gradient, wanted in zip(got, want, strict=True):
            np.testing.assert_allclose(gradient, wanted, 0, 1e-5 * scale)


@_SPACES
def test_dropout_is_of_what_the_logits_are_of(space):
    make = {_MACRO: MacroNetwork, _MICRO: MicroNetwork}[space]
    network = make(space.structure, _CLASSES, dropout=0.5)
    images = tf.random.stateless_normal((4, 8, 8, 1), (0, 1))
    row = tf.constant(_tokens(space, 1)[0])
    plain = network(images, tokens=row)
    np.testing.assert_array_equal(network(images, tokens=row), plain)
    dropped = network(images, tokens=row, training=True)
    assert np.abs(dropped - plain).max() > 1e-3


# Training them, and scoring by them.


@_SMALL
def test_one_trace_serves_all_architectures_and_the_loss_falls(space):
    shared = _kept()
    if space is not _SMALL_MACRO:
        shared = _shared(space, task=_task(num_epochs=12))
    shared._begin()
    assert shared.num_updates == 60
    first = shared.train(_tokens(space, 5))
    shared.train(_tokens(space, 45, 1), 5)
    last = shared.train(_tokens(space, 10, 2), 50)
    assert last < first - 0.05
    assert shared.num_traces == 1
    evaluations = shared.evaluate(_tokens(space, 6, 3), seed=0)
    for evaluation in evaluations:
        assert evaluation.infeasible is None
        assert evaluation.reward == evaluation.metrics["validation_accuracy"]
    assert shared._validation._score.experimental_get_tracing_count() == 1


def test_a_reward_is_the_accuracy_on_the_batches_it_is_told():
    shared = _shared(_MACRO, reward="accuracy^3", windows_per_reward=1)
    validation = _images().validation
    row = _tokens(_MACRO, 1)
    network = shared.model
    pixels = _images().train.pixels.astype(np.float64)
    normalized = (validation.pixels - pixels.mean()) / pixels.std()
    right = []
    for batch in shared._validation._order.reshape(2, 12):
        logits = _macro(network, normalized[batch], row[0])
        right.append((logits.argmax(-1) == validation.labels[batch]).mean())
    (one,) = shared.evaluate(row, seed=0)
    assert one.metrics["validation_accuracy"] == pytest.approx(right[0])
    assert one.reward == pytest.approx(right[0] ** 3)
    (both,) = shared.scorer().evaluate(row, seed=0)
    whole = both.metrics["validation_accuracy"]
    assert whole == pytest.approx(np.mean(right))


def test_a_batch_of_a_reward_is_of_several_classes_whatever_their_order():
    images = _images()
    order = np.argsort(images.validation.labels, kind="stable")
    images = dataclasses.replace(
        images, validation=images.validation.take(order)
    )
    task = ImageTask(_task(batch_size=10).config, images)
    validation = _shared(_SMALL_MACRO, task=task)._validation
    assert validation.num_windows == 3
    batches = [np.array(validation._batch(k)[1]) for k in range(3)]
    assert all(len(set(labels)) == _CLASSES for labels in batches)
    # All images, and the last batch filled up with the first ones.
    assert sorted(np.concatenate(batches)[:24]) == sorted(
        images.validation.labels
    )
    np.testing.assert_array_equal(batches[2][4:], batches[0][:6])


def test_an_update_is_nesterovs_with_decay_of_the_kernels():
    shared = _kept()
    shared._begin()
    weights = shared._weights
    before = [np.array(v) for v in shared.model.trainable_variables]
    row = _tokens(_SMALL_MACRO, 1)[0]
    images, labels, rate = weights._inputs(0)
    assert float(rate) == pytest.approx(0.05)
    _, gradients = tf.function(weights._loss_and_gradients)(
        tf.constant(row), images, labels, rate
    )
    weights.update(row, 0)
    for variable, old, gradient in zip(
        shared.model.trainable_variables, before, gradients, strict=True
    ):
        if variable.name.endswith("kernel"):
            gradient = gradient + 0.05 * old
        # Of the first step the momentum is the gradient itself.
        want = old - 0.05 * (1 + 0.9) * gradient
        np.testing.assert_allclose(variable, want, 1e-4, 1e-5)


def test_a_search_goes_on_as_if_it_had_not_been_closed(tmp_path):
    space = _SMALL_MACRO

    def trials(workdir, num):
        controller = PolicyGradientController(space, units=4)
        shared = _shared(space, task=_task(dropout=0.3))
        found = list(
            search(controller, shared, num, workdir, batch_size=3, seed=2)
        )
        rewards = [trial.evaluation.reward for trial in found]
        return rewards, controller.state(), shared._weights.state()

    want = trials(tmp_path / "whole", 12)
    trials(tmp_path / "parted", 9)
    got = trials(tmp_path / "parted", 12)
    assert got[0] == want[0]
    for state, other in zip(got[1:], want[1:], strict=True):
        for name, array in state.items():
            np.testing.assert_array_equal(array, other[name])


@pytest.mark.parametrize(
    ("space", "changes", "message"),
    [
        (
            nas_conv_space(3),
            {},
            "Image networks share weights in spaces made by enas_macro_space "
            "and enas_micro_space. Received: space='nas_conv(layers=3)'.",
        ),
        (
            enas_recurrent_space(2),
            {},
            "Received: space='enas_recurrent(nodes=2)'.",
        ),
        (
            _MACRO,
            {"task": _task(drop_path=0.2)},
            "drop_path must be 0.0 where weights are shared. Received: "
            "drop_path=0.2.",
        ),
        (
            _MACRO,
            {"task": _task(precision="mixed_bfloat16")},
            "precision must be 'float32' where weights are shared. Received: "
            "precision='mixed_bfloat16'.",
        ),
        (
            _MACRO,
            {"reward": "c/ppl"},
            "reward must be one of ['accuracy', 'accuracy^3']. Received: "
            "reward='c/ppl'.",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(space, changes, message):
    with _raises(message):
        _shared(space, **changes)


def test_a_task_needs_images_to_validate_on():
    images = _images()
    empty = Images(images.train.pixels[:0], images.train.labels[:0])
    images = dataclasses.replace(images, validation=empty)
    with _raises(
        "images must have a validation part, by which networks are compared. "
        "Received: none in 'bright'."
    ):
        ImageTask(_task().config, images)


def test_weights_that_explode_are_infeasible_not_a_crash():
    shared = _kept()
    shared._begin()
    shared.model.trainable_variables[0].assign(
        np.full(shared.model.trainable_variables[0].shape, np.nan)
    )
    (evaluation,) = shared.evaluate(_tokens(_SMALL_MACRO, 1), seed=0)
    assert evaluation.reward is None
    assert evaluation.infeasible.startswith("FloatingPointError: diverged")
    assert math.isnan(shared._weights.update(_tokens(_SMALL_MACRO, 1)[0], 0))


# Children of their own.


def test_a_child_is_the_same_network_trained_with_a_workdir(tmp_path):
    task = _task(num_epochs=2, batch_size=20)
    space = enas_macro_space(2, filters=4)
    (row,) = _tokens(space, 1)
    (child,) = ChildTrainer(space, task).evaluate(row[None], seed=3)
    config = dataclasses.replace(task.config, seed=3)
    epochs = list(
        train_images(
            config, task.images, tmp_path / "run", network=space.decode(row)
        )
    )
    best = max(epoch.validation_accuracy for epoch in epochs)
    assert child.metrics["validation_accuracy"] == best
    assert child.metrics["train_loss_nats"] == epochs[-1].train_loss_nats
    assert child.reward == pytest.approx(best**3)


def test_a_child_whose_strides_are_too_long_is_infeasible():
    space = nas_conv_space(2, strides=(3, 5), kernels=(1, 3), filters=(4,))
    row = np.array([np.array(space.num_options) - 1])  # Strides of 5, twice.
    (child,) = ChildTrainer(space, _task()).evaluate(row, seed=0)
    assert child.reward is None
    assert "stride must be at most the height and width" in child.infeasible
