"""The policy: an auto-regressive LSTM with one softmax for each choice.

The token chosen at a step is embedded and is the input of the next; the first
input is a learned vector. Sampling and teacher-forced scoring are one
computation, so their probabilities agree to the last bit. Axes: B sampled
architectures, A decisions, K options of a decision.
"""

import keras
import tensorflow as tf

_NEVER = -1e9  # Logit of the padding: probability zero in float32.


class Policy(keras.layers.Layer):
    """Distribution over token sequences.

    Args:
        num_options: K of each of the A choices.
        units: Width of each LSTM layer, and of the embeddings.
        num_layers: LSTM layers.
        init_scale: All weights begin uniform in [-init_scale, init_scale].
        seed: Int, of the initial weights.

    Call arguments:
        noise: float32 [B, A], used where `tokens` is None.
        tokens: int32 [B, A], to score these; or None, to sample.

    Returns:
        tokens int32 [B, A]; log_prob float32 [B, A]; entropy float32 [B, A].
    """

    def __init__(
        self,
        num_options: tuple[int, ...],
        units: int,
        num_layers: int,
        init_scale: float,
        seed: int,
    ):
        super().__init__(name="policy")
        self.num_options = num_options
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
        self.built = True

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

        def step(index, inputs, states, columns):
            hidden, new_states = inputs, []
            for cell, state in zip(self.cells, states, strict=True):
                hidden, state = cell(hidden, state)
                new_states.append(state)
            logits = tf.matmul(hidden, heads[index]) + biases[index]
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
            return index + 1, inputs, new_states, columns

        *_, columns = tf.while_loop(
            lambda index, *_: index < num_choices,
            step,
            (
                tf.constant(0),
                tf.repeat(start, batch_size, axis=0),
                states,
                [
                    tf.TensorArray(dtype, num_choices, element_shape=[None])
                    for dtype in (tf.int32, tf.float32, tf.float32)
                ],
            ),
            maximum_iterations=num_choices,
        )
        return tuple(tf.transpose(column.stack()) for column in columns)


def _invert_cdf(probs: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Returns the int32 [B] options at which the CDF of [B, K] passes noise."""
    thresholds = tf.cumsum(probs, axis=-1)[:, :-1]
    passed = tf.cast(noise[:, None] >= thresholds, tf.int32)
    return tf.reduce_sum(passed, axis=-1)
