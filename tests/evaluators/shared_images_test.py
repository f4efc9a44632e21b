"""Tests of image networks that share weights, and of image children."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from nas_keras.controllers import PolicyGradientController
from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.search import ChildTrainer
from nas_keras.search import SharedWeights
from nas_keras.search import search
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_recurrent_space
from nas_keras.spaces import nas_conv_space
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.task import ImageTask
from nas_keras.tasks.images.training import train_images
from tests.raising import raises
from tests.shared_images_testing import CLASSES
from tests.shared_images_testing import MACRO
from tests.shared_images_testing import SMALL_MACRO
from tests.shared_images_testing import SMALL_MICRO
from tests.shared_images_testing import macro_logits
from tests.shared_images_testing import random_tokens

_SMALL = pytest.mark.parametrize("space", [SMALL_MACRO, SMALL_MICRO], ids=str)


@functools.cache
def _images():
    """Returns images whose class is where they are bright."""
    rng = np.random.default_rng(0)

    def part(num):
        labels = np.arange(num) % CLASSES
        pixels = rng.integers(0, 100, (num, 8, 8, 1))
        for pixel, label in zip(pixels, labels, strict=True):
            pixel[2 * label : 2 * label + 3] += 120
        return Images(pixels.astype(np.uint8), labels)

    names = ("top", "middle", "bottom")
    return ImageSet("bright", names, part(60), part(24), part(12))


def _task(**changes):
    arguments = {
        "batch_size": 12, "num_epochs": 2, "padding": 1, "flip": False,
        "learning_rate": 0.05, "weight_decay": 0.05, **changes,
    }  # fmt: skip
    return ImageTask(ImageTraining(**arguments), _images())


def _shared(space, **changes):
    arguments = {"num_phases": 2, "steps_per_phase": 2, **changes}
    return SharedWeights(space, arguments.pop("task", _task()), **arguments)


@functools.cache
def _kept():
    """Returns shared weights whose program is traced once for several tests.

    Each begins with `_begin`.
    """
    return _shared(SMALL_MACRO, task=_task(num_epochs=12))


# Training networks that share weights, and scoring by them.


@_SMALL
def test_one_trace_serves_all_architectures_and_the_loss_falls(space):
    shared = _kept()
    if space is not SMALL_MACRO:
        shared = _shared(space, task=_task(num_epochs=12))
    shared._begin()
    assert shared.num_updates == 60
    first = shared.train(random_tokens(space, 5))
    shared.train(random_tokens(space, 45, 1), 5)
    last = shared.train(random_tokens(space, 10, 2), 50)
    assert last < first - 0.05
    assert shared.num_traces == 1
    evaluations = shared.evaluate(random_tokens(space, 6, 3), seed=0)
    for evaluation in evaluations:
        assert evaluation.infeasible is None
        assert evaluation.reward == evaluation.metrics["validation_accuracy"]
    assert shared._program._score.experimental_get_tracing_count() == 1


def test_a_reward_is_the_accuracy_on_the_batches_it_is_told():
    shared = _shared(MACRO, reward="accuracy^3", windows_per_reward=1)
    validation = _images().validation
    row = random_tokens(MACRO, 1)
    network = shared.model
    pixels = _images().train.pixels.astype(np.float64)
    normalized = (validation.pixels - pixels.mean()) / pixels.std()
    right = []
    for batch in shared._program._order.reshape(2, 12):
        logits = macro_logits(network, normalized[batch], row[0])
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
    task = ImageTask(_task(batch_size=10).training, images)
    validation = _shared(SMALL_MACRO, task=task)._program
    assert validation.num_batches == 3
    batches = [np.array(validation._batch(k)[1]) for k in range(3)]
    assert all(len(set(labels)) == CLASSES for labels in batches)
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
    row = random_tokens(SMALL_MACRO, 1)[0]
    images, labels, rate = shared._program.inputs(0)
    assert float(rate) == pytest.approx(0.05)
    _, gradients = tf.function(shared._program.loss_and_gradients)(
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
    space = SMALL_MACRO

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
            "The architecture can be data in spaces made by enas_macro_space "
            "and enas_micro_space. Received: space='nas_conv(layers=3)'.",
        ),
        (
            enas_recurrent_space(2),
            {},
            "Received: space='enas_recurrent(nodes=2)'.",
        ),
        (
            MACRO,
            {"task": _task(drop_path=0.2)},
            "drop_path must be 0.0 where weights are shared. Received: "
            "drop_path=0.2.",
        ),
        (
            MACRO,
            {"task": _task(precision="mixed_bfloat16")},
            "precision must be 'float32' where weights are shared. Received: "
            "precision='mixed_bfloat16'.",
        ),
        (
            MACRO,
            {"reward": "c/ppl"},
            "reward must be one of ['accuracy^3', 'accuracy', 'metric']. "
            "Received: reward='c/ppl'.",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(space, changes, message):
    with raises(message):
        _shared(space, **changes)


def test_a_task_needs_images_to_validate_on():
    images = _images()
    empty = Images(images.train.pixels[:0], images.train.labels[:0])
    images = dataclasses.replace(images, validation=empty)
    with raises(
        "images must have a validation part, by which networks are compared. "
        "Received: none in 'bright'."
    ):
        ImageTask(_task().training, images)


def test_weights_that_explode_are_infeasible_not_a_crash():
    shared = _kept()
    shared._begin()
    shared.model.trainable_variables[0].assign(
        np.full(shared.model.trainable_variables[0].shape, np.nan)
    )
    (evaluation,) = shared.evaluate(random_tokens(SMALL_MACRO, 1), seed=0)
    assert evaluation.reward is None
    assert evaluation.infeasible.startswith("FloatingPointError: diverged")
    assert math.isnan(
        shared._weights.update(random_tokens(SMALL_MACRO, 1)[0], 0)
    )


# Children of their own.


def test_a_child_is_the_same_network_trained_with_a_workdir(tmp_path):
    task = _task(num_epochs=2, batch_size=20)
    space = enas_macro_space(2, filters=4)
    (row,) = random_tokens(space, 1)
    (child,) = ChildTrainer(space, task).evaluate(row[None], seed=3)
    config = ImageConfig("test", training=task.training, seed=3)
    epochs = list(
        train_images(
            config, task.data, tmp_path / "run", network=space.decode(row)
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
