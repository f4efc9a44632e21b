"""Tests of the files of a workdir: JSON, locks, what is left, named arrays."""

import errno
import io
import os
import pathlib
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nas_keras.search import workdir
from nas_keras.storage import checkpoints
from nas_keras.storage import files
from nas_keras.storage import locks
from tests.raising import raises_first as raises
from tests.storage_testing import logged_warnings

_ROOT = pathlib.Path(__file__).resolve().parents[2]


# Files of a workdir.


def test_json_is_written_for_people_and_read_again(tmp_path):
    path = tmp_path / "x.json"
    value = {"b": [1, 2.5, None], "a": "ä"}
    files.write_json(path, value)
    assert files.read_json(path) == value
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n") and '"a": "ä"' in text
    with raises("Out of range float values are not JSON compliant"):
        files.write_json(path, float("nan"))
    assert files.read_json(path) == value
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe", b"{} {}", b"[" * 99_999]
)
def test_json_that_is_damaged_is_named(data, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with raises(f"{path}: damaged, not JSON: "):
        files.read_json(path)


def test_a_disk_that_may_not_be_written_says_so_itself(tmp_path, monkeypatch):
    def refuse(path):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("builtins.open", lambda path, mode: refuse(path))
    monkeypatch.setattr(pathlib.Path, "unlink", refuse)
    message = f"[Errno 30] Read-only file system: '{tmp_path / 'x'}'"
    with raises(message, OSError):
        files.write_atomically(tmp_path / "x", b"")


@pytest.mark.parametrize(
    "text", ["[]", "3", '["ab"]', "[[1, 2]]", '{"foo": "x"}', "[" * 99_999]
)
def test_a_list_of_snapshots_that_is_damaged_holds_none(text, tmp_path, caplog):
    (tmp_path / "manifest.json").write_text(text)
    assert checkpoints.newest_step(tmp_path) is None
    assert "manifest.json is damaged; no snapshot is used." in caplog.text


def test_json_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "x.json"
    with raises(f"{path}: cannot be read: No such file or directory."):
        files.read_json(path)
    path.mkdir()
    with raises(f"{path}: cannot be read: Is a directory."):
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
            with raises(message), locks.exclusive(tmp_path):
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
    with locks.exclusive(tmp_path), logged_warnings() as told:
        elsewhere = "pid 1 on elsewhere since 2026-01-01 00:00:00"
        (tmp_path / "lock.holder").write_text(elsewhere)
        message = f"workdir {str(tmp_path)!r} is in use by {elsewhere}."
        with raises(message), locks.exclusive(tmp_path):
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
        ".m.keras.12.tmp.keras",
        "checkpoints/.x.npz.3.tmp",
        "random/pending/.y.json.4.tmp",
        "shared_weights/.z.npz.5.tmp",
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
    with raises("Object arrays cannot be saved when allow_pickle=False"):
        checkpoints.encode({"a": array})
    buffer = io.BytesIO()
    np.savez(buffer, a=array)
    with raises("Object arrays cannot be loaded when allow_pickle=False"):
        checkpoints.decode(buffer.getvalue())
