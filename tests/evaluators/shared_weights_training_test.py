"""Tests of the training of shared weights against a plain loop.

The optimizers are from their papers.
"""

import math

import numpy as np
import pytest

from nas_keras.controllers import RandomController
from nas_keras.search import SearchError
from nas_keras.search import search
from nas_keras.tasks.language_model.steps import LanguageModelSteps
from tests.raising import raises
from tests.shared_weights_testing import ALL
from tests.shared_weights_testing import DAG
from tests.shared_weights_testing import TREE
from tests.shared_weights_testing import oracle_of
from tests.shared_weights_testing import random_tokens
from tests.shared_weights_testing import sharing
from tests.shared_weights_testing import small_task
from tests.shared_weights_testing import spoil
from tests.shared_weights_testing import weights_of
from tests.shared_weights_testing import window_of

_SPACES = [TREE, DAG, ALL]
_NAMES = ["tree", "loose_ends", "all"]


def _trained(space, task, rows, weights, first=0):
    """Returns the losses of a plain loop, and the weights after it."""
    config = task.config
    weights = [w.astype(np.float64) for w in weights]
    moments = [[np.zeros_like(w), np.zeros_like(w)] for w in weights]
    losses = []
    for number, tokens in enumerate(rows, start=first):
        window, states = oracle_of(space, task, tokens, weights)
        loss, gradients, _ = window(window_of(task, "train", number), states)
        losses.append(loss)
        norm = math.sqrt(sum((g.astype(float) ** 2).sum() for g in gradients))
        factor = min(1.0, config.clip_norm / norm)
        step = number + 1
        for k, gradient in enumerate(gradients):
            gradient = gradient * factor
            if config.optimizer == "sgd":
                weights[k] -= config.learning_rate * gradient
                continue
            m, v = moments[k]
            m += 0.1 * (gradient - m)
            v += 0.001 * (gradient**2 - v)
            # Kingma & Ba, the form at the end of section 2, as Keras has it.
            rate = config.learning_rate * math.sqrt(1 - 0.999**step)
            weights[k] -= rate / (1 - 0.9**step) * m / (v**0.5 + 1e-7)
    return losses, weights


def _assert_near(got, want, tolerance=1e-4):
    for value, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(value, expected, atol=tolerance)


# Updates.


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("space", _SPACES, ids=_NAMES)
def test_training_is_that_of_a_plain_loop(space, optimizer):
    rate = {"sgd": 0.5, "adam": 0.02}[optimizer]
    task = small_task(optimizer=optimizer, learning_rate=rate)
    shared = sharing(space, task)
    rows = random_tokens(space, 6)
    begin = weights_of(shared)
    want_losses, want = _trained(space, task, rows, begin)
    mean = shared.train(rows)
    assert mean == pytest.approx(np.mean(want_losses), abs=1e-5)
    _assert_near(weights_of(shared), want)
    for before, after in zip(begin, weights_of(shared), strict=True):
        assert np.abs(before - after).max() > 1e-3


@pytest.mark.parametrize("space", [TREE, DAG], ids=["tree", "dag"])
def test_training_one_architecture_again_and_again(space):
    task = small_task(clip_norm=1e3)  # Nor is the gradient clipped.
    shared = sharing(space, task)
    rows = np.repeat(random_tokens(space, 1, seed=1), 5, axis=0)
    want_losses, want = _trained(space, task, rows, weights_of(shared))
    assert shared.train(rows) == pytest.approx(np.mean(want_losses), abs=1e-5)
    _assert_near(weights_of(shared), want)


def test_the_text_begins_anew_at_its_end_and_goes_on_where_told():
    task = small_task(num_updates=400)
    length = len(task.corpus.train) // 4
    num_windows = (length - 1) // 6
    shared = sharing(task=task)
    rows = random_tokens(TREE, 4)
    first = num_windows - 2
    _, want = _trained(TREE, task, rows, weights_of(shared), first)
    shared.train(rows, first)
    _assert_near(weights_of(shared), want)


@pytest.mark.parametrize("space", [TREE, DAG], ids=["tree", "dag"])
def test_one_trace_serves_all_architectures_and_xla_changes_nothing(
    space, monkeypatch
):
    traces, scoring = [], LanguageModelSteps._windows_program
    monkeypatch.setattr(
        LanguageModelSteps,
        "_windows_program",
        lambda self, *arguments: traces.append(1) or scoring(self, *arguments),
    )
    rows = random_tokens(space, 9)
    found = []
    for jit_compile in (False, True):
        traces.clear()
        shared = sharing(space, small_task(jit_compile=jit_compile))
        assert shared.num_traces == 0
        shared.train(rows)
        assert shared.num_traces == 1
        shared.train(rows[::-1], 9)
        assert shared.num_traces == 1
        rewards = [e.reward for e in shared.evaluate(rows, seed=0)]
        assert len(set(rewards)) == len({tuple(row) for row in rows})
        assert len(traces) == 1
        found.append([*weights_of(shared), rewards])
    _assert_near(*found)


@pytest.mark.parametrize("clip_norm", [0.01, 1e3])
def test_sgd_changes_the_matrices_of_the_architecture_alone(clip_norm):
    shared = sharing(DAG, small_task(clip_norm=clip_norm))
    (tokens,) = random_tokens(DAG, 1)
    *_, before = weights_of(shared)
    shared.train(tokens[None])
    *_, after = weights_of(shared)
    changed = np.flatnonzero((before != after).any(axis=(1, 2)))
    want = [
        (node * (node - 1) // 2 + tokens[2 * node - 2]) * 4
        + tokens[2 * node - 1]
        for node in (1, 2, 3)
    ]
    assert changed.tolist() == want


def test_adam_goes_on_with_matrices_that_were_used_before():
    """Keras' Adam is dense: its averages fade in all rows, and move them."""
    task = small_task(optimizer="adam", learning_rate=0.01)
    shared = sharing(DAG, task)
    first, second = (0, 0, 0, 0, 0, 0), (0, 1, 0, 1, 0, 1)  # No row in common.
    kernels = [weights_of(shared)[-1]]
    for number, tokens in enumerate((first, second)):
        shared.train(np.array([tokens]), number)
        kernels.append(weights_of(shared)[-1])
    changed = [
        np.flatnonzero((a != b).any(axis=(1, 2))).tolist()
        for a, b in zip(kernels, kernels[1:], strict=False)
    ]
    assert changed == [[0, 4, 12], [0, 1, 4, 5, 12, 13]]


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_the_schedule_goes_by_the_updates_of_all_phases(schedule):
    task = small_task(schedule=schedule, decay=2.0, num_updates=4)
    shared = sharing(task=task)
    rates = []
    for number in range(4):
        shared.train(random_tokens(TREE, 1), number)
        rates.append(float(shared._program.optimizer.learning_rate))
    if schedule == "cosine":
        want = [0.25 * (1 + math.cos(math.pi * k / 4)) for k in range(4)]
    else:
        want = [0.25] * 4  # Epoch 0, the first to be divided in.
    assert rates == pytest.approx(want)


# Updates that would spoil the weights.


@pytest.mark.parametrize("space", [TREE, DAG], ids=["tree", "dag"])
def test_an_update_of_a_loss_far_too_high_is_skipped(space):
    shared = sharing(space)
    (tokens,) = random_tokens(space, 1).astype(np.int32)
    assert math.isfinite(shared._weights.update(tokens, 0))
    for value in (1e3, math.nan, math.inf):
        spoil(shared, value)
        before = shared._weights.state()
        assert math.isnan(shared._weights.update(tokens, 1)), value
        after = shared._weights.state()
        assert list(before) == list(after)
        for name, array in before.items():
            np.testing.assert_array_equal(array, after[name])


@pytest.mark.parametrize(("factor", "is_skipped"), [(0.98, 0), (1.02, 1)])
def test_the_limit_is_twice_the_loss_of_a_uniform_guess(factor, is_skipped):
    task = small_task(init_scale=1e-6, learning_rate=1e-6)
    shared = sharing(task=task)
    (tokens,) = random_tokens(TREE, 1).astype(np.int32)
    # Of logits that are 0 but for one, by how often it is the target.
    targets = window_of(task, "train", 0)[:, 1:]
    size = task.corpus.vocabulary_size
    rare = next(k for k in range(size) if not (targets == k).any())
    loss_nats = 2 * math.log(size) * factor
    bias = np.zeros(size)
    bias[rare] = math.log(math.exp(loss_nats) - (size - 1))
    shared.model.softmax_bias.assign(bias)
    got = shared._weights.update(tokens, 0)
    assert math.isnan(got) == bool(is_skipped)
    if not is_skipped:
        assert got == pytest.approx(loss_nats, rel=1e-4)


def test_a_gradient_that_is_not_finite_is_skipped(monkeypatch):
    shared = sharing()
    weights, program = shared._weights, shared._program
    gradients = program.loss_and_gradients

    def infinite(*arguments):
        loss, values = gradients(*arguments)
        return loss, [values[0] * math.inf, *values[1:]]

    monkeypatch.setattr(program, "loss_and_gradients", infinite)
    before = weights_of(shared)
    (tokens,) = random_tokens(TREE, 1).astype(np.int32)
    assert math.isnan(weights.update(tokens, 0))
    _assert_near(weights_of(shared), before, 0)


@pytest.mark.parametrize(
    ("num_bad", "fails"), [(1, False), (2, False), (3, True)]
)
def test_a_phase_of_which_more_than_half_is_skipped_ends(
    num_bad, fails, monkeypatch
):
    shared = sharing()
    losses = iter([math.nan] * num_bad + [2.0, 4.0, 9.0][: 4 - num_bad])
    monkeypatch.setattr(
        shared._weights, "update", lambda tokens, number: next(losses)
    )
    rows = random_tokens(TREE, 4)
    if not fails:
        assert shared.train(rows) == pytest.approx({1: 5.0, 2: 3.0}[num_bad])
        return
    message = (
        "The shared weights do not train: 3 of 4 updates had a loss above "
        "twice that of a uniform guess, or no finite gradient. A lower "
        "learning rate or clip_norm may help."
    )
    with raises(message, SearchError):
        shared.train(rows)


def test_a_training_that_diverges_ends_the_search():
    task = small_task(learning_rate=1e4, clip_norm=1e4, num_updates=40)
    trials = search(RandomController(TREE), sharing(task=task), 4)
    with raises("The shared weights do not train: ", SearchError):
        next(trials)


@pytest.mark.parametrize("rows", [[[0] * 9], [[0] * 9 + [7]]])
def test_training_takes_architectures_of_the_space_alone(rows):
    shared = sharing()
    begin = weights_of(shared)
    with pytest.raises(ValueError, match="takes 10 tokens|must be an int in"):
        shared.train(np.array(rows))
    _assert_near(weights_of(shared), begin, 0)
