"""`DropPath`: branches of a network that are left out by chance in training.

Keras only, so that every Keras backend can use it.
"""

from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="nas_keras")
class DropPath(keras.layers.Layer):
    """Sets a branch to zero for some images, and scales it up for the others.

    One layer serves a whole network: each call has its own rate and draws its
    own images. What it drops grows with `progress`, a variable in [0, 1] that
    a trainer sets to the part of the training that is done; it begins at 1,
    where the rates apply in full.

    Args:
        seed: Int, of the images it drops.

    Call arguments:
        inputs: Tensor [B, ...].
        rate: Fraction in [0, 1) of the images that are dropped when
            `progress` is 1.
        training: Whether anything is dropped.

    Returns:
        A tensor as the inputs, of the same mean.

    Reference:
        [Larsson et al., 2017](https://arxiv.org/abs/1605.07648); scheduled as
        in ENAS, github.com/melodyguan/enas, src/cifar10.
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.progress = self.add_weight(
            name="progress",
            shape=(),
            initializer="ones",
            trainable=False,
            autocast=False,
            dtype="float32",
            aggregation="only_first_replica",
        )

    def call(
        self, inputs: Any, rate: float = 0.0, training: bool = False
    ) -> Any:
        if not training or not rate:
            return inputs
        batch = keras.ops.shape(inputs)[0]
        shape = (batch, *(1 for _ in inputs.shape[1:]))
        chance = keras.random.uniform(shape, seed=self.seed_generator)
        kept = 1.0 - rate * self.progress
        scale = keras.ops.where(chance < kept, 1.0 / kept, 0.0)
        return inputs * keras.ops.cast(scale, inputs.dtype)

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> Sequence[int | None]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}
