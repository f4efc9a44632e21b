"""Text for language models and translation, images: where from, as arrays.

    text (embedded, files, TFDS) -> build_corpus -> Corpus (int32 ids)
    pairs (embedded, files, TFDS) -> open_pairs -> ParallelCorpus (text)
    images (digits, folders, TFDS) -> open_images -> ImageSet (uint8)

No TensorFlow: TensorFlow Datasets is imported when a data set of it is asked
for. What a batch looks like is the business of `nas_keras.tasks`.
"""

from nas_keras.data.image_sources import open_images as open_images
from nas_keras.data.images import Images as Images
from nas_keras.data.images import ImageSet as ImageSet
from nas_keras.data.images import image_set as image_set
from nas_keras.data.parallel import ParallelCorpus as ParallelCorpus
from nas_keras.data.parallel import parallel_corpus as parallel_corpus
from nas_keras.data.parallel_sources import open_pairs as open_pairs
from nas_keras.data.sources import DATASETS as DATASETS
from nas_keras.data.sources import embedded_text as embedded_text
from nas_keras.data.sources import is_dataset as is_dataset
from nas_keras.data.sources import (
    is_read_by_tensorflow as is_read_by_tensorflow,
)
from nas_keras.data.sources import open_corpus as open_corpus
from nas_keras.data.sources import read_folder as read_folder
from nas_keras.data.sources import read_text_file as read_text_file
from nas_keras.data.sources import tfds_parts as tfds_parts
from nas_keras.data.sources import tiny_shakespeare as tiny_shakespeare
from nas_keras.data.subwords import Subwords as Subwords
from nas_keras.data.subwords import train_subwords as train_subwords
from nas_keras.data.text import LEVELS as LEVELS
from nas_keras.data.text import Corpus as Corpus
from nas_keras.data.text import build_corpus as build_corpus
from nas_keras.data.text import corpus_of_parts as corpus_of_parts
