"""Tests of rewards by shared weights, and of their scorer, by a plain loop."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest

from nas_keras.controllers import RandomController
from nas_keras.evaluators.trial import Evaluation
from nas_keras.tasks import LanguageModelTask
from tests.raising import raises
from tests.shared_weights_testing import ALL
from tests.shared_weights_testing import DAG
from tests.shared_weights_testing import TREE
from tests.shared_weights_testing import oracle_of
from tests.shared_weights_testing import random_tokens
from tests.shared_weights_testing import sentences
from tests.shared_weights_testing import sharing
from tests.shared_weights_testing import small_task
from tests.shared_weights_testing import spoil
from tests.shared_weights_testing import weights_of
from tests.shared_weights_testing import window_of


def _num_validation_windows(task):
    length = len(task.corpus.validation) // task.config.batch_size
    return (length - 1) // task.config.num_steps


def _want_loss(space, task, tokens, weights, first, num):
    window, states = oracle_of(space, task, tokens, weights)
    losses = []
    for number in range(first, first + num):
        loss, _, states = window(window_of(task, "validation", number), states)
        losses.append(loss)
    return np.mean(losses)


@pytest.mark.parametrize(
    ("space", "num"),
    [(TREE, 0), (TREE, 1), (TREE, 2), (DAG, 2), (ALL, 0)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_reward_is_of_the_next_windows_of_the_validation_text(space, num):
    task = small_task()
    num_windows = _num_validation_windows(task)
    assert num_windows > 4
    shared = sharing(space, task, windows_per_reward=num, num_phases=1, c=3.0)
    controller = RandomController(space)
    rows = random_tokens(space, 3)
    # The last step of these begins anew at the head of the text.
    for step in range(num_windows // num + 1 if num else 2):
        shared.prepare(step, controller)
        for tokens, got in zip(rows, shared.evaluate(rows, 0), strict=True):
            want = _want_loss(
                space, task, tokens, weights_of(shared),
                step * (num or num_windows), num or num_windows,
            )  # fmt: skip
            loss_nats = got.metrics["validation_loss_nats"]
            assert loss_nats == pytest.approx(want, abs=1e-5)
            assert got.reward == pytest.approx(3.0 * math.exp(-loss_nats))
            assert got.elapsed_s > 0


@pytest.mark.parametrize("space", [TREE, DAG], ids=["tree", "dag"])
def test_the_scorer_is_of_the_whole_validation_text(space):
    task = small_task()
    shared = sharing(space, task)
    scorer = shared.scorer()
    rows = random_tokens(space, 2)
    shared.train(rows)
    shared.prepare(3, RandomController(space))  # No phase: windows move on.
    num = _num_validation_windows(task)
    for tokens, got in zip(rows, scorer.evaluate(rows, 0), strict=True):
        want = _want_loss(space, task, tokens, weights_of(shared), 0, num)
        loss_nats = got.metrics["validation_loss_nats"]
        assert loss_nats == pytest.approx(want, abs=1e-5)
    json.dumps(scorer.config())
    assert scorer.config() != shared.config()
    assert scorer.is_repeatable and not shared.is_repeatable


def test_the_scored_text_is_that_of_the_config():
    task = small_task(max_validation_tokens=2 * 4 * 6 + 4)
    shared = sharing(task=task, windows_per_reward=0)
    (tokens,) = random_tokens(TREE, 1)
    # Its own streams: of fewer tokens each other ones are side by side.
    text = task.corpus.validation[:52].reshape(4, 13)
    window, states = oracle_of(TREE, task, tokens, weights_of(shared))
    first, _, states = window(text[:, :7], states)
    second, _, _ = window(text[:, 6:], states)
    (got,) = shared.evaluate(tokens[None], 0)
    want = (first + second) / 2
    assert got.metrics["validation_loss_nats"] == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("space", [TREE, DAG], ids=["tree", "dag"])
def test_a_score_depends_on_the_row_alone_and_changes_nothing(space):
    task = small_task(
        input_dropout=0.5, recurrent_dropout=0.5, embedding_dropout=0.2
    )
    shared = sharing(space, task)
    rows = random_tokens(space, 5)
    shared.train(rows)
    before = shared._weights.state()
    found = [
        shared.evaluate(rows, seed=0),
        shared.evaluate(rows, seed=9),
        shared.evaluate(rows[::-1], seed=0)[::-1],
        [shared.evaluate(row[None], seed=0)[0] for row in rows],
    ]
    shared.scorer().evaluate(rows, seed=0)
    for evaluations in found[1:]:
        for got, want in zip(evaluations, found[0], strict=True):
            assert (got.reward, got.metrics) == (want.reward, want.metrics)
    for name, array in shared._weights.state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("reward", "c", "want"),
    [
        ("c/ppl", 80.0, lambda loss: 80 * math.exp(-loss)),
        ("c/ppl^2", 2.0, lambda loss: 2 * math.exp(-2 * loss)),
        ("-loss", 80.0, lambda loss: -loss),
    ],
)
def test_rewards_are_of_the_validation_loss(reward, c, want):
    shared = sharing(reward=reward, c=c)
    (got,) = shared.evaluate(random_tokens(TREE, 1), 0)
    loss_nats = got.metrics["validation_loss_nats"]
    assert got.reward == pytest.approx(want(loss_nats))
    assert got.metrics["validation_perplexity"] == pytest.approx(
        math.exp(loss_nats)
    )
    assert got.metrics["validation_bits_per_char"] == pytest.approx(
        loss_nats / math.log(2)
    )


def test_an_architecture_that_diverged_is_infeasible():
    shared = sharing()
    rows = random_tokens(TREE, 1)
    for value in (math.nan, math.inf, 1e4):
        spoil(shared, value)
        for evaluator in (shared, shared.scorer()):
            (got,) = evaluator.evaluate(rows, 0)
            assert got.reward is None, value
            assert re.match(
                "FloatingPointError: diverged: the validation loss is "
                "(nan|1e|9)",
                got.infeasible,
            )
    spoil(shared, 0.0)
    assert shared.evaluate(rows, 0)[0].reward is not None


def test_a_validation_text_without_a_window_is_refused():
    config, corpus = small_task().config, sentences()
    short = dataclasses.replace(corpus, validation=corpus.validation[:27])
    with raises("The validation part of the text 'sentences' has 27 tokens"):
        LanguageModelTask(config, short)
    with raises("validation must be non-empty"):
        dataclasses.replace(corpus, validation=corpus.validation[:0])
    with raises("max_validation_tokens must be 0 or at least one batch"):
        small_task(max_validation_tokens=27)


def test_evaluations_are_evaluations():
    shared = sharing()
    rows = random_tokens(TREE, 2)
    assert all(isinstance(e, Evaluation) for e in shared.evaluate(rows, 0))
    with pytest.raises(ValueError, match="takes 10 tokens"):
        shared.evaluate(rows[:, 1:], 0)
