"""What tests of searches for image networks share: small ones of each space."""

from nas_keras.evaluators.config import FromScratch
from nas_keras.experiment.config import Growth
from nas_keras.recipes.searches import SEARCHES
from nas_keras.spaces import EnasMicro
from nas_keras.spaces import NasConv

TINY = SEARCHES["tiny_conv"]
SCRATCH = dict(evaluator=FromScratch(reward="accuracy"))
IN_SPACE = dict(finals=TINY.finals.replace(space=None))  # Of the same size.
DEEP = {
    **SCRATCH, **IN_SPACE,
    "space": NasConv(layers=4, kernels=(1, 3), filters=(4, 6)),
    "growth": Growth(first=2, step=2),
}  # fmt: skip
MICRO = {**IN_SPACE, "space": EnasMicro(nodes=2, cells=2, filters=4)}


def tiny_search(**changes):
    return TINY.replace(**changes)


def tiny_child(**changes):
    return TINY.child.replace(**changes)


def tiny_finals(**changes):
    return TINY.finals.replace(**changes)


def micro_finals(**changes):
    """Returns finals of the size of the search, with changes of training."""
    training = TINY.finals.training.replace(**changes)
    return TINY.finals.replace(space=None, training=training)
