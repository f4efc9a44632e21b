"""Zaremba, Sutskever & Vinyals 2014, https://arxiv.org/abs/1409.2329.

Z is the paper; T is ptb_word_lm.py, TensorFlow's tutorial of recurrent
networks, which reproduces it. Both drop out each step anew, we once a window
(Gal & Ghahramani 2016, https://arxiv.org/abs/1512.05287).

Losses here are means over tokens: where a source sums over the T steps of a
window, its rate times T and its clipping norm over T are the same. Frozen
values; no TensorFlow, no Keras.
"""

from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.config import TrainingConfig

SMALL = TrainingConfig(
    preset="zaremba_small",
    model=LanguageModelConfig(
        units=200,  # T.
        num_layers=2,  # T.
        use_bias=True,  # T; of the forget gate too, uniform like the others.
        batch_size=20,  # T.
        num_steps=20,  # T.
        num_updates=0,
        num_epochs=13,  # T.
        optimizer="sgd",  # T.
        learning_rate=20.0,  # T: 1 of the sum over 20 steps.
        schedule="step",  # T.
        decay=2.0,  # T.
        decay_epoch=4,  # T.
        clip_norm=0.25,  # T: 5 of the sum over 20 steps.
        init_scale=0.1,  # T.
        select="best",
    ),
)
# Two hours on one core. Its optimizer, rate and clipping are Z's, medium; the
# rest is ours: the dropout for so few epochs, chosen on the validation part.
PTB_5M = SMALL.replace(
    preset="ptb_5m",
    parameters=5_000_000,
    model=SMALL.model.replace(
        tied=True,
        num_steps=35,  # Z.
        num_epochs=16,
        learning_rate=35.0,  # Z: 1 of the sum over 35 steps.
        schedule="cosine",
        clip_norm=5.0 / 35,  # Z: 5 of the sum.
        init_scale=0.05,  # Z.
        embedding_dropout=0.05,
        input_dropout=0.15,
        layer_dropout=0.15,
        output_dropout=0.25,
        recurrent_dropout=0.1,
    ),
)
MEDIUM = SMALL.replace(
    preset="zaremba_medium",
    model=SMALL.model.replace(
        units=650,  # Z.
        num_steps=35,  # Z.
        num_epochs=39,  # Z.
        learning_rate=35.0,  # Z: 1 of the sum over 35 steps.
        decay=1.2,  # Z.
        decay_epoch=6,  # Z.
        clip_norm=5.0 / 35,  # Z: 5 of the sum.
        init_scale=0.05,  # Z.
        input_dropout=0.5,  # Z, and the next two.
        layer_dropout=0.5,
        output_dropout=0.5,
    ),
)
LARGE = MEDIUM.replace(
    preset="zaremba_large",
    model=MEDIUM.model.replace(
        units=1_500,  # Z.
        num_epochs=55,  # Z.
        decay=1.15,  # Z.
        decay_epoch=14,  # Z.
        clip_norm=10.0 / 35,  # Z: 10 of the sum.
        init_scale=0.04,  # Z.
        input_dropout=0.65,  # Z, and the next two.
        layer_dropout=0.65,
        output_dropout=0.65,
    ),
)
