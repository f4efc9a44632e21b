"""The searches of `nas-search` by name. No TensorFlow, no Keras."""

from nas_keras.search.image_presets import IMAGE_PRESETS
from nas_keras.search.text_presets import TEXT_PRESETS

PRESETS = {config.preset: config for config in (*TEXT_PRESETS, *IMAGE_PRESETS)}
