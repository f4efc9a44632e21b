"""Attention to a source sentence, and the recurrent layer that is fed by it.

Keras only. Axes: B sentences, S source steps, T target steps, E width of an
embedding, H units, M width of the memory, A width of the attention.
"""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.layers.nas_cell import NASCell


class Memory(NamedTuple):
    """What an encoder has made of source sentences.

    Attributes:
        values: [B, S, M].
        keys: What attention compares queries with, from `Attention.keys`.
        is_real: Boolean [B, S], False where a sentence is over.
    """

    values: Any
    keys: Any
    is_real: Any


class Attention(keras.layers.Layer):
    """Weighs the steps of a memory by how they fit a query.

    Call arguments:
        query: [B, H].
        memory: `Memory` whose keys are those of this layer.

    Returns:
        The context [B, M], and the weights [B, S], float32.
    """

    def call(self, query: Any, memory: Memory) -> tuple[Any, Any]:
        scores = keras.ops.cast(self.scores(query, memory.keys), "float32")
        scores = keras.ops.where(memory.is_real, scores, -1e9)
        weights = keras.ops.softmax(scores)
        cast = keras.ops.cast(weights, memory.values.dtype)
        context = keras.ops.einsum("bs,bsm->bm", cast, memory.values)
        return context, weights

    def keys(self, values: Any) -> Any:
        """Returns what queries are compared with, of a memory [B, S, M]."""
        return keras.ops.matmul(values, self.memory_kernel)

    def scores(self, query: Any, keys: Any) -> Any:
        """Returns how well the query [B, H] fits each key, [B, S]."""
        raise NotImplementedError


class NormedBahdanau(Attention):
    """e_j = g v/|v| . tanh(W_m m_j + W_q q + b).

    Args:
        units: A.

    Reference:
        [Bahdanau et al., 2015](https://arxiv.org/abs/1409.0473), equation of
        its appendix A.1.2, with v normalised as in
        [Salimans & Kingma, 2016](https://arxiv.org/abs/1602.07868).
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units

    def build(
        self, query_shape: Sequence[int], memory_shape: Sequence[int]
    ) -> None:
        shapes = {
            "memory_kernel": (memory_shape[-1], self.units),
            "query_kernel": (query_shape[-1], self.units),
            "v": (self.units,),
        }
        for name, shape in shapes.items():
            setattr(self, name, self.add_weight(name=name, shape=shape))
        self.bias = self.add_weight(
            name="bias", shape=(self.units,), initializer="zeros"
        )
        scale = keras.initializers.Constant(self.units**-0.5)
        self.g = self.add_weight(name="g", shape=(), initializer=scale)
        self.built = True

    def scores(self, query: Any, keys: Any) -> Any:
        product = keras.ops.matmul(query, self.query_kernel) + self.bias
        v = keras.ops.copy(self.v)  # See `AttentiveRNN`.
        length = keras.ops.sqrt(keras.ops.sum(keras.ops.square(v)))
        v = v * (self.g / length)
        return keras.ops.matmul(keras.ops.tanh(keys + product[:, None]), v)


class ScaledLuong(Attention):
    """e_j = g q . (W_m m_j).

    Reference:
        [Luong et al., 2015](https://arxiv.org/abs/1508.04025), equation 8,
        "general", scaled by a weight.
    """

    def build(
        self, query_shape: Sequence[int], memory_shape: Sequence[int]
    ) -> None:
        self.memory_kernel = self.add_weight(
            name="memory_kernel", shape=(memory_shape[-1], query_shape[-1])
        )
        self.g = self.add_weight(name="g", shape=(), initializer="ones")
        self.built = True

    def scores(self, query: Any, keys: Any) -> Any:
        return self.g * keras.ops.einsum("bh,bsh->bs", query, keys)


class Attended(NamedTuple):
    """What an `AttentiveRNN` returns.

    Attributes:
        outputs: [B, T, H].
        contexts: [B, T, M], of the attention that each output has asked for.
        weights: float32 [B, T, S], of that attention.
        states: After the last step.
    """

    outputs: Any
    contexts: Any
    weights: Any
    states: list[Any]


class AttentiveRNN(keras.layers.Layer):
    """A recurrent layer that reads, at each step, what it has attended to.

    Its input at step t is [x_t; context of step t - 1], so unlike those of a
    `NASRNN` its steps cannot be taken out of the loop: of the products of the
    cell only that of x could. This is the one such layer of GNMT.

    TensorFlow adds more than two gradients of one tensor in an order that
    differs from run to run. So that a training can be repeated to the bit,
    what has three readers here is copied for two of them.

    Args:
        units: H.
        spec: The cell.
        attention: The `Attention` that its outputs query.
        use_bias: As for `NASCell`.

    Call arguments:
        x: [B, T, E].
        memory: `Memory`.
        states: Before the first step.
        context: [B, M], of the step before the first.
        mask: [B, E + M] to multiply the input of each step by, or None.

    Returns:
        `Attended`.
    """

    def __init__(
        self,
        units: int,
        spec: CellSpec,
        attention: Attention,
        use_bias: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.cell = NASCell(units, spec, use_bias=use_bias, name="cell")
        self.attention = attention

    def build(
        self, x_shape: Sequence[Any], memory_shape: Sequence[Any]
    ) -> None:
        self.cell.build((None, x_shape[-1] + memory_shape[-1]))
        self.attention.build((None, self.cell.units), memory_shape)
        self.built = True

    def call(
        self,
        x: Any,
        memory: Memory,
        states: Sequence[Any],
        context: Any,
        mask: Any = None,
    ) -> Attended:
        def step(carry: Any, x_t: Any) -> tuple[Any, Any]:
            states, context, _ = carry
            inputs = keras.ops.concatenate([x_t, context], axis=-1)
            if mask is not None:
                inputs = inputs * mask
            output, states = self.cell(inputs, list(states))
            context, weights = self.attention(output, memory)
            states = tuple(map(keras.ops.copy, states))
            carry = (states, context, keras.ops.copy(weights))
            return carry, carry  # On TensorFlow the two must be alike.

        no_weights = keras.ops.zeros_like(memory.is_real, "float32")
        (last, _, _), (states, contexts, weights) = keras.ops.scan(
            step, (tuple(states), context, no_weights), _swapped(x)
        )
        outputs = states[self.cell.spec.states.index("h")]
        outputs, contexts, weights = map(_swapped, (outputs, contexts, weights))
        return Attended(outputs, contexts, weights, list(last))


def _swapped(x: Any) -> Any:
    """Returns [B, T, W] as [T, B, W], or the other way round."""
    return keras.ops.transpose(x, (1, 0, 2))
