"""Tests of windows, rates and steps in long trainings of language models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.tasks.language_model.children import optimizer_of
from nas_keras.tasks.language_model.steps import LanguageModelSteps
from nas_keras.tasks.language_model.windows import rate_at
from nas_keras.tasks.language_model.windows import stream_array
from nas_keras.tasks.language_model.windows import windows_of
from tests.language_model_testing import model_config
from tests.language_model_testing import sentences
from tests.language_model_testing import steps_of
from tests.language_model_testing import train
from tests.language_model_testing import training_config

# Windows.


@given(
    st.integers(2, 400),
    st.integers(1, 70),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_varied_windows_cover_the_stream_in_order(
    length, num_steps, epoch, seed
):
    windows = windows_of(length, num_steps, epoch, seed, vary=True)
    place = 0
    for begin, steps in windows:
        assert begin == place and steps >= 1
        place += steps
    assert place == length - 1
    assert windows == windows_of(length, num_steps, epoch, seed, vary=True)


def test_varied_windows_have_the_mean_and_the_halves_of_the_paper():
    windows = windows_of(2_000_000, 70, 0, 0, vary=True)
    steps = np.array([steps for _, steps in windows[:-1]])
    assert steps.mean() == pytest.approx(0.95 * 70 + 0.05 * 35, abs=0.5)
    assert np.mean(steps < 52) == pytest.approx(0.05, abs=0.01)
    assert steps[steps > 52].std() == pytest.approx(5, abs=0.3)
    for other in ((1, 0), (0, 1)):
        assert windows_of(2_000_000, 70, *other, vary=True) != windows
    assert min(s for _, s in windows_of(9_000, 6, 0, 0, True)[:-1]) == 5


def test_windows_of_one_length_leave_a_rest():
    assert windows_of(11, 3, 0, 0, False) == [(0, 3), (3, 3), (6, 3)]
    assert windows_of(10, 3, 0, 0, False) == [(0, 3), (3, 3), (6, 3)]
    assert windows_of(9, 3, 0, 0, False) == [(0, 3), (3, 3)]


def test_streams_are_parts_of_the_text_in_order():
    streams = stream_array(np.arange(11, dtype=np.int32), 3)
    assert streams.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_a_varied_window_has_a_rate_in_proportion(tmp_path, monkeypatch):
    seen = []
    update = LanguageModelSteps.update

    def spy(self, tokens, states, rate, average_rate):
        seen.append((tokens.shape[1] - 1, rate))
        return update(self, tokens, states, rate, average_rate)

    monkeypatch.setattr(LanguageModelSteps, "update", spy)
    train(training_config({"num_epochs": 1}, vary_steps=True), tmp_path)
    assert len({steps for steps, _ in seen}) > 3
    for steps, rate in seen:
        assert rate == pytest.approx(0.5 * steps / 12)


# Rates.


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "constant"},
        {"schedule": "cosine"},
        {"schedule": "step", "decay": 2.0, "decay_epoch": 2},
    ],
)
def test_the_rate_is_that_of_a_child(changes):
    config = model_config(**changes)
    optimizer = optimizer_of(config, 40, 10)
    for step in range(40):
        optimizer.iterations.assign(step)
        want = float(optimizer.learning_rate)
        got = rate_at(config, step / 10, 4)
        assert got == pytest.approx(want, rel=1e-5, abs=1e-6)


def test_a_cosine_ends_with_the_last_update(tmp_path, monkeypatch):
    rates = []
    update = LanguageModelSteps.update

    def spy(self, tokens, states, rate, average_rate):
        rates.append(rate)
        return update(self, tokens, states, rate, average_rate)

    monkeypatch.setattr(LanguageModelSteps, "update", spy)
    model = {"num_epochs": 0, "num_updates": 50, "schedule": "cosine"}
    train(training_config(model), tmp_path)
    want = 0.25 * (1 + np.cos(np.pi * np.arange(50) / 50))
    np.testing.assert_allclose(rates, want, rtol=1e-6, atol=1e-9)


# Steps.


def test_micro_batches_are_the_whole_batch():
    tokens = stream_array(sentences().train, 4)[:, :13]
    weights = []
    for parts in (1, 2, 4):
        config = training_config({"weight_decay": 0.1}, micro_batches=parts)
        steps = steps_of(config)
        states = steps.first_states(4, parts)
        assert len(states) == parts
        losses = []
        for _ in range(3):
            loss, states = steps.update(tokens, states, 0.5, 1.0)
            losses.append(loss)
        weights.append([np.array(w) for w in steps.result_arrays()] + [losses])
    for one, two, four in zip(*weights, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-6)


def test_averages_are_the_mean_of_the_weights_since():
    steps = steps_of(training_config(average="nonmonotone"))
    tokens = stream_array(sentences().train, 4)[:, :13]
    states = steps.first_states(4)
    seen = []
    for count in (1, 1, 1, 2, 3):  # Two updates before, three that count.
        _, states = steps.update(tokens, states, 0.5, 1 / count)
        seen.append([np.array(w) for w in steps.model.trainable_variables])
        if count == 1:
            for a, w in zip(steps.result_arrays(), seen[-1], strict=True):
                np.testing.assert_allclose(a, w, atol=1e-7)
    for k, average in enumerate(steps.result_arrays()):
        want = np.mean([weights[k] for weights in seen[2:]], axis=0)
        np.testing.assert_allclose(average, want, rtol=1e-5, atol=1e-6)
        assert np.abs(average - seen[-1][k]).max() > 1e-4


def test_bfloat16_computes_nearly_the_same_and_keeps_float32_weights():
    tokens = stream_array(sentences().train, 4)[:, :13]
    losses = []
    for precision in ("float32", "mixed_bfloat16"):
        steps = steps_of(training_config(precision=precision))
        states = steps.first_states(4)
        for _ in range(4):
            loss, states = steps.update(tokens, states, 0.5, 1.0)
        losses.append(loss)
        dtypes = {v.dtype for v in steps.model.trainable_variables}
        assert dtypes == {"float32"}
    assert steps.model.compute_dtype == "bfloat16"
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
