"""PPO: its minibatches, its clip, its figures."""

import numpy as np
import pytest

from nas_keras.controllers import PolicyGradientController
from tests.controller_testing import EAGERLY
from tests.controller_testing import all_tokens
from tests.controller_testing import kept
from tests.controller_testing import names_of_weights
from tests.controller_testing import noise_of
from tests.controller_testing import proposed
from tests.controller_testing import small_space


def _ppo(seed=0, **arguments):
    arguments = {"loss": "ppo", "learning_rate": 0.02, **arguments}
    controller = PolicyGradientController(small_space(), seed=seed, **arguments)
    controller.restore(kept().state())
    return controller


def _ppo_batch(num=16, seed=5):
    samples = proposed(kept(), noise_of(num, seed))
    advantage = samples.tokens.sum(axis=1) - 3.5
    return samples, advantage.astype(np.float32)


def _log_prob(controller):
    return controller.score(all_tokens()).log_prob


def _recorded(controller):
    """Returns the list of (tokens, old_log_prob, advantage) of each step."""
    steps, update = [], controller._update

    def recording(*arguments):
        steps.append([np.asarray(argument) for argument in arguments])
        return update(*arguments)

    controller._update = recording
    return steps


@EAGERLY
def test_one_step_of_ppo_is_reinforces():
    samples, advantage = _ppo_batch()
    ppo = _ppo(num_epochs=1, num_minibatches=1)
    reinforce = _ppo(loss="reinforce")
    figures, want = (c.learn(samples, advantage) for c in (ppo, reinforce))
    for name in ("entropy_nats", "gradient_norm"):
        assert figures[name] == pytest.approx(want[name], rel=1e-5)
    assert figures["kl_nats"] == pytest.approx(0, abs=1e-6)
    assert figures["clipped"] == 0
    # The loss is minus the advantages, once a decision.
    assert figures["loss"] == pytest.approx(-3 * advantage.mean(), rel=1e-5)
    state, want = ppo.state(), reinforce.state()
    for name in names_of_weights(state):
        np.testing.assert_allclose(
            state[name], want[name], rtol=0, atol=1e-6, err_msg=name
        )


@EAGERLY
@pytest.mark.parametrize(
    ("num_epochs", "num_minibatches", "batch_size", "sizes"),
    [
        (1, 4, 16, [4, 4, 4, 4]),
        (3, 4, 14, [4, 4, 3, 3]),
        (2, 5, 3, [1, 1, 1]),  # No more parts than architectures.
        (2, 1, 7, [7]),
    ],
)
def test_each_epoch_of_ppo_covers_each_architecture_once(
    num_epochs, num_minibatches, batch_size, sizes
):
    controller = _ppo(num_epochs=num_epochs, num_minibatches=num_minibatches)
    tokens = all_tokens()[:batch_size]
    samples = controller.score(tokens)
    steps = _recorded(controller)
    advantage = np.linspace(-1, 1, batch_size).astype(np.float32)
    controller.learn(samples, advantage)
    assert [len(step[0]) for step in steps] == sizes * num_epochs
    for epoch in range(num_epochs):
        parts = steps[epoch * len(sizes) : (epoch + 1) * len(sizes)]
        rows = [np.concatenate(column) for column in zip(*parts, strict=True)]
        order = np.argsort(rows[2])
        for got, want in zip(
            rows, (tokens, samples.log_prob, advantage), strict=True
        ):
            np.testing.assert_array_equal(got[order], want)


@EAGERLY
def test_each_epoch_of_ppo_has_an_order_of_its_own():
    controller = _ppo(num_epochs=3, num_minibatches=2)
    samples, _ = _ppo_batch()
    steps = _recorded(controller)
    for _ in range(2):
        controller.learn(samples, np.linspace(-1, 1, 16))
    epochs = [
        np.concatenate([first[2], second[2]])
        for first, second in zip(steps[::2], steps[1::2], strict=True)
    ]
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs) == 6


def test_ppo_is_deterministic_and_goes_on_where_it_stopped():
    batches = [_ppo_batch(10, seed) for seed in range(3)]
    controller, again, resumed = _ppo(), _ppo(), _ppo(learning_rate=0.5)
    controller.learn(*batches[0])
    again.learn(*batches[0])
    resumed.restore(controller.state())
    for batch in batches[1:]:
        figures = [c.learn(*batch) for c in (controller, again, resumed)]
        assert figures[0] == figures[1] == figures[2]
    want = controller.state()
    for other in (again.state(), resumed.state()):
        for name, array in want.items():
            np.testing.assert_array_equal(other[name], array)


@EAGERLY
def test_the_seed_shuffles_the_minibatches_of_ppo():
    batch, probs = _ppo_batch(), []
    for seed in (1, 2):  # The weights are the same: they are restored.
        controller = _ppo(seed)
        controller.learn(*batch)
        probs.append(_log_prob(controller))
    assert (probs[0] != probs[1]).any()


@EAGERLY
def test_more_epochs_of_ppo_move_further():
    moved = []
    for num_epochs in (1, 4):
        controller = PolicyGradientController(
            small_space(),
            loss="ppo",
            num_epochs=num_epochs,
            learning_rate=0.003,
        )
        before, samples = (
            _log_prob(controller),
            proposed(controller, noise_of(16)),
        )
        controller.learn(samples, samples.tokens.sum(axis=1) - 3.5)
        moved.append(np.abs(_log_prob(controller) - before).mean())
    assert moved[1] > 2 * moved[0] > 0


@EAGERLY
@pytest.mark.parametrize("clip", [0.02, 0.2])
def test_figures_of_ppo_are_the_means_of_its_steps(clip):
    samples, advantage = _ppo_batch()
    arguments = {"num_minibatches": 1, "clip": clip, "learning_rate": 0.01}
    controller = _ppo(num_epochs=1, **arguments)
    first = controller.learn(samples, advantage)
    # What the second step sees.
    log_prob = controller.score(samples.tokens).log_prob.astype("float64")
    gap = log_prob - samples.log_prob
    gain = advantage[:, None] * np.exp(gap)
    cut = advantage[:, None] * np.clip(np.exp(gap), 1 - clip, 1 + clip)
    figures = _ppo(num_epochs=2, **arguments).learn(samples, advantage)
    # The estimate, from what the old policy sampled, of its divergence.
    kl_nats = (samples.log_prob - log_prob).sum(axis=1).mean()
    assert figures["kl_nats"] == pytest.approx(kl_nats / 2, rel=1e-3, abs=1e-6)
    clipped = (np.abs(np.exp(gap) - 1) > clip).mean()
    assert figures["clipped"] == pytest.approx(clipped / 2, rel=1e-5)
    assert clipped > 0 or clip == 0.2
    loss = -np.minimum(gain, cut).sum(axis=1).mean()
    want = (first["loss"] + loss) / 2
    assert figures["loss"] == pytest.approx(want, rel=1e-4)


@EAGERLY
def test_the_clip_holds_the_policy_back():
    batch, before, moved = _ppo_batch(), _log_prob(kept()), []
    for clip in (0.01, 10.0):
        controller = _ppo(clip=clip, num_epochs=20, num_minibatches=1)
        controller.learn(*batch)
        moved.append(np.abs(_log_prob(controller) - before).mean())
    assert moved[0] < 0.5 * moved[1]


@pytest.mark.parametrize("entropy_bonus", ["exact", "sampled"])
def test_ppo_learns_one_max(entropy_bonus):
    space = small_space((3, 4, 2, 5))
    controller = PolicyGradientController(
        space,
        loss="ppo",
        seed=1,
        entropy_weight=0.01,
        entropy_bonus=entropy_bonus,
    )
    rng, rewards, best = np.random.default_rng(0), [], [2, 3, 1, 4]
    for _ in range(25):
        samples = proposed(controller, rng.random((16, 4)))
        reward = (samples.tokens == best).mean(axis=1)
        gained = reward + controller._bonus(samples)
        controller.learn(samples, gained - gained.mean())
        rewards.append(reward.mean())
    chance = np.mean([1 / n for n in space.num_options])
    assert np.mean(rewards[:2]) == pytest.approx(chance, abs=0.15)
    assert np.mean(rewards[-5:]) > 0.9
