"""Tests of samples and exports of trained language models, and of presets."""

import dataclasses
import math
import re

import keras
import numpy as np
import pytest

from nas_keras.cells.language.spec import load_spec
from nas_keras.data.text import build_corpus
from nas_keras.tasks import TRAINING_PRESETS
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import LanguageModelTask
from nas_keras.tasks import export
from nas_keras.tasks import generate
from nas_keras.tasks import trained_model
from nas_keras.tasks.language_model.model import LanguageModel
from nas_keras.tasks.language_model.use import choice


def _corpus(level="char"):
    text = "\n".join(["to be or not to be", "that is it"] * 30)
    return build_corpus(text, level, name="be")


def _model(corpus, cell="lstm", **changes):
    config = LanguageModelConfig(
        **{"units": 5, "batch_size": 2, "num_steps": 4, **changes}
    )
    model = LanguageModelTask(config, corpus).model(load_spec(cell))
    rng = np.random.default_rng(2)
    for variable in model.trainable_variables:
        variable.assign(1.5 * rng.normal(size=variable.shape))
    return model


def _greedy(model, corpus, ids, num):
    """Returns the likeliest continuation; the text is read anew each time."""
    ids = list(ids)
    begin = len(ids)
    for _ in range(num):
        tokens = np.array([ids], np.int32)
        logits = model(tokens, model.initial_states(1)).logits
        ids.append(int(np.array(logits)[0, -1].argmax()))
    return corpus.decode(np.array(ids[begin:], np.int32))


@pytest.mark.parametrize("level", ["char", "word"])
def test_without_temperature_the_likeliest_token_follows(level):
    corpus = _corpus(level)
    model = _model(corpus, num_layers=2)
    want = _greedy(model, corpus, corpus.encode("to be"), 8)
    assert generate(model, corpus, 8, "to be", temperature=0) == want
    begin = _greedy(model, corpus, corpus.encode("\n"), 8)
    for blank in ("", " "):
        assert generate(model, corpus, 8, blank, temperature=0) == begin


def test_samples_have_the_distribution_of_the_model():
    logits = np.random.default_rng(0).normal(size=9)
    numbers = (np.arange(10_000) + 0.5) / 10_000
    for temperature in (1.0, 2.0, 0.3):
        p = np.exp(logits / temperature)
        p /= p.sum()
        found = [choice(logits, temperature, number) for number in numbers]
        counts = np.bincount(found, minlength=9)
        np.testing.assert_allclose(counts / 10_000, p, atol=2e-4)
    assert choice(logits, 1.0, np.nextafter(1, 0)) == 8
    assert choice(logits + 1e4, 0.0, 0.99) == logits.argmax()


def test_a_sample_depends_on_its_seed_alone():
    corpus = _corpus()
    model = _model(corpus)
    first, again, other = (
        generate(model, corpus, 30, seed=seed) for seed in (3, 3, 4)
    )
    assert first == again != other
    assert len(first) >= 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_tokens": 0}, "num_tokens must be positive. Received: "
         "num_tokens=0."),
        ({"temperature": -1.0}, "temperature must be finite and not negative. "
         "Received: temperature=-1.0."),
        ({"temperature": math.nan}, "Received: temperature=nan."),
    ],
)  # fmt: skip
def test_bad_arguments_of_a_sample_are_refused(arguments, message):
    corpus = _corpus()
    with pytest.raises(ValueError, match=re.escape(message)):
        generate(_model(corpus), corpus, **{"num_tokens": 3, **arguments})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tied": True, "num_layers": 2, "use_bias": True},
        {"tied": True, "num_layers": 2, "embedding_units": 3},
        {"num_layers": 3, "embedding_units": 4, "last_units": 6},
    ],
)
@pytest.mark.parametrize("cell", ["gru", "nascell"])
def test_an_export_computes_the_same(cell, changes, tmp_path):
    corpus = _corpus()
    model = _model(corpus, cell, **changes)
    export(model, tmp_path / "model.keras")
    plain = keras.models.load_model(tmp_path / "model.keras")
    tokens = np.random.default_rng(0).integers(
        corpus.vocabulary_size, size=(3, 7)
    )
    want = model(tokens.astype("int32"), model.initial_states(3)).logits
    np.testing.assert_allclose(plain(tokens), want, rtol=1e-5, atol=1e-5)
    assert not isinstance(plain, LanguageModel)


@pytest.mark.parametrize(
    ("jit_compile", "want"), [(None, "auto"), (True, "auto"), (False, False)]
)
def test_without_xla_the_recurrent_layers_have_none(
    jit_compile, want, tmp_path
):
    model = _model(_corpus(), num_layers=2, jit_compile=jit_compile)
    assert [layer.jit_compile for layer in model.recurrent] == [want, want]
    # That is of the training, not of what it came to.
    export(model, tmp_path / "model.keras")
    plain = keras.models.load_model(tmp_path / "model.keras")
    assert plain.layers[2].jit_compile == "auto"


def test_an_export_must_be_a_keras_file(tmp_path):
    path = tmp_path / "model.h5"
    with pytest.raises(ValueError, match="path must end in '.keras'"):
        export(_model(_corpus()), path)


def test_a_workdir_without_weights_is_refused(tmp_path):
    config = dataclasses.replace(TRAINING_PRESETS["tiny"])
    with pytest.raises(ValueError, match="best weights are damaged or gone"):
        trained_model(config, _corpus(), tmp_path)


# Weights of the published models, to 2 %: M in millions, with V of PTB.
_PUBLISHED = {
    "zaremba_small": 4.65e6,
    "zaremba_medium": 19.8e6,  # "20 M".
    "zaremba_large": 66.0e6,
    "zoph2016_ptb_25m": 25e6,
    "zoph2016_ptb_32m": 32e6,
    "zoph2016_ptb_54m": 54e6,
    "zoph2016_char_6m": 6.57e6,
    "zoph2016_char_16m": 16.28e6,
    "enas2018": 22.03e6,
    "awd_lstm": 24.2e6,
    "darts": 22.96e6,
}


@pytest.mark.parametrize("name", sorted(_PUBLISHED))
def test_presets_have_the_published_size(name):
    preset = TRAINING_PRESETS[name]
    size = 50 if preset.data.level == "char" else 10_000
    spec = load_spec(preset.cell)
    config = preset.model
    if preset.parameters:
        units = next(
            units
            for units in range(10, 3_000)
            if config.replace(units=units + 1).cost(spec, size).parameters
            > preset.parameters
        )
        config = config.replace(units=units)
    found = config.cost(spec, size).parameters
    assert found == pytest.approx(_PUBLISHED[name], rel=0.02)


def test_every_preset_of_the_literature_has_a_size_here():
    ours = {"demo", "ptb_5m", "tiny"}
    assert TRAINING_PRESETS.keys() - _PUBLISHED == ours
