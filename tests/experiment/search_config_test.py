"""Tests of `SearchConfig`: what goes together, and what there is no field for.

What is refused when the data are opened is in experiment_test.py.
"""

import dataclasses
import json
from collections.abc import Mapping

import pytest

from nas_keras.controllers.config import CONTROLLERS
from nas_keras.controllers.config import Evolution
from nas_keras.controllers.config import Random
from nas_keras.data import ImageData
from nas_keras.data import TextData
from nas_keras.evaluators.config import EVALUATORS
from nas_keras.evaluators.config import FromScratch
from nas_keras.evaluators.config import Shared
from nas_keras.experiment.config import DATA
from nas_keras.experiment.config import Growth
from nas_keras.experiment.config import SearchConfig
from nas_keras.recipes.searches import SEARCHES
from nas_keras.settings import Change
from nas_keras.settings import Settings
from nas_keras.settings import changed
from nas_keras.settings import fields_of
from nas_keras.spaces import SPACES
from nas_keras.spaces import EnasMacro
from nas_keras.spaces import EnasMicro
from nas_keras.spaces import NasConv
from nas_keras.spaces import RecurrentDag
from nas_keras.spaces import Tree
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_micro_space
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.language_model.config import LanguageModelConfig
from tests.image_search_testing import DEEP
from tests.image_search_testing import MICRO
from tests.image_search_testing import SCRATCH
from tests.image_search_testing import TINY
from tests.image_search_testing import tiny_child
from tests.image_search_testing import tiny_finals
from tests.image_search_testing import tiny_search
from tests.raising import raises

_TEXT = SEARCHES["tiny"]


# What does not go together.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"child": LanguageModelConfig()},
            "child must be for a network, as space is. Received: "
            "child=LanguageModelConfig, space=EnasMacro.",
        ),
        (
            {"finals": tiny_finals(training=LanguageModelConfig())},
            "finals.training must be for a network, as space is. Received: "
            "finals.training=LanguageModelConfig, space=EnasMacro.",
        ),
        (
            {"space": Tree()},
            "child must be for a cell, as space is. Received: "
            "child=ImageTraining, space=Tree.",
        ),
        (
            {"finals": tiny_finals(space=Tree())},
            "finals.space must be for a network, as space is. Received: "
            "finals.space=Tree, space=EnasMacro.",
        ),
        (
            {"data": TextData()},
            "data must be ImageData for child=ImageTraining. Received: "
            "data=TextData.",
        ),
        (
            {"finals": tiny_finals(space=EnasMacro(layers=4))},
            "finals.space must have the choices of space, so that tokens mean "
            "the same in both. Received: finals.space=EnasMacro(layers=4, ",
        ),
        (
            {"space": NasConv(layers=4)},
            "finals.space must have the choices of space",
        ),
        (
            {"growth": Growth(first=2)},
            "growth must be None unless space is NasConv. Received: "
            "growth=Growth(first=2, step=2), space=EnasMacro.",
        ),
        (
            {**DEEP, "space": NasConv(layers=5)},
            "space.layers must be growth.first and whole steps of growth.step "
            "more. Received: space.layers=5, growth.first=2, growth.step=2.",
        ),
        (
            {**DEEP, "growth": Growth(first=6)},
            "Received: space.layers=4, growth.first=6, growth.step=2.",
        ),
        (
            {**DEEP, "num_trials": 5},
            "num_trials must be a multiple of 2, the depths from 2 to 4 "
            "layers. Received: num_trials=5.",
        ),
        (
            {**DEEP, "space": NasConv(layers=4, pooling=(3,))},
            "pooling must be below layers=2. Received: pooling=(3,).",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    with raises(message):
        tiny_search(**changes)


def test_text_goes_with_cells_alone():
    with raises(
        "child must be for a network, as space is. Received: "
        "child=LanguageModelConfig, space=EnasMacro."
    ):
        _TEXT.replace(space=EnasMacro())
    with raises(
        "data must be TextData for child=LanguageModelConfig. Received: "
        "data=ImageData."
    ):
        _TEXT.replace(data=ImageData())


# What is out of range.


@pytest.mark.parametrize(
    ("cls", "changes", "message"),
    [
        (SearchConfig, {"preset": ""}, "preset must be a text"),
        (SearchConfig, {"num_trials": 0}, "num_trials must be an int of at"),
        (SearchConfig, {"batch_size": 0}, "batch_size must be an int of at"),
        (SearchConfig, {"seed": -1}, "seed must be an int of at least 0"),
        (SearchConfig, {"seed": 2**63}, "seed must be an int of at least 0"),
        (SearchConfig, {"seed": 1.0}, "seed must be an int of at least 0"),
        (SearchConfig, {"random_baseline": 1}, "must be True or False"),
        (SearchConfig, {"evaluate_again": 0}, "must be True or False"),
        (SearchConfig, {"num_threads": 1_025}, "an int in [0, 1024]"),
        (
            SearchConfig,
            {"space": "tree"},
            "space must be of Tree or RecurrentDag or NasConv or EnasMacro or "
            "EnasMicro. Received: space='tree'.",
        ),
        (
            SearchConfig,
            {"controller": "ppo"},
            "controller must be of PolicyGradient or Evolution or Random. "
            "Received: controller='ppo'.",
        ),
        (
            SearchConfig,
            {"evaluator": "shared"},
            "evaluator must be of FromScratch or Shared. Received: "
            "evaluator='shared'.",
        ),
        (SearchConfig, {"data": None}, "data must be of TextData or ImageData"),
        (SearchConfig, {"finals": None}, "finals must be of Finals."),
        (Growth, {"first": 0}, "first must be an int of at least 1"),
        (Growth, {"step": 0}, "step must be an int of at least 1"),
        (EnasMacro, {"filters": 5}, "filters must be an even int in [2, 65536"),
        (EnasMicro, {"filters": 5}, "filters must be an even int in [2, 65536"),
        (FromScratch, {"reward": "ppl"}, "reward must be one of ['c/ppl^2', "),
        (FromScratch, {"c": 0.0}, "c must be positive and finite"),
        (Shared, {"reward": "loss"}, "reward must be one of ['c/ppl^2', "),
        (Shared, {"c": float("inf")}, "c must be positive and finite"),
        (Shared, {"num_phases": 0}, "num_phases must be an int of at least 1"),
        (Shared, {"steps_per_phase": 0}, "steps_per_phase must be an int of"),
        (Shared, {"windows_per_reward": -1}, "must be an int of at least 0"),
        (Shared, {"derive_trials": 0}, "derive_trials must be an int of at"),
    ],
)
def test_a_value_out_of_range_is_refused(cls, changes, message):
    with raises(message):
        cls(**({"preset": "mine"} if cls is SearchConfig else {}) | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"random": -1}, "random must be an int of at least 0"),
        ({"random": 1.0}, "random must be an int of at least 0"),
        ({"parameters": -1}, "parameters must be an int of at least 0"),
        ({"top": -1}, "top must be an int of at least 0"),
        ({"seeds": 0}, "seeds must be an int of at least 1"),
        ({"published": "lstm"}, "published must be a tuple, each of its"),
        ({"published": ("",)}, "published must be a tuple, each of its"),
        ({"training": None}, "training must be of LanguageModelConfig or Ima"),
    ],
)
def test_finals_out_of_range_are_refused(changes, message):
    with raises(message):
        tiny_finals(**changes)


# What there is no field for.


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (cls, name)
        for cls, names in {
            EnasMacro: "base nodes cells kernels strides pooling block",
            EnasMicro: "base layers kernels strides pooling block doubling",
            NasConv: "base nodes cells doubling",
            RecurrentDag: "base combines layers filters",
            Tree: "nodes average layers filters",
            FromScratch: "num_phases steps_per_phase derive_trials",
            ImageData: "text_file level max_vocabulary",
            TextData: "image_dir num_validation max_train split_seed",
            ImageTraining: "dataset num_validation max_train split_seed units",
            LanguageModelConfig: "dataset level drop_path filters",
            Evolution: "loss learning_rate clip skip_weight baseline_decay",
            Random: "loss learning_rate skip_weight population_size",
        }.items()
        for name in names.split()
    ],
)
def test_settings_have_no_field_that_is_of_others(cls, name):
    with pytest.raises(TypeError, match=f"'{name}'"):
        cls(**{name: 3})


def _text_of(value):
    """Returns what a flag gives for a value, None if no flag can."""
    if isinstance(value, Settings):
        return None
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def _values(settings: Settings, path: str = ""):
    """Yields the dotted name and the value of all fields of settings."""
    for field in fields_of(settings):
        value = getattr(settings, field.name)
        yield path + field.name, value
        if isinstance(value, Settings):
            yield from _values(value, f"{path}{field.name}.")


def _names(cls: type[Settings], path: str = ""):
    """Yields the dotted names of all fields that settings of a class may have.

    With each comes the name of the field that decides whether there is one.
    """
    for field in fields_of(cls):
        for option in field.metadata["rule"].options.values():
            if option is None:
                continue
            its = option if isinstance(option, type) else type(option)
            for inner in fields_of(its):
                yield f"{path}{field.name}.{inner.name}", path + field.name
            yield from _names(its, f"{path}{field.name}.")


@pytest.mark.parametrize(
    "name", ["tiny", "enas_demo", "tiny_conv", "zoph2016_cifar10", "enas_micro"]
)
def test_a_preset_has_the_fields_of_what_is_chosen_alone(name):
    config = SEARCHES[name]
    values = dict(_values(config))
    own = {
        dotted: Change(f"--{dotted}", text)
        for dotted, value in values.items()
        if (text := _text_of(value)) is not None and value is not None
    }
    assert len(own) > 40
    assert changed(config, own) == config
    foreign = dict(_names(SearchConfig))
    for dotted in foreign.keys() & values.keys():
        del foreign[dotted]
    assert len(foreign) > 40
    for dotted, chooser in foreign.items():
        if chooser not in values:
            continue  # It is of settings that are not there themselves.
        where = f"--{dotted} must be left out where {chooser} is "
        with raises(where):
            changed(config, {dotted: Change(f"--{dotted}", "1")})


# Other settings by name.


def _put(config, **changes):
    return changed(
        config,
        {
            dotted.replace("__", "."): Change(f"--{dotted}", value)
            for dotted, value in changes.items()
        },
    )


def test_a_preset_is_put_in_another_space():
    macro = TINY.replace(
        controller=TINY.controller.replace(skip_weight=0.8, skip_scale=2.0)
    )
    micro = _put(
        macro, space="enas_micro", space__nodes="3", finals__space="same"
    )
    assert micro.space == EnasMicro(nodes=3)
    assert micro.finals.space is None
    # What is not of the space stays.
    assert micro.controller == macro.controller
    assert micro.finals.training == macro.finals.training
    larger = _put(
        micro,
        finals__space="enas_micro",
        finals__space__nodes="3",
        finals__space__cells="9",
    )
    assert larger.finals.space == EnasMicro(nodes=3, cells=9)
    conv = _put(
        macro, space="nas_conv", finals__space="same", evaluator="scratch"
    )
    assert (conv.space, conv.evaluator) == (NasConv(), FromScratch())
    assert _put(macro, space="enas_macro", seed="3") == macro.replace(seed=3)
    assert _put(_TEXT, space="tree") == _TEXT
    with raises("space must be one of ['tree', 'enas_recurrent', 'nas_conv', "):
        _put(macro, space="dag")


def test_each_name_stands_for_its_settings():
    for name, cls in SPACES.items():
        assert cls().prefix == name
    for name, settings in CONTROLLERS.items():
        base = _put(_TEXT, controller="random")
        assert _put(base, controller=name).controller == settings
    for name, cls in EVALUATORS.items():
        other = Shared() if cls is FromScratch else FromScratch()
        base = _TEXT.replace(evaluator=other)
        assert _put(base, evaluator=name).evaluator == cls()
    assert {name: cls().dataset for name, cls in DATA.items()} == {
        "text": "embedded",
        "images": "digits",
    }


def test_a_search_on_text_becomes_one_on_images():
    put = _put(
        _TEXT,
        space="enas_macro",
        data="images",
        child="images",
        finals__training="images",
        finals__published="resnet",
        evaluator__reward="accuracy",
    )
    assert put.data == ImageData()
    assert put.child == put.finals.training == ImageTraining()
    assert put.evaluator == FromScratch(reward="accuracy")


# What a run depends on.


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_settings_are_json_and_name_their_classes(name):
    config = SEARCHES[name]
    settings = config.settings()
    assert json.loads(json.dumps(settings)) == settings
    for part in ("space", "controller", "evaluator", "data", "child"):
        chosen = getattr(config, part)
        assert settings[part] == {
            "class": type(chosen).__name__,
            **chosen.to_dict(),
        }
    # A run of children from scratch may be made longer, one that grows not.
    is_scratch = isinstance(config.evaluator, FromScratch)
    assert ("num_trials" in settings) == (not is_scratch or bool(config.growth))
    assert config.to_dict()["num_trials"] == config.num_trials


def test_the_settings_of_a_text_search_are_what_they_were():
    # A workdir belongs to its settings: one more, and none goes on.
    settings = SEARCHES["tiny"].settings()
    assert (
        list(settings)
        == (
            "preset space growth controller evaluator data child finals "
            "batch_size seed random_baseline evaluate_again num_threads"
        ).split()
    )
    assert {
        name: list(part)
        for name, part in settings.items()
        if isinstance(part, Mapping) and name not in ("child", "finals")
    } == {
        "space": "class base combines activations".split(),
        "controller": (
            "class loss units num_layers init_scale learning_rate "
            "entropy_weight entropy_bonus temperature tanh_constant clip "
            "num_epochs num_minibatches skip_target skip_weight skip_scale "
            "baseline_decay normalize_advantage"
        ).split(),
        "evaluator": "class reward c".split(),
        "data": "class dataset text_file level max_vocabulary".split(),
    }
    names = [field.name for field in fields_of(LanguageModelConfig)]
    assert list(settings["child"]) == ["class", *names]
    assert (
        list(settings["finals"])
        == (
            "class training space parameters top published random seeds"
        ).split()
    )


def test_configurations_are_frozen_and_equal_by_value():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TINY.seed = 1
    again = SearchConfig(
        **{field.name: getattr(TINY, field.name) for field in fields_of(TINY)}
    )
    assert again == TINY and hash(again) == hash(TINY)


def test_the_depths_of_a_search_share_its_children():
    stages = SEARCHES["zoph2016_cifar10"].stages()
    assert [(space.layers, num) for space, num in stages] == [
        (layers, 1_600) for layers in range(6, 21, 2)
    ]
    deep = tiny_search(**DEEP)
    assert [(space.layers, num) for space, num in deep.stages()] == [
        (2, 2),
        (4, 2),
    ]
    # They differ by their depth alone.
    for space, _ in deep.stages():
        assert space.replace(layers=4) == deep.space
    assert TINY.stages() == ((TINY.space, 4),)


def test_finals_are_of_another_size():
    config = SEARCHES["enas_micro"]
    want = enas_micro_space(5, cells=18, filters=36)
    assert config.make_final_space().name == want.name
    want = enas_macro_space(3, filters=4, doubling=True)
    assert TINY.make_final_space().name == want.name
    deep = tiny_search(**DEEP)
    assert deep.make_final_space().name == deep.space.name


@pytest.mark.parametrize("num", [3, 7])
def test_workers_must_share_a_minibatch(num):
    config = tiny_search(batch_size=8)
    with raises(f"must divide the batch that they train shared weights on, 20. "
                f"Received: {num} workers."):  # fmt: skip
        config.check_workers(num)
    config.check_workers(2)
    config.replace(**SCRATCH).check_workers(num)
    with raises("children of an update, 2. Received: 3 workers"):
        TINY.check_workers(3)


def test_what_weights_cannot_share_children_from_scratch_may_have():
    child = tiny_child(precision="mixed_bfloat16", drop_path=0.1)
    config = tiny_search(**MICRO, **SCRATCH, child=child)
    assert config.child == child
