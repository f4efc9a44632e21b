"""Tests of the report of a run: its page, and the program that writes it."""

import dataclasses
import html.parser
import math
import pathlib
import subprocess
import sys
from unittest import mock

from absl.testing import absltest

from nas_keras import report
from nas_keras.report import run_files
from tests import forked
from tests.report_testing import RunFolderTest
from tests.report_testing import json_retrained
from tests.report_testing import json_spec
from tests.report_testing import json_trial
from tests.report_testing import write_lines

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_VOID_TAGS = {"meta", "br", "hr", "img", "link", "input"}


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


class PageTest(RunFolderTest):
    def page(self):
        path = report.write_report(self.workdir)
        return _Page(path.read_text(encoding="utf-8"))

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
        trials = [json_trial(i, 0.5) for i in range(5)]
        trials.append(json_trial(5, 0.5, same_as=2, fingerprint="f2"))
        write_lines(self.workdir / "trials.jsonl", trials)
        text = self.page().text
        self.assertIn("5 distinct architectures; 1 was met again", text)
        self.assertIn("met again, not trained again 1 0", text)

    def test_page_of_a_run_with_shared_weights(self):
        self.write_run()
        settings = {"settings": {"evaluator": {"class": "Shared"}}}
        self.write_json("config.json", {"run": settings})
        derived = [json_trial(0, 0.5), json_trial(1, None)]
        for folder in (self.workdir, self.workdir / "random"):
            write_lines(folder / "derived" / "trials.jsonl", derived)
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
        write_lines(self.workdir / "trials.jsonl", [json_trial(0, 0.5)])
        page = self.page()
        self.assertEqual((page.problems, page.open), ([], []))
        self.assertEqual(page.tags.count("svg"), 2)
        self.assertIn("random search was not run", page.text)
        self.assertIn("No architecture was retrained.", page.text)

    def test_every_string_of_the_run_is_escaped(self):
        self.write_run()
        bad = '"><script>alert(1)</script>\x00\u202e\ud800'
        spec = json_spec(bad) | {"equations": [bad], "states": [bad]}
        spec["provenance"] = {bad: {bad: [bad]}}
        changes = {"origin": bad, "spec": spec}
        records = [
            json_retrained(bad, 0, 7.0, **changes),
            json_retrained(bad, 1, 7.0, infeasible=bad, **changes),
        ]
        write_lines(self.workdir / "retrained.jsonl", records)
        trials = [json_trial(0, 0.5), json_trial(1, None, infeasible=bad)]
        write_lines(self.workdir / "trials.jsonl", trials)
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
        trials = [json_trial(i, math.sin(i)) for i in range(20_000)]
        write_lines(self.workdir / "trials.jsonl", trials)
        path = report.write_report(self.workdir)
        self.assertLess(path.stat().st_size, 2_000_000)
        self.assertIn("Of every 14 children one is drawn", path.read_text())

    def test_records_are_frozen(self):
        self.write_run()
        run = report.read_run(self.workdir)
        with self.assertRaises(dataclasses.FrozenInstanceError):
            run.trials = ()
        self.assertIsInstance(run, run_files.RunFiles)


class ProgramTest(RunFolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        its_program = forked.Program("report")
        cls.addClassCleanup(its_program.close)
        cls.refusing = its_program

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
                result = self.refusing.run(*arguments, cwd=_ROOT)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertRegex(result.stderr, f"^nas-report: .*{message}")
                self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
                self.assertEmpty(result.stdout)
        self.assertFalse((self.workdir / "report.html").exists())

    def test_a_report_that_cannot_be_written_is_the_disks_error(self):
        self.write_run()
        (self.workdir / "report.html").mkdir()
        result = self.refusing.run(str(self.workdir), cwd=_ROOT)
        self.assertEqual(result.returncode, 74, result.stderr)
        self.assertRegex(result.stderr, r"nas-report: .*report\.html")


if __name__ == "__main__":
    absltest.main()
