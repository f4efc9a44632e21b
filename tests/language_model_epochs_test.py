"""Tests of long trainings: steps, epochs, snapshots, recovery, figures."""

import dataclasses
import itertools
import json
import math
import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interruption import Stop
from interruption import snapshot
from interruption import stop_at
from nas_keras.cells.spec import load_spec
from nas_keras.data.text import build_corpus
from nas_keras.storage import locks
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import LanguageModelTask
from nas_keras.tasks import LanguageModelTrainer
from nas_keras.tasks import TrainingConfig
from nas_keras.tasks import TrainingError
from nas_keras.tasks import compilation
from nas_keras.tasks import language_model_epochs
from nas_keras.tasks import train_language_model
from nas_keras.tasks import training_files
from nas_keras.tasks import training_loop
from nas_keras.tasks.language_model_scoring import loss_of_text
from nas_keras.tasks.language_model_steps import LanguageModelSteps
from nas_keras.tasks.language_model_training import optimizer_of
from nas_keras.tasks.windows import rate_at
from nas_keras.tasks.windows import stream_array
from nas_keras.tasks.windows import windows_of


def _corpus(level="char"):
    sentence = "a cell that reads, writes and forgets; in that order. "
    text = "\n".join(sentence[k % 9 :] for k in range(40))
    fractions = (0.8, 0.1, 0.1)
    return build_corpus(text, level, name="sentences", fractions=fractions)


def _model(**changes):
    arguments = {
        "units": 4,
        "batch_size": 4,
        "num_steps": 12,
        "num_updates": 0,
        "num_epochs": 2,
        "optimizer": "sgd",
        "learning_rate": 0.5,
        "init_scale": 0.5,
        "clip_norm": 0.5,
        "jit_compile": False,  # Compiling would take longer than running.
        **changes,
    }
    return LanguageModelConfig(**arguments)


def _config(model=None, **changes):
    arguments = {
        "preset": "test",
        "dataset": "embedded",
        "level": "char",
        "model": _model(**(model or {})),
        "snapshot_updates": 7,
        "num_threads": 1,
        **changes,
    }
    return TrainingConfig(**arguments)


def _steps(config, spec="lstm", corpus=None):
    spec, corpus = load_spec(spec), corpus or _corpus()
    task = LanguageModelTask(config.sized(spec, corpus), corpus)
    return LanguageModelSteps(task, spec, config)


def _train(config, workdir, **options):
    return list(train_language_model(config, _corpus(), workdir, **options))


def _assert_same(first, second):
    assert first[:2] == second[:2]
    assert first[2].keys() == second[2].keys()
    for name, array in first[2].items():
        np.testing.assert_array_equal(array, second[2][name], name)


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
    return _with_random_weights(_steps(_config()))


@pytest.mark.parametrize("num_steps", [5, 7, 128])
@pytest.mark.parametrize("num_tokens", [2, 36, 41])
def test_perplexity_is_over_all_tokens_with_carried_states(
    num_tokens, num_steps, scoring
):
    tokens = _corpus().test[:num_tokens]
    want = _oracle_losses(_named(scoring.model), tokens).mean()
    got = loss_of_text(scoring, tokens, num_steps=num_steps)
    assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("num_tokens", [31, 32, 33])
@pytest.mark.parametrize("batch_size", [3, 8])
def test_streams_cover_all_tokens_and_begin_with_zeros(
    num_tokens, batch_size, scoring
):
    tokens = _corpus().test[:num_tokens]
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


@pytest.mark.parametrize("cell", ["lstm", "nascell"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_training_is_that_of_a_child(cell, optimizer, tmp_path):
    model = _model(
        num_epochs=2,
        optimizer=optimizer,
        learning_rate=0.05,
        num_layers=2,
        tied=True,
        use_bias=True,
        schedule="step",
        decay=3.0,
        decay_epoch=1,
        embedding_dropout=0.1,
        input_dropout=0.2,
        layer_dropout=0.1,
        output_dropout=0.3,
        recurrent_dropout=0.2,
        activation_penalty=0.5,
        slowness_penalty=0.5,
        weight_decay=0.01,
    )
    config = dataclasses.replace(_config(cell=cell, seed=5), model=model)
    _train(config, tmp_path)
    task = LanguageModelTask(model, _corpus())
    child = LanguageModelTrainer(task, task.model(load_spec(cell)))
    child.train(5)
    _, place, arrays = snapshot(tmp_path)
    assert place["updates"] == child.num_updates > 10
    for k, variable in enumerate(child.model.trainable_variables):
        np.testing.assert_allclose(
            arrays[f"weight/{k:04d}"], np.array(variable), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "constant"},
        {"schedule": "cosine"},
        {"schedule": "step", "decay": 2.0, "decay_epoch": 2},
    ],
)
def test_the_rate_is_that_of_a_child(changes):
    config = _model(**changes)
    optimizer = optimizer_of(config, 40, 10)
    for step in range(40):
        optimizer.iterations.assign(step)
        want = float(optimizer.learning_rate)
        got = rate_at(config, step / 10, 4)
        assert got == pytest.approx(want, rel=1e-5, abs=1e-6)


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
    _train(_config({"num_epochs": 1}, vary_steps=True), tmp_path)
    assert len({steps for steps, _ in seen}) > 3
    for steps, rate in seen:
        assert rate == pytest.approx(0.5 * steps / 12)


# Steps.


def test_micro_batches_are_the_whole_batch():
    tokens = stream_array(_corpus().train, 4)[:, :13]
    weights = []
    for parts in (1, 2, 4):
        config = _config({"weight_decay": 0.1}, micro_batches=parts)
        steps = _steps(config)
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
    steps = _steps(_config(average="nonmonotone"))
    tokens = stream_array(_corpus().train, 4)[:, :13]
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


def test_dynamic_evaluation_scores_before_it_learns():
    # Oracle: a gradient step of clipped norm, by finite differences along it.
    steps = _with_random_weights(_steps(_config({"clip_norm": 1e-3})))
    tokens = _corpus().test[:25]
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
    # A descent of rate * norm for a step of this norm, to first order.
    adapted = loss_of_text(steps, tokens, 1, dynamic_rate=0.5, num_steps=12)
    assert adapted != loss_of_text(steps, tokens)


def test_bfloat16_computes_nearly_the_same_and_keeps_float32_weights():
    tokens = stream_array(_corpus().train, 4)[:, :13]
    losses = []
    for precision in ("float32", "mixed_bfloat16"):
        steps = _steps(_config(precision=precision))
        states = steps.first_states(4)
        for _ in range(4):
            loss, states = steps.update(tokens, states, 0.5, 1.0)
        losses.append(loss)
        dtypes = {v.dtype for v in steps.model.trainable_variables}
        assert dtypes == {"float32"}
    assert steps.model.compute_dtype == "bfloat16"
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


# Epochs.


def test_losses_of_an_epoch_are_those_of_numpy(tmp_path):
    # A rate of 1e-30 changes nothing, so training only scores.
    config = _config(
        {"learning_rate": 1e-30, "num_epochs": 2}, evaluation_batch_size=1
    )
    epochs = _train(config, tmp_path)
    weights = _named(_steps(config).model)
    corpus = _corpus()
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


def test_the_result_says_what_it_is_of(tmp_path):
    config = _config({"num_epochs": 3}, cell="gru", parameters=900)
    epochs = _train(config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    spec = load_spec("gru")
    units = config.sized(spec, _corpus()).units
    assert (result["cell"]["name"], result["units"]) == ("gru", units)
    assert 800 < result["parameters"] <= 900
    losses = [epoch.validation_loss_nats for epoch in epochs]
    assert result["best_epoch"] == 1 + int(np.argmin(losses))
    assert result["epochs"] == 3
    assert result["config"]["corpus"]["sha256"] == _corpus().sha256
    assert {"keras", "nas_keras", "numpy"} <= result["environment"].keys()
    assert "validation_dynamic_loss_nats" not in result["metrics"]


def test_the_best_weights_are_those_of_the_best_epoch(tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.2])
    kept = []
    score = language_model_epochs._Training._validation_loss

    def scripted(self, weights):
        score(self, weights)
        kept.append([np.array(w) for w in weights])
        return next(losses)

    monkeypatch.setattr(
        language_model_epochs._Training, "_validation_loss", scripted
    )
    _train(_config({"num_epochs": 4}), tmp_path)
    best = training_files.best_arrays(tmp_path)
    for got, want in zip(best, kept[1], strict=True):
        np.testing.assert_array_equal(got, want)
    assert (best[0] != kept[3][0]).any()
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["best_epoch"] == 2


def test_after_each_epoch_the_newest_kept_weights_are_the_best(tmp_path):
    # Epochs end after 10, 20, 30 updates. The second and the third are begun
    # anew, killed or rolled back after they had been the best, and are not.
    for updates, best in ((10, 10), (20, 20), (20, 10), (30, 30), (30, 10)):
        arrays = [np.array([updates])]
        training_files.keep_best(tmp_path, best, updates, lambda a=arrays: a)
        assert training_files.best_arrays(tmp_path) == [[best]]
        assert training_files.best_arrays(tmp_path, 10) == [[10]]


def test_averaging_begins_when_validation_has_not_improved(
    tmp_path, monkeypatch
):
    # Worse than the best of all but the last two: at epoch 5, for 2.1.
    losses = iter([3.0, 2.0, 2.5, 2.2, 2.1, 2.0, 1.9])
    monkeypatch.setattr(
        language_model_epochs._Training,
        "_validation_loss",
        lambda self, weights: next(losses),
    )
    config = _config(
        {"num_epochs": 7}, average="nonmonotone", average_patience=2
    )
    epochs = _train(config, tmp_path)
    assert [e.averaged for e in epochs] == [False] * 4 + [True] * 3 or [
        e.averaged for e in epochs
    ] == [False] * 5 + [True] * 2
    _, place, _ = snapshot(tmp_path)
    # Algorithm 1 looks at the losses before the present one.
    history = [3.0, 2.0, 2.5, 2.2, 2.1]
    begin = next(
        k
        for k in range(len(history))
        if k > 2 and history[k] > min(history[:k][:-2])
    )
    assert place["average_from"] == epochs[begin].updates


def test_num_updates_may_end_in_mid_epoch(tmp_path):
    config = _config({"num_epochs": 0, "num_updates": 20})
    epochs = _train(config, tmp_path)
    per_epoch = len(windows_of(stream_array(_corpus().train, 4).shape[1], 12,
                               0, 0, False))  # fmt: skip
    assert per_epoch < 40
    want = [*range(per_epoch, 20, per_epoch), 20]
    assert [epoch.updates for epoch in epochs] == want


def test_a_cosine_ends_with_the_last_update(tmp_path, monkeypatch):
    rates = []
    update = LanguageModelSteps.update

    def spy(self, tokens, states, rate, average_rate):
        rates.append(rate)
        return update(self, tokens, states, rate, average_rate)

    monkeypatch.setattr(LanguageModelSteps, "update", spy)
    model = {"num_epochs": 0, "num_updates": 50, "schedule": "cosine"}
    _train(_config(model), tmp_path)
    want = 0.25 * (1 + np.cos(np.pi * np.arange(50) / 50))
    np.testing.assert_allclose(rates, want, rtol=1e-6, atol=1e-9)


# Recovery.

_ALL = {
    "average": "nonmonotone",
    "average_patience": 1,
    "vary_steps": True,
    "micro_batches": 2,
}
_DROPOUT = {
    "num_epochs": 4,
    "optimizer": "adam",
    "learning_rate": 0.05,
    "embedding_dropout": 0.1,
    "output_dropout": 0.2,
    "recurrent_dropout": 0.2,
}


def _interrupted(config, workdir, updates):
    """Trains, stopped after each of some updates and begun again."""
    for stop in updates:
        with pytest.raises(Stop):
            _train(config, workdir, on_update=stop_at(stop))
    return _train(config, workdir)


@pytest.mark.parametrize("changes", [{}, _ALL], ids=["plain", "all"])
def test_an_interrupted_training_is_as_if_it_had_not_been(changes, tmp_path):
    config = _config(_DROPOUT, **changes)
    whole = _train(config, tmp_path / "whole")
    # At once; in mid-epoch; right after and right before a snapshot.
    parts = _interrupted(config, tmp_path / "parts", [1, 10, 7, 8])
    for one, other in zip(whole, parts, strict=True):
        other = dataclasses.replace(other, elapsed_s=one.elapsed_s)
        assert other == one
    _assert_same(snapshot(tmp_path / "whole"), snapshot(tmp_path / "parts"))
    results = [
        json.loads((tmp_path / name / "result.json").read_text())["metrics"]
        for name in ("whole", "parts")
    ]
    assert results[0] == results[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The workdir of a training that is finished, and its epochs."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    return workdir, _train(_config(), workdir)


@pytest.fixture
def workdir(trained, tmp_path):
    """A workdir of a test's own in which a training is finished."""
    return shutil.copytree(trained[0], tmp_path / "run")


def test_a_finished_training_yields_its_epochs_again(trained, workdir):
    result = (workdir / "result.json").read_bytes()
    updates = []
    again = _train(_config(), workdir, on_update=updates.append)
    assert again == trained[1]
    assert not updates
    assert (workdir / "result.json").read_bytes() == result


def test_a_damaged_snapshot_is_passed_over(tmp_path):
    config = _config(_DROPOUT)
    whole = _train(config, tmp_path / "whole")
    with pytest.raises(Stop):
        tell = stop_at(21)
        _train(config, tmp_path / "parts", on_update=tell)
    newest = max((tmp_path / "parts" / "checkpoints").glob("step_*"))
    newest.write_bytes(newest.read_bytes()[:-100])
    parts = _train(config, tmp_path / "parts")
    assert [e.train_loss_nats for e in parts] == [
        e.train_loss_nats for e in whole
    ]
    _assert_same(snapshot(tmp_path / "whole"), snapshot(tmp_path / "parts"))


def test_if_all_snapshots_are_damaged_nothing_is_begun_anew(workdir):
    for path in (workdir / "checkpoints").glob("step_*"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="all snapshots are damaged"):
        _train(_config(), workdir)


def _diverging(monkeypatch, at):
    """Makes the updates of these numbers, counted over all calls, NaN."""
    count = itertools.count(1)
    update = LanguageModelSteps.update

    def broken(self, *arguments):
        loss, states = update(self, *arguments)
        return (math.nan if next(count) in at else loss), states

    monkeypatch.setattr(LanguageModelSteps, "update", broken)


def test_a_loss_of_nan_goes_back_with_half_the_rate_and_says_so(
    tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr(
        training_loop.logging,
        "warning",
        lambda text, *values: said.append(text % values),
    )
    _diverging(monkeypatch, {10})
    seen = []
    epochs = _train(_config({"num_epochs": 2}), tmp_path, on_update=seen.append)
    assert [e.rollbacks for e in epochs] == [1, 1]
    assert [e.learning_rate for e in epochs] == [0.25, 0.25]
    # Updates 1 to 9, then from the snapshot after 7 on.
    assert [u.batch for u in seen[:12]] == [*range(1, 10), 8, 9, 10]
    # The sum of the epoch's losses goes back, too.
    assert epochs[0].train_loss_nats < 5
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["rollbacks"] == 1
    assert said == [
        "Diverged in epoch 1, at update 9: a training loss of nan nats. Back "
        "to update 7, with half the rate: time 1 of 3."
    ]


def test_half_the_rate_outlives_an_interruption(tmp_path, monkeypatch):
    _diverging(monkeypatch, {10})
    parts = _interrupted(_config(), tmp_path, [11])
    assert [e.learning_rate for e in parts] == [0.25, 0.25]


def test_after_three_times_the_training_ends(tmp_path, monkeypatch):
    _diverging(monkeypatch, range(10, 10_000))
    message = (
        "diverged in epoch 1, at update 0: a training loss of nan nats. Gone "
        "back 3 times already"
    )
    with pytest.raises(TrainingError, match=re.escape(message)):
        _train(_config(), tmp_path)
    number = json.loads((tmp_path / "rollbacks.json").read_text())["number"]
    assert number == 3


def test_a_snapshot_of_bad_weights_is_passed_over(tmp_path, monkeypatch):
    # The loss of update 15 is of the weights that the snapshot after 14 holds.
    _diverging(monkeypatch, {15})
    seen = []
    epochs = _train(_config(), tmp_path, on_update=seen.append)
    assert epochs[-1].rollbacks == 1
    assert [u.batch for u in seen[:16]] == [*range(1, 15), 8, 9]


def test_an_interrupted_going_back_costs_no_snapshot(tmp_path, monkeypatch):
    _diverging(monkeypatch, {10})

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as during:
        during.setattr(training_loop.logging, "warning", full)
        with pytest.raises(OSError, match="No space left"):
            _train(_config(), tmp_path)
    epochs = _train(_config(), tmp_path)
    assert [e.learning_rate for e in epochs] == [0.25, 0.25]


def test_dynamic_evaluation_that_diverges_is_left_out(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        training_loop.logging,
        "warning",
        lambda text, *values: said.append(text % values),
    )
    config = _config({"clip_norm": 1e6}, dynamic_rate=1e6)
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, learning_rate=1e-9)
    )
    _train(config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert "test_loss_nats" in result["metrics"]
    assert "test_dynamic_loss_nats" not in result["metrics"]
    assert said[-1] == (
        "Dynamic evaluation diverged on the test text, with "
        "dynamic_rate=1e+06: it is left out of the result."
    )


def test_best_weights_that_are_damaged_are_not_replaced_by_older(tmp_path):
    _train(_config({"num_epochs": 4}), tmp_path)
    newest = max((tmp_path / "best").glob("step_*"))
    newest.write_bytes(newest.read_bytes()[:-9])
    message = r"best: the best weights after \d+ updates are damaged or gone"
    with pytest.raises(ValueError, match=message):
        training_files.best_arrays(tmp_path)


def test_what_killed_writers_left_is_removed(workdir):
    for folder in (".", "best", "checkpoints"):
        (workdir / folder / ".step_1.npz.7.tmp").touch()
    _train(_config(), workdir)
    assert not list(workdir.rglob(".*.tmp"))


def test_another_backend_may_not_go_on(workdir, monkeypatch):
    monkeypatch.setattr(
        language_model_epochs.keras.backend, "backend", lambda: "jax"
    )
    with pytest.raises(ValueError, match="backend was 'tensorflow', is 'jax'"):
        _train(_config(), workdir)


def test_first_weights_that_are_of_no_use_end_it_at_once(tmp_path, monkeypatch):
    _diverging(monkeypatch, {1})
    message = "diverged before the first update: a training loss of nan nats"
    with pytest.raises(TrainingError, match=message):
        _train(_config(), tmp_path)


def test_weights_that_are_not_finite_are_not_kept(tmp_path, monkeypatch):
    update = LanguageModelSteps.update
    count = itertools.count(1)

    def broken(self, *arguments):
        result = update(self, *arguments)
        if next(count) == 14:  # The loss is of before; a snapshot follows.
            bias = self.model.softmax_bias
            bias.assign(np.full(bias.shape, np.inf))
        return result

    monkeypatch.setattr(LanguageModelSteps, "update", broken)
    epochs = _train(_config(), tmp_path)
    assert epochs[-1].rollbacks == 1
    for array in snapshot(tmp_path)[2].values():
        assert np.isfinite(array).all()


# Refusals.


def test_a_workdir_of_another_configuration_is_refused(workdir):
    before = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=re.escape(
        "settings.model.clip_norm was 0.5, is 0.25"
    )):  # fmt: skip
        _train(_config({"clip_norm": 0.25}), workdir)
    with pytest.raises(ValueError, match="settings.cell.name was 'lstm'"):
        _train(_config(cell="gru"), workdir)
    assert before == {
        p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()
    }


def test_a_workdir_in_use_is_refused(tmp_path):
    with (
        locks.exclusive(tmp_path),
        pytest.raises(ValueError, match="is in use by pid"),
    ):
        _train(_config(), tmp_path)


def test_too_few_parameters_are_refused(tmp_path):
    message = "A model of one unit of cell 'lstm' has"
    with pytest.raises(ValueError, match=message):
        _train(_config(parameters=10), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(compilation.keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match=re.escape(
        "KERAS_BACKEND must be one of ['tensorflow', 'jax'] to train a model. "
        "Received: 'torch'."
    )):  # fmt: skip
        compilation.check_backend()


@pytest.mark.parametrize(
    ("argument", "value", "rule"),
    [
        ("level", "byte", "one of ('char', 'word')"),
        ("dataset", "wikipedia", "one of ('embedded', 'tiny_shakespeare',"),
        ("average", "always", "one of ('none', 'nonmonotone')"),
        ("precision", "float16", "one of ('float32', 'mixed_bfloat16')"),
        ("parameters", -1, "an int of at least 0"),
        ("average_patience", 0, "an int of at least 1"),
        ("micro_batches", 3, "a divisor of batch_size=4"),
        ("micro_batches", True, "an int of at least 1"),
        ("evaluation_batch_size", 0, "an int of at least 1"),
        ("snapshot_updates", 1.5, "an int of at least 1"),
        ("dynamic_rate", math.inf, "finite and not negative"),
        ("seed", -1, "an int of at least 0"),
    ],
)
def test_a_value_out_of_range_is_refused(argument, value, rule):
    with pytest.raises(ValueError) as caught:
        _config(**{argument: value})
    message = str(caught.value)
    assert message.startswith(f"{argument} must be {rule}")
    assert message.endswith(f"Received: {argument}={value!r}.")
