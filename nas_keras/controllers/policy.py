"""The policy: an auto-regressive LSTM with one softmax for each choice.

The token chosen at a step is embedded and is the input of the next; the first
input is a learned vector. A choice with anchors is made by attention over what
the LSTM's output was at those, and the output at the chosen one is the next
input. Links that follow each other are decided at one step by the same
attention, each with its own sigmoid, and the next input is the sum of the
outputs that they link to, divided by one more than their number. Sampling and
teacher-forced scoring are one computation, so their probabilities agree to the
last bit. Axes: B sampled architectures, A decisions, S steps, K options of a
decision, L links of a step, U units.
"""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from nas_keras import libraries
from nas_keras.controllers.steps import Steps
from nas_keras.spaces.space import Choice

_NEVER = -1e9  # Logit of the padding: probability zero in float32.


class Decisions(NamedTuple):
    """What a policy decided, and what it thought of it.

    Attributes:
        tokens: int32 [B, A].
        log_prob: float32 [B, A], log pi(token) in nats.
        entropy: float32 [B, A], of the policy at each decision, in nats.
        link_logits: float32 [B, number of links], squashed attention.
    """

    tokens: tf.Tensor
    log_prob: tf.Tensor
    entropy: tf.Tensor
    link_logits: tf.Tensor


class Policy(keras.layers.Layer):
    """Distribution over token sequences.

    Args:
        choices: The A choices.
        units: Width of each LSTM layer, and of the embeddings.
        num_layers: LSTM layers.
        init_scale: All weights begin uniform in [-init_scale, init_scale].
        seed: Int, of the initial weights.
        temperature: Logits are divided by it.
        tanh_constant: C: logits are then C * tanh(logits); 0: they are not.
        skip_scale: The probability of a link is sigmoid(skip_scale * logit).

    Call arguments:
        noise: float32 [B, A], used where `tokens` is None.
        tokens: int32 [B, A], to score these; or None, to sample.

    Returns:
        `Decisions`.

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), sections 3.1 and
        3.3; [Pham et al., 2018](https://arxiv.org/abs/1802.03268).
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        units: int,
        num_layers: int,
        init_scale: float,
        seed: int,
        temperature: float = 1.0,
        tanh_constant: float = 0.0,
        skip_scale: float = 1.0,
    ):
        libraries.check_tensorflow("for a controller that learns")
        super().__init__(name="policy")
        self.steps = Steps(choices)
        self.temperature = temperature
        self.tanh_constant = tanh_constant
        self.skip_scale = skip_scale
        self.units = units
        self.init_scale = init_scale
        self.cells = [
            keras.layers.LSTMCell(
                units,
                kernel_initializer=self._initializer(seed, 3 * layer),
                recurrent_initializer=self._initializer(seed, 3 * layer + 1),
                bias_initializer=self._initializer(seed, 3 * layer + 2),
                unit_forget_bias=False,
                name=f"lstm_{layer}",  # Not Keras's count of the process.
            )
            for layer in range(num_layers)
        ]
        self.seed = seed

    def _initializer(self, seed: int, role: int) -> keras.Initializer:
        """Returns an initializer whose stream is of `(seed, role)` alone."""
        return keras.initializers.RandomUniform(
            -self.init_scale,
            self.init_scale,
            seed=(seed * 100_003 + role) % 2**31,
        )

    def build(self, input_shape: Any = None) -> None:
        for cell in self.cells:
            cell.build((None, self.units))
        # One head and one embedding table a step, padded to the most options.
        steps, units = self.steps, self.units
        most = int(steps.num_options.max())
        self.start = self._weight("start", (1, units), 1_000)
        self.heads = self._weight("heads", (len(steps), units, most), 1_001)
        self.biases = self._weight("biases", (len(steps), most), 1_002)
        self.embeddings = self._weight(
            "embeddings", (len(steps), most, units), 1_003
        )
        if self._has_memory:
            shape = (units, units)
            self.key_kernel = self._weight("key_kernel", shape, 1_004)
            self.query_kernel = self._weight("query_kernel", shape, 1_005)
            self.attention = self._weight("attention", shape[:1], 1_006)
        if steps.num_landmarks:
            shape = (steps.num_landmarks, units)
            self.landmarks = self._weight("landmarks", shape, 1_007)
        self.built = True

    @property
    def _has_anchors(self) -> bool:
        return bool(self.steps.is_anchored.any())

    @property
    def _has_links(self) -> bool:
        return bool(self.steps.has_links.any())

    @property
    def _has_memory(self) -> bool:
        return self._has_anchors or self._has_links

    def _weight(
        self, name: str, shape: tuple[int, ...], role: int
    ) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=self._initializer(self.seed, role),
        )

    def call(
        self, noise: tf.Tensor, tokens: tf.Tensor | None = None
    ) -> Decisions:
        num_steps, batch_size = len(self.steps), tf.shape(noise)[0]
        given = noise if tokens is None else tokens

        def step(index: Any, *carried: Any) -> tuple[Any, ...]:
            inputs, states, rows, columns = carried
            hidden, states = self._advance(inputs, states)
            values, inputs = self._choose(index, hidden, rows, given)
            if self._has_links:
                links, linked = self._link(index, hidden, rows, given)
                values = [
                    tf.concat(pair, axis=1)
                    for pair in zip(values, links, strict=True)
                ]
                has_links = tf.gather(self.steps.has_links, index)
                inputs = tf.where(has_links, linked, inputs)
            if self._has_memory:
                here = tf.range(tf.shape(rows)[0]) == index + 1
                rows = tf.where(here[:, None, None], hidden[None], rows)
            columns = [
                column.write(index, value)
                for column, value in zip(columns, values, strict=True)
            ]
            return index + 1, inputs, states, rows, columns

        *_, columns = tf.while_loop(
            lambda index, *_: index < num_steps,
            step,
            (
                tf.constant(0),
                tf.repeat(tf.convert_to_tensor(self.start), batch_size, axis=0),
                [cell.get_initial_state(batch_size) for cell in self.cells],
                self._empty_rows(batch_size) if self._has_memory else (),
                self._empty_columns(),
            ),
            maximum_iterations=num_steps,
        )
        return self._decisions([column.stack() for column in columns])

    def _advance(
        self, inputs: tf.Tensor, states: list[list[tf.Tensor]]
    ) -> tuple[tf.Tensor, list[list[tf.Tensor]]]:
        """Returns the LSTM's output [B, U] and its states after a step."""
        new_states = []
        for cell, state in zip(self.cells, states, strict=True):
            inputs, state = cell(inputs, state)
            new_states.append(state)
        return inputs, new_states

    def _choose(
        self,
        index: tf.Tensor,
        hidden: tf.Tensor,
        rows: tf.Tensor,
        given: tf.Tensor,
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Makes the choice of a step by a softmax over its options.

        Args:
            index: int32 [], the step.
            hidden: [B, U].
            rows: [1 + S + landmarks, B, U], what is remembered.
            given: [B, A], noise if float32, tokens if int32.

        Returns:
            A column [B, 1] of each of `Decisions`, and the next input [B, U].
        """
        steps = self.steps
        heads, biases, embeddings = (
            tf.convert_to_tensor(weight)[index]
            for weight in (self.heads, self.biases, self.embeddings)
        )
        num_options = tf.gather(steps.num_options, index)
        is_anchored = tf.gather(steps.is_anchored, index)
        places = tf.gather(steps.option_rows, index)
        logits = tf.matmul(hidden, heads) + biases
        if self._has_anchors:
            attended = self._attend(hidden, tf.gather(rows, places))
            logits = tf.where(is_anchored, attended, logits)
        padding = tf.range(steps.option_rows.shape[1]) >= num_options
        logits = tf.where(padding, _NEVER, self._squashed(logits))
        log_probs = tf.nn.log_softmax(logits)  # [B, K]
        probs = tf.exp(log_probs)
        token = tf.gather(given, tf.gather(steps.first, index), axis=1)
        if token.dtype.is_floating:
            token = _invert_cdf(probs, token)
        token = tf.minimum(token, num_options - 1)
        inputs = tf.gather(embeddings, token)
        if self._has_anchors:
            by_batch = tf.transpose(rows, [1, 0, 2])
            chosen = tf.gather(places, token)
            chosen = tf.gather(by_batch, chosen, axis=1, batch_dims=1)
            inputs = tf.where(is_anchored, chosen, inputs)
        log_prob = tf.gather(log_probs, token, axis=1, batch_dims=1)
        entropy = -tf.reduce_sum(probs * log_probs, axis=-1)
        values = (token, log_prob, entropy, tf.zeros_like(entropy))
        return [value[:, None] for value in values], inputs

    def _link(
        self,
        index: tf.Tensor,
        hidden: tf.Tensor,
        rows: tf.Tensor,
        given: tf.Tensor,
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Decides the links of a step, each by a sigmoid of its own.

        Takes and returns what `_choose` does, but for L columns.
        """
        steps = self.steps
        keys = tf.gather(rows, tf.gather(steps.link_rows, index))  # [L, B, U]
        logits = self._squashed(self._attend(hidden, keys))  # [B, L]
        yes = tf.math.log_sigmoid(self.skip_scale * logits)
        no = tf.math.log_sigmoid(-self.skip_scale * logits)
        token = tf.gather(given, tf.gather(steps.link_places, index), axis=1)
        if token.dtype.is_floating:
            token = tf.cast(token >= tf.exp(no), tf.int32)
        token *= tf.cast(tf.gather(steps.is_link, index), tf.int32)
        log_prob = tf.where(token == 1, yes, no)
        entropy = -(tf.exp(yes) * yes + tf.exp(no) * no)
        chosen = tf.cast(tf.transpose(token), hidden.dtype)[:, :, None]
        inputs = tf.reduce_sum(chosen * keys, axis=0)
        inputs /= 1 + tf.reduce_sum(chosen, axis=0)
        return [token, log_prob, entropy, logits], inputs

    def _attend(self, hidden: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """Returns v . tanh(W_key key + W_query hidden), [B, K].

        Args:
            hidden: [B, U].
            keys: [K, B, U].
        """
        # Not tensordot: of keys with an unknown batch it forgets the shape.
        projected = tf.matmul(keys, tf.convert_to_tensor(self.key_kernel))
        query = tf.matmul(hidden, tf.convert_to_tensor(self.query_kernel))
        joined = tf.tanh(projected + query)
        return tf.transpose(
            tf.reduce_sum(joined * tf.convert_to_tensor(self.attention), -1)
        )

    def _squashed(self, logits: tf.Tensor) -> tf.Tensor:
        logits = logits / self.temperature
        if self.tanh_constant:
            logits = self.tanh_constant * tf.tanh(logits)
        return logits

    def _empty_rows(self, batch_size: tf.Tensor) -> tf.Tensor:
        """Returns what is remembered before all steps."""
        rows = tf.zeros((len(self.steps) + 1, batch_size, self.units))
        if not self.steps.num_landmarks:
            return rows
        landmarks = tf.convert_to_tensor(self.landmarks)[:, None]
        return tf.concat([rows, tf.repeat(landmarks, batch_size, axis=1)], 0)

    def _empty_columns(self) -> list[tf.TensorArray]:
        """Returns what the values of the steps, [B, 1 + L], are written to."""
        shape = [None, 1 + self.steps.is_link.shape[1]]
        return [
            tf.TensorArray(dtype, len(self.steps), element_shape=shape)
            for dtype in (tf.int32, tf.float32, tf.float32, tf.float32)
        ]

    def _decisions(self, columns: list[tf.Tensor]) -> Decisions:
        """Returns the values [S, B, 1 + L] of all steps by choices."""
        width = len(self.steps) * columns[0].shape[-1]
        *values, logits = (
            tf.reshape(tf.transpose(column, [1, 0, 2]), [-1, width])
            for column in columns
        )
        tokens, log_prob, entropy = (
            tf.gather(value, self.steps.columns, axis=1) for value in values
        )
        link_logits = tf.gather(logits, self.steps.link_columns, axis=1)
        return Decisions(tokens, log_prob, entropy, link_logits)


def _invert_cdf(probs: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Returns the int32 [B] options at which the CDF of [B, K] passes noise."""
    thresholds = tf.cumsum(probs, axis=-1)[:, :-1]
    passed = tf.cast(noise[:, None] >= thresholds, tf.int32)
    return tf.reduce_sum(passed, axis=-1)
