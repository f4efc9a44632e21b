"""Tests of pairs of sentences: the value, and pairs without text."""

import dataclasses
import doctest
import hashlib
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.data import parallel
from nas_keras.data import text
from tests.raising import raises

_PAIRS = (("a cat", "eine Katze"), ("a dog", "ein Hund"))
# Letters, and what `str.strip` or `str.splitlines` knows.
_LINE = st.text(" \u2581\t\r\x0b\x1c\x85\xa0\u2028aé漢🙂<", max_size=5)


def _corpus(**changed):
    values = {
        "name": "cats",
        "source_language": "en",
        "target_language": "de",
        **dict.fromkeys(text.PARTS, _PAIRS),
    }
    return parallel.ParallelCorpus(**values | changed)


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
    with raises(f"{part} must be {rule}. Received: {part}={received}."):
        _corpus(**{part: value})


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        (
            ("", "de"),
            "source_language must be the name of a language. "
            "Received: source_language=''.",
        ),
        (
            ("en", " "),
            "target_language must be the name of a language. "
            "Received: target_language=' '.",
        ),
        (
            ("en", None),
            "target_language must be the name of a language. "
            "Received: target_language=None.",
        ),
        (
            ("en", "en"),
            "target_language must be another language than "
            "source_language='en'. Received: target_language='en'.",
        ),
    ],
)
def test_languages_of_a_corpus_are_two_names(languages, message):
    source, target = languages
    with raises(message):
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
    with raises(
        "dropped must be a count for each of ('train', 'validation', "
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


def _is_text(line):
    return any(not c.isspace() and c != "\u2581" for c in line)


@given(st.lists(st.tuples(_LINE, _LINE)))
def test_pairs_without_text_on_a_side_are_counted_and_left_out(pairs):
    kept, dropped = parallel.without_empty(iter(pairs))
    stripped = [(one.strip(), two.strip()) for one, two in pairs]
    assert list(kept) == [pair for pair in stripped if all(map(_is_text, pair))]
    assert dropped == len(pairs) - len(kept)


def test_a_corpus_of_parts_tells_what_it_left_out(caplog):
    parts = {
        "test": [("a", "b")],
        "train": iter(
            [(" a\n", "b "), ("", "b"), ("a", "\t"), ("\u2581 \u2581", "b")]
        ),
        "validation": (("c", "d"),),
    }
    with caplog.at_level(logging.WARNING):
        corpus = parallel.parallel_corpus(parts, "en", "de", name="x")
    assert (corpus.train, corpus.test) == ((("a", "b"),), (("a", "b"),))
    assert corpus.validation == (("c", "d"),)
    assert corpus.dropped == {"train": 3, "validation": 0, "test": 0}
    assert [record.getMessage() for record in caplog.records] == [
        "x: left out 3 of the 4 pairs of part 'train': a side is empty."
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"validation": [("a", ""), ("", "")]},
            "validation must be pairs of which one has text on both sides, "
            "with data 'x'. Received: validation='2 pairs'.",
        ),
        (
            {"test": []},
            "test must be pairs of which one has text on both sides, with "
            "data 'x'. Received: test='0 pairs'.",
        ),
        (
            {"dev": [("a", "b")]},
            "parts must be a mapping of ('train', 'validation', 'test'). "
            "Received: parts=['train', 'validation', 'test', 'dev'].",
        ),
        (
            {"test": [("a", "b\nc")]},
            "test must be pairs of text, each one line without blanks "
            "around it. Received: test=('a', 'b\\nc').",
        ),
    ],
)
def test_a_corpus_of_parts_needs_a_pair_in_each_of_three(changed, message):
    parts = dict.fromkeys(text.PARTS, [("a", "b")])
    with raises(message):
        parallel.parallel_corpus(parts | changed, "en", "de", name="x")


def test_parts_must_be_a_mapping():
    with raises("parts must be a mapping. Received: parts=<class 'list'>."):
        parallel.parallel_corpus([("a", "b")], "en", "de", name="x")


def test_examples_of_the_docstrings():
    result = doctest.testmod(parallel)
    assert result.attempted > 1
    assert not result.failed
