"""Text as token ids: three parts and one vocabulary.

The vocabulary is that of the training part, so nothing of the validation and
test parts reaches it. Nothing is lower-cased, cleaned or shuffled. Where text
comes from is the business of `sources.py`.
Axes: N tokens of a part, V entries of the vocabulary.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from nas_keras.data.checks import check
from nas_keras.data.checks import check_int

LEVELS = ("char", "word")

# Ids 0 (what the training part lacks) and 1 (the end of a line of words).
_SPECIALS = {"char": ("<unk>",), "word": ("<unk>", "<eos>")}
_LINE_END = re.compile(r"\r\n|\r|\n")
PARTS = ("train", "validation", "test")  # In the order of the text.


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text as ids, int32 [N] for each part; `vocabulary[id]` is the token.

    Attributes:
        name: Where it comes from.
        level: One of `LEVELS`, what a token is.
        vocabulary: V tokens, special ones included.
        train, validation, test: int32 [N], N of each part its own.

    Raises:
        ValueError: If a part is not int32 [N] with N > 0 and ids below V.

    Example:

    >>> corpus = build_corpus("abba" * 5, name="abba")
    >>> corpus.vocabulary, corpus.train.shape, corpus.decode([1, 2])
    (('<unk>', 'a', 'b'), (18,), 'ab')
    """

    name: str
    level: str
    vocabulary: tuple[str, ...] = dataclasses.field(repr=False)
    train: np.ndarray = dataclasses.field(repr=False)
    validation: np.ndarray = dataclasses.field(repr=False)
    test: np.ndarray = dataclasses.field(repr=False)

    def __post_init__(self) -> None:
        check(self.level in LEVELS, "level", f"one of {LEVELS}", self.level)
        for part in PARTS:
            ids = np.array(getattr(self, part))  # A copy: ours to freeze.
            good = ids.dtype == np.int32 and ids.size
            check(good, part, "non-empty int32", f"{ids.dtype} {ids.shape}")
            self._check_ids(part, ids)
            ids.flags.writeable = False
            object.__setattr__(self, part, ids)

    @property
    def vocabulary_size(self) -> int:
        """V, special tokens included."""
        return len(self.vocabulary)

    @functools.cached_property
    def sha256(self) -> str:
        """Identifies level, vocabulary and ids, not the name: 64 hex digits."""
        parts = [getattr(self, part).tolist() for part in PARTS]
        data = json.dumps([self.level, self.vocabulary, parts])
        return hashlib.sha256(data.encode("ascii")).hexdigest()

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Returns the text of ids [N]; words are joined by single blanks.

        Raises:
            ValueError: If `ids` is not [N], or not integers from 0 to V-1.
        """
        ids = np.asarray(ids)
        self._check_ids("ids", ids)
        tokens = [self.vocabulary[int(i)] for i in ids]
        if self.level == "char":
            return "".join(tokens)
        text = " ".join("\n" if t == "<eos>" else t for t in tokens) + " "
        return text.replace("\n ", "\n").replace(" \n", "\n").removesuffix(" ")

    def encode(self, text: str) -> np.ndarray:
        """Returns the ids of a text, int32 [N]; the inverse of `decode`.

        Words that the vocabulary lacks are `<unk>`.

        Raises:
            ValueError: If the text is not a str, or has a character that the
                vocabulary lacks, and `<unk>`, too.
        """
        check(isinstance(text, str), "text", "a str", type(text))
        index = self._index
        tokens: Sequence[str] = text
        if self.level == "word":
            lines = [line.split() for line in text.split("\n")]
            tokens = [w for line in lines for w in (*line, "<eos>")][:-1]
        strange = [t for t in tokens if t not in index]
        good = not strange or "<unk>" in index
        rule = "of characters that are in the vocabulary"
        check(good, "text", rule, strange[:1])
        unknown = index.get("<unk>", 0)
        return np.array([index.get(t, unknown) for t in tokens], np.int32)

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.vocabulary)}

    def _check_ids(self, argument: str, ids: np.ndarray) -> None:
        good = ids.ndim == 1 and (not ids.size or ids.dtype.kind in "iu")
        check(good, argument, "integers [N]", f"{ids.dtype} {ids.shape}")
        size = self.vocabulary_size
        wrong = ids[(ids < 0) | (ids >= size)].tolist()
        check(not wrong, argument, f"ids in [0, {size})", wrong[:1])


def build_corpus(
    text: str,
    level: str = "char",
    *,
    name: str,
    max_vocabulary: int = 10_000,
    fractions: Sequence[float] = (0.9, 0.05, 0.05),
) -> Corpus:
    """Returns a text as a `Corpus`: split by position, then counted.

    Characters are taken as they are. Words are what white space separates; a
    line that is not blank ends in `<eos>`. Vocabulary: `<unk>`, for words
    `<eos>`, the training part's tokens by falling frequency, then code point.

    Args:
        text, level, name: Any text, one of `LEVELS`, and where it comes from.
        max_vocabulary: Greatest V, special tokens included.
        fractions: Shares of the tokens for train, validation and test.

    Raises:
        ValueError: If an argument is not as above, or a part gets no token.
    """
    check(isinstance(text, str), "text", "a str", type(text))
    check(level in LEVELS, "level", f"one of {LEVELS}", level)
    parts = _split(_tokens(text, level), tuple(fractions))
    return _corpus(parts, level, name, max_vocabulary, _SPECIALS[level])


def corpus_of_parts(
    parts: Mapping[str, str],
    level: str = "char",
    *,
    name: str,
    max_vocabulary: int = 10_000,
    has_unknown: bool = True,
) -> Corpus:
    """Returns texts that are three parts already as a `Corpus`.

    Tokens and vocabulary are those of `build_corpus`.

    Args:
        parts: The texts of "train", "validation" and "test".
        level, name, max_vocabulary: As for `build_corpus`.
        has_unknown: Whether characters have `<unk>`; words always do.

    Raises:
        ValueError: If an argument is not as above, a part has no token, or
            without `<unk>` a part has a character that the training part
            lacks.

    Example:

    >>> parts = {"train": "abab", "validation": "ba", "test": "aba"}
    >>> corpus_of_parts(parts, name="abab", has_unknown=False).vocabulary
    ('a', 'b')
    """
    check(level in LEVELS, "level", f"one of {LEVELS}", level)
    check(isinstance(parts, Mapping), "parts", "a mapping", type(parts))
    good = {*parts} == {*PARTS}
    check(good, "parts", f"a mapping of {PARTS}", [*parts])
    for part in PARTS:
        good = isinstance(parts[part], str)
        check(good, part, "a str", type(parts[part]))
    tokens = [_tokens(parts[part], level) for part in PARTS]
    for part, found in zip(PARTS, tokens, strict=True):
        check(len(found), part, "a text with tokens", f"{len(found)} tokens")
    specials = _SPECIALS[level] if has_unknown or level == "word" else ()
    return _corpus(tokens, level, name, max_vocabulary, specials)


def _tokens(text: str, level: str) -> Sequence[str]:
    if level == "char":
        return text
    # Not `splitlines`: a page break, for one, ends no line.
    lines = filter(None, map(str.split, _LINE_END.split(text)))
    return [word for line in lines for word in (*line, "<eos>")]


def _corpus(
    parts: Sequence[Sequence[str]],
    level: str,
    name: str,
    max_vocabulary: int,
    specials: tuple[str, ...],
) -> Corpus:
    check_int("max_vocabulary", max_vocabulary, len(specials) + 1)
    counts = collections.Counter(t for t in parts[0] if t not in specials)
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    vocabulary = specials + tuple(ranked[: max_vocabulary - len(specials)])
    index = {token: i for i, token in enumerate(vocabulary)}
    if not specials:
        for part, tokens in zip(PARTS, parts, strict=True):
            strange = sorted({t for t in tokens if t not in index})
            rule = "without characters that the vocabulary lacks"
            check(not strange, part, rule, strange[:5])
    ids = [np.array([index.get(t, 0) for t in p], np.int32) for p in parts]
    return Corpus(name, level, vocabulary, *ids)


def _split(tokens: Sequence[str], fractions: tuple[float, ...]) -> list:
    good = len(fractions) == len(PARTS) and all(f > 0 for f in fractions)
    good = good and abs(sum(fractions) - 1) < 1e-9
    check(good, "fractions", "three positive numbers with sum 1", fractions)
    a, b = (round(len(tokens) * sum(fractions[:i])) for i in (1, 2))
    parts = [tokens[:a], tokens[a:b], tokens[b:]]
    rule = f"long enough for a token in each part of fractions={fractions}"
    check(all(parts), "text", rule, f"{len(tokens)} tokens")
    return parts
