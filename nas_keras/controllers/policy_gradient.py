"""`PolicyGradientController`: a policy, a baseline, a loss and Adam."""

import dataclasses
import functools
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas_keras.checks import is_int
from nas_keras.controllers.baseline import BaselineState
from nas_keras.controllers.baseline import EMABaseline
from nas_keras.controllers.config import PolicyGradient
from nas_keras.controllers.controller import Controller
from nas_keras.controllers.controller import Evaluated
from nas_keras.controllers.controller import Proposals
from nas_keras.controllers.controller import check_arrays
from nas_keras.controllers.controller import generator_of
from nas_keras.controllers.controller import rewards_of
from nas_keras.controllers.losses import ppo_loss
from nas_keras.controllers.losses import reinforce_loss
from nas_keras.controllers.losses import skip_kl
from nas_keras.controllers.policy import Decisions
from nas_keras.controllers.policy import Policy
from nas_keras.settings import refuse
from nas_keras.spaces.space import Space

# Settings that mean nothing without PPO, and without links in the space.
_OF_PPO = ("clip", "num_epochs", "num_minibatches")
_OF_LINKS = ("skip_target", "skip_weight", "skip_scale")


class PolicyGradientController(Controller):
    """Learns what to propose by policy gradient.

    The network is the paper's: two LSTM layers of 35 units, all weights
    uniform in +-0.08, Adam. Rewards are measured against a moving average,
    `EMABaseline`; an infeasible architecture counts as the lowest reward so
    far.

    Args:
        space: The `Space` to propose from.
        seed: Int >= 0, seed of the initial weights and of PPO's minibatches.
        **arguments: The fields of `PolicyGradient`.

    What `feedback` returns are the `baseline` after the batch and means over
    the steps of the update. PPO adds `kl_nats`, the mean over architectures of
    the summed log-ratio of the old policy to the new, and `clipped`, the share
    of tokens whose ratio is outside the clip. A space with links adds
    `skip_kl`, in nats.

    Raises:
        ValueError: If an argument breaks its rule.

    Example:

    >>> from nas_keras.search import Evaluation
    >>> from nas_keras.spaces import tree_space
    >>> controller = PolicyGradientController(tree_space(2), seed=1)
    >>> proposals = controller.propose(2, np.random.default_rng(0))
    >>> evaluations = [Evaluation(1.0), Evaluation(None, infeasible="diverged")]
    >>> sorted(controller.feedback(proposals, evaluations))
    ['baseline', 'entropy_nats', 'gradient_norm', 'loss']

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), sections 3.2, 4;
        [Schulman et al., 2017](https://arxiv.org/abs/1707.06347).
    """

    def __init__(self, space: Space, seed: int = 0, **arguments: Any):
        super().__init__(space)
        if not is_int(seed) or not 0 <= seed < 2**63:
            refuse("seed", "an int of at least 0, below 2**63", seed)
        self.seed = int(seed)
        self.settings = settings = PolicyGradient(**arguments)
        self._baseline = EMABaseline(
            settings.baseline_decay, settings.normalize_advantage
        )
        self._baseline_state = BaselineState()
        self._policy = Policy(space.choices, self.seed, settings)
        self._policy.build()
        self._optimizer = keras.optimizers.Adam(settings.learning_rate)
        self._optimizer.build(self._policy.trainable_variables)
        self._compile(len(space.choices))

    def _compile(self, num_choices: int) -> None:
        tokens = tf.TensorSpec([None, num_choices], tf.int32)
        advantage = tf.TensorSpec([None], tf.float32)
        noise = tf.TensorSpec([None, num_choices], tf.float32)
        compiled = functools.partial(tf.function, autograph=False)
        self._sample = compiled(self._policy.call, input_signature=[noise])
        self._score = compiled(self._policy.call, input_signature=[tokens])
        self._update = compiled(
            self._step, input_signature=[tokens, noise, advantage]
        )

    def propose(self, batch_size: int, rng: np.random.Generator) -> Proposals:
        return _proposals(self._sample(self.noise(batch_size, rng)))

    def score(self, tokens: np.ndarray) -> Proposals:
        """Returns what the policy now thinks of `tokens` [B, A].

        The network is run over the whole sequence with these tokens as its
        inputs; the result is exactly that of `propose` where it sampled them.

        Raises:
            ValueError: If a row is not an architecture of the space.
        """
        return _proposals(self._score(self._check_tokens(tokens)))

    def feedback(
        self, proposals: Proposals, evaluations: Sequence[Evaluated]
    ) -> dict[str, float]:
        rewards = [
            None if reward is None else reward + float(bonus)
            for reward, bonus in zip(
                rewards_of(proposals, evaluations),
                self._bonus(proposals),
                strict=True,
            )
        ]
        advantage, following = self._baseline.advantages(
            rewards, self._baseline_state
        )
        metrics = self.learn(proposals, advantage)
        self._baseline_state = following
        return {"baseline": following.mean, **metrics}

    def learn(
        self, proposals: Proposals, advantage: np.ndarray
    ) -> dict[str, float]:
        """Updates the policy alone, by given advantages.

        Args:
            proposals: What `propose` returned.
            advantage: [B], reward minus baseline.

        Returns:
            What `feedback` does, without the baseline.

        Raises:
            ValueError: If `advantage` is not [B] or not finite, or a row of
                tokens is not an architecture of the space.
        """
        tokens = self._check_tokens(proposals.tokens)
        advantage = np.asarray(advantage, np.float32)
        if advantage.shape != (len(tokens),):
            raise ValueError(
                f"advantage must have the shape [{len(tokens)}]. Received: "
                f"{list(advantage.shape)}."
            )
        if not np.isfinite(advantage).all():
            raise ValueError(
                f"advantage must be finite. Received: {advantage.tolist()}."
            )
        old_log_prob = np.asarray(proposals.log_prob, np.float32)
        self.has_learned = True
        parts = [
            self._update(tokens[rows], old_log_prob[rows], advantage[rows])
            for rows in self._minibatches(len(tokens))
        ]
        return {
            name: float(np.mean([part[name] for part in parts]))
            for name in parts[0]
        }

    def _bonus(self, proposals: Proposals) -> np.ndarray:
        """Returns what is added to the rewards [B], before the baseline.

        It is the surrogate of the entropy in ENAS' programs if
        `entropy_bonus` is "sampled": -p log p of the tokens of an
        architecture, summed. Its gradient is not that of the entropy.
        """
        if self.settings.entropy_bonus != "sampled":
            return np.zeros(len(proposals.tokens))
        log_prob = np.asarray(proposals.log_prob, np.float64)
        surrogate = -(np.exp(log_prob) * log_prob).sum(axis=1)
        return self.settings.entropy_weight * surrogate

    def _minibatches(self, batch_size: int) -> list[np.ndarray]:
        """Returns the rows of each step on a batch."""
        if self.settings.loss == "reinforce":
            return [np.arange(batch_size)]
        # Keyed by what is saved: a resumed run shuffles as one not stopped.
        rng = generator_of(self.seed, int(self._optimizer.iterations))
        parts = min(self.settings.num_minibatches, batch_size)
        return [
            rows
            for _ in range(self.settings.num_epochs)
            for rows in np.array_split(
                np.argsort(rng.random(batch_size), kind="stable"), parts
            )
        ]

    def state(self) -> dict[str, np.ndarray]:
        baseline = dataclasses.astuple(self._baseline_state)
        return {
            **{n: np.asarray(v) for n, v in self._variables().items()},
            "baseline": np.array(baseline, np.float64),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        variables = self._variables()
        shapes = {name: tuple(v.shape) for name, v in variables.items()}
        check_arrays(state, {**shapes, "baseline": (4,)})
        for name, variable in variables.items():
            variable.assign(state[name])
        mean, variance, lowest, num_batches = state["baseline"].tolist()
        self._baseline_state = BaselineState(
            mean, variance, lowest, int(num_batches)
        )
        self.has_learned = False

    def config(self) -> dict[str, Any]:
        unused = {
            *(() if self.settings.loss == "ppo" else _OF_PPO),
            *(() if self._policy.num_link_steps else _OF_LINKS),
        }
        settings = self.settings.to_dict()
        return {
            "class": type(self).__name__,
            "seed": self.seed,
            **{k: v for k, v in settings.items() if k not in unused},
        }

    def _variables(self) -> dict[str, keras.Variable]:
        # Trainable ones: the cells have no dropout, so no generators to save.
        weights = self._policy.trainable_variables
        variables = [*weights, *self._optimizer.variables]
        return {
            f"{index:03d}_{variable.name}": variable
            for index, variable in enumerate(variables)
        }

    def _check_tokens(self, tokens: np.ndarray) -> np.ndarray:
        rows = [self.space.validate(row) for row in np.asarray(tokens)]
        return np.asarray(rows, np.int32).reshape(-1, len(self.space.choices))

    def _step(
        self, tokens: tf.Tensor, old_log_prob: tf.Tensor, advantage: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Takes a step of Adam on the loss; returns its figures."""
        settings, variables = self.settings, self._policy.trainable_variables
        num_link_steps = self._policy.num_link_steps
        with tf.GradientTape() as tape:
            _, log_prob, entropy, link_logits = self._policy.call(tokens)
            entropy_nats = tf.reduce_mean(tf.reduce_sum(entropy, axis=-1))
            if settings.loss == "ppo":
                loss = ppo_loss(
                    log_prob, old_log_prob, advantage, settings.clip
                )
            else:
                loss = reinforce_loss(log_prob, advantage)
            if settings.entropy_bonus == "exact":
                loss -= settings.entropy_weight * entropy_nats
            if num_link_steps:
                divergence = skip_kl(
                    link_logits, settings.skip_target, num_link_steps
                )
                loss += settings.skip_weight * divergence
        gradients = tape.gradient(loss, variables)
        self._optimizer.apply(gradients, variables)
        metrics = {
            "loss": loss,
            "entropy_nats": entropy_nats,
            "gradient_norm": tf.linalg.global_norm(gradients),
        }
        if settings.loss == "ppo":
            difference = old_log_prob - log_prob
            metrics["kl_nats"] = tf.reduce_mean(
                tf.reduce_sum(difference, axis=-1)
            )
            outside = tf.abs(tf.exp(-difference) - 1) > settings.clip
            metrics["clipped"] = tf.reduce_mean(tf.cast(outside, tf.float32))
        if num_link_steps:
            metrics["skip_kl"] = divergence
        return metrics


def _proposals(decisions: Decisions) -> Proposals:
    tokens, log_prob, entropy, _ = decisions
    return Proposals(tokens.numpy(), log_prob.numpy(), entropy.numpy())
