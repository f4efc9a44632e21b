"""Seconds in all, for tests of the whole path. All constants are ours."""

from nas_keras.data.image_sources import ImageData
from nas_keras.data.sources import TextData
from nas_keras.evaluators.config import Shared
from nas_keras.experiment.config import Finals
from nas_keras.experiment.config import SearchConfig
from nas_keras.spaces.enas_macro import EnasMacro
from nas_keras.spaces.tree import Tree
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.config import TrainingConfig
from nas_keras.tasks.translation.config import TranslationConfig
from nas_keras.tasks.translation.config import TranslationModelConfig
from nas_keras.tasks.translation.config import TranslationTraining

LANGUAGE_MODEL = TrainingConfig(
    preset="tiny",
    data=TextData(),
    model=LanguageModelConfig(
        units=8,
        batch_size=4,
        num_steps=8,
        num_updates=60,
        jit_compile=False,  # Compiling would take longer than running.
        learning_rate=1e-2,
        init_scale=0.1,
        select="best",
        snapshot_updates=20,
    ),
    num_threads=1,
)

IMAGES = ImageConfig(
    preset="tiny",
    filters=4,
    data=ImageData(num_validation=100, max_train=200),
    training=ImageTraining(
        batch_size=20,
        num_epochs=2,
        padding=1,
        flip=False,
        cutout=2,
        snapshot_updates=5,
    ),
    num_threads=1,
)

TRANSLATION = TranslationConfig(
    preset="tiny",
    training=TranslationTraining(
        vocabulary_size=300,
        model=TranslationModelConfig(units=8, num_layers=2, dropout=0.1),
        batch_tokens=2_000,
        num_epochs=0,
        num_updates=6,
        beam=2,
        num_scored=20,
        snapshot_updates=2,
    ),
    num_threads=1,
)

SEARCH = SearchConfig(
    preset="tiny",
    space=Tree(base=2),
    num_trials=6,
    batch_size=2,
    child=LanguageModelConfig(
        units=8,
        batch_size=4,
        num_steps=8,
        num_updates=3,
        max_validation_tokens=400,
        jit_compile=False,  # Compiling would take longer than running.
    ),
    finals=Finals(
        training=LanguageModelConfig(
            units=12,
            use_bias=True,
            batch_size=4,
            num_steps=8,
            num_updates=3,
            max_validation_tokens=400,
            jit_compile=False,  # Compiling would take longer than running.
        ),
        top=1,
        published=("lstm",),
        seeds=1,
    ),
)

CONV_SEARCH = SearchConfig(
    preset="tiny_conv",
    space=EnasMacro(layers=3, filters=4),
    evaluator=Shared(
        reward="accuracy", num_phases=2, steps_per_phase=1, derive_trials=3
    ),
    data=IMAGES.data,
    num_trials=4,
    batch_size=2,
    child=IMAGES.training.replace(num_epochs=1),
    finals=Finals(
        space=EnasMacro(layers=3, filters=4, doubling=True),
        training=IMAGES.training.replace(
            num_epochs=1,
            learning_rate=0.01,  # For averages of batches that lag behind.
        ),
        top=1,
        published=("resnet",),
        seeds=1,
    ),
)
