"""What a search is about: its data, and what its workdir belongs to.

All that can be wrong with a configuration is known here, before anything slow
is loaded. No TensorFlow, no Keras.
"""

import abc
import os
from typing import Any

from nas_keras.cells.spec import CellSpec
from nas_keras.cells.spec import load_spec
from nas_keras.convnets.files import load_convnet
from nas_keras.convnets.resnet import resnet_spec
from nas_keras.convnets.spec import MicroNetSpec
from nas_keras.data.image_sources import open_images
from nas_keras.data.images import ImageSet
from nas_keras.data.images import describe
from nas_keras.data.sources import open_corpus
from nas_keras.data.text import Corpus
from nas_keras.search.image_baseline import map_sizes
from nas_keras.search.kinds import IMAGES
from nas_keras.search.kinds import RESNET
from nas_keras.search.kinds import TEXT
from nas_keras.search.search_config import SearchConfig
from nas_keras.spaces.space import Space
from nas_keras.tasks.image_config import NetSpec
from nas_keras.tasks.image_task import ImageTask
from nas_keras.tasks.language_model_config import check_length
from nas_keras.tasks.language_model_config import num_parameters
from nas_keras.tasks.language_model_config import units_for_parameters

SearchData = Corpus | ImageSet
_AUXILIARY_SIDE = 5  # Of the window of the auxiliary head.


def open_data(
    config: SearchConfig, data_dir: str | os.PathLike | None = None
) -> SearchData:
    """Returns the text or the images of a search.

    Args:
        config: `SearchConfig`.
        data_dir: Folder of the data set's files, or of prepared TensorFlow
            Datasets.

    Raises:
        ValueError: If the data cannot be read or are too few for the
            trainings, the images are too small for the networks, or an
            architecture to retrain cannot be loaded, has the name of another,
            or is too large.
        ImportError: If what the images need is not installed.
    """
    data_of_kind = _DATA[config.kind]
    names = [spec.name for spec in data_of_kind.published(config)]
    if len(set(names)) < len(names):
        raise ValueError(
            "The architectures of retrain_published must have different "
            f"names. Received: {names}."
        )
    data = data_of_kind.open(config, data_dir)
    data_of_kind.check(config, data)
    return data


def published(config: SearchConfig) -> list[CellSpec] | list[NetSpec]:
    """Returns the architectures to retrain beside those that are found.

    Raises:
        ValueError: If one cannot be loaded.
    """
    return _DATA[config.kind].published(config)


def settings_of(config: SearchConfig, data: SearchData) -> dict[str, Any]:
    """Returns what a run's workdir belongs to, JSON-able.

    Data and the architectures to retrain are known by what they hold, not by
    their paths.
    """
    specs = published(config)
    fingerprints = {spec.name: spec.fingerprint for spec in specs}
    if RESNET in config.retrain_published:
        fingerprints[RESNET] = ""  # It becomes one when the best is found.
    return {
        **config.settings(),
        **_DATA[config.kind].known_by(data),
        "retrain_published": fingerprints,
    }


def whole_of(config: SearchConfig, data: SearchData) -> dict[str, Any]:
    """Returns everything a finished run depends on, JSON-able."""
    return {**config.used(), **settings_of(config, data)}


def parameters_of_retrained(config: SearchConfig, corpus: Corpus) -> int:
    """Returns the weights that each retrained language model may have.

    Raises:
        ValueError: If a published cell of one unit has more.
    """
    size = corpus.vocabulary_size
    num = config.retrain_parameters or num_parameters(
        config.retrain, load_spec("lstm"), size
    )
    for name in config.retrain_published:
        units_for_parameters(config.retrain, load_spec(name), size, num)
    return num


class _Data(abc.ABC):
    """The data of a kind of search."""

    @abc.abstractmethod
    def open(
        self, config: SearchConfig, data_dir: str | os.PathLike | None
    ) -> SearchData:
        """Returns the data of a search."""

    @abc.abstractmethod
    def check(self, config: SearchConfig, data: Any) -> None:
        """Refuses data that the trainings have no use for."""

    @abc.abstractmethod
    def known_by(self, data: Any) -> dict[str, Any]:
        """Returns what settings hold of data, in the place of paths."""

    @abc.abstractmethod
    def published(self, config: SearchConfig) -> list[Any]:
        """Returns the specs that are named to be retrained."""


class _Text(_Data):
    def open(
        self, config: SearchConfig, data_dir: str | os.PathLike | None
    ) -> Corpus:
        return open_corpus(
            dataset=config.dataset if config.text_file is None else "embedded",
            text_file=config.text_file,
            level=config.level,
            max_vocabulary=config.max_vocabulary,
            data_dir=data_dir,
        )

    def check(self, config: SearchConfig, data: Corpus) -> None:
        check_length(config.child, data)
        check_length(config.retrain, data)
        parameters_of_retrained(config, data)

    def known_by(self, data: Corpus) -> dict[str, Any]:
        corpus = {"name": data.name, "sha256": data.sha256}
        return {"text_file": None, "corpus": corpus}

    def published(self, config: SearchConfig) -> list[CellSpec]:
        return [load_spec(name) for name in config.retrain_published]


class _Images(_Data):
    def open(
        self, config: SearchConfig, data_dir: str | os.PathLike | None
    ) -> ImageSet:
        return open_images(
            config.dataset,
            config.image_dir,
            data_dir,
            config.child.num_validation,
            config.child.max_train,
            config.child.split_seed,
        )

    def check(self, config: SearchConfig, data: ImageSet) -> None:
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

    def published(self, config: SearchConfig) -> list[NetSpec]:
        return [
            load_convnet(name)
            for name in config.retrain_published
            if name != RESNET
        ]


def _least(space: Space) -> NetSpec:
    """Returns a network whose maps are as large as any in the space.

    Pools and reductions stand where the space says; of strides the smallest
    is taken, and without links all layers of `nas_conv` read the image.
    """
    return space.decode(
        [choice.options.index(min(choice.options)) for choice in space.choices]
    )


def _check_size(
    config: SearchConfig, part: str, spec: NetSpec, named: str, data: ImageSet
) -> None:
    """Refuses images that are too small for a network.

    Args:
        config: The search.
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


_DATA: dict[str, _Data] = {TEXT: _Text(), IMAGES: _Images()}
