"""Tests of the data of searches for image networks: what is opened and fits."""

import dataclasses
import re

import numpy as np
import pytest

from nas_keras.convnets import resnet_spec
from nas_keras.convnets import save_convnet
from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.experiment import image_kind
from nas_keras.experiment import settings as configuration
from tests.image_search_testing import DEEP
from tests.image_search_testing import MICRO
from tests.image_search_testing import TINY
from tests.image_search_testing import tiny_child
from tests.image_search_testing import tiny_search
from tests.raising import raises

# Of trainings that see images of any size whole.
_WHOLE = {
    part: dataclasses.replace(getattr(TINY, part), padding=0, cutout=0)
    for part in ("child", "retrain")
}


def test_data_are_opened_and_known_by_what_they_hold(tmp_path):
    images = configuration.open_data(TINY)
    assert len(images.validation.labels) == 100
    path = tmp_path / "mine.json"
    save_convnet(dataclasses.replace(resnet_spec(8, 2), name="mine"), path)
    config = tiny_search(retrain_published=(str(path), "resnet"))
    settings = configuration.settings_of(config, images)
    assert settings["images"]["sha256"] == images.sha256
    fingerprint = resnet_spec(8, 2).fingerprint
    assert settings["retrain_published"] == {"mine": fingerprint, "resnet": ""}
    assert configuration.whole_of(config, images)["num_trials"] == 4


def test_networks_to_retrain_must_be_known_and_differ_in_name():
    config = tiny_search(retrain_published=("resnet_20", "resnet_20"))
    with pytest.raises(ValueError, match=r"different names.*'resnet_20', 'r"):
        configuration.open_data(config)
    with pytest.raises(ValueError, match="No network is named 'lstm'"):
        configuration.open_data(tiny_search(retrain_published=("lstm",)))


def test_images_must_have_a_part_for_validation():
    parts = {
        name: dataclasses.replace(TINY.child, num_validation=0)
        for name in ("child", "retrain")
    }
    with pytest.raises(ValueError, match="images must have a validation part"):
        configuration.open_data(tiny_search(**parts))


@pytest.mark.parametrize(
    ("changes", "shape", "message"),
    [
        (
            {},
            (3, 2, 1),
            "images must be large enough for the networks of "
            "space='enas_macro': layer_2 has a stride of (2, 2) on a map of "
            "(2, 1). Received: images of (3, 2).",
        ),
        (
            {"retrain_published": ("enas_micro",), "layers": 2},
            (2, 2, 3),
            "images must be large enough for network 'enas_micro' of "
            "retrain_published: cell_13 has a stride of (2, 2) on a map of "
            "(1, 1). Received: images of (2, 2).",
        ),
        (
            {"layers": 2},
            (2, 2, 3),
            "images must be large enough for 'resnet' of retrain_published: "
            "layer_5 has a stride of (2, 2) on a map of (1, 1).",
        ),
        (
            {**DEEP, "depth_first": 0, "pooling": (1, 2, 3)},
            (7, 4, 1),
            "images must be large enough for the networks of "
            "space='nas_conv': layer_8 has a stride of (2, 2) on a map of "
            "(2, 1).",
        ),
        (
            {**DEEP, "strides": (4, 3)},
            (9, 2, 1),
            "layer_0 has a stride of (3, 3) on a map of (9, 2).",
        ),
        (
            {**MICRO, "retrain": tiny_child(auxiliary_weight=0.4)},
            (16, 18, 1),
            "retrain.auxiliary_weight must be 0 with images of (16, 18): "
            "behind the second reduction of the networks of space='enas_micro' "
            "the map is (4, 5), smaller than the auxiliary head's window of 5 "
            "by 5. Received: retrain.auxiliary_weight=0.4.",
        ),
        (
            {
                **MICRO, "evaluator": "scratch",
                "child": tiny_child(auxiliary_weight=0.3),
            },
            (16, 18, 1),
            "child.auxiliary_weight must be 0 with images of (16, 18)",
        ),
    ],
)  # fmt: skip
def test_images_must_be_large_enough(changes, shape, message, monkeypatch):
    _opened(monkeypatch, shape)
    with pytest.raises(ValueError, match=re.escape(message)):
        configuration.open_data(tiny_search(**_WHOLE | changes))


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, (3, 3, 1)),
        ({"retrain_top": 0, "layers": 2, "retrain_published": ()}, (1, 1, 1)),
        ({**DEEP, "pooling": (1,), "strides": (1, 9)}, (3, 3, 1)),
        ({**MICRO, "retrain": tiny_child(auxiliary_weight=0.4)}, (17, 17, 1)),
        (
            {
                **MICRO, "retrain_top": 0,
                "retrain": tiny_child(auxiliary_weight=0.4),
            },
            (8, 8, 1),
        ),
    ],
)  # fmt: skip
def test_images_that_are_large_enough_are_taken(changes, shape, monkeypatch):
    _opened(monkeypatch, shape)
    data = configuration.open_data(tiny_search(**_WHOLE | changes))
    assert data.image_shape == shape


@pytest.mark.parametrize("name", ["padding", "cutout"])
@pytest.mark.parametrize("part", ["child", "retrain"])
def test_a_training_must_see_something_of_each_image(name, part, monkeypatch):
    _opened(monkeypatch, (9, 6, 3))
    for value in 5, 6:
        training = dataclasses.replace(getattr(TINY, part), **{name: value})
        search = tiny_search(**{part: training})
        if value == 5:
            configuration.open_data(search)
            continue
        with raises(f"{name} must be below 6, the shorter side of the images"):
            configuration.open_data(search)


def _opened(monkeypatch, shape):
    part = Images(np.zeros((20, *shape), np.uint8), np.arange(20) % 2)
    images = ImageSet("small", ("even", "odd"), part, part, part)
    monkeypatch.setattr(image_kind, "open_images", lambda *_: images)
