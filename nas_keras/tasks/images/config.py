"""`ImageConfig`: a whole training of an image network, one frozen value.

No TensorFlow, no Keras.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

from nas_keras.convnets.spec import ConvNetSpec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.data.image_sources import DATASETS
from nas_keras.data.image_sources import is_image_dataset
from nas_keras.data.images import ImageSet
from nas_keras.data.images import describe
from nas_keras.tasks.checked_config import CheckedConfig
from nas_keras.tasks.language_model.training_config import PRECISIONS
from nas_keras.tasks.training.schedules import cosine
from nas_keras.tasks.training.schedules import parts_over

OPTIMIZERS = ("nesterov", "sgd", "adam")
SCHEDULES = ("constant", "step", "cosine", "cosine_restarts")
NORMALIZATIONS = ("channel", "whitening")
SELECTIONS = ("best", "last")

_OF_STEPS = ("schedule", ("step",))
_OF_RESTARTS = ("schedule", ("cosine_restarts",))

NetSpec = ConvNetSpec | MicroNetSpec


@dataclasses.dataclass(frozen=True)
class ImageConfig(CheckedConfig):
    """An image network trained from its beginning to its test figures.

    Attributes:
        preset: Name of the preset it began as.
        dataset: As for `open_images`.
        num_validation: Training images split off for validation; with 0, and
            no validation part in the data set, nothing is known before the
            end, and the weights are the last.
        max_train: Training images to keep after that; 0: all.
        split_seed: Decides which images these are.
        network: Name of a network, or path of its JSON file.
        filters: Of its first layers; the others have in proportion to theirs.
            0: as the network has them.
        norm_epsilon: Added to the variance in batch normalisation; 0: the
            network's own.
        dropout: Of what the last layer reads.
        drop_path: Share of an image's paths through the cells that are
            dropped, in the last cell at the end of the training (ENAS).
        auxiliary_weight: Of the loss of the auxiliary head; 0: no such head.
        batch_size: Images of an update; what an epoch leaves over is others
            each time.
        num_epochs: Passes over the training images.
        optimizer: `"nesterov"`, `"sgd"` or `"adam"`; the first two have
            `momentum`.
        learning_rate: The largest.
        min_learning_rate: What the cosine schedules fall to.
        schedule: `"constant"`; `"step"`, divided by `decay` at the beginnings
            of `num_decays` equal parts of what follows the fraction
            `decay_from` of the training; `"cosine"`, over all epochs; or
            `"cosine_restarts"`, over `restart_epochs`, then from the beginning
            over `restart_factor` times as many, and so on; the rate changes
            from epoch to epoch (Loshchilov & Hutter, 2017).
        decay: See `schedule`.
        decay_from: See `schedule`.
        num_decays: See `schedule`.
        restart_epochs: See `schedule`.
        restart_factor: See `schedule`.
        momentum: Of the first two optimizers.
        weight_decay: Times each weight of a kernel, added to its gradient; as
            a penalty, half of it times the sum of squares.
        clip_norm: Largest global norm of the gradient, before the decay; 0:
            it is not clipped.
        label_smoothing: Share of the label's probability that is spread
            evenly over the classes.
        padding: Zeros around an image, of which the training sees a part of
            the image's size at a place of chance.
        flip: Whether every other image, by chance, is seen mirrored.
        cutout: Side of a square around a place of chance that is zeroed
            (DeVries & Taylor, 2017); 0: none.
        normalization: `"channel"`, by mean and deviation of each channel over
            the training images; or `"whitening"`, of each image over itself.
        precision: Keras dtype policy: `"float32"` or `"mixed_bfloat16"`.
        select: Which weights are kept: of the `"best"` epoch, by the
            validation accuracy and, where it is equal, the loss; or the
            `"last"`.
        snapshot_updates: Updates between snapshots, besides one an epoch.
        seed: Of all chance but the split's.
        num_threads: Of TensorFlow's operations; 0: one for each core.

    Raises:
        ValueError: If a value is out of range.
    """

    NEEDS = {
        "decay": _OF_STEPS,
        "decay_from": _OF_STEPS,
        "num_decays": _OF_STEPS,
        "restart_epochs": _OF_RESTARTS,
        "restart_factor": _OF_RESTARTS,
        "min_learning_rate": ("schedule", ("cosine", "cosine_restarts")),
        "momentum": ("optimizer", ("nesterov", "sgd")),
    }

    preset: str
    dataset: str = "digits"
    num_validation: int = 0
    max_train: int = 0
    split_seed: int = 0
    network: str = "resnet_20"
    filters: int = 0
    norm_epsilon: float = 0.0
    dropout: float = 0.0
    drop_path: float = 0.0
    auxiliary_weight: float = 0.0
    batch_size: int = 128
    num_epochs: int = 10
    optimizer: str = "nesterov"
    learning_rate: float = 0.1
    min_learning_rate: float = 0.0
    schedule: str = "cosine"
    decay: float = 10.0
    decay_from: float = 0.5
    num_decays: int = 2
    restart_epochs: int = 10
    restart_factor: int = 2
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float = 0.0
    label_smoothing: float = 0.0
    padding: int = 4
    flip: bool = True
    cutout: int = 0
    normalization: str = "channel"
    precision: str = "float32"
    select: str = "best"
    snapshot_updates: int = 500
    seed: int = 0
    num_threads: int = 0

    def __post_init__(self) -> None:
        rule = f"one of {DATASETS} or 'tfds:NAME'"
        self._check(is_image_dataset(self.dataset), "dataset", rule)
        for name, allowed in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("normalization", NORMALIZATIONS),
            ("precision", PRECISIONS),
            ("select", SELECTIONS),
        ):
            self._check_choice(name, allowed)
        self._check_ints()
        for name in ("learning_rate", "decay"):
            self._check_number(name, is_zero_good=False)
        for name in (
            "norm_epsilon",
            "auxiliary_weight",
            "min_learning_rate",
            "weight_decay",
            "clip_norm",
        ):
            self._check_number(name, is_zero_good=True)
        for name in (
            "dropout",
            "drop_path",
            "decay_from",
            "momentum",
            "label_smoothing",
        ):
            self._check_in_unit(name)
        self._check(isinstance(self.flip, bool), "flip", "True or False")
        self._check(self.decay >= 1, "decay", "at least 1")
        good = self.min_learning_rate <= self.learning_rate
        rule = f"at most learning_rate={self.learning_rate}"
        self._check(good, "min_learning_rate", rule)

    def _check_ints(self) -> None:
        for name, low in (
            ("num_validation", 0),
            ("max_train", 0),
            ("split_seed", 0),
            ("filters", 0),
            ("batch_size", 1),
            ("num_epochs", 1),
            ("num_decays", 1),
            ("restart_epochs", 1),
            ("restart_factor", 1),
            ("padding", 0),
            ("cutout", 0),
            ("snapshot_updates", 1),
            ("seed", 0),
        ):
            self._check_int(name, low)
        self._check_threads("num_threads")

    def check_images(self, images: ImageSet) -> None:
        """Refuses images that the training has no use for.

        Raises:
            ValueError: If there are fewer than one batch, or they are so small
                that padding or cutout could leave nothing of them.
        """
        total = len(images.train.labels)
        rule = f"at most the {total} training images of {images.name!r}"
        self._check(self.batch_size <= total, "batch_size", rule)
        side = min(images.image_shape[:2])
        rule = f"below {side}, the shorter side of the images"
        for name in ("padding", "cutout"):
            self._check(getattr(self, name) < side, name, rule)

    def settings(self, spec: NetSpec, images: ImageSet) -> dict[str, Any]:
        """Returns what the results depend on, JSON-able.

        Images and network are known by what they hold, not by their paths.
        """
        return {
            **dataclasses.asdict(self),
            "network": {"name": spec.name, "fingerprint": spec.fingerprint},
            "images": describe(images),
        }


def check_use(config: ImageConfig, names: Iterable[str]) -> None:
    """Refuses names of attributes that a training ignores.

    Raises:
        ValueError: If its schedule or optimizer has no use for one.
    """
    for name, where in config.ignored(names).items():
        raise ValueError(f"{name} must be left out {where}")


def resized(spec: NetSpec, filters: int) -> NetSpec:
    """Returns a network with other numbers of filters, in proportion.

    Args:
        spec: A network.
        filters: Of its stem or its cells, or if it has neither, of its first
            convolution; 0: as it is.

    Raises:
        ValueError: If a layer does not get a whole number of filters, or
            there is none that has filters.
    """
    if not filters:
        return spec
    if not isinstance(spec, ConvNetSpec):
        return dataclasses.replace(spec, filters=filters)
    old = spec.filters or next((k.filters for k in spec.layers if k.filters), 0)
    if not old:
        raise ValueError(
            f"filters must be 0 for {spec.name!r}, which has no convolution. "
            f"Received: filters={filters}."
        )
    layers = []
    for number, layer in enumerate(spec.layers):
        width, rest = divmod(layer.filters * filters, old)
        if rest or (layer.filters and not width):
            raise ValueError(
                f"filters must give each layer of {spec.name!r} a whole number "
                f"of filters. Received: filters={filters}, which are "
                f"{old} in the file; layer {number} has {layer.filters}."
            )
        layers.append(dataclasses.replace(layer, filters=width))
    stem = filters if spec.filters else 0
    return dataclasses.replace(spec, layers=tuple(layers), filters=stem)


def rate_at(config: ImageConfig, epochs: float) -> float:
    """Returns the learning rate of an update.

    Args:
        config: Its `schedule` and what belongs to it.
        epochs: Done so far, with the fraction of the present one.

    Reference:
        [Loshchilov & Hutter, 2017](https://arxiv.org/abs/1608.03983), equation
        5; in whole epochs, as in github.com/melodyguan/enas, src/utils.py.
    """
    rate, fraction = config.learning_rate, epochs / config.num_epochs
    if config.schedule == "constant":
        return rate
    if config.schedule == "step":
        if fraction < config.decay_from:
            return rate
        over = parts_over(fraction, config.decay_from, config.num_decays)
        # A division by the power would overflow where this comes to 0.
        return rate * config.decay ** -(1 + over)
    if config.schedule == "cosine_restarts":
        fraction = _fraction_of_run(config, int(epochs))
    low = config.min_learning_rate
    return low + (rate - low) * cosine(fraction)


def _fraction_of_run(config: ImageConfig, epoch: int) -> float:
    """Returns how much is over of what is between two restarts."""
    length = config.restart_epochs
    while epoch >= length:
        epoch -= length
        length *= config.restart_factor
    return epoch / length
