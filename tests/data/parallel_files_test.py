"""Tests of pairs of sentences from files: names, contents, what is refused."""

import gzip
import pathlib
import re

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from nas_keras.data import parallel
from nas_keras.data import parallel_sources
from nas_keras.data import text
from tests.raising import raises

# Letters, and what `str.strip` or `str.splitlines` knows.
_LINE = st.text(" \t\r\x0b\x1c\x85\xa0\u2028aé漢🙂<", max_size=5)
_LAYOUTS = {
    "stem, language": "{stem}.{language}",
    "stem, language, compressed": "{stem}.{language}.gz",
    "language, stem": "{language}.{stem}.txt",
    "language, stem, compressed": "{language}.{stem}.txt.gz",
}


def _bytes(name, content):
    data = content if isinstance(content, bytes) else content.encode("utf-8")
    return gzip.compress(data) if name.endswith(".gz") else data


def _write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(_bytes(name, content))
    return folder


def _files(*stems, layout="{stem}.{language}", languages=("en", "de")):
    """Returns contents by name: of `train.en` the line `train en`."""
    return {
        layout.format(stem=stem, language=language): f"{stem} {language}\n"
        for stem in stems or ("train", "val", "test")
        for language in languages
    }


def _open(folder, *arguments, **options):
    return parallel_sources.open_pairs("files", folder, *arguments, **options)


@pytest.mark.parametrize("layout", _LAYOUTS.values(), ids=_LAYOUTS)
@pytest.mark.parametrize("as_path", [pathlib.Path, str])
def test_files_are_read_in_either_layout(tmp_path, layout, as_path):
    folder = _write(tmp_path / "mine", _files(layout=layout))
    corpus = _open(as_path(folder))
    assert corpus.name == "mine"
    assert (corpus.source_language, corpus.target_language) == ("en", "de")
    assert corpus.train == (("train en", "train de"),)
    assert corpus.validation == (("val en", "val de"),)
    assert corpus.test == (("test en", "test de"),)


def test_the_two_files_of_a_part_may_be_of_two_layouts(tmp_path):
    files = _files("val", "test") | {"train.en.gz": "a", "de.train.txt": "b"}
    assert _open(_write(tmp_path, files)).train == (("a", "b"),)


def test_the_languages_say_which_files_are_read(tmp_path):
    files = _files(languages=("en", "de", "fr", "cs"))
    corpus = _open(_write(tmp_path, files), "fr", "en")
    assert (corpus.source_language, corpus.target_language) == ("fr", "en")
    assert corpus.train == (("train fr", "train en"),)


@pytest.mark.parametrize(
    "stems",
    [
        ("train", "validation", "test"),
        ("training", "valid", "testing"),
        ("Train.tok", "DEV", "TEST_2016_flickr"),
        ("train-clean.32000", "val.1", "test2016"),
    ],
)
def test_a_name_begins_with_that_of_its_part(tmp_path, stems):
    corpus = _open(_write(tmp_path, _files(*stems)))
    for part, stem in zip(text.PARTS, stems, strict=True):
        assert getattr(corpus, part) == ((f"{stem} en", f"{stem} de"),)


def test_files_of_no_part_hidden_ones_and_folders_are_ignored(tmp_path):
    others = _files("newstest", ".train.x", "trainer", "contest", "notes")
    others |= {"notes.en.gz": "", "README.md": "", "train": "", "LICENSE": ""}
    _write(tmp_path, dict.fromkeys(others, b"\xff") | _files())
    (tmp_path / "test").mkdir()
    assert _open(tmp_path).test == (("test en", "test de"),)


def test_lines_are_sentences_and_only_line_feeds_end_them(tmp_path):
    # `str.splitlines` would take each of these for the end of a line.
    odd = "a\u2028b\x0cc\x85d\x1ce"
    files = _files() | {
        "train.en": f"\ufeff{odd}\r\n\nthree \n",
        "train.de": " eins\r\nzwei\ndrei",  # The last line has no end.
    }
    corpus = _open(_write(tmp_path, files))
    assert corpus.train == ((odd, "eins"), ("three", "drei"))
    assert corpus.dropped == {"train": 1, "validation": 0, "test": 0}


@settings(max_examples=20)
@given(st.lists(st.tuples(_LINE, _LINE), min_size=1))
def test_files_give_back_the_pairs_they_were_written_from(
    tmp_path_factory, pairs
):
    pairs = [("first", "erster"), *pairs]
    folder = tmp_path_factory.getbasetemp() / "any pairs"
    sides = {
        f"train.{language}": "".join(f"{pair[side]}\n" for pair in pairs)
        for side, language in enumerate(("en", "de"))
    }
    corpus = _open(_write(folder, _files() | sides))
    assert corpus.train == parallel.without_empty(pairs)[0]


def test_a_folder_one_is_in_gives_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(_write(tmp_path / "mine", _files()))
    assert _open(".").name == "mine"


def test_one_of_several_test_sets_is_chosen(tmp_path):
    sets = ("test_2016_flickr", "test_2017_mscoco")
    folder = _write(tmp_path, _files("train", "val", *sets))
    for stem in sets:
        corpus = _open(folder, test_set=stem)
        assert corpus.test == ((f"{stem} en", f"{stem} de"),)
        assert corpus.train == (("train en", "train de"),)


def test_a_lone_test_set_may_be_named(tmp_path):
    folder = _write(tmp_path, _files())
    assert _open(folder, test_set="test").sha256 == _open(folder).sha256


@pytest.mark.parametrize("test_set", ["test_2018", "val", "test_one.en", "tes"])
def test_a_test_set_must_be_there_in_both_languages(tmp_path, test_set):
    files = _files("train", "val", "test_one", "test_two")
    folder = _write(tmp_path, files | {"test_2018.en": "alone"})
    with raises(
        f"test_set must be one of the test sets in data_dir={str(folder)!r}: "
        f"['test_one', 'test_two']. Received: test_set={test_set!r}."
    ):
        _open(folder, test_set=test_set)


@pytest.mark.parametrize(
    ("names", "part", "of_source", "of_target", "hint"),
    [
        (_files("train", "val"), "test", [], [], False),
        (
            _files("train", "val", "test_a", "test_b"),
            "test",
            ["test_a", "test_b"],
            ["test_a", "test_b"],
            True,
        ),
        (
            [*_files("train", "val"), "test_a.en", "test_b.de"],
            "test",
            ["test_a"],
            ["test_b"],
            False,
        ),
        (
            [*_files("train", "test"), "dev.en"],
            "validation",
            ["dev"],
            [],
            False,
        ),
        (
            _files("train", "train.tok", "val", "test"),
            "train",
            ["train", "train.tok"],
            ["train", "train.tok"],
            False,
        ),
    ],
)
def test_each_part_has_one_file_of_each_language(
    tmp_path, names, part, of_source, of_target, hint
):
    folder = _write(tmp_path, dict.fromkeys(names, "to be"))
    allowed = {
        "train": ["train", "training"],
        "validation": ["validation", "valid", "val", "dev"],
        "test": ["test", "testing"],
    }[part]
    message = (
        "data_dir must have one file of each language for each part, for "
        f"{part!r} with a name that begins with one of {allowed}. Received: "
        f"data_dir={str(folder)!r}, with {of_source} of 'en' and {of_target} "
        "of 'de'."
    )
    hint = " Choose one with test_set." if hint else ""
    with pytest.raises(ValueError, match=re.escape(message + hint) + "$"):
        _open(folder)


@pytest.mark.parametrize(
    "others", [("train.en", "train.en.gz"), ("en.train.txt", "train.en")]
)
def test_a_file_of_each_name_is_there_once(tmp_path, others):
    folder = _write(tmp_path, _files() | dict.fromkeys(others, "to be"))
    with raises(
        f"data_dir must be a folder with {others[0]!r} or {others[1]!r}, not "
        f"with both. Received: data_dir={str(folder)!r}."
    ):
        _open(folder)


@pytest.mark.parametrize(
    ("languages", "argument", "received"),
    [(("xx", "de"), "source", "xx"), (("en", "DE"), "target", "DE")],
)
def test_languages_are_those_of_files(tmp_path, languages, argument, received):
    folder = _write(tmp_path, _files() | {"fr.test.txt.gz": "x", "a.md": "x"})
    with raises(
        f"{argument} must be the language of files in "
        f"data_dir={str(folder)!r}: one of ['de', 'en', 'fr']. "
        f"Received: {argument}={received!r}."
    ):
        _open(folder, *languages)


@pytest.mark.parametrize("name", ["missing", "train.en"])
def test_data_dir_must_be_a_folder(tmp_path, name):
    path = str(_write(tmp_path, _files()) / name)
    with raises(f"data_dir must be a folder. Received: data_dir={path!r}."):
        _open(path)


def test_files_of_a_part_have_as_many_lines(tmp_path):
    folder = _write(tmp_path, _files() | {"val.de.gz": "a\nb\n"})
    (folder / "val.de").unlink()
    with raises(
        "The two files of a part must have a line for each sentence. Received: "
        f"1 lines in {str(folder / 'val.en')!r}, 2 in "
        f"{str(folder / 'val.de.gz')!r}."
    ):
        _open(folder)


def test_a_part_needs_a_pair_with_text_on_both_sides(tmp_path):
    files = _files() | {"val.en": "a\n\n", "val.de": "\nb\n"}
    folder = _write(tmp_path / "mine", files)
    with raises(
        "validation must be pairs of which one has text on both sides, with "
        "data 'mine'. Received: validation='2 pairs'."
    ):
        _open(folder)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("val.de", b"ab\xffc", "has bad byte 0xff at byte offset 2"),
        ("val.de", b"a\0b", "is binary: a NUL at byte offset 1"),
        ("val.de", b" \n\n", "is empty or only white space"),
        ("val.de", b"<!doctype html>", "is a web page: it begins as HTML does"),
        ("val.de.gz", b"plain", "is damaged or not gzip: Not a gzipped file"),
        ("val.de.gz", gzip.compress(b"abc")[:-5], "is damaged or not gzip: "),
        ("val.de.gz", b"<html>404", "is a web page: it begins as HTML does"),
        (
            "val.de.gz",
            gzip.compress(b"ab\xff"),
            "has bad byte 0xff at byte offset 2",
        ),
    ],
    # Not of the data: gzip writes the time of its call into it.
    ids=range(8),
)
def test_files_hold_text(tmp_path, name, data, problem):
    folder = _write(tmp_path, _files())
    (folder / "val.de").unlink()
    (folder / name).write_bytes(data)
    with raises(
        "data_dir must be UTF-8 text. Received: "
        f"data_dir={str(folder / name)!r}, which {problem}"
    ):
        _open(folder)


def test_a_folder_of_a_files_name_cannot_be_read(tmp_path):
    folder = _write(tmp_path, _files())
    (folder / "val.de").unlink()
    (folder / "val.de").mkdir()
    with raises("val.de', which cannot be read: Is a directory."):
        _open(folder)
