"""The policy: an auto-regressive LSTM that makes a choice, or several, a step.

There are three kinds of steps:

- "label": a choice between labels, by a softmax of the step's own. The
  embedding of the chosen option is the next input.
- "pointer": a choice with anchors, by a softmax of the attention to what the
  LSTM's outputs were at those. The output at the chosen one is the next input.
- "links": all links that follow each other, each by a sigmoid of the same
  attention. The sum of the outputs that are linked to, divided by one more
  than their number, is the next input.

The first input is a learned vector. Sampling and scoring are one computation,
so their probabilities agree to the last bit. One loop makes all steps. It
computes the heads of all kinds that the space has and takes those of the
step's kind: a branch there, in a loop whose gradient is taken, makes
TensorFlow warn of an invalid graph. Axes: B proposed architectures, A
decisions, S steps, M rows of the memory, K options of a choice, L links of a
step, U units.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from nas_keras import libraries
from nas_keras.controllers.config import PolicyGradient
from nas_keras.spaces.space import Choice

_NEVER = -1e9  # Logit of the padding: probability zero in float32.


@dataclasses.dataclass(frozen=True)
class Step:
    """What the policy decides at one step of its LSTM.

    The memory has a row for each place that a choice can point back to: row 0
    is the beginning, zeros; row s+1 the output of the LSTM at step s; the rows
    after those of all steps are learned vectors, the landmarks, for the
    anchors -2, -3 and so on.

    Attributes:
        kind: "label", "pointer" or "links".
        places: The places of the choices in the space: one, or of each link.
        num_options: Options of the choice; 2 of links.
        rows: The row of the memory that each option of a pointer, or each
            link, points back to.

    Example:

    >>> for step in steps_of([
    ...     Choice("operation", ("conv", "pool", "skip")),
    ...     Choice("reads", ("input", "output"), anchors=(-1, 0)),
    ...     Choice("is_linked", (0, 1), link=0),
    ... ]):
    ...     print(step)
    Step(kind='label', places=(0,), num_options=3, rows=())
    Step(kind='pointer', places=(1,), num_options=2, rows=(0, 1))
    Step(kind='links', places=(2,), num_options=2, rows=(1,))
    """

    kind: str
    places: tuple[int, ...]
    num_options: int
    rows: tuple[int, ...] = ()


def steps_of(choices: Sequence[Choice]) -> tuple[Step, ...]:
    """Returns the steps that make the choices of a space, in their order."""
    runs: list[list[int]] = []
    for place, choice in enumerate(choices):
        before = choices[place - 1].link if place else None
        if choice.link is not None and before is not None:
            runs[-1].append(place)  # Links that follow each other.
        else:
            runs.append([place])
    row_of = {-1: 0}
    for step, run in enumerate(runs):
        row_of |= dict.fromkeys(run, step + 1)
    for landmark in range(num_landmarks(choices)):
        row_of[-2 - landmark] = len(runs) + 1 + landmark
    steps = []
    for run in runs:
        first = choices[run[0]]
        kind, anchors = "label", first.anchors or ()
        if first.link is not None:
            kind = "links"
            anchors = tuple(choices[place].link or 0 for place in run)
        elif anchors:
            kind = "pointer"
        rows = tuple(row_of[anchor] for anchor in anchors)
        steps.append(Step(kind, tuple(run), len(first.options), rows))
    return tuple(steps)


def num_landmarks(choices: Sequence[Choice]) -> int:
    """Returns how many of the anchors -2, -3 and so on there are."""
    anchors = [k for choice in choices for k in choice.anchors or ()]
    return max(-1 - k for k in (-1, *anchors))


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
        seed: Int, seed of the initial weights.
        settings: `PolicyGradient`; those of the network and of its logits.

    Call arguments:
        given: float32 [B, A], uniform noise to sample with; or int32 [B, A],
            tokens to score.

    Returns:
        `Decisions`.

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), sections 3.1 and
        3.3; [Pham et al., 2018](https://arxiv.org/abs/1802.03268).
    """

    def __init__(
        self, choices: Sequence[Choice], seed: int, settings: PolicyGradient
    ):
        libraries.check_tensorflow("for a controller that learns")
        super().__init__(name="policy")
        self._seed = seed
        self._settings = settings
        self._steps = steps_of(choices)
        self._num_landmarks = num_landmarks(choices)
        # Values of a step stand in 1 + L columns: its choice, then its links.
        self._num_links = [
            len(step.places) if step.kind == "links" else 0
            for step in self._steps
        ]
        self._width = 1 + max(self._num_links)
        column_of = {
            place: index * self._width + offset
            for index, step in enumerate(self._steps)
            for offset, place in enumerate(step.places, step.kind == "links")
        }
        self._columns = [column_of[place] for place in range(len(choices))]
        self._link_columns = [
            column_of[place]
            for place, choice in enumerate(choices)
            if choice.link is not None
        ]
        self._cells = [
            keras.layers.LSTMCell(
                settings.units,
                kernel_initializer=self._initializer(3 * layer),
                recurrent_initializer=self._initializer(3 * layer + 1),
                bias_initializer=self._initializer(3 * layer + 2),
                unit_forget_bias=False,
                name=f"lstm_{layer}",  # Not Keras's count of the process.
            )
            for layer in range(settings.num_layers)
        ]

    @property
    def num_link_steps(self) -> int:
        """The number of steps that decide links."""
        return sum(step.kind == "links" for step in self._steps)

    def _initializer(self, role: int) -> keras.Initializer:
        """Returns an initializer whose stream is of (seed, role) alone."""
        scale = self._settings.init_scale
        return keras.initializers.RandomUniform(
            -scale, scale, seed=(self._seed * 100_003 + role) % 2**31
        )

    def build(self, input_shape: Any = None) -> None:
        num_steps, units = len(self._steps), self._settings.units
        for cell in self._cells:
            cell.build((None, units))
        # A head and an embedding table each step, padded to the most options.
        most = max(step.num_options for step in self._steps)
        self.start = self._weight("start", (1, units), 1_000)
        self.heads = self._weight("heads", (num_steps, units, most), 1_001)
        self.biases = self._weight("biases", (num_steps, most), 1_002)
        self.embeddings = self._weight(
            "embeddings", (num_steps, most, units), 1_003
        )
        if self._has_memory:
            self.key_kernel = self._weight("key_kernel", (units, units), 1_004)
            self.query_kernel = self._weight(
                "query_kernel", (units, units), 1_005
            )
            self.attention = self._weight("attention", (units,), 1_006)
        if self._num_landmarks:
            shape = (self._num_landmarks, units)
            self.landmarks = self._weight("landmarks", shape, 1_007)
        self.built = True

    @property
    def _has_pointers(self) -> bool:
        return any(step.kind == "pointer" for step in self._steps)

    @property
    def _has_memory(self) -> bool:
        return any(step.rows for step in self._steps)

    def _weight(
        self, name: str, shape: tuple[int, ...], role: int
    ) -> keras.Variable:
        initializer = self._initializer(role)
        return self.add_weight(name=name, shape=shape, initializer=initializer)

    def call(self, given: tf.Tensor) -> Decisions:
        num_steps, batch_size = len(self._steps), tf.shape(given)[0]

        def step(index: Any, *carried: Any) -> tuple[Any, ...]:
            inputs, states, memory, columns = carried
            hidden, states = self._advance(inputs, states)
            values, inputs = self._decide(index, hidden, memory, given)
            if self._has_memory:
                here = tf.range(tf.shape(memory)[0]) == index + 1
                memory = tf.where(here[:, None, None], hidden[None], memory)
            columns = [
                column.write(index, value)
                for column, value in zip(columns, values, strict=True)
            ]
            return index + 1, inputs, states, memory, columns

        *_, columns = tf.while_loop(
            lambda index, *_: index < num_steps,
            step,
            (
                tf.constant(0),
                tf.repeat(tf.convert_to_tensor(self.start), batch_size, axis=0),
                [cell.get_initial_state(batch_size) for cell in self._cells],
                self._empty_memory(batch_size) if self._has_memory else (),
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
        for cell, state in zip(self._cells, states, strict=True):
            inputs, state = cell(inputs, state)
            new_states.append(state)
        return inputs, new_states

    def _decide(
        self,
        index: tf.Tensor,
        hidden: tf.Tensor,
        memory: tf.Tensor,
        given: tf.Tensor,
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Makes the choice, or the links, of a step.

        Args:
            index: int32 [], the step.
            hidden: [B, U].
            memory: [M, B, U].
            given: [B, A], noise if float32, tokens if int32.

        Returns:
            Columns [B, 1 + L] of each of `Decisions`; the next input [B, U].
        """
        values, inputs = self._choose(index, hidden, memory, given)
        if self.num_link_steps:
            links, linked = self._link(index, hidden, memory, given)
            values = [
                tf.concat(pair, axis=1)
                for pair in zip(values, links, strict=True)
            ]
            inputs = tf.where(self._is("links", index), linked, inputs)
        return values, inputs

    def _choose(
        self,
        index: tf.Tensor,
        hidden: tf.Tensor,
        memory: tf.Tensor,
        given: tf.Tensor,
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Makes a choice between labels, or between anchors, by a softmax.

        Takes and returns what `_decide` does, but for one column.
        """
        head, bias, embeddings = (
            tf.convert_to_tensor(weight)[index]
            for weight in (self.heads, self.biases, self.embeddings)
        )
        logits = tf.matmul(hidden, head) + bias  # [B, K]
        if self._has_pointers:
            rows = self._rows("pointer", index, logits.shape[1])
            attended = self._attend(hidden, tf.gather(memory, rows))
            is_pointer = self._is("pointer", index)
            logits = tf.where(is_pointer, attended, logits)
        num_options = tf.gather([s.num_options for s in self._steps], index)
        padding = tf.range(logits.shape[1]) >= num_options
        logits = tf.where(padding, _NEVER, self._squashed(logits))
        log_probs = tf.nn.log_softmax(logits)
        probs = tf.exp(log_probs)
        place = tf.gather([step.places[0] for step in self._steps], index)
        token = tf.gather(given, place, axis=1)
        if token.dtype.is_floating:
            token = _invert_cdf(probs, token)
        token = tf.minimum(token, num_options - 1)
        inputs = tf.gather(embeddings, token)
        if self._has_pointers:
            by_batch = tf.transpose(memory, [1, 0, 2])
            chosen = tf.gather(rows, token)
            chosen = tf.gather(by_batch, chosen, axis=1, batch_dims=1)
            inputs = tf.where(is_pointer, chosen, inputs)
        log_prob = tf.gather(log_probs, token, axis=1, batch_dims=1)
        entropy = -tf.reduce_sum(probs * log_probs, axis=-1)
        values = (token, log_prob, entropy, tf.zeros_like(entropy))
        return [value[:, None] for value in values], inputs

    def _link(
        self,
        index: tf.Tensor,
        hidden: tf.Tensor,
        memory: tf.Tensor,
        given: tf.Tensor,
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Decides links, each by a sigmoid of its own.

        Takes and returns what `_decide` does, but for L columns.
        """
        most, scale = self._width - 1, self._settings.skip_scale
        keys = tf.gather(memory, self._rows("links", index, most))  # [L, B, U]
        logits = self._squashed(self._attend(hidden, keys))  # [B, L]
        yes = tf.math.log_sigmoid(scale * logits)
        no = tf.math.log_sigmoid(-scale * logits)
        places = _table([step.places[:most] for step in self._steps], most)
        token = tf.gather(given, tf.gather(places, index), axis=1)
        if token.dtype.is_floating:
            token = tf.cast(token >= tf.exp(no), tf.int32)
        is_link = tf.range(most) < tf.gather(self._num_links, index)
        token *= tf.cast(is_link, tf.int32)
        log_prob = tf.where(token == 1, yes, no)
        entropy = -(tf.exp(yes) * yes + tf.exp(no) * no)
        chosen = tf.cast(tf.transpose(token), hidden.dtype)[:, :, None]
        inputs = tf.reduce_sum(chosen * keys, axis=0)
        inputs /= 1 + tf.reduce_sum(chosen, axis=0)
        return [token, log_prob, entropy, logits], inputs

    def _is(self, kind: str, index: tf.Tensor) -> tf.Tensor:
        """Returns whether a step is of a kind, bool []."""
        return tf.gather([step.kind == kind for step in self._steps], index)

    def _rows(self, kind: str, index: tf.Tensor, width: int) -> tf.Tensor:
        """Returns the rows that a step of a kind points to, int32 [width]."""
        rows = [s.rows if s.kind == kind else () for s in self._steps]
        return tf.gather(_table(rows, width), index)

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
        logits = logits / self._settings.temperature
        if self._settings.tanh_constant:
            logits = self._settings.tanh_constant * tf.tanh(logits)
        return logits

    def _empty_memory(self, batch_size: tf.Tensor) -> tf.Tensor:
        """Returns the memory [M, B, U] before all steps."""
        shape = (len(self._steps) + 1, batch_size, self._settings.units)
        rows = tf.zeros(shape)
        if not self._num_landmarks:
            return rows
        landmarks = tf.convert_to_tensor(self.landmarks)[:, None]
        return tf.concat([rows, tf.repeat(landmarks, batch_size, axis=1)], 0)

    def _empty_columns(self) -> list[tf.TensorArray]:
        """Returns what the values of the steps, [B, 1 + L], are written to."""
        shape = [None, self._width]
        return [
            tf.TensorArray(dtype, len(self._steps), element_shape=shape)
            for dtype in (tf.int32, tf.float32, tf.float32, tf.float32)
        ]

    def _decisions(self, columns: list[tf.Tensor]) -> Decisions:
        """Returns the values [S, B, 1 + L] of all steps by choices."""
        width = len(self._steps) * self._width
        *values, logits = (
            tf.reshape(tf.transpose(column, [1, 0, 2]), [-1, width])
            for column in columns
        )
        tokens, log_prob, entropy = (
            tf.gather(value, self._columns, axis=1) for value in values
        )
        links = tf.constant(self._link_columns, tf.int32)  # Perhaps none.
        link_logits = tf.gather(logits, links, axis=1)
        return Decisions(tokens, log_prob, entropy, link_logits)


def _table(rows: Sequence[Sequence[int]], width: int) -> np.ndarray:
    """Returns int32 [S, width], the rows padded with zeros."""
    table = np.zeros((len(rows), width), np.int32)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table


def _invert_cdf(probs: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Returns the int32 [B] options at which the CDF of [B, K] passes noise."""
    thresholds = tf.cumsum(probs, axis=-1)[:, :-1]
    passed = tf.cast(noise[:, None] >= thresholds, tf.int32)
    return tf.reduce_sum(passed, axis=-1)
