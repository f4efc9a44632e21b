"""`PolicyGradientController`: a policy, a loss and Adam."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas_keras.controllers.controller import Controller
from nas_keras.controllers.controller import Samples
from nas_keras.controllers.losses import reinforce_loss
from nas_keras.controllers.policy import Policy
from nas_keras.spaces.space import Space

LOSSES = ("reinforce",)


class PolicyGradientController(Controller):
    """Learns what to propose by policy gradient.

    The network is the paper's: two LSTM layers of 35 units, all weights
    uniform in +-0.08, Adam. The paper's learning rate, 5e-4 to 6e-4, is made
    for thousands of updates; the default here is made for some dozens.

    Args:
        space: The `Space` to propose from.
        loss: `"reinforce"`.
        seed: Int >= 0, of the initial weights.
        units: Width of an LSTM layer and of the token embeddings.
        num_layers: LSTM layers.
        init_scale: All weights begin uniform in [-init_scale, init_scale].
        learning_rate: Of Adam.
        entropy_weight: Weight of the entropy bonus, per nat of the whole
            sequence.

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
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), sections 3.2, 4.
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
    ):
        super().__init__(space)
        if loss not in LOSSES:
            raise ValueError(
                f"loss must be one of {list(LOSSES)}. Received: loss={loss!r}."
            )
        for name, value, low in (
            ("units", units, 1),
            ("num_layers", num_layers, 1),
            ("seed", seed, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(
                    f"{name} must be an int. Received: {name}={value!r}."
                )
            if value < low:
                raise ValueError(
                    f"{name} must be at least {low}. Received: "
                    f"{name}={value!r}."
                )
        for name, value in (
            ("init_scale", init_scale),
            ("learning_rate", learning_rate),
        ):
            if not value > 0:
                raise ValueError(
                    f"{name} must be positive. Received: {name}={value!r}."
                )
        if not entropy_weight >= 0:
            raise ValueError(
                "entropy_weight must be at least 0. Received: "
                f"entropy_weight={entropy_weight!r}."
            )
        self._config = {
            "class": type(self).__name__,
            "loss": loss,
            "seed": seed,
            "units": units,
            "num_layers": num_layers,
            "init_scale": init_scale,
            "learning_rate": learning_rate,
            "entropy_weight": entropy_weight,
        }
        self._policy = Policy(
            space.num_options, units, num_layers, init_scale, seed
        )
        self._policy.build()
        self._optimizer = keras.optimizers.Adam(learning_rate)
        self._optimizer.build(self._policy.trainable_variables)
        num_choices = len(space.choices)
        tokens = tf.TensorSpec([None, num_choices], tf.int32)
        advantage = tf.TensorSpec([None], tf.float32)
        noise = tf.TensorSpec([None, num_choices], tf.float32)
        self._sample = tf.function(self._policy.call, input_signature=[noise])
        self._score = tf.function(self._forced, input_signature=[tokens])
        self._update = tf.function(
            self._step, input_signature=[tokens, advantage]
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
        advantage = np.asarray(advantage, np.float32)
        if advantage.shape != tokens.shape[:1]:
            raise ValueError(
                f"advantage must have the shape [{len(tokens)}]. Received: "
                f"{list(advantage.shape)}."
            )
        if not np.isfinite(advantage).all():
            raise ValueError(
                f"advantage must be finite. Received: {advantage.tolist()}."
            )
        metrics = self._update(tokens, advantage)
        return {name: float(value) for name, value in metrics.items()}

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

    def _forced(self, tokens: tf.Tensor) -> tuple[tf.Tensor, ...]:
        noise = tf.zeros(tf.shape(tokens))  # Not looked at.
        return self._policy.call(noise, tokens)

    def _step(
        self, tokens: tf.Tensor, advantage: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        variables = self._policy.trainable_variables
        with tf.GradientTape() as tape:
            _, log_prob, entropy = self._forced(tokens)
            entropy_nats = tf.reduce_mean(tf.reduce_sum(entropy, axis=-1))
            loss = reinforce_loss(log_prob, advantage)
            loss -= self._config["entropy_weight"] * entropy_nats
        gradients = tape.gradient(loss, variables)
        self._optimizer.apply(gradients, variables)
        return {
            "loss": loss,
            "entropy_nats": entropy_nats,
            "gradient_norm": tf.linalg.global_norm(gradients),
        }


def _samples(outputs: tuple[tf.Tensor, ...]) -> Samples:
    return Samples(*(output.numpy() for output in outputs))
