"""Tests of nas_keras.data.subwords: round trips, bytes, limits, damage."""

import copy
import dataclasses
import doctest
import hashlib
import pickle
import re
import sys
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.data import subwords
from nas_keras.data.subwords import BEGIN
from nas_keras.data.subwords import END
from nas_keras.data.subwords import PADDING
from nas_keras.data.subwords import UNKNOWN

# Plain text, what looks like markup, combining and wide characters, and what
# others take for blanks or ends of lines.
_CHARACTERS = "abno<s>/[]\t\n\r\xa0\u2028\u3000\ufeffe\u0301é漢🙂"
_LINES = (
    "a banana on a boat",
    "no <s> and </s>, no <unk>",
    "ab" * 20,
    _CHARACTERS,
)
_KINDS = pytest.mark.parametrize("kind", subwords.KINDS)


def _raises(message):
    return pytest.raises(ValueError, match=re.escape(message))


def _single_blanks(line):
    """Returns a line without runs of U+0020, by hand: the rest is text."""
    return " ".join(word for word in line.split(" ") if word)


def _fewest(lines):
    """Returns the smallest vocabulary of lines, by hand."""
    return len({" ", *"".join(lines)}) + 4  # The special ids.


@pytest.fixture(scope="module")
def trained():
    """Subwords by kind."""
    return {
        kind: subwords.train_subwords(_LINES * 3, 40, kind)
        for kind in subwords.KINDS
    }


@pytest.fixture
def small():
    """Twenty pieces of six letters."""
    return subwords.train_subwords(["to be or not to be"] * 9, 20)


# Round trips.


@_KINDS
@given(lines=st.lists(st.text(_CHARACTERS + "   ")))
def test_text_of_known_characters_comes_back_less_runs_of_blanks(
    trained, kind, lines
):
    ids = trained[kind].encode(lines)
    assert trained[kind].decode(ids) == [_single_blanks(line) for line in lines]


@_KINDS
@given(line=st.text(_CHARACTERS + "   "))
def test_the_pieces_of_known_text_spell_it(trained, kind, line):
    (ids,) = trained[kind].encode([line])
    spelled = "".join(trained[kind].pieces(ids))
    want = _single_blanks(line)
    assert spelled.replace("▁", " ") == (f" {want}" if want else "")


@_KINDS
@given(line=st.text(_CHARACTERS + " "))
def test_known_text_has_no_special_ids(trained, kind, line):
    (ids,) = trained[kind].encode([line])
    assert all(END < i < trained[kind].vocabulary_size for i in ids)


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


def test_frequent_words_are_pieces(small):
    assert small.pieces(small.encode(["to be"])[0]) == ["▁to", "▁be"]
    assert len(small.encode(["to be or not to be"])[0]) < 12


def test_special_ids_are_four_and_have_their_names(small):
    assert (PADDING, UNKNOWN, BEGIN, END) == (0, 1, 2, 3)
    assert small.pieces(range(4)) == ["<pad>", "<unk>", "<s>", "</s>"]


def test_padding_begin_and_end_are_skipped(small):
    (ids,) = small.encode(["to be"])
    row = [BEGIN, *ids, END, PADDING, PADDING]
    assert small.decode([row, [], [PADDING, END]]) == ["to be", "", ""]


def test_rows_may_be_an_array(small):
    ids = small.encode(["to be", "be to"])
    array = np.array(ids, np.int32)
    assert small.decode(array) == ["to be", "be to"]
    assert small.decode(iter(array)) == ["to be", "be to"]
    assert small.pieces(array[0]) == ["▁to", "▁be"]


def test_nothing_is_nothing(small):
    assert small.encode([]) == []
    assert small.decode([]) == []
    assert small.encode(["", "  "]) == [[], []]
    assert small.decode([[]]) == [""]


@pytest.mark.parametrize("line", ["q", "é", "🙂", "\t", "\0", "\x1f", "\u2585"])
def test_an_unknown_character_is_unknown_and_shows(small, line):
    (ids,) = small.encode([f"to{line}be"])
    assert ids.count(UNKNOWN) == 1
    assert small.decode([ids]) == ["to ⁇ be"]


def test_the_blank_of_pieces_is_a_blank_in_text(small):
    assert small.encode(["to\u2581be"]) == small.encode(["to be"])


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


# The model.


@_KINDS
def test_the_same_lines_give_the_same_bytes(trained, kind):
    again = subwords.train_subwords(iter(_LINES * 3), 40, kind)
    assert again.model == trained[kind].model
    assert again == trained[kind]


def test_kinds_and_sizes_and_lines_give_models_of_their_own(trained):
    found = [
        *trained.values(),
        subwords.train_subwords(_LINES * 3, 39),
        subwords.train_subwords([*_LINES * 3, "boat"], 40),
    ]
    assert len({model.sha256 for model in found}) == 4
    assert [model.vocabulary_size for model in found] == [40, 40, 39, 40]


@_KINDS
def test_a_model_is_its_bytes(trained, kind):
    model = trained[kind]
    assert model.sha256 == hashlib.sha256(model.model).hexdigest()
    want = model.encode(_LINES)
    for other in (
        subwords.Subwords(model.model),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ):
        assert other == model
        assert other.encode(_LINES) == want


def test_a_model_never_changes_and_is_not_printed(small):
    assert repr(small) == "Subwords()"
    with pytest.raises(dataclasses.FrozenInstanceError):
        small.model = b""


@pytest.mark.parametrize("kind", ["nothing", "text", "zeros", "begun", "more"])
def test_a_damaged_model_is_refused(small, kind):
    model = {
        "nothing": b"",
        "text": b"no model at all",
        "zeros": bytes(len(small.model)),
        "begun": small.model[5:],
        "more": small.model + b"x",
    }[kind]
    with _raises(
        "`model` must be a sentencepiece model with ids 0 to 3 as "
        f"`train_subwords` sets. Received: model='{len(model)} bytes'."
    ):
        subwords.Subwords(model)


def test_a_model_that_is_cut_off_is_refused_or_works_alike(small):
    lines = ["to be or not to be", "bet  rot", "q"]
    worked = 0
    for size in range(len(small.model)):
        try:
            cut = subwords.Subwords(small.model[:size])
        except ValueError as error:
            assert f"model='{size} bytes'" in str(error)
        else:
            assert cut.encode(lines) == small.encode(lines)
            assert cut.decode(cut.encode(lines)) == small.decode(
                small.encode(lines)
            )
            worked += 1
    assert worked <= 1  # Only what says that nothing is normalised may lack.


def test_a_model_with_other_special_ids_is_refused(small):
    import sentencepiece

    with mock.patch.object(
        sentencepiece.SentencePieceProcessor, "pad_id", return_value=-1
    ):
        with _raises("with ids 0 to 3 as `train_subwords` sets"):
            subwords.Subwords(small.model)


@pytest.mark.parametrize("model", [None, "text", bytearray(b"x")])
def test_a_model_is_bytes(model):
    with _raises(f"`model` must be bytes. Received: model={type(model)!r}."):
        subwords.Subwords(model)


def test_sentencepiece_is_needed(small):
    with (
        mock.patch.dict(sys.modules, {"sentencepiece": None}),
        pytest.raises(
            ImportError, match="Subwords need the package sentencepiece"
        ),
    ):
        subwords.Subwords(small.model)


# Ids.


@pytest.mark.parametrize(
    ("row", "received"),
    [
        ([4, 20], "[20]"),
        ([-1], "[-1]"),
        ([2**70], f"[{2**70}]"),
        ([1.5], "[1.5]"),
        ([float("nan")], "[nan]"),
        ([float("inf")], "[inf]"),
        (["4"], "['4']"),
        ([None], "[None]"),
        ([[4]], "[[4]]"),
        ("45", "'45'"),
        (4, "4"),
        (None, "None"),
    ],
)
def test_ids_are_those_of_the_vocabulary(small, row, received):
    message = (
        f"`ids` must be rows of ids from 0 to 19. Received: ids={received}."
    )
    with _raises(message):
        small.decode([[4], row])
    with _raises(message):
        small.pieces(row)


@pytest.mark.parametrize("ids", [4, None])
def test_ids_are_rows(small, ids):
    with _raises(f"`ids` must be rows of ids. Received: ids={ids}."):
        small.decode(ids)


# Lines.


@pytest.mark.parametrize(
    ("lines", "rule", "received"),
    [
        ("to be", "a sequence of str", "<class 'str'>"),
        (b"to be", "a sequence of str", "<class 'bytes'>"),
        (None, "a sequence of str", "<class 'NoneType'>"),
        (["to", b"be", 3], "a sequence of str", "[b'be']"),
        (["to", "\ud800"], "of text that UTF-8 can encode", r"['\ud800']"),
    ],
)
def test_lines_are_text(small, lines, rule, received):
    message = f"`lines` must be {rule}. Received: lines={received}."
    with _raises(message):
        small.encode(lines)
    with _raises(message):
        subwords.train_subwords(lines, 20)


@pytest.mark.parametrize("lines", [[], [""], [" ", "\u2581\0"]])
def test_there_is_text_to_learn_from(lines):
    with _raises(
        "`lines` must be text to learn from. "
        f"Received: lines='{len(lines)} blank lines'."
    ):
        subwords.train_subwords(lines, 20)


# The size of a vocabulary.


@_KINDS
def test_a_vocabulary_is_too_small_without_each_character(kind):
    lines = ["to be", "or not"]  # t o b e r n, the blank, and four specials.
    with _raises(
        "`vocabulary_size` must be at least 11, one for each character of the "
        "lines and 4 special ids. Received: vocabulary_size=10."
    ):
        subwords.train_subwords(lines, 10, kind)
    model = subwords.train_subwords(lines, 11, kind)
    assert {*model.pieces(range(4, 11))} == {*"▁tobern"}


@_KINDS
def test_a_vocabulary_is_too_large_for_its_lines(kind):
    with pytest.raises(
        ValueError,
        match=r"`vocabulary_size` must be at most \d+: the lines have no more "
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
        _raises(
            "`vocabulary_size` must be at most 12: the lines have no more "
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
        with _raises(f"at {found[1]} {limit}"):
            subwords.train_subwords(lines, beyond, kind)
    else:
        assert model.vocabulary_size == size
    want = [_single_blanks(line) for line in lines]
    assert model.decode(model.encode(lines)) == want


@pytest.mark.parametrize("size", [4, 0, -1, True, 20.0, "20", None])
def test_vocabulary_size_is_an_int_above_the_specials(size):
    with _raises(
        "`vocabulary_size` must be an integer of at least 5. "
        f"Received: vocabulary_size={size!r}."
    ):
        subwords.train_subwords(["to be"], size)


@pytest.mark.parametrize("kind", ["word", "BPE", None, ["bpe"]])
def test_kind_must_be_known(kind):
    with _raises(
        f"`kind` must be one of ('bpe', 'unigram'). Received: kind={kind!r}."
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
        _raises(
            "`lines` must be text that sentencepiece can learn from. It says: "
            "no room. Received: vocabulary_size=20."
        ),
    ):
        subwords.train_subwords(["to be"], 20)


def test_examples_of_the_docstrings():
    result = doctest.testmod(subwords)
    assert result.attempted > 1
    assert not result.failed
