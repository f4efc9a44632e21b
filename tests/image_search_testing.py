"""What tests of searches for image networks share: small ones of each space."""

import dataclasses

from nas_keras.recipes.searches import PRESETS

TINY = PRESETS["tiny_conv"]
DEEP = dict(
    space="nas_conv", evaluator="scratch", layers=4, depth_first=2,
    depth_step=2, filters=36, kernels=(1, 3), filter_options=(4, 6),
)  # fmt: skip
MICRO = dict(space="enas_micro", layers=12, nodes=2, cells=2)


def tiny_search(**changes):
    return dataclasses.replace(TINY, **changes)


def tiny_child(**changes):
    return dataclasses.replace(TINY.child, **changes)
