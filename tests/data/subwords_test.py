"""Tests of subwords: round trips, the bytes of a model, damage, bad ids."""

import copy
import dataclasses
import doctest
import hashlib
import pickle
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
from tests.raising import raises

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


def _single_blanks(line):
    """Returns a line without runs of U+0020, by hand: the rest is text."""
    return " ".join(word for word in line.split(" ") if word)


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
    with raises(
        "model must be a sentencepiece model with ids 0 to 3 as "
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
        with raises("with ids 0 to 3 as `train_subwords` sets"):
            subwords.Subwords(small.model)


@pytest.mark.parametrize("model", [None, "text", bytearray(b"x")])
def test_a_model_is_bytes(model):
    with raises(f"model must be bytes. Received: model={type(model)!r}."):
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
    message = f"ids must be rows of ids from 0 to 19. Received: ids={received}."
    with raises(message):
        small.decode([[4], row])
    with raises(message):
        small.pieces(row)


@pytest.mark.parametrize("ids", [4, None])
def test_ids_are_rows(small, ids):
    with raises(f"ids must be rows of ids. Received: ids={ids}."):
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
    message = f"lines must be {rule}. Received: lines={received}."
    with raises(message):
        small.encode(lines)
    with raises(message):
        subwords.train_subwords(lines, 20)


def test_examples_of_the_docstrings():
    result = doctest.testmod(subwords)
    assert result.attempted > 1
    assert not result.failed
