"""The spaces that a `SearchConfig` can name. No TensorFlow, no Keras."""

import dataclasses
from collections.abc import Callable
from typing import Any

from nas_keras.spaces.enas_macro import enas_macro_space
from nas_keras.spaces.enas_micro import enas_micro_space
from nas_keras.spaces.enas_recurrent import enas_recurrent_space
from nas_keras.spaces.nas_conv import nas_conv_space
from nas_keras.spaces.space import Space
from nas_keras.spaces.tree import tree_space

TEXT, IMAGES = "text", "images"  # What architectures are trained on.
_SKIPS = ("skip_target", "skip_weight", "skip_scale")


@dataclasses.dataclass(frozen=True)
class NamedSpace:
    """A space, to be made of the attributes of a `SearchConfig`.

    Attributes:
        kind: `TEXT` or `IMAGES`.
        make: Takes the configuration and a number of layers.
        make_retrained: Takes the configuration; makes the space that retrained
            networks are of, by their tokens. None: they are what they were in
            the search.
        attributes: Of image networks, those that not all spaces have.
    """

    kind: str
    make: Callable[[Any, int], Space]
    make_retrained: Callable[[Any], Space | None] = lambda config: None
    attributes: tuple[str, ...] = ()


def _tree(config: Any, layers: int) -> Space:
    return tree_space(config.base, config.combines, config.activations)


def _enas_recurrent(config: Any, layers: int) -> Space:
    return enas_recurrent_space(config.nodes, config.average)


def _nas_conv(config: Any, layers: int) -> Space:
    return nas_conv_space(
        layers,
        config.strides,
        config.pooling,
        config.kernels,
        config.filter_options,
        config.block,
    )


def _enas_macro(config: Any, layers: int) -> Space:
    return enas_macro_space(layers, config.filters)


def _retrained_macro(config: Any) -> Space:
    filters = config.retrain_filters or config.filters
    return enas_macro_space(config.layers, filters, doubling=True)


def _enas_micro(config: Any, layers: int) -> Space:
    return enas_micro_space(config.nodes, config.cells, config.filters)


def _retrained_micro(config: Any) -> Space:
    cells = config.retrain_num_cells or config.cells
    filters = config.retrain_filters or config.filters
    return enas_micro_space(config.nodes, cells, filters)


SPACES = {
    "tree": NamedSpace(TEXT, _tree),
    "enas_recurrent": NamedSpace(TEXT, _enas_recurrent),
    "nas_conv": NamedSpace(
        IMAGES,
        _nas_conv,
        attributes=(
            "layers",
            "kernels",
            "strides",
            "pooling",
            "block",
            "filter_options",
            *_SKIPS,
            "depth_first",
            "depth_step",
        ),
    ),
    "enas_macro": NamedSpace(
        IMAGES,
        _enas_macro,
        _retrained_macro,
        ("layers", "filters", *_SKIPS, "retrain_filters"),
    ),
    "enas_micro": NamedSpace(
        IMAGES,
        _enas_micro,
        _retrained_micro,
        ("nodes", "cells", "filters", "retrain_filters", "retrain_num_cells"),
    ),
}


def foreign_to(space: str) -> tuple[str, ...]:
    """Returns the attributes of other spaces of image networks.

    Args:
        space: A name; if it is of a space on text, there are none.
    """
    own = SPACES[space].attributes if space in SPACES else ()
    if not own:
        return ()
    names = dict.fromkeys(n for its in SPACES.values() for n in its.attributes)
    return tuple(name for name in names if name not in own)
