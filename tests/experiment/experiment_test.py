"""Tests of `open_experiment`: what is opened, and what is refused by then."""

import dataclasses

import numpy as np
import pytest

from nas_keras.cells import load_spec
from nas_keras.cells import save_spec
from nas_keras.convnets import resnet_spec
from nas_keras.convnets import save_convnet
from nas_keras.data import ImageData
from nas_keras.data import TextData
from nas_keras.data import build_corpus
from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.evaluators.config import FromScratch
from nas_keras.evaluators.config import Shared
from nas_keras.experiment.experiment import Experiment
from nas_keras.experiment.experiment import open_experiment
from nas_keras.recipes.searches import SEARCHES
from nas_keras.spaces import EnasMacro
from nas_keras.tasks import ImageTask
from nas_keras.tasks import LanguageModelTask
from tests.image_search_testing import DEEP
from tests.image_search_testing import MICRO
from tests.image_search_testing import SCRATCH
from tests.image_search_testing import TINY
from tests.image_search_testing import micro_finals
from tests.image_search_testing import tiny_child
from tests.image_search_testing import tiny_finals
from tests.image_search_testing import tiny_search
from tests.raising import raises

_TEXT = SEARCHES["tiny"]
# Of trainings that see images of any size whole.
_WHOLE = {
    "child": tiny_child(padding=0, cutout=0),
    "finals": tiny_finals(
        training=TINY.finals.training.replace(padding=0, cutout=0)
    ),
}


def _whole_finals(**changes):
    return _WHOLE["finals"].replace(**changes)


def _whole_micro_finals(**changes):
    return micro_finals(padding=0, cutout=0, **changes)


def _images(shape):
    part = Images(np.zeros((20, *shape), np.uint8), np.arange(20) % 2)
    return ImageSet("small", ("even", "odd"), part, part, part)


@pytest.fixture(scope="module")
def corpus():
    return build_corpus("she sells sea shells " * 400, name="shells")


# What is opened.


def test_data_are_opened_and_known_by_what_they_hold(tmp_path):
    path = tmp_path / "mine.json"
    save_convnet(dataclasses.replace(resnet_spec(8, 2), name="mine"), path)
    config = tiny_search(finals=tiny_finals(published=(str(path), "resnet")))
    experiment = open_experiment(config)
    images = experiment.data
    assert len(images.validation.labels) == 100
    assert experiment.task == ImageTask(config.child, images)
    assert experiment.final_task == ImageTask(config.finals.training, images)
    settings = experiment.settings
    assert settings["data"]["sha256"] == images.sha256
    assert settings["data"]["num_validation"] == 100
    assert settings["metric"] == {
        "name": "accuracy", "unit": "%", "is_more_better": True,
    }  # fmt: skip
    assert settings["noun"] == "network"
    fingerprint = resnet_spec(8, 2).fingerprint
    # It becomes a network when the best is known.
    assert settings["finals"]["published"] == {
        "mine": fingerprint, "resnet": None,
    }  # fmt: skip
    assert experiment.whole["num_trials"] == 4


def test_a_text_is_opened_and_known_by_what_it_holds(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        text = "she sells sea shells " * 200
        (tmp_path / folder / "text.txt").write_text(text)
        save_spec(load_spec("gru"), tmp_path / folder / "cell.json")

    def settings(folder, **changes):
        config = _TEXT.replace(
            data=TextData(text_file=str(tmp_path / folder / "text.txt")),
            finals=_TEXT.finals.replace(
                published=(str(tmp_path / folder / "cell.json"),)
            ),
        )
        return open_experiment(config.replace(**changes)).settings

    one = settings("a")
    assert one == settings("b")
    assert one["data"]["level"] == "char"
    assert one["data"]["text_file"] is None
    assert one["finals"]["published"] == {"gru": load_spec("gru").fingerprint}
    assert one["metric"]["name"] == "perplexity"
    assert one["noun"] == "cell"
    (tmp_path / "b" / "text.txt").write_text("he sells sea shells " * 200)
    other = settings("b")
    assert other["data"]["sha256"] != one["data"]["sha256"]
    # A run of children from scratch may be made longer: not a finished one.
    assert settings("a", num_trials=8) == one


def test_a_finished_run_depends_on_all(corpus):
    experiment = Experiment(_TEXT, corpus)
    longer = Experiment(_TEXT.replace(num_trials=8), corpus)
    assert experiment.settings == longer.settings
    assert experiment.whole != longer.whole
    assert isinstance(experiment.task, LanguageModelTask)


# Architectures of the finals.


def test_published_networks_must_be_known_and_differ_in_name():
    images = _images((8, 8, 1))

    def published(*names):
        finals = tiny_finals(published=names)
        return Experiment(tiny_search(finals=finals), images)

    with raises(
        "The architectures of finals.published must have different names. "
        "Received: ['resnet_20', 'resnet_20']."
    ):
        published("resnet_20", "resnet_20")
    with raises("No network is named 'lstm'"):
        published("lstm")


@pytest.mark.parametrize(
    ("finals", "message"),
    [
        (
            {"published": ("lstm", "lstm")},
            "The architectures of finals.published must have different names. "
            "Received: ['lstm', 'lstm'].",
        ),
        ({"published": ("lstm", "nope")}, "No cell is named 'nope'"),
        ({"published": ("resnet_20",)}, "No cell is named 'resnet_20'"),
        (
            {"parameters": 9},
            "Received: 9 parameters.",
        ),
        (
            {"parameters": 9, "published": ()},
            "of one unit of cell 'tree2_",
        ),
        (
            {"parameters": 9, "published": (), "top": 0, "random": 1},
            "of one unit of cell 'tree2_",
        ),
    ],
)
def test_published_cells_must_be_known_differ_and_fit(finals, message, corpus):
    config = _TEXT.replace(finals=_TEXT.finals.replace(**finals))
    with raises(message):
        Experiment(config, corpus)


def test_cells_that_are_not_trained_may_be_of_any_size(corpus):
    finals = _TEXT.finals.replace(parameters=9, published=(), top=0)
    Experiment(_TEXT.replace(finals=finals), corpus)


def test_the_size_of_a_network_is_its_own():
    config = tiny_search(finals=tiny_finals(parameters=1_000))
    with raises(
        "parameters must be 0 for image networks, whose size is that of their "
        "specs. Received: parameters=1000."
    ):
        Experiment(config, _images((8, 8, 1)))


# Rewards, and what shares weights.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"evaluator": TINY.evaluator.replace(reward="c/ppl")},
            "reward must be one of ['accuracy^3', 'accuracy', 'metric']. "
            "Received: reward='c/ppl'.",
        ),
        (
            {**DEEP, "evaluator": FromScratch()},
            "Received: reward='c/ppl^2'.",
        ),
        (
            {**DEEP, "growth": None, "evaluator": TINY.evaluator},
            "evaluator must be FromScratch for nas_conv(layers=4, "
            "kernels=1|3, filters=4|6), which has no supernet. Received: "
            "evaluator=Shared(reward='accuracy', ",
        ),
        (
            {**MICRO, "child": tiny_child(drop_path=0.1)},
            "drop_path must be 0.0 where weights are shared. Received: "
            "drop_path=0.1.",
        ),
        (
            {**MICRO, "child": tiny_child(auxiliary_weight=0.4)},
            "auxiliary_weight must be 0.0 where weights are shared.",
        ),
        (
            {"child": tiny_child(norm_epsilon=1e-3)},
            "norm_epsilon must be 0.0 where weights are shared.",
        ),
        (
            {"child": tiny_child(precision="mixed_bfloat16")},
            "precision must be 'float32' where weights are shared. Received: "
            "precision='mixed_bfloat16'.",
        ),
        (
            {**SCRATCH, "child": tiny_child(drop_path=0.5)},
            "drop_path must be 0 for enas_macro(layers=3, filters=4), whose "
            "networks have no cells. Received: drop_path=0.5.",
        ),
        (
            {
                "finals": tiny_finals(
                    training=TINY.finals.training.replace(drop_path=0.5)
                )
            },
            "drop_path must be 0 for enas_macro(layers=3, filters=4, "
            "doubling=True), whose networks have no cells. Received: "
            "drop_path=0.5.",
        ),
        (
            {
                **DEEP,
                "finals": micro_finals(auxiliary_weight=0.4),
            },
            "auxiliary_weight must be 0 for nas_conv(",
        ),
    ],
)
def test_what_a_search_for_networks_cannot_do_is_refused(changes, message):
    with raises(message):
        Experiment(tiny_search(**changes), _images((16, 16, 1)))


def test_what_weights_cannot_share_children_from_scratch_may_have():
    child = tiny_child(
        precision="mixed_bfloat16", drop_path=0.1, norm_epsilon=1e-3
    )
    config = tiny_search(**MICRO, **SCRATCH, child=child)
    Experiment(config, _images((16, 16, 1)))


def test_a_reward_of_accuracy_is_not_for_text(corpus):
    for evaluator in (
        FromScratch(reward="accuracy"),
        Shared(reward="accuracy"),
    ):
        with raises(
            "reward must be one of ['c/ppl^2', 'c/ppl', '-loss', 'metric']. "
            "Received: reward='accuracy'."
        ):
            Experiment(_TEXT.replace(evaluator=evaluator), corpus)


@pytest.mark.parametrize("reward", ["c/ppl^2", "c/ppl", "-loss", "metric"])
def test_every_reward_of_perplexity_is_for_text(reward, corpus):
    evaluator = Shared(reward=reward)
    Experiment(_TEXT.replace(evaluator=evaluator), corpus)


# Data that do not fit.


def test_a_text_must_have_a_batch_for_each_training():
    short = build_corpus("she sells " * 40, name="short")
    with raises("The validation part of the text 'short' has"):
        Experiment(_TEXT, short)
    long = build_corpus("she sells " * 80, name="long")
    Experiment(_TEXT, long)
    for part in (
        {"child": _TEXT.child.replace(batch_size=8)},
        {
            "finals": _TEXT.finals.replace(
                training=_TEXT.finals.training.replace(num_steps=40)
            )
        },
    ):
        with raises("one batch takes batch_size * (num_steps + 1)"):
            Experiment(_TEXT.replace(**part), long)


def test_images_must_have_a_part_for_validation():
    with raises(
        "images must have a validation part, by which networks are compared. "
        "Received: none in 'digits'."
    ):
        open_experiment(tiny_search(data=ImageData(max_train=200)))


@pytest.mark.parametrize(
    ("changes", "shape", "message"),
    [
        (
            {},
            (3, 2, 1),
            "images must be large enough for the architectures of space: "
            "layer_2 has a stride of (2, 2) on a map of (2, 1). Received: "
            "images of (3, 2).",
        ),
        (
            {
                "space": EnasMacro(layers=2, filters=4),
                "finals": _whole_finals(space=None, published=("enas_micro",)),
            },
            (2, 2, 3),
            "images must be large enough for 'enas_micro' of "
            "finals.published: cell_13 has a stride of (2, 2) on a map of "
            "(1, 1). Received: images of (2, 2).",
        ),
        (
            {
                "space": EnasMacro(layers=2, filters=4),
                "finals": _whole_finals(space=None),
            },
            (2, 2, 3),
            "images must be large enough for 'resnet': layer_5 has a stride "
            "of (2, 2) on a map of (1, 1).",
        ),
        (
            {
                **DEEP,
                "growth": None,
                "space": DEEP["space"].replace(pooling=(1, 2, 3)),
                "finals": _whole_finals(space=None),
            },
            (7, 4, 1),
            "images must be large enough for the architectures of space: "
            "layer_8 has a stride of (2, 2) on a map of (2, 1).",
        ),
        (
            {
                **DEEP,
                "space": DEEP["space"].replace(strides=(4, 3)),
                "finals": _whole_finals(space=None),
            },
            (9, 2, 1),
            "layer_0 has a stride of (3, 3) on a map of (9, 2).",
        ),
        (
            {**MICRO, "finals": _whole_micro_finals(auxiliary_weight=0.4)},
            (16, 18, 1),
            "auxiliary_weight must be 0 with images of (16, 18): behind the "
            "second reduction of the finalists the map is (4, 5), smaller "
            "than the auxiliary head's window of 5 by 5. Received: "
            "auxiliary_weight=0.4.",
        ),
        (
            {
                **MICRO,
                **SCRATCH,
                "finals": _whole_micro_finals(),
                "child": tiny_child(padding=0, auxiliary_weight=0.3),
            },
            (16, 18, 1),
            "auxiliary_weight must be 0 with images of (16, 18): behind the "
            "second reduction of the architectures of space the map is",
        ),
    ],
)
def test_images_must_be_large_enough(changes, shape, message):
    with raises(message):
        Experiment(tiny_search(**_WHOLE | changes), _images(shape))


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, (3, 3, 1)),
        (
            {
                "space": EnasMacro(layers=2, filters=4),
                "finals": _whole_finals(space=None, top=0, published=()),
            },
            (1, 1, 1),
        ),
        (
            {
                **DEEP,
                "space": DEEP["space"].replace(pooling=(1,), strides=(1, 9)),
                "finals": _whole_finals(space=None),
            },
            (3, 3, 1),
        ),
        (
            {**MICRO, "finals": _whole_micro_finals(auxiliary_weight=0.4)},
            (17, 17, 1),
        ),
        (
            {
                **MICRO,
                "finals": _whole_micro_finals(auxiliary_weight=0.4).replace(
                    top=0
                ),
            },
            (8, 8, 1),
        ),
    ],
)
def test_images_that_are_large_enough_are_taken(changes, shape):
    images = _images(shape)
    assert Experiment(tiny_search(**_WHOLE | changes), images).data is images


def _trained(part, **changes):
    """Returns a search with changes of one of its trainings."""
    if part == "child":
        return tiny_search(child=tiny_child(**changes))
    training = TINY.finals.training.replace(**changes)
    return tiny_search(finals=tiny_finals(training=training))


@pytest.mark.parametrize("name", ["padding", "cutout"])
@pytest.mark.parametrize("part", ["child", "finals"])
def test_a_training_must_see_something_of_each_image(name, part):
    images = _images((9, 6, 3))
    Experiment(_trained(part, **{name: 5}), images)
    with raises(f"{name} must be below 6, the shorter side of the images"):
        Experiment(_trained(part, **{name: 6}), images)


@pytest.mark.parametrize("part", ["child", "finals"])
def test_a_batch_must_be_of_images_that_are_there(part):
    images = _images((8, 8, 1))
    Experiment(_trained(part, batch_size=20), images)
    with raises("batch_size must be at most the 20 training images of 'small'"):
        Experiment(_trained(part, batch_size=21), images)
