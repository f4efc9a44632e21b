"""Tests of pending results: each is read as it was written, or left out."""

import json
import os

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from nas_keras.storage.pending import Pending
from tests.storage_testing import RECORD
from tests.storage_testing import changed
from tests.storage_testing import logged_warnings
from tests.storage_testing import new_folder


@given(
    st.dictionaries(
        st.text("abc0123456789._-", min_size=1).filter(
            lambda key: not key.startswith(".")
        ),
        RECORD,
        max_size=4,
    )
)
@example({"00000003": {"id": 1, "value": 0.1 + 0.2, "ä": -0.0}})
def test_pending_results_are_read_as_they_were_written(records):
    with new_folder() as folder, logged_warnings() as told:
        pending = Pending(folder / "pending")
        assert pending.read() == {}
        for key, record in records.items():
            pending.write(key, {"id": "an older one"})
            pending.write(key, record)
        found = Pending(folder / "pending").read()
        assert found == records
        assert json.dumps(found, sort_keys=True) == json.dumps(
            records, sort_keys=True
        )
        assert told == []


def test_pending_results_are_read_in_the_order_of_their_keys(tmp_path):
    pending = Pending(tmp_path / "pending")
    for key in ("00000010", "00000002", "a"):
        pending.write(key, {})
    assert list(pending.read()) == ["00000002", "00000010", "a"]


def test_pending_results_can_be_removed(tmp_path):
    pending = Pending(tmp_path / "pending")
    pending.remove(["never", "written"])
    for key in "abc":
        pending.write(key, {"id": key})
    with logged_warnings() as told:
        pending.remove(["a", "c", "never"])
        assert pending.read() == {"b": {"id": "b"}}
        pending.remove("b")
        assert pending.read() == {}
    assert told == []
    assert list((tmp_path / "pending").iterdir()) == []


def _is_left_out(folder, damage):
    """Writes two results, damages one; checks that the other is left."""
    pending = Pending(folder / "pending")
    pending.write("a", {"id": 1, "value": 0.25, "text": r"a \ud800"})
    pending.write("b", {"id": 2})
    path = folder / "pending" / "a.json"
    damage(path)
    with logged_warnings() as told:
        found = pending.read()
    assert found.pop("b") == {"id": 2}
    if found:  # A white space has become another.
        assert found == {"a": {"id": 1, "value": 0.25, "text": r"a \ud800"}}
        assert told == []
        return
    assert told == [f"{path} is damaged or gone; evaluating it once more."]
    pending.write("a", {"id": 3})
    assert pending.read() == {"a": {"id": 3}, "b": {"id": 2}}


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_of_a_pending_result_is_noticed(place, difference):
    with new_folder() as folder:
        _is_left_out(
            folder,
            lambda path: path.write_bytes(
                changed(path.read_bytes(), place, difference)
            ),
        )


@given(st.integers(0, 10**6))
@example(0)
def test_a_cut_pending_result_is_left_out(place):
    with new_folder() as folder:
        _is_left_out(
            folder,
            lambda path: path.write_bytes(
                path.read_bytes()[: place % path.stat().st_size]
            ),
        )


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"3", b"null", b"\xff", b'"sha256"',
        b'{"sha256": "", "record": {}}', b'{"record": {"id": 1}}',
        b'{"sha256": null, "record": NaN}',
        b'{"sha256": ["x"], "record": {}}',
        # Once: UnicodeEncodeError; one flipped bit makes it of a record that
        # holds the text "\\ud800".
        rb'{"sha256": "", "record": "\ud800"}',
        # Once: RecursionError.
        pytest.param(b"[" * 100_000, id="lists without end"),
    ],
)  # fmt: skip
def test_a_pending_file_of_another_shape_is_left_out(data, tmp_path):
    _is_left_out(tmp_path, lambda path: path.write_bytes(data))


def test_a_pending_result_that_is_gone_is_missed(tmp_path):
    _is_left_out(tmp_path, os.remove)


def test_what_else_is_among_pending_results_is_not_looked_at(tmp_path):
    folder = tmp_path / "pending"
    pending = Pending(folder)
    pending.write("a", {"id": 1})
    (folder / "notes.txt").write_text("mine")
    (folder / ".a.json.123.tmp").write_text("{")
    (folder / "folder").mkdir()
    with logged_warnings() as told:
        assert pending.read() == {"a": {"id": 1}}
        pending.remove(["a", "notes.txt"])
    assert told == []
    names = sorted(path.name for path in folder.iterdir())
    assert names == [".a.json.123.tmp", "folder", "notes.txt"]
