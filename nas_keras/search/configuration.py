"""What the workdir of a search belongs to. No TensorFlow, no Keras."""

import dataclasses
from typing import Any

from nas_keras.cells.spec import load_spec
from nas_keras.data.text import Corpus
from nas_keras.search.presets import SearchConfig


def settings_of(config: SearchConfig, corpus: Corpus) -> dict[str, Any]:
    """Returns what a run's workdir belongs to, JSON-able.

    A text and the cells to retrain are known by what they hold, not by their
    paths.
    """
    cells = [load_spec(name) for name in config.retrain_published]
    return {
        **config.settings(),
        "text_file": None,
        "corpus": {"name": corpus.name, "sha256": corpus.sha256},
        "retrain_published": {cell.name: cell.fingerprint for cell in cells},
    }


def whole_of(config: SearchConfig, corpus: Corpus) -> dict[str, Any]:
    """Returns everything a finished run depends on, JSON-able."""
    return {**dataclasses.asdict(config), **settings_of(config, corpus)}
