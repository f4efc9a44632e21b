"""`PolicyGradientController`: a policy, a loss and Adam."""

import functools
from collections.abc import Mapping
from typing import Any
from typing import NoReturn

import keras
import numpy as np
import tensorflow as tf

from nas_keras.controllers.controller import ENTROPY_BONUSES
from nas_keras.controllers.controller import LOSSES
from nas_keras.controllers.controller import Controller
from nas_keras.controllers.controller import Samples
from nas_keras.controllers.losses import ppo_loss
from nas_keras.controllers.losses import reinforce_loss
from nas_keras.controllers.losses import skip_kl
from nas_keras.controllers.policy import Decisions
from nas_keras.controllers.policy import Policy
from nas_keras.spaces.space import Space

_CHOICES = {"loss": LOSSES, "entropy_bonus": ENTROPY_BONUSES}
# Arguments that are ints, and the least that each may be.
_INTS = {
    "units": 1,
    "num_layers": 1,
    "seed": 0,
    "num_epochs": 1,
    "num_minibatches": 1,
}
_POSITIVE = ("init_scale", "learning_rate", "temperature", "clip", "skip_scale")
_NOT_NEGATIVE = ("entropy_weight", "tanh_constant", "skip_weight")
# Arguments that mean nothing without PPO, and without links in the space.
_OF_PPO = ("clip", "num_epochs", "num_minibatches")
_OF_LINKS = ("skip_target", "skip_weight", "skip_scale")


class PolicyGradientController(Controller):
    """Learns what to propose by policy gradient.

    The network is the paper's: two LSTM layers of 35 units, all weights
    uniform in +-0.08, Adam. The paper's learning rate, 5e-4 to 6e-4, is made
    for thousands of updates; the default here is made for some dozens.

    Args:
        space: The `Space` to propose from.
        loss: `"reinforce"`, one update a batch; or `"ppo"`, `num_epochs`
            passes over the batch in `num_minibatches` parts each, against the
            clipped ratio to the policy that sampled.
        seed: Int >= 0, of the initial weights and of PPO's minibatches.
        units: Width of an LSTM layer and of the token embeddings.
        num_layers: LSTM layers.
        init_scale: All weights begin uniform in [-init_scale, init_scale].
        learning_rate: Of Adam.
        entropy_weight: Weight of the entropy bonus, per nat of the whole
            sequence.
        entropy_bonus: `"exact"`: the policy's entropy, in the loss, with its
            gradient; `"sampled"`: ENAS' programs, -p log p of the sampled
            tokens, in the reward.
        temperature: Logits are divided by it. ENAS: 5.
        tanh_constant: C: logits are then C * tanh(logits); 0: they are not.
            ENAS: 2.5.
        clip: Of PPO's ratio.
        num_epochs: Of PPO.
        num_minibatches: Of PPO; parts of whole architectures.
        skip_target: Wished rate of the links of a space, which are its skip
            connections, in (0, 1). ENAS: 0.4.
        skip_weight: Weight in the loss of `skip_kl`, the divergence from that
            rate. ENAS: 0.8.
        skip_scale: A link has the probability sigmoid(skip_scale * logit).
            Zoph & Le: 1. ENAS' program, a softmax of [-logit, logit]: 2;
            its divergence, as this one, is of sigmoid(logit).

    What `update` returns are means over its steps. PPO's has `kl_nats`, the
    mean over architectures of the summed log-ratio of the old policy to the
    new, and `clipped`, the share of tokens whose ratio is outside the clip.
    That of a space with links has `skip_kl`, in nats.

    Raises:
        ValueError: If an argument breaks its rule.

    Example:

    >>> from nas_keras.spaces import tree_space
    >>> controller = PolicyGradientController(tree_space(2), seed=1)
    >>> noise = np.random.default_rng(0).random((4, 10))
    >>> samples = controller.sample(noise)
    >>> sorted(controller.update(samples, np.array([1.0, -1.0, 0.5, -0.5])))
    ['entropy_nats', 'gradient_norm', 'loss']

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), sections 3.2, 4;
        [Schulman et al., 2017](https://arxiv.org/abs/1707.06347).
    """

    def __init__(
        self,
        space: Space,
        loss: str = "reinforce",
        seed: int = 0,
        units: int = 35,
        num_layers: int = 2,
        init_scale: float = 0.08,
        learning_rate: float = 0.01,
        entropy_weight: float = 0.0,
        entropy_bonus: str = "exact",
        temperature: float = 1.0,
        tanh_constant: float = 0.0,
        clip: float = 0.2,
        num_epochs: int = 4,
        num_minibatches: int = 4,
        skip_target: float = 0.4,
        skip_weight: float = 0.0,
        skip_scale: float = 1.0,
    ):
        super().__init__(space)
        arguments = {
            "loss": loss,
            "seed": seed,
            "units": units,
            "num_layers": num_layers,
            "init_scale": init_scale,
            "learning_rate": learning_rate,
            "entropy_weight": entropy_weight,
            "entropy_bonus": entropy_bonus,
            "temperature": temperature,
            "tanh_constant": tanh_constant,
            "clip": clip,
            "num_epochs": num_epochs,
            "num_minibatches": num_minibatches,
            "skip_target": skip_target,
            "skip_weight": skip_weight,
            "skip_scale": skip_scale,
        }
        _check(arguments)
        has_links = any(choice.link is not None for choice in space.choices)
        unused = {
            *(() if loss == "ppo" else _OF_PPO),
            *(() if has_links else _OF_LINKS),
        }
        self._config: dict[str, Any] = {
            "class": type(self).__name__,
            **{k: v for k, v in arguments.items() if k not in unused},
        }
        self._policy = Policy(
            space.choices, units, num_layers, init_scale, seed, temperature,
            tanh_constant, skip_scale,
        )  # fmt: skip
        self._policy.build()
        self._optimizer = keras.optimizers.Adam(learning_rate)
        self._optimizer.build(self._policy.trainable_variables)
        self._compile(len(space.choices))

    def _compile(self, num_choices: int) -> None:
        tokens = tf.TensorSpec([None, num_choices], tf.int32)
        advantage = tf.TensorSpec([None], tf.float32)
        noise = tf.TensorSpec([None, num_choices], tf.float32)
        compiled = functools.partial(tf.function, autograph=False)
        self._sample = compiled(self._policy.call, input_signature=[noise])
        self._score = compiled(self._forced, input_signature=[tokens])
        self._update = compiled(
            self._step, input_signature=[tokens, noise, advantage]
        )

    def sample(self, noise: np.ndarray) -> Samples:
        return _samples(self._sample(self.check_noise(noise)))

    def score(self, tokens: np.ndarray) -> Samples:
        """Returns what the policy now thinks of `tokens` [B, A].

        The network is run over the whole sequence with these tokens as its
        inputs; the result is exactly that of `sample` where it sampled them.

        Raises:
            ValueError: If a row is not an architecture of the space.
        """
        return _samples(self._score(self._check_tokens(tokens)))

    def update(
        self, samples: Samples, advantage: np.ndarray
    ) -> dict[str, float]:
        tokens = self._check_tokens(samples.tokens)
        advantage = self.check_advantage(samples, advantage)
        old_log_prob = np.asarray(samples.log_prob, np.float32)
        self.has_learnt = True
        parts = [
            self._update(tokens[rows], old_log_prob[rows], advantage[rows])
            for rows in self._minibatches(len(tokens))
        ]
        return {
            name: float(np.mean([part[name] for part in parts]))
            for name in parts[0]
        }

    def bonus(self, samples: Samples) -> np.ndarray:
        """Returns ENAS' surrogate of the entropy if that was asked for, [B].

        Of each architecture -p log p of its tokens, summed: as in the authors'
        programs. Its gradient is not that of the entropy.
        """
        if self._config["entropy_bonus"] != "sampled":
            return super().bonus(samples)
        log_prob = np.asarray(samples.log_prob, np.float64)
        surrogate = -(np.exp(log_prob) * log_prob).sum(axis=1)
        return self._config["entropy_weight"] * surrogate

    def _minibatches(self, batch_size: int) -> list[np.ndarray]:
        """Returns the rows of each step on a batch."""
        if self._config["loss"] == "reinforce":
            return [np.arange(batch_size)]
        # Keyed by what is saved: going on shuffles as not stopping would.
        key = [self._config["seed"], int(self._optimizer.iterations)]
        bits = np.random.Philox(key=np.array(key, np.uint64))
        generator = np.random.Generator(bits)
        parts = min(self._config["num_minibatches"], batch_size)
        return [
            rows
            for _ in range(self._config["num_epochs"])
            for rows in np.array_split(
                np.argsort(generator.random(batch_size), kind="stable"), parts
            )
        ]

    def state(self) -> dict[str, np.ndarray]:
        return {
            name: np.asarray(variable)
            for name, variable in self._variables().items()
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        variables = self._variables()
        for name, variable in variables.items():
            shape = tuple(variable.shape)
            if name not in state or np.shape(state[name]) != shape:
                received = np.shape(state[name]) if name in state else "none"
                raise ValueError(
                    f"state must hold {name!r} of shape {shape}. Received: "
                    f"{received}."
                )
        for name, variable in variables.items():
            variable.assign(state[name])
        self.has_learnt = False  # What it is now, a caller knows.

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def _variables(self) -> dict[str, keras.Variable]:
        # Not the cells' generators of dropout, which there is none of.
        weights = self._policy.trainable_variables
        variables = [*weights, *self._optimizer.variables]
        return {
            f"{index:03d}_{variable.name}": variable
            for index, variable in enumerate(variables)
        }

    def _check_tokens(self, tokens: np.ndarray) -> np.ndarray:
        rows = [self.space.validate(row) for row in np.asarray(tokens)]
        return np.asarray(rows, np.int32).reshape(-1, len(self.space.choices))

    def _forced(self, tokens: tf.Tensor) -> Decisions:
        noise = tf.zeros(tf.shape(tokens))  # Not looked at.
        return self._policy.call(noise, tokens)

    def _step(
        self, tokens: tf.Tensor, old_log_prob: tf.Tensor, advantage: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        config, variables = self._config, self._policy.trainable_variables
        num_layers = int(self._policy.steps.has_links.sum())  # Of links.
        with tf.GradientTape() as tape:
            _, log_prob, entropy, link_logits = self._forced(tokens)
            entropy_nats = tf.reduce_mean(tf.reduce_sum(entropy, axis=-1))
            if config["loss"] == "ppo":
                clip = config["clip"]
                loss = ppo_loss(log_prob, old_log_prob, advantage, clip)
            else:
                loss = reinforce_loss(log_prob, advantage)
            if config["entropy_bonus"] == "exact":
                loss -= config["entropy_weight"] * entropy_nats
            if num_layers:
                divergence = skip_kl(
                    link_logits, config["skip_target"], num_layers
                )
                loss += config["skip_weight"] * divergence
        gradients = tape.gradient(loss, variables)
        self._optimizer.apply(gradients, variables)
        metrics = {
            "loss": loss,
            "entropy_nats": entropy_nats,
            "gradient_norm": tf.linalg.global_norm(gradients),
        }
        if config["loss"] == "ppo":
            difference = old_log_prob - log_prob
            metrics["kl_nats"] = tf.reduce_mean(
                tf.reduce_sum(difference, axis=-1)
            )
            outside = tf.abs(tf.exp(-difference) - 1) > clip
            metrics["clipped"] = tf.reduce_mean(tf.cast(outside, tf.float32))
        if num_layers:
            metrics["skip_kl"] = divergence
        return metrics


def _samples(decisions: Decisions) -> Samples:
    tokens, log_prob, entropy, _ = decisions
    return Samples(tokens.numpy(), log_prob.numpy(), entropy.numpy())


def _check(arguments: Mapping[str, Any]) -> None:
    """Refuses arguments that break their rule."""

    def refuse(name: str, rule: str) -> NoReturn:
        raise ValueError(
            f"{name} must be {rule}. Received: {name}={arguments[name]!r}."
        )

    for name, allowed in _CHOICES.items():
        if arguments[name] not in allowed:
            refuse(name, f"one of {list(allowed)}")
    for name, low in _INTS.items():
        number = arguments[name]
        if isinstance(number, bool) or not isinstance(number, int):
            refuse(name, "an int")
        if not low <= number < 2**63:
            refuse(name, f"at least {low}, below 2**63")
    for name in _POSITIVE:
        if not arguments[name] > 0:
            refuse(name, "positive")
    for name in _NOT_NEGATIVE:
        if not arguments[name] >= 0:
            refuse(name, "at least 0")
    if not 0 < arguments["skip_target"] < 1:
        refuse("skip_target", "in (0, 1)")
