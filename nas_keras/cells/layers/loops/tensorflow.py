"""The loop over time of a cell on TensorFlow, and its gradient, written out.

`inner_loop` computes what depends on no state for all steps at once, above all
the products of x. A compiled function of the cell's equations runs the rest:
`_Loop.forward` step by step, which keeps the slopes of each step
(`linearization.py`), and `_Loop.backward`, which multiplies by them and by the
transposed kernels. Each kernel's gradient is one product over all steps.

Axes: B batch, T time steps, W some width, D width of x, H units, P width of
the output, n terms of a group.
"""

import functools
import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

# TensorFlow has no public way to ask how many tapes watch.
from tensorflow.python.ops import gradients_util

from nas_keras.cells.language.graph import Graph
from nas_keras.cells.language.graph import LinearGroup
from nas_keras.cells.layers.loops.linearization import Partition
from nas_keras.cells.layers.loops.linearization import Slopes
from nas_keras.cells.layers.loops.linearization import add_to
from nas_keras.cells.layers.loops.linearization import product

# XLA's loops are faster up to about here, and then need more memory for the
# same time (docs/results.md).
MAX_UNITS_OF_XLA = 512


class Weights(NamedTuple):
    """The weights of a cell, and its dropout masks, by the name of a kernel.

    Attributes:
        kernels: [W, n*H] each.
        biases: [n*H] each, of the groups that have one.
        projection: `[projection_kernel]`, [H, P], or empty.
        dropout_masks: [B, W] each, of the groups whose operand is dropped.
    """

    kernels: dict[str, tf.Tensor]
    biases: dict[str, tf.Tensor]
    projection: list[tf.Tensor]
    dropout_masks: dict[str, tf.Tensor]

    def terms(self, group: LinearGroup, operand: tf.Tensor) -> tf.Tensor:
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


def inner_loop(
    layer: Any,
    sequences: tf.Tensor,
    first_states: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Computes what `keras.layers.RNN.inner_loop` does, for a `NASRNN`.

    Args:
        layer: The `NASRNN`.
        sequences: [B, T, D].
        first_states: [B, W] each.
        mask: Boolean [B, T] or [B, T, 1], or None.
        training: Whether dropout applies.

    Returns:
        The last output [B, P], the outputs [B, T, P] ([B, 1, P] without
        `return_sequences`), and the last states.
    """
    x = tf.cast(sequences, layer.cell.compute_dtype)
    x = _time_first(x, layer.go_backwards)
    # The states of a stateful layer are variables.
    first_states = [tf.convert_to_tensor(state) for state in first_states]
    if mask is not None:
        mask = _mask_of_steps(mask, x, layer.go_backwards)
    weights = _weights(layer.cell, x, first_states, training)
    widths = (x.shape[-1], layer.cell.units, layer.cell.output_size)
    partition = _partition(layer.cell.spec.graph)
    products = _hoisted_products(partition, x, weights)
    inputs = tf.nest.flatten((x, products, first_states, weights))
    run = loop_function(partition.graph, widths, _uses_xla(layer, x, inputs))
    masks = [] if mask is None else [mask]
    weights = weights.of(partition.recurrent)
    hs, last = run(x, products, first_states, masks, weights)
    # The function may have been traced for a wider shape than this call's.
    hs = tf.ensure_shape(hs, [*x.shape[:2], layer.cell.output_size])
    last = [
        tf.ensure_shape(state, [x.shape[1], width])
        for state, width in zip(last, layer.cell.state_size, strict=True)
    ]
    if mask is not None:
        # A masked step repeats the output before; before the first there is
        # none, whatever the first state is.
        seen = mask
        if not layer.zero_output_for_mask:
            seen = tf.cumsum(tf.cast(mask, tf.int32)) > 0
        hs = tf.where(seen, hs, tf.zeros_like(hs))
    if not layer.return_sequences:
        return hs[-1], hs[-1][:, None], last
    return hs[-1], tf.transpose(hs, [1, 0, 2]), last


# Eager calls ask for it each time.
_partition = functools.lru_cache(maxsize=128)(Partition)


def _time_first(sequence: tf.Tensor, backwards: bool) -> tf.Tensor:
    sequence = tf.transpose(sequence, [1, 0, 2])
    return sequence[::-1] if backwards else sequence


def _mask_of_steps(mask: tf.Tensor, x: tf.Tensor, backwards: bool) -> tf.Tensor:
    """Returns a mask as boolean [T, B, 1], for x [T, B, D]."""
    mask = tf.cast(mask, tf.bool)
    mask = tf.reshape(mask, tf.concat([tf.shape(mask)[:2], [1]], 0))
    mask = _time_first(mask, backwards)
    shape = tf.concat([tf.shape(x)[:2], [1]], 0)
    return tf.ensure_shape(tf.broadcast_to(mask, shape), [*x.shape[:2], 1])


def _weights(
    cell: Any, x: tf.Tensor, states: Sequence[tf.Tensor], training: bool
) -> Weights:
    """Returns the weights in the dtype of the computation, and the masks."""
    h = states[cell.spec.states.index("h")]

    def cast(weight: Any) -> tf.Tensor:
        return keras.ops.cast(weight, cell.compute_dtype)

    projection = cell.projection_kernel
    return Weights(
        {name: cast(kernel) for name, kernel in cell.kernels.items()},
        {
            name: cast(cell.bias)[begin:end]
            for name, (begin, end) in cell.bias_slices.items()
        },
        [] if projection is None else [cast(projection)],
        cell.dropout_masks(x[0], h, training),
    )


def _uses_xla(layer: Any, x: tf.Tensor, inputs: Sequence[tf.Tensor]) -> bool:
    if layer.jit_compile != "auto":
        return layer.jit_compile
    # Two tapes, or a persistent one, may ask for second derivatives.
    num_orders = gradients_util.PossibleTapeGradientTypes(inputs)
    return (
        not tf.executing_eagerly()
        and x.shape[0] is not None
        and layer.cell.units <= MAX_UNITS_OF_XLA
        and num_orders <= 1
        and not tf.config.list_physical_devices("GPU")
    )


# What is computed for all steps at once.


def _evaluate_static(
    partition: Partition,
    x: tf.Tensor,
    terms: Callable[[LinearGroup, tf.Tensor], tf.Tensor],
) -> dict[int, Any]:
    """Returns the values of all steps, [T, B, W], of the static nodes.

    Args:
        partition: Of the cell.
        x: [T, B, D].
        terms: Returns all terms of a group, [T, B, n*H], of its operand.
    """

    def linear(group: LinearGroup, operand: tf.Tensor) -> list[tf.Tensor]:
        return tf.split(terms(group, operand), len(group.terms), axis=-1)

    values = {leaf: x for leaf in partition.x}
    partition.graph.evaluate_nodes(
        keras.ops, sorted(partition.static), values, linear
    )
    return values


def _hoisted_products(
    partition: Partition, x: tf.Tensor, weights: Weights
) -> dict[str, tf.Tensor]:
    """Returns the products with static operands, [T, B, n*H], by kernel."""
    products = {}

    def terms(group: LinearGroup, operand: tf.Tensor) -> tf.Tensor:
        products[group.name] = weights.terms(group, operand)
        return products[group.name]

    _evaluate_static(partition, x, terms)
    return products


# The compiled function.


@functools.lru_cache(maxsize=128)  # Functions and their traces hold memory.
def loop_function(
    graph: Graph, widths: tuple[int, ...], jit_compile: bool
) -> Callable[..., Any]:
    """Returns a compiled `run(x, products, states, masks, weights)` of a cell.

    Layers of the same equations and widths (of x, of the units and of the
    output) share it. Its arguments:
        x: [T, B, D].
        products: [T, B, n*H] of the groups whose operands no state enters. Not
            made here, since XLA's large products are slower (measured).
        states: The first states, [B, W] each.
        masks: `[mask]`, boolean [T, B, 1], or empty. A masked step keeps the
            states.
        weights: `Weights` of the other groups.

    It returns `h` after each step, [T, B, P], and the last states.
    """
    partition = _partition(graph)

    def run(
        x: tf.Tensor,
        products: dict[str, tf.Tensor],
        states: list[tf.Tensor],
        masks: list[tf.Tensor],
        weights: Weights,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        # The gradients are by its arguments; x is among them if a step needs
        # it in another way than by products.
        @tf.custom_gradient
        def loop(*inputs: Any) -> tuple[Any, Callable[..., Any]]:
            xs, products, states, kernels, biases, projection = inputs

            def feeds_of() -> tuple[list[tf.Tensor], dict[int, Any]]:
                values = _evaluate_static(
                    partition,
                    xs[0] if xs else x,
                    lambda group, _: products[group.name],
                )
                constants = {k: values[k] for k in partition.graph.constants}
                return [values[k] for k in partition.feeds], constants

            steps = _Loop(
                partition,
                *feeds_of(),
                masks,
                Weights(kernels, biases, projection, weights.dropout_masks),
                states,
                x.shape[0] or tf.shape(x)[0],
            )
            outputs, kept = steps.forward()
            if jit_compile:
                kept = kept.without_gradient()

            def gradient(*d_outputs: tf.Tensor) -> list[tf.Tensor]:
                d_feeds, *rest = steps.backward(kept, d_outputs)
                with tf.GradientTape() as tape:
                    tape.watch((xs, products))
                    feeds, _ = feeds_of()
                d_inputs = tape.gradient(feeds, (xs, products), d_feeds, "zero")
                d_inputs = tf.nest.flatten((*d_inputs, *rest))
                if not jit_compile:
                    return d_inputs
                return _differentiable_once(d_inputs, inputs, d_outputs)

            return outputs, gradient

        xs = [x] if partition.needs_x else []
        hs, *last = loop(xs, products, states, *weights[:3])
        return hs, last

    # XLA compiles for each shape anyway, and a loop of known length can be
    # differentiated twice.
    return tf.function(
        run,
        jit_compile=jit_compile,
        reduce_retracing=not jit_compile,
        autograph=False,
    )


def _differentiable_once(values: list[tf.Tensor], *origins: Any) -> Any:
    """Returns values whose gradients by their origins are NaN.

    XLA cannot hand the second derivative of a loop to TensorFlow, and under
    two tapes TensorFlow prepares for one, whether or not anybody asks for it.
    """

    @tf.custom_gradient
    def once(*origins: tf.Tensor) -> tuple[Any, Callable[..., Any]]:
        def gradient(*_: tf.Tensor) -> list[tf.Tensor]:
            return [math.nan * tf.ones_like(origin) for origin in origins]

        return [tf.stop_gradient(value) for value in values], gradient

    return once(*tf.nest.flatten(origins))


# The loop.


class _Kept(NamedTuple):
    """What the forward pass leaves to the backward pass.

    Attributes:
        first: The states before the first step.
        hs: `h` after each step, [T, B, P].
        states: The other states that a matrix multiplies, after each step, by
            position among the states.
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

    def without_gradient(self) -> "_Kept":
        """Returns the same values, as constants to a second derivative."""
        stop = tf.stop_gradient
        slopes = [stop(slope) for slope in self.slopes.tensors]
        kept = tf.nest.map_structure(stop, self._replace(slopes=[]))
        return kept._replace(slopes=self.slopes.with_tensors(slopes))


class _Loop:
    """The loop over time of one cell over given feeds, and its gradient.

    Let a step t compute, from the states s(t-1) and its feeds u(t), the terms
    of each recurrent group g from the group's operand, and the targets v
    (`Partition.targets`: operands, and the new states), by functions F that
    are elementwise:

        z_g(t) = operand_g(t) W_g + b_g
        v(t)   = F_v(s(t-1), u(t), z(t), targets before v)
        h(t)   = next_h(t) W_P                     with a projection

    Write d a for the gradient of the loss by a, and F_v/a(t), a slope, for
    the derivative of F_v by one source a while the other sources are held
    constant: an array [B, W], since F_v is elementwise. Then, for each step
    from the last to the first, and within it from the last target to the
    first,

        d h(t)         includes the gradient of the output of step t
        d next_h(t)    = d h(t) W_P'
        d a           += d v(t) * F_v/a(t)         for each source a of v
        d operand_g   += d z_g(t) W_g'             when all of d z_g is known

    and what has gathered at the states is d s(t-1), all that the loop back
    carries. A masked step keeps its states, so their gradients pass it by. Of
    each step are written down d v(t) and d h(t). The rest needs no loop: one
    elementwise product, or one matrix product, over all steps:

        d u   = sum_v d v * F_v/u                  d z = sum_v d v * F_v/z
        d W_g = sum_t operand_g(t)' d z_g(t)       d b_g = sum_t,B d z_g(t)
        d W_P = sum_t next_h(t)' d h(t)

    So the forward pass keeps the slopes, and what the kernels multiplied.

    Args:
        partition: The cell in parts.
        feeds: [T, B, W] each, in the order of `partition.feeds`.
        constants: The nodes that are numbers, by node.
        masks: `[mask]`, boolean [T, B, 1], or empty. A masked step keeps the
            states.
        weights: The weights of the recurrent groups.
        first: The states before the first step, [B, W] each.
        length: T.
    """

    def __init__(
        self,
        partition: Partition,
        feeds: Sequence[tf.Tensor],
        constants: dict[int, Any],
        masks: Sequence[tf.Tensor],
        weights: Weights,
        first: list[tf.Tensor],
        length: int | tf.Tensor,
    ) -> None:
        self.partition = partition
        self.constants = constants
        self.feeds = feeds
        self.masks = masks
        self.weights = weights
        self.first = first
        self.length = length
        # XLA differentiates a loop only if it knows this.
        self.most_steps = length if isinstance(length, int) else None
        self.h = partition.graph.states.index("h")
        self.group_of = {group.operand: group for group in partition.recurrent}
        # The first step, once more: shapes, and which slopes are tensors. The
        # compiler drops its values, since nothing uses them.
        self.example = self._step(
            [feed[0] for feed in feeds], first, [mask[0] for mask in masks]
        )

    def forward(self) -> tuple[tuple[tf.Tensor, ...], _Kept]:
        """Returns `(hs, *last states)`, and what `backward` needs."""
        feeds = _steps_of(self.feeds, self.length)
        masks = _steps_of(self.masks, self.length)
        slopes = self.partition.slopes(keras.ops, self.example[1])
        example = self._kept(*self.example, slopes)

        def body(
            time: tf.Tensor,
            states: list[tf.Tensor],
            arrays: list[tf.TensorArray],
        ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.TensorArray]]:
            states, values = self._step(
                _read(feeds, time), states, _read(masks, time)
            )
            slopes = self.partition.slopes(keras.ops, values)
            kept = tf.nest.flatten(self._kept(states, values, slopes))
            return time + 1, states, _write(arrays, time, kept)

        _, last, arrays = tf.while_loop(
            lambda time, *_: time < self.length,
            body,
            (0, self.first, _empty(tf.nest.flatten(example), self.length)),
            maximum_iterations=self.most_steps,
        )
        stacked = [array.stack() for array in arrays]
        kept = tf.nest.pack_sequence_as(example, stacked)
        slopes = slopes.with_tensors(kept.slopes)
        kept = kept._replace(first=self.first, slopes=slopes)
        return (kept.hs, *last), kept

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
            new[self.h] = tf.matmul(new[self.h], kernel)
        for keep in masks:
            new = [
                tf.where(keep, a, b) for a, b in zip(new, states, strict=True)
            ]
        return new, values

    def _linear(
        self, group: LinearGroup, operand: tf.Tensor
    ) -> list[tf.Tensor]:
        terms = self.weights.terms(group, operand)
        return tf.split(terms, len(group.terms), axis=-1)

    def _kept(
        self, new: list[tf.Tensor], values: dict[int, Any], slopes: Slopes
    ) -> _Kept:
        """Returns what to keep of a step."""
        output = values[self.partition.graph.outputs[self.h]]
        return _Kept(
            first=[],
            hs=new[self.h],
            states={
                position: new[position]
                for position, leaf in enumerate(self.partition.states)
                if leaf in self.group_of and position != self.h
            },
            operands={
                k: values[k]
                for k in self.partition.targets
                if k in self.group_of
            },
            outputs=[output] if self.weights.projection else [],
            slopes=slopes.tensors,
        )

    def backward(
        self, kept: _Kept, d_outputs: Sequence[tf.Tensor]
    ) -> tuple[Any, ...]:
        """Returns the gradients of feeds, first states, and weights.

        Args:
            kept: What `forward` left.
            d_outputs: The gradients of its outputs, `(d_hs, *d_last)`.

        Returns:
            The gradients of the feeds, the first states, the kernels, the
            biases and the projection.
        """
        d_targets, d_hs, d_first = self._loop_back(kept, d_outputs)
        d_sources = dict(d_targets)
        # The loop back leaves whole gradients of targets, feeds excepted.
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

    def _operand(self, group: LinearGroup, kept: _Kept) -> tf.Tensor:
        """Returns what a group's kernel multiplied at each step, [T, B, W]."""
        if group.operand in kept.operands:
            operand = kept.operands[group.operand]
        else:
            position = self.partition.states.index(group.operand)
            after = {self.h: kept.hs, **kept.states}[position]
            operand = tf.concat([kept.first[position][None], after[:-1]], 0)
        return self.weights.masked(group, operand)

    def _loop_back(
        self, kept: _Kept, d_outputs: Sequence[tf.Tensor]
    ) -> tuple[dict[int, tf.Tensor], tf.Tensor, list[tf.Tensor]]:
        """Runs backward through time.

        Returns:
            The gradients of the targets by node, and of the projected `h`,
            for each step; and those of the first states.
        """
        d_hs, *d_last = d_outputs
        outer = _steps_of([d_hs], self.length)
        slopes = _steps_of(kept.slopes.tensors, self.length)
        masks = _steps_of(self.masks, self.length)
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
            d_states[self.h] += _read(outer, time)[0]
            d_states, d_values, d_h = self._step_back(
                d_states,
                kept.slopes.with_tensors(_read(slopes, time)),
                _read(masks, time),
                *transposed,
            )
            written = [*(d_values[k] for k in targets), d_h]
            return time - 1, d_states, _write(arrays, time, written)

        values = self.example[1]
        like = [*(values[k] for k in targets), d_last[self.h]]
        _, d_first, arrays = tf.while_loop(
            lambda time, *_: time >= 0,
            body,
            (self.length - 1, d_last, _empty(like, self.length)),
            maximum_iterations=self.most_steps,
        )
        *d_targets, d_h = (array.stack() for array in arrays)
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
        d_h = d_new[self.h]
        for kernel in projection:
            d_new[self.h] = tf.matmul(d_h, kernel)
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

    The gradients of states that a masked step keeps go past it.
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


# Sequences as the steps of a loop: arrays of tensors.


def _empty(
    like: Sequence[tf.Tensor], length: int | tf.Tensor
) -> list[tf.TensorArray]:
    """Returns room for tensors like those of one step, for each step.

    An array for each tensor: the compiler drops the arrays that nothing
    reads, as the slopes without a gradient. (One array for all, with `concat`
    and `split`, is no faster, and half as fast in XLA's inference; measured.)
    """
    return [
        tf.TensorArray(tensor.dtype, length, element_shape=tensor.shape)
        for tensor in like
    ]


def _steps_of(
    sequences: Sequence[tf.Tensor], length: int | tf.Tensor
) -> list[tf.TensorArray]:
    """Returns the steps of sequences [T, ...]."""
    arrays = _empty([sequence[0] for sequence in sequences], length)
    return [a.unstack(s) for a, s in zip(arrays, sequences, strict=True)]


def _read(arrays: list[tf.TensorArray], time: tf.Tensor) -> list[tf.Tensor]:
    """Returns the tensors of a step."""
    return [array.read(time) for array in arrays]


def _write(
    arrays: list[tf.TensorArray], time: tf.Tensor, values: Sequence[tf.Tensor]
) -> list[tf.TensorArray]:
    """Returns the arrays with the tensors of a step."""
    return [a.write(time, v) for a, v in zip(arrays, values, strict=True)]
