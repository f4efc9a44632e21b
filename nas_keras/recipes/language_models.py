"""Trainings of language models by name, each constant with its source.

Losses here are means over tokens. Where a source sums over the T steps of a
window, as Z does, its rate times T and its clipping norm over T are the same.
Frozen values; no TensorFlow, no Keras.
"""

import dataclasses

from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.training_config import TrainingConfig

# Seconds in all, for tests of the whole path.
_TINY = TrainingConfig(
    preset="tiny",
    dataset="embedded",
    level="char",
    model=LanguageModelConfig(
        units=8,
        batch_size=4,
        num_steps=8,
        num_updates=60,
        jit_compile=False,  # Compiling would take longer than running.
        learning_rate=1e-2,
        init_scale=0.1,
    ),
    snapshot_updates=20,
    num_threads=1,
)

# A minute on two cores. All constants are ours.
_DEMO = TrainingConfig(
    preset="demo",
    dataset="embedded",
    level="char",
    model=LanguageModelConfig(
        units=128,
        use_bias=True,
        batch_size=32,
        num_steps=50,
        num_updates=0,
        num_epochs=8,
        learning_rate=1e-2,
        schedule="cosine",
        clip_norm=0.25,
        init_scale=0.1,
        input_dropout=0.05,
        output_dropout=0.05,
    ),
    snapshot_updates=100,
)

# T: TensorFlow's tutorial of recurrent networks, ptb_word_lm.py, which
# reproduces Z: Zaremba, Sutskever & Vinyals 2014,
# https://arxiv.org/abs/1409.2329. Both drop out each step anew, we once a
# window (Gal & Ghahramani 2016, https://arxiv.org/abs/1512.05287).
_ZAREMBA_SMALL = TrainingConfig(
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
    ),
)
# Two hours on one core. Its optimizer, rate and clipping are Z's, medium; the
# rest is ours: the dropout for so few epochs, chosen on the validation part.
_PTB_5M = dataclasses.replace(
    _ZAREMBA_SMALL,
    preset="ptb_5m",
    parameters=5_000_000,
    model=dataclasses.replace(
        _ZAREMBA_SMALL.model,
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
_ZAREMBA_MEDIUM = dataclasses.replace(
    _ZAREMBA_SMALL,
    preset="zaremba_medium",
    model=dataclasses.replace(
        _ZAREMBA_SMALL.model,
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
_ZAREMBA_LARGE = dataclasses.replace(
    _ZAREMBA_MEDIUM,
    preset="zaremba_large",
    model=dataclasses.replace(
        _ZAREMBA_MEDIUM.model,
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

# ZL: Zoph & Le 2017, https://arxiv.org/abs/1611.01578, section 4.2. It is
# silent on the training of its final models, where we take Z's large one; and
# "(ZL)" is what is told of it elsewhere.
_ZOPH2016_PTB_25M = dataclasses.replace(
    _ZAREMBA_LARGE,
    preset="zoph2016_ptb_25m",
    cell="nascell",  # ZL.
    parameters=25_000_000,  # ZL.
    model=dataclasses.replace(
        _ZAREMBA_LARGE.model,
        use_bias=False,  # ZL: its cells have none.
        tied=True,  # ZL: shared embeddings.
        embedding_dropout=0.2,  # (ZL) has it; the rates are ours.
        input_dropout=0.5,
        layer_dropout=0.5,
        output_dropout=0.5,
        recurrent_dropout=0.2,
    ),
)
_ZOPH2016_PTB_32M = dataclasses.replace(
    _ZOPH2016_PTB_25M,
    preset="zoph2016_ptb_32m",
    parameters=32_000_000,  # ZL.
    model=dataclasses.replace(_ZOPH2016_PTB_25M.model, tied=False),  # ZL.
)
_ZOPH2016_PTB_54M = dataclasses.replace(
    _ZOPH2016_PTB_25M,
    preset="zoph2016_ptb_54m",
    parameters=54_000_000,  # ZL.
)
_ZOPH2016_CHAR_16M = TrainingConfig(
    preset="zoph2016_char_16m",
    level="char",
    cell="nascell",  # ZL.
    model=LanguageModelConfig(
        units=800,  # (ZL): 16.28 M weights; here 16.23 M.
        num_layers=2,  # ZL.
        embedding_units=128,  # (ZL).
        batch_size=32,  # (ZL).
        num_steps=100,  # (ZL).
        num_updates=600_000,  # (ZL).
        optimizer="adam",  # (ZL).
        learning_rate=1e-3,  # (ZL).
        clip_norm=1.0,  # Ours, and the next two.
        init_scale=0.05,
        weight_decay=1e-7,  # (ZL) has 1e-4; of which sum it does not say.
        input_dropout=0.2,  # (ZL) has 0.2 and 0.5; where is ours.
        layer_dropout=0.2,
        output_dropout=0.5,
        recurrent_dropout=0.2,
    ),
)
# H: Ha, Dai & Le 2017, https://arxiv.org/abs/1609.09106, whose settings (ZL)
# takes for its small model.
_ZOPH2016_CHAR_6M = dataclasses.replace(
    _ZOPH2016_CHAR_16M,
    preset="zoph2016_char_6m",
    parameters=6_570_000,  # ZL.
    model=dataclasses.replace(
        _ZOPH2016_CHAR_16M.model,
        batch_size=128,  # (H).
        num_updates=80_000,  # (ZL).
        weight_decay=0.0,
        input_dropout=0.1,  # (H), and the next two; (ZL) has masks a sequence.
        layer_dropout=0.1,
        output_dropout=0.1,
        recurrent_dropout=0.1,  # Ours.
    ),
)

# P: Pham et al. 2018, https://arxiv.org/abs/1802.03268; E: its authors'
# program, github.com/melodyguan/enas, script of the final training.
_ENAS2018 = TrainingConfig(
    preset="enas2018",
    cell="enas_ptb",  # P.
    model=LanguageModelConfig(
        units=748,  # E.
        tied=True,  # P.
        batch_size=64,  # E.
        num_steps=35,  # E.
        num_updates=0,
        num_epochs=2_000,  # E.
        optimizer="sgd",  # E.
        learning_rate=20.0 * 35,  # E: 20 of the sum over 35 steps.
        schedule="step",  # E.
        decay=1 / 0.9991,  # E.
        decay_epoch=15,  # E: for the first time after epoch 15.
        clip_norm=0.25 / 35,  # E: 0.25 of the sum.
        init_scale=0.04,  # E.
        embedding_dropout=0.21,  # E.
        input_dropout=0.75,  # E.
        output_dropout=0.76,  # E.
        recurrent_dropout=0.25,  # E.
        weight_decay=2 * 5e-7 / 35,  # E: 5e-7 of the squares, before clipping.
        slowness_penalty=1e-3 * 748 * 34 / 35,  # E: 1e-3 of the sum over H, T.
    ),
)

# M: Merity, Keskar & Socher 2017, https://arxiv.org/abs/1708.02182, and its
# program, github.com/salesforce/awd-lstm-lm.
_AWD_LSTM = TrainingConfig(
    preset="awd_lstm",
    model=LanguageModelConfig(
        units=1_150,  # M.
        num_layers=3,  # M.
        embedding_units=400,  # M.
        last_units=400,  # M: as wide as the embedding, which it is tied to.
        tied=True,  # M.
        use_bias=True,  # M.
        batch_size=20,  # M.
        num_steps=70,  # M.
        num_updates=0,
        num_epochs=500,  # M.
        optimizer="sgd",  # M.
        learning_rate=30.0,  # M.
        clip_norm=0.25,  # M.
        init_scale=0.03,  # M: 1 / sqrt(1150) in cells; 0.1 in embeddings.
        embedding_dropout=0.1,  # M.
        input_dropout=0.4,  # M.
        layer_dropout=0.25,  # M.
        output_dropout=0.4,  # M.
        recurrent_dropout=0.5,  # M drops weights of the recurrent kernel.
        activation_penalty=2.0,  # M.
        slowness_penalty=1.0,  # M.
        weight_decay=1.2e-6,  # M.
    ),
    average="nonmonotone",  # M.
    average_patience=5,  # M.
    vary_steps=True,  # M.
)

# D: Liu, Simonyan & Yang 2019, https://arxiv.org/abs/1806.09055, and its
# program, github.com/quark0/darts.
_DARTS = TrainingConfig(
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
    ),
    average="nonmonotone",  # D.
    average_patience=5,  # D.
    vary_steps=True,  # D.
)

TRAINING_PRESETS = {
    config.preset: config
    for config in (
        _DEMO,
        _TINY,
        _ZAREMBA_SMALL,
        _PTB_5M,
        _ZAREMBA_MEDIUM,
        _ZAREMBA_LARGE,
        _ZOPH2016_PTB_25M,
        _ZOPH2016_PTB_32M,
        _ZOPH2016_PTB_54M,
        _ZOPH2016_CHAR_6M,
        _ZOPH2016_CHAR_16M,
        _ENAS2018,
        _AWD_LSTM,
        _DARTS,
    )
}
