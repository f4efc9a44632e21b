"""Search spaces: what may be built, as a sequence of choices."""

from nas_keras.spaces.enas_recurrent import RecurrentDag as RecurrentDag
from nas_keras.spaces.enas_recurrent import (
    enas_recurrent_space as enas_recurrent_space,
)
from nas_keras.spaces.space import Choice as Choice
from nas_keras.spaces.space import Space as Space
from nas_keras.spaces.tree import Tree as Tree
from nas_keras.spaces.tree import tree_space as tree_space
