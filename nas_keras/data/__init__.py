"""Text for language models: where it comes from and how it becomes ids.

    text (embedded, TFDS or a file) -> build_corpus -> Corpus (int32 ids)

Needs NumPy only; TensorFlow Datasets is imported when a data set of it is
asked for. What a batch looks like is the business of `nas_keras.tasks`.
"""

from nas_keras.data.text import DATASETS as DATASETS
from nas_keras.data.text import LEVELS as LEVELS
from nas_keras.data.text import Corpus as Corpus
from nas_keras.data.text import build_corpus as build_corpus
from nas_keras.data.text import embedded_text as embedded_text
from nas_keras.data.text import open_corpus as open_corpus
from nas_keras.data.text import read_text_file as read_text_file
from nas_keras.data.text import tiny_shakespeare as tiny_shakespeare
