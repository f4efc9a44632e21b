"""Tests of the translation model: its numbers, masks, dropout, saving."""

import dataclasses
import functools
import itertools
import math

import keras
import numpy as np
import pytest

from nas_keras.cells.language.spec import load_spec
from nas_keras.tasks import TranslationModel
from nas_keras.tasks import TranslationModelConfig
from nas_keras.tasks.translation.steps import losses_of
from nas_keras.tasks.translation.steps import shifted
from tests import oracles
from tests import translation_oracles

_UNITS, _SOURCE, _TARGET = 5, 9, 8  # H, and V of the two languages.


def _config(**changes):
    arguments = {
        "units": _UNITS,
        "num_layers": 3,
        "shared_embeddings": False,
        "tied": False,
        **changes,
    }
    return TranslationModelConfig(**arguments)


def _model(cell="lstm", sizes=(_SOURCE, _TARGET), **changes):
    model = TranslationModel(_config(**changes), load_spec(cell), *sizes)
    rng = np.random.default_rng(4)
    for variable in model.weights:
        variable.assign(0.7 * rng.normal(size=variable.shape))
    return model


def _sentences():
    source = np.array([[4, 7, 5, 8], [6, 4, 0, 0], [5, 0, 0, 0]], np.int32)
    target = np.array([[2, 5, 6, 4, 7], [2, 7, 4, 0, 0], [2, 4, 6, 5, 4]])
    return source, target.astype(np.int32)


def _weights_of(layer):
    return tuple(np.array(w, "float64") for w in layer.cell.weights)


def _oracle(model, source, target):
    """Returns logits and attention weights by NumPy; the cell is an LSTM."""
    config = model.config
    is_real = source != 0
    embedded = np.array(model.source_embedding.embeddings, "float64")[source]
    memory, states = translation_oracles.encode(
        oracles.lstm,
        embedded,
        is_real,
        {
            "forward": _weights_of(model.forward_layer),
            "backward": _weights_of(model.backward_layer),
            "uni": [_weights_of(layer) for layer in model.encoder_layers],
        },
        (_UNITS, _UNITS),
    )
    attention = model.bottom_layer.attention
    kind = {
        "normed_bahdanau": translation_oracles.bahdanau,
        "scaled_luong": translation_oracles.luong,
    }[config.attention]
    w = {v.name: np.array(v, "float64") for v in attention.weights}
    y = np.array(model.target_embedding.embeddings, "float64")[target]
    outputs, _, weights, _ = translation_oracles.decode(
        oracles.lstm,
        y,
        memory,
        is_real,
        states,
        [_weights_of(x) for x in (model.bottom_layer, *model.decoder_layers)],
        functools.partial(kind, w=w),
        config.attention_timing,
    )
    kernel = model.softmax_kernel
    if kernel is None:
        kernel = np.array(model.target_embedding.embeddings).T
    return outputs @ np.array(kernel), weights


@pytest.mark.parametrize("attention", ["normed_bahdanau", "scaled_luong"])
@pytest.mark.parametrize("timing", ["current", "previous"])
@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_the_model_is_gnmt(attention, timing, num_layers):
    model = _model(
        attention=attention, attention_timing=timing, num_layers=num_layers
    )
    source, target = _sentences()
    memory, state = model.encode(source)
    got = model.decode(target, memory, state)
    logits, weights = _oracle(model, source, target)
    np.testing.assert_allclose(got.logits, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got.weights, weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model((source, target)), got.logits, atol=1e-6)


def test_embeddings_may_be_shared_and_tied():
    model = _model(sizes=(9, 9), shared_embeddings=True, tied=True)
    assert model.source_embedding is model.target_embedding
    source, target = _sentences()
    logits, _ = _oracle(model, source, target)
    np.testing.assert_allclose(
        model((source, target)), logits, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("cell", ["gru", "nascell", "enas_ptb"])
def test_decoding_step_by_step_is_decoding_at_once(cell):
    model = _model(cell, attention_timing="previous")
    source, target = _sentences()
    memory, state = model.encode(source)
    want = model.decode(target, memory, state)
    for time in range(target.shape[1]):
        got = model.decode(target[:, time : time + 1], memory, state)
        state = got.state
        for part in ("logits", "weights"):
            np.testing.assert_allclose(
                getattr(got, part)[:, 0],
                getattr(want, part)[:, time],
                rtol=1e-4,
                atol=1e-5,
            )


def test_padding_changes_nothing():
    model = _model()
    source, target = _sentences()
    logits = np.array(model((source, target)))
    alone = model((source[1:2, :2], target[1:2, :3]))
    np.testing.assert_allclose(alone[0], logits[1, :3], rtol=1e-4, atol=1e-5)


def test_masks_reach_every_layer_and_nothing_else():
    model = _model(dropout=0.5, output_dropout=0.25)
    widths = model.dropout_widths()
    assert widths["encoder_1"] == (2 * _UNITS, 0.5)
    assert widths["decoder_2"] == (2 * _UNITS, 0.5)
    assert widths["softmax"] == (_UNITS, 0.25)
    assert len(widths) == 1 + 2 + 2 + 3
    source, target = _sentences()
    ones = {k: np.ones((3, w), "float32") for k, (w, _) in widths.items()}
    want = np.array(model((source, target)))
    got = model((source, target), ones)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    for name, mask in ones.items():
        one_off = mask.copy()
        one_off[0, 1] = 0.0
        got = np.array(model((source, target), {**ones, name: one_off}))
        assert np.abs(got[0] - want[0]).max() > 1e-4, name
        np.testing.assert_allclose(got[1:], want[1:], rtol=1e-5, atol=1e-5)
    without = _model(dropout=0.0).dropout_widths()
    assert without == {}


@pytest.mark.parametrize("cell", ["lstm", "gru", "nascell"])
def test_the_number_of_weights_is_known_before(cell):
    for changes in itertools.chain(
        ({"num_layers": n} for n in (1, 2, 4)),
        ({"attention": "scaled_luong"}, {"tied": True}, {"use_bias": False}),
        ({"shared_embeddings": True},),
    ):
        sizes = (8, 8) if "shared_embeddings" in changes else (9, 8)
        model = _model(cell, sizes, **changes)
        got = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
        config = _config(**changes)
        assert config.num_parameters(load_spec(cell), *sizes) == got


def test_a_saved_model_is_the_same(tmp_path):
    model = _model("nascell", (9, 9), shared_embeddings=True, tied=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    sentences = _sentences()
    np.testing.assert_array_equal(loaded(sentences), model(sentences))
    assert loaded.config == model.config
    assert loaded.spec == model.spec


def test_vocabularies_of_shared_embeddings_are_equal():
    with pytest.raises(
        ValueError, match="source_size and target_size must be equal.*9.*8"
    ):
        _model(shared_embeddings=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_over_real_tokens(smoothing):
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(2, 3, 6), scale=3).astype("float32")
    targets = np.array([[4, 5, 3], [5, 3, 0]], np.int32)
    got = losses_of(logits, targets, smoothing)
    smoothed, plain = translation_oracles.cross_entropy(
        logits, targets, targets != 0, smoothing
    )
    assert float(got.smoothed) == pytest.approx(smoothed, rel=1e-5)
    assert float(got.plain) == pytest.approx(plain, rel=1e-5)
    assert float(got.num_tokens) == 5


def test_the_decoder_reads_what_it_has_said():
    targets = np.array([[4, 5, 3], [5, 3, 0]], np.int32)
    assert np.array(shifted(targets)).tolist() == [[2, 4, 5], [2, 5, 3]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"units": 0},
            "units must be an int of at least 1, .* Received: units=0",
        ),
        ({"num_layers": 1.5}, "num_layers must be an int of at least 1"),
        ({"attention": "dot"}, "attention must be one of .*attention='dot'"),
        ({"attention_timing": "next"}, "attention_timing must be one of"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\). Received: .*=1.0"),
        ({"output_dropout": -0.1}, "output_dropout must be in"),
        ({"init_scale": 0.0}, "init_scale must be positive and finite"),
        ({"init_scale": math.nan}, "init_scale must be positive and finite"),
    ],
)
def test_the_shape_of_a_model_is_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        _config(**changes)


def test_a_config_is_a_value():
    assert dataclasses.replace(_config(), units=7) == _config(units=7)
