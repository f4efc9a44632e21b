"""The kinds of search: what a `SearchConfig` of each may hold.

No TensorFlow, no Keras.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from nas_keras.data.image_sources import DATASETS as IMAGE_DATASETS
from nas_keras.data.image_sources import is_image_dataset
from nas_keras.data.sources import DATASETS
from nas_keras.data.sources import is_dataset
from nas_keras.search.rewards import IMAGE_REWARDS
from nas_keras.search.rewards import REWARDS
from nas_keras.tasks.image_config import ImageConfig
from nas_keras.tasks.language_model_config import LanguageModelConfig

TEXT, IMAGES = "text", "images"
# Of each space, what its architectures are trained on.
SPACES = {
    "tree": TEXT,
    "enas_recurrent": TEXT,
    "nas_conv": IMAGES,
    "enas_macro": IMAGES,
    "enas_micro": IMAGES,
}
# Among the networks to retrain: a ResNet as costly as the best found network.
RESNET = "resnet"
_SKIPS = ("skip_target", "skip_weight", "skip_scale")
# Of each space of image networks, the attributes that not all of them have.
_ATTRIBUTES = {
    "nas_conv": (
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
    "enas_macro": ("layers", "filters", *_SKIPS, "retrain_filters"),
    "enas_micro": (
        "nodes",
        "cells",
        "filters",
        "retrain_filters",
        "retrain_num_cells",
    ),
}
# Of a training of image networks, what shared weights have only in this way.
FIXED_WHEN_SHARED = {
    "drop_path": 0.0,
    "auxiliary_weight": 0.0,
    "norm_epsilon": 0.0,
    "precision": "float32",
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a search of one kind may be configured with.

    Attributes:
        training: The class of `child` and `retrain`.
        rewards: Names of rewards.
        is_dataset: Whether a data set of a name can be opened.
        datasets: Names of such.
        attributes: Of `SearchConfig`, those that mean nothing to other kinds.
        check: Refuses a configuration whose attributes do not go together.
    """

    training: type
    rewards: tuple[str, ...]
    is_dataset: Callable[[str], bool]
    datasets: tuple[str, ...]
    attributes: tuple[str, ...]
    check: Callable[[Any], None]


def _check_images(config: Any) -> None:
    """Checks a search for an image network, a `SearchConfig`."""
    for name in ("num_validation", "max_train", "split_seed"):
        ours, theirs = (
            getattr(part, name) for part in (config.child, config.retrain)
        )
        if ours != theirs:
            raise ValueError(
                f"retrain.{name} must be child.{name}: all networks see the "
                f"same images. Received: {theirs}, and {ours} of the children."
            )
    is_of_cells = config.space == "enas_micro"
    if config.space == "nas_conv" and config.evaluator != "scratch":
        raise ValueError(
            "evaluator must be 'scratch' for space='nas_conv'. Received: "
            f"evaluator={config.evaluator!r}."
        )
    _check_attributes(config)
    for part in ("child", "retrain"):
        for name in ("drop_path", "auxiliary_weight"):
            value = getattr(getattr(config, part), name)
            if value and not is_of_cells:
                raise ValueError(
                    f"{part}.{name} must be 0 for space={config.space!r}, "
                    "whose networks have no cells. Received: "
                    f"{part}.{name}={value!r}."
                )
    if config.evaluator == "shared":
        _check_shared(config)
    if config.depth_first:
        _check_depths(config)


def foreign_to(space: str) -> tuple[str, ...]:
    """Returns the attributes of other spaces of image networks.

    Args:
        space: One of `SPACES`; if it is of text, there are none.
    """
    own = _ATTRIBUTES.get(space)
    if own is None:
        return ()
    names = dict.fromkeys(n for group in _ATTRIBUTES.values() for n in group)
    return tuple(name for name in names if name not in own)


def _check_attributes(config: Any) -> None:
    """Refuses what another space of image networks has."""
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    for name in foreign_to(config.space):
        value = getattr(config, name)
        if value != defaults[name]:
            raise ValueError(
                f"{name} must be left out for space={config.space!r}, which "
                f"has {', '.join(_ATTRIBUTES[config.space])}. Received: "
                f"{name}={value!r}."
            )


def _check_shared(config: Any) -> None:
    """Refuses what networks that share their weights do not have."""
    for name, value in FIXED_WHEN_SHARED.items():
        received = getattr(config.child, name)
        if received != value:
            raise ValueError(
                f"child.{name} must be {value!r} where weights are shared. "
                f"Received: child.{name}={received!r}."
            )


def _check_depths(config: Any) -> None:
    layers, first, step = config.layers, config.depth_first, config.depth_step
    if layers < first or (layers - first) % step:
        raise ValueError(
            "layers must be depth_first and whole steps of depth_step more. "
            f"Received: layers={layers}, depth_first={first}, "
            f"depth_step={step}."
        )
    num = num_depths(config)
    if config.num_trials % num:
        raise ValueError(
            f"num_trials must be a multiple of {num}, the depths from "
            f"{first} to {layers} layers. Received: "
            f"num_trials={config.num_trials}."
        )


def num_depths(config: Any) -> int:
    """Returns how many depths a search has that begins with fewer layers."""
    return (config.layers - config.depth_first) // config.depth_step + 1


KINDS = {
    TEXT: Kind(
        LanguageModelConfig,
        tuple(REWARDS),
        is_dataset,
        tuple(DATASETS),
        (
            "text_file",
            "level",
            "max_vocabulary",
            "base",
            "combines",
            "activations",
            "average",
            "retrain_parameters",
        ),
        lambda config: None,
    ),
    IMAGES: Kind(
        ImageConfig,
        tuple(IMAGE_REWARDS),
        is_image_dataset,
        IMAGE_DATASETS,
        (
            "image_dir",
            "layers",
            "cells",
            "filters",
            "kernels",
            "strides",
            "pooling",
            "block",
            "filter_options",
            "skip_target",
            "skip_weight",
            "skip_scale",
            "depth_first",
            "depth_step",
            "retrain_random",
            "retrain_filters",
            "retrain_num_cells",
        ),
        _check_images,
    ),
}
