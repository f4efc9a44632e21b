"""The recurrent language model: embedding, recurrent layers, softmax.

A child of a search and the final model of the same cell are this model and
this training with another config. Axes: B batch, T time steps, H units, V
vocabulary.
"""

import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.layers.nas_rnn import NASRNN
from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.training.variables import initial_weights


class Prediction(NamedTuple):
    """What a `LanguageModel` returns.

    Attributes:
        logits: float32 [B, T, V].
        states: The new states, as the old ones.
        outputs: [B, T, H] of the last layer.
        dropped: What the softmax read of them.
    """

    logits: Any
    states: list[list[Any]]
    outputs: Any
    dropped: Any


class LanguageModel(keras.Model):
    """Predicts the next token.

    Embedding, `num_layers` recurrent layers, softmax; every layer's input and
    output may be dropped out, by one mask a sequence.

    Args:
        config: `LanguageModelConfig`.
        vocabulary_size: V.
        recurrent: Makes a recurrent layer of a number of units, called as
            `layer(x, initial_state=..., training=...)`, that returns the
            outputs of all steps and its states, and has `state_size`. If it
            has a true `takes_indices`, it may be called with `indices=...`
            too, and x is then the rows that they point at.

    Call arguments:
        tokens: int32 [B, T].
        states: A list of state tensors for each recurrent layer.
        training: Whether dropout applies.

    Returns:
        A `Prediction`.
    """

    def __init__(
        self,
        config: LanguageModelConfig,
        vocabulary_size: int,
        recurrent: Callable[[int], keras.layers.Layer],
    ):
        super().__init__(dtype=config.precision)
        self.config = config
        self.embedding = keras.layers.Embedding(
            vocabulary_size, config.embedding_width, dtype=config.precision
        )
        self.recurrent = [recurrent(units) for units in config.layer_widths]
        self.seed_generator = keras.random.SeedGenerator(0)
        self.vocabulary_size = vocabulary_size

    def build(self, input_shape: Any = None) -> None:
        config = self.config
        width = config.embedding_width
        self.embedding.build((None, None))
        for layer, units in zip(
            self.recurrent, config.layer_widths, strict=True
        ):
            layer.build((None, None, width))
            width = units
        self.projection_kernel = self.softmax_kernel = None
        if not config.tied:
            self.softmax_kernel = self.add_weight(
                name="softmax_kernel", shape=(width, self.vocabulary_size)
            )
        elif width != config.embedding_width:
            self.projection_kernel = self.add_weight(
                name="projection_kernel", shape=(width, config.embedding_width)
            )
        self.softmax_bias = self.add_weight(
            name="softmax_bias", shape=(self.vocabulary_size,)
        )
        self.built = True

    def call(
        self,
        tokens: Any,
        states: Sequence[Sequence[Any]],
        training: bool = False,
    ) -> "Prediction":
        x, options = self._inputs(tokens, training)
        new_states: list[Any] = []
        for layer, state in zip(self.recurrent, states, strict=True):
            if new_states:
                x = self._dropped(x, "layer_dropout", training)
            x, *state = layer(
                x, initial_state=list(state), training=training, **options
            )
            options = {}
            new_states.append(list(state))
        dropped = self._dropped(x, "output_dropout", training)
        logits = (
            keras.ops.matmul(dropped, self.softmax_matrix()) + self.softmax_bias
        )
        return Prediction(
            keras.ops.cast(logits, "float32"), new_states, x, dropped
        )

    def softmax_matrix(self) -> Any:
        """Returns what the last layer's output is multiplied by, [H, V]."""
        if self.softmax_kernel is not None:
            return self.softmax_kernel
        kernel = keras.ops.transpose(self.embedding.embeddings)
        if self.projection_kernel is None:
            return kernel
        return keras.ops.matmul(self.projection_kernel, kernel)

    def initial_states(self, batch_size: int) -> list[list[Any]]:
        """Returns zeros for each state of each recurrent layer."""
        return [
            [
                keras.ops.zeros((batch_size, width), self.compute_dtype)
                for width in layer.state_size
            ]
            for layer in self.recurrent
        ]

    def _inputs(self, tokens: Any, training: bool) -> tuple[Any, dict]:
        """Returns the first layer's input, and what else to call it with.

        A layer that can gets the embedding as it is and the tokens, if that
        has fewer rows than there are tokens and no dropout lies between.
        """
        config = self.config
        if (
            getattr(self.recurrent[0], "takes_indices", False)
            and self.vocabulary_size < math.prod(tokens.shape)
            and not (
                training and (config.input_dropout or config.embedding_dropout)
            )
        ):
            return self.embedding.embeddings, {"indices": tokens}
        x = self.embedding(tokens)
        if training and config.embedding_dropout:
            keep = self._mask((self.vocabulary_size, 1), "embedding_dropout")
            x = x * keras.ops.take(keep, tokens, axis=0)
        return self._dropped(x, "input_dropout", training), {}

    def _dropped(self, x: Any, rate: str, training: bool) -> Any:
        if not training or not getattr(self.config, rate):
            return x
        batch_size, _, width = x.shape
        return x * self._mask((batch_size, 1, width), rate)

    def _mask(self, shape: tuple[int, ...], rate: str) -> Any:
        return keras.random.dropout(
            keras.ops.ones(shape, self.compute_dtype),
            getattr(self.config, rate),
            seed=self.seed_generator,
        )


def cell_model(
    config: LanguageModelConfig, vocabulary_size: int, spec: CellSpec
) -> LanguageModel:
    """Returns a model whose recurrent layers are `NASRNN`s of a cell."""
    model = LanguageModel(
        config,
        vocabulary_size,
        lambda units: NASRNN(
            units,
            spec,
            use_bias=config.use_bias,
            recurrent_dropout=config.recurrent_dropout,
            return_sequences=True,
            return_state=True,
            seed=0,
            jit_compile=False if config.jit_compile is False else "auto",
            dtype=config.precision,
        ),
    )
    model.build()
    return model


class Losses(NamedTuple):
    """Of a window of text: what training minimises is the sum of two.

    Attributes:
        nats: float32 [B, T], of each token.
        penalty: float32 [], of the activations, per token; 0 in scoring.
        states: After the window.
    """

    nats: Any
    penalty: Any
    states: list[list[Any]]


def losses_of(
    model: LanguageModel,
    inputs: Any,
    targets: Any,
    states: Sequence[Sequence[Any]],
    training: bool,
) -> Losses:
    """Returns the losses of a window, inputs and targets [B, T].

    Reference:
        [Merity et al., 2017](https://arxiv.org/abs/1708.02182), section 4.7,
        of the penalties: of the outputs after dropout, alpha; of the change
        of those before, beta.
    """
    config = model.config
    found = model(inputs, states, training=training)
    nats = keras.ops.sparse_categorical_crossentropy(
        targets, found.logits, from_logits=True
    )
    penalty = keras.ops.zeros(())
    if training and config.activation_penalty:
        penalty += config.activation_penalty * _mean_square(found.dropped)
    if training and config.slowness_penalty:
        change = found.outputs[:, 1:] - found.outputs[:, :-1]
        penalty += config.slowness_penalty * _mean_square(change)
    return Losses(nats, penalty, found.states)


def _mean_square(x: Any) -> Any:
    return keras.ops.mean(keras.ops.square(keras.ops.cast(x, "float32")))


def begin(model: LanguageModel, seed: int) -> None:
    """Sets a model's weights and random generators to their first values."""
    variables = model.trainable_variables
    arrays = initial_weights(
        [tuple(variable.shape) for variable in variables],
        model.config.init_scale,
        seed,
    )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    # By their order among themselves: a `TreeRNN` has other variables, and
    # its masks are to be those of the `NASRNN` of the same cell.
    generators = [
        variable
        for variable in model.non_trainable_variables
        if variable.name == "seed_generator_state"
    ]
    for place, variable in enumerate(generators):
        variable.assign(np.array([seed % 2**31, place]))
