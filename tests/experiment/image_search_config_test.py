"""Tests of configurations of searches for image networks, and of refusals."""

import dataclasses
import json
import re

import pytest

from nas_keras.evaluators.rewards import REWARDS
from nas_keras.experiment.config import CONTROLLERS
from nas_keras.experiment.config import EVALUATORS
from nas_keras.experiment.config import SearchConfig
from nas_keras.experiment.kinds import KINDS
from nas_keras.experiment.named_spaces import IMAGES
from nas_keras.experiment.named_spaces import SPACES
from nas_keras.experiment.named_spaces import TEXT
from nas_keras.recipes.searches import PRESETS
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_micro_space
from nas_keras.tasks.language_model.config import LanguageModelConfig
from tests.image_search_testing import DEEP
from tests.image_search_testing import MICRO
from tests.image_search_testing import TINY
from tests.image_search_testing import tiny_child
from tests.image_search_testing import tiny_search

# Of what other attributes depend on, all values.
_CHOICES = {
    "space": SPACES,
    "controller": CONTROLLERS,
    "evaluator": EVALUATORS,
    "reward": REWARDS,
}


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
            {"child": dataclasses.replace(TINY.child, num_validation=9)},
            "retrain.num_validation must be child.num_validation: all networks "
            "see the same images. Received: 100, and 9 of the children.",
        ),
        (
            {"space": "nas_conv"},
            "evaluator must be 'scratch' for space='nas_conv'. Received: "
            "evaluator='shared'.",
        ),
        (
            {**DEEP, "retrain_filters": 8},
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
            {**MICRO, "layers": 3},
            "layers must be left out for space='enas_micro', which has nodes, "
            "cells, filters, retrain_filters, retrain_num_cells. Received: "
            "layers=3.",
        ),
        ({**MICRO, "skip_weight": 0.8}, "skip_weight must be left out"),
        (
            {**MICRO, "child": tiny_child(drop_path=0.1)},
            "child.drop_path must be 0.0 where weights are shared. Received: "
            "child.drop_path=0.1.",
        ),
        (
            {**MICRO, "child": tiny_child(auxiliary_weight=0.4)},
            "child.auxiliary_weight must be 0.0 where weights are shared.",
        ),
        (
            {"child": tiny_child(norm_epsilon=1e-3)},
            "child.norm_epsilon must be 0.0 where weights are shared.",
        ),
        (
            {"child": tiny_child(precision="mixed_bfloat16")},
            "child.precision must be 'float32' where weights are shared. "
            "Received: child.precision='mixed_bfloat16'.",
        ),
        (
            {"retrain": dataclasses.replace(TINY.retrain, drop_path=0.5)},
            "retrain.drop_path must be 0 for space='enas_macro', whose "
            "networks have no cells. Received: retrain.drop_path=0.5.",
        ),
        (
            {**DEEP, "layers": 5},
            "layers must be depth_first and whole steps of depth_step more. "
            "Received: layers=5, depth_first=2, depth_step=2.",
        ),
        (
            {**DEEP, "num_trials": 5},
            "num_trials must be a multiple of 2, the depths from 2 to 4 "
            "layers. Received: num_trials=5.",
        ),
        ({**DEEP, "pooling": (3,)}, "pooling[0] must be an int in [1, 1]"),
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
        tiny_search(**changes)


def test_what_weights_cannot_share_children_from_scratch_may_have():
    child = tiny_child(precision="mixed_bfloat16", drop_path=0.1)
    config = tiny_search(**MICRO, evaluator="scratch", child=child)
    assert config.child == child


def test_a_preset_is_put_in_another_space_less_what_that_lacks():
    macro = tiny_search(skip_weight=0.8, skip_scale=2.0, retrain_filters=8)
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
    assert tiny_search(**DEEP).stages() == ((2, 2), (4, 2))
    assert TINY.stages() == ((3, 4),)


def test_retrained_networks_are_of_another_size():
    config = PRESETS["enas_micro"]
    want = enas_micro_space(5, cells=18, filters=36)
    assert config.make_retrain_space().name == want.name
    want = enas_macro_space(3, filters=4, doubling=True)
    assert TINY.make_retrain_space().name == want.name
    assert tiny_search(**DEEP).make_retrain_space() is None


@pytest.mark.parametrize("num", [3, 7])
def test_workers_must_share_a_minibatch(num):
    config = tiny_search(batch_size=8)
    message = f"must divide the batch .*, 20. Received: {num} workers."
    with pytest.raises(ValueError, match=message):
        config.check_workers(num)
    config.check_workers(2)
    with pytest.raises(ValueError, match="at most .*, 2. Received: 3 workers"):
        TINY.check_workers(3)


def test_what_an_attribute_needs_can_be_had():
    names = {field.name for field in dataclasses.fields(SearchConfig)}
    needs = SearchConfig.NEEDS
    assert needs.keys() <= names
    for other, allowed in needs.values():
        for value in allowed:
            assert value in _CHOICES[other]
    # What is given alone in the preset tiny, a search on text from scratch.
    assert set(PRESETS["tiny"].ignored(needs)) == {
        "nodes", "average", "ppo_clip", "ppo_epochs", "ppo_minibatches",
        "num_phases", "steps_per_phase", "windows_per_reward", "derive_trials",
    }  # fmt: skip
