"""Search spaces: what may be built, as a sequence of choices."""

from nas_keras.spaces.space import Choice as Choice
from nas_keras.spaces.space import Space as Space
from nas_keras.spaces.tree import Tree as Tree
from nas_keras.spaces.tree import tree_space as tree_space
