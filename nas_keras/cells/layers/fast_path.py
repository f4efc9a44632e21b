"""The fast path of `NASRNN` on TensorFlow.

What depends on no state is computed for all steps at once, before the loop of
`recurrence.py`: above all the products of `x`.

Axes: B batch, T time steps, W some width, H units, P width of the output.
"""

import functools
import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

# Of how many tapes watch, TensorFlow tells nobody but itself.
from tensorflow.python.ops import gradients_util

from nas_keras.cells.language.graph import Graph
from nas_keras.cells.language.graph import LinearGroup
from nas_keras.cells.layers.linearization import Partition
from nas_keras.cells.layers.recurrence import Loop
from nas_keras.cells.layers.recurrence import Weights
from nas_keras.checks import checked_states

# XLA's loops are faster up to about here, and then need more memory for the
# same time (docs/results.md).
MAX_UNITS_OF_XLA = 512


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
    first_states = checked_states(first_states, layer.cell.spec.states)
    dtype = layer.cell.compute_dtype
    x = _time_first(tf.cast(sequences, dtype), layer.go_backwards)
    # Those of a stateful layer are variables.
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


def _uses_xla(layer: Any, x: tf.Tensor, inputs: Sequence[tf.Tensor]) -> bool:
    if layer.jit_compile != "auto":
        return layer.jit_compile
    return (
        not tf.executing_eagerly()
        and x.shape[0] is not None
        and layer.cell.units <= MAX_UNITS_OF_XLA
        and not _may_be_differentiated_twice(inputs)
        and not tf.config.list_physical_devices("GPU")
    )


def _may_be_differentiated_twice(inputs: Sequence[tf.Tensor]) -> bool:
    """Returns whether two tapes watch, or a persistent one."""
    return gradients_util.PossibleTapeGradientTypes(inputs) > 1


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


def _evaluate_static(
    partition: Partition,
    x: tf.Tensor,
    product: Callable[[LinearGroup, tf.Tensor], tf.Tensor],
) -> dict[int, Any]:
    """Returns the values of all steps, [T, B, W], of the static nodes."""

    def linear(group: LinearGroup, operand: tf.Tensor) -> list[tf.Tensor]:
        return tf.split(product(group, operand), len(group.terms), axis=-1)

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

    def product(group: LinearGroup, operand: tf.Tensor) -> tf.Tensor:
        products[group.name] = weights.product(group, operand)
        return products[group.name]

    _evaluate_static(partition, x, product)
    return products


def _differentiable_once(values: list[tf.Tensor], *origins: Any) -> Any:
    """Returns the values; their gradients by what they come from are NaN.

    XLA cannot hand the second derivative of a loop to TensorFlow, and under
    two tapes TensorFlow prepares for one, whether or not it is asked for.
    """

    @tf.custom_gradient
    def once(*origins: tf.Tensor) -> tuple[Any, Callable[..., Any]]:
        def gradient(*_: tf.Tensor) -> list[tf.Tensor]:
            return [math.nan * tf.ones_like(origin) for origin in origins]

        return [tf.stop_gradient(value) for value in values], gradient

    return once(*tf.nest.flatten(origins))


@functools.lru_cache(maxsize=128)  # Functions and their traces hold memory.
def loop_function(
    graph: Graph, widths: tuple[int, ...], jit_compile: bool
) -> Callable[..., Any]:
    """Returns a compiled `run(x, products, states, masks, weights)` of a cell.

    Layers of the same equations and widths (those of x, of the units and of
    the output) share it. Its arguments:
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
        @tf.custom_gradient
        def loop(*inputs: Any) -> tuple[Any, Callable[..., Any]]:
            return _loop_and_gradient(
                partition, x, masks, weights.dropout_masks, inputs, jit_compile
            )

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


def _loop_and_gradient(
    partition: Partition,
    x: tf.Tensor,
    masks: Sequence[tf.Tensor],
    dropout_masks: dict[str, tf.Tensor],
    inputs: Sequence[Any],
    jit_compile: bool,
) -> tuple[Any, Callable[..., Any]]:
    """Returns the outputs of the loop, and the function of their gradients.

    Args:
        partition: Of the cell.
        x: [T, B, D].
        masks: As for `loop_function`.
        dropout_masks: As in `Weights`.
        inputs: What the gradients are by: `[x]`, or an empty list if no step
            needs it; products; first states; and the parts of `Weights` but
            for the dropout masks.
        jit_compile: Whether XLA compiles the loop.
    """
    xs, products, states, kernels, biases, projection = inputs

    def feeds_of() -> tuple[list[tf.Tensor], dict[int, Any]]:
        values = _evaluate_static(
            partition,
            xs[0] if xs else x,
            lambda group, _: products[group.name],
        )
        constants = {k: values[k] for k in partition.graph.constants}
        return [values[k] for k in partition.feeds], constants

    weights = Weights(kernels, biases, projection, dropout_masks)
    length = x.shape[0] or tf.shape(x)[0]
    loop = Loop(partition, *feeds_of(), masks, weights, length)
    outputs, kept = loop.forward(states)
    if jit_compile:
        kept = kept.without_gradient()

    def gradient(*d_outputs: tf.Tensor) -> list[tf.Tensor]:
        d_feeds, *rest = loop.backward(kept, d_outputs)
        with tf.GradientTape() as tape:
            tape.watch((xs, products))
            feeds, _ = feeds_of()
        d_inputs = tape.gradient(feeds, (xs, products), d_feeds, "zero")
        d_inputs = tf.nest.flatten((*d_inputs, *rest))
        if not jit_compile:
            return d_inputs
        return _differentiable_once(d_inputs, inputs, d_outputs)

    return outputs, gradient
