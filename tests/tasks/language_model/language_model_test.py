"""The language model against NumPy: its losses, its dropouts, its penalties."""

import math

import numpy as np
import pytest
import tensorflow as tf

from nas_keras.cells.language.spec import load_spec
from nas_keras.data.text import build_corpus
from nas_keras.tasks import LanguageModelTask
from nas_keras.tasks import LanguageModelTrainer
from nas_keras.tasks.language_model import steps
from nas_keras.tasks.language_model.config import DROPOUTS
from nas_keras.tasks.language_model.model import losses_of
from tests.language_model_testing import child_config
from tests.language_model_testing import child_task
from tests.language_model_testing import child_trainer
from tests.language_model_testing import sentences


def _set_weights(trainer, scale=0.7, seed=0):
    """Gives the model random weights; returns them by name."""
    rng = np.random.default_rng(seed)
    named = {}
    for variable in trainer.model.trainable_variables:
        value = scale * rng.normal(size=variable.shape).astype("float32")
        variable.assign(value)
        named[variable.path.split("/")[-1]] = value.astype("float64")
    return named


# A NumPy language model of one LSTM layer.


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _step(weights, token, h, c):
    """Returns -log softmax of the next token [B, V], and the states."""
    x = weights["embeddings"][token]
    z = x @ weights["kernel"] + h @ weights["recurrent_kernel"]
    i, f, g, o = np.split(z, 4, axis=-1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    h = _sigmoid(o) * np.tanh(c)
    kernel = weights.get("softmax_kernel", weights["embeddings"].T)
    logits = h @ kernel + weights["softmax_bias"]
    logits -= logits.max(axis=-1, keepdims=True)
    return np.log(np.exp(logits).sum(axis=-1, keepdims=True)) - logits, h, c


def _oracle_loss_nats(weights, tokens, config, carried=True):
    """Returns the mean loss over the whole windows of B streams."""
    length = len(tokens) // config.batch_size
    streams = tokens[: length * config.batch_size]
    streams = streams.reshape(config.batch_size, length)
    num = (length - 1) // config.num_steps * config.num_steps
    h = c = np.zeros((config.batch_size, config.units))
    losses = []
    for t in range(num):
        if t % config.num_steps == 0 and not carried:
            h = c = np.zeros_like(h)
        losses_t, h, c = _step(weights, streams[:, t], h, c)
        losses.append(losses_t[np.arange(len(h)), streams[:, t + 1]])
    return float(np.mean(losses))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_perplexity_is_that_of_numpy_with_carried_states(tied, split):
    trainer = child_trainer(tied=tied)
    weights = _set_weights(trainer)
    tokens = getattr(trainer.task.corpus, split)
    metrics = trainer.score(split)
    want = _oracle_loss_nats(weights, tokens, trainer.task.config)
    assert metrics[f"{split}_loss_nats"] == pytest.approx(want, rel=1e-5)
    assert metrics[f"{split}_perplexity"] == pytest.approx(
        math.exp(want), rel=1e-4
    )
    assert metrics[f"{split}_bits_per_char"] == pytest.approx(
        want / math.log(2), rel=1e-5
    )
    anew = _oracle_loss_nats(weights, tokens, trainer.task.config, False)
    assert abs(anew - want) > 1e-3  # Or the test would not see the states.


def test_max_validation_tokens_shortens_the_validation_text_alone():
    trainer = child_trainer(max_validation_tokens=40)
    weights, corpus = _set_weights(trainer), trainer.task.corpus
    config = trainer.task.config
    want = _oracle_loss_nats(weights, corpus.validation[:40], config)
    got = trainer.score("validation")["validation_loss_nats"]
    assert got == pytest.approx(want, rel=1e-5)
    want = _oracle_loss_nats(weights, corpus.test, config)
    got = trainer.score("test")["test_loss_nats"]
    assert got == pytest.approx(want, rel=1e-5)


def test_scoring_is_traced_once_for_texts_of_all_lengths(monkeypatch):
    trainer = child_trainer(corpus=sentences((0.8, 0.15, 0.05)))
    trainer.score("validation")
    # Whoever traces the loss again does not find it.
    monkeypatch.setattr(steps, "losses_of", None)
    corpus = trainer.task.corpus
    assert len(corpus.test) < len(corpus.validation) / 2
    assert 0 < trainer.score("test")["test_loss_nats"] < 10


def test_words_have_no_bits_per_char():
    corpus = build_corpus("to be or not to be\n" * 200, "word", name="words")
    task = LanguageModelTask(child_config(), corpus)
    trainer = LanguageModelTrainer(task, task.model(load_spec("lstm")))
    metrics = trainer.score("validation")
    assert sorted(metrics) == ["validation_loss_nats", "validation_perplexity"]


def test_one_epoch_without_learning_is_the_loss_of_the_training_text():
    # A rate of 1e-30 changes nothing, so training only scores; two epochs
    # give the same only if the states are zeros again at the text's begin.
    losses = []
    for num_epochs in (1, 2):
        trainer = child_trainer(
            num_epochs=num_epochs, num_updates=0, learning_rate=1e-30,
            optimizer="sgd", num_steps=30, init_scale=3.0,
        )  # fmt: skip
        assert trainer.num_updates == num_epochs * trainer.num_windows < 50
        losses.append(trainer.train(0)["train_loss_nats"])
        named = {
            v.path.split("/")[-1]: np.array(v, np.float64)
            for v in trainer.model.trainable_variables
        }
        want = _oracle_loss_nats(
            named, trainer.task.corpus.train, trainer.task.config
        )
        assert losses[-1] == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("argument", DROPOUTS)
def test_dropout_changes_training_and_not_scoring(argument):
    trainer = child_trainer(**{argument: 0.5}, num_layers=2)
    plain = child_trainer(num_layers=2)
    dropped, whole = trainer.train(0), plain.train(0)
    assert dropped["train_loss_nats"] != whole["train_loss_nats"]
    for model in (trainer, plain):
        _set_weights(model)
    assert trainer.score("test") == plain.score("test")


def test_embedding_dropout_drops_whole_words():
    task = child_task(embedding_dropout=0.5, units=8)
    model = task.model(load_spec("lstm"))
    seen = []
    for layer in model.recurrent:
        call = layer.call
        layer.call = lambda x, *a, call=call, **k: (
            seen.append(x) or call(x, *a, **k)
        )
    tokens = np.arange(3 * 5, dtype=np.int32).reshape(3, 5) % 7
    model(tokens, model.initial_states(3), training=True)
    x = np.array(seen[0])
    whole = np.array(model.embedding(tokens))
    ratio = x / whole
    assert {*np.unique(ratio.round(3))} == {0.0, 2.0}
    for token in range(7):  # All of a word or nothing, wherever it stands.
        assert len(np.unique(ratio[tokens == token].round(3))) == 1


@pytest.mark.parametrize(
    "argument", ["input_dropout", "layer_dropout", "output_dropout"]
)
def test_dropout_masks_are_one_a_sequence(argument):
    model = child_task(**{argument: 0.5}, units=8).model(load_spec("lstm"))
    x = np.ones((3, 5, 8), "float32")
    dropped = np.array(model._dropped(tf.constant(x), argument, True))
    assert {*np.unique(dropped)} == {0.0, 2.0}
    np.testing.assert_array_equal(dropped, np.repeat(dropped[:, :1], 5, 1))
    np.testing.assert_array_equal(model._dropped(x, argument, False), x)


def _places_dropped(argument):
    """Returns the inputs of both layers and the softmax that have zeros."""
    # With a bias, since without one a dropped word has outputs of zero.
    task = child_task(**{argument: 0.5}, units=8, num_layers=2, use_bias=True)
    model = task.model(load_spec("lstm"))
    _set_weights(type("Named", (), {"model": model}))
    seen = []
    for layer in model.recurrent:
        call = layer.call
        layer.call = lambda x, *a, call=call, **k: (
            seen.append(x) or call(x, *a, **k)
        )
    tokens = np.arange(3 * 5, dtype=np.int32).reshape(3, 5) % 7
    found = model(tokens, model.initial_states(3), training=True)
    return [(np.array(x) == 0).any() for x in (*seen, found.dropped)]


def test_each_dropout_has_its_place():
    assert _places_dropped("input_dropout") == [True, False, False]
    assert _places_dropped("embedding_dropout") == [True, False, False]
    assert _places_dropped("layer_dropout") == [False, True, False]
    assert _places_dropped("output_dropout") == [False, False, True]
    assert _places_dropped("recurrent_dropout") == [False, False, False]


def test_penalties_are_those_of_numpy():
    task = child_task(
        activation_penalty=0.7, slowness_penalty=0.3, output_dropout=0.5
    )
    model = task.model(load_spec("lstm"))
    _set_weights(type("Named", (), {"model": model}))
    tokens = np.arange(3 * 5, dtype=np.int32).reshape(3, 5) % 7
    model.seed_generator.state.assign([3, 0])
    found = model(tokens, model.initial_states(3), training=True)
    outputs, dropped = np.array(found.outputs), np.array(found.dropped)
    assert (outputs != dropped).any()
    want = 0.7 * (dropped**2).mean()
    want += 0.3 * ((outputs[:, 1:] - outputs[:, :-1]) ** 2).mean()
    arguments = (model, tokens, tokens, model.initial_states(3))
    model.seed_generator.state.assign([3, 0])
    losses = losses_of(*arguments, training=True)
    assert float(losses.penalty) == pytest.approx(want, rel=1e-5)
    assert float(losses_of(*arguments, training=False).penalty) == 0
    assert losses.nats.shape == (3, 5)
