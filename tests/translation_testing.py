"""What tests of trainings of translation models share: pairs, a small model."""

import itertools

import numpy as np

from nas_keras.data import parallel_corpus
from nas_keras.settings import Change
from nas_keras.settings import changed
from nas_keras.settings import fields_of
from nas_keras.tasks import TranslationConfig
from nas_keras.tasks import TranslationTraining
from nas_keras.tasks.translation.config import SCHEDULES

_WORDS = {"one": "eins", "two": "zwei", "red": "rot", "cat": "Katze"}


def phrases():
    """Returns all phrases of three words, and their words' translations."""
    pairs = [
        (" ".join(words), " ".join(_WORDS[word] for word in words))
        for words in itertools.product(_WORDS, repeat=3)
    ]
    order = np.random.default_rng(0).permutation(len(pairs))
    pairs = [pairs[k] for k in order]
    parts = {
        "train": pairs[:48],
        "validation": pairs[48:56],
        "test": pairs[56:],
    }
    return parallel_corpus(parts, "en", "de", name="phrases")


_WITHIN = {
    "training.schedule.": SCHEDULES.values(),
    "data.": [TranslationConfig("test").data],
    "training.": [TranslationTraining],
}
_DOTTED = {
    field.name: path + field.name
    for path, all_settings in _WITHIN.items()
    for settings in all_settings
    for field in fields_of(settings)
}


def translation_config(model=None, **changes):
    """Returns a short training; changes are by the names of all fields."""
    model = {"units": 6, "num_layers": 1, "init_scale": 0.3, **(model or {})}
    values = {
        "vocabulary_size": 40,
        "batch_tokens": 60,
        "num_epochs": 3,
        "learning_rate": 0.02,
        "beam": 2,
        "snapshot_updates": 2,
        **changes,
    }
    dotted = {_DOTTED.get(name, name): its for name, its in values.items()}
    dotted |= {f"training.model.{name}": its for name, its in model.items()}
    return changed(
        TranslationConfig("test"),
        {
            name: Change(name.split(".")[-1], its)
            for name, its in dotted.items()
        },
    )
