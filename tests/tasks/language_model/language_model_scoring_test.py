"""Losses of texts, of epochs and of dynamic evaluation, against NumPy."""

import itertools
import json
import math

import numpy as np
import pytest

from nas_keras.tasks.language_model.steps import loss_of_text
from nas_keras.tasks.language_model.steps import stream_array
from tests.language_model_testing import sentences
from tests.language_model_testing import steps_of
from tests.language_model_testing import train
from tests.language_model_testing import training_config

# A NumPy language model of one LSTM layer, untied.


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _named(model):
    return {
        v.path.split("/")[-1]: np.array(v, np.float64)
        for v in model.trainable_variables
    }


def _oracle_losses(weights, tokens):
    """Returns -log p of each token [N+1] but the first, states carried."""
    h = c = np.zeros(weights["recurrent_kernel"].shape[0])
    losses = []
    for token, target in itertools.pairwise(tokens):
        z = weights["embeddings"][token] @ weights["kernel"]
        i, f, g, o = np.split(z + h @ weights["recurrent_kernel"], 4)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        logits = h @ weights["softmax_kernel"] + weights["softmax_bias"]
        top = logits.max()
        log_sum = top + np.log(np.exp(logits - top).sum())
        losses.append(log_sum - logits[target])
    return np.array(losses)


def _with_random_weights(steps, scale=0.8):
    rng = np.random.default_rng(3)
    for variable in steps.model.trainable_variables:
        variable.assign(scale * rng.normal(size=variable.shape))
    return steps


@pytest.fixture(scope="module")
def scoring():
    """Steps of random weights, which are not to be trained."""
    return _with_random_weights(steps_of(training_config()))


@pytest.mark.parametrize("num_steps", [5, 7, 128])
@pytest.mark.parametrize("num_tokens", [2, 36, 41])
def test_perplexity_is_over_all_tokens_with_carried_states(
    num_tokens, num_steps, scoring
):
    tokens = sentences().test[:num_tokens]
    want = _oracle_losses(_named(scoring.model), tokens).mean()
    got = loss_of_text(scoring, tokens, num_steps=num_steps)
    assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("num_tokens", [31, 32, 33])
@pytest.mark.parametrize("batch_size", [3, 8])
def test_streams_cover_all_tokens_and_begin_with_zeros(
    num_tokens, batch_size, scoring
):
    tokens = sentences().test[:num_tokens]
    length = math.ceil((num_tokens - 1) / batch_size)
    parts = [
        tokens[begin : begin + length + 1]
        for begin in range(0, num_tokens - 1, length)
    ]
    weights = _named(scoring.model)
    losses = np.concatenate([_oracle_losses(weights, p) for p in parts])
    assert len(losses) == num_tokens - 1
    got = loss_of_text(scoring, tokens, batch_size, num_steps=3)
    assert got == pytest.approx(losses.mean(), rel=1e-5)


def test_dynamic_evaluation_scores_before_it_learns():
    steps = _with_random_weights(steps_of(training_config({"clip_norm": 1e-3})))
    tokens = sentences().test[:25]
    before = [np.array(w) for w in steps.model.trainable_variables]
    named = _named(steps.model)
    states = steps.model.initial_states(1)
    nats, states = steps.adapt(tokens[None, :13], states, 0.5)
    want = _oracle_losses(named, tokens[:13])
    np.testing.assert_allclose(nats[0], want, rtol=1e-4)
    moved = [
        np.array(w) - b
        for w, b in zip(steps.model.trainable_variables, before, strict=True)
    ]
    norm = math.sqrt(sum((m.astype("float64") ** 2).sum() for m in moved))
    assert norm == pytest.approx(0.5 * 1e-3, rel=1e-3)
    after = _oracle_losses(_named(steps.model), tokens[:13]).mean()
    assert after < want.mean()
    adapted = loss_of_text(steps, tokens, 1, dynamic_rate=0.5, num_steps=12)
    assert adapted != loss_of_text(steps, tokens)


def test_losses_of_an_epoch_are_those_of_numpy(tmp_path):
    # A rate of 1e-30 changes nothing, so training only scores.
    config = training_config(
        {
            "learning_rate": 1e-30,
            "num_epochs": 2,
            "evaluation_batch_size": 1,
        }
    )
    epochs = train(config, tmp_path)
    weights = _named(steps_of(config).model)
    corpus = sentences()
    streams = stream_array(corpus.train, 4)
    num = (streams.shape[1] - 1) // 12 * 12
    losses = [_oracle_losses(weights, row[: num + 1]) for row in streams]
    validation = _oracle_losses(weights, corpus.validation).mean()
    for epoch in epochs:
        assert epoch.train_loss_nats == pytest.approx(np.mean(losses), 1e-5)
        assert epoch.validation_loss_nats == pytest.approx(validation, 1e-5)
    assert [e.epoch for e in epochs] == [1, 2]
    result = json.loads((tmp_path / "result.json").read_text())
    metrics = result["metrics"]
    test = _oracle_losses(weights, corpus.test).mean()
    assert metrics["test_loss_nats"] == pytest.approx(test, rel=1e-5)
    assert metrics["test_perplexity"] == pytest.approx(math.exp(test), rel=1e-4)
    bits = test / math.log(2)
    assert metrics["test_bits_per_char"] == pytest.approx(bits, rel=1e-5)
    assert metrics["validation_loss_nats"] == pytest.approx(validation, 1e-5)
