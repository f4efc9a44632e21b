"""Tests of pairs of sentences that need no file: dates, numbers, units."""

import re
import sys
from unittest import mock

import pytest

from nas_keras.data import embedded_pairs
from nas_keras.data import parallel_sources
from nas_keras.data import text
from tests.raising import raises


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
    with raises(
        f"{argument} must be a locale that Babel knows, such as 'de', 'en', "
        "'ja' or 'pt_BR'; all of them: python -c \"from babel import "
        'localedata; print(sorted(localedata.locale_identifiers()))". '
        f"Received: {received}"
    ):
        embedded_pairs.embedded_pairs(*languages)


def test_a_wrong_locale_is_told_its_neighbours():
    with raises("Received: target='pt-BR', near ['pt_BR']."):
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
