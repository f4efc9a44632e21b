"""Searches for image networks by name, each constant with its source.

Frozen values; no TensorFlow, no Keras.
"""

import dataclasses

from nas_keras.experiment.config import SearchConfig
from nas_keras.recipes.image_trainings import IMAGE_PRESETS as TRAININGS
from nas_keras.tasks.images.config import ImageConfig

# Seconds in all: for tests of the whole path.
_TINY_CONV = SearchConfig(
    preset="tiny_conv",
    dataset="digits",
    space="enas_macro",
    layers=3,
    filters=4,
    num_trials=4,
    batch_size=2,
    evaluator="shared",
    num_phases=2,
    steps_per_phase=1,
    derive_trials=3,
    reward="accuracy",
    child=dataclasses.replace(TRAININGS["tiny"], num_epochs=1),
    retrain=dataclasses.replace(
        TRAININGS["tiny"],
        num_epochs=1,
        learning_rate=0.01,  # For averages of batches that lag behind.
    ),
    retrain_top=1,
    retrain_published=("resnet",),
    retrain_seeds=1,
)

# Minutes on two cores. All constants are ours, chosen for that, but for the
# controller's, which are E's; see below.
_CONV_DEMO = SearchConfig(
    preset="conv_demo",
    dataset="digits",
    space="enas_macro",
    layers=6,
    filters=16,
    tanh_constant=1.5,
    skip_weight=0.8,
    skip_scale=2.0,
    entropy_weight=1e-4,
    controller_learning_rate=0.01,  # For hundreds of updates, not thousands.
    num_trials=1_000,
    batch_size=10,
    evaluator="shared",
    num_phases=20,
    steps_per_phase=5,
    windows_per_reward=2,
    derive_trials=40,
    reward="accuracy",
    child=ImageConfig(
        preset="conv_demo",
        num_validation=360,
        batch_size=60,
        num_epochs=40,
        learning_rate=0.05,
        weight_decay=5e-4,
        padding=1,
        flip=False,
        num_threads=1,
    ),
    retrain=ImageConfig(
        preset="conv_demo",
        num_validation=360,
        batch_size=60,
        num_epochs=12,
        learning_rate=0.1,
        weight_decay=5e-4,
        padding=1,
        flip=False,
        num_threads=1,
    ),
    retrain_top=1,
    retrain_published=("resnet",),
    retrain_seeds=2,
    retrain_random=2,
)

# Under two hours on two cores. All constants are ours but for the controller's,
# which are E's, and the recipe of retraining, which is that of E but shorter.
_ENAS_MACRO_DEMO = SearchConfig(
    preset="enas_macro_demo",
    dataset="cifar10",
    space="enas_macro",
    layers=12,
    filters=16,
    controller_units=64,
    controller_layers=1,
    controller_init_scale=0.1,
    controller_learning_rate=0.005,  # For hundreds of updates, not thousands.
    tanh_constant=1.5,
    entropy_weight=1e-4,
    entropy_bonus="sampled",
    skip_weight=0.8,
    skip_scale=2.0,
    num_trials=1_000,
    batch_size=10,
    random_baseline=False,  # Networks drawn at random are retrained instead.
    evaluator="shared",
    num_phases=10,
    steps_per_phase=10,
    windows_per_reward=1,
    derive_trials=40,
    reward="accuracy",
    child=dataclasses.replace(
        TRAININGS["enas_macro"],
        preset="enas_macro_demo",
        num_validation=1_000,
        max_train=4_000,
        dropout=0.1,
        batch_size=100,
        num_epochs=30,
        schedule="cosine",
        num_threads=0,
    ),
    retrain=dataclasses.replace(
        TRAININGS["enas_macro"],
        preset="enas_macro_demo",
        num_validation=1_000,
        max_train=4_000,
        dropout=0.1,
        num_epochs=6,
        schedule="cosine",
    ),
    retrain_top=1,
    retrain_published=("resnet",),
    retrain_seeds=3,
    retrain_random=10,
    num_threads=0,
)

# Z: Zoph & Le 2017, https://arxiv.org/abs/1611.01578, sections 3 and 4.1;
# "(Z)" is what is told of it elsewhere. Of its searches, the one that predicts
# strides: its networks are as deep as the schedule ends.
_ZOPH2016_CIFAR10 = SearchConfig(
    preset="zoph2016_cifar10",
    dataset="cifar10",  # Z.
    space="nas_conv",
    layers=20,  # Z.
    strides=(1, 2, 3),  # Z.
    kernels=(1, 3, 5, 7),  # Z.
    filter_options=(24, 36, 48, 64),  # Z.
    depth_first=6,  # (Z).
    depth_step=2,  # (Z): after every 1,600 children.
    controller_units=35,  # Z.
    controller_layers=2,  # Z.
    controller_init_scale=0.08,  # Z.
    controller_learning_rate=6e-4,  # Z.
    baseline_decay=0.95,  # NASNet's; Z does not say.
    normalize_advantage=False,  # Z: reward minus baseline.
    skip_scale=1.0,  # Z: a sigmoid.
    num_trials=12_800,  # Z.
    batch_size=8,  # Z: children of a replica of the controller.
    reward="accuracy^3",  # (Z): of the best of the last five epochs.
    child=TRAININGS["zoph2016_cifar10"],
    retrain=dataclasses.replace(
        TRAININGS["zoph2016_cifar10"],
        num_epochs=300,  # Ours; Z: until it converges.
    ),
    retrain_top=1,  # Z; then a grid of recipes: `--grid=paper`.
    retrain_published=("resnet",),
    num_threads=0,  # Large convolutions gain from all cores.
)

# E: Pham et al. 2018, https://arxiv.org/abs/1802.03268, by its authors' program
# github.com/melodyguan/enas: scripts/cifar10_macro_search.sh, src/cifar10.
# Its Adam has beta1 0 and epsilon 1e-3, ours Keras's. What it trains to its end
# has 24 layers, and was found by another search than its script's. Its penalty
# is of sigmoid(logit), as ours, while it links with sigmoid(2 logit): where the
# penalty is least the rate of links is 0.31, not the 0.4 of `skip_target`.
_ENAS_MACRO = SearchConfig(
    preset="enas_macro",
    dataset="cifar10",  # E.
    space="enas_macro",
    layers=12,  # E.
    filters=36,  # E.
    controller_units=64,  # E.
    controller_layers=1,  # E.
    controller_init_scale=0.1,  # E.
    controller_learning_rate=1e-3,  # E.
    tanh_constant=1.5,  # E.
    entropy_weight=1e-4,  # E.
    entropy_bonus="sampled",  # E.
    skip_target=0.4,  # E.
    skip_weight=0.8,  # E.
    skip_scale=2.0,  # E: a softmax of two opposite logits.
    baseline_decay=0.99,  # E.
    normalize_advantage=False,  # E.
    num_trials=310_000,  # E: 50 updates of 20 for each of 310 epochs.
    batch_size=20,  # E.
    random_baseline=False,  # E.
    evaluator="shared",
    num_phases=310,  # E.
    steps_per_phase=50,  # E.
    windows_per_reward=1,  # E.
    derive_trials=100,  # Ours.
    reward="accuracy",  # E.
    child=dataclasses.replace(
        TRAININGS["enas_macro"],
        num_validation=5_000,  # E.
        dropout=0.1,  # E: keep_prob 0.9.
        batch_size=128,  # E.
        num_epochs=310,  # E.
        min_learning_rate=5e-4,  # E.
        weight_decay=5e-4,  # E: l2 2.5e-4.
    ),
    retrain=dataclasses.replace(
        TRAININGS["enas_macro"],
        num_validation=5_000,  # Ours, to choose by; E: none.
    ),
    retrain_filters=96,  # E.
    retrain_top=1,  # E.
    retrain_published=("enas_macro", "resnet"),
    retrain_seeds=1,
    retrain_random=1,
    num_threads=0,
)
# E: scripts/cifar10_micro_search.sh. Its shared weights have drop path and an
# auxiliary head, its controller a first bias towards convolutions and one more
# step of its LSTM behind each node; ours do not. Its entropy, of the whole
# softmax as ours, is a part of the reward; ours is one of the loss, with its
# gradient.
_ENAS_MICRO = _ENAS_MACRO.in_space(  # There is no skip connection to choose.
    "enas_micro",
    preset="enas_micro",
    nodes=5,  # E.
    cells=6,  # E.
    filters=20,  # E.
    controller_learning_rate=3.5e-3,  # E.
    tanh_constant=1.1,  # E.
    entropy_bonus="exact",  # E, in the reward; ours in the loss.
    num_trials=45_000,  # E: 30 updates of 10 for each of 150 epochs.
    batch_size=10,  # E.
    num_phases=150,  # E.
    steps_per_phase=30,  # E.
    child=dataclasses.replace(
        TRAININGS["enas_macro"],
        num_validation=5_000,  # E.
        dropout=0.1,  # E: keep_prob 0.9.
        batch_size=160,  # E.
        num_epochs=150,  # E.
        min_learning_rate=5e-4,  # E.
        weight_decay=2e-4,  # E: l2 1e-4.
    ),
    retrain=dataclasses.replace(
        TRAININGS["enas_micro"],
        num_validation=5_000,  # Ours, to choose by; E: none.
    ),
    retrain_filters=36,  # E.
    retrain_num_cells=18,  # The paper's 4.6 M weights; E: 15.
    retrain_published=("enas_micro", "resnet"),
)

IMAGE_PRESETS = (
    _TINY_CONV,
    _CONV_DEMO,
    _ENAS_MACRO_DEMO,
    _ZOPH2016_CIFAR10,
    _ENAS_MACRO,
    _ENAS_MICRO,
)
