"""Tests of nas_keras.data.image_sources: digits, sets of TFDS."""

import pathlib

import numpy as np
import pytest

from nas_keras.data import image_sources
from tests import forked
from tests.raising import raises


class TestDigits:
    def test_the_digits_are_those_of_scikit_learn(self):
        datasets = pytest.importorskip("sklearn.datasets")
        found = image_sources.open_images(num_validation=180, seed=1)
        assert found.class_names == tuple("0123456789")
        assert found.image_shape == (8, 8, 1)
        sizes = [len(part.labels) for part in
                 (found.train, found.validation, found.test)]  # fmt: skip
        assert sizes == [1257, 180, 360]
        digits = datasets.load_digits()
        wanted = {
            np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
            for image, label in zip(digits.images, digits.target, strict=True)
        }
        for part in (found.train, found.validation, found.test):
            for image, label in zip(*part, strict=True):
                assert wanted[image.tobytes()] == label

    def test_a_seed_decides_validation_and_never_the_test(self):
        pytest.importorskip("sklearn")
        sets = [
            image_sources.open_images("digits", num_validation=90, seed=seed)
            for seed in (0, 0, 1)
        ]
        assert sets[0].sha256 == sets[1].sha256 != sets[2].sha256
        np.testing.assert_array_equal(sets[0].test.pixels, sets[2].test.pixels)


_ARGUMENTS = [
    ({"dataset": "mnist"}, "dataset must be one of ('digits', 'cifar10', "
     "'folder') or 'tfds:NAME'. Received: dataset='mnist'."),
    ({"dataset": "tfds:"}, "dataset must be one of"),
    ({"dataset": "folder"}, "image_dir must be given with dataset='folder'"),
    ({"dataset": "digits", "image_dir": "x"},
     "image_dir must be left out with dataset='digits'"),
    ({"data_dir": "x"}, "data_dir must be left out with dataset='digits'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), _ARGUMENTS)
def test_arguments_are_checked(arguments, message):
    with raises(message):
        image_sources.open_images(**arguments)


_TFDS = """
import sys
import numpy as np
import tensorflow_datasets as tfds
from nas_keras.data.image_sources import open_images

class Squares(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    SPLITS = {"train": 12, "test": 4}
    SHAPE = (6, 6, 3)
    LABEL = tfds.features.ClassLabel(names=["dark", "light"])

    def _info(self):
        features = {"image": tfds.features.Image(shape=self.SHAPE),
                    "label": self.LABEL}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"), disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {s: self._generate_examples(n) for s, n in self.SPLITS.items()}

    def _generate_examples(self, num):
        for k in range(num):
            size = 6 if self.SHAPE[0] else 6 + k
            image = np.full((size, 6, 3), 20 * k, np.uint8)
            yield k, {"image": image, "label": k % 2}

class Validated(Squares):
    SPLITS = {"train": 12, "validation": 4}

class Mixed(Squares):
    SHAPE = (None, None, 3)

class Untested(Squares):
    SPLITS = {"train": 12}

class Numbers(Squares):
    LABEL = tfds.features.Scalar(np.int64)

def fails(name, *parts):
    try:
        open_images(f"tfds:{name}", data_dir=sys.argv[1])
    except ValueError as error:
        assert all(part in str(error) for part in parts), error
    else:
        raise SystemExit(name)

fails("squares", "is not at")
for kind in (Squares, Validated, Mixed, Untested, Numbers):
    kind(data_dir=sys.argv[1]).download_and_prepare()
for name in ("squares", "validated"):
    found = open_images(f"tfds:{name}", None, sys.argv[1], num_validation=4)
    assert found.class_names == ("dark", "light")
    assert [len(part.labels) for part in
            (found.train, found.validation, found.test)] == [8, 4, 4]
    assert found.test.pixels[:, 0, 0, 0].tolist() == [0, 20, 40, 60]
    assert found.test.labels.tolist() == [0, 1, 0, 1]
fails("mixed", "must have images of one size. Received: (6, 6, 3) for image 0 "
      "of 'train', (7, 6, 3) for image 1.")
fails("untested", "a split for training and one to test on", "['train']")
fails("numbers", "must be a data set of images with one class each")
"""


def test_sets_of_tfds_are_read(tmp_path):
    pytest.importorskip("PIL.Image")
    # A process of its own: it registers data sets.
    result = forked.run("-c", _TFDS, tmp_path)
    assert result.returncode == 0, result.stderr[-3_000:]
    # The program limits TensorFlow's threads before TensorFlow reads.
    program = (
        pathlib.Path(__file__).parents[2] / "train/image_classification.py"
    )
    result = forked.run(
        program, "--preset=tiny", "--dataset=tfds:squares",
        f"--data_dir={tmp_path}", f"--workdir={tmp_path / 'run'}",
        "--num_validation=4", "--max_train=0", "--batch_size=4",
        "--num_epochs=1",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3_000:]
