"""The kinds of search, by what they train on. No TensorFlow, no Keras."""

from nas_keras.experiment.image_kind import ImageKind
from nas_keras.experiment.kind import Kind
from nas_keras.experiment.named_spaces import IMAGES
from nas_keras.experiment.named_spaces import TEXT
from nas_keras.experiment.text_kind import TextKind

KINDS: dict[str, Kind] = {TEXT: TextKind(), IMAGES: ImageKind()}
