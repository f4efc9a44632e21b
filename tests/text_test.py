"""Tests of nas_keras.data.text: splits, vocabularies, sources, errors."""

import collections
import dataclasses
import doctest
import re
import time
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.data import sources
from nas_keras.data import text

_WORDS = st.lists(
    st.lists(st.sampled_from(["to", "be", "or", "not"]), min_size=1),
    min_size=1,
)


def _raises(message):
    return pytest.raises(ValueError, match=re.escape(message))


def _ids(*values):
    return np.array(values, np.int32)


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
        with _raises(
            "`max_vocabulary` must be an integer of at least 2. "
            f"Received: max_vocabulary={value!r}."
        ):
            text.build_corpus("ab" * 50, name="x", max_vocabulary=value)

    def test_a_word_vocabulary_has_room_for_a_word(self):
        with _raises("an integer of at least 3. Received: max_vocabulary=2."):
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
        with _raises(
            "`fractions` must be three positive numbers with sum 1. "
            f"Received: fractions={fractions}."
        ):
            text.build_corpus("ab" * 50, name="x", fractions=fractions)

    @pytest.mark.parametrize(
        ("source", "level", "count"),
        [("", "char", 0), ("abcdefghi", "char", 9), (" \n" * 99, "word", 0)],
    )
    def test_a_part_without_a_token_is_an_error(self, source, level, count):
        with _raises(
            "`text` must be long enough for a token in each part of "
            f"fractions=(0.9, 0.05, 0.05). Received: text='{count} tokens'."
        ):
            text.build_corpus(source, level, name="x")

    def test_text_must_be_a_str(self):
        with _raises("`text` must be a str. Received: text=<class 'bytes'>."):
            text.build_corpus(b"ab" * 50, name="x")

    def test_level_must_be_known(self):
        with _raises(
            "`level` must be one of ('char', 'word'). Received: level='byte'."
        ):
            text.build_corpus("ab" * 50, "byte", name="x")


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
        message = r"`ids` must be (integers \[N\]|ids in \[0, 3\)). Received: "
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
        with _raises(f"`test` must be {message}"):
            text.Corpus("x", "char", ("<unk>", "a"), _ids(1), _ids(1), ids)

    def test_level_must_be_known(self):
        with _raises("`level` must be one of ('char', 'word'). Received"):
            text.Corpus("x", "byte", ("<unk>",), _ids(0), _ids(0), _ids(0))


class TestReadTextFile:
    @given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
    def test_text_is_returned_as_it_is(self, tmp_path_factory, source):
        path = tmp_path_factory.getbasetemp() / "any.txt"
        source = "x\r\n" + source
        path.write_bytes(source.encode("utf-8"))
        assert sources.read_text_file(path) == source

    def test_a_byte_order_mark_is_no_text(self, tmp_path):
        path = tmp_path / "bom.txt"
        path.write_bytes(b"\xef\xbb\xbfabc")
        assert sources.read_text_file(str(path)) == "abc"

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (b"", "is empty or only white space"),
            (b" \n\t\r\n", "is empty or only white space"),
            (b"\xef\xbb\xbf \n", "is empty or only white space"),
            (b"ab\xff\xfec", "has bad byte 0xff at byte offset 2"),
            (b"caf\xe9", "has bad byte 0xe9 at byte offset 3"),
            ("ab".encode("utf-16-le"), "is binary: a NUL at byte offset 1"),
            ("é\0".encode(), "is binary: a NUL at byte offset 2"),
        ],
    )
    def test_what_is_no_text_is_an_error(self, tmp_path, data, problem):
        path = tmp_path / "bad.txt"
        path.write_bytes(data)
        with _raises(
            "`text_file` must be UTF-8 text. "
            f"Received: text_file={str(path)!r}, which {problem}."
        ):
            sources.read_text_file(path)

    def test_missing_files_and_directories_are_errors(self, tmp_path):
        with _raises("which cannot be read: No such file or directory."):
            sources.read_text_file(tmp_path / "missing.txt")
        with _raises("which cannot be read: Is a directory."):
            sources.read_text_file(tmp_path)


class TestEmbeddedText:
    def test_is_long_english_and_the_same_each_time(self):
        source = sources.embedded_text()
        assert len(source) > 300_000
        assert source.count(" the ") > 3000
        assert source == sources.embedded_text()


class TestOpenCorpus:
    @pytest.mark.parametrize("level", text.LEVELS)
    def test_default_is_the_embedded_text(self, level):
        corpus = sources.open_corpus(level=level)
        assert (corpus.name, corpus.level) == ("embedded", level)
        assert len(corpus.train) > 50_000
        assert np.mean(corpus.test == 0) < 0.2
        want = text.build_corpus(
            sources.embedded_text(), level, name="embedded"
        )
        assert corpus.sha256 == want.sha256

    def test_arguments_are_honoured(self, tmp_path):
        path = tmp_path / "own.txt"
        path.write_text("a a b\n" * 100 + "c", encoding="utf-8")
        corpus = sources.open_corpus(
            text_file=path, level="word", max_vocabulary=3, max_chars=300
        )
        assert corpus.name == "own.txt"
        assert corpus.vocabulary == ("<unk>", "<eos>", "a")
        assert len(corpus.train) == 180

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"dataset": "wikipedia"},
                "`dataset` must be one of ('embedded', 'tiny_shakespeare', "
                "'ptb', 'folder') or 'tfds:NAME'. Received: "
                "dataset='wikipedia'.",
            ),
            (
                {"dataset": "tfds:"},
                "`dataset` must be one of ('embedded', 'tiny_shakespeare', ",
            ),
            (
                {"dataset": "ptb"},
                "`data_dir` must be given with dataset='ptb'. "
                "Received: data_dir=None.",
            ),
            (
                {"dataset": "folder", "data_dir": ".", "max_chars": 9},
                "`max_chars` must be left out with dataset='folder', which is "
                "in parts. Received: max_chars=9.",
            ),
            (
                {"dataset": "tiny_shakespeare", "text_file": "x.txt"},
                "`dataset` must be left out with text_file='x.txt'. "
                "Received: dataset='tiny_shakespeare'.",
            ),
            (
                {"data_dir": "tfds"},
                "`data_dir` must be left out with dataset='embedded'. "
                "Received: data_dir='tfds'.",
            ),
            (
                {"max_chars": 0},
                "`max_chars` must be an integer of at least 1. "
                "Received: max_chars=0.",
            ),
            ({"level": "byte"}, "`level` must be one of ('char', 'word')."),
            ({"max_chars": 5}, "`text` must be long enough for a token"),
            ({"max_vocabulary": 1}, "Received: max_vocabulary=1."),
        ],
    )
    def test_bad_arguments_are_errors(self, options, message):
        with _raises(message):
            sources.open_corpus(**options)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data set that TFDS itself prepared, from a text of our own."""
    import tensorflow_datasets as tfds

    root = tmp_path_factory.mktemp("tfds")
    source = "".join(f"Line {i}: naïve.\n" for i in range(300))
    (root / "input.txt").write_text(source, encoding="utf-8")
    download = mock.patch.object(
        tfds.download.DownloadManager,
        "download",
        return_value=str(root / "input.txt"),
    )
    tfds.disable_progress_bar()
    with download:
        sources.tiny_shakespeare(root / "data", download=True)
    return root / "data", source


class TestTinyShakespeare:
    def test_splits_are_joined_in_the_order_of_the_text(self, prepared):
        data_dir, source = prepared
        assert sources.tiny_shakespeare(data_dir) == source
        corpus = sources.open_corpus("tiny_shakespeare", data_dir=data_dir)
        assert corpus.name == "tiny_shakespeare"
        assert corpus.decode(corpus.train) == source[: len(corpus.train)]

    def test_reads_the_splits_of_mocked_data(self, prepared):
        import tensorflow_datasets as tfds

        data_dir, _ = prepared
        with tfds.testing.mock_data(num_examples=1, data_dir=str(data_dir)):
            source = sources.tiny_shakespeare(data_dir)
        assert source
        assert source == source[: len(source) // 3] * 3  # One fake per split.

    def test_unprepared_data_is_an_error_at_once(self, tmp_path, caplog):
        import tensorflow_datasets as tfds

        start_s = time.monotonic()
        with mock.patch.object(
            tfds.download.DownloadManager, "download"
        ) as download:
            with _raises(
                "dataset='tiny_shakespeare' is not at "
                f"{tmp_path}/tiny_shakespeare/1.0.0. Prepare it with: "
                'python -c "import tensorflow_datasets as tfds; '
                f"tfds.builder('tiny_shakespeare', data_dir='{tmp_path}')."
                "download_and_prepare()\"; or use dataset='embedded'."
            ):
                sources.open_corpus("tiny_shakespeare", data_dir=tmp_path)
        assert time.monotonic() - start_s < 10  # A download takes 205 offline.
        download.assert_not_called()
        assert not caplog.records

    def test_the_default_folder_is_that_of_tfds(self, tmp_path):
        import tensorflow_datasets as tfds

        builder = mock.Mock(data_path=tmp_path / "missing")
        with mock.patch.object(tfds, "builder", return_value=builder) as make:
            with _raises("tfds.builder('tiny_shakespeare').download_and"):
                sources.tiny_shakespeare()
        make.assert_called_once_with("tiny_shakespeare", data_dir=None)


def test_examples_of_the_docstrings():
    result = doctest.testmod(text)
    assert result.attempted > 1
    assert not result.failed
