"""Tests of nas_keras.data.text: how a text becomes a corpus, and refusals."""

import collections
import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.data import text
from tests.raising import raises

_WORDS = st.lists(
    st.lists(st.sampled_from(["to", "be", "or", "not"]), min_size=1),
    min_size=1,
)


class TestBuildCorpus:
    def test_parts_are_positions_of_the_text_in_order(self):
        letters = "".join(chr(ord("a") + i % 7) for i in range(200))
        corpus = text.build_corpus(letters, name="x")
        assert corpus.decode(corpus.train) == letters[:180]
        assert corpus.decode(corpus.validation) == letters[180:190]
        assert corpus.decode(corpus.test) == letters[190:]

    @pytest.mark.parametrize(
        ("fractions", "sizes"),
        [
            ((0.9, 0.05, 0.05), (90, 5, 5)),
            ((0.29, 0.57, 0.14), (29, 57, 14)),  # 100 * 0.29 is below 29.
            ((0.5, 0.125, 0.375), (50, 12, 38)),
        ],
    )
    def test_fractions_are_shares_of_the_tokens(self, fractions, sizes):
        for level, source in (("char", "ab" * 50), ("word", "a b c\n" * 25)):
            corpus = text.build_corpus(
                source, level, name="x", fractions=fractions
            )
            parts = (corpus.train, corpus.validation, corpus.test)
            assert tuple(map(len, parts)) == sizes

    def test_what_only_the_test_part_holds_is_unknown(self):
        corpus = text.build_corpus("ab" * 95 + "z" * 10, name="x")
        assert corpus.vocabulary == ("<unk>", "a", "b")
        assert set(corpus.test.tolist()) == {0}
        assert 0 not in corpus.train
        assert 0 not in corpus.validation

    def test_later_parts_do_not_change_the_vocabulary(self):
        start = "a bb\nbb c\n" * 90  # 540 of 600 tokens: the training part.
        one = text.build_corpus(start + "a c\n" * 20, "word", name="x")
        two = text.build_corpus(start + "d c\n" * 20, "word", name="x")
        assert one.vocabulary == two.vocabulary
        np.testing.assert_array_equal(one.train, two.train)
        assert one.sha256 != two.sha256

    def test_vocabulary_is_by_falling_frequency_then_code_point(self):
        corpus = text.build_corpus("bbbaacc" * 30, name="x")
        assert corpus.vocabulary == ("<unk>", "b", "a", "c")
        corpus = text.build_corpus("x b b\nb a\n" * 30, "word", name="x")
        assert corpus.vocabulary == ("<unk>", "<eos>", "b", "a", "x")

    def test_max_vocabulary_counts_the_special_tokens(self):
        corpus = text.build_corpus("aab" * 20, name="x", max_vocabulary=2)
        assert corpus.vocabulary == ("<unk>", "a")
        assert corpus.decode(corpus.train[:3]) == "aa<unk>"
        corpus = text.build_corpus(
            "b b a\n" * 20, "word", name="x", max_vocabulary=3
        )
        assert corpus.vocabulary == ("<unk>", "<eos>", "b")
        assert corpus.train[:4].tolist() == [2, 2, 0, 1]

    def test_words_end_lines_and_blank_lines_are_skipped(self):
        corpus = text.build_corpus(
            "\n \n a\tb \r\n\n\nb" * 20, "word", name="x"
        )
        assert corpus.train[:6].tolist() == [3, 2, 1, 2, 1, 3]
        assert corpus.vocabulary == ("<unk>", "<eos>", "b", "a")

    def test_page_breaks_and_their_like_end_no_line(self):
        broken = "a\x0cb\u2028a\x85b\x1ca b\r" * 20
        corpus = text.build_corpus(broken, "word", name="x")
        assert corpus.train[:8].tolist() == [2, 3, 2, 3, 2, 3, 1, 2]
        assert corpus.encode("a\x0cb").tolist() == [2, 3]

    def test_special_tokens_written_in_the_text_are_the_special_tokens(self):
        corpus = text.build_corpus("a <unk> <eos>\n" * 20, "word", name="x")
        assert corpus.vocabulary == ("<unk>", "<eos>", "a")
        assert corpus.train[:4].tolist() == [2, 0, 1, 1]

    def test_eos_is_in_the_vocabulary_of_a_single_line(self):
        corpus = text.build_corpus("a b " * 20, "word", name="x")
        assert corpus.vocabulary[1] == "<eos>"
        assert corpus.decode(corpus.test) == "b\n"

    @given(st.text(st.characters(codec="utf-8"), min_size=40))
    def test_characters_agree_with_a_count_by_hand(self, source):
        corpus = text.build_corpus(source, name="x")
        end = round(0.9 * len(source))
        count = collections.Counter(source[:end])
        assert set(corpus.vocabulary[1:]) == set(count)
        counts = [count[token] for token in corpus.vocabulary[1:]]
        assert counts == sorted(counts, reverse=True)
        assert corpus.decode(corpus.train) == source[:end]

    @given(_WORDS)
    def test_words_decode_to_the_lines_they_came_from(self, lines):
        source = "".join(" ".join(line) + "\n" for line in lines)
        whole = "to be or not\n" * 99 + source
        corpus = text.build_corpus(whole, "word", name="x")
        parts = (corpus.train, corpus.validation, corpus.test)
        assert corpus.decode(np.concatenate(parts)) == whole

    @pytest.mark.parametrize("value", [0, 1, True, 2.5, "9"])
    def test_max_vocabulary_must_be_an_int_above_the_specials(self, value):
        with raises(
            "max_vocabulary must be an integer of at least 2. "
            f"Received: max_vocabulary={value!r}."
        ):
            text.build_corpus("ab" * 50, name="x", max_vocabulary=value)

    def test_a_word_vocabulary_has_room_for_a_word(self):
        with raises("an integer of at least 3. Received: max_vocabulary=2."):
            text.build_corpus("a " * 50, "word", name="x", max_vocabulary=2)

    @pytest.mark.parametrize(
        "fractions",
        [
            (0.9, 0.1),
            (0.9, 0.05, 0.04),
            (1.0, 0.0, 0.0),
            (1.2, -0.1, -0.1),
            (float("nan"), 0.5, 0.5),
        ],
    )
    def test_fractions_must_be_three_with_sum_1(self, fractions):
        with raises(
            "fractions must be three positive numbers with sum 1. "
            f"Received: fractions={fractions}."
        ):
            text.build_corpus("ab" * 50, name="x", fractions=fractions)

    @pytest.mark.parametrize(
        ("source", "level", "count"),
        [("", "char", 0), ("abcdefghi", "char", 9), (" \n" * 99, "word", 0)],
    )
    def test_a_part_without_a_token_is_an_error(self, source, level, count):
        with raises(
            "text must be long enough for a token in each part of "
            f"fractions=(0.9, 0.05, 0.05). Received: text='{count} tokens'."
        ):
            text.build_corpus(source, level, name="x")

    def test_text_must_be_a_str(self):
        with raises("text must be a str. Received: text=<class 'bytes'>."):
            text.build_corpus(b"ab" * 50, name="x")

    def test_level_must_be_known(self):
        with raises(
            "level must be one of ('char', 'word'). Received: level='byte'."
        ):
            text.build_corpus("ab" * 50, "byte", name="x")


def _parts(train="abab", validation="ba", test="aba"):
    return {"test": test, "train": train, "validation": validation}


class TestCorpusOfParts:
    @pytest.mark.parametrize("level", text.LEVELS)
    @pytest.mark.parametrize("max_vocabulary", [4, 10_000])
    def test_agrees_with_build_corpus_where_that_splits(
        self, level, max_vocabulary
    ):
        lines = ["a bb\n", "bb c\n", "bb d\n"] * 20  # 180 tokens, 300 chars.
        want = text.build_corpus(
            "".join(lines),
            level,
            name="x",
            max_vocabulary=max_vocabulary,
            fractions=(0.5, 0.2, 0.3),
        )
        corpus = text.corpus_of_parts(
            _parts(
                "".join(lines[:30]), "".join(lines[30:42]), "".join(lines[42:])
            ),
            level,
            name="y",
            max_vocabulary=max_vocabulary,
        )
        assert (corpus.name, corpus.level) == ("y", level)
        assert corpus.sha256 == want.sha256

    def test_the_vocabulary_is_of_the_training_part_only(self):
        corpus = text.corpus_of_parts(_parts("bab", "zzzz", "az"), name="x")
        assert corpus.vocabulary == ("<unk>", "b", "a")
        assert corpus.train.tolist() == [1, 2, 1]
        assert corpus.validation.tolist() == [0, 0, 0, 0]
        assert corpus.test.tolist() == [2, 0]
        corpus = text.corpus_of_parts(
            _parts("b a\nb", "z z z\n", "a z"), "word", name="x"
        )
        assert corpus.vocabulary == ("<unk>", "<eos>", "b", "a")
        assert corpus.train.tolist() == [2, 3, 1, 2, 1]
        assert corpus.validation.tolist() == [0, 0, 0, 1]
        assert corpus.test.tolist() == [3, 0, 1]

    def test_characters_go_without_unk_if_told_to(self):
        corpus = text.corpus_of_parts(_parts(), name="x", has_unknown=False)
        assert corpus.vocabulary == ("a", "b")
        assert corpus.train.tolist() == [0, 1, 0, 1]
        assert corpus.validation.tolist() == [1, 0]
        assert corpus.test.tolist() == [0, 1, 0]

    def test_words_have_unk_whatever_is_told(self):
        corpus = text.corpus_of_parts(
            _parts("a b", "z", "b"), "word", name="x", has_unknown=False
        )
        assert corpus.vocabulary == ("<unk>", "<eos>", "a", "b")
        assert corpus.validation.tolist() == [0, 1]

    @pytest.mark.parametrize("part", ["validation", "test"])
    def test_a_strange_character_is_refused_without_unk(self, part):
        with raises(
            f"{part} must be without characters that the vocabulary lacks. "
            f"Received: {part}=['x', 'y']."
        ):
            text.corpus_of_parts(
                _parts(**{part: "ayxyb"}), name="x", has_unknown=False
            )

    def test_a_full_vocabulary_is_refused_without_unk(self):
        with raises(
            "train must be without characters that the vocabulary lacks. "
            "Received: train=['b']."
        ):
            text.corpus_of_parts(
                _parts(), name="x", has_unknown=False, max_vocabulary=1
            )

    @pytest.mark.parametrize(
        ("level", "has_unknown", "least"),
        [("char", False, 1), ("char", True, 2), ("word", False, 3)],
    )
    def test_max_vocabulary_is_above_the_specials(
        self, level, has_unknown, least
    ):
        with raises(
            f"max_vocabulary must be an integer of at least {least}. "
            f"Received: max_vocabulary={least - 1}."
        ):
            text.corpus_of_parts(
                _parts(),
                level,
                name="x",
                has_unknown=has_unknown,
                max_vocabulary=least - 1,
            )

    @pytest.mark.parametrize("part", ["train", "validation", "test"])
    @pytest.mark.parametrize(
        ("level", "blank"), [("char", ""), ("word", " \n")]
    )
    def test_a_part_without_a_token_is_an_error(self, part, level, blank):
        with raises(
            f"{part} must be a text with tokens. Received: {part}='0 tokens'."
        ):
            text.corpus_of_parts(_parts(**{part: blank}), level, name="x")

    @pytest.mark.parametrize(
        "keys",
        [
            [],
            ["train", "test"],
            ["train", "valid", "test"],
            ["train", "validation", "test", "extra"],
            ["train", "validation", 3],
        ],
    )
    def test_the_parts_are_three_and_have_their_names(self, keys):
        with raises(
            "parts must be a mapping of ('train', 'validation', 'test'). "
            f"Received: parts={keys}."
        ):
            text.corpus_of_parts(dict.fromkeys(keys, "ab"), name="x")

    def test_parts_must_be_a_mapping_of_str(self):
        with raises("parts must be a mapping. Received: parts=<class 'list'>."):
            text.corpus_of_parts(["ab", "a", "b"], name="x")
        with raises("test must be a str. Received: test=<class 'bytes'>."):
            text.corpus_of_parts(_parts(test=b"ab"), name="x")

    def test_level_must_be_known(self):
        with raises(
            "level must be one of ('char', 'word'). Received: level='byte'."
        ):
            text.corpus_of_parts(_parts(), "byte", name="x")


def test_examples_of_the_docstrings():
    result = doctest.testmod(text)
    assert result.attempted > 1
    assert not result.failed
