"""Tests of `ChildTrainer`: children, their rewards, and what fails in one."""

import math
import re

import numpy as np
import pytest
import tensorflow as tf

from nas_keras.cells.language.spec import CellSpec
from nas_keras.data.text import build_corpus
from nas_keras.search import ChildTrainer
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import tree_space
from nas_keras.supernets.trees import TreeRNN
from nas_keras.tasks import LanguageModel
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import LanguageModelTask
from nas_keras.tasks import LanguageModelTrainer
from tests.layer_testing import random_tokens


def _corpus(level="char"):
    sentence = "the cell reads one word, then the next, and forgets a third. "
    words = (sentence[k % 7 :] for k in range(40))
    return build_corpus("\n".join(words), level, name="sentences")


def _config(**changes):
    arguments = {
        "units": 5,
        "batch_size": 3,
        "num_steps": 6,
        "num_updates": 4,
        "init_scale": 0.4,
        "learning_rate": 0.02,
        "jit_compile": False,  # Compiling would take longer than running.
        **changes,
    }
    return LanguageModelConfig(**arguments)


def _task(**changes):
    return LanguageModelTask(_config(**changes), _corpus())


def test_a_child_is_the_same_spec_trained_as_a_nas_rnn():
    # Not by XLA, and in two layers: see the test with dropout.
    task, seed = _task(jit_compile=True, clip_norm=0.5), 5
    space = tree_space(3)
    tokens = random_tokens(space, seed)
    children = ChildTrainer(space, task, reward="-loss")
    (child,) = children.evaluate(np.array([tokens]), seed)
    trainer = LanguageModelTrainer(task, task.model(space.decode(tokens)))
    want = trainer.train(seed)
    assert child.metrics.keys() == want.keys()
    for name, value in want.items():
        assert child.metrics[name] == pytest.approx(value, abs=1e-4), name
    loss_nats = want["validation_loss_nats"]
    assert child.reward == pytest.approx(-loss_nats, abs=1e-4)


@pytest.fixture(scope="module")
def children():
    return ChildTrainer(tree_space(2), _task(), "c/ppl^2", c=80.0)


@pytest.fixture
def of_each(children):
    """Five children, no two alike."""
    space = children.space
    return np.array([random_tokens(space, seed) for seed in range(5)])


def test_the_training_step_is_traced_once_for_all_children(children, of_each):
    evaluations = children.evaluate(of_each, seed=0)
    assert len({e.reward for e in evaluations}) == 5
    assert children.num_traces == 1
    children.evaluate(of_each[:1], seed=1)
    assert children.num_traces == 1


def test_an_evaluation_depends_on_tokens_and_seed_alone(children, of_each):
    first = children.evaluate(of_each, seed=3)
    again = children.evaluate(of_each[::-1], seed=3)[::-1]
    assert [e.reward for e in first] == [e.reward for e in again]
    assert [e.metrics for e in first] == [e.metrics for e in again]
    other = children.evaluate(of_each, seed=4)
    assert all(a.reward != b.reward for a, b in zip(first, other, strict=True))


def test_the_metrics_belong_together(children, of_each):
    (evaluation,) = children.evaluate(of_each[:1], seed=0)
    metrics = evaluation.metrics
    loss_nats = metrics["validation_loss_nats"]
    perplexity = metrics["validation_perplexity"]
    assert perplexity == pytest.approx(math.exp(loss_nats))
    bits = metrics["validation_bits_per_char"]
    assert bits == pytest.approx(math.log2(perplexity))
    assert evaluation.reward == pytest.approx(80 / perplexity**2)
    assert evaluation.elapsed_s > 0


@pytest.mark.parametrize(
    ("reward", "c", "want"),
    [
        ("c/ppl^2", 80.0, lambda ppl: 80 / ppl**2),
        ("c/ppl", 1.5, lambda ppl: 1.5 / ppl),
        ("-loss", 80.0, lambda ppl: -math.log(ppl)),
    ],
)
def test_rewards_are_of_the_validation_perplexity(
    reward, c, want, children, of_each, monkeypatch
):
    loss_nats = math.log(120.0)
    monkeypatch.setattr(
        children._program._trainer,
        "train",
        lambda seed: {"validation_loss_nats": loss_nats},
    )
    monkeypatch.setattr(children, "reward", reward)
    monkeypatch.setattr(children, "c", c)
    (evaluation,) = children.evaluate(of_each[:1], seed=0)
    assert evaluation.reward == pytest.approx(want(120.0))


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1e38, "optimizer": "sgd", "clip_norm": 1e30},
        {"init_scale": 1e25},
    ],
)
def test_a_diverging_child_is_infeasible(changes):
    space = tree_space(2)
    children = ChildTrainer(space, _task(**changes))
    relu = (0, 3, 1, 3, 1, 3, 1, 3, 1, 0)
    (evaluation,) = children.evaluate(np.array([relu]), seed=0)
    assert evaluation.reward is None
    assert "diverged: the " in evaluation.infeasible


def test_a_child_after_a_diverged_one_is_as_if_alone():
    # Sums grow without bound from step to step, sigmoids do not.
    space = tree_space(2)
    task = _task(init_scale=3.0, learning_rate=1.0, num_updates=12)
    wild, tame = (0, 0, 0, 0, 0, 0, 0, 0, 0, 1), (0, 2, 0, 2, 0, 2, 0, 2, 0, 0)
    children = ChildTrainer(space, task)
    alone = children.evaluate(np.array([tame]), seed=0)[0]
    failed, after = children.evaluate(np.array([wild, tame]), seed=0)
    assert "diverged" in failed.infeasible
    assert after.metrics == alone.metrics
    assert alone.reward is not None


def _exhausted():
    return tf.errors.ResourceExhaustedError(None, None, "out of memory")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (_exhausted(), "ResourceExhaustedError: out of memory"),
        (MemoryError("no room"), "MemoryError: no room"),
        (RuntimeError("a bug"), "RuntimeError: a bug"),
    ],
)
def test_what_goes_wrong_in_a_child_is_a_reason(
    error, reason, children, of_each, monkeypatch
):
    def train(seed):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(children._program._trainer, "train", train)
        evaluations = children.evaluate(of_each[:2], seed=0)
    assert [e.infeasible for e in evaluations] == [reason] * 2
    assert children.evaluate(of_each[:1], seed=0)[0].reward is not None


def test_a_keyboard_interrupt_is_not_a_reason(children, of_each, monkeypatch):
    def train(seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(children._program._trainer, "train", train)
    with pytest.raises(KeyboardInterrupt):
        children.evaluate(of_each, seed=0)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([[0] * 9], "takes 10 tokens"), ([[9] * 10], "must be an int in")],
)
def test_tokens_of_another_space_are_an_error(tokens, message, children):
    with pytest.raises(ValueError, match=message):
        children.evaluate(np.array(tokens), seed=0)


@pytest.mark.parametrize(
    ("changes", "training", "of_table"),
    [
        ({}, True, True),
        ({"num_steps": 2}, True, False),  # Fewer tokens than the vocabulary.
        ({"input_dropout": 0.5}, True, False),
        ({"input_dropout": 0.5}, False, True),
        ({"embedding_dropout": 0.5}, True, False),
        ({"num_layers": 2, "tied": True}, True, True),
    ],
)
def test_the_model_gives_a_tree_its_embedding_as_a_table(
    changes, training, of_table, monkeypatch
):
    task = _task(**{"num_steps": 12, **changes})
    tree = tree_space(2).structure
    size = task.corpus.vocabulary_size
    model = LanguageModel(task.config, size, lambda units: TreeRNN(units, tree))
    model.build()
    rng = np.random.default_rng(0)
    tokens = rng.integers(
        model.vocabulary_size, size=(3, task.config.num_steps)
    )
    ranks = []
    call = TreeRNN.call

    def spy(self, sequence, *args, **kwargs):
        ranks.append(len(sequence.shape))
        return call(self, sequence, *args, **kwargs)

    monkeypatch.setattr(TreeRNN, "call", spy)
    states = model.initial_states(3)
    got = model(tf.constant(tokens), states, training=training).logits
    num_layers = task.config.num_layers
    assert ranks == [2 if of_table else 3, 3][:num_layers]
    if of_table:
        monkeypatch.setattr(TreeRNN, "takes_indices", False)
        want = model(tf.constant(tokens), states, training=training).logits
        # Logits of 4 have a last bit of 5e-7, and products another order.
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6)


def test_the_dropout_of_the_config_reaches_the_children(children, of_each):
    dropped = ChildTrainer(children.space, _task(recurrent_dropout=0.5))
    (want,), (got,), (again,) = (
        trainer.evaluate(of_each[:1], seed=0)
        for trainer in (children, dropped, dropped)
    )
    assert got.metrics["train_loss_nats"] != want.metrics["train_loss_nats"]
    assert again.metrics == got.metrics


def test_with_dropout_a_child_is_the_same_spec_trained_as_a_nas_rnn():
    task = _task(
        recurrent_dropout=0.5,
        input_dropout=0.2,
        layer_dropout=0.2,
        num_layers=2,
    )
    space = tree_space(3)
    tokens = random_tokens(space, 1)
    (child,) = ChildTrainer(space, task).evaluate(np.array([tokens]), 7)
    trainer = LanguageModelTrainer(task, task.model(space.decode(tokens)))
    for name, value in trainer.train(7).items():
        assert child.metrics[name] == pytest.approx(value, abs=1e-4), name


def test_a_space_without_a_tree_is_refused():
    space = Space([Choice("width", (1, 2))], name="widths")
    message = "Received: space='widths'. For others use FunctionEvaluator"
    with pytest.raises(ValueError, match=re.escape(message)):
        ChildTrainer(space, _task())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward": "ppl"}, "reward must be one of ['c/ppl^2', 'c/ppl', "),
        ({"c": 0.0}, "c must be positive and finite. Received: c=0.0."),
        ({"c": math.nan}, "c must be positive and finite. Received: c=nan."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ChildTrainer(tree_space(2), _task(), **arguments)


def test_a_bias_is_refused():
    with pytest.raises(ValueError, match="task.config.use_bias=True"):
        ChildTrainer(tree_space(2), _task(use_bias=True))


def test_the_config_holds_what_the_scores_depend_on(children):
    config = children.config()
    assert config["reward"] == "c/ppl^2" and config["c"] == 80.0
    assert config["task"] == _config().to_dict()
    assert config["data"]["sha256"] == _corpus().sha256
    assert isinstance(children.space.decode([0] * 10), CellSpec)
