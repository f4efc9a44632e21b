"""Tests of the language model and its training, against NumPy."""

import dataclasses
import math
import re

import numpy as np
import pytest
import tensorflow as tf

from nas_keras.cells.spec import load_spec
from nas_keras.data.text import build_corpus
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import LanguageModelTask
from nas_keras.tasks import LanguageModelTrainer
from nas_keras.tasks import language_model_training
from nas_keras.tasks.language_model import initial_weights
from nas_keras.tasks.language_model import losses_of
from nas_keras.tasks.language_model_config import DROPOUTS
from nas_keras.tasks.language_model_training import optimizer_of


def _corpus(fractions=(0.9, 0.05, 0.05)):
    sentence = "a cell that reads, writes and forgets; in that order. "
    text = "\n".join(sentence[k % 9 :] for k in range(40))
    return build_corpus(text, name="sentences", fractions=fractions)


def _config(**changes):
    arguments = {
        "units": 4,
        "batch_size": 3,
        "num_steps": 5,
        "num_updates": 3,
        "init_scale": 0.5,
        "jit_compile": False,  # Compiling would take longer than running.
        **changes,
    }
    return LanguageModelConfig(**arguments)


def _task(**changes):
    return LanguageModelTask(_config(**changes), _corpus())


def _trainer(spec="lstm", corpus=None, **changes):
    task = LanguageModelTask(_config(**changes), corpus or _corpus())
    return LanguageModelTrainer(task, task.model(load_spec(spec)))


def _weights(trainer):
    return [np.array(v) for v in trainer.model.trainable_variables]


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
    trainer = _trainer(tied=tied)
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
    trainer = _trainer(max_validation_tokens=40)
    weights, corpus = _set_weights(trainer), trainer.task.corpus
    config = trainer.task.config
    want = _oracle_loss_nats(weights, corpus.validation[:40], config)
    got = trainer.score("validation")["validation_loss_nats"]
    assert got == pytest.approx(want, rel=1e-5)
    want = _oracle_loss_nats(weights, corpus.test, config)
    got = trainer.score("test")["test_loss_nats"]
    assert got == pytest.approx(want, rel=1e-5)


def test_scoring_is_traced_once_for_texts_of_all_lengths(monkeypatch):
    trainer = _trainer(corpus=_corpus((0.8, 0.15, 0.05)))
    trainer.score("validation")
    # Whoever traces the loss again does not find it.
    monkeypatch.setattr(language_model_training, "loss_of", None)
    corpus = trainer.task.corpus
    assert len(corpus.test) < len(corpus.validation) / 2
    assert 0 < trainer.score("test")["test_loss_nats"] < 10


def test_words_have_no_bits_per_char():
    corpus = build_corpus("to be or not to be\n" * 200, "word", name="words")
    task = LanguageModelTask(_config(), corpus)
    trainer = LanguageModelTrainer(task, task.model(load_spec("lstm")))
    metrics = trainer.score("validation")
    assert sorted(metrics) == ["validation_loss_nats", "validation_perplexity"]


def test_one_epoch_without_learning_is_the_loss_of_the_training_text():
    # A rate of 1e-30 changes nothing, so training only scores; two epochs
    # give the same only if the states are zeros again at the text's begin.
    losses = []
    for num_epochs in (1, 2):
        trainer = _trainer(
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


def test_num_epochs_counts_passes_over_the_training_text():
    trainer = _trainer(num_epochs=3, num_updates=0)
    length = len(trainer.task.corpus.train) // 3
    assert trainer.num_windows == (length - 1) // 5
    assert trainer.num_updates == 3 * trainer.num_windows
    assert _trainer(num_updates=7).num_updates == 7


def _first_step(trainer):
    """Returns the largest step of a weight, and its norm, in one training."""
    trainer.train(0)
    shapes = [v.shape for v in trainer.model.trainable_variables]
    before = initial_weights(shapes, trainer.task.config.init_scale, 0)
    after = _weights(trainer)
    moved = [a - b for a, b in zip(after, before, strict=True)]
    return math.sqrt(sum((m.astype("float64") ** 2).sum() for m in moved))


def test_the_gradient_is_clipped_by_its_global_norm():
    def norm(clip_norm):
        return _first_step(
            _trainer(
                optimizer="sgd", learning_rate=1.0, num_updates=1,
                clip_norm=clip_norm,
            )
        )  # fmt: skip

    whole = norm(1e9)
    assert whole > 0.1
    assert norm(0.01) == pytest.approx(0.01, rel=1e-3)


def test_training_descends():
    trainer = _trainer(num_updates=150, learning_rate=0.02)
    first = _trainer(num_updates=1).train(0)["validation_loss_nats"]
    assert trainer.train(0)["validation_loss_nats"] < first - 0.5


def _rates(num_updates=40, updates_per_epoch=10, **changes):
    config = _config(optimizer="sgd", learning_rate=2.0, **changes)
    optimizer = optimizer_of(config, num_updates, updates_per_epoch)
    rates = []
    for step in range(num_updates):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    return np.array(rates)


def test_a_constant_schedule_keeps_the_rate():
    np.testing.assert_allclose(_rates(), 2.0)


def test_a_cosine_schedule_goes_to_zero():
    want = 1 + np.cos(np.pi * np.arange(40) / 40)
    np.testing.assert_allclose(_rates(schedule="cosine"), want, atol=1e-6)


def test_a_step_schedule_divides_after_each_epoch_from_decay_epoch():
    # Decay epoch 2: full through epoch 1 and 2, then a half, then a quarter.
    rates = _rates(schedule="step", decay=2.0, decay_epoch=2)
    want = np.repeat([2.0, 2.0, 1.0, 0.5], 10)
    np.testing.assert_allclose(rates, want)


def test_the_schedule_reaches_the_training():
    # With decay 4 from the first epoch on, epoch 2 moves a quarter as much.
    norms = []
    for schedule in ("constant", "step"):
        trainer = _trainer(
            corpus=_corpus((0.3, 0.35, 0.35)),
            optimizer="sgd",
            learning_rate=1.0,
            num_updates=0,
            num_epochs=2,
            num_steps=100,
            clip_norm=1e-3,
            schedule=schedule,
            decay=4.0,
            decay_epoch=1,
        )
        assert trainer.num_windows == 2
        norms.append(_first_step(trainer))
    # Almost parallel clipped steps: 4 of 1e-3; 2 of 1e-3 and 2 of 2.5e-4.
    assert norms[0] == pytest.approx(4e-3, rel=0.1)
    assert norms[1] == pytest.approx(2.5e-3, rel=0.1)


def test_the_same_seed_gives_the_same_training_and_another_another():
    trainer = _trainer(input_dropout=0.3)
    first, other, again = (trainer.train(seed) for seed in (0, 1, 0))
    assert first == again != other
    assert trainer.num_traces == 1


@pytest.mark.parametrize("argument", DROPOUTS)
def test_dropout_changes_training_and_not_scoring(argument):
    trainer = _trainer(**{argument: 0.5}, num_layers=2)
    plain = _trainer(num_layers=2)
    dropped, whole = trainer.train(0), plain.train(0)
    assert dropped["train_loss_nats"] != whole["train_loss_nats"]
    for model in (trainer, plain):
        _set_weights(model)
    assert trainer.score("test") == plain.score("test")


def test_embedding_dropout_drops_whole_words():
    task = _task(embedding_dropout=0.5, units=8)
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
    model = _task(**{argument: 0.5}, units=8).model(load_spec("lstm"))
    x = np.ones((3, 5, 8), "float32")
    dropped = np.array(model._dropped(tf.constant(x), argument, True))
    assert {*np.unique(dropped)} == {0.0, 2.0}
    np.testing.assert_array_equal(dropped, np.repeat(dropped[:, :1], 5, 1))
    np.testing.assert_array_equal(model._dropped(x, argument, False), x)


def _places_dropped(argument):
    """Returns the inputs of both layers and the softmax that have zeros."""
    # With a bias, since without one a dropped word has outputs of zero.
    task = _task(**{argument: 0.5}, units=8, num_layers=2, use_bias=True)
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
    task = _task(
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


def test_weights_decay_beside_the_clipped_gradient():
    changes = {"optimizer": "sgd", "learning_rate": 0.5, "num_updates": 1}
    plain, decayed = _trainer(**changes), _trainer(**changes, weight_decay=0.2)
    shapes = [v.shape for v in plain.model.trainable_variables]
    first = initial_weights(shapes, 0.5, 0)
    plain.train(0)
    decayed.train(0)
    for got, without, w in zip(
        _weights(decayed), _weights(plain), first, strict=True
    ):
        np.testing.assert_allclose(got, without - 0.5 * 0.2 * w, atol=1e-6)


def test_penalties_change_training():
    plain = _trainer().train(0)
    for argument in ("activation_penalty", "slowness_penalty"):
        assert _trainer(**{argument: 1.0}).train(0) != plain


def test_an_embedding_and_a_last_layer_have_widths_of_their_own():
    task = _task(embedding_units=3, last_units=5, num_layers=3, tied=True)
    model = task.model(load_spec("lstm"))
    assert model.embedding.embeddings.shape == (task.corpus.vocabulary_size, 3)
    assert [layer.cell.units for layer in model.recurrent] == [4, 4, 5]
    assert model.projection_kernel.shape == (5, 3)
    tokens = np.zeros((3, 5), np.int32)
    found = model(tokens, model.initial_states(3))
    kernel = (
        np.array(model.projection_kernel)
        @ np.array(model.embedding.embeddings).T
    )
    np.testing.assert_allclose(
        found.logits,
        np.array(found.outputs) @ kernel + np.array(model.softmax_bias),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "widths",
    [
        {"embedding_units": 3},
        {"embedding_units": 3, "tied": True},
        {"embedding_units": 4, "last_units": 4, "tied": True},
        {"last_units": 6, "tied": True},
        {"last_units": 6},
    ],
)
def test_the_cost_counts_all_widths(widths):
    task, spec = _task(num_layers=2, **widths), load_spec("nascell")
    model = task.model(spec)
    shapes = [v.shape for v in model.trainable_variables]
    assert task.num_parameters(spec) == sum(map(math.prod, shapes))
    products = sum(math.prod(shape) for shape in shapes if len(shape) == 2)
    if not task.config.tied:  # Else the table is the softmax's matrix too.
        products -= math.prod(model.embedding.embeddings.shape)
    assert task.multiply_adds(spec) == products


def _count(task, spec, units):
    config = dataclasses.replace(task.config, units=units)
    return dataclasses.replace(task, config=config).num_parameters(spec)


@pytest.mark.parametrize("cell", ["lstm", "gru", "nascell"])
@pytest.mark.parametrize(
    ("tied", "use_bias", "num_layers"),
    [(False, False, 1), (True, True, 2), (True, False, 3), (False, True, 1)],
)
def test_num_parameters_is_that_of_the_built_model(
    cell, tied, use_bias, num_layers
):
    task = _task(tied=tied, use_bias=use_bias, num_layers=num_layers)
    spec = load_spec(cell)
    shapes = [v.shape for v in task.model(spec).trainable_variables]
    want = sum(math.prod(shape) for shape in shapes)
    assert task.num_parameters(spec) == want
    wider = _task(tied=tied, use_bias=use_bias, num_layers=num_layers, units=7)
    assert _count(task, spec, 7) == wider.num_parameters(spec)


@pytest.mark.parametrize("cell", ["lstm", "gru", "nascell"])
@pytest.mark.parametrize("num", [300, 1_000, 99_999, 100_000])
def test_with_parameters_has_the_most_units_that_fit(cell, num):
    task, spec = _task(), load_spec(cell)
    sized = task.with_parameters(spec, num)
    units = sized.config.units
    assert sized.num_parameters(spec) <= num
    assert _count(sized, spec, units + 1) > num
    assert dataclasses.replace(sized.config, units=4) == task.config


def test_with_parameters_fits_exactly():
    task, spec = _task(), load_spec("lstm")
    for units in (1, 2, 3, 64):
        num = _count(task, spec, units)
        assert task.with_parameters(spec, num).config.units == units


def test_too_few_parameters_are_refused():
    task, spec = _task(), load_spec("lstm")
    least = _count(task, spec, 1)
    message = (
        f"A model of one unit of cell 'lstm' has {least} parameters. "
        f"Received: {least - 1} parameters."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        task.with_parameters(spec, least - 1)


@pytest.mark.parametrize(
    ("fractions", "part"),
    [
        ((0.05, 0.5, 0.45), "train"),
        ((0.6, 0.05, 0.35), "validation"),
        ((0.6, 0.35, 0.05), "test"),
    ],
)
def test_a_part_shorter_than_a_batch_is_refused(fractions, part):
    # A batch is 3 * (5 + 1) = 18 tokens; 5 % of 340 are 17.
    corpus = build_corpus("ab" * 170, name="ab", fractions=fractions)
    message = f"The {part} part of the text 'ab' has 17 tokens; one batch takes"
    with pytest.raises(ValueError, match=re.escape(message) + ".* = 18"):
        LanguageModelTask(_config(), corpus)
    corpus = build_corpus("ab" * 180, name="ab", fractions=fractions)
    LanguageModelTask(_config(), corpus)


def test_initial_weights_are_of_seed_place_and_shape():
    shapes = [(30, 20), (30, 20), (50,)]
    first = initial_weights(shapes, 0.1, 5)
    for array, shape in zip(first, shapes, strict=True):
        assert array.shape == shape and array.dtype == np.float32
        assert 0.09 < np.abs(array).max() <= np.float32(0.1)
        assert abs(array.mean()) < 0.03
    assert (first[0] != first[1]).any()
    again = initial_weights([(1,), (30, 20)], 0.1, 5)
    np.testing.assert_array_equal(again[1], first[1])
    assert (initial_weights(shapes, 0.1, 6)[0] != first[0]).any()
    np.testing.assert_allclose(
        initial_weights(shapes, 0.2, 5)[2], 2 * first[2], rtol=1e-6
    )


def test_training_begins_with_the_initial_weights():
    trainer = _trainer(optimizer="sgd", learning_rate=1e-30, num_updates=1)
    for seed in (2, 3):
        trainer.train(seed)
        shapes = [v.shape for v in trainer.model.trainable_variables]
        want = initial_weights(shapes, 0.5, seed)
        for array, other in zip(_weights(trainer), want, strict=True):
            np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize(
    ("argument", "value", "rule"),
    [
        ("units", 0, "must be an int of at least 1"),
        ("units", 2.5, "must be an int of at least 1"),
        ("units", True, "must be an int of at least 1"),
        ("num_layers", 0, "must be an int of at least 1"),
        ("batch_size", -1, "must be an int of at least 1"),
        ("num_steps", "35", "must be an int of at least 1"),
        ("num_updates", -1, "must be an int of at least 0"),
        ("num_epochs", 0.5, "must be an int of at least 0"),
        ("decay_epoch", -1, "must be an int of at least 0"),
        ("embedding_units", -1, "must be an int of at least 0"),
        ("last_units", 1.5, "must be an int of at least 0"),
        ("last_units", 5, "must be 0 with one layer"),
        ("weight_decay", -0.1, "must be finite and not negative"),
        ("activation_penalty", math.inf, "must be finite and not negative"),
        ("slowness_penalty", math.nan, "must be finite and not negative"),
        ("input_dropout", 1.0, "must be in [0, 1)"),
        ("layer_dropout", 1.5, "must be in [0, 1)"),
        ("max_validation_tokens", -1, "must be an int of at least 0"),
        ("learning_rate", 0.0, "must be positive and finite"),
        ("learning_rate", math.nan, "must be positive and finite"),
        ("decay", -1.0, "must be positive and finite"),
        ("clip_norm", 0, "must be positive and finite"),
        ("init_scale", -0.1, "must be positive and finite"),
        ("output_dropout", 1.0, "must be in [0, 1)"),
        ("recurrent_dropout", -0.1, "must be in [0, 1)"),
        ("embedding_dropout", math.nan, "must be in [0, 1)"),
        ("optimizer", "lamb", "must be one of ('sgd', 'adam')"),
        ("schedule", "linear", "must be one of ('constant', 'cosine', 'step')"),
    ],
)
def test_a_value_out_of_range_is_refused(argument, value, rule):
    message = f"{argument} {rule}. Received: {argument}={value!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        LanguageModelConfig(**{argument: value})


@pytest.mark.parametrize(("num_updates", "num_epochs"), [(0, 0), (10, 1)])
def test_either_updates_or_epochs_are_given(num_updates, num_epochs):
    message = (
        "One of num_updates and num_epochs must be positive, the other 0. "
        f"Received: num_updates={num_updates}, num_epochs={num_epochs}."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        LanguageModelConfig(num_updates=num_updates, num_epochs=num_epochs)
