"""Tests of pairs of sentences: the value, embedded ones, files, TFDS."""

import dataclasses
import doctest
import gzip
import hashlib
import logging
import pathlib
import re
import sys
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from nas_keras.data import embedded_pairs
from nas_keras.data import parallel
from nas_keras.data import parallel_sources
from nas_keras.data import text

_PAIRS = (("a cat", "eine Katze"), ("a dog", "ein Hund"))
# Letters, and what `str.strip` or `str.splitlines` knows.
_LINE = st.text(" \t\r\x0b\x1c\x85\xa0\u2028aé漢🙂<", max_size=5)


def _raises(message):
    return pytest.raises(ValueError, match=re.escape(message))


def _corpus(**changed):
    values = {
        "name": "cats",
        "source_language": "en",
        "target_language": "de",
        **dict.fromkeys(text.PARTS, _PAIRS),
    }
    return parallel.ParallelCorpus(**values | changed)


# The value.


def test_a_corpus_is_what_it_was_given_and_never_changes():
    dropped = {"train": 2, "validation": 0, "test": 1}
    corpus = _corpus(train=_PAIRS[:1], dropped=dropped)
    dropped["train"] = 9
    assert corpus.train == (("a cat", "eine Katze"),)
    assert corpus.dropped == {"train": 2, "validation": 0, "test": 1}
    assert _corpus().dropped == dict.fromkeys(text.PARTS, 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        corpus.name = "dogs"


def test_the_repr_of_a_corpus_leaves_its_pairs_out():
    assert repr(_corpus()) == (
        "ParallelCorpus(name='cats', source_language='en', "
        "target_language='de', dropped={'train': 0, 'validation': 0, "
        "'test': 0})"
    )


@pytest.mark.parametrize("part", text.PARTS)
@pytest.mark.parametrize(
    ("value", "rule", "received"),
    [
        ([("a", "b")], "a tuple of pairs", "<class 'list'>"),
        ((), "pairs, at least one", "()"),
        ((("a", "b"), ("", "b")), "pairs of text", "('', 'b')"),
        ((("a", " "),), "pairs of text", "('a', ' ')"),
        ((("a ", "b"),), "pairs of text", "('a ', 'b')"),
        ((("a", "b\nc"),), "pairs of text", "('a', 'b\\nc')"),
        ((("a", "b", "c"),), "pairs of text", "('a', 'b', 'c')"),
        ((["a", "b"],), "pairs of text", "['a', 'b']"),
        (("ab",), "pairs of text", "'ab'"),
        ((("a", b"b"),), "pairs of text", "('a', b'b')"),
    ],
)
def test_parts_of_a_corpus_are_pairs_of_lines(part, value, rule, received):
    if rule == "pairs of text":
        rule = "pairs of text, each one line without blanks around it"
    with _raises(f"`{part}` must be {rule}. Received: {part}={received}."):
        _corpus(**{part: value})


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        (
            ("", "de"),
            "`source_language` must be the name of a language. "
            "Received: source_language=''.",
        ),
        (
            ("en", " "),
            "`target_language` must be the name of a language. "
            "Received: target_language=' '.",
        ),
        (
            ("en", None),
            "`target_language` must be the name of a language. "
            "Received: target_language=None.",
        ),
        (
            ("en", "en"),
            "`target_language` must be another language than "
            "source_language='en'. Received: target_language='en'.",
        ),
    ],
)
def test_languages_of_a_corpus_are_two_names(languages, message):
    source, target = languages
    with _raises(message):
        _corpus(source_language=source, target_language=target)


@pytest.mark.parametrize(
    "dropped",
    [
        None,
        3,
        {},
        {"train": 0, "test": 0},
        {"train": 0, "validation": 0, "test": -1},
        {"train": 0, "validation": 0, "test": True},
        {"train": 0, "validation": 0, "test": 0, "dev": 0},
    ],
)
def test_dropped_is_a_count_for_each_part(dropped):
    with _raises(
        "`dropped` must be a count for each of ('train', 'validation', "
        f"'test'). Received: dropped={dropped!r}."
    ):
        _corpus(dropped=dropped)


def test_sha256_identifies_languages_and_pairs_and_not_the_name():
    want = _corpus().sha256
    assert re.fullmatch("[0-9a-f]{64}", want)
    dropped = {"train": 1, "validation": 2, "test": 3}
    assert _corpus(name="dogs", dropped=dropped).sha256 == want
    one, two = _PAIRS
    others = [
        _corpus(source_language="fr"),
        _corpus(target_language="fr"),
        _corpus(source_language="de", target_language="en"),
        _corpus(train=_PAIRS[:1]),
        _corpus(train=_PAIRS[::-1]),
        _corpus(test=(one[::-1], two)),
        _corpus(test=(one, (two[0], "Hund"))),
        _corpus(train=(*_PAIRS, one), validation=(two,)),
        _corpus(train=(one,), validation=(two, *_PAIRS)),
    ]
    assert len({want, *(corpus.sha256 for corpus in others)}) == 10


def test_sha256_is_the_same_on_every_machine():
    want = (
        '["en", "de"]\n'
        '1\n["na\\u00efve", "na\\u00efv"]\n'
        '2\n["a cat", "eine Katze"]["a dog", "ein Hund"]\n'
        '2\n["a cat", "eine Katze"]["a dog", "ein Hund"]'
    )
    corpus = _corpus(train=(("naïve", "naïv"),))
    assert corpus.sha256 == hashlib.sha256(want.encode("ascii")).hexdigest()


@given(st.lists(st.tuples(_LINE, _LINE)))
def test_pairs_without_text_on_a_side_are_counted_and_left_out(pairs):
    kept, dropped = parallel.without_empty(iter(pairs))
    stripped = [(one.strip(), two.strip()) for one, two in pairs]
    assert list(kept) == [(one, two) for one, two in stripped if one and two]
    assert dropped == len(pairs) - len(kept)


def test_a_corpus_of_parts_tells_what_it_left_out(caplog):
    parts = {
        "test": [("a", "b")],
        "train": iter([(" a\n", "b "), ("", "b"), ("a", "\t")]),
        "validation": (("c", "d"),),
    }
    with caplog.at_level(logging.WARNING):
        corpus = parallel.parallel_corpus(parts, "en", "de", name="x")
    assert (corpus.train, corpus.test) == ((("a", "b"),), (("a", "b"),))
    assert corpus.validation == (("c", "d"),)
    assert corpus.dropped == {"train": 2, "validation": 0, "test": 0}
    assert [record.getMessage() for record in caplog.records] == [
        "x: left out 2 of the 3 pairs of part 'train': a side is empty."
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"validation": [("a", ""), ("", "")]},
            "`validation` must be pairs of which one has text on both sides, "
            "with data 'x'. Received: validation='2 pairs'.",
        ),
        (
            {"test": []},
            "`test` must be pairs of which one has text on both sides, with "
            "data 'x'. Received: test='0 pairs'.",
        ),
        (
            {"dev": [("a", "b")]},
            "`parts` must be a mapping of ('train', 'validation', 'test'). "
            "Received: parts=['train', 'validation', 'test', 'dev'].",
        ),
        (
            {"test": [("a", "b\nc")]},
            "`test` must be pairs of text, each one line without blanks "
            "around it. Received: test=('a', 'b\\nc').",
        ),
    ],
)
def test_a_corpus_of_parts_needs_a_pair_in_each_of_three(changed, message):
    parts = dict.fromkeys(text.PARTS, [("a", "b")])
    with _raises(message):
        parallel.parallel_corpus(parts | changed, "en", "de", name="x")


def test_parts_must_be_a_mapping():
    with _raises("`parts` must be a mapping. Received: parts=<class 'list'>."):
        parallel.parallel_corpus([("a", "b")], "en", "de", name="x")


# Embedded pairs.


@pytest.fixture(scope="module")
def german():
    return embedded_pairs.embedded_pairs()


@pytest.fixture(scope="module", params=["en to de", "pt_BR to fr"])
def embedded(request, german):
    if request.param == "en to de":
        return german
    return embedded_pairs.embedded_pairs("pt_BR", "fr")


def test_embedded_pairs_fill_three_parts(embedded):
    sizes = [len(getattr(embedded, part)) for part in text.PARTS]
    assert sizes == [8_000, 300, 300]
    assert embedded.dropped == dict.fromkeys(text.PARTS, 0)
    assert embedded.name == "embedded"


def test_no_embedded_source_occurs_twice_in_or_across_parts(embedded):
    pairs = embedded.train + embedded.validation + embedded.test
    assert len({source for source, _ in pairs}) == len(pairs)


def test_embedded_sentences_have_no_blanks_but_single_plain_ones(embedded):
    pairs = embedded.train + embedded.validation + embedded.test
    for sentence in (sentence for pair in pairs for sentence in pair):
        assert sentence == " ".join(sentence.split())


def test_embedded_pairs_of_a_part_are_of_all_patterns(german):
    patterns = {
        "month": r"\w+ 20\d\d (and|or) \w+ 20\d\d",
        "quarter": r"\d\w\w quarter 20\d\d (and|or) \d\w\w quarter 20\d\d",
        "moment": r"\w+day, \w+ \d+, 20\d\d, \d+:\d\d [AP]M",
        "direction": r".*\bago\b.*",
        "rate": r".* per (day|hour|minute|week)",
        "money": r".*(euro|dollar|pound|yen|franc|rupee|real).*",
    }
    for pattern in patterns.values():
        matcher = re.compile(pattern)
        for part in (german.train, german.validation, german.test):
            assert any(matcher.fullmatch(source) for source, _ in part)


def test_embedded_pairs_are_not_in_the_order_of_patterns(german):
    places = [
        place
        for place, (source, _) in enumerate(german.test)
        if "quarter" in source
    ]
    assert len({place % 12 for place in places}) > 1  # Twelve patterns.


def test_embedded_pairs_are_translations(german):
    months = {"March": "März", "May": "Mai", "December": "Dezember"}
    joins = {"and": "und", "or": "oder"}
    words = months | joins
    matcher = re.compile(
        rf"({'|'.join(months)}) 20\d\d (and|or) ({'|'.join(months)}) 20\d\d"
    )
    found = 0
    for source, target in german.train:
        if matcher.fullmatch(source):
            want = [words.get(word, word) for word in source.split()]
            assert target.split() == want
            found += 1
    assert found > 10


def test_embedded_pairs_are_the_same_each_time(german):
    again = parallel_sources.open_pairs()
    assert again is not german
    assert (again.name, again.sha256) == (german.name, german.sha256)


def test_embedded_parts_for_scores_keep_their_size_if_pairs_are_few():
    with mock.patch.object(embedded_pairs, "_PATIENCE", 2):
        corpus = embedded_pairs.embedded_pairs()
    assert (len(corpus.validation), len(corpus.test)) == (300, 300)
    assert 0 < len(corpus.train) < 8_000


@pytest.mark.parametrize(
    ("languages", "argument", "received"),
    [
        (("xx", "de"), "source", "source='xx', near ["),
        (("en", "pt-BR"), "target", "target='pt-BR', near ["),
        (("en", "German"), "target", "target='German', near ["),
        (("english", "de"), "source", "source='english', near ["),
    ],
)
def test_languages_of_embedded_pairs_are_locales(languages, argument, received):
    with _raises(
        f"`{argument}` must be a locale that Babel knows, such as 'de', 'en', "
        "'ja' or 'pt_BR'; all of them: python -c \"from babel import "
        'localedata; print(sorted(localedata.locale_identifiers()))". '
        f"Received: {received}"
    ):
        embedded_pairs.embedded_pairs(*languages)


def test_a_wrong_locale_is_told_its_neighbours():
    with _raises("Received: target='pt-BR', near ['pt_BR']."):
        embedded_pairs.embedded_pairs("en", "pt-BR")


def test_embedded_pairs_need_babel():
    with (
        mock.patch.dict(sys.modules, {"babel": None, "babel.dates": None}),
        pytest.raises(
            ImportError,
            match="dataset='embedded' of pairs needs the package Babel",
        ),
    ):
        embedded_pairs.embedded_pairs()


# Files.

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
    with _raises(
        f"`test_set` must be one of the test sets in data_dir={str(folder)!r}: "
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
        "`data_dir` must have one file of each language for each part, for "
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
    with _raises(
        f"`data_dir` must be a folder with {others[0]!r} or {others[1]!r}, not "
        f"with both. Received: data_dir={str(folder)!r}."
    ):
        _open(folder)


@pytest.mark.parametrize(
    ("languages", "argument", "received"),
    [(("xx", "de"), "source", "xx"), (("en", "DE"), "target", "DE")],
)
def test_languages_are_those_of_files(tmp_path, languages, argument, received):
    folder = _write(tmp_path, _files() | {"fr.test.txt.gz": "x", "a.md": "x"})
    with _raises(
        f"`{argument}` must be the language of files in "
        f"data_dir={str(folder)!r}: one of ['de', 'en', 'fr']. "
        f"Received: {argument}={received!r}."
    ):
        _open(folder, *languages)


@pytest.mark.parametrize("name", ["missing", "train.en"])
def test_data_dir_must_be_a_folder(tmp_path, name):
    path = str(_write(tmp_path, _files()) / name)
    with _raises(f"`data_dir` must be a folder. Received: data_dir={path!r}."):
        _open(path)


def test_files_of_a_part_have_as_many_lines(tmp_path):
    folder = _write(tmp_path, _files() | {"val.de.gz": "a\nb\n"})
    (folder / "val.de").unlink()
    with _raises(
        "The two files of a part must have a line for each sentence. Received: "
        f"1 lines in {str(folder / 'val.en')!r}, 2 in "
        f"{str(folder / 'val.de.gz')!r}."
    ):
        _open(folder)


def test_a_part_needs_a_pair_with_text_on_both_sides(tmp_path):
    files = _files() | {"val.en": "a\n\n", "val.de": "\nb\n"}
    folder = _write(tmp_path / "mine", files)
    with _raises(
        "`validation` must be pairs of which one has text on both sides, with "
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
    with _raises(
        "`data_dir` must be UTF-8 text. Received: "
        f"data_dir={str(folder / name)!r}, which {problem}"
    ):
        _open(folder)


def test_a_folder_of_a_files_name_cannot_be_read(tmp_path):
    folder = _write(tmp_path, _files())
    (folder / "val.de").unlink()
    (folder / "val.de").mkdir()
    with _raises("val.de', which cannot be read: Is a directory."):
        _open(folder)


# Arguments.


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("embedded", True),
        ("files", True),
        ("tfds:wmt14_translate/de-en", True),
        ("tfds:", False),
        ("tfds", False),
        ("folder", False),
        ("Files", False),
        ("", False),
    ],
)
def test_is_pairs_dataset_knows_the_names_of_data_sets(name, want):
    assert parallel_sources.is_pairs_dataset(name) is want


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dataset": "wmt14"},
            "`dataset` must be one of ('embedded', 'files') or 'tfds:NAME'. "
            "Received: dataset='wmt14'.",
        ),
        ({"dataset": "tfds:"}, "or 'tfds:NAME'. Received: dataset='tfds:'."),
        ({"dataset": None}, "or 'tfds:NAME'. Received: dataset=None."),
        (
            {"source": ""},
            "`source` must be the name of a language. Received: source=''.",
        ),
        (
            {"target": None},
            "`target` must be the name of a language. Received: target=None.",
        ),
        (
            {"target": "en"},
            "`target` must be another language than source='en'. "
            "Received: target='en'.",
        ),
        (
            {"test_set": "test"},
            "`test_set` must be left out unless dataset='files'. "
            "Received: test_set='test'.",
        ),
        (
            {"dataset": "tfds:x", "test_set": "test"},
            "`test_set` must be left out unless dataset='files'. "
            "Received: test_set='test'.",
        ),
        (
            {"data_dir": pathlib.PurePosixPath("x")},
            "`data_dir` must be left out with dataset='embedded'. "
            "Received: data_dir='x'.",
        ),
        (
            {"dataset": "files"},
            "`data_dir` must be given with dataset='files'. "
            "Received: data_dir=None.",
        ),
    ],
)
def test_bad_arguments_are_errors(options, message):
    with _raises(message):
        parallel_sources.open_pairs(**options)


# TFDS.

_OWN = "own_pairs_of_a_test"  # No code has a data set of this name.


@pytest.fixture(scope="module")
def own_set(tmp_path_factory):
    """A folder of a set that TFDS finds on disk only."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    folder = tmp_path_factory.mktemp("own")
    tfds.dataset_builders.store_as_tfds_dataset(
        name=_OWN,
        version="1.0.0",
        data_dir=folder,
        features=tfds.features.Translation(languages=("de", "en")),
        split_datasets={
            split: [
                (k, {"de": f" {split}. {k}", "en": f"{split}\n{k} \u00a0é"})
                for k in range(3)
            ]
            for split in ("train", "validation", "test")
        },
        disable_shuffling=True,
    )
    return folder


def test_pairs_of_tfds_are_those_of_its_splits_in_order(own_set):
    corpus = parallel_sources.open_pairs(f"tfds:{_OWN}", own_set)
    assert corpus.name == f"tfds:{_OWN}"
    for part in text.PARTS:
        assert getattr(corpus, part) == tuple(
            (f"{part} {k} é", f"{part}. {k}") for k in range(3)
        )
    turned = parallel_sources.open_pairs(f"tfds:{_OWN}", own_set, "de", "en")
    assert turned.train == tuple(pair[::-1] for pair in corpus.train)


@pytest.mark.parametrize(
    ("languages", "argument", "received"),
    [(("fr", "de"), "source", "fr"), (("en", "fr"), "target", "fr")],
)
def test_languages_are_features_of_a_set_of_tfds(
    own_set, languages, argument, received
):
    with _raises(
        f"`{argument}` must be one of the features of tfds:{_OWN}: "
        f"['de', 'en']. Received: {argument}={received!r}."
    ):
        parallel_sources.open_pairs(f"tfds:{_OWN}", own_set, *languages)


def test_an_unknown_set_of_tfds_is_an_error(tmp_path):
    with _raises(
        "dataset='tfds:no_such_set': TensorFlow Datasets has none of this name"
    ):
        parallel_sources.open_pairs("tfds:no_such_set", tmp_path)


def test_examples_of_the_docstrings():
    result = doctest.testmod(parallel)
    assert result.attempted > 1
    assert not result.failed
