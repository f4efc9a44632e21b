"""Trainings of image networks by name, each constant with its source.

Frozen values; no TensorFlow, no Keras.
"""

import dataclasses

from nas_keras.tasks.images.config import ImageConfig

# Seconds in all, for tests of the whole path.
_TINY = ImageConfig(
    preset="tiny",
    num_validation=100,
    max_train=200,
    filters=4,
    batch_size=20,
    num_epochs=2,
    padding=1,
    flip=False,
    cutout=2,
    snapshot_updates=5,
    num_threads=1,
)

# A minute on two cores. All constants are ours; a mirrored digit is none.
_DEMO = ImageConfig(
    preset="demo",
    num_validation=180,
    filters=8,
    batch_size=32,
    num_epochs=15,
    learning_rate=0.1,
    weight_decay=5e-4,
    label_smoothing=0.05,
    padding=1,
    flip=False,
)

# Z: Zoph & Le 2017, https://arxiv.org/abs/1611.01578, section 4.1. Where Z
# enlarges an image before it is cropped, we put zeros around it. Z's networks
# are not published, so that the network is a baseline, and Z chose the values
# of "step" by a small grid: see `PAPER_GRID`.
_ZOPH2016_CIFAR10 = ImageConfig(
    preset="zoph2016_cifar10",
    dataset="cifar10",  # Z.
    num_validation=5_000,  # Z.
    batch_size=128,
    num_epochs=50,  # Z, of a child.
    learning_rate=0.1,  # Z.
    schedule="step",
    decay_from=0.5,
    num_decays=2,
    momentum=0.9,  # Z.
    weight_decay=1e-4,  # Z.
    padding=4,
    flip=True,  # Z.
    normalization="whitening",  # Z.
)

# E: github.com/melodyguan/enas, scripts/cifar10_macro_final.sh, src/cifar10 and
# src/utils.py. Its penalty is l2 times the sum of squares, whose gradient is
# twice l2 times the weight, and is of all weights, ours of kernels. It clips
# nothing: what it computes as clipped is not used. It trains on all 50,000
# images, and reports the weights it ends with.
_ENAS_MACRO = ImageConfig(
    preset="enas_macro",
    dataset="cifar10",  # E.
    num_validation=0,  # E.
    network="enas_macro",  # E, with its 96 filters.
    dropout=0.5,  # E: keep_prob 0.5.
    batch_size=100,  # E.
    num_epochs=310,  # E: up to the end of the fifth run of the cosine.
    optimizer="nesterov",  # E.
    learning_rate=0.05,  # E.
    min_learning_rate=1e-3,  # E.
    schedule="cosine_restarts",  # E.
    restart_epochs=10,  # E.
    restart_factor=2,  # E.
    momentum=0.9,  # E.
    weight_decay=4e-4,  # E: l2 2e-4.
    padding=4,  # E.
    flip=True,  # E.
    normalization="channel",  # E.
    select="last",  # E.
)
# E: scripts/cifar10_micro_final.sh.
_ENAS_MICRO = dataclasses.replace(
    _ENAS_MACRO,
    preset="enas_micro",
    network="enas_micro",  # E, with its 36 filters.
    dropout=0.2,  # E: keep_prob 0.8.
    drop_path=0.4,  # E: drop_path_keep_prob 0.6.
    auxiliary_weight=0.4,  # E.
    batch_size=144,  # E.
    num_epochs=630,  # E: the sixth run.
    min_learning_rate=1e-4,  # E.
    cutout=16,  # E; its squares begin where ours have their middle.
)

IMAGE_PRESETS = {
    config.preset: config
    for config in (_TINY, _DEMO, _ZOPH2016_CIFAR10, _ENAS_MACRO, _ENAS_MICRO)
}
