"""Tests of the names of cells: published, registered, in a user's folders."""

import os
import re

import pytest

from nas_keras.cells.language import spec as spec_module
from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.cells.language.spec import published_cells
from nas_keras.cells.language.spec import register_cell
from nas_keras.cells.language.spec import save_spec
from tests.cell_testing import PUBLISHED
from tests.cell_testing import RNN
from tests.cell_testing import make_spec
from tests.cell_testing import write


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(spec_module, "_registered", {})
    monkeypatch.delenv(spec_module.CELLS_VARIABLE, raising=False)


def test_published_cells_are_listed():
    assert published_cells() == sorted(PUBLISHED)


@pytest.mark.parametrize("name", published_cells())
def test_published_cell_has_its_file_name_a_source_and_a_reference(name):
    spec = load_spec(name)
    assert spec.name == name
    assert spec.provenance["source"]
    assert spec.provenance["reference"].startswith("https://")


def test_cell_is_found_by_path_with_or_without_suffix(tmp_path):
    spec = make_spec(*RNN)
    save_spec(spec, tmp_path / "toy.json")
    plain = write(tmp_path, (tmp_path / "toy.json").read_bytes(), "plain")
    assert load_spec(plain) == load_spec(str(plain)) == spec


@pytest.mark.parametrize("name", ["lstmm", "", "LSTM", "a b", "..", "lstm\0"])
def test_unknown_name_lists_the_known_ones(name, registry):
    message = (
        re.escape(f"No cell is named {name!r}.")
        + f" Published cells: {re.escape(str(sorted(PUBLISHED)))}"
    )
    with pytest.raises(ValueError, match=message):
        load_spec(name)


def test_missing_file_is_named(tmp_path):
    message = rf"{re.escape(str(tmp_path))}/no\.json: cannot be read.*No such"
    with pytest.raises(ValueError, match=message):
        load_spec(tmp_path / "no.json")
    with pytest.raises(ValueError, match="cannot be read as a cell"):
        load_spec(tmp_path)


@pytest.mark.parametrize("value", [None, 3, b"lstm", ["lstm"]])
def test_name_of_another_type_is_refused(value):
    message = rf"name or a path.*{re.escape(repr(value))} of type"
    with pytest.raises(ValueError, match=message):
        load_spec(value)


def test_folders_of_the_variable_are_searched(registry, tmp_path, monkeypatch):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        save_spec(make_spec(*RNN, name=folder.name), folder / "x.json")
    os.rename(folders[1] / "x.json", folders[1] / "mine.json")
    (folders[1] / "no name.json").touch()
    monkeypatch.setenv("NAS_KERAS_CELLS", os.pathsep.join(map(str, folders)))
    assert load_spec("x").name == "a"
    assert load_spec("mine").name == "b"
    with pytest.raises(ValueError, match=r"NAS_KERAS_CELLS: \['mine', 'x'\]"):
        load_spec("other")


def test_user_cell_of_a_published_name_is_ambiguous(
    registry, tmp_path, monkeypatch
):
    save_spec(make_spec(*RNN, name="lstm"), tmp_path / "lstm.json")
    monkeypatch.setenv("NAS_KERAS_CELLS", str(tmp_path))
    message = rf"'lstm' is ambiguous: .*{re.escape(str(tmp_path))}.*lstm\.json"
    with pytest.raises(ValueError, match=message):
        load_spec("lstm")
    assert load_spec(tmp_path / "lstm.json").states == ("h",)
    assert load_spec("gru").name == "gru"


def test_registered_cell_is_found_by_name(registry):
    spec = make_spec(*RNN, name="my_cell")
    with pytest.raises(ValueError, match="my_cell"):
        load_spec("my_cell")
    register_cell(spec)
    register_cell(CellSpec.from_dict(spec.to_dict()))
    assert load_spec("my_cell") is not None
    assert load_spec("my_cell") == spec
    with pytest.raises(ValueError, match=r"registered: \['my_cell'\]"):
        load_spec("other")


def test_name_of_another_cell_cannot_be_registered(
    registry, tmp_path, monkeypatch
):
    register_cell(make_spec(*RNN, name="mine"))
    save_spec(make_spec(*RNN, name="theirs"), tmp_path / "theirs.json")
    monkeypatch.setenv("NAS_KERAS_CELLS", str(tmp_path))
    for name in ("mine", "theirs", "lstm"):
        message = f"'{name}' belongs to another cell.*'{name}'"
        with pytest.raises(ValueError, match=message):
            register_cell(make_spec("next_h = x", name=name))
    register_cell(load_spec("lstm"))
    register_cell(load_spec("theirs"))


@pytest.mark.parametrize("value", ["lstm", None, {"name": "a"}])
def test_only_a_spec_is_registered(value):
    message = f"must be a CellSpec. Received: {type(value).__name__}"
    with pytest.raises(ValueError, match=message):
        register_cell(value)
