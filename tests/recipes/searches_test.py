"""Tests of the searches by name: they open, and are what papers say."""

import functools
import json

import numpy as np
import pytest

from nas_keras.cells import load_spec
from nas_keras.data import build_corpus
from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.evaluators.config import Shared
from nas_keras.experiment.experiment import Experiment
from nas_keras.experiment.experiment import open_experiment
from nas_keras.recipes import enas2018
from nas_keras.recipes import enas_lm
from nas_keras.recipes import zoph2016
from nas_keras.recipes.language_models import TRAINING_PRESETS
from nas_keras.recipes.searches import SEARCHES
from nas_keras.recipes.trainings import IMAGE_PRESETS
from nas_keras.settings import fields_of
from nas_keras.spaces import SPACES

_EMBEDDED = ["demo", "tiny", "enas_demo", "tiny_conv", "conv_demo"]
_OF_FILES = [
    "zoph2016_ptb",
    "enas2018_ptb",
    "enas_lm",
    "enas_macro_demo",
    "zoph2016_cifar10",
    "enas_macro",
    "enas_micro",
]
_SHARED = [
    name
    for name, config in SEARCHES.items()
    if isinstance(config.evaluator, Shared)
]


@functools.cache
def _ptb():
    """Returns a text with the vocabulary of Penn Treebank, but shorter."""
    rng = np.random.default_rng(0)
    words = [f"w{k}" for k in range(9_999)]
    words += [words[k] for k in rng.integers(0, 9_999, 90_000)]
    text = " ".join(words)
    return build_corpus(text, "word", max_vocabulary=10_000, name="ptb_word")


@functools.cache
def _cifar10():
    def part(num):
        pixels = np.zeros((num, 32, 32, 3), np.uint8)
        return Images(pixels, np.arange(num) % 10)

    classes = tuple(str(k) for k in range(10))
    return ImageSet("cifar10", classes, part(200), part(20), part(20))


def _experiment(name):
    config = SEARCHES[name]
    data = {"ptb": _ptb, "cifar10": _cifar10}.get(config.data.dataset)
    return Experiment(config, data()) if data else open_experiment(config)


def test_searches_have_the_names_that_pages_show():
    assert sorted(SEARCHES) == sorted(_EMBEDDED + _OF_FILES)
    assert list(SEARCHES)[0] == "demo"
    for name, config in SEARCHES.items():
        assert config.preset == name


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_is_json(name):
    config = SEARCHES[name]
    values = config.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values.pop("class", None) is None
    assert list(values) == [field.name for field in fields_of(config)]
    # Nothing is told twice, and nothing of it is lost.
    others = [other for other in SEARCHES.values() if other is not config]
    assert values not in [other.to_dict() for other in others]


@pytest.mark.parametrize("name", _EMBEDDED)
def test_a_search_on_embedded_data_opens(name):
    config = SEARCHES[name]
    experiment = _experiment(name)
    assert experiment.config is config
    assert experiment.data.name == config.data.dataset
    assert json.loads(json.dumps(experiment.settings))["preset"] == name


@pytest.mark.parametrize("name", _OF_FILES)
def test_a_search_on_data_of_its_source_opens(name):
    config = SEARCHES[name]
    experiment = _experiment(name)
    assert experiment.settings["space"]["class"] == type(config.space).__name__
    for num in (1, 2):
        if config.batch_size >= num:
            config.check_workers(num)


def test_every_space_is_searched_by_name():
    spaces = {type(config.space) for config in SEARCHES.values()}
    assert spaces == set(SPACES.values())


@pytest.mark.parametrize("name", _SHARED)
def test_shared_weights_are_trained_in_all_phases(name):
    config = SEARCHES[name]
    evaluator = config.evaluator
    num_updates = evaluator.num_phases * evaluator.steps_per_phase
    assert config.num_trials == num_updates * config.batch_size


@pytest.mark.parametrize("name", SEARCHES)
def test_batches_are_whole(name):
    config = SEARCHES[name]
    for _, num_trials in config.stages():
        assert num_trials % config.batch_size == 0


def test_finals_are_the_full_trainings_of_the_same_source():
    assert zoph2016.PTB_SEARCH.finals.training == (
        TRAINING_PRESETS["zoph2016_ptb_25m"].model
    )
    assert zoph2016.PTB_SEARCH.finals.parameters == 25_000_000
    assert enas2018.PTB_SEARCH.finals.training == (
        TRAINING_PRESETS["enas2018"].model
    )
    for name in ("enas_macro", "enas_micro"):
        training = SEARCHES[name].finals.training
        assert training == IMAGE_PRESETS[name].training
    # Of Zoph & Le the final training is longer, and nothing else.
    final = SEARCHES["zoph2016_cifar10"].finals.training
    full = IMAGE_PRESETS["zoph2016_cifar10"].training
    assert final.replace(num_epochs=full.num_epochs) == full
    assert final.num_epochs == 300


@pytest.mark.parametrize(
    ("name", "millions"),
    [("zoph2016_ptb", 25), ("enas2018_ptb", 24), ("enas_lm", 21)],
)
def test_final_models_have_as_many_weights_as_the_source_says(name, millions):
    experiment = _experiment(name)
    finals = experiment.config.finals
    for spec in [load_spec("lstm"), *experiment.published()]:
        task = experiment.final_task.resized(spec, finals.parameters)
        num = task.size(spec).parameters
        assert 0.99 < num / (1e6 * millions) <= 1
        assert task.labels(spec)["parameters"] == num


def test_children_of_zoph_and_le_are_as_large_as_zaremba_s_medium_model():
    experiment = _experiment("zoph2016_ptb")
    space = experiment.config.space.make()
    cell = space.decode([0] * len(space.choices))
    num = experiment.task.size(cell).parameters
    medium = TRAINING_PRESETS["zaremba_medium"].model
    want = medium.cost(load_spec("lstm"), 10_000).parameters
    assert num == pytest.approx(want, rel=0.02)
    assert num == pytest.approx(20e6, rel=0.02)


def test_the_cosine_of_enas_runs_to_its_end():
    # 10 + 20 + 40 + 80 epochs, and 160 more.
    assert SEARCHES["enas_micro"].child.num_epochs == 150
    assert SEARCHES["enas_macro"].child.num_epochs == 310
    for name in ("enas_macro", "enas_micro"):
        config = SEARCHES[name]
        # Weights are trained for an epoch in each phase.
        assert config.evaluator.num_phases == config.child.num_epochs
        for training in (config.child, config.finals.training):
            lowest = training.schedule.min_learning_rate
            last = training.rate_at(training.num_epochs - 1.0)
            assert last == pytest.approx(lowest, rel=0.05)
            # It would begin anew.
            rate = training.rate_at(float(training.num_epochs))
            assert rate == training.learning_rate


def test_the_text_searches_of_enas_train_an_epoch_in_each_phase():
    for config in (enas2018.PTB_SEARCH, enas_lm.SEARCH):
        assert config.evaluator.num_phases == config.child.num_epochs
        assert config.child.num_updates == 0


def test_the_search_of_zoph_and_le_grows_to_its_depth():
    config = SEARCHES["zoph2016_cifar10"]
    layers = [space.layers for space, _ in config.stages()]
    assert layers == [6, 8, 10, 12, 14, 16, 18, 20]
    assert sum(num for _, num in config.stages()) == 12_800
