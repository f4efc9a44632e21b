"""`ImageTask`: what image networks are compared on. No TensorFlow, no Keras."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import Self

import numpy as np

from nas_keras.cells.language.spec import Cost
from nas_keras.convnets.files import load_convnet
from nas_keras.convnets.resnet import resnet_of
from nas_keras.convnets.resnet import resnet_spec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.convnets.spec import map_sizes
from nas_keras.data.images import ImageSet
from nas_keras.data.images import describe
from nas_keras.data.images import stratified
from nas_keras.settings import refuse
from nas_keras.spaces.space import Space
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.images.config import check_shared
from nas_keras.tasks.task import Metric
from nas_keras.tasks.task import Metrics
from nas_keras.tasks.task import Program
from nas_keras.tasks.task import SharedProgram
from nas_keras.tasks.task import Task
from nas_keras.tasks.training.loop import Update

# The name of a ResNet that costs as much as another network.
RESNET = "resnet"
_AUXILIARY_SIDE = 5  # Side of the window of the auxiliary head.


@dataclasses.dataclass(frozen=True)
class ImageTask(Task):
    """Images, and how a network is trained on them.

    Attributes:
        training: How networks are trained.
        data: Images that networks are trained and scored on.

    Raises:
        ValueError: If there is less than a batch of training images, or no
            image to validate on.
    """

    training: ImageTraining
    data: ImageSet

    metric = Metric("accuracy", "%", is_more_better=True)
    noun = "network"
    baseline = "resnet*"

    def __post_init__(self) -> None:
        self.training.check_images(self.data)
        if not len(self.data.validation.labels):
            raise ValueError(
                "images must have a validation part, by which networks are "
                f"compared. Received: none in {self.data.name!r}."
            )

    def size(self, spec: NetSpec) -> Cost:
        """Returns what a network costs, one image at a time."""
        from nas_keras.convnets.build import multiply_adds
        from nas_keras.tasks.images.steps import network_of
        from nas_keras.tasks.images.steps import num_weights

        training = self.training.replace(auxiliary_weight=0.0, drop_path=0.0)
        shape, classes = self.data.image_shape, self.data.num_classes
        model = network_of(training, spec, shape, classes)
        return Cost(num_weights(model), multiply_adds(model))

    def load(self, name: str, like: NetSpec | None = None) -> NetSpec | None:
        """Returns a network.

        Args:
            name: The name of a published network, or the path of its file; or
                `"resnet"`, a ResNet that costs as much as `like`.
            like: A network.

        Returns:
            The network; None for `"resnet"` without `like`.

        Raises:
            ValueError: If there is no such network, its file is damaged, or the
                images are too small for a ResNet.
        """
        if name != RESNET:
            return load_convnet(name)
        if like is None:
            # Its maps are the same at any depth and width.
            self.check(resnet_spec(8), f"{RESNET!r}")
            return None
        shape, classes = self.data.image_shape, self.data.num_classes
        return resnet_of(self.size(like).multiply_adds, shape, classes)

    def check(self, spec: NetSpec, what: str) -> None:
        """Refuses images that are too small for a network.

        Raises:
            ValueError: If a stride is longer than the map it is on, or the
                auxiliary head finds too small a map.
        """
        size = self.data.image_shape[:2]
        try:
            sizes = map_sizes(spec, self.data.image_shape)
        except ValueError as error:
            raise ValueError(
                f"images must be large enough for {what}: {error}. Received: "
                f"images of {size}."
            ) from None
        weight = self.training.auxiliary_weight
        if not weight or not isinstance(spec, MicroNetSpec):
            return
        its = sizes[spec.reductions[1]]
        if min(its) < _AUXILIARY_SIDE:
            raise ValueError(
                f"auxiliary_weight must be 0 with images of {size}: behind "
                f"the second reduction of {what} the map is {its}, smaller "
                f"than the auxiliary head's window of {_AUXILIARY_SIDE} by "
                f"{_AUXILIARY_SIDE}. Received: auxiliary_weight={weight!r}."
            )

    def resized(self, spec: NetSpec, parameters: int) -> Self:
        """Returns this task: the size of a network is its spec's.

        Raises:
            ValueError: If `parameters` is not 0.
        """
        if parameters:
            refuse(
                "parameters",
                "0 for image networks, whose size is that of their specs",
                parameters,
            )
        return self

    def program(
        self, space: Space, shared: bool = False
    ) -> Program | SharedProgram | None:
        """Returns one set of weights for all networks of a space.

        Without `shared` there is none: each network is a program of its own.
        """
        if not shared:
            return None
        from nas_keras.tasks.images.program import SharedImages

        return SharedImages(space, self)

    def check_space(self, space: Space) -> None:
        """Refuses what of the training is for networks of cells alone."""
        if space.architecture is MicroNetSpec:
            return
        for name in ("drop_path", "auxiliary_weight"):
            value = getattr(self.training, name)
            if value:
                rule = f"0 for {space.name}, whose networks have no cells"
                refuse(name, rule, value)

    def check_shared(self, space: Space) -> None:
        check_shared(self.training)
        space.check_supernet(NetSpec)

    def train(
        self,
        spec: NetSpec,
        seed: int,
        folder: Path | None = None,
        on_progress: Callable[[Update], None] | None = None,
    ) -> Metrics:
        """Trains a network from scratch, as `train_images` does.

        Networks without cells are trained without drop path and auxiliary head.

        Args:
            spec: The network.
            seed: Seed of all chance.
            folder: Folder of this training alone, as the workdir of
                `train_images`; None: the training cannot be resumed.
            on_progress: Called with an `Update` after each.

        Returns:
            `train_loss_nats` of the last epoch; `validation_` and `test_`
            `accuracy`, `loss_nats` and `error_percent` of the weights that
            `training.select` says; `rollbacks`, `num_parameters`,
            `multiply_adds`, `elapsed_s`.

        Raises:
            ValueError: If the images are too small for the network, or the
                folder belongs to another training or is damaged.
            FloatingPointError: If the training diverges.
            OSError: If the disk fails.
        """
        from nas_keras.tasks.images import training

        return training.train(self, spec, seed, folder, on_progress)

    def scaled(
        self, updates: float = 1.0, units: float = 1.0, data: float = 1.0
    ) -> Self:
        """Returns the same task at another fidelity.

        Args:
            updates: Factor of the epochs; there is one at least.
            units: 1: the width of a network is that of its spec.
            data: Share of the training images, in (0, 1], of all classes
                alike.

        Raises:
            ValueError: If `units` is not 1, or too few images are left.
        """
        if units != 1.0:
            raise ValueError(
                "units must be 1 for image networks, whose width is that of "
                f"their specs. Received: units={units}."
            )
        num_epochs = max(1, round(updates * self.training.num_epochs))
        images = self.data
        if data < 1:
            labels = images.train.labels
            num = round(data * len(labels))
            _, places = stratified(labels, num, 0, "data", is_all_good=True)
            images = dataclasses.replace(
                images, train=images.train.take(np.asarray(places))
            )
        return dataclasses.replace(
            self,
            training=self.training.replace(num_epochs=num_epochs),
            data=images,
        )

    def settings(self) -> dict[str, Any]:
        """Returns what results depend on, JSON-able."""
        return {
            "task": self.training.to_dict(),
            "data": describe(self.data),
        }
