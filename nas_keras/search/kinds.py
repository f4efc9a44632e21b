"""The kinds of search, by what they train on. No TensorFlow, no Keras."""

from nas_keras.search.image_kind import ImageKind
from nas_keras.search.kind import Kind
from nas_keras.search.named_spaces import IMAGES
from nas_keras.search.named_spaces import TEXT
from nas_keras.search.text_kind import TextKind

KINDS: dict[str, Kind] = {TEXT: TextKind(), IMAGES: ImageKind()}
