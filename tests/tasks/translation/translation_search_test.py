"""Tests of greedy and beam search, against searches in plain Python."""

import functools

import numpy as np
import pytest

from nas_keras.cells.language.spec import load_spec
from nas_keras.data.subwords import BEGIN
from nas_keras.data.subwords import END
from nas_keras.data.subwords import PADDING
from nas_keras.data.subwords import UNKNOWN
from nas_keras.tasks import TranslationModel
from nas_keras.tasks import TranslationModelConfig
from nas_keras.tasks.translation.beam import beam_search
from nas_keras.tasks.translation.beam import coverage_penalty
from nas_keras.tasks.translation.beam import greedy_search
from nas_keras.tasks.translation.steps import compiled_search
from tests import translation_oracles as oracles

_FORBIDDEN = (PADDING, UNKNOWN, BEGIN)
_SIZE = 7  # V: END and three words may be said.


@functools.cache
def _model():
    config = TranslationModelConfig(units=4, num_layers=2, tied=False)
    model = TranslationModel(config, load_spec("lstm"), _SIZE, _SIZE)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(1.2 * rng.normal(size=variable.shape))
    return model


def _source():
    return np.array(
        [[4, 5, 6, 3], [6, 3, 0, 0], [5, 5, 3, 0], [4, 6, 4, 3]], np.int32
    )


@functools.cache
def _step(sentence):
    """Returns a function of prefixes for the oracles, of one sentence."""
    model = _model()
    memory, first = model.encode(np.array([sentence], np.int32))

    @functools.cache
    def step(prefix):
        found = model.decode(np.array([prefix], np.int32), memory, first)
        logits = np.array(found.logits[0, -1], "float64")
        log_probs = logits - np.log(np.exp(logits - logits.max()).sum())
        return log_probs - logits.max(), np.array(found.weights[0, -1])

    return step


def _tokens(ids):
    """Returns ids without what stands after the end."""
    ids = [int(i) for i in ids]
    return tuple(ids[: ids.index(END) + 1] if END in ids else ids)


def _arguments(sentence, limit, alpha, beta):
    return {
        "step": _step(tuple(sentence.tolist())),
        "begin": BEGIN,
        "end": END,
        "vocabulary_size": _SIZE,
        "max_length": limit,
        "alpha": alpha,
        "beta": beta,
        "is_real": sentence != PADDING,
        "forbidden": _FORBIDDEN,
    }


@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.0, 0.0), (0.6, 0.2), (1.0, 0.0), (1.0, 0.2)]
)
def test_a_wide_beam_finds_the_best_of_all(alpha, beta):
    source = _source()[:2]
    # 1 + 3 + 9 + 27 end within 4 steps; the last has 27 * 4 extensions.
    limits = np.array([4, 4], np.int32)
    found = beam_search(_model(), source, limits, 54, alpha, beta)
    for row, sentence in enumerate(source):
        want = oracles.exhaustive_search(**_arguments(sentence, 4, alpha, beta))
        assert len(want) == 40
        got = [_tokens(ids) for ids in np.array(found.ids[row, :40])]
        assert got[0] == want[0][1]
        assert set(got) == {tokens for _, tokens in want}
        np.testing.assert_allclose(
            found.scores[row, :40],
            [score for score, _ in want],
            rtol=1e-4,
            atol=1e-5,
        )
        assert float(found.scores[row, 40]) == -np.inf


@pytest.mark.parametrize(
    ("beam", "alpha", "beta"),
    [(1, 0.8, 0.3), (2, 0.0, 0.0), (3, 1.0, 0.0), (5, 0.8, 0.3)],
)
def test_a_narrow_beam_is_that_of_the_oracle(beam, alpha, beta):
    source = _source()
    limits = np.array([7, 3, 9, 6], np.int32)
    found = beam_search(_model(), source, limits, beam, alpha, beta)
    for row, sentence in enumerate(source):
        want = oracles.beam_search(
            **_arguments(sentence, int(limits[row]), alpha, beta), beam=beam
        )
        for place, (score, tokens) in enumerate(want):
            got = np.array(found.ids[row, place])
            assert _tokens(got)[: len(tokens)] == tokens
            assert not got[len(tokens) :].any()
            assert float(found.scores[row, place]) == pytest.approx(
                score, rel=1e-4, abs=1e-5
            )
        for place in range(len(want), beam):
            assert float(found.scores[row, place]) == -np.inf


def test_a_translation_that_never_ends_is_cut():
    model = TranslationModel(
        TranslationModelConfig(units=4, num_layers=2, tied=False),
        load_spec("lstm"),
        _SIZE,
        _SIZE,
    )
    for variable, mine in zip(model.weights, _model().weights, strict=True):
        variable.assign(mine)
    kernel = np.array(model.softmax_kernel)
    kernel[:, END] = 0.0
    kernel[:, 4] = 50 * kernel[:, 5]  # One of the two is far ahead.
    kernel[:, 6] = -kernel[:, 4]
    model.softmax_kernel.assign(kernel)
    limits = np.array([5, 2, 3, 4], np.int32)
    for found in (
        greedy_search(model, _source(), limits),
        beam_search(model, _source(), limits, 1),
    ):
        lengths = (np.array(found.ids[:, 0]) != PADDING).sum(axis=1)
        assert lengths.tolist() == limits.tolist()
        assert np.isfinite(np.array(found.scores)).all()


def test_greedy_search_takes_the_likeliest():
    source = _source()
    limits = np.array([7, 3, 9, 6], np.int32)
    found = greedy_search(_model(), source, limits)
    for row, sentence in enumerate(source):
        step, prefix, total = _step(tuple(sentence.tolist())), (BEGIN,), 0.0
        while len(prefix) <= limits[row] and prefix[-1] != END:
            log_probs, _ = step(prefix)
            allowed = [t for t in range(_SIZE) if t not in _FORBIDDEN]
            prefix += (max(allowed, key=lambda t: log_probs[t]),)
            total += log_probs[prefix[-1]]
        assert _tokens(found.ids[row, 0])[: len(prefix) - 1] == prefix[1:]
        assert float(found.log_probs[row, 0]) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("beam", [1, 3])
def test_no_sentence_depends_on_the_others(beam):
    search = compiled_search(_model(), beam, 1.0, 0.2)
    source, limits = _source(), np.array([7, 3, 9, 6], np.int32)
    together = search(source, limits)
    for row in range(len(source)):
        num = (source[row] != PADDING).sum()
        alone = search(source[row : row + 1, :num], limits[row : row + 1])
        size = int(limits[row])
        np.testing.assert_array_equal(
            alone.ids[0], np.array(together.ids[row, :, :size])
        )
        np.testing.assert_allclose(
            alone.scores[0], together.scores[row], rtol=1e-4
        )
    assert search.experimental_get_tracing_count() == 1


def test_nothing_that_was_never_attended_is_infinitely_bad():
    attended = np.array([[0.5, 1.7, 0.0]], "float32")
    real = np.array([[True, True, False]])
    got = coverage_penalty(attended, real, 0.2)
    assert float(got[0]) == pytest.approx(0.2 * np.log(0.5), rel=1e-5)
    everything = np.ones_like(real)
    assert -20 < float(coverage_penalty(attended, everything, 0.2)[0]) < -15
