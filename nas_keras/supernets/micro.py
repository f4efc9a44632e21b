"""`MicroNetwork`: every network of ENAS' micro space, by one set of weights.

The tokens are data: the program is the same for all architectures and is
compiled once; of the operations of a branch only the chosen one is run.
Axes: B images, H height, W width, C channels, A decisions.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nas_keras.spaces.enas_micro import EnasMicro
from nas_keras.supernets.network import Reduction
from nas_keras.supernets.network import SeparableConvolution
from nas_keras.supernets.network import SharedNetwork
from nas_keras.supernets.network import Weights
from nas_keras.supernets.network import average_pool
from nas_keras.supernets.network import convolve
from nas_keras.supernets.network import max_pool
from nas_keras.supernets.network import read
from nas_keras.supernets.network import select

_SIZES = (3, 5)  # Of the separable convolutions, operations 0 and 1.


class MicroNetwork(SharedNetwork):
    """A classifier of images, the nodes of its two cells in `tokens`.

    Nodes 0 and 1 of a cell are the outputs of the two cells before it. Every
    further node is the sum of two branches: an operation on an earlier node.
    For each branch there are weights for each node that it may read. The
    nodes that none reads are projected, each by weights of its own, and added.
    Two of the cells are reduction cells, at twice the filters: before them,
    the image is brought to half its size.

    Args:
        structure: The space's `EnasMicro`.
        num_classes: Logits.
        dropout: Fraction dropped of what the logits are computed from.
        seed: Int, of the weights and the dropout.

    Call arguments:
        images: float32 [B, H, W, C].
        tokens: int32 [A]: of each node its two inputs and its two operations;
            those of the normal cell, then those of the reduction cell. Or a
            tuple of ints, for one architecture alone.
        training: Whether dropout applies.

    Returns:
        Logits [B, num_classes].

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.4;
        its authors' program, github.com/melodyguan/enas.
    """

    structure: EnasMicro

    def build(self, input_shape: Any) -> None:
        weights, filters = Weights(self, self.seed), self.structure.filters
        width = 3 * filters
        self._stem = weights.convolution("stem", 3, input_shape[-1], width)
        before, last = width, width  # Channels of the two outputs before.
        # The same cells of all networks of the space.
        reductions = self.structure.decode(
            [0] * 8 * self.structure.nodes
        ).reductions
        self._reductions: dict[int, Reduction] = {}
        self._cells = []
        for cell in range(self.structure.cells + 2):
            name, is_reduced = f"cell_{cell}", cell in reductions
            if is_reduced:
                filters *= 2
                self._reductions[cell] = weights.reduction(
                    f"{name}_reduction", last, filters
                )
                before, last = last, filters
            channels = (before, last)
            self._cells.append(
                _Cell(
                    weights,
                    name,
                    self.structure.nodes,
                    channels,
                    filters,
                    is_reduced,
                )
            )
            before, last = last, filters
        self.build_head(weights, filters)

    def call(
        self,
        images: tf.Tensor,
        tokens: Sequence[int] | tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        half = 4 * self.structure.nodes
        x = self._stem(images)
        before, last = x, x
        for index, cell in enumerate(self._cells):
            if index in self._reductions:
                before, last = last, self._reductions[index](last)
                own = tokens[half:]
            else:
                own = tokens[:half]
            before, last = last, cell(before, last, own)
        x = tf.reduce_mean(tf.nn.relu(last), axis=[1, 2])
        return self.logits(x, training)


class _Cell:
    """The weights of one cell, and what they compute.

    Args:
        weights: Makes the weights.
        name: Prefix of their names.
        nodes: After nodes 0 and 1.
        channels: Of the two outputs before.
        filters: Of all nodes.
        is_reduced: Whether the first of the two is of twice the size.
    """

    def __init__(
        self,
        weights: Weights,
        name: str,
        nodes: int,
        channels: tuple[int, int],
        filters: int,
        is_reduced: bool,
    ):
        before, last = channels
        self._fit_before: Callable[[Any], Any] = _unchanged
        self._fit_last: Callable[[Any], Any] = _unchanged
        if is_reduced:
            self._fit_before = _after_relu(
                weights.reduction(f"{name}_before", before, filters)
            )
        elif before != filters:
            self._fit_before = _after_relu(
                weights.convolution(f"{name}_before", 1, before, filters)
            )
        if last != filters:
            self._fit_last = _after_relu(
                weights.convolution(f"{name}_last", 1, last, filters)
            )
        self._branches = [
            [
                _Branch(weights, f"{name}_{node}_{k}", node, filters)
                for k in "xy"
            ]
            for node in range(2, nodes + 2)
        ]
        self._projections = [
            weights.kernel(f"{name}_{node}_out", 1, 1, filters, filters)
            for node in range(nodes + 2)
        ]
        self._norm = weights.norm(f"{name}_out", filters)

    def __call__(
        self, before: tf.Tensor, last: tf.Tensor, tokens: Any
    ) -> tf.Tensor:
        nodes = [self._fit_before(before), self._fit_last(last)]
        reads: list[Any] = []
        for index, (x, y) in enumerate(self._branches):
            x_read, y_read, x_op, y_op = (
                tokens[4 * index + k] for k in range(4)
            )
            reads += [x_read, y_read]
            of_x, nodes = x(nodes, x_read, x_op)
            of_y, nodes = y(nodes, y_read, y_op)
            nodes.append(of_x + of_y)
        total = tf.zeros_like(nodes[-1])
        for number, node in enumerate(nodes):
            kernel = self._projections[number]
            total = select(
                _is_read(number, reads),
                [
                    lambda: total + convolve(tf.nn.relu(node), kernel),  # noqa: B023
                    lambda: total,  # noqa: B023
                ],
            )
        return self._norm(total)


class _Branch:
    """The weights of a branch: of each node that it may read."""

    def __init__(self, weights: Weights, name: str, node: int, filters: int):
        # Of each size two, one after the other.
        self._convolutions = [
            [
                weights.separable(
                    f"{name}_{size}_{k}", size, filters, filters, rows=node
                )
                for k in range(2)
            ]
            for size in _SIZES
        ]

    def __call__(
        self, nodes: Sequence[tf.Tensor], number: Any, operation: Any
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Returns an operation on a node; and the nodes, for later uses."""
        x, nodes = read(number, nodes)
        small, large = self._convolutions

        def convolved(tables: Sequence[SeparableConvolution]) -> tf.Tensor:
            y = x
            for table in tables:
                y = table.row(number)(tf.nn.relu(y))
            return y

        y = select(
            operation,
            [
                lambda: convolved(small),
                lambda: convolved(large),
                lambda: average_pool(x),
                lambda: max_pool(x),
                lambda: x,
            ],
        )
        return tf.ensure_shape(y, x.shape), nodes


def _is_read(number: int, reads: Sequence[Any]) -> int | tf.Tensor:
    """Returns 1 if a node is among those that are read, else 0."""
    if all(isinstance(read, int) for read in reads):
        return int(number in reads)
    return tf.cast(tf.reduce_any(tf.stack(reads) == number), tf.int32)


def _after_relu(
    function: Callable[[tf.Tensor], tf.Tensor],
) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda x: function(tf.nn.relu(x))


def _unchanged(x: tf.Tensor) -> tf.Tensor:
    return x
