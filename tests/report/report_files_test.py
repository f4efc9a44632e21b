"""Tests of what a report reads: the files of a run, gaps in them, damage."""

import hashlib
import math

from absl.testing import absltest
from absl.testing import parameterized

from nas_keras import report
from nas_keras.storage import guards
from tests.report_testing import EQUATIONS
from tests.report_testing import RunFolderTest
from tests.report_testing import json_retrained
from tests.report_testing import json_spec
from tests.report_testing import json_trial
from tests.report_testing import write_lines


class ReadRunTest(RunFolderTest):
    def test_reads_every_file(self):
        self.write_run()
        run = report.read_run(self.workdir)
        self.assertLen(run.trials, 40)
        self.assertLen(run.random_trials, 40)
        self.assertLen(run.steps, 10)
        self.assertLen(run.retrained, 4)
        self.assertEqual(run.best_cell.equations, tuple(EQUATIONS))
        self.assertEqual(run.config["run"]["space"], {"base": 8})
        self.assertEqual(run.notes, ())

    def test_reads_what_was_met_again_and_what_was_sampled(self):
        self.write_run()
        write_lines(
            self.workdir / "trials.jsonl",
            [json_trial(0, 0.5, same_as=None), json_trial(1, 0.5, same_as=0)],
        )
        derived = [json_trial(0, 0.5), json_trial(1, 0.4), json_trial(2, None)]
        path = self.workdir / "derived" / "trials.jsonl"
        write_lines(path, derived)
        chance = self.workdir / "random" / "derived" / "trials.jsonl"
        write_lines(chance, derived[1:2])
        run = report.read_run(self.workdir)
        self.assertEqual([t.same_as for t in run.trials], [None, 0])
        # An older journal.
        self.assertEqual({t.same_as for t in run.random_trials}, {None})
        self.assertEqual([t.id for t in run.derived_trials], [0, 1, 2])
        self.assertEqual([t.id for t in run.random_derived_trials], [1])
        with open(chance, "a") as file:
            file.write("{}\n")
        with self.assertRaisesRegex(
            ValueError, r"^random/derived/trials\.jsonl line 2 must have"
        ):
            report.read_run(self.workdir)

    @parameterized.parameters(
        ({"settings": {"evaluator": {"class": "Shared"}}}, True),
        ({"settings": {"evaluator": {"class": "FromScratch"}}}, False),
        ({"settings": {"evaluator": "Shared"}}, False),
        ({"settings": {}}, False),
        ({"settings": ["evaluator"]}, False),
        ({}, False),
        ("shared", False),
    )
    def test_evaluator_is_that_of_the_configuration(self, part, shared):
        self.write_run()
        self.write_json("config.json", {"run": part})
        run = report.read_run(self.workdir)
        self.assertEqual(run.shared_weights, shared)
        noted = any("No derived/trials.jsonl" in note for note in run.notes)
        self.assertEqual(noted, shared)

    @parameterized.parameters((0.5, 0.5), (3, 3.0), (None, None))
    def test_reward_of_a_retrained_cell(self, reward, want):
        record = json_retrained("found", 0, 8.0, reward=reward)
        self.write_run()
        path = self.workdir / "retrained.jsonl"
        write_lines(path, [record, json_retrained("found", 1, 8.0)])
        given, missing = report.read_run(self.workdir).retrained
        self.assertEqual(given.reward, want)
        self.assertIsNone(missing.reward)

    def test_missing_optional_files_are_noted(self):
        write_lines(self.workdir / "trials.jsonl", [json_trial(0, 0.5)])
        notes = " ".join(report.read_run(self.workdir).notes)
        for name in (
            "random/trials.jsonl",
            "steps.jsonl",
            "retrained.jsonl",
            "best_*.json",
            "config.json",
        ):
            self.assertIn(f"No {name}", notes)

    def test_unfinished_last_line_is_skipped_and_noted(self):
        self.write_run()
        with open(self.workdir / "trials.jsonl", "a") as file:
            file.write('{"id": 40, "rew')
        run = report.read_run(self.workdir)
        self.assertLen(run.trials, 40)
        self.assertIn("trials.jsonl line 41 is unfinished", run.notes[0])

    def test_a_journal_that_was_cut_is_refused_and_one_that_grows_is_not(self):
        self.write_run()
        path = self.workdir / "random" / "trials.jsonl"
        data = path.read_bytes()
        guards.write(path, len(data), hashlib.sha256(data).hexdigest())
        lines = data.splitlines(keepends=True)
        path.write_bytes(data + lines[0].replace(b'"id": 0', b'"id": 40'))
        self.assertLen(report.read_run(self.workdir).random_trials, 41)
        path.write_bytes(b"".join(lines[:3]))
        with self.assertRaisesRegex(
            ValueError, r"random/trials\.jsonl is damaged: its first \d+ bytes"
        ):
            report.read_run(self.workdir)

    def test_damage_elsewhere_names_file_and_line(self):
        self.write_run()
        path = self.workdir / "random" / "trials.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([lines[0], b"\xff{\n", *lines[2:]]))
        with self.assertRaisesRegex(
            ValueError, r"random/trials\.jsonl line 2 must be a JSON object"
        ):
            report.read_run(self.workdir)

    def test_children_are_sorted_and_a_repeated_id_is_noted(self):
        records = [json_trial(2, 0.2), json_trial(0, 0.0), json_trial(2, 0.7)]
        write_lines(self.workdir / "trials.jsonl", records)
        run = report.read_run(self.workdir)
        self.assertEqual([t.id for t in run.trials], [0, 2])
        self.assertEqual(run.trials[1].reward, 0.7)
        self.assertIn("1 lines repeat the id", run.notes[0])

    @parameterized.parameters(math.nan, math.inf, None)
    def test_child_without_finite_reward_is_infeasible(self, reward):
        record = json_trial(0, reward, infeasible=None)
        write_lines(self.workdir / "trials.jsonl", [record])
        (trial,) = report.read_run(self.workdir).trials
        self.assertIsNone(trial.reward)
        self.assertEqual(trial.infeasible, "no finite reward")

    @parameterized.parameters(
        ({"reward": "high"}, "reward must be int or float.*'high'"),
        ({"id": True}, "id must be int, received True"),
        ({"infeasible": 3}, "infeasible must be str or NoneType, received 3"),
        ({"same_as": "0"}, "same_as must be int or NoneType, received '0'"),
        ({"metrics": [1]}, r"metrics must be dict.*\[1\]"),
    )
    def test_wrong_types_name_the_field(self, changes, message):
        record = json_trial(0, 0.5) | changes
        write_lines(self.workdir / "trials.jsonl", [record])
        with self.assertRaisesRegex(ValueError, f"line 1: {message}"):
            report.read_run(self.workdir)

    def test_missing_key_is_named(self):
        write_lines(self.workdir / "trials.jsonl", [{"id": 0}])
        with self.assertRaisesRegex(ValueError, "must have the key 'reward'"):
            report.read_run(self.workdir)

    @parameterized.parameters(
        (b"[1]", r"config\.json must be a JSON object, received \[1\]"),
        (b'{"run": ', r"config\.json must be a JSON object in UTF-8"),
        (b"\xff\xfe", r"config\.json must be a JSON object in UTF-8"),
        (b"[" * 100_000, r"config\.json must be a JSON object in UTF-8"),
    )
    def test_undecodable_config(self, data, message):
        self.write_run()
        (self.workdir / "config.json").write_bytes(data)
        with self.assertRaisesRegex(ValueError, message) as caught:
            report.read_run(self.workdir)
        self.assertLess(len(str(caught.exception)), 400)

    def test_folder_must_be_that_of_a_search(self):
        cases = {
            "absent": "received '.*absent': no such folder",
            "file": "received '.*file': this is a file",
            "empty": r"journal trials\.jsonl.*received '.*empty'",
            "early": "at least one finished child.*early",
        }
        (self.workdir / "file").touch()
        (self.workdir / "empty").mkdir()
        write_lines(self.workdir / "early" / "trials.jsonl", [])
        for name, message in cases.items():
            with self.assertRaisesRegex(ValueError, message):
                report.read_run(self.workdir / name)

    def test_cell_without_equations(self):
        self.write_run()
        self.write_json("best_cell.json", json_spec() | {"equations": [1]})
        with self.assertRaisesRegex(
            ValueError, r"best_cell\.json: equations must be a list of strings"
        ):
            report.read_run(self.workdir)


if __name__ == "__main__":
    absltest.main()
