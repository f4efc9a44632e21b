"""Tests of searches for image networks: retraining, a whole run.

Children and trainings are functions here, so that nothing is compiled but
controllers; what shared weights and trainings do is tested elsewhere.
"""

import dataclasses
import json

import numpy as np
import pytest

from nas_keras.convnets import load_convnet
from nas_keras.convnets import resnet_spec
from nas_keras.convnets import spec_from_dict
from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.evaluators.trial import Evaluation
from nas_keras.evaluators.trial import Trial
from nas_keras.experiment import image_search
from nas_keras.experiment import run as run_module
from nas_keras.experiment.finals import Candidate
from nas_keras.experiment.finals import Trainings
from nas_keras.experiment.finals import best_distinct
from nas_keras.experiment.finals import remove_begun
from nas_keras.experiment.finals import retrain
from nas_keras.experiment.image_search import ImageSearch
from nas_keras.experiment.image_search import NetworkTrainings
from nas_keras.experiment.searches import Searches
from nas_keras.search import Cluster
from nas_keras.search import FunctionEvaluator
from nas_keras.spaces import enas_macro_space
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.steps import ImageSteps
from nas_keras.tasks.images.task import ImageTask
from nas_keras.tasks.images.training import train_images
from tests.image_search_testing import DEEP
from tests.image_search_testing import TINY
from tests.image_search_testing import tiny_search
from tests.raising import raises


def _images():
    rng = np.random.default_rng(0)

    def part(num):
        pixels = rng.integers(0, 256, (num, 8, 8, 1), dtype=np.uint8)
        return Images(pixels, np.arange(num) % 2)

    return ImageSet("noise", ("even", "odd"), part(30), part(20), part(10))


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
    assert not list((tmp_path / "retraining").iterdir())


def test_what_another_phase_has_begun_is_left_until_all_is_done(tmp_path):
    begun = tmp_path / "retraining" / "373a" / "checkpoints"
    begun.mkdir(parents=True)
    _retrained([Candidate(resnet_spec(8, 2), "drawn")], _Counted(), tmp_path)
    assert begun.exists()
    remove_begun(tmp_path)
    assert not (tmp_path / "retraining").exists()
    remove_begun(tmp_path)


def test_an_error_of_the_disk_is_not_of_the_network(tmp_path):
    class Full(_Counted):
        def train(self, spec, seed, folder):
            raise OSError(28, "No space left on device")

    candidates = [Candidate(resnet_spec(8, 2), "published")]
    with raises("No space left", OSError):
        _retrained(candidates, Full(), tmp_path)
    trainings = _Counted()
    records, _ = _retrained(candidates, trainings, tmp_path)
    assert len(trainings.done) == 2 and not records[0]["infeasible"]


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


def test_what_is_of_cells_alone_or_of_a_size_is_left_out(monkeypatch, tmp_path):
    seen = []

    class Asked(Exception):
        pass

    def train_images(config, images, folder, network):
        assert config.filters == 0
        seen.append(
            (type(network).__name__, config.drop_path, config.seed, folder.name)
        )
        raise Asked

    monkeypatch.setattr(image_search, "train_images", train_images)
    config = ImageConfig(
        "x", drop_path=0.4, auxiliary_weight=0.4, batch_size=9, filters=4
    )
    subject = ImageSearch(TINY, _images())
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
        config = tiny_search(retrain_random=3, **changes)
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
    config = tiny_search(
        **{**DEEP, "layers": 3, "depth_step": 1}, num_trials=12,
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
