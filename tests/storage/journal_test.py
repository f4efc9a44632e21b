"""Tests of the journal: its records, its guard, damage and failing writes."""

import errno
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from nas_keras.search import FunctionEvaluator
from nas_keras.search import search
from nas_keras.storage import journal as journal_module
from nas_keras.storage.journal import Journal
from tests.raising import raises_first as raises
from tests.storage_testing import RECORD
from tests.storage_testing import changed
from tests.storage_testing import logged_warnings
from tests.storage_testing import new_folder

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_REQUIRED = {"id": (int,)}


def _written(path, records):
    journal = Journal(path, _REQUIRED)
    for record in records:
        journal.append(record)
    return journal


def _guard(path):
    return path.with_name(path.name + ".sha256")


@given(st.lists(st.lists(RECORD, max_size=3), max_size=4))
def test_records_may_be_appended_several_at_once(batches):
    with new_folder() as folder, logged_warnings() as told:
        path = folder / "x.jsonl"
        journal, want = Journal(path, _REQUIRED), []
        for batch in batches:
            journal.append(*batch)
            want += batch
            assert journal.records == want
            assert Journal(path, _REQUIRED).records == want
        assert told == []


def test_a_journal_line_is_on_disk_when_append_returns(tmp_path):
    journal = Journal(tmp_path / "x.jsonl", {"number": (int,)})
    for number in range(3):
        journal.append({"number": number, "text": "ä\u2028b"})
        again = Journal(tmp_path / "x.jsonl", {"number": (int,)})
        assert again.records == journal.records
    assert len(again.records) == 3


def test_what_is_appended_is_copied(tmp_path):
    journal = Journal(tmp_path / "x.jsonl", _REQUIRED)
    record = {"id": 1}
    journal.append(record)
    record["id"] = 2
    assert journal.records == [{"id": 1}]


def test_a_journal_without_records_leaves_no_file(tmp_path):
    assert Journal(tmp_path / "x.jsonl", _REQUIRED).records == []
    assert list(tmp_path.iterdir()) == []


def test_the_guard_holds_length_and_digest_of_what_was_written(tmp_path):
    path = tmp_path / "x.jsonl"
    journal = Journal(path, _REQUIRED)
    for number in range(3):
        journal.append({"id": number}, {"id": number, "text": "ä"})
        data = path.read_bytes()
        length, digest, checksum = _guard(path).read_text().split()
        assert int(length) == len(data)
        assert digest == hashlib.sha256(data).hexdigest()
        assert re.fullmatch("[0-9a-f]{8}", checksum)


def test_a_journal_that_is_opened_again_goes_on_with_its_guard(tmp_path):
    path = tmp_path / "x.jsonl"
    for number in range(4):
        _written(path, [{"id": number}])
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert _guard(path).read_text().split()[1] == digest
    assert len(Journal(path, _REQUIRED).records) == 4


@settings(max_examples=200)
@given(
    st.lists(RECORD, min_size=1, max_size=3),
    st.integers(0, 10**6),
    st.integers(1, 255),
)
def test_any_changed_byte_of_a_journal_is_refused(records, place, difference):
    with new_folder() as folder:
        path = folder / "x.jsonl"
        _written(path, records)
        data = changed(path.read_bytes(), place, difference)
        path.write_bytes(data)
        guard = _guard(path).read_bytes()
        with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
            Journal(path, _REQUIRED)
        message = str(caught.value)
        assert re.search(r": line \d+ is damaged| is damaged: its ", message)
        assert message.endswith(
            "Restore the file from a copy; nothing was changed."
        )
        assert path.read_bytes() == data
        assert _guard(path).read_bytes() == guard


@settings(max_examples=100)
@given(st.lists(RECORD, min_size=1, max_size=3), st.integers(0, 10**6))
def test_any_cut_of_a_journal_is_refused(records, place):
    with new_folder() as folder:
        path = folder / "x.jsonl"
        _written(path, records)
        whole = path.read_bytes()
        data = whole[: place % len(whole)]
        path.write_bytes(data)
        message = (
            f"{path} is damaged: its first {len(whole)} bytes are not those "
            f"that were written (see x.jsonl.sha256); it has {len(data)}."
        )
        with raises(message):
            Journal(path, _REQUIRED)
        assert path.read_bytes() == data


@settings(max_examples=200)
@given(
    st.lists(RECORD, min_size=1, max_size=3),
    st.integers(0, 10**6),
    st.integers(1, 255),
)
# Once: a byte beyond ASCII is an error of decoding that names no file.
@example([{"id": 0}], 0, 0xC0)
@example([{"id": 0}], 20, 0x80)
def test_any_changed_byte_of_a_guard_is_told_and_the_records_are_kept(
    records, place, difference
):
    with new_folder() as folder, logged_warnings() as told:
        path = folder / "x.jsonl"
        want = _written(path, records).records
        guard = _guard(path)
        guard.write_bytes(changed(guard.read_bytes(), place, difference))
        journal = Journal(path, _REQUIRED)
        assert journal.records == want
        assert told == [f"{guard} is damaged; not looked at."]
        journal.append({"id": 7})  # The guard is whole again.
        assert Journal(path, _REQUIRED).records == [*want, {"id": 7}]
        assert len(told) == 1


@given(st.integers(0, 10**6))
def test_any_cut_of_a_guard_is_told_and_the_records_are_kept(place):
    with new_folder() as folder, logged_warnings() as told:
        path = folder / "x.jsonl"
        want = _written(path, [{"id": 0}, {"id": 1}]).records
        guard = _guard(path)
        data = guard.read_bytes()
        guard.write_bytes(data[: place % len(data)])
        assert Journal(path, _REQUIRED).records == want
        assert told == [f"{guard} is damaged; not looked at."]


@given(st.binary(max_size=100))
# Likewise.
@example(b"\xff 1 2")
def test_any_guard_is_told_and_the_records_are_kept(data):
    with new_folder() as folder, logged_warnings() as told:
        path = folder / "x.jsonl"
        want = _written(path, [{"id": 0}]).records
        _guard(path).write_bytes(data)
        assert Journal(path, _REQUIRED).records == want
        assert told == [f"{_guard(path)} is damaged; not looked at."]


def test_a_guard_without_its_journal_is_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    _written(path, [{"id": 0}])
    path.unlink()
    with raises(f"{path} is damaged: its first 10 bytes are not those that "):
        Journal(path, _REQUIRED)
    assert not path.exists()


def test_a_journal_without_a_guard_is_taken_as_it_is(tmp_path):
    path = tmp_path / "x.jsonl"
    want = _written(path, [{"id": 0}, {"id": 1}]).records
    _guard(path).unlink()
    with logged_warnings() as told:
        journal = Journal(path, _REQUIRED)
    assert told == [f"{path} has no guard; taken as it is."]
    assert journal.records == want


@pytest.mark.parametrize(
    "line", ["{}", '{"number": "1"}', '{"number": true}', "[1]", "3"]
)
def test_a_journal_line_of_another_shape_is_damage(tmp_path, line):
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"number": 0}}\n{line}\n')
    with pytest.raises(ValueError, match=r"x.jsonl: line 2 is damaged"):
        Journal(path, {"number": (int,)})


@pytest.mark.parametrize("torn", [b"", b'{"id', b'{"id": 9}'])
def test_records_a_crash_left_beyond_the_guard_are_kept(torn, tmp_path):
    path = tmp_path / "x.jsonl"
    journal = _written(path, [{"id": 0}])
    guard = _guard(path).read_bytes()
    journal.append({"id": 1}, {"id": 2})
    _guard(path).write_bytes(guard)  # The crash was before it was written.
    path.write_bytes(path.read_bytes() + torn)
    with logged_warnings() as told:
        again = Journal(path, _REQUIRED)
        assert len(told) == bool(torn)
        assert again.records == journal.records
        again.append({"id": 3})
        assert Journal(path, _REQUIRED).records == again.records
    assert [record["id"] for record in again.records] == [0, 1, 2, 3]


def test_records_that_are_no_json_are_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "x.jsonl"
    journal = _written(path, [{"id": 0}])
    before = path.read_bytes()
    with raises("Out of range float values are not JSON compliant"):
        journal.append({"id": 1}, {"id": 2, "value": float("nan")})
    with pytest.raises(TypeError):
        journal.append({"id": 1}, {"id": 2, "value": {1, 2}})
    assert path.read_bytes() == before
    assert journal.records == [{"id": 0}]


def test_a_reason_of_any_text_can_be_journalled(tmp_path):
    # Once: half a surrogate pair, as it is in the names of files that are
    # not UTF-8, ends the search with UnicodeEncodeError.
    from nas_keras.controllers import RandomController
    from nas_keras.spaces import Choice
    from nas_keras.spaces import Space

    def fn(spec):
        raise FileNotFoundError("no file caf\udce9")

    space = Space([Choice("a", (0, 1))])
    controller = RandomController(space)
    evaluator = FunctionEvaluator(space, fn)
    with logged_warnings():
        (trial,) = search(controller, evaluator, 1, tmp_path)
    reason = trial.evaluation.infeasible
    assert reason.startswith("FileNotFoundError: no file caf")


_FULL_DISK = """
    import pathlib, resource, sys
    from nas_keras.storage.journal import Journal

    path = pathlib.Path(sys.argv[1])
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    journal = Journal(path, {"id": (int,)})
    num_written = int(sys.argv[2])
    if num_written:
        journal.append(*({"id": k} for k in range(num_written)))
    before = path.read_bytes() if path.exists() else b""
    # Room for half the next record.
    limit = len(before) + 500
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    for _ in range(2):
        try:
            journal.append({"id": 7, "text": "x" * 1000})
        except OSError as error:
            assert error.strerror == "File too large", error
        else:
            sys.exit("There was room.")
        assert path.read_bytes() == before
        assert len(journal.records) == num_written
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    journal.append({"id": 8})
    again = Journal(path, {"id": (int,)}).records
    assert again == journal.records
    assert len(again) == num_written + 1
"""


@pytest.mark.parametrize("num_written", [0, 3])
def test_a_full_disk_leaves_the_journal_as_it_was(num_written, tmp_path):
    code = textwrap.dedent(_FULL_DISK)
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "x.jsonl", str(num_written)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert result.returncode == 0, result.stderr
    assert "guard" not in result.stderr


# A new journal: the file, the folder, the guard, its folder; an old one has no
# second of these.
@pytest.mark.parametrize(
    ("num_written", "failing"),
    [(0, 1), (0, 2), (0, 3), (0, 4), (2, 1), (2, 2), (2, 3)],
)
def test_an_append_that_fails_leaves_the_journal_as_it_was_or_guardless(
    num_written, failing, tmp_path, monkeypatch
):
    path = tmp_path / "x.jsonl"
    journal = _written(path, [{"id": k} for k in range(num_written)])
    before = path.read_bytes() if path.exists() else b""
    fsync, calls = os.fsync, []

    def failing_fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_fsync)
        with pytest.raises(OSError, match="No space left on device"):
            journal.append({"id": 7})
    is_kept = failing > (1 if num_written else 2)
    assert (path.read_bytes() == before) == (not is_kept)
    kept = [*range(num_written), *([7] if is_kept else [])]
    assert [r["id"] for r in Journal(path, _REQUIRED).records] == kept
    journal.append({"id": 8})
    again = Journal(path, _REQUIRED)
    assert again.records == journal.records
    assert [r["id"] for r in again.records] == [*kept, 8]


def test_a_journal_that_cannot_be_made_says_why(tmp_path, monkeypatch):
    def full(path, mode):
        if "a" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return open(path, mode)

    journal = Journal(tmp_path / "x.jsonl", _REQUIRED)
    monkeypatch.setattr(journal_module, "open", full, raising=False)
    # Once: "No such file or directory", of the file that it would cut.
    with pytest.raises(OSError, match="No space left on device"):
        journal.append({"id": 0})
