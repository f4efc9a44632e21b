"""Tests of the mark of a finished run: of its configuration and its results."""

import json

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from nas_keras.storage import finished
from tests.storage_testing import changed
from tests.storage_testing import new_folder

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
    for damaged in (b"", data[:-1], data + b"\n", changed(data, 3, 1)):
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
    with new_folder() as folder:
        _finish(folder)
        path = folder / "finished.json"
        data = path.read_bytes()
        damaged = (
            changed(data, place, difference)
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
