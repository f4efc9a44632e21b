"""The recurrent language model: embedding, recurrent layers, softmax.

A child of a search and the final model of the same cell are this model and
this training with another config. Axes: B batch, T time steps, H units, V
vocabulary.
"""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from nas_keras.cells.nas_rnn import NASRNN
from nas_keras.cells.spec import CellSpec
from nas_keras.data.text import Corpus
from nas_keras.tasks.language_model_config import LanguageModelConfig
from nas_keras.tasks.language_model_config import check_length
from nas_keras.tasks.language_model_config import num_parameters
from nas_keras.tasks.language_model_config import units_for_parameters


class LanguageModel(keras.Model):
    """Predicts the next token.

    Embedding of width H, `num_layers` recurrent layers of H units, softmax;
    all layers' input and output may be dropped out, by one mask a sequence.

    Args:
        config: `LanguageModelConfig`.
        vocabulary_size: V.
        recurrent: Makes a recurrent layer, called as `layer(x,
            initial_state=..., training=...)`, that returns the outputs of all
            steps and its states, and has `state_size`. If it has a true
            `takes_indices`, it may be called with `indices=...` too, and x is
            then the rows that they point at.

    Call arguments:
        tokens: int32 [B, T].
        states: A list of state tensors for each recurrent layer.
        training: Whether dropout applies.

    Returns:
        Logits [B, T, V] and the new states.
    """

    def __init__(
        self,
        config: LanguageModelConfig,
        vocabulary_size: int,
        recurrent: Callable[[], keras.layers.Layer],
    ):
        super().__init__()
        self.config = config
        self.embedding = keras.layers.Embedding(vocabulary_size, config.units)
        self.recurrent = [recurrent() for _ in range(config.num_layers)]
        self.seed_generator = keras.random.SeedGenerator(0)
        self.vocabulary_size = vocabulary_size

    def build(self, input_shape=None) -> None:
        units = self.config.units
        self.embedding.build((None, None))
        for layer in self.recurrent:
            layer.build((None, None, units))
        if not self.config.tied:
            self.softmax_kernel = self.add_weight(
                name="softmax_kernel", shape=(units, self.vocabulary_size)
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
    ) -> tuple[Any, list[list[Any]]]:
        x, options = self._inputs(tokens, training)
        new_states = []
        for layer, state in zip(self.recurrent, states, strict=True):
            x, *state = layer(
                x, initial_state=list(state), training=training, **options
            )
            x, options = self._dropped(x, training), {}
            new_states.append(list(state))
        kernel = (
            keras.ops.transpose(self.embedding.embeddings)
            if self.config.tied
            else self.softmax_kernel
        )
        return keras.ops.matmul(x, kernel) + self.softmax_bias, new_states

    def initial_states(self, batch_size: int) -> list[list[Any]]:
        """Returns zeros for each state of each recurrent layer."""
        return [
            [keras.ops.zeros((batch_size, width)) for width in layer.state_size]
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
            and not (training and (config.dropout or config.embedding_dropout))
        ):
            return self.embedding.embeddings, {"indices": tokens}
        x = self.embedding(tokens)
        if training and config.embedding_dropout:
            keep = self._mask((self.vocabulary_size, 1), "embedding_dropout")
            x = x * keras.ops.take(keep, tokens, axis=0)
        return self._dropped(x, training), {}

    def _dropped(self, x: Any, training: bool) -> Any:
        if not training or not self.config.dropout:
            return x
        batch_size, _, width = x.shape
        return x * self._mask((batch_size, 1, width), "dropout")

    def _mask(self, shape: tuple[int, ...], rate: str) -> Any:
        return keras.random.dropout(
            keras.ops.ones(shape),
            getattr(self.config, rate),
            seed=self.seed_generator,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class LanguageModelTask:
    """A text to model, and how.

    Attributes:
        config: Model and training.
        corpus: The text.

    Raises:
        ValueError: If a part of the corpus is too short for one batch.
    """

    config: LanguageModelConfig
    corpus: Corpus

    def __post_init__(self):
        check_length(self.config, self.corpus)

    def model(self, spec: CellSpec) -> LanguageModel:
        """Returns a model whose recurrent layers are `NASRNN`s of a cell."""
        config = self.config
        return self.model_of(
            lambda: NASRNN(
                config.units,
                spec,
                use_bias=config.use_bias,
                recurrent_dropout=config.recurrent_dropout,
                return_sequences=True,
                return_state=True,
                seed=0,
            )
        )

    def model_of(
        self, recurrent: Callable[[], keras.layers.Layer]
    ) -> LanguageModel:
        """Returns a model around any recurrent layer; see `LanguageModel`."""
        model = LanguageModel(
            self.config, self.corpus.vocabulary_size, recurrent
        )
        model.build()
        return model

    def num_parameters(self, spec: CellSpec) -> int:
        """Returns the trainable weights of the model of a cell."""
        size = self.corpus.vocabulary_size
        return num_parameters(self.config, spec, size)

    def with_parameters(self, spec: CellSpec, num: int) -> "LanguageModelTask":
        """Returns the task with the most units that fit `num` weights.

        Raises:
            ValueError: If a model of one unit has more.
        """
        size = self.corpus.vocabulary_size
        units = units_for_parameters(self.config, spec, size, num)
        config = dataclasses.replace(self.config, units=units)
        return dataclasses.replace(self, config=config)


def initial_weights(
    shapes: Sequence[Sequence[int]], scale: float, seed: int
) -> list[np.ndarray]:
    """Returns float32 arrays uniform in [-scale, scale].

    Each depends on `seed`, its place and its shape alone.
    """
    arrays = []
    for place, shape in enumerate(shapes):
        bits = np.random.Philox(key=np.array([seed, place], np.uint64))
        uniform = np.random.Generator(bits).random(shape, np.float32)
        arrays.append((2 * uniform - 1) * np.float32(scale))
    return arrays
