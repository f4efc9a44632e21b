"""Search spaces: what may be built, as a sequence of choices."""

from nas_keras.spaces.enas_macro import EnasMacro
from nas_keras.spaces.enas_macro import enas_macro_space
from nas_keras.spaces.enas_micro import EnasMicro
from nas_keras.spaces.enas_micro import enas_micro_space
from nas_keras.spaces.enas_recurrent import RecurrentDag
from nas_keras.spaces.enas_recurrent import enas_recurrent_space
from nas_keras.spaces.nas_conv import NasConv
from nas_keras.spaces.nas_conv import nas_conv_space
from nas_keras.spaces.space import Choice
from nas_keras.spaces.space import Space
from nas_keras.spaces.tree import Tree
from nas_keras.spaces.tree import tree_space

__all__ = (
    "Choice",
    "EnasMacro",
    "EnasMicro",
    "NasConv",
    "RecurrentDag",
    "Space",
    "Tree",
    "enas_macro_space",
    "enas_micro_space",
    "enas_recurrent_space",
    "nas_conv_space",
    "tree_space",
)
