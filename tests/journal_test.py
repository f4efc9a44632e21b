"""Tests of what a run keeps on disk: journal, pending, finished, files."""

import contextlib
import errno
import hashlib
import io
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import textwrap
from unittest import mock

import numpy as np
import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nas_keras.search import FunctionEvaluator
from nas_keras.search import finished
from nas_keras.search import journal as journal_module
from nas_keras.search import search
from nas_keras.search import workdir
from nas_keras.search.journal import Journal
from nas_keras.search.pending import Pending
from nas_keras.storage import checkpoints
from nas_keras.storage import files
from nas_keras.storage import locks

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_REQUIRED = {"id": (int,)}
_VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)
_RECORD = st.fixed_dictionaries(
    {"id": st.integers(0, 9)}, optional={"value": _VALUE, "ä": _VALUE}
)


def _raises(message):
    return pytest.raises(ValueError, match="^" + re.escape(message))


@contextlib.contextmanager
def _folder():
    """A new folder for each example; a fixture would be one for all."""
    with (
        tempfile.TemporaryDirectory() as folder,
        # Hundreds of examples, and no machine that ends in one of them.
        mock.patch.object(os, "fsync", lambda descriptor: None),
    ):
        yield pathlib.Path(folder)


@contextlib.contextmanager
def _warnings():
    """Gives the list of the warnings that are logged meanwhile."""
    told = []
    with mock.patch.object(
        journal_module.logging,
        "warning",
        lambda text, *values: told.append(text % values),
    ):
        yield told


def _written(path, records):
    journal = Journal(path, _REQUIRED)
    for record in records:
        journal.append(record)
    return journal


def _guard(path):
    return path.with_name(path.name + ".sha256")


def _changed(data, place, difference):
    """Returns the data with another byte at a place."""
    place %= len(data)
    byte = bytes([data[place] ^ difference])
    return data[:place] + byte + data[place + 1 :]


# The journal.


@given(st.lists(st.lists(_RECORD, max_size=3), max_size=4))
def test_records_may_be_appended_several_at_once(batches):
    with _folder() as folder, _warnings() as told:
        path = folder / "x.jsonl"
        journal, want = Journal(path, _REQUIRED), []
        for batch in batches:
            journal.append(*batch)
            want += batch
            assert journal.records == want
            assert Journal(path, _REQUIRED).records == want
        assert told == []


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
    st.lists(_RECORD, min_size=1, max_size=3),
    st.integers(0, 10**6),
    st.integers(1, 255),
)
def test_any_changed_byte_of_a_journal_is_refused(records, place, difference):
    with _folder() as folder:
        path = folder / "x.jsonl"
        _written(path, records)
        data = _changed(path.read_bytes(), place, difference)
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
@given(st.lists(_RECORD, min_size=1, max_size=3), st.integers(0, 10**6))
def test_any_cut_of_a_journal_is_refused(records, place):
    with _folder() as folder:
        path = folder / "x.jsonl"
        _written(path, records)
        whole = path.read_bytes()
        data = whole[: place % len(whole)]
        path.write_bytes(data)
        message = (
            f"{path} is damaged: its first {len(whole)} bytes are not those "
            f"that were written (see x.jsonl.sha256); it has {len(data)}."
        )
        with _raises(message):
            Journal(path, _REQUIRED)
        assert path.read_bytes() == data


@settings(max_examples=200)
@given(
    st.lists(_RECORD, min_size=1, max_size=3),
    st.integers(0, 10**6),
    st.integers(1, 255),
)
# Once: a byte beyond ASCII is an error of decoding that names no file.
@example([{"id": 0}], 0, 0xC0)
@example([{"id": 0}], 20, 0x80)
def test_any_changed_byte_of_a_guard_is_told_and_the_records_are_kept(
    records, place, difference
):
    with _folder() as folder, _warnings() as told:
        path = folder / "x.jsonl"
        want = _written(path, records).records
        guard = _guard(path)
        guard.write_bytes(_changed(guard.read_bytes(), place, difference))
        journal = Journal(path, _REQUIRED)
        assert journal.records == want
        assert told == [f"{guard} is damaged; not looked at."]
        journal.append({"id": 7})  # The guard is whole again.
        assert Journal(path, _REQUIRED).records == [*want, {"id": 7}]
        assert len(told) == 1


@given(st.integers(0, 10**6))
def test_any_cut_of_a_guard_is_told_and_the_records_are_kept(place):
    with _folder() as folder, _warnings() as told:
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
    with _folder() as folder, _warnings() as told:
        path = folder / "x.jsonl"
        want = _written(path, [{"id": 0}]).records
        _guard(path).write_bytes(data)
        assert Journal(path, _REQUIRED).records == want
        assert told == [f"{_guard(path)} is damaged; not looked at."]


def test_a_guard_without_its_journal_is_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    _written(path, [{"id": 0}])
    path.unlink()
    with _raises(f"{path} is damaged: its first 10 bytes are not those that "):
        Journal(path, _REQUIRED)
    assert not path.exists()


def test_a_journal_without_a_guard_is_taken_as_it_is(tmp_path):
    path = tmp_path / "x.jsonl"
    want = _written(path, [{"id": 0}, {"id": 1}]).records
    _guard(path).unlink()
    with _warnings() as told:
        journal = Journal(path, _REQUIRED)
    assert told == [f"{path} has no guard; taken as it is."]
    assert journal.records == want


@pytest.mark.parametrize("torn", [b"", b'{"id', b'{"id": 9}'])
def test_records_a_crash_left_beyond_the_guard_are_kept(torn, tmp_path):
    path = tmp_path / "x.jsonl"
    journal = _written(path, [{"id": 0}])
    guard = _guard(path).read_bytes()
    journal.append({"id": 1}, {"id": 2})
    _guard(path).write_bytes(guard)  # The crash was before it was written.
    path.write_bytes(path.read_bytes() + torn)
    with _warnings() as told:
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
    with _raises("Out of range float values are not JSON compliant"):
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
    (trial,) = search(controller, evaluator, 1, tmp_path)
    reason = trial.evaluation.infeasible
    assert reason.startswith("FileNotFoundError: no file caf")


_FULL_DISK = """
    import pathlib, resource, sys
    from nas_keras.search.journal import Journal

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
@pytest.mark.parametrize("num_written", [0, 2])
@pytest.mark.parametrize("failing", [1, 2, 3, 4])
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

    if num_written and failing == 4:
        return  # There is no fourth.
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


# Pending results.


@given(
    st.dictionaries(
        st.text("abc0123456789._-", min_size=1).filter(
            lambda key: not key.startswith(".")
        ),
        _RECORD,
        max_size=4,
    )
)
@example({"00000003": {"id": 1, "value": 0.1 + 0.2, "ä": -0.0}})
def test_pending_results_are_read_as_they_were_written(records):
    with _folder() as folder, _warnings() as told:
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
    with _warnings() as told:
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
    with _warnings() as told:
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
    with _folder() as folder:
        _is_left_out(
            folder,
            lambda path: path.write_bytes(
                _changed(path.read_bytes(), place, difference)
            ),
        )


@given(st.integers(0, 10**6))
@example(0)
def test_a_cut_pending_result_is_left_out(place):
    with _folder() as folder:
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
    with _warnings() as told:
        assert pending.read() == {"a": {"id": 1}}
        pending.remove(["a", "notes.txt"])
    assert told == []
    names = sorted(path.name for path in folder.iterdir())
    assert names == [".a.json.123.tmp", "folder", "notes.txt"]


# The mark of a finished run.

_RESULTS = ("best_cell.json", "trials.jsonl", "trials.csv", "config.json",
            "random/trials.jsonl", "checkpoints/manifest.json")  # fmt: skip
_OTHERS = ("report.html", "lock",
           "pending/a.json", ".hidden.json", "random/.hidden.jsonl",
           "trials.jsonl.sha256")  # fmt: skip
_CONFIG = {"seed": 0, "controller": {"units": 8, "text": "ä"}}


def _finish(folder):
    for name in (*_RESULTS, *_OTHERS):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"this is {name}")
    finished.mark(folder, _CONFIG)


def test_a_run_is_finished_once_it_is_marked(tmp_path):
    assert not finished.is_finished(tmp_path, _CONFIG)
    _finish(tmp_path)
    assert finished.is_finished(tmp_path, _CONFIG)
    (tmp_path / "finished.json").unlink()
    assert not finished.is_finished(tmp_path, _CONFIG)


def test_the_order_of_a_configuration_does_not_matter(tmp_path):
    _finish(tmp_path)
    config = {
        "controller": {"text": "ä", "units": 8},
        "seed": 0,
    }
    assert finished.is_finished(tmp_path, config)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"controller": {"units": 9}}, {"more": None}]
)
def test_another_configuration_is_not_finished(change, tmp_path):
    _finish(tmp_path)
    assert not finished.is_finished(tmp_path, {**_CONFIG, **change})
    assert not finished.is_finished(tmp_path, {})


@pytest.mark.parametrize("name", _RESULTS)
def test_a_run_whose_results_are_not_as_they_were_is_not_finished(
    name, tmp_path
):
    _finish(tmp_path)
    path = tmp_path / name
    data = path.read_bytes()
    for damaged in (b"", data[:-1], data + b"\n", _changed(data, 3, 1)):
        path.write_bytes(damaged)
        assert not finished.is_finished(tmp_path, _CONFIG)
    path.unlink()
    assert not finished.is_finished(tmp_path, _CONFIG)
    path.write_bytes(data)
    assert finished.is_finished(tmp_path, _CONFIG)
    path.with_stem("another").write_bytes(data)
    assert not finished.is_finished(tmp_path, _CONFIG)


@pytest.mark.parametrize("name", _OTHERS)
def test_what_is_no_result_may_change_after_the_end(name, tmp_path):
    _finish(tmp_path)
    (tmp_path / name).write_text("changed")
    assert finished.is_finished(tmp_path, _CONFIG)
    (tmp_path / name).unlink()
    assert finished.is_finished(tmp_path, _CONFIG)


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_damaged_mark_is_none(place, difference):
    with _folder() as folder:
        _finish(folder)
        path = folder / "finished.json"
        data = path.read_bytes()
        damaged = (
            _changed(data, place, difference)
            if difference
            else data[: place % (len(data) - 2)]  # A cut.
        )
        path.write_bytes(damaged)
        try:
            is_same = json.loads(damaged.decode()) == json.loads(data)
        except ValueError:
            is_same = False
        assert finished.is_finished(folder, _CONFIG) == is_same


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b"\xff", b"0"])
def test_a_mark_of_another_shape_is_none(data, tmp_path):
    _finish(tmp_path)
    (tmp_path / "finished.json").write_bytes(data)
    assert not finished.is_finished(tmp_path, _CONFIG)


# Files of a workdir.


def test_json_is_written_for_people_and_read_again(tmp_path):
    path = tmp_path / "x.json"
    value = {"b": [1, 2.5, None], "a": "ä"}
    files.write_json(path, value)
    assert files.read_json(path) == value
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n") and '"a": "ä"' in text
    with _raises("Out of range float values are not JSON compliant"):
        files.write_json(path, float("nan"))
    assert files.read_json(path) == value
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"{} {}"])
def test_json_that_is_damaged_is_named(data, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with _raises(f"{path}: damaged, not JSON: "):
        files.read_json(path)


def test_json_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "x.json"
    with _raises(f"{path}: cannot be read: No such file or directory."):
        files.read_json(path)
    path.mkdir()
    with _raises(f"{path}: cannot be read: Is a directory."):
        files.read_json(path)


def test_a_workdir_has_one_holder_at_a_time(tmp_path):
    assert locks.holder_of(tmp_path) is None
    for _ in range(2):  # It is let go of at the end.
        with locks.exclusive(tmp_path) as holder:
            name = f"pid {os.getpid()} on {socket.gethostname()} "
            assert holder.startswith(name)
            assert locks.holder_of(tmp_path) == holder
            message = (
                f"workdir {str(tmp_path)!r} is in use by {holder}. A workdir "
                "has one writer at a time."
            )
            with _raises(message), locks.exclusive(tmp_path):
                pass
            assert locks.holder_of(tmp_path) == holder
        assert locks.holder_of(tmp_path) is None


def test_a_workdir_is_let_go_of_after_an_error(tmp_path):
    with pytest.raises(KeyError), locks.exclusive(tmp_path):
        raise KeyError
    with locks.exclusive(tmp_path):
        pass


def test_a_holder_that_was_killed_holds_nothing(tmp_path):
    code = """
        import os, pathlib, signal, sys
        from nas_keras.storage import locks

        with locks.exclusive(pathlib.Path(sys.argv[1])):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert locks.holder_of(tmp_path).startswith("pid ")
    with locks.exclusive(tmp_path) as holder:
        assert locks.holder_of(tmp_path) == holder


def test_a_holder_on_another_machine_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_LEASE_S", 0.3)
    with locks.exclusive(tmp_path), _warnings() as told:
        elsewhere = "pid 1 on elsewhere since 2026-01-01 00:00:00"
        (tmp_path / "lock.holder").write_text(elsewhere)
        message = f"workdir {str(tmp_path)!r} is in use by {elsewhere}."
        with _raises(message), locks.exclusive(tmp_path):
            pass
    assert told == [
        f"Waiting up to 0 s for workdir {str(tmp_path)!r}: it is in use by "
        f"{elsewhere}."
    ]


@pytest.mark.parametrize("data", [b"\xff\xfe", None])
def test_a_holder_without_a_readable_name_is_nobody(data, tmp_path):
    path = tmp_path / "lock.holder"
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)
    assert locks.holder_of(tmp_path) is None
    assert locks.holder_of(tmp_path / "missing") is None


def test_only_what_killed_writers_left_is_removed(tmp_path):
    kept = [
        "a.json",
        "b.tmp",
        ".c.json",
        ".d.tmp.json",
        "pending/e.tmp",
        ".e.tmp",
        "mine/.x.npz.3.tmp",
        "random/mine/.x.npz.3.tmp",
    ]
    removed = [
        ".a.json.12.tmp",
        "checkpoints/.x.npz.3.tmp",
        "random/pending/.y.json.4.tmp",
    ]
    for name in (*kept, *removed):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    workdir.remove_temporary(tmp_path)
    left = [path.relative_to(tmp_path).as_posix()
            for path in tmp_path.rglob("*") if path.is_file()]  # fmt: skip
    assert sorted(left) == sorted(kept)


# Named arrays.

_ARRAYS = st.dictionaries(
    st.text("abcxyz/_:.0123456789", min_size=1, max_size=12),
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int32, np.int64, bool]),
        hnp.array_shapes(min_dims=0, min_side=0, max_side=3),
    ),
    max_size=4,
)


@given(_ARRAYS)
@example({})
@example({"lstm/kernel:0": np.zeros((0, 3), np.float32)})
# Once: the name of an argument of NumPy's is a TypeError.
@example({"file": np.zeros(2), "allow_pickle": np.ones(2)})
def test_named_arrays_are_decoded_as_they_were_encoded(arrays):
    data = checkpoints.encode(arrays)
    decoded = checkpoints.decode(data)
    assert list(decoded) == list(arrays)
    for name, array in arrays.items():
        assert decoded[name].dtype == array.dtype
        np.testing.assert_array_equal(decoded[name], array)
    assert checkpoints.encode(decoded) == data  # Workers compare bytes.


def test_arrays_of_objects_are_not_decoded():
    array = np.empty(1, object)
    array[0] = {"a": 1}
    with _raises("Object arrays cannot be saved when allow_pickle=False"):
        checkpoints.encode({"a": array})
    buffer = io.BytesIO()
    np.savez(buffer, a=array)
    with _raises("Object arrays cannot be loaded when allow_pickle=False"):
        checkpoints.decode(buffer.getvalue())
