"""The loop over time of a cell on TensorFlow, and its gradient, written out.

The forward loop keeps the slopes of each step (`linearization.py`); the
backward loop multiplies by them and by the transposed kernels, and carries the
gradients of the states and nothing else. Each kernel's gradient is one product
over all steps, after the loop.

Axes: B batch, T time steps, W some width, H units, P width of the output.
"""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from nas_keras.cells.language.graph import LinearGroup
from nas_keras.cells.layers.linearization import Partition
from nas_keras.cells.layers.linearization import Slopes
from nas_keras.cells.layers.linearization import add_to
from nas_keras.cells.layers.linearization import product
from nas_keras.cells.layers.step_arrays import empty
from nas_keras.cells.layers.step_arrays import read
from nas_keras.cells.layers.step_arrays import stack
from nas_keras.cells.layers.step_arrays import steps_of
from nas_keras.cells.layers.step_arrays import write


class Weights(NamedTuple):
    """The weights of a cell, and its dropout masks, by the name of a kernel.

    Attributes:
        kernels: [W, n*H] each.
        biases: [n*H] each, of those that have one.
        projection: `[projection_kernel]`, [H, P], or empty.
        dropout_masks: [B, W] each, of those whose operand is dropped.
    """

    kernels: dict[str, tf.Tensor]
    biases: dict[str, tf.Tensor]
    projection: list[tf.Tensor]
    dropout_masks: dict[str, tf.Tensor]

    def product(self, group: LinearGroup, operand: tf.Tensor) -> tf.Tensor:
        """Returns all terms of a group, [..., n*H], for operands [..., W]."""
        operand = self.masked(group, operand)
        # Of all steps at once, tensordot makes one product, matmul a batch.
        multiply = tf.matmul if operand.shape.rank == 2 else _tensordot
        terms = multiply(operand, self.kernels[group.name])
        if group.name in self.biases:
            terms = terms + self.biases[group.name]
        return terms

    def masked(self, group: LinearGroup, operand: tf.Tensor) -> tf.Tensor:
        """Returns an operand, or its gradient, with dropout applied."""
        if group.name not in self.dropout_masks:
            return operand
        return operand * self.dropout_masks[group.name]

    def of(self, groups: Sequence[LinearGroup]) -> "Weights":
        """Returns the weights of some groups only, and the projection."""
        names = {group.name for group in groups}
        kernels, biases, masks = (
            {name: value for name, value in values.items() if name in names}
            for values in (self.kernels, self.biases, self.dropout_masks)
        )
        return Weights(kernels, biases, self.projection, masks)


class Kept(NamedTuple):
    """What the forward pass leaves to the backward pass.

    Attributes:
        first: The states before the first step.
        hs: `h` after each step, [T, B, P].
        states: The other states after each step, by place, where needed.
        operands: Operands of recurrent groups that are no states, by node.
        outputs: [T, B, H], `h` before the projection; empty without one.
        slopes: The derivatives of each step, `Slopes`; of a single step, in
            the loop, their tensors alone.
    """

    first: list[tf.Tensor]
    hs: tf.Tensor
    states: dict[int, tf.Tensor]
    operands: dict[int, tf.Tensor]
    outputs: list[tf.Tensor]
    slopes: Any

    def without_gradient(self) -> "Kept":
        """Returns the same values, as constants to a second derivative."""
        stop = tf.stop_gradient
        slopes = [stop(slope) for slope in self.slopes.tensors]
        kept = tf.nest.map_structure(stop, self._replace(slopes=[]))
        return kept._replace(slopes=self.slopes.with_tensors(slopes))


class Loop:
    """The loop over time of one cell over given feeds, and its gradient.

    Args:
        partition: Of the cell.
        feeds: [T, B, W] each, in the order of `partition.feeds`.
        constants: The nodes that are numbers, by node.
        masks: `[mask]`, boolean [T, B, 1], or empty. A masked step keeps the
            states.
        weights: Those of the recurrent groups.
        length: T.
    """

    def __init__(
        self,
        partition: Partition,
        feeds: Sequence[tf.Tensor],
        constants: dict[int, Any],
        masks: Sequence[tf.Tensor],
        weights: Weights,
        length: int | tf.Tensor,
    ) -> None:
        self.partition = partition
        self.constants = constants
        self.feeds = feeds
        self.masks = masks
        self.weights = weights
        self.length = length
        # XLA differentiates a loop only if it knows this.
        self.most_steps = length if isinstance(length, int) else None
        self.h_place = partition.graph.states.index("h")
        self.group_of = {group.operand: group for group in partition.recurrent}
        self.inner_operands = [
            k for k in partition.targets if k in self.group_of
        ]
        # Places of states other than h that a matrix multiplies.
        self.kept_places = [
            place
            for place, leaf in enumerate(partition.states)
            if leaf in self.group_of and place != self.h_place
        ]

    def forward(
        self, first: list[tf.Tensor]
    ) -> tuple[tuple[tf.Tensor, ...], Kept]:
        """Returns `(hs, *last states)`, and what `backward` needs."""
        feeds = steps_of(self.feeds, self.length)
        masks = steps_of(self.masks, self.length)
        # The first step, once more: shapes, and which slopes are tensors. The
        # compiler drops its values, since nothing uses them.
        new, values = self._step(
            [feed[0] for feed in self.feeds],
            first,
            [mask[0] for mask in self.masks],
        )
        self.target_examples = [values[k] for k in self.partition.targets]
        slopes = self.partition.slopes(keras.ops, values)
        example = self._kept(new, values, slopes)

        def body(
            time: tf.Tensor,
            states: list[tf.Tensor],
            arrays: list[tf.TensorArray],
        ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.TensorArray]]:
            states, values = self._step(
                read(feeds, time), states, read(masks, time)
            )
            slopes = self.partition.slopes(keras.ops, values)
            kept = tf.nest.flatten(self._kept(states, values, slopes))
            return time + 1, states, write(arrays, time, kept)

        _, last, arrays = tf.while_loop(
            lambda time, *_: time < self.length,
            body,
            (0, first, empty(tf.nest.flatten(example), self.length)),
            maximum_iterations=self.most_steps,
        )
        kept = tf.nest.pack_sequence_as(example, stack(arrays))
        slopes = slopes.with_tensors(kept.slopes)
        return (kept.hs, *last), kept._replace(first=first, slopes=slopes)

    def _step(
        self,
        feeds: Sequence[tf.Tensor],
        states: Sequence[tf.Tensor],
        masks: Sequence[tf.Tensor],
    ) -> tuple[list[tf.Tensor], dict[int, Any]]:
        """Returns the new states, and the values of all nodes of the step."""
        graph = self.partition.graph
        values = dict(self.constants)
        values.update(zip(self.partition.feeds, feeds, strict=True))
        values.update(zip(self.partition.states, states, strict=True))
        nodes = range(len(graph.nodes))
        dynamic = [k for k in nodes if k not in self.partition.static]
        graph.evaluate_nodes(keras.ops, dynamic, values, self._linear)
        new = [values[k] for k in graph.outputs]
        for kernel in self.weights.projection:
            new[self.h_place] = tf.matmul(new[self.h_place], kernel)
        for keep in masks:
            new = [
                tf.where(keep, a, b) for a, b in zip(new, states, strict=True)
            ]
        return new, values

    def _linear(
        self, group: LinearGroup, operand: tf.Tensor
    ) -> list[tf.Tensor]:
        terms = self.weights.product(group, operand)
        return tf.split(terms, len(group.terms), axis=-1)

    def _kept(
        self, new: list[tf.Tensor], values: dict[int, Any], slopes: Slopes
    ) -> Kept:
        """Returns what to keep of a step."""
        output = values[self.partition.graph.outputs[self.h_place]]
        return Kept(
            first=[],
            hs=new[self.h_place],
            states={place: new[place] for place in self.kept_places},
            operands={k: values[k] for k in self.inner_operands},
            outputs=[output] if self.weights.projection else [],
            slopes=slopes.tensors,
        )

    def backward(
        self, kept: Kept, d_outputs: Sequence[tf.Tensor]
    ) -> tuple[Any, ...]:
        """Returns the gradients of feeds, first states, kernels and biases.

        Args:
            kept: What `forward` left.
            d_outputs: The gradients of its outputs, `(d_hs, *d_last)`.
        """
        d_targets, d_hs, d_first = self._loop_back(kept, d_outputs)
        d_sources = dict(d_targets)
        # Of targets the loop back has the whole gradient, but for feeds.
        rest = {*self.partition.feeds, *self.partition.terms - set(d_targets)}
        for target in self.partition.targets:
            for source, slope in kept.slopes.of(target).items():
                if source in rest:
                    add_to(d_sources, source, product(d_targets[target], slope))
        d_kernels, d_biases = {}, {}
        for group in self.partition.recurrent:
            d_terms = tf.concat([d_sources[k] for k in group.terms], -1)
            d_kernels[group.name] = _over_steps(
                self._operand(group, kept), d_terms
            )
            if group.name in self.weights.biases:
                d_biases[group.name] = tf.reduce_sum(d_terms, [0, 1])
        d_projection = [_over_steps(outputs, d_hs) for outputs in kept.outputs]
        d_feeds = [d_sources[k] for k in self.partition.feeds]
        return d_feeds, d_first, d_kernels, d_biases, d_projection

    def _operand(self, group: LinearGroup, kept: Kept) -> tf.Tensor:
        """Returns what a group's kernel multiplied at each step, [T, B, W]."""
        if group.operand in kept.operands:
            operand = kept.operands[group.operand]
        else:
            place = self.partition.states.index(group.operand)
            after = {self.h_place: kept.hs, **kept.states}[place]
            operand = tf.concat([kept.first[place][None], after[:-1]], 0)
        return self.weights.masked(group, operand)

    def _loop_back(
        self, kept: Kept, d_outputs: Sequence[tf.Tensor]
    ) -> tuple[dict[int, tf.Tensor], tf.Tensor, list[tf.Tensor]]:
        """Runs backward through time.

        Returns:
            The gradients of the targets by node, and of the projected `h`,
            for each step; and those of the first states.
        """
        d_hs, *d_last = d_outputs
        outer = steps_of([d_hs], self.length)
        slopes = steps_of(kept.slopes.tensors, self.length)
        masks = steps_of(self.masks, self.length)
        targets = self.partition.targets
        # `transpose_b` in the loop would cost twice the time (measured).
        transposed = tf.nest.map_structure(
            tf.transpose, (self.weights.kernels, self.weights.projection)
        )

        def body(
            time: tf.Tensor,
            d_states: list[tf.Tensor],
            arrays: list[tf.TensorArray],
        ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.TensorArray]]:
            d_states = list(d_states)
            d_states[self.h_place] += read(outer, time)[0]
            d_states, d_values, d_h = self._step_back(
                d_states,
                kept.slopes.with_tensors(read(slopes, time)),
                read(masks, time),
                *transposed,
            )
            found = [*(d_values[k] for k in targets), d_h]
            return time - 1, d_states, write(arrays, time, found)

        like = [*self.target_examples, d_last[self.h_place]]
        _, d_first, arrays = tf.while_loop(
            lambda time, *_: time >= 0,
            body,
            (self.length - 1, d_last, empty(like, self.length)),
            maximum_iterations=self.most_steps,
        )
        *d_targets, d_h = stack(arrays)
        return dict(zip(targets, d_targets, strict=True)), d_h, d_first

    def _step_back(
        self,
        d_new: Sequence[tf.Tensor],
        slopes: Slopes,
        masks: Sequence[tf.Tensor],
        kernels: dict[str, tf.Tensor],
        projection: Sequence[tf.Tensor],
    ) -> tuple[list[tf.Tensor], dict[int, tf.Tensor], tf.Tensor]:
        """Returns the gradients of states, of values by node, and of new h.

        The kernels and the projection are transposed.
        """
        d_new, skipped = _split_by_masks(d_new, masks)
        d_h = d_new[self.h_place]
        for kernel in projection:
            d_new[self.h_place] = tf.matmul(d_h, kernel)
        d_values: dict[int, tf.Tensor] = {}
        outputs = self.partition.graph.outputs
        for node, gradient in zip(outputs, d_new, strict=True):
            add_to(d_values, node, gradient)

        def through(group: LinearGroup) -> None:
            d_terms = tf.concat([d_values[k] for k in group.terms], -1)
            d_operand = tf.matmul(d_terms, kernels[group.name])
            d_operand = self.weights.masked(group, d_operand)
            add_to(d_values, group.operand, d_operand)

        static = self.partition.static
        for target in reversed(self.partition.targets):
            if target in self.group_of:
                through(self.group_of[target])
            for source, slope in slopes.of(target).items():
                if source not in static:
                    add_to(d_values, source, product(d_values[target], slope))
        for leaf in self.partition.states:
            if leaf in self.group_of:
                through(self.group_of[leaf])
        d_states = [
            d_values[leaf] + rest if leaf in d_values else rest
            for leaf, rest in zip(self.partition.states, skipped, strict=True)
        ]
        return d_states, d_values, d_h


def _split_by_masks(
    gradients: Sequence[tf.Tensor], masks: Sequence[tf.Tensor]
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Returns the gradients that go through a step, and those past it.

    Past it go those of the states that a masked step keeps.
    """
    zeros = [tf.zeros_like(d) for d in gradients]
    through, past = list(gradients), zeros
    for keep in masks:
        past = [
            tf.where(keep, z, d) for z, d in zip(zeros, through, strict=True)
        ]
        through = [
            tf.where(keep, d, z) for z, d in zip(zeros, through, strict=True)
        ]
    return through, past


def _over_steps(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Sums the products [V, B] x [B, W] of all steps: one matrix product."""
    left = tf.reshape(left, [-1, left.shape[-1]])
    right = tf.reshape(right, [-1, right.shape[-1]])
    return tf.matmul(left, right, transpose_a=True)


def _tensordot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.tensordot(a, b, axes=1)
