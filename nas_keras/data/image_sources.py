"""Where images come from: scikit-learn's digits, TFDS, folders of files.

`ImageData` says which images; `open_images` is the same as a function.
scikit-learn, Pillow and TensorFlow Datasets are imported when they are needed.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas_keras import libraries
from nas_keras.data.checks import check
from nas_keras.data.image_folder import read_image_folder
from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.data.images import image_set
from nas_keras.data.images import stratified
from nas_keras.data.sources import PART_NAMES
from nas_keras.data.sources import TFDS
from nas_keras.data.sources import is_tfds
from nas_keras.data.sources import open_tfds
from nas_keras.settings import Settings
from nas_keras.settings import optional
from nas_keras.settings import path as a_path
from nas_keras.settings import refuse
from nas_keras.settings import setting
from nas_keras.settings import text as a_text
from nas_keras.settings import whole

DATASETS = ("digits", "cifar10", "folder")
_NUM_TEST_DIGITS = 360  # A fifth; the same ones for every seed.
_Path = str | os.PathLike


def is_image_dataset(name: str) -> bool:
    """Returns whether `open_images` knows a data set of this name."""
    return name in DATASETS or is_tfds(name)


class ImageData(Settings):
    """Images with classes, and which of them are for validation."""

    paths = ("image_dir",)  # What is known by its content instead.

    dataset: str = setting(
        "digits",
        "Data set: 'digits', scikit-learn's 1,797 of 8 by 8 points; 'folder', "
        "files in `image_dir` (see `read_image_folder`); 'cifar10', or "
        "'tfds:NAME' for any set of TensorFlow Datasets of images with one "
        "class each.",
        a_text(f"one of {DATASETS} or '{TFDS}NAME'", is_image_dataset),
    )
    image_dir: str | None = setting(
        None, "Folder of image files, of dataset='folder'.", optional(a_path())
    )
    num_validation: int = setting(
        0,
        "Training images to split off for validation; 0 where the data set "
        "has a validation part. Without one nothing is known before the end "
        "of a training, and the weights are the last.",
        whole(0),
    )
    max_train: int = setting(
        0, "Training images to keep after that; 0: all.", whole(0)
    )
    split_seed: int = setting(
        0, "Seed that decides which images are split off and kept.", whole(0)
    )

    def _check(self) -> None:
        is_folder = self.dataset == "folder"
        if is_folder != (self.image_dir is not None):
            rule = "given" if is_folder else "left out"
            rule += f" with dataset={self.dataset!r}"
            refuse("image_dir", rule, self.image_dir)

    def open(self, data_dir: _Path | None = None) -> ImageSet:
        """Returns the images.

        Args:
            data_dir: Folder of TFDS data sets; None: TFDS's own.

        Raises:
            ValueError: If the images are not there, are of several sizes, or
                one cannot be read.
            ImportError: If scikit-learn or Pillow, which the data set needs,
                is not installed.
        """
        return open_images(
            self.dataset,
            self.image_dir,
            data_dir,
            self.num_validation,
            self.max_train,
            self.split_seed,
        )


def open_images(
    dataset: str | None = None,
    image_dir: _Path | None = None,
    data_dir: _Path | None = None,
    num_validation: int = 0,
    max_train: int = 0,
    seed: int = 0,
) -> ImageSet:
    """Returns images.

    Args:
        dataset: As for `ImageData`; default: the folder if `image_dir` is
            given, else the digits.
        image_dir, num_validation, max_train: As for `ImageData`.
        data_dir: As for `ImageData.open`.
        seed: As `split_seed` for `ImageData`.

    Raises:
        ValueError: If an argument is not as above, the images are not there,
            are of several sizes, or one cannot be read.
        ImportError: If scikit-learn or Pillow, which the data set needs, is
            not installed.
    """
    if dataset is None:
        dataset = "digits" if image_dir is None else "folder"
    ImageData(dataset, image_dir, num_validation, max_train, seed)  # Checks.
    if data_dir is not None:
        rule = f"left out with dataset={dataset!r}"
        is_local = dataset in ("digits", "folder")
        check(not is_local, "data_dir", rule, str(data_dir))
    class_names: Sequence[str]
    if dataset == "digits":
        parts, class_names, name = *_digits(), dataset
    elif image_dir is not None:
        parts, class_names = read_image_folder(image_dir)
        name = pathlib.Path(image_dir).absolute().name  # That of "." is "".
    else:
        name = dataset
        parts, class_names = _from_tfds(dataset.removeprefix(TFDS), data_dir)
    return image_set(
        **parts,
        class_names=class_names,
        name=name,
        num_validation=num_validation,
        max_train=max_train,
        seed=seed,
    )


def _digits() -> tuple[dict[str, Images], tuple[str, ...]]:
    with libraries.needed("dataset='digits' needs scikit-learn", "images"):
        from sklearn import datasets
    digits = datasets.load_digits()
    # From 0 to 16, rounded; 255 is to be white.
    pixels = (digits.images * 255 / 16 + 0.5).astype(np.uint8)[..., None]
    images = Images(pixels, digits.target.astype(np.int32))
    rest, chosen = stratified(images.labels, _NUM_TEST_DIGITS, 0)
    parts = {"train": images.take(rest), "test": images.take(chosen)}
    return parts, tuple(str(k) for k in range(10))


def _from_tfds(
    name: str, data_dir: _Path | None
) -> tuple[dict[str, Images], Sequence[str]]:
    """Returns the parts of a set of TFDS, and the names of its classes.

    Where it has no split of test images, as ImageNet, those for validation are
    the test images.
    """
    import tensorflow_datasets as tfds

    builder = open_tfds(name, data_dir, instead="digits")
    features = builder.info.features
    keys = builder.info.supervised_keys or (None, None)
    kinds = tfds.features.Image, tfds.features.ClassLabel
    good = isinstance(features, tfds.features.FeaturesDict) and all(
        key in features and isinstance(features[key], kind)
        for key, kind in zip(keys, kinds, strict=True)
    )
    rule = "a data set of images with one class each"
    check(good, "dataset", rule, TFDS + name)
    parts = {
        part: _rows(builder, split, name)
        for part, split in _splits(builder, name).items()
    }
    return parts, tuple(features[keys[1]].names)


def _splits(builder: Any, name: str) -> dict[str, str]:
    """Returns the split of each part that there is."""
    splits = sorted(builder.info.splits)
    found = {
        part: split
        for part, names in PART_NAMES.items()
        for split in splits
        if split in names
    }
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
    if not {"train", "test"} <= found.keys():
        raise ValueError(
            f"dataset={TFDS + name!r} must have a split for training and one "
            f"to test on, named as in {dict(PART_NAMES)}. Received: splits "
            f"{splits}."
        )
    return found


def _rows(builder: Any, split: str, name: str) -> Images:
    """Returns the images of a split, in their order."""
    import tensorflow_datasets as tfds

    rows = builder.as_dataset(split=split, as_supervised=True)
    pixels: list[np.ndarray] = []
    labels = []
    for place, (image, label) in enumerate(tfds.as_numpy(rows)):
        if pixels and image.shape != pixels[0].shape:
            raise ValueError(
                f"dataset={TFDS + name!r} must have images of one size. "
                f"Received: {pixels[0].shape} for image 0 of {split!r}, "
                f"{image.shape} for image {place}."
            )
        pixels.append(image)
        labels.append(label)
    return Images(np.stack(pixels), np.array(labels, np.int32))
