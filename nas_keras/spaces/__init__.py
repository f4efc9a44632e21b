"""Search spaces: what may be built, as a sequence of choices."""

from nas_keras.spaces.enas_macro import EnasMacro as EnasMacro
from nas_keras.spaces.enas_macro import enas_macro_space as enas_macro_space
from nas_keras.spaces.enas_micro import EnasMicro as EnasMicro
from nas_keras.spaces.enas_micro import enas_micro_space as enas_micro_space
from nas_keras.spaces.enas_recurrent import RecurrentDag as RecurrentDag
from nas_keras.spaces.enas_recurrent import (
    enas_recurrent_space as enas_recurrent_space,
)
from nas_keras.spaces.nas_conv import NasConv as NasConv
from nas_keras.spaces.nas_conv import nas_conv_space as nas_conv_space
from nas_keras.spaces.space import Choice as Choice
from nas_keras.spaces.space import Space as Space
from nas_keras.spaces.tree import Tree as Tree
from nas_keras.spaces.tree import tree_space as tree_space
