"""Tests of whole runs: search, random baseline, finals, the best network.

Children and trainings are functions here, so that nothing is compiled but
controllers; what shared weights and trainings do is tested elsewhere.
"""

import json

import numpy as np
import pytest

from nas_keras.controllers.config import PolicyGradient
from nas_keras.convnets import load_convnet
from nas_keras.convnets import spec_from_dict
from nas_keras.evaluators.config import FromScratch
from nas_keras.experiment.config import Growth
from nas_keras.experiment.experiment import Experiment
from nas_keras.experiment.run import drawn
from nas_keras.experiment.run import run
from nas_keras.experiment.searches import Searches
from nas_keras.search import FunctionEvaluator
from tests.experiment_testing import CountedTask
from tests.experiment_testing import accuracy_of
from tests.experiment_testing import noise_images
from tests.image_search_testing import DEEP
from tests.image_search_testing import tiny_finals
from tests.image_search_testing import tiny_search
from tests.raising import raises


def test_drawn_networks_depend_on_the_seed_alone():
    def networks(seeds=2, **changes):
        config = tiny_search(
            finals=tiny_finals(random=3, seeds=seeds), **changes
        )
        return drawn(Experiment(config, noise_images()))

    first = networks()
    assert [candidate.trial for candidate in first] == [0, 1, 2]
    assert {candidate.origin for candidate in first} == {"drawn"}
    # Of the finals: they double their filters.
    assert {candidate.spec.layers[1].filters for candidate in first} == {8}
    assert first == networks(num_trials=8, seeds=3)
    assert first != networks(seed=1)


@pytest.fixture
def asked(monkeypatch):
    """Makes children functions; returns the depths that were asked for."""
    depths = []

    def make(self, space, task, seed=0, on_note=None):
        def score(spec):
            depths.append(len(spec.layers))
            return accuracy_of(spec)

        return FunctionEvaluator(space, score)

    monkeypatch.setattr(FromScratch, "make", make)
    return depths


@pytest.fixture
def states(monkeypatch):
    """Returns the states of controllers before and after their searches."""
    before_and_after = []
    search = Searches._search

    def watched(self, label, controller, *arguments):
        before = controller.state()
        trials = search(self, label, controller, *arguments)
        before_and_after.append((before, controller.state()))
        return trials

    monkeypatch.setattr(Searches, "_search", watched)
    return before_and_after


def _records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_search_that_grows_goes_on_and_ends_with_a_network(
    tmp_path, asked, states
):
    # Two controllers are compiled: 15 s.
    config = tiny_search(
        **DEEP | {
            "space": DEEP["space"].replace(layers=3),
            "growth": Growth(first=2, step=1),
            "controller": PolicyGradient(units=4, num_layers=1),
            "num_trials": 12,
            "finals": tiny_finals(space=None, top=2, random=1, seeds=2),
        }
    )  # fmt: skip
    experiment = Experiment(config, noise_images())
    experiment.final_task = task = CountedTask()
    best = run(experiment, tmp_path)
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
    accuracies = [
        accuracy_of(spec_from_dict(record["spec"])) for record in records[:8]
    ]
    assert accuracy_of(best) == max(accuracies)
    assert load_convnet(tmp_path / "best_network.json") == best
    assert best.provenance["retrained_validation_accuracy"] == pytest.approx(
        max(accuracies) + 0.005
    )
    (_, learned), (grown, _), *_ = states
    assert learned.keys() == grown.keys() and len(learned) > 10
    # Rewards of larger networks are on another level.
    assert learned.pop("baseline")[-1] == 3
    assert grown["baseline"][-1] == 0
    for name, array in learned.items():
        corner = tuple(slice(size) for size in array.shape)
        np.testing.assert_array_equal(grown[name][corner], array)
    before = (len(asked), len(task.done))
    (tmp_path / "finished.json").unlink()
    assert run(experiment, tmp_path) == best
    assert (len(asked), len(task.done)) == before
    longer = Experiment(config.replace(num_trials=16), noise_images())
    with raises("num_trials was 12, is 16"):
        run(longer, tmp_path)
