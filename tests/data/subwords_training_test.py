"""Tests of `train_subwords`: what is learnt from, sizes, what is refused."""

import re
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.data import subwords
from nas_keras.data.subwords import BEGIN
from nas_keras.data.subwords import END
from nas_keras.data.subwords import PADDING
from nas_keras.data.subwords import UNKNOWN
from tests.raising import raises

_KINDS = pytest.mark.parametrize("kind", subwords.KINDS)


def _single_blanks(line):
    """Returns a line without runs of U+0020, by hand: the rest is text."""
    return " ".join(word for word in line.split(" ") if word)


def _fewest(lines):
    """Returns the smallest vocabulary of lines, by hand."""
    return len({" ", *"".join(lines)}) + 4  # The special ids.


@pytest.mark.parametrize(
    "line",
    ["<s>", "</s>", "<unk>", "<pad>", "<s >", "</s >", "<pad >", "a <s> b"],
)
@_KINDS
def test_markup_in_text_is_text(kind, line):
    lines = [f"{line} in text"] * 5
    model = subwords.train_subwords(lines, _fewest(lines), kind)
    (ids,) = model.encode([line])
    assert not {*ids} & {PADDING, UNKNOWN, BEGIN, END}
    assert model.decode([ids]) == [line]


@_KINDS
def test_lines_with_markup_are_learnt_from(kind):
    # sentencepiece would skip or cut them, and leave out their characters.
    lines = ["x<s>y", "z</s>", "<unk>"]
    model = subwords.train_subwords(lines, _fewest(lines), kind)
    (ids,) = model.encode(["xyz<>/sunk"])
    assert UNKNOWN not in ids


@pytest.mark.parametrize("reserved", ["\0", "\x1f", "\u2581", "\u2585"])
@_KINDS
def test_lines_with_reserved_characters_are_learnt_from(kind, reserved):
    model = subwords.train_subwords([f"to{reserved}be", "or"], 10, kind)
    (ids,) = model.encode(["to be or"])
    assert UNKNOWN not in ids


def test_lines_of_any_length_are_learnt_from():
    long = "to be " * 2_000 + "q"  # sentencepiece leaves out 4,193 bytes.
    model = subwords.train_subwords(["to be or not", long], 20)
    assert UNKNOWN not in model.encode(["q"])[0]


@pytest.mark.parametrize("lines", [[], [""], [" ", "\u2581\0"]])
def test_there_is_text_to_learn_from(lines):
    with raises(
        "lines must be text to learn from. "
        f"Received: lines='{len(lines)} blank lines'."
    ):
        subwords.train_subwords(lines, 20)


# The size of a vocabulary.


@_KINDS
def test_a_vocabulary_is_too_small_without_each_character(kind):
    lines = ["to be", "or not"]  # t o b e r n, the blank, and four specials.
    with raises(
        "vocabulary_size must be at least 11, one for each character of the "
        "lines and 4 special ids. Received: vocabulary_size=10."
    ):
        subwords.train_subwords(lines, 10, kind)
    model = subwords.train_subwords(lines, 11, kind)
    assert {*model.pieces(range(4, 11))} == {*"▁tobern"}


@_KINDS
def test_a_vocabulary_is_too_large_for_its_lines(kind):
    with pytest.raises(
        ValueError,
        match=r"vocabulary_size must be at most \d+: the lines have no more "
        r"pieces\. Received: vocabulary_size=100\.$",
    ):
        subwords.train_subwords(["to be or not"] * 3, 100, kind)


@pytest.mark.parametrize("size", [2**31 - 1, 2**70])
def test_no_size_is_too_large_for_sentencepiece(size):
    import sentencepiece

    # It would search for long: here it is asked and does not.
    error = RuntimeError("Please set it to a value <= 12.")
    with (
        mock.patch.object(
            sentencepiece.SentencePieceTrainer, "train", side_effect=error
        ) as train,
        raises(
            "vocabulary_size must be at most 12: the lines have no more "
            f"pieces. Received: vocabulary_size={size}."
        ),
    ):
        subwords.train_subwords(["to be or not"], size, "unigram")
    # It has 1.1 times as many as an int32, and never ends if they overflow.
    assert 1.1 * train.call_args.kwargs["vocab_size"] < 2**31


@_KINDS
@given(
    lines=st.lists(st.text("ab é<s>", min_size=1), min_size=1, max_size=5),
    size=st.integers(5, 40),
)
def test_a_size_is_met_or_the_message_has_the_limit(kind, lines, size):
    lines = ["a", *lines]
    try:
        model = subwords.train_subwords(lines, size, kind)
    except ValueError as error:
        found = re.search(r"must be at (least|most) (\d+)", str(error))
        limit = int(found[2])
        beyond = limit - 1 if found[1] == "least" else limit + 1
        if found[1] == "least":
            assert limit == _fewest(lines)
        model = subwords.train_subwords(lines, limit, kind)
        assert model.vocabulary_size == limit
        with raises(f"at {found[1]} {limit}"):
            subwords.train_subwords(lines, beyond, kind)
    else:
        assert model.vocabulary_size == size
    want = [_single_blanks(line) for line in lines]
    assert model.decode(model.encode(lines)) == want


@pytest.mark.parametrize("size", [4, 0, -1, True, 20.0, "20", None])
def test_vocabulary_size_is_an_int_above_the_specials(size):
    with raises(
        "vocabulary_size must be an integer of at least 5. "
        f"Received: vocabulary_size={size!r}."
    ):
        subwords.train_subwords(["to be"], size)


@pytest.mark.parametrize("kind", ["word", "BPE", None, ["bpe"]])
def test_kind_must_be_known(kind):
    with raises(
        f"kind must be one of ('bpe', 'unigram'). Received: kind={kind!r}."
    ):
        subwords.train_subwords(["to be"], 20, kind)


def test_what_else_sentencepiece_refuses_is_told():
    import sentencepiece

    with (
        mock.patch.object(
            sentencepiece.SentencePieceTrainer,
            "train",
            side_effect=RuntimeError("no room"),
        ),
        raises(
            "lines must be text that sentencepiece can learn from. It says: "
            "no room. Received: vocabulary_size=20."
        ),
    ):
        subwords.train_subwords(["to be"], 20)
