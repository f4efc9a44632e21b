"""Text for language models and translation, images: where from, as arrays.

    TextData (embedded, files, TFDS) -> open -> Corpus (int32 ids)
    PairData (embedded, files, TFDS) -> open -> ParallelCorpus (text)
    ImageData (digits, folders, TFDS) -> open -> ImageSet (uint8)

No TensorFlow: TensorFlow Datasets is imported when a data set of it is asked
for. What a batch looks like is the business of `nas_keras.tasks`.
"""

from nas_keras.data.image_sources import ImageData
from nas_keras.data.image_sources import open_images
from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.data.images import image_set
from nas_keras.data.parallel import ParallelCorpus
from nas_keras.data.parallel import parallel_corpus
from nas_keras.data.parallel_sources import PairData
from nas_keras.data.parallel_sources import open_pairs
from nas_keras.data.sources import DATASETS
from nas_keras.data.sources import TextData
from nas_keras.data.sources import embedded_text
from nas_keras.data.sources import is_dataset
from nas_keras.data.sources import is_read_by_tensorflow
from nas_keras.data.sources import open_corpus
from nas_keras.data.sources import read_folder
from nas_keras.data.sources import read_text_file
from nas_keras.data.sources import tfds_parts
from nas_keras.data.sources import tiny_shakespeare
from nas_keras.data.subwords import Subwords
from nas_keras.data.subwords import train_subwords
from nas_keras.data.text import LEVELS
from nas_keras.data.text import Corpus
from nas_keras.data.text import build_corpus
from nas_keras.data.text import corpus_of_parts

__all__ = (
    "Corpus",
    "DATASETS",
    "ImageData",
    "ImageSet",
    "Images",
    "LEVELS",
    "PairData",
    "ParallelCorpus",
    "Subwords",
    "TextData",
    "build_corpus",
    "corpus_of_parts",
    "embedded_text",
    "image_set",
    "is_dataset",
    "is_read_by_tensorflow",
    "open_corpus",
    "open_images",
    "open_pairs",
    "parallel_corpus",
    "read_folder",
    "read_text_file",
    "tfds_parts",
    "tiny_shakespeare",
    "train_subwords",
)
