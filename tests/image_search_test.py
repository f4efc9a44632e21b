"""Tests of searches for image networks: configuration, run, retraining.

Children and trainings are functions here, so that nothing is compiled but
controllers; what shared weights and trainings do is tested elsewhere.
"""

import dataclasses
import json
import re

import numpy as np
import pytest

from nas_keras.convnets import build_convnet
from nas_keras.convnets import load_convnet
from nas_keras.convnets import multiply_adds
from nas_keras.convnets import resnet_spec
from nas_keras.convnets import save_convnet
from nas_keras.convnets import spec_from_dict
from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.search import Cluster
from nas_keras.search import FunctionEvaluator
from nas_keras.search import configuration
from nas_keras.search import image_kind
from nas_keras.search import image_search
from nas_keras.search import run as run_module
from nas_keras.search.image_baseline import map_sizes
from nas_keras.search.image_baseline import multiply_adds_of
from nas_keras.search.image_baseline import resnet_of
from nas_keras.search.image_search import ImageSearch
from nas_keras.search.image_search import NetworkTrainings
from nas_keras.search.kinds import KINDS
from nas_keras.search.named_spaces import IMAGES
from nas_keras.search.named_spaces import TEXT
from nas_keras.search.presets import PRESETS
from nas_keras.search.retrain import Candidate
from nas_keras.search.retrain import Trainings
from nas_keras.search.retrain import best_distinct
from nas_keras.search.retrain import retrain
from nas_keras.search.searches import Searches
from nas_keras.search.trial import Evaluation
from nas_keras.search.trial import Trial
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_micro_space
from nas_keras.spaces import nas_conv_space
from nas_keras.tasks.image_classification import train_images
from nas_keras.tasks.image_config import ImageConfig
from nas_keras.tasks.image_steps import ImageSteps
from nas_keras.tasks.image_task import ImageTask
from nas_keras.tasks.language_model_config import LanguageModelConfig

_TINY = PRESETS["tiny_conv"]
_DEEP = dict(
    space="nas_conv", evaluator="scratch", layers=4, depth_first=2,
    depth_step=2, filters=36, kernels=(1, 3), filter_options=(4, 6),
)  # fmt: skip
_MICRO = dict(space="enas_micro", layers=12, nodes=2, cells=2)


def _tiny(**changes):
    return dataclasses.replace(_TINY, **changes)


def _child(**changes):
    return dataclasses.replace(_TINY.child, **changes)


def _images():
    rng = np.random.default_rng(0)

    def part(num):
        pixels = rng.integers(0, 256, (num, 8, 8, 1), dtype=np.uint8)
        return Images(pixels, np.arange(num) % 2)

    return ImageSet("noise", ("even", "odd"), part(30), part(20), part(10))


# The configuration.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"child": LanguageModelConfig()},
            "child must be of ImageConfig for space='enas_macro', a search on "
            "images. Received: LanguageModelConfig.",
        ),
        (
            {"space": "tree"},
            "dataset must be one of ['embedded', ",
        ),
        (
            {"space": "tree", "dataset": "embedded"},
            "child must be of LanguageModelConfig for space='tree', a search "
            "on text. Received: ImageConfig.",
        ),
        (
            {"base": 4},
            "base must be left out for space='enas_macro', a search on images. "
            "Received: base=4.",
        ),
        ({"text_file": "a"}, "text_file must be left out"),
        ({"retrain_parameters": 9}, "retrain_parameters must be left out"),
        ({"dataset": "ptb"}, "dataset must be one of ['digits', 'cifar10'"),
        ({"reward": "c/ppl"}, "reward must be one of ('accuracy', "),
        (
            {"child": dataclasses.replace(_TINY.child, num_validation=9)},
            "retrain.num_validation must be child.num_validation: all networks "
            "see the same images. Received: 100, and 9 of the children.",
        ),
        (
            {"space": "nas_conv"},
            "evaluator must be 'scratch' for space='nas_conv'. Received: "
            "evaluator='shared'.",
        ),
        (
            {**_DEEP, "retrain_filters": 8},
            "retrain_filters must be left out for space='nas_conv', which has "
            "layers, kernels, strides, pooling, block, filter_options, "
            "skip_target, skip_weight, skip_scale, depth_first, depth_step. "
            "Received: retrain_filters=8.",
        ),
        (
            {"depth_first": 2},
            "depth_first must be left out for space='enas_macro', which has "
            "layers, filters, skip_target, skip_weight, skip_scale, "
            "retrain_filters. Received: depth_first=2.",
        ),
        ({"retrain_num_cells": 3}, "retrain_num_cells must be left out"),
        ({"nodes": 3}, "nodes must be left out for space='enas_macro'"),
        ({"cells": 3}, "cells must be left out for space='enas_macro'"),
        ({"strides": (1, 2)}, "strides must be left out"),
        ({"pooling": (1,)}, "pooling must be left out"),
        ({"kernels": (3,)}, "kernels must be left out"),
        (
            {**_MICRO, "layers": 3},
            "layers must be left out for space='enas_micro', which has nodes, "
            "cells, filters, retrain_filters, retrain_num_cells. Received: "
            "layers=3.",
        ),
        ({**_MICRO, "skip_weight": 0.8}, "skip_weight must be left out"),
        (
            {**_MICRO, "child": _child(drop_path=0.1)},
            "child.drop_path must be 0.0 where weights are shared. Received: "
            "child.drop_path=0.1.",
        ),
        (
            {**_MICRO, "child": _child(auxiliary_weight=0.4)},
            "child.auxiliary_weight must be 0.0 where weights are shared.",
        ),
        (
            {"child": _child(norm_epsilon=1e-3)},
            "child.norm_epsilon must be 0.0 where weights are shared.",
        ),
        (
            {"child": _child(precision="mixed_bfloat16")},
            "child.precision must be 'float32' where weights are shared. "
            "Received: child.precision='mixed_bfloat16'.",
        ),
        (
            {"retrain": dataclasses.replace(_TINY.retrain, drop_path=0.5)},
            "retrain.drop_path must be 0 for space='enas_macro', whose "
            "networks have no cells. Received: retrain.drop_path=0.5.",
        ),
        (
            {**_DEEP, "layers": 5},
            "layers must be depth_first and whole steps of depth_step more. "
            "Received: layers=5, depth_first=2, depth_step=2.",
        ),
        (
            {**_DEEP, "num_trials": 5},
            "num_trials must be a multiple of 2, the depths from 2 to 4 "
            "layers. Received: num_trials=5.",
        ),
        ({**_DEEP, "pooling": (3,)}, "pooling[0] must be an int in [1, 1]"),
        ({"filters": 5}, "filters must be even"),
        ({"retrain_filters": 5}, "filters must be even"),
        (
            {"retrain_random": -1},
            "retrain_random must be an int of at least 0.",
        ),
        (
            {"retrain_random": 1.0},
            "retrain_random must be an int of at least 0.",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        _tiny(**changes)


def test_what_weights_cannot_share_children_from_scratch_may_have():
    child = _child(precision="mixed_bfloat16", drop_path=0.1)
    config = _tiny(**_MICRO, evaluator="scratch", child=child)
    assert config.child == child


def test_a_preset_is_put_in_another_space_less_what_that_lacks():
    macro = _tiny(skip_weight=0.8, skip_scale=2.0, retrain_filters=8)
    micro = macro.in_space("enas_micro", nodes=3)
    assert (micro.layers, micro.skip_weight, micro.skip_scale) == (12, 0.0, 1.0)
    assert (micro.nodes, micro.filters, micro.retrain_filters) == (3, 4, 8)
    conv = macro.in_space("nas_conv", evaluator="scratch")
    assert (conv.layers, conv.skip_weight, conv.filters) == (3, 0.8, 36)
    assert macro.in_space("enas_macro", seed=3) == dataclasses.replace(
        macro, seed=3
    )
    with pytest.raises(ValueError, match="layers must be left out"):
        macro.in_space("enas_micro", layers=3)
    text = PRESETS["tiny"]
    assert text.in_space("tree") == text


@pytest.mark.parametrize("name", ["layers", "image_dir", "skip_weight"])
def test_what_is_of_images_is_refused_for_text(name):
    value = {"layers": 3, "image_dir": "x", "skip_weight": 0.8}[name]
    message = f"{name} must be left out for space='tree', a search on text."
    with pytest.raises(ValueError, match=re.escape(message)):
        dataclasses.replace(PRESETS["tiny"], **{name: value})


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_settings_hold_what_is_of_the_kind_alone(name):
    config = PRESETS[name]
    settings = json.loads(json.dumps(config.settings()))
    other = {TEXT: IMAGES, IMAGES: TEXT}[config.kind]
    assert not settings.keys() & set(KINDS[other].attributes)
    assert settings.keys() >= set(KINDS[config.kind].attributes)
    # A run of children from scratch may be made longer, one that grows not.
    can_grow = config.evaluator == "scratch" and not config.depth_first
    assert ("num_trials" in settings) != can_grow


def test_the_settings_of_a_text_search_are_what_they_were():
    # A workdir belongs to its settings: one more, and none goes on.
    names = (
        "preset dataset text_file level max_vocabulary space base combines "
        "activations nodes average controller controller_units "
        "controller_layers controller_init_scale controller_learning_rate "
        "entropy_weight entropy_bonus temperature tanh_constant ppo_clip "
        "ppo_epochs ppo_minibatches baseline_decay normalize_advantage "
        "batch_size seed random_baseline evaluate_again evaluator num_phases "
        "steps_per_phase windows_per_reward derive_trials reward "
        "reward_constant child retrain retrain_parameters retrain_top "
        "retrain_published retrain_seeds num_threads"
    )
    assert list(PRESETS["tiny"].settings()) == names.split()


def test_the_depths_of_a_search_share_its_children():
    stages = PRESETS["zoph2016_cifar10"].stages()
    assert stages == tuple((layers, 1_600) for layers in range(6, 21, 2))
    assert _tiny(**_DEEP).stages() == ((2, 2), (4, 2))
    assert _TINY.stages() == ((3, 4),)


def test_retrained_networks_are_of_another_size():
    config = PRESETS["enas_micro"]
    want = enas_micro_space(5, cells=18, filters=36)
    assert config.make_retrain_space().name == want.name
    want = enas_macro_space(3, filters=4, doubling=True)
    assert _TINY.make_retrain_space().name == want.name
    assert _tiny(**_DEEP).make_retrain_space() is None


@pytest.mark.parametrize("num", [3, 7])
def test_workers_must_share_a_minibatch(num):
    config = _tiny(batch_size=8)
    message = f"must divide the batch .*, 20. Received: {num} workers."
    with pytest.raises(ValueError, match=message):
        config.check_workers(num)
    config.check_workers(2)
    with pytest.raises(ValueError, match="at most .*, 2. Received: 3 workers"):
        _TINY.check_workers(3)


# The data.


def test_data_are_opened_and_known_by_what_they_hold(tmp_path):
    images = configuration.open_data(_TINY)
    assert len(images.validation.labels) == 100
    path = tmp_path / "mine.json"
    save_convnet(dataclasses.replace(resnet_spec(8, 2), name="mine"), path)
    config = _tiny(retrain_published=(str(path), "resnet"))
    settings = configuration.settings_of(config, images)
    assert settings["images"]["sha256"] == images.sha256
    fingerprint = resnet_spec(8, 2).fingerprint
    assert settings["retrain_published"] == {"mine": fingerprint, "resnet": ""}
    assert configuration.whole_of(config, images)["num_trials"] == 4


def test_networks_to_retrain_must_be_known_and_differ_in_name():
    config = _tiny(retrain_published=("resnet_20", "resnet_20"))
    with pytest.raises(ValueError, match=r"different names.*'resnet_20', 'r"):
        configuration.open_data(config)
    with pytest.raises(ValueError, match="No network is named 'lstm'"):
        configuration.open_data(_tiny(retrain_published=("lstm",)))


def test_images_must_have_a_part_for_validation():
    parts = {
        name: dataclasses.replace(_TINY.child, num_validation=0)
        for name in ("child", "retrain")
    }
    with pytest.raises(ValueError, match="images must have a validation part"):
        configuration.open_data(_tiny(**parts))


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
            {**_DEEP, "depth_first": 0, "pooling": (1, 2, 3)},
            (7, 4, 1),
            "images must be large enough for the networks of "
            "space='nas_conv': layer_8 has a stride of (2, 2) on a map of "
            "(2, 1).",
        ),
        (
            {**_DEEP, "strides": (4, 3)},
            (9, 2, 1),
            "layer_0 has a stride of (3, 3) on a map of (9, 2).",
        ),
        (
            {**_MICRO, "retrain": _child(auxiliary_weight=0.4)},
            (16, 18, 1),
            "retrain.auxiliary_weight must be 0 with images of (16, 18): "
            "behind the second reduction of the networks of space='enas_micro' "
            "the map is (4, 5), smaller than the auxiliary head's window of 5 "
            "by 5. Received: retrain.auxiliary_weight=0.4.",
        ),
        (
            {
                **_MICRO, "evaluator": "scratch",
                "child": _child(auxiliary_weight=0.3),
            },
            (16, 18, 1),
            "child.auxiliary_weight must be 0 with images of (16, 18)",
        ),
    ],
)  # fmt: skip
def test_images_must_be_large_enough(changes, shape, message, monkeypatch):
    _opened(monkeypatch, shape)
    with pytest.raises(ValueError, match=re.escape(message)):
        configuration.open_data(_tiny(**changes))


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, (3, 3, 1)),
        ({"retrain_top": 0, "layers": 2, "retrain_published": ()}, (1, 1, 1)),
        ({**_DEEP, "pooling": (1,), "strides": (1, 9)}, (3, 3, 1)),
        ({**_MICRO, "retrain": _child(auxiliary_weight=0.4)}, (17, 17, 1)),
        (
            {
                **_MICRO, "retrain_top": 0,
                "retrain": _child(auxiliary_weight=0.4),
            },
            (8, 8, 1),
        ),
    ],
)  # fmt: skip
def test_images_that_are_large_enough_are_taken(changes, shape, monkeypatch):
    _opened(monkeypatch, shape)
    data = configuration.open_data(_tiny(**changes))
    assert data.image_shape == shape


def _opened(monkeypatch, shape):
    part = Images(np.zeros((20, *shape), np.uint8), np.arange(20) % 2)
    images = ImageSet("small", ("even", "odd"), part, part, part)
    monkeypatch.setattr(image_kind, "open_images", lambda *_: images)


# What networks cost.


@pytest.mark.parametrize("shape", [(32, 32, 3), (9, 7, 1), (2, 3, 1)])
@pytest.mark.parametrize("is_wide", [True, False])
@pytest.mark.parametrize(
    "name", ["nas_conv", "enas_macro", "enas_micro", "resnet"]
)
def test_maps_are_those_of_the_model(name, is_wide, shape):
    spec = {
        "nas_conv": lambda: nas_conv_space(4, (2, 1), (1, 3), (3,), (2, 4)),
        "enas_macro": lambda: enas_macro_space(5, 2),
        "enas_micro": lambda: enas_micro_space(2, 1, 2),
        "resnet": lambda: resnet_spec(8, 2),
    }[name]()
    if name != "resnet":
        tokens = [is_wide * (len(c.options) - 1) for c in spec.choices]
        spec = spec.decode(tokens)
    try:
        model = build_convnet(spec, shape, 2, kernel_initializer="zeros")
    except ValueError as error:
        part = re.search(r"((?:layer|cell)_\d+): stride", str(error)).group(1)
        with pytest.raises(ValueError, match=rf"^{part} has a stride of"):
            map_sizes(spec, shape)
        return
    sizes = map_sizes(spec, shape)
    last = model.get_layer("average").input
    if name == "nas_conv":  # All that nobody reads, padded to the largest.
        unread = [sizes[k] for k in spec.unread]
        want = tuple(map(max, zip(*unread, strict=True)))
    else:
        want = sizes[-1]
    assert tuple(last.shape[1:3]) == want


# The ResNet of equal cost.


@pytest.mark.parametrize("shape", [(32, 32, 3), (9, 8, 1)])
@pytest.mark.parametrize(("depth", "filters"), [(8, 3), (14, 6)])
def test_multiply_adds_are_those_of_the_model(shape, depth, filters):
    spec = resnet_spec(depth, filters)
    want = multiply_adds(build_convnet(spec, shape, 7))
    assert multiply_adds_of(spec, shape, 7) == want


@pytest.mark.parametrize("millions", [1, 3, 10, 41, 100, 621, 5_637])
def test_a_resnet_comes_near_in_cost(millions):
    spec = resnet_of(millions * 10**6, (32, 32, 3), 10)
    cost = multiply_adds_of(spec, (32, 32, 3), 10)
    assert cost == pytest.approx(millions * 1e6, rel=0.03)
    assert spec.wiring == "residual"


def test_a_resnet_of_the_usual_depth_is_preferred():
    want = resnet_spec(20, 16)
    cost = multiply_adds_of(want, (32, 32, 3), 10)
    assert resnet_of(cost, (32, 32, 3), 10) == want


# Retraining.


class _Counted(Trainings):
    """Scores by the number of layers; trains nothing."""

    def __init__(self, fails=()):
        self.done, self._fails = [], fails

    def train(self, spec, seed, folder):
        self.done.append((spec.name, seed))
        folder.mkdir(parents=True)
        (folder / "snapshot").write_bytes(b"of use until it is done")
        if spec.name in self._fails:
            raise FloatingPointError("diverged")
        accuracy = _accuracy(spec) + seed / 100
        return accuracy, {
            "validation_accuracy": accuracy,
            "test_accuracy": accuracy / 2,
            "test_error_percent": 100 - 50 * accuracy,
            "num_parameters": 1234,
            "multiply_adds": 56_789,
        }


def _accuracy(spec):
    """Returns a figure that names tell nothing of."""
    kernels = sum(layer.kernel[0] for layer in spec.layers)
    return kernels / (kernels + 30)


def _retrained(candidates, trainings, folder, seeds=2):
    told = []
    records = list(
        retrain(
            candidates, trainings, seeds, folder, Cluster(),
            lambda place, record: told.append(place),
        )
    )  # fmt: skip
    return records, told


def test_every_network_is_trained_once_with_every_seed(tmp_path):
    first, second = resnet_spec(8, 2), resnet_spec(14, 2)
    candidates = [
        Candidate(first, "controller", 3, 0.5),
        Candidate(second, "published"),
    ]
    trainings = _Counted(fails=[second.name])
    records, told = _retrained(candidates[:1], trainings, tmp_path)
    assert told == [0, 1]
    records, told = _retrained(candidates, trainings, tmp_path)
    assert told == [2, 3]
    assert trainings.done == [
        (spec.name, seed) for spec in (first, second) for seed in (0, 1)
    ]
    assert (
        list(records[0])
        == (
            "cell origin trial reward fingerprint spec seed metrics elapsed_s "
            "infeasible"
        ).split()
    )
    assert records[0]["spec"] == first.to_dict()
    assert records[1]["metrics"]["validation_accuracy"] == pytest.approx(
        _accuracy(first) + 0.01
    )
    assert records[3]["infeasible"] == "FloatingPointError: diverged"
    assert not (tmp_path / "retraining").exists()


def test_the_best_are_distinct_and_made_to_size():
    space = enas_macro_space(2, filters=4)
    larger = enas_macro_space(2, filters=8)
    rewards = {(0, 1, 1): 0.3, (2, 1, 0): 0.9, (4, 0, 0): None}
    trials = [
        Trial(
            place,
            tokens,
            space.decode(tokens),
            Evaluation(reward, {}, 0.0, None if reward else "no"),
        )
        for place, (tokens, reward) in enumerate(rewards.items())
    ]
    trials.append(dataclasses.replace(trials[1], id=3))
    found = best_distinct(
        trials, 4, "controller", lambda trial: larger.decode(trial.tokens)
    )
    assert [candidate.trial for candidate in found] == [1, 0]
    assert [candidate.spec.filters for candidate in found] == [8, 8]


def test_what_is_of_cells_alone_is_left_out_for_layers(monkeypatch, tmp_path):
    seen = []

    class Asked(Exception):
        pass

    def train_images(config, images, folder, network):
        seen.append(
            (type(network).__name__, config.drop_path, config.seed, folder.name)
        )
        raise Asked

    monkeypatch.setattr(image_search, "train_images", train_images)
    config = ImageConfig("x", drop_path=0.4, auxiliary_weight=0.4, batch_size=9)
    subject = ImageSearch(_TINY, _images())
    trainings = NetworkTrainings(subject.task(config))
    for spec in (load_convnet("enas_micro"), resnet_spec(8, 2)):
        with pytest.raises(Asked):
            trainings.train(spec, 3, tmp_path / spec.name)
    assert seen == [
        ("MicroNetSpec", 0.4, 3, "enas_micro"),
        ("ConvNetSpec", 0.0, 3, seen[1][3]),
    ]


class TestARetrainingThatWasStopped:
    config = ImageConfig(
        "x", num_epochs=3, batch_size=10, learning_rate=0.1, snapshot_updates=2
    )
    spec = resnet_spec(8, 2)

    def _updates(self, monkeypatch):
        """Returns a list that gets an item for each update that is taken."""
        updates, update = [], ImageSteps.update
        monkeypatch.setattr(
            ImageSteps,
            "update",
            lambda steps, *inputs: updates.append(1) or update(steps, *inputs),
        )
        return updates

    def _stop(self, folder, num_updates):
        """Leaves what a process leaves that is killed at an update."""

        class Killed(Exception):
            pass

        def kill(update):
            if (update.epoch - 1) * update.num_batches + update.batch == (
                num_updates
            ):
                raise Killed

        config = dataclasses.replace(
            self.config, seed=5, drop_path=0.0, auxiliary_weight=0.0
        )
        with pytest.raises(Killed):
            list(
                train_images(config, _images(), folder, kill, network=self.spec)
            )

    def test_goes_on_or_begins_anew_if_damaged_to_the_same(
        self, monkeypatch, tmp_path, caplog
    ):
        trainings = NetworkTrainings(ImageTask(self.config, _images()))
        updates = self._updates(monkeypatch)
        _, want = trainings.train(self.spec, 5, tmp_path / "whole")
        assert len(updates) == 9
        assert want["num_parameters"] > 0
        assert want["rollbacks"] == 0

        self._stop(tmp_path / "stopped", 8)
        updates.clear()
        _, found = trainings.train(self.spec, 5, tmp_path / "stopped")
        assert len(updates) == 3  # Of the last epoch.
        del found["elapsed_s"], want["elapsed_s"]
        assert found == want

        self._stop(tmp_path / "damaged", 4)
        for path in (tmp_path / "damaged" / "checkpoints").glob("*.npz"):
            path.write_bytes(b"")
        updates.clear()
        _, found = trainings.train(self.spec, 5, tmp_path / "damaged")
        assert len(updates) == 9
        del found["elapsed_s"]
        assert found == want
        assert "all snapshots are damaged" in caplog.text
        assert "Training from the beginning." in caplog.text


def test_drawn_networks_depend_on_the_seed_alone():
    def drawn(**changes):
        config = _tiny(retrain_random=3, **changes)
        return ImageSearch(config, _images()).drawn()

    first = drawn()
    assert [c.trial for c in first] == [0, 1, 2]
    assert {c.origin for c in first} == {"drawn"}
    assert {c.spec.layers[1].filters for c in first} == {8}  # Of retraining.
    assert first == drawn(num_trials=8, retrain_seeds=3)
    assert first != drawn(seed=1)


# A whole run.


@pytest.fixture
def _functions(monkeypatch):
    """Makes children and trainings functions; returns what was asked."""
    asked, trainings = [], _Counted()

    def evaluator(self, space):
        def score(spec):
            asked.append(len(spec.layers))
            return _accuracy(spec)

        return FunctionEvaluator(space, score)

    monkeypatch.setattr(ImageSearch, "evaluator", evaluator)
    monkeypatch.setattr(ImageSearch, "trainings", lambda self: trainings)
    return asked, trainings


def _records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def _states(monkeypatch):
    """Returns the states of controllers before and after their searches."""
    states = []
    search = Searches._search

    def watched(self, label, controller, *arguments):
        before = controller.state()
        trials = search(self, label, controller, *arguments)
        states.append((before, controller.state()))
        return trials

    monkeypatch.setattr(Searches, "_search", watched)
    return states


def test_a_search_that_grows_goes_on_and_ends_with_a_network(
    tmp_path, _functions, _states
):
    # Two controllers are compiled: 15 s.
    asked, trainings = _functions
    config = _tiny(
        **{**_DEEP, "layers": 3, "depth_step": 1}, num_trials=12,
        controller_units=4, controller_layers=1, retrain_top=2,
        retrain_random=1, retrain_seeds=2,
    )  # fmt: skip
    images = _images()
    best = run_module.run(config, images, tmp_path)
    # Of the controller and at random, and of each depth its share.
    for folder in (tmp_path, tmp_path / "random"):
        for depth in ("depth_02", "depth_03"):
            assert len(_records(folder / depth / "trials.jsonl")) == 6
    assert set(asked) == {2, 3}
    records = _records(tmp_path / "retrained.jsonl")
    origins = [record["origin"] for record in records]
    assert origins == (
        ["controller"] * 4 + ["random"] * 4 + ["drawn"] * 2 + ["matched"] * 2
    )
    assert records[-1]["cell"].startswith("resnet_")
    # Children are numbered through all depths; deep ones were scored higher.
    trials = {record["trial"] for record in records[:8]}
    assert trials <= set(range(12)) and max(trials) >= 6
    found = [
        _accuracy(spec_from_dict(record["spec"])) for record in records[:8]
    ]
    assert _accuracy(best) == max(found)
    assert load_convnet(tmp_path / "best_network.json") == best
    assert best.provenance["retrained_validation_accuracy"] == pytest.approx(
        max(found) + 0.005
    )
    (_, learnt), (grown, _), *_ = _states
    assert learnt.keys() == grown.keys() and len(learnt) > 10
    for name, array in learnt.items():
        corner = tuple(slice(size) for size in array.shape)
        np.testing.assert_array_equal(grown[name][corner], array)
    before = (len(asked), len(trainings.done))
    (tmp_path / "finished.json").unlink()
    assert run_module.run(config, images, tmp_path) == best
    assert (len(asked), len(trainings.done)) == before
    changed = dataclasses.replace(config, num_trials=16)
    with pytest.raises(ValueError, match="num_trials was 12, is 16"):
        run_module.run(changed, images, tmp_path)
