"""Tests of `Corpus`: text to ids and back, what never changes, the checks."""

import dataclasses
import re

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


def _ids(*values):
    return np.array(values, np.int32)


def _parts(train="abab", validation="ba", test="aba"):
    return {"test": test, "train": train, "validation": validation}


class TestEncode:
    @given(st.lists(st.integers(0, 4)))
    def test_is_the_inverse_of_decode_for_words(self, ids):
        corpus = text.build_corpus("a b <unk> c\n" * 20, "word", name="x")
        assert corpus.vocabulary_size == 5
        found = corpus.encode(corpus.decode(ids))
        assert (found.dtype, found.shape) == (np.int32, (len(ids),))
        assert found.tolist() == ids

    @pytest.mark.parametrize("has_unknown", [False, True])
    @given(st.data())
    def test_is_the_inverse_of_decode_for_characters(self, has_unknown, data):
        parts = _parts("naïve\n 𝔘\u2028\r", "a", "\n")
        corpus = text.corpus_of_parts(parts, name="x", has_unknown=has_unknown)
        # `<unk>` is no character: the five it decodes to have their own ids.
        known = st.integers(int(has_unknown), corpus.vocabulary_size - 1)
        ids = data.draw(st.lists(known))
        found = corpus.encode(corpus.decode(ids))
        assert (found.dtype, found.shape) == (np.int32, (len(ids),))
        assert found.tolist() == ids

    @given(_WORDS)
    def test_decodes_to_the_text_of_single_blanks(self, lines):
        corpus = text.build_corpus("not or be to\n" * 20, "word", name="x")
        source = "\n".join(" ".join(line) for line in lines)
        assert corpus.decode(corpus.encode(source)) == source

    @pytest.mark.parametrize("level", text.LEVELS)
    def test_agrees_with_the_ids_of_the_corpus(self, level):
        parts = _parts("a b\nb c\n", "b z\n", "c\nz\n")
        corpus = text.corpus_of_parts(parts, level, name="x")
        for part, source in parts.items():
            want = getattr(corpus, part)
            np.testing.assert_array_equal(corpus.encode(source), want)

    def test_ids_are_counted_by_hand(self):
        corpus = text.build_corpus("a b b\n" * 20, "word", name="x")
        assert corpus.vocabulary == ("<unk>", "<eos>", "b", "a")
        found = corpus.encode("  b\ta \n\nzebra b")
        assert found.tolist() == [2, 3, 1, 1, 0, 2]
        assert corpus.encode("a\n").tolist() == [3, 1]
        assert corpus.encode("\n").tolist() == [1]
        assert corpus.encode("").tolist() == []

    def test_an_unknown_character_is_unk_or_refused(self):
        corpus = text.corpus_of_parts(_parts(), name="x")
        assert corpus.encode("azb").tolist() == [1, 0, 2]
        corpus = text.corpus_of_parts(_parts(), name="x", has_unknown=False)
        assert corpus.encode("ab").tolist() == [0, 1]
        with raises(
            "text must be of characters that are in the vocabulary. "
            "Received: text=['z']."
        ):
            corpus.encode("azby")

    @pytest.mark.parametrize("value", [b"ab", ["a", "b"], None])
    def test_text_must_be_a_str(self, value):
        corpus = text.corpus_of_parts(_parts(), name="x")
        with raises(f"text must be a str. Received: text={type(value)!r}."):
            corpus.encode(value)


class TestCorpus:
    def test_is_int32_and_never_changes(self):
        ids = _ids(0, 1)
        corpus = text.Corpus("x", "char", ("<unk>", "a"), ids, ids, ids)
        ids[0] = 1
        assert corpus.train.tolist() == [0, 1]
        assert corpus.train.dtype == np.int32
        with pytest.raises(ValueError, match="read-only"):
            corpus.test[0] = 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            corpus.name = "y"

    def test_sha256_identifies_the_data_and_not_the_name(self):
        def sha256(source="ab" * 50, level="char", **options):
            return text.build_corpus(source, level, **options).sha256

        want = sha256(name="x")
        assert re.fullmatch("[0-9a-f]{64}", want)
        assert sha256(name="y") == want
        others = [
            sha256("ab" * 49 + "ba", name="x"),
            sha256("ac" * 50, name="x"),
            sha256("ab" * 50, name="x", max_vocabulary=2),
            sha256("ab" * 50, name="x", fractions=(0.8, 0.1, 0.1)),
            sha256("a b" * 50, "word", name="x"),
        ]
        assert len({want, *others}) == 6

    def test_sha256_is_the_same_on_every_machine(self):
        assert text.build_corpus("ab" * 10, name="x").sha256 == (
            "f718e938b059042e1d4181d6c14c10dd4382367a353262922db29a98cc8caefc"
        )

    def test_decode_of_nothing_is_empty(self):
        for level in text.LEVELS:
            corpus = text.build_corpus("a b\n" * 20, level, name="x")
            assert corpus.decode([]) == ""

    @pytest.mark.parametrize("ids", [[0, 3], [-1], [[0], [9]], [0.5], 1])
    def test_decode_takes_ids_of_the_vocabulary_only(self, ids):
        corpus = text.build_corpus("ab" * 50, name="x")
        message = r"ids must be (integers \[N\]|ids in \[0, 3\)). Received: "
        with pytest.raises(ValueError, match=message):
            corpus.decode(ids)

    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            (np.array([0, 1]), "non-empty int32. Received: test='int64 (2,)'"),
            (_ids(), "non-empty int32. Received: test='int32 (0,)'."),
            (_ids([0]), "integers [N]. Received: test='int32 (1, 1)'."),
            (_ids(1, 2, 3), "ids in [0, 2). Received: test=[2]."),
            (_ids(-1), "ids in [0, 2). Received: test=[-1]."),
        ],
    )
    def test_parts_must_be_ids_of_the_vocabulary(self, ids, message):
        with raises(f"test must be {message}"):
            text.Corpus("x", "char", ("<unk>", "a"), _ids(1), _ids(1), ids)

    def test_level_must_be_known(self):
        with raises("level must be one of ('char', 'word'). Received"):
            text.Corpus("x", "byte", ("<unk>",), _ids(0), _ids(0), _ids(0))
