"""`MacroNetwork`: every network of ENAS' macro space, by one set of weights.

The tokens are data: the program is the same for all architectures and is
compiled once; of the operations of a layer only the chosen one is run.
Axes: B images, H height, W width, C channels, A decisions.
"""

import functools
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nas_keras.spaces.enas_macro import MACRO_OPERATIONS
from nas_keras.spaces.enas_macro import EnasMacro
from nas_keras.supernets.network import SharedNetwork
from nas_keras.supernets.network import Weights
from nas_keras.supernets.network import added_if
from nas_keras.supernets.network import average_pool
from nas_keras.supernets.network import max_pool
from nas_keras.supernets.network import select

_POOLS = {"average_pool": average_pool, "max_pool": max_pool}


class MacroNetwork(SharedNetwork):
    """A classifier of images, its operations and skip connections in `tokens`.

    Each layer reads the one before it: a 1x1 convolution, norm, ReLU, then
    one of six operations with weights of its own; convolutions are followed by
    norm and ReLU. The outputs of the layers that it is connected to are added,
    and the sum is normalised. Twice the outputs of all layers so far are
    brought to half their size.

    Args:
        structure: The space's `EnasMacro`.
        num_classes: Logits.
        dropout: Fraction dropped of what the logits are computed from.
        seed: Int, of the weights and the dropout.

    Call arguments:
        images: float32 [B, H, W, C].
        tokens: int32 [A]: op_0 | op_1 b_10 | op_2 b_20 b_21 | ...; or a tuple
            of ints, for one architecture alone.
        training: Whether dropout applies.

    Returns:
        Logits [B, num_classes].

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.3;
        its authors' program, github.com/melodyguan/enas.
    """

    structure: EnasMacro

    def build(self, input_shape: Any) -> None:
        weights, filters = Weights(self, self.seed), self.structure.filters
        self._stem = weights.convolution("stem", 3, input_shape[-1], filters)
        self._operations = [
            _operations(weights, f"layer_{layer}", filters)
            for layer in range(self.structure.layers)
        ]
        self._norms = [
            weights.norm(f"layer_{layer}_sum", filters)
            for layer in range(1, self.structure.layers)
        ]
        self._reductions = {
            layer: [
                weights.reduction(
                    f"layer_{layer}_reduction_{k}", filters, filters
                )
                for k in range(layer)
            ]
            for layer in self.structure.reductions
        }
        self.build_head(weights, filters)

    def call(
        self,
        images: tf.Tensor,
        tokens: Sequence[int] | tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        x = self._stem(images)
        outputs: list[tf.Tensor] = []
        place = 0
        for layer in range(self.structure.layers):
            if layer in self.structure.reductions:
                reductions = self._reductions[layer]
                outputs = [
                    reduction(output)
                    for reduction, output in zip(
                        reductions, outputs, strict=True
                    )
                ]
                x = outputs[-1]
            links = [tokens[place + 1 + k] for k in range(layer)]
            x, outputs = self._layer(layer, x, outputs, tokens[place], links)
            outputs = [*outputs, x]
            place += 1 + layer
        x = tf.reduce_mean(x, axis=[1, 2])
        return self.logits(x, training)

    def _layer(
        self,
        layer: int,
        x: tf.Tensor,
        outputs: Sequence[tf.Tensor],
        operation: int | tf.Tensor,
        links: Sequence[int | tf.Tensor],
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Returns a layer; and those before it, for later uses."""
        shape = x.shape
        branches = [
            lambda branch=branch: branch(x)
            for branch in self._operations[layer]
        ]
        x = tf.ensure_shape(select(operation, branches), shape)
        handed_on = []
        for output, link in zip(outputs, links, strict=True):
            x, output = added_if(link, x, output)
            handed_on.append(output)
        return self._norms[layer - 1](x) if layer else x, handed_on


def _operations(
    weights: Weights, name: str, filters: int
) -> list[Callable[[tf.Tensor], tf.Tensor]]:
    """Returns the operations of a layer, in the order of the tokens."""
    convolutions: dict[str, Callable[..., Any]] = {
        "conv": weights.convolution,
        "separable_conv": weights.separable,
    }
    operations: list[Callable[[tf.Tensor], tf.Tensor]] = []
    for number, (kind, side) in enumerate(MACRO_OPERATIONS):
        its = f"{name}_{number}"
        first = weights.convolution(f"{its}_1x1", 1, filters, filters)
        if kind in _POOLS:
            chain = [first, tf.nn.relu, _POOLS[kind]]
        else:
            second = convolutions[kind](its, side, filters, filters)
            chain = [first, tf.nn.relu, second, tf.nn.relu]
        operations.append(functools.partial(_chained, chain))
    return operations


def _chained(
    functions: Sequence[Callable[[tf.Tensor], tf.Tensor]], x: tf.Tensor
) -> tf.Tensor:
    for function in functions:
        x = function(x)
    return x
