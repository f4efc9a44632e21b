"""Imports the weights of TensorFlow Addons' `NASCell`.

Keras and NumPy only; TensorFlow Addons is not needed. What else changes for
its users: docs/migration.md.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from nas_keras.cells.language import canonical
from nas_keras.cells.language.graph import Graph
from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.cells.layers.nas_cell import NASCell


def import_tfa_weights(
    cell: keras.layers.Layer, weights: Sequence[Any]
) -> None:
    """Gives a cell the weights of TensorFlow Addons' `NASCell`.

    From then on both compute the same. Axes: D input width, H units, P
    projection (or H). Where D is H and there is no projection, both kernels
    have one shape, and a list in another order than Addons' is not noticed.

    Addons' states are `[c, h]`, those of `"nascell"` `[h, c]`. A spec of its
    equations with `states=["c", "h"]` takes the same weights.

    Args:
        cell: Built `NASCell` of `"nascell"`, or a `NASRNN` or
            `keras.layers.RNN` that holds one.
        weights: What `get_weights()` of Addons' cell returns, arrays
            `recurrent_kernel` [P, 8H], `kernel` [D, 8H], with `use_bias`
            `bias` [8H], with `projection` `projection_weights` [H, P].

    Raises:
        ValueError: If the cell is none of these, or has other equations or
            the columns of its kernels in another order, or if an array is
            missing, superfluous or of another shape. Nothing is changed then.

    Example:

    >>> cell = NASCell(64, "nascell")
    >>> cell.build((None, 16))
    >>> import_tfa_weights(cell, [np.ones((64, 512)), np.ones((16, 512))])
    >>> [tuple(weight.shape) for weight in cell.weights]
    [(16, 512), (64, 512)]
    """
    cell = _cell_of(cell)
    _check_equations(cell.spec)
    if not cell.built:
        raise ValueError(
            "cell must be built, by a call or by build(input_shape). Received: "
            f"cell {cell.name!r}, which is not."
        )
    variables = {
        "recurrent_kernel": cell.kernels["recurrent_kernel"],
        "kernel": cell.kernels["kernel"],
        "bias": cell.bias,
        "projection_weights": cell.projection_kernel,
    }
    variables = {k: v for k, v in variables.items() if v is not None}
    arrays = [_array(value, place) for place, value in enumerate(weights)]
    received = [array.shape for array in arrays]
    shapes = [tuple(variable.shape) for variable in variables.values()]
    if received != shapes:
        expected = [f"{k} {tuple(v.shape)}" for k, v in variables.items()]
        raise ValueError(
            f"weights must be {', '.join(expected)}, for units={cell.units}, "
            f"use_bias={cell.use_bias}, projection={cell.projection}. "
            f"Received: {len(received)} arrays of shapes {received}."
        )
    for variable, array in zip(variables.values(), arrays, strict=True):
        variable.assign(array)


def _cell_of(layer: Any) -> NASCell:
    cell = layer.cell if isinstance(layer, keras.layers.RNN) else layer
    if not isinstance(cell, NASCell):
        held = "" if cell is layer else f" of a {type(cell).__name__}"
        raise ValueError(
            "cell must be a NASCell, or a NASRNN or keras.layers.RNN that "
            f"holds one. Received: {type(layer).__name__}{held}."
        )
    return cell


def _check_equations(spec: CellSpec) -> None:
    """Refuses a cell that would compute something else with the weights.

    The order of equations is the order of the kernels' columns, and does not
    change the fingerprint; so each linear term is labeled with its columns.

    Raises:
        ValueError: If the equations are not those of `"nascell"`, or have
            their linear terms in another order.
    """
    equations = load_spec("nascell").equations
    states = ("h", "c") if spec.states[0] == "h" else ("c", "h")
    nascell = CellSpec("nascell", equations, states)
    if spec.fingerprint != nascell.fingerprint:
        raise ValueError(
            "cell must have the equations of 'nascell'. Received: cell "
            f"{spec.name!r}, which computes something else."
        )
    if _print_of_columns(spec.graph) != _print_of_columns(nascell.graph):
        raise ValueError(
            "cell must have the linear terms of 'nascell' in its order, which "
            "is that of the kernels' columns. Received: cell "
            f"{spec.name!r}, the same cell with its equations in another order."
        )


def _print_of_columns(graph: Graph) -> str:
    """Returns a fingerprint that the columns of linear terms change."""
    nodes = list(graph.nodes)
    for group in graph.groups:
        for position, term in enumerate(group.terms):
            nodes[term] = dataclasses.replace(
                nodes[term], operation=f"linear {position}"
            )
    return canonical.fingerprint(dataclasses.replace(graph, nodes=tuple(nodes)))


def _array(value: Any, place: int) -> np.ndarray:
    try:
        return np.asarray(value, "float64")
    except (TypeError, ValueError):
        raise ValueError(
            f"weights[{place}] must be an array of numbers. Received: "
            f"{value!r:.80}."
        ) from None
