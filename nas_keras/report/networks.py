"""Image networks as lines of text, read from their JSON form.

As a report shows them: not validated beyond what that needs.
"""

from collections.abc import Mapping
from typing import Any

from nas_keras.report.decoding import get_field

_CELLS = ("normal", "reduction")


def is_network(data: Mapping[str, Any]) -> bool:
    """Returns whether a spec is of an image network, not of a cell."""
    return data.get("kind") in ("layers", "cells")


def network_lines(data: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Returns a line for each layer, or for each node of the two cells.

    Args:
        data: The spec.
        where: The place of it, for messages.

    Raises:
        ValueError: If a part is missing or of another type.
    """
    if data["kind"] == "layers":
        layers = get_field(data, "layers", list, where)
        lines = [f"wiring: {get_field(data, 'wiring', str, where)}"]
        for number, layer in enumerate(layers):
            place = f"{where}: layers[{number}]"
            lines.append(f"layer {number}: {_layer(layer, place)}")
        return tuple(lines)
    lines = [
        f"{get_field(data, 'num_cells', int, where)} normal cells and 2"
        f" reduction cells, {get_field(data, 'filters', int, where)} filters"
    ]
    for cell in _CELLS:
        nodes = get_field(data, cell, list, where)
        for number, node in enumerate(nodes, start=2):
            place = f"{where}: {cell}[{number - 2}]"
            lines.append(f"{cell} node {number}: {_node(node, place)}")
    return tuple(lines)


def _layer(layer: Any, where: str) -> str:
    layer = _mapping(layer, where)
    kernel, stride, inputs = (
        get_field(layer, name, list, where)
        for name in ("kernel", "stride", "inputs")
    )
    text = f"{get_field(layer, 'operation', str, where)} {_by(kernel)}"
    filters = get_field(layer, "filters", int, where)
    if filters:
        text += f", {filters} filters"
    if any(side != 1 for side in stride):
        text += f", stride {_by(stride)}"
    if inputs:
        text += f"; inputs {', '.join(map(str, inputs))}"
    return text


def _node(node: Any, where: str) -> str:
    node = _mapping(node, where)
    inputs, operations = (
        get_field(node, name, list, where) for name in ("inputs", "operations")
    )
    branches = zip(operations, inputs, strict=False)
    return " + ".join(f"{name}({source})" for name, source in branches)


def _by(sides: list[Any]) -> str:
    return "x".join(map(str, sides))


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a JSON object.")
    return value
