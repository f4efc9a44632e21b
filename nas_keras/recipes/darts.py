"""D: Liu, Simonyan & Yang 2019, https://arxiv.org/abs/1806.09055.

Its program is github.com/quark0/darts.

Frozen values; no TensorFlow, no Keras.
"""

from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.config import TrainingConfig

PTB = TrainingConfig(
    preset="darts",
    cell="darts_v2",  # D.
    model=LanguageModelConfig(
        units=850,  # D.
        tied=True,  # D.
        batch_size=64,  # D.
        num_steps=35,  # D.
        num_updates=0,
        num_epochs=3_600,  # D.
        optimizer="sgd",  # D.
        learning_rate=20.0,  # D.
        clip_norm=0.25,  # D.
        init_scale=0.04,  # D.
        embedding_dropout=0.1,  # D.
        input_dropout=0.75,  # D, where inputs enter cells; and 0.2 before.
        output_dropout=0.75,  # D.
        recurrent_dropout=0.25,  # D.
        slowness_penalty=1e-3,  # D.
        weight_decay=8e-7,  # D.
        average="nonmonotone",  # D.
        average_patience=5,  # D.
        vary_steps=True,  # D.
        select="best",
    ),
)
