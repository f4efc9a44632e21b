"""Tests of nas_keras.data.images: sets, their checks, splits."""

import collections
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.data import images
from tests.raising import raises


def _images(num, num_classes=3, size=(2, 3, 1), seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (num, *size), dtype=np.uint8)
    return images.Images(pixels, rng.integers(0, num_classes, num))


def _set(**changes):
    arguments = {
        "name": "noise",
        "class_names": ("a", "b", "c"),
        "train": _images(9),
        "validation": _images(4, seed=1),
        "test": _images(5, seed=2),
        **changes,
    }
    return images.ImageSet(**arguments)


def test_a_set_holds_copies_that_nobody_can_change():
    train = _images(9)
    found = _set(train=train)
    train.pixels[0] += 1
    np.testing.assert_array_equal(found.train.pixels[1:], train.pixels[1:])
    assert (found.train.pixels[0] != train.pixels[0]).all()
    assert found.train.labels.dtype == np.int32
    with pytest.raises(ValueError, match="read-only"):
        found.train.pixels[0] = 0
    assert found.num_classes == 3
    assert found.image_shape == (2, 3, 1)


def test_validation_may_have_no_image():
    empty = images.Images(np.zeros((0, 2, 3, 1), np.uint8), np.zeros(0, int))
    assert len(_set(validation=empty).validation.labels) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ()}, "class_names must be a tuple of names"),
        ({"class_names": ["a"]}, "class_names must be a tuple of names"),
        ({"train": (np.zeros((2, 2, 3, 1)), [0, 1])},
         "train must be of pixels uint8 [N, H, W, C]. Received: "
         "train='float64 (2, 2, 3, 1)'."),
        ({"test": _images(5, size=(3, 3, 1))},
         "test must be of images (2, 3, 1), as `train` is. Received: "
         "test=(3, 3, 1)."),
        ({"test": _images(0)}, "test must be images, at least one"),
        ({"validation": (_images(4).pixels, np.zeros(3, int))},
         "validation must be of integer labels [4]. Received: "
         "validation='int64 (3,)'."),
        ({"validation": (_images(2).pixels, np.zeros(2))},
         "validation='float64 (2,)'"),
        ({"train": (_images(4).pixels, np.array([0, 3, 1, -1]))},
         "Labels of train must be in [0, 3), one of the 3 classes. "
         "Received: 3 for image 1, and 1 more."),
    ],
)  # fmt: skip
def test_a_set_is_checked(changes, message):
    with raises(message):
        _set(**changes)


def test_a_digest_tells_sets_apart():
    found = _set()
    assert found.sha256 == _set(name="other").sha256
    assert len(found.sha256) == 64
    pixels = _images(9).pixels.copy()
    pixels[8, 1, 2, 0] ^= 1
    others = [
        _set(class_names=("a", "b", "d")),
        _set(train=images.Images(pixels, _images(9).labels)),
        _set(train=images.Images(_images(9).pixels, np.zeros(9, int))),
        _set(validation=_images(5, seed=2), test=_images(4, seed=1)),
    ]
    digests = {found.sha256, *(other.sha256 for other in others)}
    assert len(digests) == 5


def _largest_remainders(labels, num, seed):
    """Returns the chosen places by the shares alone: a class may lose all."""
    counts = collections.Counter(labels.tolist())
    exact = {c: counts[c] * num / len(labels) for c in sorted(counts)}
    shares = {c: math.floor(exact[c]) for c in exact}
    by_remainder = sorted(exact, key=lambda c: shares[c] - exact[c])
    for c in by_remainder[: num - sum(shares.values())]:
        shares[c] += 1
    rng = np.random.default_rng([seed, num])
    chosen = []
    for c in exact:
        places = rng.permutation(np.flatnonzero(labels == c))
        chosen += places[: shares[c]].tolist()
    return sorted(chosen)


@given(
    st.lists(
        st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4]), min_size=2, max_size=60
    ),
    st.floats(0, 1),
    st.integers(0, 3),
    st.booleans(),
)
def test_a_split_keeps_classes_and_their_shares(labels, fraction, seed, is_all):
    labels = np.array(labels)
    classes, counts = np.unique(labels, return_counts=True)
    least = len(classes) if is_all else 0
    most = len(labels) if is_all else len(labels) - len(classes)
    num = least + int(fraction * (most - least))
    rest, chosen = images.stratified(labels, num, seed, is_all_good=is_all)
    assert len(chosen) == num
    np.testing.assert_array_equal(
        np.sort(np.concatenate([rest, chosen])), np.arange(len(labels))
    )
    twice = classes[counts > 1]
    wanted = classes if is_all else twice if num >= len(twice) else []
    left = [] if is_all else classes
    assert {*labels[chosen]} >= {*wanted}
    assert {*labels[rest]} >= {*left}
    old = _largest_remainders(labels, num, seed)
    if {*labels[old]} >= {*wanted} and {*np.delete(labels, old)} >= {*left}:
        assert chosen.tolist() == old
        for label, count in zip(classes, counts, strict=True):
            exact = count * num / len(labels)
            assert abs((labels[chosen] == label).sum() - exact) < 1
    again = images.stratified(labels, num, seed, is_all_good=is_all)
    np.testing.assert_array_equal(again[1], chosen)


@pytest.mark.parametrize(
    ("counts", "num", "is_all", "wanted"),
    [
        ([60, 2], 50, False, [49, 1]),
        ([60, 2], 1, False, [1, 0]),  # Too few for both.
        ([40, 2], 5, False, [4, 1]),
        ([60, 1], 59, False, [59, 0]),
        ([1, 1, 1, 6], 4, False, [0, 0, 0, 4]),
        ([60, 2], 10, True, [9, 1]),
        ([90, 1, 1, 8], 4, True, [1, 1, 1, 1]),
    ],
)
def test_a_small_class_is_in_both_parts(counts, num, is_all, wanted):
    labels = np.repeat(np.arange(len(counts)), counts)
    _, chosen = images.stratified(labels, num, 0, is_all_good=is_all)
    found = np.bincount(labels[chosen], minlength=len(counts))
    assert found.tolist() == wanted


def test_another_seed_chooses_others():
    labels = np.arange(100) % 10
    splits = [images.stratified(labels, 30, seed)[1] for seed in (0, 1)]
    assert (splits[0] != splits[1]).any()


def test_validation_is_split_off_and_training_cut():
    train, test = _images(40), _images(5, seed=2)
    found = images.image_set(
        train,
        test,
        ["a", "b", "c"],
        name="noise",
        num_validation=10,
        max_train=20,
        seed=3,
    )
    assert len(found.train.labels) == 20
    assert len(found.validation.labels) == 10
    rows = [image.tobytes() for part in (found.train, found.validation)
            for image in part.pixels]  # fmt: skip
    assert len(set(rows)) == 30
    assert set(rows) <= {image.tobytes() for image in train.pixels}
    np.testing.assert_array_equal(found.test.pixels, test.pixels)
    whole = images.image_set(train, test, ["a", "b", "c"], name="noise")
    assert len(whole.validation.labels) == 0
    np.testing.assert_array_equal(whole.train.pixels, train.pixels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_validation": 7},
         "num_validation must be at most 6, of 9 images, so that one is "
         "left of each of 3 classes. Received: num_validation=7."),
        ({"max_train": 2},
         "max_train must be at least 3, an image of each class. Received: "
         "max_train=2."),
        ({"max_train": 10}, "max_train must be at most 9, of 9 images"),
        ({"num_validation": -1}, "num_validation must be an integer of at"),
        ({"num_validation": 1, "validation": _images(2)},
         "num_validation must be 0 where the validation images are given"),
    ],
)  # fmt: skip
def test_a_split_is_checked(changes, message):
    with raises(message):
        images.image_set(
            _images(9), _images(5), ("a", "b", "c"), name="x", **changes
        )


def test_what_a_set_is_known_by():
    found = images.describe(_set())
    assert found.pop("sha256") == _set().sha256
    assert found == {
        "num_classes": 3,
        "image_shape": [2, 3, 1],
        "num_train": 9,
        "num_validation": 4,
        "num_test": 5,
    }
