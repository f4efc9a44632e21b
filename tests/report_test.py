"""Tests of the report of a run: reading its files, the page, the program."""

import dataclasses
import html.parser
import json
import math
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from nas_keras import report
from nas_keras.report import run_files

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_EQUATIONS = ["next_c = c + tanh(linear(x))", "next_h = max(next_c, h) * 0.5"]
_VOID_TAGS = {"meta", "br", "hr", "img", "link", "input"}


def _spec(name="found"):
    return {
        "schema": 1,
        "name": name,
        "states": ["h", "c"],
        "equations": _EQUATIONS,
        "provenance": {"space": "tree(base=8)", "tokens": [3, 1]},
    }


def _trial(number, reward, **changes):
    return {
        "id": number,
        "step": number // 4,
        "row": number % 4,
        "tokens": [number, 1],
        "reward": reward,
        "metrics": {"validation_perplexity": 9.5},
        "elapsed_s": 0.5,
        "infeasible": None if reward is not None else "NaN loss\nat step 3",
        "fingerprint": f"f{number}",
        **changes,
    }


def _retrained(cell, seed, perplexity, **changes):
    return {
        "cell": cell,
        "origin": "published" if cell == "lstm" else "controller",
        "trial": None if cell == "lstm" else 7,
        "spec": _spec(cell),
        "units": 64,
        "num_parameters": 31_000,
        "seed": seed,
        "metrics": {
            "validation_perplexity": perplexity,
            "test_perplexity": perplexity + 0.5,
        },
        "elapsed_s": 12.0,
        "infeasible": None,
        **changes,
    }


def _write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


class _Page(html.parser.HTMLParser):
    """Collects tags, text and ids, and what is opened but not closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.open = [], [], [], []
        self.problems, self.words = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [
            value
            for name, value in attrs
            if name in ("src", "href", "xlink:href")
        ]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append((tag, self.getpos()))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


class _RunFolderTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.workdir = pathlib.Path(folder.name)
        self.num_trials = 40

    def write_run(self):
        rewards = [0.2 + 0.01 * i for i in range(self.num_trials)]
        rewards[4] = None
        trials = [_trial(i, r) for i, r in enumerate(rewards)]
        chance = [_trial(i, 0.3) for i in range(self.num_trials)]
        steps = [
            {"step": i, "loss": 0.1, "entropy_nats": 9.0 - i, "baseline": 0.2}
            for i in range(10)
        ]
        retrained = [
            _retrained("lstm", 0, 8.0),
            _retrained("found", 0, 7.9),
            _retrained("lstm", 1, 8.2),
            _retrained("found", 1, 8.1),
        ]
        _write_lines(self.workdir / "trials.jsonl", trials)
        _write_lines(self.workdir / "random" / "trials.jsonl", chance)
        _write_lines(self.workdir / "steps.jsonl", steps)
        _write_lines(self.workdir / "retrained.jsonl", retrained)
        self.write_json("best_cell.json", _spec())
        config = {
            "run": {"preset": "demo", "seed": 0, "space": {"base": 8}},
            "environment": {"python": "3.11.2"},
            "command": "nas-search --preset=demo",
        }
        self.write_json("config.json", config)

    def write_json(self, name, value):
        (self.workdir / name).write_text(json.dumps(value))

    def page(self):
        path = report.write_report(self.workdir)
        return _Page(path.read_text(encoding="utf-8"))


class ReadRunTest(_RunFolderTest):
    def test_reads_every_file(self):
        self.write_run()
        run = report.read_run(self.workdir)
        self.assertLen(run.trials, 40)
        self.assertLen(run.random_trials, 40)
        self.assertLen(run.steps, 10)
        self.assertLen(run.retrained, 4)
        self.assertEqual(run.best_cell.equations, tuple(_EQUATIONS))
        self.assertEqual(run.config["run"]["space"], {"base": 8})
        self.assertEqual(run.notes, ())

    def test_reads_what_was_met_again_and_what_was_sampled(self):
        self.write_run()
        _write_lines(
            self.workdir / "trials.jsonl",
            [_trial(0, 0.5, same_as=None), _trial(1, 0.5, same_as=0)],
        )
        derived = [_trial(0, 0.5), _trial(1, 0.4), _trial(2, None)]
        path = self.workdir / "derived" / "trials.jsonl"
        _write_lines(path, derived)
        chance = self.workdir / "random" / "derived" / "trials.jsonl"
        _write_lines(chance, derived[1:2])
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
        ({"settings": {"evaluator": "shared"}}, True),
        ({"settings": {"evaluator": "scratch"}}, False),
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
        record = _retrained("found", 0, 8.0, reward=reward)
        self.write_run()
        path = self.workdir / "retrained.jsonl"
        _write_lines(path, [record, _retrained("found", 1, 8.0)])
        given, missing = report.read_run(self.workdir).retrained
        self.assertEqual(given.reward, want)
        self.assertIsNone(missing.reward)

    def test_missing_optional_files_are_noted(self):
        _write_lines(self.workdir / "trials.jsonl", [_trial(0, 0.5)])
        notes = " ".join(report.read_run(self.workdir).notes)
        for name in (
            "random/trials.jsonl",
            "steps.jsonl",
            "retrained.jsonl",
            "best_cell.json",
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
        records = [_trial(2, 0.2), _trial(0, 0.0), _trial(2, 0.7)]
        _write_lines(self.workdir / "trials.jsonl", records)
        run = report.read_run(self.workdir)
        self.assertEqual([t.id for t in run.trials], [0, 2])
        self.assertEqual(run.trials[1].reward, 0.7)
        self.assertIn("1 lines repeat the id", run.notes[0])

    @parameterized.parameters(math.nan, math.inf, None)
    def test_child_without_finite_reward_is_infeasible(self, reward):
        record = _trial(0, reward, infeasible=None)
        _write_lines(self.workdir / "trials.jsonl", [record])
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
        record = _trial(0, 0.5) | changes
        _write_lines(self.workdir / "trials.jsonl", [record])
        with self.assertRaisesRegex(ValueError, f"line 1: {message}"):
            report.read_run(self.workdir)

    def test_missing_key_is_named(self):
        _write_lines(self.workdir / "trials.jsonl", [{"id": 0}])
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
        _write_lines(self.workdir / "early" / "trials.jsonl", [])
        for name, message in cases.items():
            with self.assertRaisesRegex(ValueError, message):
                report.read_run(self.workdir / name)

    def test_cell_without_equations(self):
        self.write_run()
        self.write_json("best_cell.json", _spec() | {"equations": [1]})
        with self.assertRaisesRegex(
            ValueError, r"best_cell\.json: equations must be a list of strings"
        ):
            report.read_run(self.workdir)


class PageTest(_RunFolderTest):
    def test_page_is_well_formed_and_self_contained(self):
        self.write_run()
        page = self.page()
        self.assertEqual((page.problems, page.open), ([], []))
        self.assertEqual(page.tags.count("svg"), 5)
        self.assertNotIn("script", page.tags)
        self.assertEmpty([x for x in page.links if not x.startswith("#")])
        self.assertLen(set(page.ids), len(page.ids))
        self.assertContainsSubset({x[1:] for x in page.links}, page.ids)

    def test_page_shows_what_the_run_left(self):
        self.write_run()
        text = self.page().text
        for part in (
            "The controller evaluated 40 children: 39 feasible, 1 infeasible",
            "Random search evaluated 40 children",
            "nas-search --preset=demo",
            "next_h = max(next_c, h) * 0.5",
            "tree(base=8)",
            "8.000 ± 0.141",
            "Controller: 1 of 40. 1 × NaN loss",
            "space.base 8",
            "python 3.11.2",
        ):
            self.assertIn(part, text)

    def test_page_says_what_was_met_again(self):
        self.write_run()
        self.assertNotIn("met again", self.page().text)
        trials = [_trial(i, 0.5) for i in range(5)]
        trials.append(_trial(5, 0.5, same_as=2, fingerprint="f2"))
        _write_lines(self.workdir / "trials.jsonl", trials)
        text = self.page().text
        self.assertIn("5 distinct architectures; 1 was met again", text)
        self.assertIn("met again, not trained again 1 0", text)

    def test_page_of_a_run_with_shared_weights(self):
        self.write_run()
        settings = {"settings": {"evaluator": "shared"}}
        self.write_json("config.json", {"run": settings})
        derived = [_trial(0, 0.5), _trial(1, None)]
        for folder in (self.workdir, self.workdir / "random"):
            _write_lines(folder / "derived" / "trials.jsonl", derived)
        text = self.page().text
        for part in (
            "children and scored them with shared weights",
            "From the trained controller 2 architectures were sampled",
            "From random search 2 architectures were sampled",
            "Sampled from the controller: 1 of 2. 1 × NaN loss",
            "seconds scored",
        ):
            self.assertIn(part, text)
        self.assertNotIn("seconds trained", text)

    def test_only_a_journal_is_enough(self):
        _write_lines(self.workdir / "trials.jsonl", [_trial(0, 0.5)])
        page = self.page()
        self.assertEqual((page.problems, page.open), ([], []))
        self.assertEqual(page.tags.count("svg"), 2)
        self.assertIn("random search was not run", page.text)
        self.assertIn("No cell was retrained.", page.text)

    def test_every_string_of_the_run_is_escaped(self):
        self.write_run()
        bad = '"><script>alert(1)</script>\x00\u202e\ud800'
        spec = _spec(bad) | {"equations": [bad], "states": [bad]}
        spec["provenance"] = {bad: {bad: [bad]}}
        changes = {"origin": bad, "spec": spec}
        records = [
            _retrained(bad, 0, 7.0, **changes),
            _retrained(bad, 1, 7.0, infeasible=bad, **changes),
        ]
        _write_lines(self.workdir / "retrained.jsonl", records)
        trials = [_trial(0, 0.5), _trial(1, None, infeasible=bad)]
        _write_lines(self.workdir / "trials.jsonl", trials)
        self.write_json("best_cell.json", spec)
        self.write_json(
            "config.json", {bad: bad, "run": {bad: bad}, "command": bad}
        )
        page = self.page()
        self.assertNotIn("script", page.tags)
        self.assertEqual((page.problems, page.open), ([], []))
        self.assertGreater(page.text.count("<script>alert(1)</script>"), 10)
        self.assertNotRegex(page.text, "[\x00\u202e\ud800]")

    def test_same_run_gives_the_same_bytes(self):
        self.write_run()
        first = report.write_report(self.workdir).read_bytes()
        second = report.write_report(self.workdir).read_bytes()
        self.assertEqual(first, second)

    def test_failed_write_keeps_the_old_report(self):
        self.write_run()
        old = self.workdir / "report.html"
        old.write_text("old")
        with (
            mock.patch("os.replace", side_effect=OSError("disk full")),
            self.assertRaisesRegex(OSError, "disk full"),
        ):
            report.write_report(self.workdir)
        self.assertEqual(old.read_text(), "old")
        self.assertEmpty(list(self.workdir.glob(".report*")))

    def test_long_search_makes_a_small_page(self):
        trials = [_trial(i, math.sin(i)) for i in range(20_000)]
        _write_lines(self.workdir / "trials.jsonl", trials)
        path = report.write_report(self.workdir)
        self.assertLess(path.stat().st_size, 2_000_000)
        self.assertIn("Of every 14 children one is drawn", path.read_text())

    def test_records_are_frozen(self):
        self.write_run()
        run = report.read_run(self.workdir)
        with self.assertRaises(dataclasses.FrozenInstanceError):
            run.trials = ()
        self.assertIsInstance(run, run_files.RunFiles)


class ProgramTest(_RunFolderTest):
    def program(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "train.report", *arguments],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def test_prints_the_table_and_the_path(self):
        self.write_run()
        result = self.program(str(self.workdir))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, "(?m)^found +controller ")
        path = self.workdir / "report.html"
        self.assertIn(f"Report: {path}\n", result.stdout)
        self.assertTrue(path.is_file())

    def test_bad_input_is_one_line_and_status_2(self):
        self.write_run()
        (self.workdir / "config.json").write_text("{")
        (self.workdir / "empty").mkdir()
        cases = (
            ((), r"exactly one folder of a search\. Received: \[\]"),
            (("a", "b"), r"exactly one folder.*\['a', 'b'\]"),
            (("--colour=red", "a"), "colour"),
            (("absent",), "Received: 'absent': no such folder"),
            ((str(self.workdir / "empty"),), "no such file in it"),
            ((str(self.workdir),), r"config\.json must be a JSON object"),
        )
        for arguments, message in cases:
            with self.subTest(arguments=arguments):
                result = self.program(*arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertRegex(result.stderr, f"^nas-report: .*{message}")
                self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
                self.assertEmpty(result.stdout)
        self.assertFalse((self.workdir / "report.html").exists())


if __name__ == "__main__":
    absltest.main()
