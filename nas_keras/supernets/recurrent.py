"""The recurrent layers to which an architecture of a space is data."""

from collections.abc import Callable
from typing import Any

import keras

from nas_keras import libraries
from nas_keras.spaces.enas_recurrent import RecurrentDag
from nas_keras.spaces.space import Space
from nas_keras.spaces.tree import Tree
from nas_keras.supernets.dags import DagRNN
from nas_keras.supernets.trees import TreeRNN
from nas_keras.tasks.language_model.config import LanguageModelConfig


def layer_maker(
    space: Space, config: LanguageModelConfig, shared: bool
) -> Callable[[int], keras.layers.Layer]:
    """Returns what makes a layer whose variable `tokens` chooses the cell.

    Args:
        space: One whose `structure` is a `Tree` or a `RecurrentDag`.
        config: Of the model that the layer is for.
        shared: Whether its weights are shared by all architectures, or of one
            at a time. In a tree space these are the same matrices.

    Raises:
        ValueError: If the space has another structure, the model a bias, or
            Keras another backend than TensorFlow.
    """
    libraries.check_tensorflow("where the architecture is data")
    structure = space.structure
    if not isinstance(structure, Tree | RecurrentDag):
        raise ValueError(
            "The architecture can be data in spaces made by tree_space and "
            f"enas_recurrent_space. Received: space={space.name!r}. For "
            "others use FunctionEvaluator."
        )
    if config.use_bias:
        raise ValueError(
            f"The cells of {space.name} have no bias. Received: "
            "task.config.use_bias=True."
        )
    arguments: dict[str, Any] = {"recurrent_dropout": config.recurrent_dropout}
    if isinstance(structure, Tree):
        return lambda units: TreeRNN(units, structure, **arguments)
    arguments["jit_compile"] = config.jit_compile is not False
    return lambda units: DagRNN(units, structure, shared, **arguments)
