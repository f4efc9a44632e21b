"""What tests of trainings of translation models share: pairs, a small model."""

import itertools

import numpy as np

from nas_keras.data import parallel_corpus
from nas_keras.tasks import TranslationConfig
from nas_keras.tasks import TranslationModelConfig

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


def translation_config(model=None, **changes):
    arguments = {
        "preset": "test",
        "vocabulary_size": 40,
        "model": TranslationModelConfig(
            **{"units": 6, "num_layers": 1, "init_scale": 0.3, **(model or {})}
        ),
        "batch_tokens": 60,
        "num_epochs": 3,
        "learning_rate": 0.02,
        "beam": 2,
        "snapshot_updates": 2,
        **changes,
    }
    return TranslationConfig(**arguments)
