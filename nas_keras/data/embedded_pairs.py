"""Sentence pairs that need no download, put in words by Babel from CLDR data.

Dates, times, spans, amounts, sums of money, countries and languages are drawn
by chance and put in words in both languages. The pairs are small enough to be
learnt in minutes and are no measure of a translator of free text: their words
are few, and each occurs often. Only here Babel is imported, when it is used.

Reference:
    [Unicode CLDR](https://cldr.unicode.org), the data of Babel.
"""

import datetime
import difflib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np

from nas_keras import libraries
from nas_keras.data.parallel import Pair
from nas_keras.data.parallel import ParallelCorpus
from nas_keras.data.parallel import check_languages
from nas_keras.data.parallel import parallel_corpus
from nas_keras.data.text import PARTS

_SIZES = (8_000, 300, 300)  # Pairs of each part.
_SEED = 20170214
_PATIENCE = 200  # Draws without a new pair after which a pattern is used up.

_UNITS = ("year", "month", "week", "day", "hour", "minute", "second")
_AMOUNTS = (
    "length-meter",
    "length-kilometer",
    "mass-gram",
    "mass-kilogram",
    "volume-liter",
    "area-square-meter",
    "digital-megabyte",
    "temperature-celsius",
)
_PER = ("duration-day", "duration-hour", "duration-minute", "duration-week")
_CURRENCIES = ("EUR", "USD", "GBP", "JPY", "CHF", "INR", "CAD", "BRL")
_COUNTRIES = (
    *("AR", "AT", "AU", "BR", "CA", "CH", "CN", "DE", "DK", "EG", "ES", "FI"),
    *("FR", "GB", "GR", "IE", "IN", "IT", "JP", "KE", "MX", "NG", "NL", "NO"),
    *("PL", "PT", "SE", "TR", "UA", "ZA"),
)
_LANGUAGES = (
    *("ar", "cs", "da", "de", "el", "en", "es", "fi", "fr", "he", "hi", "hu"),
    *("it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "sw", "tr", "uk", "zh"),
)
_FIRST_DAY = datetime.date(2000, 1, 1)
_NUM_DAYS = 30 * 365


def embedded_pairs(source: str = "en", target: str = "de") -> ParallelCorpus:
    """Returns about 8,000 pairs for training and 300 each for scores.

    They are the same each time with the same release of Babel. No source
    sentence occurs twice, so held-out ones are in no other part. Typographic
    blanks are plain ones.

    Args:
        source, target: Two locales that Babel knows, such as `"en"`, `"de"` or
            `"pt_BR"`.

    Raises:
        ValueError: If Babel knows no such locale, or the two are one.
        ImportError: If Babel is not installed.
    """
    check_languages(source, target)
    languages = (_Language(source, "source"), _Language(target, "target"))
    pairs = _pairs(*languages, sum(_SIZES))
    rng = np.random.default_rng(_SEED + 1)
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    # Scores first: the parts for them keep their size if pairs are too few.
    parts, start = {}, 0
    for part, size in zip(PARTS[::-1], _SIZES[::-1], strict=True):
        parts[part] = pairs[start : start + size]
        start += size
    return parallel_corpus(parts, source, target, name="embedded")


class _Language:
    """What Babel says in one language. `argument` is for messages."""

    def __init__(self, name: str, argument: str):
        what = "dataset='embedded' of pairs needs the package Babel"
        with libraries.needed(what, "translation"):
            import babel.dates
            import babel.lists
            import babel.localedata
            import babel.numbers
            import babel.units
        known = babel.localedata.locale_identifiers()
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known))
            raise ValueError(
                f"{argument} must be a locale that Babel knows, such as "
                "'de', 'en', 'ja' or 'pt_BR'; all of them: python -c \"from "
                "babel import localedata; print(sorted(localedata."
                'locale_identifiers()))". Received: '
                f"{argument}={name!r}, near {near}."
            )
        # Its types want units and styles as literals.
        self._babel: Any = babel
        self._locale = babel.Locale.parse(name)

    def moment(self, at: datetime.datetime) -> str:
        """`"Thursday, March 7, 2024, 3:05 PM"`."""
        dates = self._babel.dates
        day = dates.format_date(at.date(), "full", locale=self._locale)
        time = dates.format_time(at.time(), "short", locale=self._locale)
        pattern = dates.get_datetime_format("full", locale=self._locale)
        return str(pattern).replace("'", "").format(time, day)

    def period(self, first: datetime.date, last: datetime.date) -> str:
        """`"Mar 7 – 9, 2024"`."""
        return self._babel.dates.format_interval(
            first, last, "yMMMd", locale=self._locale
        )

    def month(self, day: datetime.date) -> str:
        """`"March 2024"`."""
        return self._babel.dates.format_skeleton(
            "yMMMM", day, locale=self._locale
        )

    def quarter(self, day: datetime.date) -> str:
        """`"1st quarter 2024"`."""
        return self._babel.dates.format_skeleton(
            "yQQQQ", day, locale=self._locale
        )

    def weekday(self, index: int) -> str:
        """`"Thursday"`."""
        return self._locale.days["stand-alone"]["wide"][index]

    def span(self, count: int, unit: str, directed: bool = False) -> str:
        """`"3 hours"`; directed `"in 3 hours"`, or for -3 `"3 hours ago"`."""
        units = dict(self._babel.dates.TIMEDELTA_UNITS)
        return self._babel.dates.format_timedelta(
            datetime.timedelta(seconds=count * units[unit]),
            granularity=unit,
            threshold=float("inf"),  # No larger unit than this one.
            add_direction=directed,
            locale=self._locale,
        )

    def amount(self, count: int, unit: str) -> str:
        """`"12 kilometers"`."""
        return self._babel.units.format_unit(count, unit, locale=self._locale)

    def rate(self, count: int, unit: str, per: str) -> str | None:
        """`"12 liters per day"`."""
        return self._babel.units.format_compound_unit(
            count, unit, denominator_unit=per, locale=self._locale
        )

    def money(self, count: int, currency: str) -> str:
        """`"12 US dollars"`."""
        return self._babel.numbers.format_currency(
            count,
            currency,
            format="0",  # No decimals.
            currency_digits=False,
            format_type="name",
            locale=self._locale,
        )

    def country(self, code: str) -> str | None:
        """`"France"`."""
        return self._locale.territories.get(code)

    def language(self, code: str) -> str | None:
        """`"French"`."""
        return self._locale.languages.get(code)

    def listed(self, phrases: list[str | None], style: str) -> str | None:
        """`"a, b, and c"`, or with style "or" `"a, b, or c"`."""
        if None in phrases:
            return None
        return self._babel.lists.format_list(
            phrases, style, locale=self._locale
        )


# What a sentence means: it says that in a language, or None if there are no
# words for it.
_Meaning = Callable[[_Language], str | None]


class _Draws:
    """Meanings by chance; one pattern a method."""

    def __init__(self, rng: np.random.Generator):
        self._rng = rng

    def patterns(self) -> list[Callable[[], _Meaning]]:
        return [
            self.moment,
            self.period,
            self.months,
            self.quarters,
            self.weekdays,
            self.spans,
            self.directions,
            self.amounts,
            self.rates,
            self.money,
            self.countries,
            self.languages,
        ]

    def moment(self) -> _Meaning:
        minutes = 5 * self._below(24 * 12)
        midnight = datetime.datetime.combine(self._day(), datetime.time())
        at = midnight + datetime.timedelta(minutes=minutes)
        return lambda say: say.moment(at)

    def period(self) -> _Meaning:
        first = self._day()
        last = first + datetime.timedelta(days=1 + self._below(60))
        return lambda say: say.period(first, last)

    def months(self) -> _Meaning:
        days = [self._day() for _ in range(2)]
        return self._list(lambda say: [say.month(day) for day in days])

    def quarters(self) -> _Meaning:
        days = [self._day() for _ in range(2)]
        return self._list(lambda say: [say.quarter(day) for day in days])

    def weekdays(self) -> _Meaning:
        found = self._some(range(7), 2 + self._below(3))
        return self._list(lambda say: [say.weekday(i) for i in found])

    def spans(self) -> _Meaning:
        found = self._counted(_UNITS, 2 + self._below(2))
        return self._list(lambda say: [say.span(*each) for each in found])

    def directions(self) -> _Meaning:
        signs = [(-1, 1)[self._below(2)] for _ in range(2)]
        found = [
            (sign * count, unit)
            for sign, (count, unit) in zip(
                signs, self._counted(_UNITS, 2), strict=True
            )
        ]
        return self._list(lambda say: [say.span(*e, True) for e in found])

    def amounts(self) -> _Meaning:
        found = self._counted(_AMOUNTS, 2 + self._below(2))
        return self._list(lambda say: [say.amount(*each) for each in found])

    def rates(self) -> _Meaning:
        found = self._counted(_AMOUNTS[:-1], 1 + self._below(2))
        per = self._some(_PER, len(found))
        each = [(*one, unit) for one, unit in zip(found, per, strict=True)]
        return self._list(lambda say: [say.rate(*one) for one in each])

    def money(self) -> _Meaning:
        found = self._counted(_CURRENCIES, 2)
        return self._list(lambda say: [say.money(*each) for each in found])

    def countries(self) -> _Meaning:
        found = self._some(_COUNTRIES, 3)
        return self._list(lambda say: [say.country(code) for code in found])

    def languages(self) -> _Meaning:
        found = self._some(_LANGUAGES, 3)
        return self._list(lambda say: [say.language(code) for code in found])

    def _list(self, phrases: Callable[[_Language], list]) -> _Meaning:
        style = ("standard", "or")[self._below(2)]
        return lambda say: say.listed(phrases(say), style)

    def _below(self, end: int) -> int:
        return int(self._rng.integers(end))

    def _day(self) -> datetime.date:
        return _FIRST_DAY + datetime.timedelta(days=self._below(_NUM_DAYS))

    def _some(self, values: Any, num: int) -> list:
        order = self._rng.permutation(len(values))
        return [values[i] for i in order[:num]]

    def _counted(self, units: tuple[str, ...], num: int) -> list:
        return [(1 + self._below(24), unit) for unit in self._some(units, num)]


def _pairs(source: _Language, target: _Language, num: int) -> list[Pair]:
    """Returns pairs of all patterns in turn, no source sentence twice."""
    found: dict[str, str] = {}
    draws = _Draws(np.random.default_rng(_SEED))
    turns = [_new(draw, source, target, found) for draw in draws.patterns()]
    while turns and len(found) < num:
        for turn in [*turns]:
            if next(turn, None) is None:
                turns.remove(turn)
    return [*found.items()][:num]


def _new(
    draw: Callable[[], _Meaning],
    source: _Language,
    target: _Language,
    found: dict[str, str],
) -> Iterator[str]:
    """Adds a pair of one pattern to `found` each time, until it has no more."""
    failures = 0
    while failures < _PATIENCE:
        meaning = draw()
        pair = [_plain(meaning(language)) for language in (source, target)]
        # A sentence that has a translation keeps it: there is but one.
        if all(pair) and pair[0] not in found:
            found[pair[0]] = pair[1]
            failures = 0
            yield pair[0]
        failures += 1


def _plain(text: str | None) -> str:
    """Returns a text with single plain blanks for all kinds of them."""
    return " ".join((text or "").split())
