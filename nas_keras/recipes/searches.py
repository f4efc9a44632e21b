"""The searches of `nas-search` by name. No TensorFlow, no Keras."""

from nas_keras.recipes.image_searches import IMAGE_PRESETS
from nas_keras.recipes.text_searches import TEXT_PRESETS

PRESETS = {config.preset: config for config in (*TEXT_PRESETS, *IMAGE_PRESETS)}
