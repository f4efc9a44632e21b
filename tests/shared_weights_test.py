"""Tests of `SharedWeights` against plain loops, and of its interruptions."""

import dataclasses
import functools
import json
import math
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.data.text import build_corpus
from nas_keras.search import SearchError
from nas_keras.search import SharedWeights
from nas_keras.search import search
from nas_keras.search.noise import noise
from nas_keras.search.trial import Evaluation
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import enas_recurrent_space
from nas_keras.spaces import tree_space
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import LanguageModelTask

_TREE = tree_space(2)
_DAG = enas_recurrent_space(3)
_ALL = enas_recurrent_space(3, average="all")
_SPACES = [_TREE, _DAG, _ALL]
_NAMES = ["tree", "loose_ends", "all"]
# Three updates of the controller and half a batch; phases before 0 and 2.
_NUM_TRIALS, _BATCH_SIZE = 14, 4


def _corpus(num_lines=60):
    sentence = "the cell reads one word, then the next, and forgets a third. "
    words = (sentence[k % 7 :] for k in range(num_lines))
    return build_corpus("\n".join(words), "char", name="sentences")


def _task(**changes):
    arguments = {
        "units": 5,
        "batch_size": 4,
        "num_steps": 6,
        "num_updates": 7,
        "optimizer": "sgd",
        "init_scale": 0.4,
        "learning_rate": 0.5,
        "clip_norm": 0.3,  # Less than the first gradients of both spaces.
        "jit_compile": False,  # Compiling would take longer than running.
        **changes,
    }
    return LanguageModelTask(LanguageModelConfig(**arguments), _corpus())


def _shared(space=_TREE, task=None, **changes):
    arguments = {"num_phases": 2, "steps_per_phase": 2, **changes}
    return SharedWeights(space, task or _task(), **arguments)


def _random_tokens(space, num, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(space.num_options, size=(num, len(space.choices)))


def _weights(shared):
    return [np.array(v) for v in shared.model.trainable_variables]


def _raises(message, error=ValueError):
    return pytest.raises(error, match=re.escape(message))


# The other path: `NASRNN` in a tree space, the equations in that of ENAS, eager
# and dense; the optimizers from their papers.


def _dag_logits(space, tokens, weights, inputs, h):
    softmax_kernel, softmax_bias, embedding, kernel, recurrent, rows = weights
    dag = space.structure
    outputs = []
    for t in range(inputs.shape[1]):
        x = tf.gather(embedding, inputs[:, t])
        c, gate = tf.split(x @ kernel + h @ recurrent, 2, axis=1)
        states = [h + tf.sigmoid(gate) * (tf.tanh(c) - h)]
        for node in range(1, dag.nodes + 1):
            read, activation = tokens[2 * node - 2 : 2 * node]
            s = states[read]
            row = (node * (node - 1) // 2 + read) * 4 + activation
            c, gate = tf.split(s @ rows[row], 2, axis=1)
            value = (tf.tanh, tf.nn.relu, tf.sigmoid, tf.identity)[activation]
            states.append(s + tf.sigmoid(gate) * (value(c) - s))
        averaged = dag.averaged([int(k) for k in tokens[0::2]])
        h = tf.add_n([states[k] for k in averaged]) / len(averaged)
        outputs.append(h @ softmax_kernel + softmax_bias)
    return tf.stack(outputs, axis=1), h


def _oracle(space, task, tokens, weights):
    """Returns a function of a window and states: (loss, gradients, states)."""
    spec = space.decode(tokens)
    batch_size, units = task.config.batch_size, task.config.units
    zeros = tf.zeros((batch_size, units))
    if space is _TREE:
        model = task.model(spec)
        variables = model.trainable_variables
        begin = [[zeros, zeros]]
    else:
        variables = [tf.Variable(w, dtype=tf.float32) for w in weights]
        begin = zeros
    for variable, value in zip(variables, weights, strict=True):
        variable.assign(value)

    def window(tokens_of_text, states):
        inputs, targets = tokens_of_text[:, :-1], tokens_of_text[:, 1:]
        with tf.GradientTape() as tape:
            if space is _TREE:
                logits, states, *_ = model(tf.constant(inputs), states)
            else:
                logits, states = _dag_logits(
                    space, tokens, variables, inputs, states
                )
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                tf.constant(targets, tf.int32), logits
            )
            loss = tf.reduce_mean(losses)
        values = variables
        if space is _TREE:
            values = [v.value for v in variables]
        gradients = tape.gradient(loss, values)
        gradients = [np.array(tf.convert_to_tensor(g)) for g in gradients]
        return float(loss), gradients, states

    return window, begin


def _window(task, split, number):
    """Returns the tokens [B, T + 1] of a window, the first after the last."""
    config = task.config
    text = getattr(task.corpus, split)
    length = len(text) // config.batch_size
    rows = text[: length * config.batch_size].reshape(config.batch_size, length)
    first = number % ((length - 1) // config.num_steps) * config.num_steps
    return rows[:, first : first + config.num_steps + 1]


def _num_validation_windows(task):
    length = len(task.corpus.validation) // task.config.batch_size
    return (length - 1) // task.config.num_steps


def _trained(space, task, rows, weights, first=0):
    """Returns the losses of a plain loop, and the weights after it."""
    config = task.config
    weights = [w.astype(np.float64) for w in weights]
    moments = [[np.zeros_like(w), np.zeros_like(w)] for w in weights]
    losses = []
    for number, tokens in enumerate(rows, start=first):
        window, states = _oracle(space, task, tokens, weights)
        loss, gradients, _ = window(_window(task, "train", number), states)
        losses.append(loss)
        norm = math.sqrt(sum((g.astype(float) ** 2).sum() for g in gradients))
        factor = min(1.0, config.clip_norm / norm)
        step = number + 1
        for k, gradient in enumerate(gradients):
            gradient = gradient * factor
            if config.optimizer == "sgd":
                weights[k] -= config.learning_rate * gradient
                continue
            m, v = moments[k]
            m += 0.1 * (gradient - m)
            v += 0.001 * (gradient**2 - v)
            # Kingma & Ba, the form at the end of section 2, as Keras has it.
            rate = config.learning_rate * math.sqrt(1 - 0.999**step)
            weights[k] -= rate / (1 - 0.9**step) * m / (v**0.5 + 1e-7)
    return losses, weights


def _assert_near(got, want, tolerance=1e-4):
    for value, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(value, expected, atol=tolerance)


# The training of the weights.


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("space", _SPACES, ids=_NAMES)
def test_training_is_that_of_a_plain_loop(space, optimizer):
    rate = {"sgd": 0.5, "adam": 0.02}[optimizer]
    task = _task(optimizer=optimizer, learning_rate=rate)
    shared = _shared(space, task)
    rows = _random_tokens(space, 6)
    begin = _weights(shared)
    want_losses, want = _trained(space, task, rows, begin)
    mean = shared.train(rows)
    assert mean == pytest.approx(np.mean(want_losses), abs=1e-5)
    _assert_near(_weights(shared), want)
    for before, after in zip(begin, _weights(shared), strict=True):
        assert np.abs(before - after).max() > 1e-3


@pytest.mark.parametrize("space", [_TREE, _DAG], ids=["tree", "dag"])
def test_training_one_architecture_again_and_again(space):
    task = _task(clip_norm=1e3)  # Nor is the gradient clipped.
    shared = _shared(space, task)
    rows = np.repeat(_random_tokens(space, 1, seed=1), 5, axis=0)
    want_losses, want = _trained(space, task, rows, _weights(shared))
    assert shared.train(rows) == pytest.approx(np.mean(want_losses), abs=1e-5)
    _assert_near(_weights(shared), want)


def test_the_text_begins_anew_at_its_end_and_goes_on_where_told():
    task = _task(num_updates=400)
    length = len(task.corpus.train) // 4
    num_windows = (length - 1) // 6
    shared = _shared(task=task)
    rows = _random_tokens(_TREE, 4)
    first = num_windows - 2
    _, want = _trained(_TREE, task, rows, _weights(shared), first)
    shared.train(rows, first)
    _assert_near(_weights(shared), want)


@pytest.mark.parametrize("space", [_TREE, _DAG], ids=["tree", "dag"])
def test_one_trace_serves_all_architectures_and_xla_changes_nothing(space):
    rows = _random_tokens(space, 9)
    found = []
    for jit_compile in (False, True):
        shared = _shared(space, _task(jit_compile=jit_compile))
        assert shared.num_traces == 0
        shared.train(rows)
        assert shared.num_traces == 1
        shared.train(rows[::-1], 9)
        assert shared.num_traces == 1
        rewards = [e.reward for e in shared.evaluate(rows, seed=0)]
        assert len(set(rewards)) == len({tuple(row) for row in rows})
        assert shared._validation._losses.experimental_get_tracing_count() == 1
        found.append([*_weights(shared), rewards])
    _assert_near(*found)


@pytest.mark.parametrize("clip_norm", [0.01, 1e3])
def test_sgd_changes_the_matrices_of_the_architecture_alone(clip_norm):
    shared = _shared(_DAG, _task(clip_norm=clip_norm))
    (tokens,) = _random_tokens(_DAG, 1)
    *_, before = _weights(shared)
    shared.train(tokens[None])
    *_, after = _weights(shared)
    changed = np.flatnonzero((before != after).any(axis=(1, 2)))
    want = [
        (node * (node - 1) // 2 + tokens[2 * node - 2]) * 4
        + tokens[2 * node - 1]
        for node in (1, 2, 3)
    ]
    assert changed.tolist() == want


def test_adam_goes_on_with_matrices_that_were_used_before():
    """Keras' Adam is dense: its averages fade in all rows, and move them."""
    task = _task(optimizer="adam", learning_rate=0.01)
    shared = _shared(_DAG, task)
    first, second = (0, 0, 0, 0, 0, 0), (0, 1, 0, 1, 0, 1)  # No row in common.
    kernels = [_weights(shared)[-1]]
    for number, tokens in enumerate((first, second)):
        shared.train(np.array([tokens]), number)
        kernels.append(_weights(shared)[-1])
    changed = [
        np.flatnonzero((a != b).any(axis=(1, 2))).tolist()
        for a, b in zip(kernels, kernels[1:], strict=False)
    ]
    assert changed == [[0, 4, 12], [0, 1, 4, 5, 12, 13]]


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_the_schedule_goes_by_the_updates_of_all_phases(schedule):
    task = _task(schedule=schedule, decay=2.0, num_updates=4)
    shared = _shared(task=task)
    rates = []
    for number in range(4):
        rates.append(float(shared._weights._optimizer.learning_rate))
        shared.train(_random_tokens(_TREE, 1), number)
    if schedule == "cosine":
        want = [0.25 * (1 + math.cos(math.pi * k / 4)) for k in range(4)]
    else:
        want = [0.25] * 4  # Epoch 0, the first to be divided in.
    assert rates == pytest.approx(want)


# Updates that would spoil the weights.


def _spoil(shared, value):
    """Sets the softmax so that a uniform guess is far better, or to `value`."""
    bias = np.zeros(shared.model.vocabulary_size)
    bias[0] = value
    shared.model.softmax_bias.assign(bias)


@pytest.mark.parametrize("space", [_TREE, _DAG], ids=["tree", "dag"])
def test_an_update_of_a_loss_far_too_high_is_skipped(space):
    shared = _shared(space)
    (tokens,) = _random_tokens(space, 1).astype(np.int32)
    assert math.isfinite(shared._weights.update(tokens, 0))
    for value in (1e3, math.nan, math.inf):
        _spoil(shared, value)
        before = shared._weights.state()
        assert math.isnan(shared._weights.update(tokens, 1)), value
        after = shared._weights.state()
        assert list(before) == list(after)
        for name, array in before.items():
            np.testing.assert_array_equal(array, after[name])


@pytest.mark.parametrize(("factor", "is_skipped"), [(0.98, 0), (1.02, 1)])
def test_the_limit_is_twice_the_loss_of_a_uniform_guess(factor, is_skipped):
    task = _task(init_scale=1e-6, learning_rate=1e-6)
    shared = _shared(task=task)
    (tokens,) = _random_tokens(_TREE, 1).astype(np.int32)
    # Of logits that are 0 but for one, by how often it is the target.
    targets = _window(task, "train", 0)[:, 1:]
    size = task.corpus.vocabulary_size
    rare = next(k for k in range(size) if not (targets == k).any())
    loss_nats = 2 * math.log(size) * factor
    bias = np.zeros(size)
    bias[rare] = math.log(math.exp(loss_nats) - (size - 1))
    shared.model.softmax_bias.assign(bias)
    got = shared._weights.update(tokens, 0)
    assert math.isnan(got) == bool(is_skipped)
    if not is_skipped:
        assert got == pytest.approx(loss_nats, rel=1e-4)


def test_a_gradient_that_is_not_finite_is_skipped(monkeypatch):
    shared = _shared()
    weights = shared._weights
    gradients = weights._loss_and_gradients

    def infinite(*arguments):
        loss, values = gradients(*arguments)
        return loss, [values[0] * math.inf, *values[1:]]

    monkeypatch.setattr(weights, "_loss_and_gradients", infinite)
    before = _weights(shared)
    (tokens,) = _random_tokens(_TREE, 1).astype(np.int32)
    assert math.isnan(weights.update(tokens, 0))
    _assert_near(_weights(shared), before, 0)


@pytest.mark.parametrize(
    ("num_bad", "fails"), [(1, False), (2, False), (3, True)]
)
def test_a_phase_of_which_more_than_half_is_skipped_ends(
    num_bad, fails, monkeypatch
):
    shared = _shared()
    losses = iter([math.nan] * num_bad + [2.0, 4.0, 9.0][: 4 - num_bad])
    monkeypatch.setattr(
        shared._weights, "update", lambda tokens, number: next(losses)
    )
    rows = _random_tokens(_TREE, 4)
    if not fails:
        assert shared.train(rows) == pytest.approx({1: 5.0, 2: 3.0}[num_bad])
        return
    message = (
        "The shared weights do not train: 3 of 4 updates had a loss above "
        "twice that of a uniform guess, or no finite gradient. A lower "
        "learning rate or clip_norm may help."
    )
    with _raises(message, SearchError):
        shared.train(rows)


def test_a_training_that_diverges_ends_the_search():
    task = _task(learning_rate=1e4, clip_norm=1e4, num_updates=40)
    trials = search(RandomController(_TREE), _shared(task=task), 4)
    with _raises("The shared weights do not train: ", SearchError):
        next(trials)


@pytest.mark.parametrize("rows", [[[0] * 9], [[0] * 9 + [7]]])
def test_training_takes_architectures_of_the_space_alone(rows):
    shared = _shared()
    begin = _weights(shared)
    with pytest.raises(ValueError, match="takes 10 tokens|must be an int in"):
        shared.train(np.array(rows))
    _assert_near(_weights(shared), begin, 0)


# The rewards.


def _want_loss(space, task, tokens, weights, first, num):
    window, states = _oracle(space, task, tokens, weights)
    losses = []
    for number in range(first, first + num):
        loss, _, states = window(_window(task, "validation", number), states)
        losses.append(loss)
    return np.mean(losses)


@pytest.mark.parametrize(
    ("space", "num"),
    [(_TREE, 0), (_TREE, 1), (_TREE, 2), (_DAG, 2), (_ALL, 0)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_reward_is_of_the_next_windows_of_the_validation_text(space, num):
    task = _task()
    num_windows = _num_validation_windows(task)
    assert num_windows > 4
    shared = _shared(space, task, windows_per_reward=num, num_phases=1, c=3.0)
    controller = RandomController(space)
    rows = _random_tokens(space, 3)
    for step in range(num_windows):
        shared.prepare(step, controller)
        for tokens, got in zip(rows, shared.evaluate(rows, 0), strict=True):
            want = _want_loss(
                space, task, tokens, _weights(shared),
                step * (num or num_windows), num or num_windows,
            )  # fmt: skip
            loss_nats = got.metrics["validation_loss_nats"]
            assert loss_nats == pytest.approx(want, abs=1e-5)
            assert got.reward == pytest.approx(3.0 * math.exp(-loss_nats))
            assert got.elapsed_s > 0
        if step == 1:
            break


@pytest.mark.parametrize("space", [_TREE, _DAG], ids=["tree", "dag"])
def test_the_scorer_is_of_the_whole_validation_text(space):
    task = _task()
    shared = _shared(space, task)
    scorer = shared.scorer()
    rows = _random_tokens(space, 2)
    shared.train(rows)
    shared.prepare(3, RandomController(space))  # No phase: windows move on.
    num = _num_validation_windows(task)
    for tokens, got in zip(rows, scorer.evaluate(rows, 0), strict=True):
        want = _want_loss(space, task, tokens, _weights(shared), 0, num)
        loss_nats = got.metrics["validation_loss_nats"]
        assert loss_nats == pytest.approx(want, abs=1e-5)
    json.dumps(scorer.config())
    assert scorer.config() != shared.config()
    assert scorer.is_repeatable and not shared.is_repeatable


def test_the_scored_text_is_that_of_the_config():
    task = _task(max_validation_tokens=2 * 4 * 6 + 4)
    shared = _shared(task=task, windows_per_reward=0)
    (tokens,) = _random_tokens(_TREE, 1)
    # Its own streams: of fewer tokens each other ones are side by side.
    text = task.corpus.validation[:52].reshape(4, 13)
    window, states = _oracle(_TREE, task, tokens, _weights(shared))
    first, _, states = window(text[:, :7], states)
    second, _, _ = window(text[:, 6:], states)
    (got,) = shared.evaluate(tokens[None], 0)
    want = (first + second) / 2
    assert got.metrics["validation_loss_nats"] == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("space", [_TREE, _DAG], ids=["tree", "dag"])
def test_a_score_depends_on_the_row_alone_and_changes_nothing(space):
    task = _task(
        input_dropout=0.5, recurrent_dropout=0.5, embedding_dropout=0.2
    )
    shared = _shared(space, task)
    rows = _random_tokens(space, 5)
    shared.train(rows)
    before = shared._weights.state()
    found = [
        shared.evaluate(rows, seed=0),
        shared.evaluate(rows, seed=9),
        shared.evaluate(rows[::-1], seed=0)[::-1],
        [shared.evaluate(row[None], seed=0)[0] for row in rows],
    ]
    shared.scorer().evaluate(rows, seed=0)
    for evaluations in found[1:]:
        for got, want in zip(evaluations, found[0], strict=True):
            assert (got.reward, got.metrics) == (want.reward, want.metrics)
    for name, array in shared._weights.state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("reward", "c", "want"),
    [
        ("c/ppl", 80.0, lambda loss: 80 * math.exp(-loss)),
        ("c/ppl^2", 2.0, lambda loss: 2 * math.exp(-2 * loss)),
        ("-loss", 80.0, lambda loss: -loss),
    ],
)
def test_rewards_are_of_the_validation_loss(reward, c, want):
    shared = _shared(reward=reward, c=c)
    (got,) = shared.evaluate(_random_tokens(_TREE, 1), 0)
    loss_nats = got.metrics["validation_loss_nats"]
    assert got.reward == pytest.approx(want(loss_nats))
    assert got.metrics["validation_perplexity"] == pytest.approx(
        math.exp(loss_nats)
    )
    assert got.metrics["validation_bits_per_char"] == pytest.approx(
        loss_nats / math.log(2)
    )


def test_an_architecture_that_diverged_is_infeasible():
    shared = _shared()
    rows = _random_tokens(_TREE, 1)
    for value in (math.nan, math.inf, 1e4):
        _spoil(shared, value)
        for evaluator in (shared, shared.scorer()):
            (got,) = evaluator.evaluate(rows, 0)
            assert got.reward is None, value
            assert re.match(
                "FloatingPointError: diverged: the validation loss is "
                "(nan|1e|9)",
                got.infeasible,
            )
    _spoil(shared, 0.0)
    assert shared.evaluate(rows, 0)[0].reward is not None


def test_a_validation_text_without_a_window_is_refused():
    config, corpus = _task().config, _corpus()
    short = dataclasses.replace(corpus, validation=corpus.validation[:27])
    with _raises("The validation part of the text 'sentences' has 27 tokens"):
        LanguageModelTask(config, short)
    with _raises("`validation` must be non-empty"):
        dataclasses.replace(corpus, validation=corpus.validation[:0])
    with _raises("max_validation_tokens must be 0 or at least one batch"):
        _task(max_validation_tokens=27)


# Phases.


class _Recording(RandomController):
    """Remembers the noise that it was sampled with."""

    def __init__(self, space):
        super().__init__(space)
        self.sampled = []

    def sample(self, noise):
        samples = super().sample(noise)
        self.sampled.append((noise, samples.tokens))
        return samples


@pytest.mark.parametrize(
    ("num_updates", "num_phases", "steps_per_phase"),
    [(7, 3, 2), (7, 2, 1), (2, 3, 2), (6, 1, 4)],
)
def test_phases_share_the_updates_of_the_task(
    num_updates, num_phases, steps_per_phase, monkeypatch
):
    shared = _shared(
        task=_task(num_updates=num_updates),
        num_phases=num_phases,
        steps_per_phase=steps_per_phase,
        seed=5,
    )
    assert shared.num_updates == num_updates
    updates, controller = {}, _Recording(_TREE)
    for step in range(num_phases * steps_per_phase + 3):
        updates[step] = []
        monkeypatch.setattr(
            shared._weights,
            "update",
            lambda row, number, step=step: (
                updates[step].append((number, row)) or 1.0
            ),
        )
        shared.prepare(step, controller)
    done = [number for step in updates for number, _ in updates[step]]
    assert done == list(range(num_updates))
    sizes = [len(updates[step]) for step in updates]
    ends = [num_updates * k // num_phases for k in range(num_phases + 1)]
    for step, size in enumerate(sizes):
        phase, offset = divmod(step, steps_per_phase)
        is_phase = not offset and phase < num_phases
        assert size == (ends[phase + 1] - ends[phase] if is_phase else 0)
    # The architectures are the controller's, by noise of the seed and phase.
    rows = [row for step in updates for _, row in updates[step]]
    sampled = [tokens for _, tokens in controller.sampled]
    np.testing.assert_array_equal(rows, np.concatenate(sampled))
    phases = [k for k in range(num_phases) if ends[k + 1] > ends[k]]
    for phase, (used, _) in zip(phases, controller.sampled, strict=True):
        want = noise(2**62 + 5, phase, used.shape)
        np.testing.assert_array_equal(used, want)
    distinct = {used.tobytes() for used, _ in controller.sampled}
    assert len(distinct) == len(phases)


def test_epochs_are_updates():
    task = _task(num_updates=0, num_epochs=3)
    length = len(task.corpus.train) // 4
    assert _shared(task=task).num_updates == 3 * ((length - 1) // 6)


def test_progress_is_told():
    told = []
    shared = _shared(
        task=_task(num_updates=120), num_phases=1,
        on_updated=lambda *counts: told.append(counts),
    )  # fmt: skip
    shared.prepare(0, RandomController(_TREE))
    assert told == [(50, 120), (100, 120), (120, 120)]


# Searches.


@functools.cache
def _compiled(space, loss):
    controller = PolicyGradientController(
        space, units=4, num_layers=1, loss=loss
    )
    return controller, controller.state()


def _policy(space, loss="reinforce"):
    """Returns a new controller, or one like new: compiling takes seconds."""
    controller, state = _compiled(space, loss)
    controller.restore(state)
    return controller


def _search(workdir, shared, controller=None, num_trials=_NUM_TRIALS):
    """Returns trials, and the states of the controller and of the weights."""
    controller = controller or _policy(shared.space)
    trials = list(
        search(controller, shared, num_trials, workdir, batch_size=_BATCH_SIZE)
    )
    return trials, controller.state(), shared._weights.state()


def _told(trials):
    return [(t.id, t.tokens, t.evaluation.reward, t.same_as) for t in trials]


def _assert_same(run, want):
    assert _told(run[0]) == _told(want[0])
    for arrays, wanted in zip(run[1:], want[1:], strict=True):
        assert list(arrays) == list(wanted)
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, wanted[name])


@pytest.fixture(scope="module")
def shared():
    """What most searches are made with: `search` begins it anew."""
    # A dropout, for the state of its generators.
    return _shared(task=_task(optimizer="adam", learning_rate=0.02,
                              recurrent_dropout=0.3))  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, shared):
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    return workdir, _search(workdir, shared)


def _stop_after(workdir, shared, num):
    trials = search(
        _policy(shared.space), shared, _NUM_TRIALS, workdir,
        batch_size=_BATCH_SIZE,
    )  # fmt: skip
    for _ in range(num):
        next(trials)
    trials.close()


def test_a_search_learns_and_keeps_what_it_needs(undisturbed, shared):
    workdir, (trials, state, _) = undisturbed
    assert [t.id for t in trials] == list(range(_NUM_TRIALS))
    assert all(t.evaluation.reward > 0 for t in trials)
    _, fresh = _compiled(_TREE, "reinforce")
    assert any((state[name] != fresh[name]).any() for name in state)
    folder = workdir / "shared_weights"
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json", "step_00000001.npz", "step_00000002.npz"
    ]  # fmt: skip
    config = json.loads((workdir / "config.json").read_text())["run"]
    assert config["evaluator"] == json.loads(json.dumps(shared.config()))


@pytest.mark.parametrize("with_workdir", [False, True])
def test_the_same_evaluator_begins_anew(
    with_workdir, tmp_path, shared, undisturbed
):
    shared.train(_random_tokens(_TREE, 2))
    run = _search(tmp_path / "run" if with_workdir else None, shared)
    _assert_same(run, undisturbed[1])
    assert shared.num_traces == 1


def test_the_seeds_decide(undisturbed, shared):
    other = _shared(task=shared.task, seed=1)
    trials, _, state = _search(None, other)
    want, _, want_state = undisturbed[1]
    assert [t.tokens for t in trials[:4]] == [t.tokens for t in want[:4]]
    assert trials[0].evaluation.reward != want[0].evaluation.reward
    assert (state["000"] != want_state["000"]).any()


# Phases are before trials 0 and 8.
@pytest.mark.parametrize("num", [1, 3, 4, 7, 8, 9, 12, 14])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(
    num, tmp_path, shared, undisturbed
):
    _stop_after(tmp_path / "run", shared, num)
    run = _search(tmp_path / "run", shared)
    _assert_same(run, undisturbed[1])


def test_a_search_goes_on_with_an_evaluator_that_is_made_anew(
    tmp_path, shared, undisturbed
):
    _stop_after(tmp_path / "run", shared, 10)
    anew = _shared(task=shared.task)
    _assert_same(_search(tmp_path / "run", anew), undisturbed[1])


@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize("where", ["training", "before the snapshot", "after"])
def test_a_search_stopped_around_a_snapshot_goes_on(
    phase, where, tmp_path, shared, undisturbed, monkeypatch
):
    """As by a kill: after a phase, its snapshot, and before its first trial."""

    def stop(*arguments):
        raise KeyboardInterrupt

    names = {"training": (shared._weights, "update"),
             "before the snapshot": (shared, "on_updated"),
             "after": (shared, "evaluate")}  # fmt: skip
    owner, name = names[where]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        trials = search(
            _policy(_TREE), shared, _NUM_TRIALS, tmp_path / "run",
            batch_size=_BATCH_SIZE,
        )  # fmt: skip
        for _ in range(8 * phase):
            next(trials)
        patch.setattr(owner, name, stop)
        next(trials)
    folder = tmp_path / "run" / "shared_weights"
    has_it = (folder / f"step_{phase + 1:08d}.npz").exists()
    assert has_it == (where == "after")
    _assert_same(_search(tmp_path / "run", shared), undisturbed[1])


def test_a_search_that_is_made_longer_equals_a_long_one(
    tmp_path, shared, undisturbed
):
    for num in (6, 8, 10):
        _search(tmp_path / "run", shared, num_trials=num)
    _assert_same(_search(tmp_path / "run", shared), undisturbed[1])


def test_a_finished_search_has_its_weights_again(tmp_path, shared, undisturbed):
    shutil.copytree(undisturbed[0], tmp_path / "run")
    shared.train(_random_tokens(_TREE, 2))  # The weights are others.
    _assert_same(_search(tmp_path / "run", shared), undisturbed[1])


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def _remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [_flip, _remove])
@pytest.mark.parametrize("name", ["step_00000002.npz", "manifest.json"])
def test_damaged_weights_are_made_again_loudly(
    damage, name, tmp_path, shared, undisturbed, caplog, monkeypatch
):
    _stop_after(tmp_path / "run", shared, 13)
    damage(tmp_path / "run" / "shared_weights" / name)
    asked, steps = [], []
    evaluate, prepare = shared.evaluate, shared.prepare
    with monkeypatch.context() as patch:
        patch.setattr(
            shared, "evaluate",
            lambda *args: asked.append(args) or evaluate(*args),
        )  # fmt: skip
        patch.setattr(
            shared, "prepare",
            lambda step, c: steps.append(step) or prepare(step, c),
        )  # fmt: skip
        run = _search(tmp_path / "run", shared)
    _assert_same(run, undisturbed[1])
    assert (
        "What the evaluator had learnt is damaged or gone; replaying 3 updates."
        in caplog.text
    )
    assert steps == [0, 1, 2, 3]
    assert len(asked) == 1  # What the journal has is not evaluated again.


def test_a_lost_checkpoint_of_the_controller_replays_the_weights_too(
    tmp_path, shared, undisturbed
):
    _stop_after(tmp_path / "run", shared, 13)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    _assert_same(_search(tmp_path / "run", shared), undisturbed[1])


@pytest.fixture(scope="module")
def four_phases():
    """An evaluator of a phase before every step, and what its search finds."""
    shared = _shared(num_phases=4, steps_per_phase=1)
    return shared, _search(None, shared)


def test_the_last_two_snapshots_are_kept(tmp_path, four_phases):
    shared, want = four_phases
    _stop_after(tmp_path / "run", shared, 12)
    folder = tmp_path / "run" / "shared_weights"
    names = sorted(path.name for path in folder.glob("*.npz"))
    assert names == ["step_00000002.npz", "step_00000003.npz"]
    _assert_same(_search(tmp_path / "run", shared), want)


def test_weights_that_were_pruned_are_made_again(tmp_path, four_phases, caplog):
    """Here both are older: the controller's checkpoint, and its weights."""
    shared, want = four_phases
    _stop_after(tmp_path / "run", shared, 13)
    (tmp_path / "run" / "checkpoints" / "step_00000003.npz").unlink()
    (tmp_path / "run" / "shared_weights" / "step_00000003.npz").unlink()
    (tmp_path / "run" / "shared_weights" / "step_00000004.npz").unlink()
    _assert_same(_search(tmp_path / "run", shared), want)
    assert "replaying 2 updates" in caplog.text


def test_another_workdir_begins_anew(tmp_path, shared, undisturbed):
    _stop_after(tmp_path / "first", shared, 10)
    _assert_same(_search(tmp_path / "second", shared), undisturbed[1])
    _assert_same(_search(tmp_path / "first", shared), undisturbed[1])


def test_the_weights_of_a_workdir_are_of_its_arguments(tmp_path, shared):
    _stop_after(tmp_path / "run", shared, 5)
    other = _shared(task=shared.task, num_phases=3)
    with _raises("evaluator.num_phases was 2, is 3"):
        _search(tmp_path / "run", other)


# The tree and REINFORCE are what all searches above are of.
@pytest.mark.parametrize(
    ("space", "loss"),
    [(_TREE, "random"), (_TREE, "ppo"), (_DAG, "reinforce"), (_ALL, "ppo")],
    ids=lambda value: getattr(value, "name", value),
)
def test_spaces_and_controllers_work_together(space, loss, tmp_path):
    def controller():
        if loss == "random":
            return RandomController(space)
        return _policy(space, loss)

    shared = _shared(space, windows_per_reward=2)
    want = _search(None, shared, controller())
    stopped = search(
        controller(), shared, _NUM_TRIALS, tmp_path, batch_size=_BATCH_SIZE
    )
    for _ in range(9):
        next(stopped)
    stopped.close()
    _assert_same(_search(tmp_path, shared, controller()), want)


def test_an_architecture_that_is_met_again_is_evaluated_again(shared):
    space = enas_recurrent_space(1)
    small = _shared(space, shared.task, num_phases=3, steps_per_phase=1)
    trials, *_ = _search(None, small, RandomController(space), 12)
    assert all(trial.same_as is None for trial in trials)
    rewards = {}
    for trial in trials:
        rewards.setdefault(trial.tokens, set()).add(trial.evaluation.reward)
    assert max(map(len, rewards.values())) > 1


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward": "ppl"}, "reward must be one of ['c/ppl^2', 'c/ppl', "),
        ({"c": 0.0}, "c must be positive. Received: c=0.0."),
        ({"c": math.nan}, "c must be positive. Received: c=nan."),
        ({"num_phases": 0}, "num_phases must be at least 1. Received: "
                            "num_phases=0."),
        ({"num_phases": True}, "num_phases must be an int. Received: "
                               "num_phases=True."),
        ({"steps_per_phase": 0}, "steps_per_phase must be at least 1."),
        ({"steps_per_phase": 2.0}, "steps_per_phase must be an int."),
        ({"windows_per_reward": -1}, "windows_per_reward must be at least 0."),
        ({"windows_per_reward": None}, "windows_per_reward must be an int."),
        ({"seed": -1}, "seed must be at least 0. Received: seed=-1."),
        ({"seed": False}, "seed must be an int. Received: seed=False."),
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(arguments, message):
    with _raises(message):
        _shared(**arguments)


def test_a_space_without_a_structure_is_refused():
    space = Space([Choice("width", (1, 2))], name="widths")
    with _raises("Received: space='widths'. For others use FunctionEvaluator"):
        _shared(space)


def test_a_bias_is_refused():
    with _raises("task.config.use_bias=True"):
        _shared(task=_task(use_bias=True))


def test_a_minibatch_must_be_shared_out_evenly():
    class Three:
        size, index, is_chief = 3, 0, True

    shared = _shared()
    message = (
        "The batch_size of a task must be a multiple of the number of "
        "workers, 3. Received: batch_size=4."
    )
    with _raises(message):
        shared.open(None, 0, Three())


def test_the_config_holds_every_argument(shared):
    config = json.loads(json.dumps(shared.config()))
    assert config["class"] == "SharedWeights"
    assert config["task"] == dataclasses.asdict(shared.task.config)
    changes = {
        "task": _task(units=6),
        "reward": "-loss",
        "c": 2.0,
        "num_phases": 3,
        "steps_per_phase": 3,
        "windows_per_reward": 2,
        "seed": 3,
    }
    configs = [config] + [
        json.loads(json.dumps(_shared(**{"task": shared.task, **{name: value}})
                              .config()))
        for name, value in changes.items()
    ]  # fmt: skip
    assert len({json.dumps(c, sort_keys=True) for c in configs}) == 8
    other = LanguageModelTask(shared.task.config, _corpus(61))
    assert _shared(task=other).config() != shared.config()
    # Those that it does not name: whom it tells, and the space, which the
    # configuration of a search has from the controller.
    names = set(config) - {"class", "corpus"}
    assert names == set(changes)


def test_evaluations_are_evaluations(shared):
    rows = _random_tokens(_TREE, 2)
    assert all(isinstance(e, Evaluation) for e in shared.evaluate(rows, 0))
    with pytest.raises(ValueError, match="takes 10 tokens"):
        shared.evaluate(rows[:, 1:], 0)
