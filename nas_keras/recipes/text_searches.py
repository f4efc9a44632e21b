"""Searches for recurrent cells by name, each constant with its source.

Frozen values; no TensorFlow, no Keras.
"""

import dataclasses

from nas_keras.experiment.config import SearchConfig
from nas_keras.tasks.language_model.config import LanguageModelConfig

# Minutes on two cores. All constants are ours, chosen for that on the
# validation part of the embedded text.
_DEMO = SearchConfig(
    preset="demo",
    num_trials=160,
    batch_size=5,  # Small, for many updates from few children.
    controller_learning_rate=0.03,
    reward="c/ppl",  # At these perplexities c/ppl^2 hides the good children.
    reward_constant=1.0,
    child=LanguageModelConfig(
        units=32,
        batch_size=32,
        num_steps=20,
        num_updates=120,
        learning_rate=1e-2,
        schedule="cosine",
        clip_norm=0.1,
        init_scale=0.15,
        max_validation_tokens=12_000,
    ),
    retrain=LanguageModelConfig(
        units=100,
        use_bias=True,
        batch_size=32,
        num_steps=32,
        num_updates=1_000,
        learning_rate=1e-2,
        schedule="cosine",
        clip_norm=0.1,  # At 1 some found cells diverge, at this size.
        init_scale=0.15,
    ),
)

# Seconds in all: for tests of the whole path.
_TINY = SearchConfig(
    preset="tiny",
    base=2,
    nodes=3,
    num_trials=6,
    batch_size=2,
    num_phases=2,
    steps_per_phase=2,
    derive_trials=4,
    child=LanguageModelConfig(
        units=8,
        batch_size=4,
        num_steps=8,
        num_updates=3,
        max_validation_tokens=400,
        jit_compile=False,  # Compiling would take longer than running.
    ),
    retrain=LanguageModelConfig(
        units=12,
        use_bias=True,
        batch_size=4,
        num_steps=8,
        num_updates=3,
        max_validation_tokens=400,
        jit_compile=False,  # Compiling would take longer than running.
    ),
    retrain_top=1,
    retrain_published=("lstm",),
    retrain_seeds=1,
)

# Minutes on two cores. All constants are ours but for the controller's, which
# are P's; see below.
_ENAS_DEMO = dataclasses.replace(
    _DEMO,
    preset="enas_demo",
    space="enas_recurrent",
    nodes=6,
    evaluator="shared",
    temperature=5.0,
    tanh_constant=2.5,
    entropy_weight=1e-3,
    controller_learning_rate=0.01,
    num_trials=2_000,
    batch_size=10,
    num_phases=20,
    steps_per_phase=10,
    windows_per_reward=4,
    derive_trials=100,
    child=dataclasses.replace(
        _DEMO.child,
        num_updates=4_000,
        learning_rate=5e-3,
        max_validation_tokens=0,
    ),
    retrain_top=3,
    retrain_published=("lstm", "gru", "enas_ptb", "darts_v2"),
)

# ZL: Zoph & Le 2017, https://arxiv.org/abs/1611.01578, section 4.2; "(ZL)" is
# what is told of it elsewhere. Z: Zaremba, Sutskever & Vinyals 2014,
# https://arxiv.org/abs/1409.2329, medium or large, where ZL is silent on the
# training of its children. Ours: where both are.
_ZOPH2016_PTB = SearchConfig(
    preset="zoph2016_ptb",
    dataset="ptb",
    level="word",
    max_vocabulary=10_000,  # Of Mikolov's preprocessing.
    base=8,  # ZL.
    controller_units=35,  # ZL, section 4.1.
    controller_layers=2,  # ZL, section 4.1.
    controller_init_scale=0.08,  # ZL, section 4.1.
    controller_learning_rate=5e-4,  # (ZL).
    baseline_decay=0.95,  # NASNet's; ZL does not say.
    normalize_advantage=False,  # ZL, section 3.2: reward minus baseline.
    num_trials=15_000,  # ZL: about.
    batch_size=10,  # (ZL): one update for ten children's gradients.
    reward="c/ppl^2",  # ZL.
    reward_constant=80.0,  # ZL: usually.
    child=LanguageModelConfig(
        units=537,  # 20 M weights, untied: the size of Z's medium model.
        num_layers=2,  # (ZL).
        batch_size=20,  # Z.
        num_steps=35,  # Z.
        num_updates=0,
        num_epochs=35,  # (ZL).
        optimizer="sgd",  # Z.
        learning_rate=35.0,  # Z: 1 of the sum over 35 steps; ours is a mean.
        schedule="step",  # Z.
        decay=1.2,  # Z, medium.
        decay_epoch=6,  # Z, medium.
        clip_norm=5.0 / 35,  # Z, medium: 5 of the sum.
        init_scale=0.05,  # Z, medium.
        embedding_dropout=0.2,  # (ZL) has both; the rates are ours.
        recurrent_dropout=0.2,
    ),
    retrain=LanguageModelConfig(
        num_layers=2,  # ZL.
        tied=True,  # ZL: shared embeddings, in the model of 25 M.
        batch_size=20,  # Z.
        num_steps=35,  # Z.
        num_updates=0,
        num_epochs=55,  # Z, large.
        optimizer="sgd",  # Z.
        learning_rate=35.0,  # Z: 1 of the sum over 35 steps.
        schedule="step",  # Z.
        decay=1.15,  # Z, large.
        decay_epoch=14,  # Z, large.
        clip_norm=10.0 / 35,  # Z, large: 10 of the sum.
        init_scale=0.04,  # Z, large.
        input_dropout=0.5,  # Ours, and so are the next four.
        layer_dropout=0.5,
        output_dropout=0.5,
        recurrent_dropout=0.2,
        embedding_dropout=0.2,
    ),
    retrain_parameters=25_000_000,  # ZL: of three sizes.
    num_threads=0,  # Large products gain from all cores.
)

# P: Pham et al. 2018, https://arxiv.org/abs/1802.03268, as far as it is told
# elsewhere (carpedm20's ENAS-pytorch); T: its authors' first program,
# github.com/melodyguan/enas, whose language model they later called wrong; L:
# their later one, github.com/google-research/google-research, folder enas_lm.
_ENAS2018_PTB = SearchConfig(
    preset="enas2018_ptb",
    dataset="ptb",
    level="word",
    max_vocabulary=10_000,
    space="enas_recurrent",
    nodes=11,  # P: 12 with node 0.
    average="loose_ends",  # P.
    controller_units=100,  # P.
    controller_layers=1,  # P.
    controller_init_scale=0.1,  # T.
    controller_learning_rate=3.5e-4,  # P.
    entropy_weight=1e-4,  # P.
    entropy_bonus="sampled",  # T, L.
    temperature=5.0,  # P.
    tanh_constant=2.5,  # P.
    baseline_decay=0.95,  # P, by carpedm20; T has 0.99.
    normalize_advantage=False,  # P.
    num_trials=300_000,  # P: 2,000 for each of 150 epochs.
    batch_size=1,  # P: M = 1.
    evaluator="shared",
    num_phases=150,  # P.
    steps_per_phase=2_000,  # P.
    windows_per_reward=1,  # T.
    derive_trials=100,  # P, by carpedm20.
    reward="c/ppl",  # P.
    reward_constant=80.0,  # P.
    child=LanguageModelConfig(
        units=1_000,  # P, by carpedm20.
        tied=True,  # P.
        batch_size=64,  # P.
        num_steps=35,  # P.
        num_updates=0,
        num_epochs=150,  # P.
        optimizer="sgd",  # P.
        learning_rate=20.0,  # P.
        schedule="step",  # P.
        decay=1 / 0.96,  # P.
        decay_epoch=15,  # P.
        clip_norm=0.25,  # P.
        init_scale=0.04,  # T.
        input_dropout=0.75,  # T.
        output_dropout=0.75,  # T.
        recurrent_dropout=0.25,  # T.
        embedding_dropout=0.25,  # T.
        weight_decay=2e-7 / 35,  # T: 1e-7 of the squares, of a sum of losses.
    ),
    retrain=LanguageModelConfig(
        tied=True,
        batch_size=64,  # T.
        num_steps=35,  # T.
        num_updates=0,
        num_epochs=2_000,  # T.
        optimizer="sgd",  # T.
        learning_rate=20.0 * 35,  # T: 20 of the sum over 35 steps.
        schedule="step",  # T.
        decay=1 / 0.9991,  # T.
        decay_epoch=15,  # T: for the first time after epoch 15.
        clip_norm=0.25 / 35,  # T: 0.25 of the sum.
        init_scale=0.04,  # T.
        input_dropout=0.75,  # T.
        output_dropout=0.76,  # T.
        recurrent_dropout=0.25,  # T.
        embedding_dropout=0.21,  # T.
        weight_decay=2 * 5e-7 / 35,  # T: 5e-7 of the squares.
        slowness_penalty=1e-3 * 748 * 34 / 35,  # T: 1e-3 of the sum over H, T.
    ),
    retrain_parameters=24_000_000,  # P.
    num_threads=0,
)
_ENAS_LM = dataclasses.replace(
    _ENAS2018_PTB,
    preset="enas_lm",
    nodes=8,  # L.
    average="all",  # L, on GPUs.
    controller_units=64,  # L.
    controller_init_scale=0.01,  # L.
    controller_learning_rate=5e-5,  # L.
    entropy_weight=1e-5,  # L.
    tanh_constant=2.25,  # L.
    baseline_decay=0.999,  # L.
    num_trials=150_000,  # L: 25 updates of 10 for each of 600 epochs.
    batch_size=10,  # L.
    num_phases=600,  # L.
    steps_per_phase=25,  # L.
    child=dataclasses.replace(
        _ENAS2018_PTB.child,
        units=200,  # L.
        batch_size=128,  # L.
        num_epochs=600,  # L.
        schedule="constant",  # L.
        clip_norm=0.1,  # L.
        input_dropout=0.75,  # L, where inputs enter cells; and 0.2 before.
        output_dropout=0.75,  # L.
        recurrent_dropout=0.25,  # L.
        embedding_dropout=0.1,  # L.
        weight_decay=8e-7,  # L, of what is in use.
        slowness_penalty=1.0,  # L.
    ),
    retrain=dataclasses.replace(
        _ENAS2018_PTB.retrain,
        num_epochs=3_000,  # L.
        schedule="constant",  # L.
        learning_rate=20.0,  # L.
        clip_norm=0.25,  # L.
        init_scale=0.05,  # L.
        input_dropout=0.725,  # L, where inputs enter cells; and 0.175 before.
        output_dropout=0.75,  # L.
        recurrent_dropout=0.225,  # L.
        embedding_dropout=0.125,  # L.
        weight_decay=8e-7,  # L.
        activation_penalty=0.7,  # L.
        slowness_penalty=1.0,  # L, of the search.
    ),
    retrain_parameters=21_000_000,  # L: 20.8 M.
)

TEXT_PRESETS = (
    _DEMO,
    _TINY,
    _ZOPH2016_PTB,
    _ENAS_DEMO,
    _ENAS2018_PTB,
    _ENAS_LM,
)
