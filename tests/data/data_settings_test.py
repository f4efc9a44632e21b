"""Tests of the settings of data: what they refuse, and what they open."""

import pathlib

import numpy as np
import pytest

from nas_keras import data
from nas_keras.data import ImageData
from nas_keras.data import PairData
from nas_keras.data import TextData
from tests.raising import raises


def test_a_text_is_that_of_its_arguments(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one two three four\n" * 40)
    text = TextData(text_file=path, level="word", max_vocabulary=4)
    assert text.text_file == str(path)
    want = data.open_corpus(text_file=path, level="word", max_vocabulary=4)
    found = text.open()
    assert (found.name, found.sha256) == ("a.txt", want.sha256)
    assert found.vocabulary_size == 4


def test_a_text_is_read_from_the_folder_of_data(tmp_path):
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.txt").write_text(f"some text of {part}\n")
    corpus = TextData(dataset="folder").open(tmp_path)
    assert corpus.decode(corpus.test).endswith("of test\n")


def test_pairs_are_those_of_their_arguments(tmp_path):
    for part in ("train", "valid", "test_a", "test_b"):
        for language in ("fr", "en"):
            text = f"{language} of {part}\n"
            (tmp_path / f"{part}.{language}").write_text(text)
    pairs = PairData("files", source="fr", target="en", test_set="test_b")
    corpus = pairs.open(tmp_path)
    assert corpus.test == (("fr of test_b", "en of test_b"),)
    assert corpus.sha256 == data.open_pairs(
        "files", tmp_path, "fr", "en", "test_b"
    ).sha256  # fmt: skip


def test_images_are_those_of_their_arguments():
    pytest.importorskip("sklearn")
    images = ImageData(num_validation=100, max_train=50, split_seed=3).open()
    want = data.open_images(
        num_validation=100, max_train=50, seed=3
    )  # fmt: skip
    assert images.sha256 == want.sha256
    assert (len(images.validation.labels), len(images.train.labels)) == (
        100,
        50,
    )
    other = ImageData(num_validation=100, max_train=50, split_seed=4).open()
    assert not np.array_equal(images.train.pixels, other.train.pixels)


@pytest.mark.parametrize(
    ("cls", "changes", "message"),
    [
        (TextData, {"dataset": "mnist"},
         "dataset must be one of ('embedded', 'tiny_shakespeare', 'ptb', "
         "'folder') or 'tfds:NAME'. Received: dataset='mnist'."),
        (TextData, {"text_file": ""}, "text_file must be a path, or None."),
        (TextData, {"text_file": "a.txt", "dataset": "ptb"},
         "dataset must be left out with text_file='a.txt'. Received: "
         "dataset='ptb'."),
        (TextData, {"level": "byte"},
         "level must be one of ['char', 'word']. Received: level='byte'."),
        (TextData, {"max_vocabulary": 1},
         "max_vocabulary must be an int of at least 2, below 2**63. Received: "
         "max_vocabulary=1."),
        (PairData, {"dataset": "tfds:"},
         "dataset must be one of ('embedded', 'files') or 'tfds:NAME'. "
         "Received: dataset='tfds:'."),
        (PairData, {"source": " "},
         "source must be the name of a language. Received: source=' '."),
        (PairData, {"target": "en"},
         "target must be another language than source='en'. Received: "
         "target='en'."),
        (PairData, {"test_set": "a"},
         "test_set must be left out unless dataset='files'. Received: "
         "test_set='a'."),
        (ImageData, {"dataset": "mnist"},
         "dataset must be one of ('digits', 'cifar10', 'folder') or "
         "'tfds:NAME'. Received: dataset='mnist'."),
        (ImageData, {"image_dir": "a"},
         "image_dir must be left out with dataset='digits'. Received: "
         "image_dir='a'."),
        (ImageData, {"dataset": "folder"},
         "image_dir must be given with dataset='folder'. Received: "
         "image_dir=None."),
        (ImageData, {"num_validation": -1},
         "num_validation must be an int of at least 0, below 2**63. Received: "
         "num_validation=-1."),
    ],
)  # fmt: skip
def test_wrong_data_are_refused(cls, changes, message):
    with raises(message):
        cls(**changes)


def test_a_path_may_be_an_object():
    images = ImageData("folder", image_dir=pathlib.Path("pets"))
    assert images.image_dir == "pets"
    with raises("image_dir must be a folder. Received: image_dir='pets'."):
        images.open()
