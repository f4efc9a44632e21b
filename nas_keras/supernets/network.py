"""`SharedNetwork`: what image networks that share weights have in common."""

import abc
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from nas_keras.supernets.operations import Weights


class SharedNetwork(keras.layers.Layer, abc.ABC):
    """A classifier of images, its architecture in the tokens it is called with.

    Args:
        structure: Of the space.
        num_classes: Logits.
        dropout: Fraction dropped of what the logits are computed from.
        seed: Int, of the weights and the dropout.
    """

    def __init__(
        self,
        structure: Any,
        num_classes: int,
        dropout: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.structure = structure
        self.num_classes = num_classes
        self.seed = seed
        self.dropout = keras.layers.Dropout(dropout, seed=seed)

    @abc.abstractmethod
    def call(
        self,
        images: tf.Tensor,
        tokens: Sequence[int] | tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """Returns the logits [B, num_classes]."""

    def build_head(self, weights: Weights, channels: int) -> None:
        """Makes the weights of the logits, the last ones."""
        self._head = weights.kernel("head", channels, self.num_classes)
        self.built = True

    def logits(self, features: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns the logits of features [B, C]."""
        features = self.dropout(features, training=training)
        return tf.matmul(features, tf.convert_to_tensor(self._head))
