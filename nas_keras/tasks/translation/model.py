"""The translation model of GNMT around any cell, as Keras layers.

Attention to a source sentence, the recurrent layer that is fed by it, and the
model. Keras only; masks are passed explicitly. Axes: B sentences, S source
steps, T target steps, E width of an embedding, H units, M width of the memory,
A width of the attention, V vocabulary.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.layers.nas_cell import NASCell
from nas_keras.cells.layers.nas_rnn import NASRNN
from nas_keras.data.subwords import PADDING
from nas_keras.tasks.translation.config import TranslationModelConfig

# Masks [B, W] of dropout, by the name of what they are multiplied with.
Masks = Mapping[str, Any]


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


class DecoderState(NamedTuple):
    """What the decoder carries from one step to the next.

    Attributes:
        states: Of each layer, from the bottom.
        context: [B, M], of the last attention.
    """

    states: list[list[Any]]
    context: Any


class Decoded(NamedTuple):
    """What the decoder returns.

    Attributes:
        logits: float32 [B, T, V].
        weights: float32 [B, T, S], of the attention.
        state: After the last step.
    """

    logits: Any
    weights: Any
    state: DecoderState


@keras.saving.register_keras_serializable(package="nas_keras")
class TranslationModel(keras.Model):
    """Encoder, attention and decoder of GNMT, of any cell.

    The encoder's bottom layer reads in both directions; then come
    uni-directional ones, from the third layer on with residual connections.
    The decoder's bottom layer queries the attention, whose context all its
    layers are fed; from the third on they have residual connections. Encoder
    states begin those of the decoder: of the bottom layer that of the
    backward direction.

    All layers but the decoder's bottom one, `AttentiveRNN`, run over whole
    sequences as `NASRNN`s in training.

    Args:
        config: `TranslationModelConfig`, its units decided, or its dictionary.
        spec: The cell of every layer, or its dictionary.
        source_size: V of the source.
        target_size: V of the target.

    Call arguments:
        inputs: `(source, target)`, int32 [B, S] and [B, T]; the target
            begins with the token that begins sentences. Padding is 0.
        masks: Of dropout, as `dropout_widths` says; None for none.

    Returns:
        float32 [B, T, V], the logits of the token after each of the target's.

    Raises:
        ValueError: If embeddings are to be shared by vocabularies of two sizes.

    Reference:
        [Wu et al., 2016](https://arxiv.org/abs/1609.08144), section 3, in the
        form of github.com/tensorflow/nmt, gnmt_model.py.
    """

    def __init__(
        self,
        config: TranslationModelConfig | Mapping[str, Any],
        spec: CellSpec | Mapping[str, Any],
        source_size: int,
        target_size: int,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if isinstance(config, Mapping):
            config = TranslationModelConfig(**config)
        if isinstance(spec, Mapping):
            spec = CellSpec.from_dict(spec)
        self.config, self.spec = config, spec
        self.source_size, self.target_size = source_size, target_size
        if config.shared_embeddings and source_size != target_size:
            raise ValueError(
                "source_size and target_size must be equal with "
                f"shared_embeddings=True. Received: source_size={source_size}, "
                f"target_size={target_size}."
            )
        self.source_embedding = self.target_embedding = keras.layers.Embedding(
            source_size, config.units, name="source_embedding"
        )
        if not config.shared_embeddings:
            self.target_embedding = keras.layers.Embedding(
                target_size, config.units, name="target_embedding"
            )
        self.forward_layer = self._layer("encoder_forward")
        self.backward_layer = self._layer("encoder_backward", go_backwards=True)
        numbers = range(1, config.num_layers)
        self.encoder_layers = [self._layer(f"encoder_{k}") for k in numbers]
        self.bottom_layer = self._bottom_layer()
        self.decoder_layers = [self._layer(f"decoder_{k}") for k in numbers]
        self.build()

    def _bottom_layer(self) -> AttentiveRNN:
        config = self.config
        attention = (
            NormedBahdanau(config.units, name="attention")
            if config.attention == "normed_bahdanau"
            else ScaledLuong(name="attention")
        )
        return AttentiveRNN(
            config.units,
            self.spec,
            attention,
            use_bias=config.use_bias,
            name="decoder_0",
        )

    def _layer(self, name: str, go_backwards: bool = False) -> NASRNN:
        return NASRNN(
            self.config.units,
            self.spec,
            use_bias=self.config.use_bias,
            return_sequences=True,
            return_state=True,
            go_backwards=go_backwards,
            jit_compile=False,  # XLA would compile anew for every length.
            name=name,
        )

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        units, width = self.config.units, self.config.memory_width
        self.source_embedding.build((None, None))
        self.target_embedding.build((None, None))
        widths = self.config.cell_input_widths()
        for layer in (
            self.forward_layer,
            self.backward_layer,
            *self.encoder_layers,
            *self.decoder_layers,
        ):
            layer.build((None, None, widths[layer.name]))
        self.bottom_layer.build((None, None, units), (None, None, width))
        self.softmax_kernel = None
        if not self.config.tied:
            self.softmax_kernel = self.add_weight(
                name="softmax_kernel", shape=(units, self.target_size)
            )
        self.built: bool = True

    def call(self, inputs: Any, masks: Masks | None = None) -> Any:
        source, target = inputs
        memory, state = self.encode(source, masks)
        return self.decode(target, memory, state, masks).logits

    def dropout_widths(self) -> dict[str, tuple[int, float]]:
        """Returns the width and the rate of each mask of dropout."""
        config = self.config
        rates = {
            name: (width, config.dropout)
            for name, width in config.cell_input_widths().items()
        }
        rates["softmax"] = (config.units, config.output_dropout)
        return {name: both for name, both in rates.items() if both[1]}

    def encode(
        self, source: Any, masks: Masks | None = None
    ) -> tuple[Memory, DecoderState]:
        """Returns the memory of sentences int32 [B, S], and the first state.

        A sentence must have a token that is not padding.
        """
        is_real = keras.ops.not_equal(source, PADDING)
        x = self.source_embedding(source)
        forward, *_ = self.forward_layer(
            _masked(x, "encoder_forward", masks), mask=is_real
        )
        backward, *state = self.backward_layer(
            _masked(x, "encoder_backward", masks), mask=is_real
        )
        x = keras.ops.concatenate(
            [forward, keras.ops.flip(backward, axis=1)], axis=-1
        )
        states = [state]
        for number, layer in enumerate(self.encoder_layers, start=1):
            outputs, *state = layer(
                _masked(x, f"encoder_{number}", masks), mask=is_real
            )
            states.append(state)
            x = outputs + x if number > 1 else outputs
        memory = Memory(x, self.bottom_layer.attention.keys(x), is_real)
        context = keras.ops.zeros_like(x[:, 0])
        return memory, DecoderState(states, context)

    def decode(
        self,
        target: Any,
        memory: Memory,
        state: DecoderState,
        masks: Masks | None = None,
    ) -> Decoded:
        """Returns the logits of what follows each of the tokens [B, T].

        Args:
            target: int32 [B, T]; one step of a search has T = 1.
            memory: Of the source sentences.
            state: Before the first of the tokens.
            masks: Of dropout.
        """
        table = keras.ops.copy(self.target_embedding.embeddings)
        x = keras.ops.take(table, target, axis=0)
        mask = None if masks is None else masks.get("decoder_0")
        bottom = self.bottom_layer(
            x, memory, state.states[0], state.context, mask
        )
        contexts = bottom.contexts
        if self.config.attention_timing == "previous":
            before = state.context[:, None]
            contexts = keras.ops.concatenate([before, contexts[:, :-1]], axis=1)
        x, states = bottom.outputs, [bottom.states]
        for number, layer in enumerate(self.decoder_layers, start=1):
            inputs = keras.ops.concatenate([x, contexts], axis=-1)
            outputs, *after = layer(
                _masked(inputs, f"decoder_{number}", masks),
                initial_state=list(state.states[number]),
            )
            states.append(after)
            x = outputs + x if number > 1 else outputs
        kernel = self.softmax_kernel
        if kernel is None:
            kernel = keras.ops.transpose(table)
        logits = keras.ops.matmul(_masked(x, "softmax", masks), kernel)
        return Decoded(
            keras.ops.cast(logits, "float32"),
            bottom.weights,
            DecoderState(states, bottom.contexts[:, -1]),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "config": self.config.to_dict(),
            "spec": self.spec.to_dict(),
            "source_size": self.source_size,
            "target_size": self.target_size,
        }


def _masked(x: Any, name: str, masks: Masks | None) -> Any:
    """Returns [B, T, W] times its mask [B, W], if there is one."""
    if masks is None or name not in masks:
        return x
    return x * masks[name][:, None]
