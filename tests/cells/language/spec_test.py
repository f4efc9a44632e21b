"""Tests of `CellSpec`: a value, and its files."""

import copy
import dataclasses
import json
import math
import os
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.cells.language import spec as spec_module
from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.cells.language.spec import save_spec
from tests.cell_testing import RNN
from tests.cell_testing import cell_json
from tests.cell_testing import make_spec
from tests.cell_testing import write

# The value.


def test_spec_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_spec(*RNN).name = "other"


def test_lists_and_tuples_make_equal_and_equally_hashed_specs():
    first = CellSpec("a", list(RNN), ["h"], {"k": [1]})
    second = CellSpec("a", RNN, ("h",), {"k": (1,)})
    assert first == second
    assert len({first, second}) == 1
    assert first != CellSpec("b", RNN, ("h",), {"k": (1,)})
    assert first != CellSpec("a", RNN, ("h",), {"k": (2,)})


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))],
)
def test_copies_are_equal_and_work(duplicate):
    spec = make_spec(*RNN, provenance={"tokens": [1, 2]})
    other = duplicate(spec)
    assert other == spec
    assert hash(other) == hash(spec)
    assert other.fingerprint == spec.fingerprint
    assert other.to_dict() == spec.to_dict()


def test_provenance_is_copied():
    tokens = [1, 2]
    given_provenance = {"tokens": tokens}
    spec = make_spec(*RNN, provenance=given_provenance)
    tokens.append(3)
    given_provenance["more"] = 1
    spec.to_dict()["provenance"]["tokens"].append(4)
    assert spec.provenance == {"tokens": [1, 2]}


@pytest.mark.parametrize("provenance", [3, "text", [1], None])
def test_provenance_must_be_a_mapping(provenance):
    with pytest.raises(ValueError, match="'toy': provenance must be a mapping"):
        CellSpec("toy", RNN, ["h"], provenance)


def _deep(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, math.nan, math.inf, b"a", "\ud800", _deep(100_000)],
    ids=lambda value: type(value).__name__,
)
def test_provenance_must_be_json_able(value):
    with pytest.raises(ValueError, match="'toy': provenance must be JSON-able"):
        make_spec(*RNN, provenance={"a": [value]})


# Files.


def test_dictionary_comes_back_equal():
    spec = make_spec(*RNN, provenance={"reward": 0.5, "text": "\u00e9"})
    data = json.loads(json.dumps(spec.to_dict()))
    assert CellSpec.from_dict(data) == spec


def test_states_and_provenance_of_a_file_are_optional():
    spec = CellSpec.from_dict(
        {"schema": 1, "name": "a", "equations": ["next_h = c", "next_c = h"]}
    )
    assert spec.states == ("h", "c")
    assert spec.provenance == {}


@pytest.mark.parametrize("key", ["schema", "name", "equations"])
def test_missing_key_is_named(key):
    data = cell_json()
    del data[key]
    with pytest.raises(ValueError, match=rf"unknown: \[\], missing: \['{key}'"):
        CellSpec.from_dict(data)


def test_unknown_key_is_named():
    with pytest.raises(ValueError, match=r"unknown: \['colour'\], missing"):
        CellSpec.from_dict(cell_json(colour="red"))


@pytest.mark.parametrize("schema", [0, 2, "1", True, None, [1]])
def test_schema_must_be_one(schema):
    message = rf"schema must be 1.*schema={re.escape(repr(schema))}"
    with pytest.raises(ValueError, match=message):
        CellSpec.from_dict(cell_json(schema=schema))


BAD_FILES = {
    "list": ("[1]", r"must be a JSON object. Received: \[1\]"),
    "null": ("null", "must be a JSON object. Received: None"),
    "duplicate": ('{"schema": 1, "schema": 1}', r"given twice: \['schema'\]"),
    "nan": ('{"schema": NaN}', "NaN is not JSON"),
    "infinity": ('{"schema": -Infinity}', "-Infinity is not JSON"),
    "not UTF-8": (b'{"name": "\xff"}', "not UTF-8 at byte 10"),
    "truncated": ('{"schema": 1, "name', "not JSON: .*line 1 column 15"),
    "empty": ("", "not JSON"),
    "no JSON": ("schema: 1", "not JSON"),
    "null byte": (b'{"schema": \x00}', "not JSON"),
    "big int": ('{"schema": ' + "1" * 9_999 + "}", "limit .4300 digits"),
    "deep list": ("[" * 200_000, "nested too deeply"),
    "deep object": ('{"a":' * 100_000, "nested too deeply"),
    "wide number": (
        json.dumps(cell_json())[:-1] + ', "provenance": {"a": 1e999}}',
        "provenance must be JSON-able",
    ),
}


@pytest.mark.parametrize("case", sorted(BAD_FILES))
def test_bad_file_is_refused_by_name(case, tmp_path):
    text, problem = BAD_FILES[case]
    path = write(tmp_path, text)
    message = rf"^{re.escape(str(path))}: .*{problem}"
    with pytest.raises(ValueError, match=message):
        load_spec(path)


@given(data=st.binary(max_size=60))
def test_random_bytes_are_refused_by_a_value_error(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "cell.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_spec(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ValueError, match="pipe.json: .*not a file"):
        load_spec(tmp_path / "pipe.json")


def test_large_file_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "cell.json"
    with open(path, "wb") as file:
        file.truncate(10_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read"))
    message = rf"{re.escape(str(path))}: .*at most 1000000 bytes.*: 10000000 by"
    with pytest.raises(ValueError, match=message):
        load_spec(path)


def test_saved_cell_loads_equal(tmp_path):
    spec = make_spec(*RNN, provenance={"source": "\u00e9\u4e2d", "tokens": [1]})
    path = tmp_path / "toy.json"
    save_spec(spec, path)
    assert load_spec(path) == spec
    assert load_spec(str(path)) == spec
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert os.listdir(tmp_path) == ["toy.json"]


@pytest.mark.parametrize("name", ["cell", "cell.txt", "cell.json.bak", ".json"])
def test_cell_is_saved_as_json_only(name, tmp_path):
    message = rf"'\.json' file. Received: path=.*{re.escape(name)}"
    with pytest.raises(ValueError, match=message):
        save_spec(make_spec(*RNN), tmp_path / name)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failing_write_keeps_the_old_file(function, tmp_path, monkeypatch):
    path = tmp_path / "toy.json"
    old = make_spec(*RNN)
    save_spec(old, path)

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(spec_module.os, function, fail)
    with pytest.raises(OSError, match="disk full"):
        save_spec(make_spec("next_h = x"), path)
    monkeypatch.undo()
    assert load_spec(path) == old
    assert os.listdir(tmp_path) == ["toy.json"]
