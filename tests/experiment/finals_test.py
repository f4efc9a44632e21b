"""Tests of the finals: every architecture once with every seed, resumed."""

import dataclasses
import json

import pytest

from nas_keras.convnets import resnet_spec
from nas_keras.evaluators.trial import Evaluation
from nas_keras.evaluators.trial import Trial
from nas_keras.experiment.experiment import Experiment
from nas_keras.experiment.finals import Candidate
from nas_keras.experiment.finals import best_distinct
from nas_keras.experiment.finals import name_of
from nas_keras.experiment.finals import remove_begun
from nas_keras.experiment.finals import retrain
from nas_keras.search import Cluster
from nas_keras.spaces import enas_macro_space
from nas_keras.tasks import ImageTask
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.steps import ImageSteps
from tests.experiment_testing import CountedTask
from tests.experiment_testing import accuracy_of
from tests.experiment_testing import noise_images
from tests.image_search_testing import TINY
from tests.image_search_testing import tiny_finals
from tests.image_search_testing import tiny_search
from tests.image_training_testing import NETWORK
from tests.raising import raises

_FIRST, _SECOND = resnet_spec(8, 2), resnet_spec(14, 2)


def _retrained(candidates, task, folder, seeds=2):
    shown = []
    records = list(
        retrain(
            candidates, task, 0, seeds, folder, Cluster(),
            lambda place, record: shown.append(place),
        )
    )  # fmt: skip
    return records, shown


def test_every_network_is_trained_once_with_every_seed(tmp_path):
    candidates = [
        Candidate(_FIRST, "controller", 3, 0.5),
        Candidate(_SECOND, "published"),
    ]
    task = CountedTask(fails=(_SECOND.name,))
    records, shown = _retrained(candidates[:1], task, tmp_path)
    assert shown == [0, 1]
    records, shown = _retrained(candidates, task, tmp_path)
    assert shown == [2, 3]
    assert task.done == [
        (spec.name, seed) for spec in (_FIRST, _SECOND) for seed in (0, 1)
    ]
    assert (
        list(records[0])
        == (
            "cell origin trial reward fingerprint spec noun metric is_baseline "
            "size seed metrics elapsed_s infeasible"
        ).split()
    )
    assert records[0]["spec"] == _FIRST.to_dict()
    assert records[1]["metrics"]["validation_accuracy"] == pytest.approx(
        accuracy_of(_FIRST) + 0.01
    )
    assert records[3]["infeasible"] == "FloatingPointError: diverged"
    assert not list((tmp_path / "retraining").iterdir())
    # They are on disk as they are yielded.
    lines = (tmp_path / "retrained.jsonl").read_text().splitlines()
    assert list(map(json.loads, lines)) == records
    assert len(set(map(name_of, records))) == 4


def test_a_record_says_what_a_report_needs(tmp_path):
    candidates = [
        Candidate(_FIRST, "published"),
        Candidate(dataclasses.replace(_SECOND, name="mine"), "controller", 0),
    ]
    records, _ = _retrained(candidates, CountedTask(), tmp_path, seeds=1)
    assert [record["is_baseline"] for record in records] == [True, False]
    for record in records:
        assert record["noun"] == "network"
        assert record["metric"] == {
            "name": "accuracy", "unit": "%", "is_more_better": True,
        }  # fmt: skip
        assert record["size"] == {"parameters": 1_234}


def test_models_have_the_number_of_weights_that_is_asked_for(tmp_path):
    task = CountedTask()
    list(
        retrain(
            [Candidate(_FIRST, "drawn")], task, 77, 1, tmp_path, Cluster(),
            lambda place, record: None,
        )
    )  # fmt: skip
    assert task.resizings == [(_FIRST.name, 77)]


def test_another_size_is_another_training(tmp_path):
    candidates = [Candidate(_FIRST, "published")]
    small, large = CountedTask(), CountedTask(parameters=99)
    _retrained(candidates, small, tmp_path, seeds=1)
    _, shown = _retrained(candidates, large, tmp_path, seeds=1)
    assert shown == [0]
    _, shown = _retrained(candidates, small, tmp_path, seeds=1)
    assert shown == []


def test_what_another_phase_has_begun_is_left_until_all_is_done(tmp_path):
    begun = tmp_path / "retraining" / "373a" / "checkpoints"
    begun.mkdir(parents=True)
    _retrained([Candidate(_FIRST, "drawn")], CountedTask(), tmp_path)
    assert begun.exists()
    remove_begun(tmp_path)
    assert not (tmp_path / "retraining").exists()
    remove_begun(tmp_path)


def test_an_error_of_the_disk_is_not_of_the_network(tmp_path):
    class Full(CountedTask):
        def train(self, spec, seed, folder=None, on_progress=None):
            raise OSError(28, "No space left on device")

    candidates = [Candidate(_FIRST, "published")]
    with raises("No space left", OSError):
        _retrained(candidates, Full(), tmp_path)
    task = CountedTask()
    records, _ = _retrained(candidates, task, tmp_path)
    assert len(task.done) == 2 and not records[0]["infeasible"]


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
    best = best_distinct(trials, 4, "controller", larger.decode)
    assert [candidate.trial for candidate in best] == [1, 0]
    assert [candidate.spec.filters for candidate in best] == [8, 8]
    assert [candidate.reward for candidate in best] == [0.9, 0.3]
    assert best_distinct(trials, 1, "random", larger.decode) == [
        dataclasses.replace(best[0], origin="random")
    ]


def test_what_is_made_like_the_best_is_made_when_it_is_known():
    finals = tiny_finals(published=("resnet", "resnet_20"))
    experiment = Experiment(tiny_search(finals=finals), noise_images())
    assert [spec.name for spec in experiment.published()] == ["resnet_20"]
    best = TINY.make_final_space().decode([0] * 6)
    (matched,) = experiment.matched(best)
    assert matched.name.startswith("resnet_")


class TestATrainingThatWasStopped:
    training = ImageTraining(
        num_epochs=3, batch_size=10, learning_rate=0.1, snapshot_updates=2
    )

    def _updates(self, monkeypatch):
        """Returns a list that gets an item for each update that is taken."""
        updates, update = [], ImageSteps.update
        monkeypatch.setattr(
            ImageSteps,
            "update",
            lambda steps, *inputs: updates.append(1) or update(steps, *inputs),
        )
        return updates

    def _stop(self, task, folder, num_updates):
        """Leaves what a process leaves that is killed at an update."""

        class Killed(Exception):
            pass

        def kill(update):
            if (update.epoch - 1) * update.num_batches + update.batch == (
                num_updates
            ):
                raise Killed

        with pytest.raises(Killed):
            task.train(NETWORK, 0, folder, kill)

    def test_resumes_or_begins_anew_if_damaged_to_the_same(
        self, monkeypatch, tmp_path, caplog
    ):
        task = ImageTask(self.training, noise_images())
        candidates = [Candidate(NETWORK, "controller", 1)]
        updates = self._updates(monkeypatch)

        def metrics(name):
            (record,), _ = _retrained(candidates, task, tmp_path / name, 1)
            assert record["infeasible"] is None
            return record, record["metrics"]

        record, want = metrics("whole")
        assert len(updates) == 9
        assert want["num_parameters"] > 0
        assert want["rollbacks"] == 0
        assert "elapsed_s" not in want and record["elapsed_s"] > 0

        begun = f"retraining/{name_of(record)}"
        self._stop(task, tmp_path / "stopped" / begun, 8)
        updates.clear()
        assert metrics("stopped")[1] == want
        assert len(updates) == 3  # Of the last epoch.

        self._stop(task, tmp_path / "damaged" / begun, 4)
        for path in (tmp_path / "damaged" / begun).glob("checkpoints/*.npz"):
            path.write_bytes(b"")
        updates.clear()
        assert metrics("damaged")[1] == want
        assert len(updates) == 9
        assert "all snapshots are damaged" in caplog.text
        assert "Training from the beginning." in caplog.text
        assert not list((tmp_path / "damaged/retraining").iterdir())
