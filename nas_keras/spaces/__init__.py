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

# Name -> the settings of a space.
SPACES = {
    "tree": Tree,
    "enas_recurrent": RecurrentDag,
    "nas_conv": NasConv,
    "enas_macro": EnasMacro,
    "enas_micro": EnasMicro,
}

__all__ = (
    "Choice",
    "EnasMacro",
    "EnasMicro",
    "NasConv",
    "RecurrentDag",
    "SPACES",
    "Space",
    "Tree",
    "enas_macro_space",
    "enas_micro_space",
    "enas_recurrent_space",
    "nas_conv_space",
    "tree_space",
)
