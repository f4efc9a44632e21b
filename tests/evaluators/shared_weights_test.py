"""Tests of `SharedWeights`: its phases, its arguments, its configuration."""

import dataclasses
import json
import math

import numpy as np
import pytest

from nas_keras.controllers import RandomController
from nas_keras.controllers.controller import generator_of
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.tasks import LanguageModelTask
from tests.raising import raises
from tests.shared_weights_testing import TREE
from tests.shared_weights_testing import sentences
from tests.shared_weights_testing import sharing
from tests.shared_weights_testing import small_task

# Phases.


class _Recording(RandomController):
    """Remembers what it proposed."""

    def __init__(self, space):
        super().__init__(space)
        self.proposed = []

    def propose(self, batch_size, rng):
        proposals = super().propose(batch_size, rng)
        self.proposed.append(proposals.tokens)
        return proposals


@pytest.mark.parametrize(
    ("num_updates", "num_phases", "steps_per_phase"),
    [(7, 3, 2), (7, 2, 1), (2, 3, 2), (6, 1, 4)],
)
def test_phases_share_the_updates_of_the_task(
    num_updates, num_phases, steps_per_phase, monkeypatch
):
    shared = sharing(
        task=small_task(num_updates=num_updates),
        num_phases=num_phases,
        steps_per_phase=steps_per_phase,
        seed=5,
    )
    assert shared.num_updates == num_updates
    updates, controller = {}, _Recording(TREE)
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
    # The architectures are the controller's, by the seed and the phase.
    rows = [row for step in updates for _, row in updates[step]]
    np.testing.assert_array_equal(rows, np.concatenate(controller.proposed))
    phases = [k for k in range(num_phases) if ends[k + 1] > ends[k]]
    for phase, tokens in zip(phases, controller.proposed, strict=True):
        rng = generator_of(2**62 + 5, phase)
        want = RandomController(TREE).propose(len(tokens), rng).tokens
        np.testing.assert_array_equal(tokens, want)
    distinct = {tokens.tobytes() for tokens in controller.proposed}
    assert len(distinct) == len(phases)


def test_epochs_are_updates():
    task = small_task(num_updates=0, num_epochs=3)
    length = len(task.corpus.train) // 4
    assert sharing(task=task).num_updates == 3 * ((length - 1) // 6)


def test_progress_is_told():
    told = []
    shared = sharing(
        task=small_task(num_updates=120), num_phases=1,
        on_updated=lambda *counts: told.append(counts),
    )  # fmt: skip
    shared.prepare(0, RandomController(TREE))
    assert told == [(50, 120), (100, 120), (120, 120)]


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward": "ppl"}, "reward must be one of ['c/ppl^2', 'c/ppl', "),
        ({"c": 0.0}, "c must be positive and finite. Received: c=0.0."),
        ({"c": math.nan}, "c must be positive and finite. Received: c=nan."),
        (
            {"num_phases": 0},
            "num_phases must be an int of at least 1. Received: num_phases=0.",
        ),
        (
            {"num_phases": True},
            "num_phases must be an int of at least 1. "
            "Received: num_phases=True.",
        ),
        (
            {"steps_per_phase": 0},
            "steps_per_phase must be an int of at least 1. "
            "Received: steps_per_phase=0.",
        ),
        (
            {"steps_per_phase": 2.0},
            "steps_per_phase must be an int of at least 1. "
            "Received: steps_per_phase=2.0.",
        ),
        (
            {"windows_per_reward": -1},
            "windows_per_reward must be an int of at least 0. "
            "Received: windows_per_reward=-1.",
        ),
        (
            {"windows_per_reward": None},
            "windows_per_reward must be an int of at least 0. "
            "Received: windows_per_reward=None.",
        ),
        (
            {"seed": -1},
            "seed must be an int of at least 0. Received: seed=-1.",
        ),
        (
            {"seed": False},
            "seed must be an int of at least 0. Received: seed=False.",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with raises(message):
        sharing(**arguments)


def test_a_space_without_a_structure_is_refused():
    space = Space([Choice("width", (1, 2))], name="widths")
    with raises("Received: space='widths'. For others use FunctionEvaluator"):
        sharing(space)


def test_a_bias_is_refused():
    with raises("task.config.use_bias=True"):
        sharing(task=small_task(use_bias=True))


def test_a_minibatch_must_be_shared_out_evenly():
    class Three:
        size, index, is_chief = 3, 0, True

    shared = sharing()
    message = (
        "The batch_size of a task must be a multiple of the number of "
        "workers, 3. Received: batch_size=4."
    )
    with raises(message):
        shared.open(None, 0, Three())


def test_the_config_holds_every_argument():
    shared = sharing()
    config = json.loads(json.dumps(shared.config()))
    assert config["class"] == "SharedWeights"
    assert config["task"] == dataclasses.asdict(shared.task.config)
    changes = {
        "task": small_task(units=6),
        "reward": "-loss",
        "c": 2.0,
        "num_phases": 3,
        "steps_per_phase": 3,
        "windows_per_reward": 2,
        "seed": 3,
    }
    configs = [config] + [
        json.loads(json.dumps(sharing(**{"task": shared.task, **{name: value}})
                              .config()))
        for name, value in changes.items()
    ]  # fmt: skip
    assert len({json.dumps(c, sort_keys=True) for c in configs}) == 8
    other = LanguageModelTask(shared.task.config, sentences(61))
    assert sharing(task=other).config() != shared.config()
    # Those that it does not name: whom it tells, and the space, which the
    # configuration of a search has from the controller.
    names = set(config) - {"class", "data"}
    assert names == set(changes)
