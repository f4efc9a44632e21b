"""Tests of `EvolutionController`, against an oracle in plain Python."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from nas_keras.controllers import CONTROLLERS
from nas_keras.controllers import Evolution
from nas_keras.controllers import EvolutionController
from nas_keras.search import FunctionEvaluator
from nas_keras.search import search
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_micro_space
from nas_keras.spaces import enas_recurrent_space
from nas_keras.spaces import nas_conv_space
from nas_keras.spaces import tree_space
from tests.controller_testing import evaluations_of
from tests.controller_testing import small_space
from tests.raising import raises

_SPACES = (
    tree_space(3),
    enas_recurrent_space(4),
    nas_conv_space(4),
    enas_macro_space(4),
    enas_micro_space(2),
)


def _reward(tokens, modulus=5):
    """Returns some reward; None of one architecture in `modulus`."""
    total = sum((k + 2) * int(token) for k, token in enumerate(tokens))
    return None if total % modulus == 0 else float(total % 11)


def _run(controller, steps, batch_size=4, first=0, reward=_reward):
    """Returns all proposed rows of some updates, and what they returned."""
    rows, metrics = [], []
    for step in range(first, first + steps):
        rng = np.random.default_rng([7, step])
        proposals = controller.propose(batch_size, rng)
        rewards = [reward(row) for row in proposals.tokens]
        metrics.append(controller.feedback(proposals, evaluations_of(rewards)))
        rows += [tuple(row) for row in proposals.tokens.tolist()]
    return rows, metrics


class _Recorded:
    """A generator that remembers what it gave."""

    def __init__(self, rng):
        self._rng, self.drawn = rng, []

    def random(self, shape):
        return self._rng.random(shape)

    def integers(self, *args, **kwargs):
        self.drawn.append(self._rng.integers(*args, **kwargs))
        return self.drawn[-1]

    def choice(self, options):
        self.drawn.append(self._rng.choice(options))
        return self.drawn[-1]


def _oracle(history, drawn, num_options, population_size):
    """Returns what a tournament proposes; None if none is feasible.

    Args:
        history: All (tokens, reward) so far, in order.
        drawn: Iterator of drawn numbers: slots; then a place, then a shift.
        num_options: Options of each choice.
        population_size: P.
    """
    population = {}
    for number, member in enumerate(history):
        population[number % population_size] = member
    best = None
    for slot in next(drawn):
        tokens, reward = population[slot]
        if reward is not None and (best is None or reward > best[1]):
            best = (tokens, reward)
    if best is None:
        return None
    place, shift = int(next(drawn)), int(next(drawn))
    child = list(best[0])
    child[place] = (child[place] + shift) % num_options[place]
    return tuple(child)


@pytest.mark.parametrize("space", _SPACES, ids=lambda space: space.name)
@pytest.mark.parametrize(("batch_size", "sizes"), [(4, (6, 3)), (7, (3, 5))])
def test_proposals_are_those_of_an_oracle(space, batch_size, sizes):
    population_size, sample_size = sizes
    controller = EvolutionController(
        space, population_size=population_size, sample_size=sample_size
    )
    history, num_mutated = [], 0
    for step in range(12):
        rng = _Recorded(np.random.default_rng([3, step]))
        proposals = controller.propose(batch_size, rng)
        drawn = iter(rng.drawn)
        for place, row in enumerate(proposals.tokens.tolist()):
            assert space.validate(row) == tuple(row)
            if len(history) + place >= population_size and history:
                want = _oracle(
                    history, drawn, space.num_options, population_size
                )
                num_mutated += want is not None
                assert want in (None, tuple(row))
        assert next(drawn, None) is None  # Nothing else was drawn.
        rewards = [_reward(row) for row in proposals.tokens]
        controller.feedback(proposals, evaluations_of(rewards))
        rows = map(tuple, proposals.tokens.tolist())
        history += zip(rows, rewards, strict=True)
    assert num_mutated > 25


@given(
    num_options=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    population_size=st.integers(1, 6),
    sample_size=st.integers(1, 4),
    batch_size=st.integers(1, 5),
    modulus=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_a_mutation_changes_one_choice_of_a_feasible_member(
    num_options, population_size, sample_size, batch_size, modulus
):
    space = small_space([*num_options, 2])
    controller = EvolutionController(
        space, population_size=population_size, sample_size=sample_size
    )
    history = []
    for step in range(8):
        rng = np.random.default_rng(step)
        proposals = controller.propose(batch_size, rng)
        alive = history[-population_size:]
        feasible = [row for row, reward in alive if reward is not None]
        for place, row in enumerate(proposals.tokens.tolist()):
            space.validate(row)
            is_late = len(history) + place >= population_size
            if is_late and alive and len(feasible) == len(alive):
                changed = [
                    sum(a != b for a, b in zip(row, other, strict=True))
                    for other in feasible
                ]
                assert 1 in changed
        rewards = [_reward(row, modulus) for row in proposals.tokens]
        controller.feedback(proposals, evaluations_of(rewards))
        history += zip(proposals.tokens.tolist(), rewards, strict=True)
    # The population is what was evaluated last, whatever its rewards.
    state = controller.state()
    assert state["num_evaluated"] == len(history)
    got = sorted(state["tokens"][: len(history)].tolist())
    assert got == sorted(row for row, _ in history[-population_size:])


def test_the_first_architectures_are_uniform():
    space = Space([Choice("a", (0, 1, 2)), Choice("b", (0, 1))])
    controller = EvolutionController(space, population_size=4_000)
    rows, _ = _run(controller, 4, batch_size=1_000)
    for row in itertools.product(range(3), range(2)):
        assert rows.count(row) / 4_000 == pytest.approx(1 / 6, abs=0.03)


def test_a_mutation_takes_each_other_option_as_often():
    space = Space([Choice("only", ("x",)), Choice("a", range(4))])
    controller = EvolutionController(space, population_size=1, sample_size=1)
    controller.restore(
        {
            "tokens": np.array([[0, 2]]),
            "rewards": np.ones(1),
            "num_evaluated": np.array(1),
        }
    )
    tokens = controller.propose(3_000, np.random.default_rng(0)).tokens
    assert set(tokens[:, 0]) == {0}  # A choice of one option is never picked.
    counts = np.bincount(tokens[:, 1], minlength=4) / 3_000
    np.testing.assert_allclose(counts, [1 / 3, 1 / 3, 0, 1 / 3], atol=0.04)


def test_an_infeasible_member_never_wins_and_ages():
    space = small_space((9, 9))
    controller = EvolutionController(space, population_size=3, sample_size=30)
    rng = np.random.default_rng(0)
    batch = controller.propose(3, rng)
    controller.feedback(batch, evaluations_of([None, 1.0, None]))
    parent = batch.tokens[1]
    children = controller.propose(50, rng).tokens
    assert ((children != parent).sum(axis=1) == 1).all()
    # Three further ones, all infeasible: the good one has died of age.
    batch = controller.propose(3, rng)
    metrics = controller.feedback(batch, evaluations_of([None] * 3))
    assert metrics == {"num_feasible": 0.0}
    rows = controller.propose(200, rng).tokens
    assert len({tuple(row) for row in rows.tolist()}) > 60  # Random again.


def test_what_feedback_returns_is_of_the_population():
    controller = EvolutionController(small_space(), population_size=3)
    batch = controller.propose(4, np.random.default_rng(0))
    metrics = controller.feedback(batch, evaluations_of([9.0, 1.0, None, 3.0]))
    assert metrics == {"num_feasible": 2.0, "best": 3.0, "mean": 2.0}
    assert not batch.log_prob.any() and not batch.entropy.any()


def test_a_restored_population_goes_on_bit_for_bit():
    arguments = {"population_size": 5, "sample_size": 2}
    space = tree_space(3)
    controller = EvolutionController(space, **arguments)
    _run(controller, 4)
    assert controller.has_learned
    state = controller.state()
    other = EvolutionController(space, **arguments)
    other.restore(state)
    assert not other.has_learned
    want = _run(controller, 6, first=4)
    assert _run(other, 6, first=4) == want
    # The state is a copy, and so is what was restored.
    for name, array in other.state().items():
        np.testing.assert_array_equal(array, controller.state()[name])
    assert state["num_evaluated"] == 16


@pytest.mark.parametrize("name", ["tokens", "rewards", "num_evaluated"])
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(name):
    controller = EvolutionController(small_space(), population_size=4)
    _run(controller, 2)
    before = controller.state()
    message = (
        f"state must hold {name!r} of shape {before[name].shape}. Received: "
    )
    other = EvolutionController(small_space(), population_size=5).state()
    with raises(message + "none."):
        controller.restore({n: a for n, a in before.items() if n != name})
    other["num_evaluated"] = np.zeros(2)
    with raises(message + f"{other[name].shape}."):
        controller.restore({**before, name: other[name]})
    for key, array in controller.state().items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("name", ["population_size", "sample_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "4"])
def test_an_argument_out_of_range_is_refused(name, value):
    message = (
        f"{name} must be an int of at least 1, below 2**63. Received: "
        f"{name}={value!r}."
    )
    with raises(message):
        EvolutionController(small_space(), **{name: value})


def test_the_config_holds_the_class_and_the_settings():
    made = CONTROLLERS["evolution"].make(small_space(), seed=3)
    assert made.config() == {
        "class": "EvolutionController", "population_size": 100,
        "sample_size": 25,
    }  # fmt: skip
    made = Evolution(population_size=7).make(small_space())
    assert made.config()["population_size"] == 7


# In a search.


def _search(workdir=None, num_trials=26, space=_SPACES[3]):
    evaluator = FunctionEvaluator(space, lambda spec: _score(spec))
    controller = EvolutionController(space, population_size=8, sample_size=3)
    return search(controller, evaluator, num_trials, workdir, batch_size=4)


def _score(spec):
    """Returns a reward of a network; some fail."""
    number = int(spec.fingerprint[:6], 16)
    if number % 5 == 0:
        raise RuntimeError("no such network")
    return number / 2**24


def _told(trials):
    return [
        (
            t.id,
            t.tokens,
            t.evaluation.reward,
            t.evaluation.infeasible,
            t.same_as,
        )
        for t in trials
    ]


@pytest.mark.parametrize("num", [1, 9, 12, 13, 25, 26])
def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(num, tmp_path):
    want = _told(_search())
    assert any(infeasible for *_, infeasible, _ in want)
    begun = _search(tmp_path)
    assert _told(itertools.islice(begun, num)) == want[:num]
    begun.close()
    assert _told(_search(tmp_path)) == want
    assert _told(_search(tmp_path)) == want  # Again, all from the journal.


def test_a_search_without_its_checkpoints_replays_the_journal(tmp_path):
    want = _told(_search())
    begun = _search(tmp_path)
    _told(itertools.islice(begun, 17))
    begun.close()
    for path in (tmp_path / "checkpoints").iterdir():
        path.unlink()
    assert _told(_search(tmp_path)) == want


def test_evolution_beats_random_on_one_max():
    space = small_space((4,) * 12)
    means = []
    for name in ("evolution", "random"):
        controller = CONTROLLERS[name].make(space)
        if name == "evolution":
            controller = EvolutionController(
                space, population_size=20, sample_size=5
            )
        evaluator = FunctionEvaluator(
            space, lambda spec: sum(value == 2 for value in spec.values()) / 12
        )
        trials = list(search(controller, evaluator, 320))
        rewards = [trial.evaluation.reward for trial in trials]
        means.append(np.mean(rewards[-40:]))
    assert means[0] > 0.7 and means[1] < 0.4
