"""Tests of windows, rates and steps in long trainings of language models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.tasks.language_model.config import rate_at
from nas_keras.tasks.language_model.steps import LanguageModelSteps
from nas_keras.tasks.language_model.steps import stream_array
from nas_keras.tasks.language_model.steps import windows_of
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
    train(training_config({"num_epochs": 1, "vary_steps": True}), tmp_path)
    assert len({steps for steps, _ in seen}) > 3
    for steps, rate in seen:
        assert rate == pytest.approx(0.5 * steps / 12)


# Rates.


def _rates(num_updates=40, updates_per_epoch=10, **changes):
    config = model_config(learning_rate=2.0, **changes)
    done = np.arange(num_updates)
    return [
        rate_at(config, k / num_updates, k / updates_per_epoch) for k in done
    ]


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


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "constant"},
        {"schedule": "cosine"},
        {"schedule": "step", "decay": 2.0, "decay_epoch": 2},
    ],
)
def test_a_compiled_rate_is_that_of_numbers(changes):
    config = training_config({"num_epochs": 4, **changes})
    steps = steps_of(config)
    for number in range(steps.num_updates):
        epochs = number / steps.num_windows
        want = rate_at(config.model, epochs / 4, epochs)
        got = float(steps.rate_of(np.int32(number)))
        assert got == pytest.approx(want, rel=1e-5, abs=1e-6)


def test_a_cosine_ends_with_the_last_update(tmp_path):
    model = {"num_epochs": 0, "num_updates": 50, "schedule": "cosine"}
    config = training_config(model)
    steps = steps_of(config)
    rates = [float(steps.rate_of(np.int32(k))) for k in range(50)]
    want = 0.25 * (1 + np.cos(np.pi * np.arange(50) / 50))
    np.testing.assert_allclose(rates, want, rtol=1e-5, atol=1e-8)
    for epoch in train(config, tmp_path):
        last = want[epoch.updates - 1]
        assert epoch.learning_rate == pytest.approx(last, rel=1e-6, abs=1e-9)


def test_a_cosine_of_varied_windows_ends_with_the_last_update(
    tmp_path, monkeypatch
):
    rates = []
    update = LanguageModelSteps.update

    def spy(self, tokens, states, rate, average_rate):
        rates.append(rate * 12 / (tokens.shape[1] - 1))
        return update(self, tokens, states, rate, average_rate)

    monkeypatch.setattr(LanguageModelSteps, "update", spy)
    model = {"num_epochs": 2, "schedule": "cosine", "vary_steps": True}
    epochs = train(training_config(model), tmp_path)
    length = stream_array(sentences().train, 4).shape[1]
    shares = [
        (epoch + k / len(windows)) / 2
        for epoch in range(2)
        for windows in [windows_of(length, 12, epoch, 0, True)]
        for k in range(len(windows))
    ]
    want = 0.25 * (1 + np.cos(np.pi * np.array(shares)))
    np.testing.assert_allclose(rates, want, rtol=1e-6, atol=1e-9)
    assert epochs[-1].learning_rate == pytest.approx(rates[-1])


# Steps.


def test_micro_batches_are_the_whole_batch():
    tokens = stream_array(sentences().train, 4)[:, :13]
    weights = []
    for parts in (1, 2, 4):
        config = training_config({"weight_decay": 0.1, "micro_batches": parts})
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
    steps = steps_of(training_config({"average": "nonmonotone"}))
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


@pytest.mark.parametrize("average", ["none", "nonmonotone"])
def test_updates_at_once_are_those_of_one_at_a_time(average):
    config = training_config(
        {
            "optimizer": "adam",
            "schedule": "cosine",
            "output_dropout": 0.3,
            "average": average,
        }
    )
    text = stream_array(sentences().train, 4)
    found = []
    for sizes in ([9], [1] * 9, [4, 5]):
        steps = steps_of(config)
        states, losses = steps.first_states(4)[0], []
        for num in sizes:
            first = len(losses)
            shares = [1 / (first + k + 1) for k in range(num)]
            some, states = steps.updates(
                text.astype("int32"), first, num, states, 0.5, shares
            )
            losses += some.tolist()
        found.append((losses, steps.result_arrays()))
    # And by windows that are given.
    steps = steps_of(config)
    states, losses = steps.first_states(4), []
    for k in range(9):
        rate = 0.5 * rate_at(config.model, k / steps.num_updates, 0)
        window = text[:, 12 * k : 12 * k + 13]
        loss, states = steps.update(window, states, rate, 1 / (k + 1))
        losses.append(loss)
    found.append((losses, steps.result_arrays()))
    for losses, weights in found[1:]:
        np.testing.assert_allclose(losses, found[0][0], rtol=1e-5)
        for one, other in zip(weights, found[0][1], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert found[0][0] == found[1][0] == found[2][0]  # To the last digit.


def test_updates_at_once_begin_the_text_again_with_zeros():
    steps = steps_of(training_config({"learning_rate": 1e-30}))
    text = stream_array(sentences().train, 4).astype("int32")
    states = steps.first_states(4)[0]
    num = steps.num_windows
    first, states = steps.updates(text, 0, num, states)
    again, _ = steps.updates(text, num, num, states)
    np.testing.assert_allclose(again, first, rtol=1e-6)


def test_bfloat16_computes_nearly_the_same_and_keeps_float32_weights():
    tokens = stream_array(sentences().train, 4)[:, :13]
    losses = []
    for precision in ("float32", "mixed_bfloat16"):
        steps = steps_of(training_config({"precision": precision}))
        states = steps.first_states(4)
        for _ in range(4):
            loss, states = steps.update(tokens, states, 0.5, 1.0)
        losses.append(loss)
        dtypes = {v.dtype for v in steps.model.trainable_variables}
        assert dtypes == {"float32"}
    assert steps.model.compute_dtype == "bfloat16"
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
