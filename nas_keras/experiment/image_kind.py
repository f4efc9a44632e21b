"""`ImageKind`: searches for image networks.

No TensorFlow, no Keras.
"""

import os
from typing import Any

from nas_keras.convnets.costs import map_sizes
from nas_keras.convnets.files import load_convnet
from nas_keras.convnets.resnet import resnet_spec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.data.image_sources import DATASETS
from nas_keras.data.image_sources import is_image_dataset
from nas_keras.data.image_sources import open_images
from nas_keras.data.images import ImageSet
from nas_keras.data.images import describe
from nas_keras.evaluators.rewards import IMAGE_REWARDS
from nas_keras.experiment.kind import Kind
from nas_keras.experiment.kind import check_left_out
from nas_keras.experiment.named_spaces import SPACES
from nas_keras.experiment.named_spaces import foreign_to
from nas_keras.spaces.space import Space
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.images.task import ImageTask

# Among the networks to retrain: a ResNet as costly as the best found network.
RESNET = "resnet"
# Of a training of image networks, what shared weights have only in this way.
_FIXED_WHEN_SHARED = {
    "drop_path": 0.0,
    "auxiliary_weight": 0.0,
    "norm_epsilon": 0.0,
    "precision": "float32",
}
_AUXILIARY_SIDE = 5  # Of the window of the auxiliary head.


class ImageKind(Kind):
    """Searches on images."""

    training = ImageConfig
    rewards = tuple(IMAGE_REWARDS)
    datasets = DATASETS
    attributes = (
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
    )

    def is_dataset(self, name: str) -> bool:
        return is_image_dataset(name)

    def check(self, config: Any) -> None:
        for name in ("num_validation", "max_train", "split_seed"):
            ours, theirs = (
                getattr(part, name) for part in (config.child, config.retrain)
            )
            if ours != theirs:
                raise ValueError(
                    f"retrain.{name} must be child.{name}: all networks see "
                    f"the same images. Received: {theirs}, and {ours} of the "
                    "children."
                )
        is_of_cells = config.space == "enas_micro"
        if config.space == "nas_conv" and config.evaluator != "scratch":
            raise ValueError(
                "evaluator must be 'scratch' for space='nas_conv'. Received: "
                f"evaluator={config.evaluator!r}."
            )
        its = ", ".join(SPACES[config.space].attributes)
        check_left_out(config, foreign_to(config.space), f"which has {its}")
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
            check_shared(config.child, "child.")
        if config.depth_first:
            _check_depths(config)

    def open(self, config: Any, data_dir: str | os.PathLike | None) -> ImageSet:
        return open_images(
            config.dataset,
            config.image_dir,
            data_dir,
            config.child.num_validation,
            config.child.max_train,
            config.child.split_seed,
        )

    def check_data(self, config: Any, data: ImageSet) -> None:
        for training in (config.child, config.retrain):
            ImageTask(training, data)
        space = config.make_space()
        any_of_it = f"the networks of space={config.space!r}"
        _check_size(config, "child", _least(space), any_of_it, data)
        if config.retrain_top or config.retrain_random:
            spec = _least(config.make_retrain_space() or space)
            _check_size(config, "retrain", spec, any_of_it, data)
        for spec in self.published(config):
            named = f"network {spec.name!r} of retrain_published"
            _check_size(config, "retrain", spec, named, data)
        if RESNET in config.retrain_published:
            named = f"{RESNET!r} of retrain_published"
            # Its stages are the same at any depth and width.
            _check_size(config, "retrain", resnet_spec(8), named, data)

    def known_by(self, data: ImageSet) -> dict[str, Any]:
        return {"image_dir": None, "images": describe(data)}

    def published(self, config: Any) -> list[NetSpec]:
        return [
            load_convnet(name)
            for name in config.retrain_published
            if name != RESNET
        ]

    def fingerprints(self, config: Any) -> dict[str, str]:
        found = super().fingerprints(config)
        if RESNET in config.retrain_published:
            found[RESNET] = ""  # It becomes one when the best is found.
        return found


def check_shared(training: ImageConfig, prefix: str = "") -> None:
    """Refuses what networks that share their weights do not have.

    Args:
        training: Of the shared weights.
        prefix: Of its attributes, for the message.

    Raises:
        ValueError: If an attribute is not as it must be.
    """
    for name, value in _FIXED_WHEN_SHARED.items():
        received = getattr(training, name)
        if received != value:
            raise ValueError(
                f"{prefix}{name} must be {value!r} where weights are shared. "
                f"Received: {prefix}{name}={received!r}."
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


def _least(space: Space) -> NetSpec:
    """Returns a network whose maps are as large as any in the space.

    Pools and reductions stand where the space says; of strides the smallest
    is taken, and without links all layers of `nas_conv` read the image.
    """
    return space.decode(
        [choice.options.index(min(choice.options)) for choice in space.choices]
    )


def _check_size(
    config: Any, part: str, spec: NetSpec, named: str, data: ImageSet
) -> None:
    """Refuses images that are too small for a network.

    Args:
        config: `SearchConfig`.
        part: `"child"` or `"retrain"`, the training.
        spec: The network.
        named: Of it, for the message.
        data: The images.

    Raises:
        ValueError: If a stride is longer than the map it is on, or the
            auxiliary head finds too small a map.
    """
    size = data.image_shape[:2]
    try:
        sizes = map_sizes(spec, data.image_shape)
    except ValueError as error:
        raise ValueError(
            f"images must be large enough for {named}: {error}. Received: "
            f"images of {size}."
        ) from None
    weight = getattr(config, part).auxiliary_weight
    if not weight or not isinstance(spec, MicroNetSpec):
        return
    its = sizes[spec.reductions[1]]
    if min(its) < _AUXILIARY_SIDE:
        raise ValueError(
            f"{part}.auxiliary_weight must be 0 with images of {size}: behind "
            f"the second reduction of {named} the map is {its}, smaller than "
            f"the auxiliary head's window of {_AUXILIARY_SIDE} by "
            f"{_AUXILIARY_SIDE}. Received: {part}.auxiliary_weight={weight!r}."
        )
