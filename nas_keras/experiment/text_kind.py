"""`TextKind`: searches for recurrent cells, by language models.

No TensorFlow, no Keras.
"""

import os
from typing import Any

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.data.sources import DATASETS
from nas_keras.data.sources import is_dataset
from nas_keras.data.sources import open_corpus
from nas_keras.data.text import Corpus
from nas_keras.evaluators.rewards import REWARDS
from nas_keras.experiment.kind import Kind
from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.config import check_length
from nas_keras.tasks.language_model.config import num_parameters
from nas_keras.tasks.language_model.config import units_for_parameters


class TextKind(Kind):
    """Searches on text."""

    training = LanguageModelConfig
    rewards = tuple(REWARDS)
    datasets = tuple(DATASETS)
    attributes = (
        "text_file",
        "level",
        "max_vocabulary",
        "base",
        "combines",
        "activations",
        "average",
        "retrain_parameters",
    )

    def is_dataset(self, name: str) -> bool:
        return is_dataset(name)

    def check(self, config: Any) -> None:
        """Whatever each attribute may be goes with the others."""

    def open(self, config: Any, data_dir: str | os.PathLike | None) -> Corpus:
        return open_corpus(
            dataset=config.dataset if config.text_file is None else "embedded",
            text_file=config.text_file,
            level=config.level,
            max_vocabulary=config.max_vocabulary,
            data_dir=data_dir,
        )

    def check_data(self, config: Any, data: Corpus) -> None:
        check_length(config.child, data)
        check_length(config.retrain, data)
        parameters_of_retrained(config, data)

    def known_by(self, data: Corpus) -> dict[str, Any]:
        corpus = {"name": data.name, "sha256": data.sha256}
        return {"text_file": None, "corpus": corpus}

    def published(self, config: Any) -> list[CellSpec]:
        return [load_spec(name) for name in config.retrain_published]


def parameters_of_retrained(config: Any, corpus: Corpus) -> int:
    """Returns the weights that each retrained language model may have.

    Args:
        config: `SearchConfig`.
        corpus: What they are trained on.

    Raises:
        ValueError: If a published cell of one unit has more, or one of the
            space, whose cells all have as many.
    """
    size = corpus.vocabulary_size
    num = config.retrain_parameters or num_parameters(
        config.retrain, load_spec("lstm"), size
    )
    cells = [load_spec(name) for name in config.retrain_published]
    if config.retrain_top:
        space = config.make_space()
        cells.append(space.decode([0] * len(space.choices)))
    for cell in cells:
        units_for_parameters(config.retrain, cell, size, num)
    return num
