"""Images and their classes, in memory: three parts of one size.

Nothing is scaled, cropped or shuffled. Where images come from is the business
of `image_sources.py`, what a batch looks like that of `nas_keras.tasks`.
Axes: N images of a part, H rows, W columns, C channels, K classes.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np

from nas_keras.data.checks import check
from nas_keras.data.checks import check_int
from nas_keras.data.text import PARTS


class Images(NamedTuple):
    """Images with their classes.

    Attributes:
        pixels: uint8 [N, H, W, C].
        labels: int32 [N], from 0 to K-1.
    """

    pixels: np.ndarray
    labels: np.ndarray

    def take(self, places: np.ndarray) -> "Images":
        """Returns the images at some places [M], in their order."""
        return Images(self.pixels[places], self.labels[places])


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Images for training and for scores, all of one size.

    Attributes:
        name: Where the images come from.
        class_names: Of the K classes; a label is a place in it.
        train, validation, test: `Images`. Validation may have none.

    Raises:
        ValueError: If a part is not uint8 [N, H, W, C] with a label for each
            image, sizes differ, training or test have no image, or a label is
            not in [0, K).

    Example:

    >>> grey = Images(np.zeros((6, 4, 4, 1), np.uint8), np.arange(6) % 2)
    >>> images = ImageSet("grey", ("even", "odd"), grey, grey, grey)
    >>> images.num_classes, images.image_shape, len(images.train.labels)
    (2, (4, 4, 1), 6)
    """

    name: str
    class_names: tuple[str, ...]
    train: Images = dataclasses.field(repr=False)
    validation: Images = dataclasses.field(repr=False)
    test: Images = dataclasses.field(repr=False)

    def __post_init__(self) -> None:
        good = isinstance(self.class_names, tuple) and len(self.class_names)
        good = good and all(isinstance(name, str) for name in self.class_names)
        rule = "a tuple of names, at least one"
        check(good, "class_names", rule, self.class_names)
        for part in PARTS:
            object.__setattr__(self, part, self._frozen(part))

    def _frozen(self, part: str) -> Images:
        """Returns a part, checked, as arrays of its own."""
        pixels, labels = map(np.asarray, getattr(self, part))
        good = pixels.dtype == np.uint8 and pixels.ndim == 4
        good = good and all(pixels.shape[1:])
        received = f"{pixels.dtype} {pixels.shape}"
        check(good, part, "of pixels uint8 [N, H, W, C]", received)
        shape = self.train[0].shape[1:]
        rule = f"of images {shape}, as `train` is"
        check(pixels.shape[1:] == shape, part, rule, pixels.shape[1:])
        good = len(pixels) > 0 or part == "validation"
        check(good, part, "images, at least one", received)
        good = np.issubdtype(labels.dtype, np.integer)
        good = good and labels.shape == pixels.shape[:1]
        rule = f"of integer labels [{len(pixels)}]"
        check(good, part, rule, f"{labels.dtype} {labels.shape}")
        check_labels(part, labels, self.num_classes)
        if pixels.flags.writeable:
            pixels = pixels.copy()  # Ours to freeze.
        labels = labels.astype(np.int32)
        for array in (pixels, labels):
            array.flags.writeable = False
        return Images(pixels, labels)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """H, W, C."""
        return self.train.pixels.shape[1:]

    @functools.cached_property
    def sha256(self) -> str:
        """Identifies classes, pixels and labels, not the name: 64 hex digits.

        Of images in the same parts and the same order.
        """
        digest = hashlib.sha256(json.dumps(self.class_names).encode("ascii"))
        for part in PARTS:
            for array in getattr(self, part):
                digest.update(f"\n{array.shape}\n".encode("ascii"))
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def check_labels(part: str, labels: np.ndarray, num_classes: int) -> None:
    """Refuses a label that is the number of no class.

    Raises:
        ValueError: It says which is the first, and where.
    """
    places = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(places):
        raise ValueError(
            f"Labels of {part} must be in [0, {num_classes}), one of the "
            f"{num_classes} classes. Received: {labels[places[0]]} for image "
            f"{places[0]}, and {len(places) - 1} more."
        )


def image_set(
    train: Images,
    test: Images,
    class_names: Sequence[str],
    *,
    name: str,
    validation: Images | None = None,
    num_validation: int = 0,
    max_train: int = 0,
    seed: int = 0,
) -> ImageSet:
    """Returns images as a set, validation split off the training part.

    Both splits keep the shares of the classes, as near as whole images do, and
    leave each class a training image (see `stratified`).

    Args:
        train: What training and validation are taken from.
        test: Left as it is.
        class_names, name: As of an `ImageSet`.
        validation: That part, if there is one; `num_validation` is 0 then.
        num_validation: Images that are split off.
        max_train: Training images to keep after that; 0: all.
        seed: Decides which; with it, so do the labels, and nothing else.

    Raises:
        ValueError: If there are not as many images, too few are left for one
            of each class, or as `ImageSet` raises.
    """
    check_int("num_validation", num_validation, 0)
    check_int("max_train", max_train, 0)
    train = Images(*map(np.asarray, train))
    rest = np.arange(len(train.labels))
    if validation is None:
        rest, chosen = stratified(
            train.labels, num_validation, seed, "num_validation"
        )
        validation = train.take(chosen)
    elif num_validation:
        rule = f"0 where the validation images are given, of {name!r}"
        check(False, "num_validation", rule, num_validation)
    if max_train:
        _, chosen = stratified(
            train.labels[rest], max_train, seed, "max_train", is_all_good=True
        )
        rest = rest[chosen]
    if len(rest) < len(train.labels):
        train = train.take(rest)
    return ImageSet(name, tuple(class_names), train, validation, test)


def stratified(
    labels: np.ndarray,
    num: int,
    seed: int,
    argument: str = "num",
    is_all_good: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places of those that are left, and of `num` chosen ones.

    Of each class, the share that is chosen is that of all; what whole images
    leave over goes to the classes with the largest remainders. But an image of
    each class is left, and one is chosen of each class that has two, if `num`
    is enough for that; where this changes a share, the others change with it.

    Args:
        labels: int [N].
        num: How many to choose.
        seed: Of the choice.
        argument: What messages call `num`.
        is_all_good: Whether none need be left: one of each class is chosen.

    Returns:
        Two arrays int64, both ascending.

    Raises:
        ValueError: If there are not so many, or too few are left, or chosen
            with `is_all_good`, for one of each class.
    """
    total = len(labels)
    classes, counts = np.unique(labels, return_counts=True)
    if is_all_good:
        rule = f"at most {total}, of {total} images"
        check(num <= total, argument, rule, num)
        rule = f"at least {len(classes)}, an image of each class"
        check(num >= len(classes), argument, rule, num)
        least, most = np.ones_like(counts), counts
    else:
        limit = total - len(classes)
        rule = f"at most {limit}, of {total} images, so that one is left of "
        rule += f"each of {len(classes)} classes"
        check(num <= limit, argument, rule, num)
        most = counts - 1
        is_enough = num >= np.count_nonzero(most)
        least = np.minimum(most, 1) if is_enough else np.zeros_like(counts)
    shares = _shares(counts, num, least, most)
    rng = np.random.default_rng([seed, num])
    is_chosen = np.zeros(total, bool)
    for label, share in zip(classes, shares, strict=True):
        places = rng.permutation(np.flatnonzero(labels == label))
        is_chosen[places[:share]] = True
    return np.flatnonzero(~is_chosen), np.flatnonzero(is_chosen)


def _shares(
    counts: np.ndarray, num: int, least: np.ndarray, most: np.ndarray
) -> np.ndarray:
    """Returns how many of each class make `num`, each between two bounds.

    Images go where the largest remainders are, and then from or to the class
    that is farthest from its exact share and may still change.

    Args:
        counts: int [K], with `least <= most <= counts`.
        num: From the sum of `least` to that of `most`.
        least, most: int [K].
    """
    exact = counts * num / max(counts.sum(), 1)
    shares = np.floor(exact).astype(int)
    order = np.argsort(shares - exact, kind="stable")
    shares[order[: num - shares.sum()]] += 1
    shares = np.clip(shares, least, most)
    while missing := num - shares.sum():
        step = np.sign(missing)
        may_change = shares < most if step > 0 else shares > least
        wish = np.where(may_change, (exact - shares) * step, -np.inf)
        shares[np.argmax(wish)] += step
    return shares


def describe(images: ImageSet) -> dict[str, Any]:
    """Returns what a set is known by, JSON-able: not its name.

    The name of a folder says nothing of the images in it.
    """
    return {
        "sha256": images.sha256,
        "num_classes": images.num_classes,
        "image_shape": list(images.image_shape),
        **{f"num_{part}": len(getattr(images, part).labels) for part in PARTS},
    }
