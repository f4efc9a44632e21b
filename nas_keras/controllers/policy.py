"""The policy: an auto-regressive LSTM with one softmax for each choice.

The token chosen at a step is embedded and is the input of the next; the first
input is a learned vector. A choice with anchors is made by attention over what
the LSTM's output was at those, and the output at the chosen one is the next
input. Sampling and teacher-forced scoring are one computation, so their
probabilities agree to the last bit. Axes: B sampled architectures, A decisions,
K options of a decision, U units.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from nas_keras.spaces.space import Choice

_NEVER = -1e9  # Logit of the padding: probability zero in float32.


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

    Call arguments:
        noise: float32 [B, A], used where `tokens` is None.
        tokens: int32 [B, A], to score these; or None, to sample.

    Returns:
        tokens int32 [B, A]; log_prob float32 [B, A]; entropy float32 [B, A].

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
    ):
        super().__init__(name="policy")
        self.num_options = tuple(len(choice.options) for choice in choices)
        self.anchors = [choice.anchors for choice in choices]
        self.temperature = temperature
        self.tanh_constant = tanh_constant
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

    def build(self, input_shape=None) -> None:
        for cell in self.cells:
            cell.build((None, self.units))
        # One head and one embedding table a choice, padded to the most options.
        num_choices, most = len(self.num_options), max(self.num_options)
        self.start = self._weight("start", (1, self.units), 1_000)
        self.heads = self._weight(
            "heads", (num_choices, self.units, most), 1_001
        )
        self.biases = self._weight("biases", (num_choices, most), 1_002)
        self.embeddings = self._weight(
            "embeddings", (num_choices, most, self.units), 1_003
        )
        if self._has_anchors:
            shape = (self.units, self.units)
            self.key_kernel = self._weight("key_kernel", shape, 1_004)
            self.query_kernel = self._weight("query_kernel", shape, 1_005)
            self.attention = self._weight("attention", shape[:1], 1_006)
        self.built = True

    @property
    def _has_anchors(self) -> bool:
        return any(anchors is not None for anchors in self.anchors)

    def _weight(
        self, name: str, shape: tuple[int, ...], role: int
    ) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=self._initializer(self.seed, role),
        )

    def call(self, noise: tf.Tensor, tokens: tf.Tensor | None = None):
        heads, biases, embeddings, start = (
            tf.convert_to_tensor(weight)
            for weight in (
                self.heads,
                self.biases,
                self.embeddings,
                self.start,
            )
        )
        num_choices, batch_size = len(self.num_options), tf.shape(noise)[0]
        num_options = tf.constant(self.num_options)
        padding = tf.range(max(self.num_options)) >= num_options[:, None]
        states = [cell.get_initial_state(batch_size) for cell in self.cells]
        memory = _Memory(
            self.anchors, max(self.num_options), batch_size, self.units
        )

        def step(index, inputs, states, rows, columns):
            hidden, new_states = inputs, []
            for cell, state in zip(self.cells, states, strict=True):
                hidden, state = cell(hidden, state)
                new_states.append(state)
            logits = tf.matmul(hidden, heads[index]) + biases[index]
            if self._has_anchors:
                attended = self._attend(hidden, memory.keys(rows, index))
                logits = tf.where(memory.is_anchored[index], attended, logits)
            logits = self._squashed(logits)
            logits = tf.where(padding[index], _NEVER, logits)
            log_probs = tf.nn.log_softmax(logits)  # [B, K]
            probs = tf.exp(log_probs)
            if tokens is None:
                token = _invert_cdf(probs, noise[:, index])
                token = tf.minimum(token, num_options[index] - 1)
            else:
                token = tokens[:, index]
            values = (
                token,
                tf.gather(log_probs, token, axis=1, batch_dims=1),
                -tf.reduce_sum(probs * log_probs, axis=-1),
            )
            columns = [
                column.write(index, value)
                for column, value in zip(columns, values, strict=True)
            ]
            inputs = tf.gather(embeddings[index], token)
            if self._has_anchors:
                chosen = memory.chosen(rows, index, token)
                inputs = tf.where(memory.is_anchored[index], chosen, inputs)
                rows = memory.written(rows, index, hidden)
            return index + 1, inputs, new_states, rows, columns

        *_, columns = tf.while_loop(
            lambda index, *_: index < num_choices,
            step,
            (
                tf.constant(0),
                tf.repeat(start, batch_size, axis=0),
                states,
                memory.empty() if self._has_anchors else (),
                [
                    tf.TensorArray(dtype, num_choices, element_shape=[None])
                    for dtype in (tf.int32, tf.float32, tf.float32)
                ],
            ),
            maximum_iterations=num_choices,
        )
        return tuple(tf.transpose(column.stack()) for column in columns)

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


class _Memory:
    """What the LSTM's output was at each choice, for the anchors to attend to.

    Row 0 is the beginning, zeros; row k+1 is of choice k.
    """

    def __init__(
        self,
        anchors: Sequence[tuple[int, ...] | None],
        most_options: int,
        batch_size: tf.Tensor,
        units: int,
    ):
        self._shape = (len(anchors) + 1, batch_size, units)
        table = np.zeros((len(anchors), most_options), np.int32)
        for index, places in enumerate(anchors):
            if places is not None:
                table[index, : len(places)] = np.array(places) + 1
        self._table = tf.constant(table)
        self.is_anchored = tf.constant([p is not None for p in anchors])

    def empty(self) -> tf.Tensor:
        """Returns the rows [A+1, B, U] before all choices."""
        return tf.zeros(self._shape)

    def keys(self, rows: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """Returns the rows [K, B, U] that a choice's options point to."""
        return tf.gather(rows, self._table[index])

    def chosen(
        self, rows: tf.Tensor, index: tf.Tensor, token: tf.Tensor
    ) -> tf.Tensor:
        """Returns the row [B, U] that each token [B] points to."""
        place = tf.gather(self._table[index], token)
        by_batch = tf.transpose(rows, [1, 0, 2])
        return tf.gather(by_batch, place, axis=1, batch_dims=1)

    def written(
        self, rows: tf.Tensor, index: tf.Tensor, hidden: tf.Tensor
    ) -> tf.Tensor:
        """Returns the rows with the output [B, U] at a choice put in."""
        here = tf.range(self._shape[0]) == index + 1
        return tf.where(here[:, None, None], hidden[None], rows)


def _invert_cdf(probs: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Returns the int32 [B] options at which the CDF of [B, K] passes noise."""
    thresholds = tf.cumsum(probs, axis=-1)[:, :-1]
    passed = tf.cast(noise[:, None] >= thresholds, tf.int32)
    return tf.reduce_sum(passed, axis=-1)
