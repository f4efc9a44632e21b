"""The Keras models of an image training: as it is trained, as it is used.

Keras and NumPy only. Axes: B images, H rows, W columns, C channels, K classes.
"""

import contextlib
import math
from collections.abc import Iterator

import keras
import numpy as np

from nas_keras.convnets.blocks import EPSILON
from nas_keras.convnets.build import build_convnet
from nas_keras.tasks.images.batches import Normalization
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import NetSpec


def network_of(
    config: ImageConfig,
    spec: NetSpec,
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> keras.Model:
    """Returns the model of a training: normalised images to logits.

    With an auxiliary head, it has two outputs.

    Args:
        config: The training.
        spec: The network, as `resized` returns it.
        image_shape: H, W, C.
        num_classes: K.

    Raises:
        ValueError: If the images are too small for the network, or it has no
            place for an auxiliary head.
    """
    epsilon = config.norm_epsilon or EPSILON
    with _precision(config.precision):
        return build_convnet(
            spec,
            image_shape,
            num_classes,
            dropout=config.dropout,
            drop_path=config.drop_path,
            auxiliary_head=config.auxiliary_weight > 0,
            seed=config.seed % 2**31,
            epsilon=epsilon,
        )


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    """Has Keras make layers of another dtype policy for a while."""
    held = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(held)


def num_weights(model: keras.Model) -> int:
    """Returns the trained weights of a network, less its auxiliary head's."""
    network = without_auxiliary(model)
    shapes = [weight.shape for weight in network.trainable_weights]
    return sum(map(math.prod, shapes))


def norms_of(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns the batch normalisations of a network."""
    kind = keras.layers.BatchNormalization
    return [layer for layer in model.layers if isinstance(layer, kind)]


def usable(model: keras.Model, normalization: Normalization) -> keras.Model:
    """Returns a model of pixels [B, H, W, C], 0 to 255, to logits [B, K].

    It shares the weights, and has no auxiliary head.
    """
    network = without_auxiliary(model)
    inputs = keras.Input(model.input_shape[1:], name="pixels")
    if normalization.mean is None or normalization.deviation is None:
        num = int(np.prod(model.input_shape[1:]))
        normalized = keras.layers.LayerNormalization(
            axis=(1, 2, 3),
            epsilon=1 / num,
            center=False,
            scale=False,
            name="whitening",
        )(inputs)
    else:
        normalized = keras.layers.Normalization(
            mean=normalization.mean.tolist(),
            variance=(normalization.deviation**2).tolist(),
            name="normalization",
        )(inputs)
    return keras.Model(inputs, network(normalized), name="image_classifier")


def without_auxiliary(model: keras.Model) -> keras.Model:
    """Returns a network less its auxiliary head; it shares the weights."""
    return keras.Model(model.inputs, model.outputs[0], name=model.name)
