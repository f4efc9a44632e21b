"""What a search is about: its data, and what its workdir belongs to.

All that can be wrong with a configuration is known here, before anything slow
is loaded. No TensorFlow, no Keras.
"""

import os
from typing import Any

from nas_keras.cells.language.spec import CellSpec
from nas_keras.data.images import ImageSet
from nas_keras.data.text import Corpus
from nas_keras.experiment.config import SearchConfig
from nas_keras.experiment.kinds import KINDS
from nas_keras.tasks.images.config import NetSpec

SearchData = Corpus | ImageSet


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
    kind = KINDS[config.kind]
    names = [spec.name for spec in kind.published(config)]
    if len(set(names)) < len(names):
        raise ValueError(
            "The architectures of retrain_published must have different "
            f"names. Received: {names}."
        )
    data = kind.open(config, data_dir)
    kind.check_data(config, data)
    return data


def published(config: SearchConfig) -> list[CellSpec] | list[NetSpec]:
    """Returns the architectures to retrain beside those that are found.

    Raises:
        ValueError: If one cannot be loaded.
    """
    return KINDS[config.kind].published(config)


def settings_of(config: SearchConfig, data: SearchData) -> dict[str, Any]:
    """Returns what a run's workdir belongs to, JSON-able.

    Data and the architectures to retrain are known by what they hold, not by
    their paths.
    """
    kind = KINDS[config.kind]
    return {
        **config.settings(),
        **kind.known_by(data),
        "retrain_published": kind.fingerprints(config),
    }


def whole_of(config: SearchConfig, data: SearchData) -> dict[str, Any]:
    """Returns everything a finished run depends on, JSON-able."""
    return {**config.used(), **settings_of(config, data)}
