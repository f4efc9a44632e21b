"""Tests of `search()`: a workdir that it refuses stays as it was."""

import json
import os

import pytest

from nas_keras.controllers import RandomController
from nas_keras.search import FunctionEvaluator
from nas_keras.search import search
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from tests.raising import raises
from tests.search_testing import files_in
from tests.search_testing import new_controller
from tests.search_testing import one_max_evaluator
from tests.search_testing import run_search
from tests.search_testing import small_space
from tests.search_testing import stop_after


@pytest.mark.parametrize("num_bytes", [0, 1, 200, -1])
def test_a_journal_that_was_cut_is_refused(num_bytes, tmp_path):
    workdir = tmp_path / "run"
    stop_after(workdir, 3)  # No checkpoint knows better.
    path = workdir / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:num_bytes])
    before = files_in(workdir)
    with raises(f"{path} is damaged: its first "):
        run_search(workdir)
    assert files_in(workdir) == before


def test_a_journal_that_is_gone_is_refused(tmp_path):
    workdir = tmp_path / "run"
    stop_after(workdir, 3)
    (workdir / "trials.jsonl").unlink()
    with raises("trials.jsonl is damaged: its first "):
        run_search(workdir)


def test_a_changed_digit_of_a_journal_is_noticed(tmp_path):
    workdir = tmp_path / "run"
    stop_after(workdir, 3)
    path = workdir / "trials.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"row": 1', b'"row": 2'))
    with raises("trials.jsonl is damaged: its first "):
        run_search(workdir)


def test_trials_that_a_checkpoint_has_seen_are_missed(tmp_path):
    workdir = tmp_path / "run"
    stop_after(workdir, 9)
    path = workdir / "trials.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6]))
    (workdir / "trials.jsonl.sha256").unlink()
    with raises("the checkpoint has seen 8 trials and the journal holds 6"):
        run_search(workdir)


@pytest.mark.parametrize("line", [b"{broken\n", b"\n", b"3\n", b"\xff\n"])
def test_a_damaged_middle_line_is_named_and_nothing_is_changed(line, tmp_path):
    workdir = tmp_path / "run"
    stop_after(workdir, 7)
    path = workdir / "trials.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = line
    path.write_bytes(b"".join(lines))
    before = files_in(workdir)
    with raises(f"{path}: line 3 is damaged"):
        run_search(workdir)
    assert files_in(workdir) == before


@pytest.mark.parametrize("change", ["remove", "repeat"])
def test_trials_that_are_missing_or_repeated_are_refused(change, tmp_path):
    workdir = tmp_path / "run"
    stop_after(workdir, 7)
    path = workdir / "trials.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines = lines[:2] + lines[3:] if change == "remove" else [*lines, lines[1]]
    path.write_bytes(b"".join(lines))
    (workdir / "trials.jsonl.sha256").unlink()
    before = files_in(workdir)
    with raises(f"{path}: trials are missing or given twice among the "):
        run_search(workdir)
    assert files_in(workdir) == before


def test_a_journal_of_other_tokens_is_refused(tmp_path):
    workdir = tmp_path / "run"
    stop_after(workdir, 6)
    path = workdir / "trials.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[5]["tokens"] = [(token + 1) % 4 for token in lines[5]["tokens"]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (workdir / "trials.jsonl.sha256").unlink()
    with raises("Trial 5 of the journal is "):
        run_search(workdir)


def test_a_journal_without_its_configuration_is_refused(tmp_path):
    workdir = tmp_path / "run"
    stop_after(workdir, 3)
    (workdir / "config.json").unlink()
    before = files_in(workdir)
    with raises(f"{workdir / 'config.json'} is missing beside what runs"):
        run_search(workdir)
    assert files_in(workdir) == before


@pytest.mark.parametrize(
    "name",
    [
        "report.html",
        "best_cell.json",
        "model.keras",
        "retraining/labels.csv",
        "steps.jsonl.sha256",
    ],
)
def test_a_folder_with_files_of_others_is_refused(name, tmp_path):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("of somebody else")
    with raises(
        "config.json is missing beside what runs of this package write"
    ):
        run_search(tmp_path)
    assert files_in(tmp_path) == {name: b"of somebody else"}


def test_files_of_others_stay(tmp_path):
    for name in ("book.txt", ".draft.v2.tmp"):
        (tmp_path / name).write_text("of somebody else")
    run_search(tmp_path)
    for name in ("book.txt", ".draft.v2.tmp"):
        assert (tmp_path / name).read_text() == "of somebody else"


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"{", "damaged, not JSON"), (b"[]", "damaged, it holds no 'run'")],
)
def test_a_damaged_configuration_is_named(data, message, tmp_path):
    workdir = tmp_path / "run"
    stop_after(workdir, 3)
    (workdir / "config.json").write_bytes(data)
    with raises(f"{workdir / 'config.json'}: {message}"):
        run_search(workdir)


def test_a_second_search_in_a_workdir_is_refused_naming_the_first(tmp_path):
    first = search(
        new_controller(), one_max_evaluator(), 8, tmp_path, batch_size=4
    )
    next(first)
    before = files_in(tmp_path)
    with raises(f"in use by pid {os.getpid()} on "):
        next(
            search(
                new_controller(), one_max_evaluator(), 8, tmp_path, batch_size=4
            )
        )
    assert files_in(tmp_path) == before
    assert len(list(first)) == 7  # The first is not disturbed.
    assert run_search(tmp_path, 8)[2] == 0  # And has let go of the folder.


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_workdir_that_cannot_be_made_is_named(name, tmp_path):
    (tmp_path / "file").write_text("mine")
    with raises(f"workdir {str(tmp_path / name)!r} cannot be made: "):
        run_search(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_cannot_be_made_shorter(tmp_path):
    run_search(tmp_path, 6, one_max_evaluator())
    before = {p.name: p.read_bytes() for p in tmp_path.glob("*.json*")}
    with pytest.raises(ValueError, match="holds 6 trials.*not shorter"):
        run_search(tmp_path, 4, one_max_evaluator())
    after = {p.name: p.read_bytes() for p in tmp_path.glob("*.json*")}
    assert after == before


def test_options_of_a_choice_are_part_of_the_configuration(tmp_path):
    def run(options):
        space = Space([Choice("width", options)])
        evaluator = FunctionEvaluator(space, lambda spec: spec["width"])
        return list(search(RandomController(space), evaluator, 2, tmp_path))

    run((16, 32))
    with pytest.raises(ValueError, match="choices was"):
        run((16, 64))


def test_only_one_process_starts_from_a_lock_without_a_name(tmp_path):
    first = search(
        RandomController(small_space()), one_max_evaluator(), 2, tmp_path
    )
    next(first)
    (tmp_path / "lock.holder").unlink()
    second = search(
        RandomController(small_space()), one_max_evaluator(), 2, tmp_path
    )
    with pytest.raises(ValueError, match="in use by another process"):
        next(second)
    first.close()
