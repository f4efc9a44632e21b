"""Sentences and their translations: three parts of pairs of text.

Nothing is lower-cased, tokenised or shuffled, and a pair that is left out is
counted. Where pairs come from is the business of `parallel_sources.py`, how
they become ids that of `subwords.py`.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from absl import logging

from nas_keras.data.checks import check
from nas_keras.data.text import PARTS

Pair = tuple[str, str]  # A sentence and its translation.


@dataclasses.dataclass(frozen=True, eq=False)
class ParallelCorpus:
    """Pairs of sentences of two languages for training and for scores.

    Attributes:
        name: Where the pairs come from.
        source_language, target_language: What the first and the second text of
            a pair is in: two names such as `"en"` and `"de"`.
        train, validation, test: Pairs, each text without blanks around it.
        dropped: By part, how many pairs were left out for an empty side.

    Raises:
        ValueError: If the languages are one, a part has no pair, a text is
            blank, has blanks around it or several lines, or `dropped` is not
            a count for each part.

    Example:

    >>> pairs = (("a cat", "eine Katze"),)
    >>> corpus = ParallelCorpus("cats", "en", "de", pairs, pairs, pairs)
    >>> corpus, corpus.train[0][1]
    (ParallelCorpus(name='cats', source_language='en', target_language='de', \
dropped={'train': 0, 'validation': 0, 'test': 0}), 'eine Katze')
    """

    name: str
    source_language: str
    target_language: str
    train: tuple[Pair, ...] = dataclasses.field(repr=False)
    validation: tuple[Pair, ...] = dataclasses.field(repr=False)
    test: tuple[Pair, ...] = dataclasses.field(repr=False)
    dropped: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: dict.fromkeys(PARTS, 0)
    )

    def __post_init__(self) -> None:
        check_languages(
            self.source_language,
            self.target_language,
            ("source_language", "target_language"),
        )
        for part in PARTS:
            pairs = getattr(self, part)
            good = isinstance(pairs, tuple)
            check(good, part, "a tuple of pairs", type(pairs))
            check(pairs, part, "pairs, at least one", pairs)
            rule = "pairs of text, each one line without blanks around it"
            bad = next((p for p in pairs if not _is_pair(p)), None)
            check(bad is None, part, rule, bad)
        good = isinstance(self.dropped, Mapping) and {*self.dropped} == {*PARTS}
        good = good and all(
            type(n) is int and n >= 0 for n in self.dropped.values()
        )
        check(good, "dropped", f"a count for each of {PARTS}", self.dropped)
        object.__setattr__(self, "dropped", dict(self.dropped))

    @functools.cached_property
    def sha256(self) -> str:
        """Identifies languages and pairs, not the name: 64 hex digits."""
        digest = hashlib.sha256()
        languages = [self.source_language, self.target_language]
        digest.update(json.dumps(languages).encode("ascii"))
        for part in PARTS:
            pairs = getattr(self, part)
            digest.update(f"\n{len(pairs)}\n".encode("ascii"))
            for pair in pairs:  # One by one: there may be millions.
                digest.update(json.dumps(pair).encode("ascii"))
        return digest.hexdigest()


def parallel_corpus(
    parts: Mapping[str, Iterable[Pair]],
    source: str,
    target: str,
    *,
    name: str,
) -> ParallelCorpus:
    """Returns pairs as a corpus, those with an empty side left out.

    How many are left out is logged as a warning for each part.

    Args:
        parts: The pairs of "train", "validation" and "test".
        source, target, name: The two languages, and where the pairs come from.

    Raises:
        ValueError: If `parts` has others, or as `ParallelCorpus` raises; a
            part without a pair is one where none is left.
    """
    check(isinstance(parts, Mapping), "parts", "a mapping", type(parts))
    check({*parts} == {*PARTS}, "parts", f"a mapping of {PARTS}", [*parts])
    kept, dropped = {}, {}
    for part in PARTS:
        kept[part], dropped[part] = without_empty(parts[part])
        total = len(kept[part]) + dropped[part]
        rule = f"pairs of which one has text on both sides, with data {name!r}"
        check(kept[part], part, rule, f"{total} pairs")
        if dropped[part]:
            logging.warning(
                "%s: left out %d of the %d pairs of part %r: a side is empty.",
                name,
                dropped[part],
                total,
                part,
            )
    return ParallelCorpus(name, source, target, **kept, dropped=dropped)


def without_empty(pairs: Iterable[Pair]) -> tuple[tuple[Pair, ...], int]:
    r"""Returns the pairs with text on both sides, and how many have not.

    Line ends and blanks around a text are not part of it.

    Example:

    >>> without_empty([("a cat\n", " eine Katze"), ("a dog", " "), ("", "")])
    ((('a cat', 'eine Katze'),), 2)
    """
    stripped = [(source.strip(), target.strip()) for source, target in pairs]
    kept = tuple(pair for pair in stripped if all(map(has_text, pair)))
    return kept, len(stripped) - len(kept)


def has_text(line: str) -> bool:
    """Returns whether a line is more than blanks, as `Subwords` sees them.

    It writes a blank as U+2581, and takes that for one.
    """
    return bool(line.replace("\u2581", " ").strip())


def check_languages(
    source: str, target: str, names: tuple[str, str] = ("source", "target")
) -> None:
    """Raises a `ValueError` unless these are the names of two languages."""
    for argument, language in zip(names, (source, target), strict=True):
        good = isinstance(language, str) and language.strip()
        check(good, argument, "the name of a language", language)
    rule = f"another language than {names[0]}={source!r}"
    check(source != target, names[1], rule, target)


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, tuple)
        and len(pair) == 2
        and all(
            isinstance(text, str)
            and has_text(text)
            and text == text.strip()
            and "\n" not in text
            for text in pair
        )
    )
