"""Text as token ids: three parts by position and one vocabulary.

The text is split before anything is counted, so nothing of the validation and
test parts reaches the vocabulary. Nothing is lower-cased, cleaned or shuffled.
Axes: N tokens of a part, V entries of the vocabulary.
"""

import collections
import dataclasses
import errno
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from pydoc_data import topics

import numpy as np

LEVELS = ("char", "word")
DATASETS = ("embedded", "tiny_shakespeare")

# Ids 0 (what the training part lacks) and 1 (the end of a line of words).
_SPECIALS = {"char": ("<unk>",), "word": ("<unk>", "<eos>")}
_PARTS = ("train", "validation", "test")  # In the order of the text.
_Path = str | os.PathLike


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text as ids, int32 [N] for each part; `vocabulary[id]` is the token.

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

    def __post_init__(self):
        _check(self.level in LEVELS, "level", f"one of {LEVELS}", self.level)
        for part in _PARTS:
            ids = np.array(getattr(self, part))  # A copy: ours to freeze.
            good = ids.dtype == np.int32 and ids.size
            _check(good, part, "non-empty int32", f"{ids.dtype} {ids.shape}")
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
        parts = [getattr(self, part).tolist() for part in _PARTS]
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

    def _check_ids(self, argument: str, ids: np.ndarray) -> None:
        good = ids.ndim == 1 and (not ids.size or ids.dtype.kind in "iu")
        _check(good, argument, "integers [N]", f"{ids.dtype} {ids.shape}")
        size = self.vocabulary_size
        wrong = ids[(ids < 0) | (ids >= size)].tolist()
        _check(not wrong, argument, f"ids in [0, {size})", wrong[:1])


def embedded_text() -> str:
    """Returns about 465 kB of English: the standard library's help topics.

    They differ from one Python release to the next; `Corpus.sha256` tells.
    """
    return "\n".join(text for _, text in sorted(topics.topics.items()))


def read_text_file(path: _Path) -> str:
    """Returns the text of a UTF-8 file as it is, less a byte order mark.

    Raises:
        ValueError: If it cannot be read, is not UTF-8, or is binary or blank.
    """
    path = pathlib.Path(path)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError(errno.EINVAL, "not a file")  # A pipe never ends.
        data = path.read_bytes()
        text = data.decode("utf-8").removeprefix("\ufeff")
    except OSError as e:
        problem = f"cannot be read: {e.strerror}"
    except UnicodeDecodeError as e:
        problem = f"has bad byte {data[e.start]:#04x} at byte offset {e.start}"
    else:
        if 0 in data:
            problem = f"is binary: a NUL at byte offset {data.index(0)}"
        elif text.strip():
            return text
        else:
            problem = "is empty or only white space"
    received = f"text_file={str(path)!r}, which {problem}"
    raise ValueError(f"`text_file` must be UTF-8 text. Received: {received}.")


def tiny_shakespeare(data_dir: _Path | None = None, download=False) -> str:
    """Returns 1.1 MB of Shakespeare: TFDS's three splits, joined in order.

    `data_dir` is the folder of TFDS data sets, if not TFDS's own. To `download`
    is not the default: without a network it fails after minutes of retries.

    Raises:
        ValueError: If the data set is not there and `download` is false.
    """
    import tensorflow_datasets as tfds  # Imports TensorFlow when first used.

    builder = tfds.builder("tiny_shakespeare", data_dir=data_dir)
    # Where there is no folder, `is_prepared` logs a warning of its own.
    if not (builder.data_path.exists() and builder.is_prepared()):
        if not download:
            where = "" if data_dir is None else f", data_dir={str(data_dir)!r}"
            raise ValueError(
                f"dataset='tiny_shakespeare' is not at {builder.data_path}. "
                'Prepare it with: python -c "import tensorflow_datasets as '
                f"tfds; tfds.builder('tiny_shakespeare'{where})."
                "download_and_prepare()\"; or use dataset='embedded'."
            )
        builder.download_and_prepare()
    splits = tfds.as_numpy(builder.as_dataset(split=list(_PARTS)))
    return "".join(row["text"].decode("utf-8") for s in splits for row in s)


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
    _check(isinstance(text, str), "text", "a str", type(text))
    _check(level in LEVELS, "level", f"one of {LEVELS}", level)
    specials = _SPECIALS[level]
    _check_int("max_vocabulary", max_vocabulary, len(specials) + 1)
    tokens = text
    if level == "word":
        lines = filter(None, map(str.split, text.splitlines()))
        tokens = [word for line in lines for word in (*line, "<eos>")]
    parts = _split(tokens, tuple(fractions))
    counts = collections.Counter(t for t in parts[0] if t not in specials)
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    vocabulary = specials + tuple(ranked[: max_vocabulary - len(specials)])
    index = {token: i for i, token in enumerate(vocabulary)}
    ids = [np.array([index.get(t, 0) for t in p], np.int32) for p in parts]
    return Corpus(name, level, vocabulary, *ids)


def _split(tokens: Sequence[str], fractions: tuple[float, ...]) -> list:
    good = len(fractions) == len(_PARTS) and all(f > 0 for f in fractions)
    good = good and abs(sum(fractions) - 1) < 1e-9
    _check(good, "fractions", "three positive numbers with sum 1", fractions)
    a, b = (round(len(tokens) * sum(fractions[:i])) for i in (1, 2))
    parts = [tokens[:a], tokens[a:b], tokens[b:]]
    rule = f"long enough for a token in each part of fractions={fractions}"
    _check(all(parts), "text", rule, f"{len(tokens)} tokens")
    return parts


def open_corpus(
    dataset: str = "embedded",
    text_file: _Path | None = None,
    level: str = "char",
    max_vocabulary: int = 10_000,
    max_chars: int | None = None,
    data_dir: _Path | None = None,
) -> Corpus:
    """Returns the corpus that a program's arguments name.

    Args:
        dataset: One of `DATASETS`; only the default goes with a `text_file`.
        text_file: A UTF-8 file to use in place of the data set.
        level, max_vocabulary: As for `build_corpus`.
        max_chars: Characters of the text to use, from its start; default all.
        data_dir: Folder of TFDS data, only with dataset="tiny_shakespeare".

    Raises:
        ValueError: If an argument is not as above, or the text is not there.
    """
    _check(dataset in DATASETS, "dataset", f"one of {DATASETS}", dataset)
    if max_chars is not None:
        _check_int("max_chars", max_chars, 1)
    if data_dir is not None:
        rule = f"left out with dataset={dataset!r}"
        _check(dataset == "tiny_shakespeare", "data_dir", rule, data_dir)
    if text_file is not None:
        rule = f"left out with text_file={str(text_file)!r}"
        _check(dataset == "embedded", "dataset", rule, dataset)
        name, text = pathlib.Path(text_file).name, read_text_file(text_file)
    elif dataset == "tiny_shakespeare":
        name, text = dataset, tiny_shakespeare(data_dir)
    else:
        name, text = dataset, embedded_text()
    text = text[:max_chars]
    return build_corpus(text, level, name=name, max_vocabulary=max_vocabulary)


def _check(good, name: str, rule: str, value) -> None:
    message = f"`{name}` must be {rule}. Received: {name}={value!r}."
    if not good:
        raise ValueError(message)


def _check_int(name: str, value, minimum: int) -> None:
    good = type(value) is int and value >= minimum  # A bool is not a number.
    _check(good, name, f"an integer of at least {minimum}", value)
