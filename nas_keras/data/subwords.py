"""Text as ids of subwords, by sentencepiece, and back.

The pieces are learnt from text and are stored in a model: a few hundred kB
that a translation needs as much as its weights. Nothing is normalised, so
`decode` returns what `encode` got, less runs of blanks. sentencepiece is
imported when it is used first.

Reference:
    [Kudo & Richardson, 2018](https://arxiv.org/abs/1808.06226); the pieces as
    in [Sennrich et al., 2016](https://arxiv.org/abs/1508.07909) ("bpe") or
    [Kudo, 2018](https://arxiv.org/abs/1804.10959) ("unigram").
"""

import dataclasses
import functools
import hashlib
import io
import re
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from nas_keras import libraries
from nas_keras.data.checks import check
from nas_keras.data.checks import check_int

KINDS = ("bpe", "unigram")
PADDING, UNKNOWN, BEGIN, END = 0, 1, 2, 3

# Names that no text has: sentencepiece cuts the names of its special pieces
# out of the text it learns from, and a blank in it is U+2581 by then.
_SPECIALS = ("<pad >", "<unk >", "<s >", "</s >")
# Characters that sentencepiece keeps for itself. It leaves out whole lines for
# one of them, or takes it for a blank.
_RESERVED = str.maketrans(dict.fromkeys("\0\x1f\u2581\u2585", " "))
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclasses.dataclass(frozen=True)
class Subwords:
    """A sentencepiece model: text to ids and back.

    Ids 0 to 3 are `PADDING`, `UNKNOWN`, `BEGIN` and `END`. No text has them,
    `UNKNOWN` apart: it stands for characters that were not in the lines which
    the pieces were learnt from, and for NUL, U+001F and U+2585.

    Args:
        model: What `train_subwords` made, serialised.

    Raises:
        ValueError: If it is no such model or a damaged one.
        ImportError: If sentencepiece is not installed.

    Example:

    >>> subwords = train_subwords(["to be or not to be"] * 9, 20)
    >>> ids = subwords.encode(["to be", "not"])
    >>> subwords.decode(ids), subwords.pieces(ids[0])
    (['to be', 'not'], ['▁to', '▁be'])
    """

    model: bytes = dataclasses.field(repr=False)

    def __post_init__(self) -> None:
        good = isinstance(self.model, bytes)
        check(good, "model", "bytes", type(self.model))
        good = bool(self.model) and self._processor is not None
        rule = "a sentencepiece model with ids 0 to 3 as `train_subwords` sets"
        check(good, "model", rule, f"{len(self.model)} bytes")

    @property
    def vocabulary_size(self) -> int:
        """V, the four special ids included."""
        return self._processor.get_piece_size()

    @functools.cached_property
    def sha256(self) -> str:
        """Identifies the model: 64 hex digits."""
        return hashlib.sha256(self.model).hexdigest()

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each line, without `BEGIN` and `END`.

        Raises:
            ValueError: If `lines` is not a sequence of str.
        """
        lines = _checked_lines(lines)
        return self._processor.encode(lines, num_threads=1)

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Returns the text of each row of ids.

        `PADDING`, `BEGIN` and `END` are skipped; `UNKNOWN` is ` ⁇ `, so that
        it shows.

        Raises:
            ValueError: If `ids` is not rows of ids from 0 to V-1.
        """
        check(isinstance(ids, Iterable), "ids", "rows of ids", ids)
        skipped = (PADDING, BEGIN, END)
        rows = [[i for i in self._checked(r) if i not in skipped] for r in ids]
        return [self._processor.decode(row) for row in rows]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Returns the piece of each id; `▁` in it is a blank.

        Raises:
            ValueError: If `ids` is not ids from 0 to V-1.
        """
        found = [self._processor.id_to_piece(i) for i in self._checked(ids)]
        return [piece.replace(" ", "") for piece in found]  # "<s >" is <s>.

    @functools.cached_property
    def _processor(self) -> Any:
        """The model as sentencepiece has it, or None."""
        sentencepiece = _sentencepiece()
        try:
            found = sentencepiece.SentencePieceProcessor(model_proto=self.model)
        except RuntimeError:
            return None
        # Of a model that is cut off the settings are missing, these with them.
        ids = (found.pad_id(), found.unk_id(), found.bos_id(), found.eos_id())
        good = ids == (PADDING, UNKNOWN, BEGIN, END)
        return found if good else None

    def _checked(self, ids: Sequence[int]) -> list[int]:
        rule = f"rows of ids from 0 to {self.vocabulary_size - 1}"
        try:
            row = [int(i) for i in ids]
            good = row == [*ids]
        except (TypeError, ValueError, OverflowError):  # The last: inf.
            row, good = [], False
        check(good, "ids", rule, ids)
        wrong = [i for i in row if not 0 <= i < self.vocabulary_size]
        check(not wrong, "ids", rule, wrong[:1])
        return row


def train_subwords(
    lines: Iterable[str], vocabulary_size: int, kind: str = "bpe"
) -> Subwords:
    """Returns the pieces that describe these lines best, as a model.

    The same lines give the same bytes with the same release of sentencepiece.

    Args:
        lines: Text to learn from; every character in it gets a piece. For
            translation the training part of both languages, for one
            vocabulary that they share.
        vocabulary_size: V, the four special ids included.
        kind: `"bpe"`, pieces by joining frequent pairs, or `"unigram"`, pieces
            by removing the least useful from many.

    Raises:
        ValueError: If an argument is not as above, or V is smaller than the
            characters need or larger than the lines allow; the message has
            the limit.
        ImportError: If sentencepiece is not installed.
    """
    check_int("vocabulary_size", vocabulary_size, len(_SPECIALS) + 1)
    check(kind in KINDS, "kind", f"one of {KINDS}", kind)
    lines = [line.translate(_RESERVED) for line in _checked_lines(lines)]
    good = any(line.strip() for line in lines)
    check(good, "lines", "text to learn from", f"{len(lines)} blank lines")
    model = io.BytesIO()
    try:
        _sentencepiece().SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=min(vocabulary_size, 2**30),  # An int32, and 1.1 of it.
            model_type=kind,
            normalization_rule_name="identity",
            character_coverage=1.0,
            max_sentence_length=2**30,  # Else long lines are left out.
            num_threads=1,
            minloglevel=3,  # Failures only, and those it raises.
            pad_id=PADDING,
            unk_id=UNKNOWN,
            bos_id=BEGIN,
            eos_id=END,
            pad_piece=_SPECIALS[PADDING],
            unk_piece=_SPECIALS[UNKNOWN],
            bos_piece=_SPECIALS[BEGIN],
            eos_piece=_SPECIALS[END],
        )
    except RuntimeError as error:
        raise ValueError(_reason(str(error), vocabulary_size)) from None
    return Subwords(model.getvalue())


def _reason(error: str, vocabulary_size: int) -> str:
    """Returns what sentencepiece says about a size, as one of our messages."""
    received = f"Received: vocabulary_size={vocabulary_size}."
    if found := re.search(r"required_chars\. \d+ vs (\d+)", error):
        return (
            f"vocabulary_size must be at least {found[1]}, one for each "
            f"character of the lines and {len(_SPECIALS)} special ids. "
            f"{received}"
        )
    if found := re.search(r"set it to a value <= (\d+)", error):
        return (
            f"vocabulary_size must be at most {found[1]}: the lines have no "
            f"more pieces. {received}"
        )
    return (
        "lines must be text that sentencepiece can learn from. It says: "
        f"{error}. {received}"
    )


def _checked_lines(lines: Any) -> list[str]:
    # A str is a sequence of str, too: its characters.
    good = isinstance(lines, Iterable) and not isinstance(lines, str | bytes)
    check(good, "lines", "a sequence of str", type(lines))
    lines = [*lines]
    strange = [line for line in lines if not isinstance(line, str)]
    check(not strange, "lines", "a sequence of str", strange[:1])
    strange = [line for line in lines if _SURROGATE.search(line)]
    check(not strange, "lines", "of text that UTF-8 can encode", strange[:1])
    return lines


def _sentencepiece() -> Any:
    what = "Subwords need the package sentencepiece"
    with libraries.needed(what, "translation"):
        import sentencepiece
    return sentencepiece
