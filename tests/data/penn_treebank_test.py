"""Tests of nas_keras.data.penn_treebank and of its builders for TFDS."""

import hashlib
from unittest import mock

import pytest
import tensorflow_datasets as tfds

from nas_keras.data import builders
from nas_keras.data import penn_treebank
from nas_keras.data import sources
from tests.raising import raises

# What the standard files look like: a blank at both ends of a line.
_TEXTS = {
    "train": " a b <unk> \n b N \n",
    "validation": " ba b \n",
    "test": " N a \n a \n",
}
_CHARACTERS = {
    "train": "a_b_<unk>\nb_N\n",
    "validation": "ba_b\n",
    "test": "N_a\na\n",
}
_NAMES = {
    "train": "ptb.train.txt",
    "validation": "ptb.valid.txt",
    "test": "ptb.test.txt",
}


def _standard(texts):
    """Makes these texts the standard ones."""
    files = {
        part: penn_treebank.TextFile(
            _NAMES[part],
            len(source.encode()),
            hashlib.sha256(source.encode()).hexdigest(),
        )
        for part, source in texts.items()
    }
    return mock.patch.object(penn_treebank, "FILES", files)


def _write(folder, texts):
    folder.mkdir(exist_ok=True)
    for part, source in texts.items():
        (folder / _NAMES[part]).write_bytes(source.encode())
    return folder


@pytest.fixture
def data_dir(tmp_path):
    """A folder of small files that are the standard ones for a while."""
    with _standard(_TEXTS):
        yield _write(tmp_path / "ptb", _TEXTS)


class TestFiles:
    def test_are_those_of_the_published_set(self):
        found = {
            part: (file.name, file.num_bytes, file.sha256)
            for part, file in penn_treebank.FILES.items()
        }
        assert found == {
            "train": (
                "ptb.train.txt",
                5101618,
                "fcea919f6cf83f35d4d00c6cbf08040d"
                "13d4155226340912e2fef9c9c4102cbf",
            ),
            "validation": (
                "ptb.valid.txt",
                399782,
                "c9fe6985fe0d4ccb578183407d7668fc"
                "6066c20700cb4cf87d8ff1cc34df1bf2",
            ),
            "test": (
                "ptb.test.txt",
                449945,
                "dd65dff31e70846b2a6030a87482edcd"
                "5d199130cdcfa1f3dccbb033728deee0",
            ),
        }
        assert list(found) == ["train", "validation", "test"]


class TestRead:
    def test_words_are_the_files_as_they_are(self, data_dir):
        assert penn_treebank.read(data_dir) == _TEXTS
        assert penn_treebank.read(str(data_dir), "word") == _TEXTS

    def test_characters_have_an_underscore_for_the_blank(self, data_dir):
        assert penn_treebank.read(data_dir, "char") == _CHARACTERS

    def test_a_blank_line_keeps_its_end(self):
        lines = {"train": " a  b \n \n\n c"}
        want = {"train": "a_b\n\n\nc\n"}
        assert penn_treebank.characters(lines) == want

    @pytest.mark.parametrize("part", _TEXTS)
    def test_lines_are_those_of_a_part(self, data_dir, part):
        lines = list(penn_treebank.lines(data_dir, part))
        assert lines == _TEXTS[part].split("\n")[:-1]

    @pytest.mark.parametrize("level", ["byte", "Word", None])
    def test_level_must_be_known(self, data_dir, level):
        with raises(
            f"level must be one of ('char', 'word'). Received: level={level!r}."
        ):
            penn_treebank.read(data_dir, level)

    @pytest.mark.parametrize("part", _TEXTS)
    def test_a_missing_file_is_an_error(self, data_dir, part):
        (data_dir / _NAMES[part]).unlink()
        with raises(
            "data_dir must be a folder with ptb.train.txt, ptb.valid.txt, "
            f"ptb.test.txt. Received: data_dir={str(data_dir)!r}, where "
            f"{_NAMES[part]} cannot be read: No such file or directory."
        ):
            penn_treebank.read(data_dir)

    def test_a_file_in_place_of_the_folder_is_an_error(self, data_dir):
        with raises("where ptb.train.txt cannot be read: Not a directory."):
            penn_treebank.read(data_dir / "ptb.test.txt")

    @pytest.mark.parametrize("part", _TEXTS)
    @pytest.mark.parametrize(
        ("data", "size", "kind"),
        [
            (b"", "0", ""),
            (b" a b \n", "6", ""),
            (b"\xff" * 1234, "1,234", ""),  # Its kind is told before decoding.
            (b"<!DOCTYPE html>\n<p>404", "22", ", a web page"),
            (b"\xef\xbb\xbf\r\n<HTML>", "11", ", a web page"),
        ],
    )
    def test_another_file_is_an_error(self, data_dir, part, data, size, kind):
        path = data_dir / _NAMES[part]
        path.write_bytes(data)
        want = _TEXTS[part].encode()
        with raises(
            f"{path} must be the file of Penn Treebank as preprocessed by "
            f"Mikolov, {len(want)} bytes with SHA-256 "
            f"{hashlib.sha256(want).hexdigest()}. Received: {size} bytes with "
            f"SHA-256 {hashlib.sha256(data).hexdigest()}{kind}. For another "
            "text of your own use dataset='folder'."
        ):
            penn_treebank.read(data_dir)

    def test_a_size_in_a_message_has_its_thousands_apart(self, tmp_path):
        folder = _write(tmp_path, _TEXTS)
        with raises("by Mikolov, 5,101,618 bytes with SHA-256 fcea919f"):
            penn_treebank.read(folder)

    def test_one_changed_byte_is_another_file(self, data_dir):
        path = data_dir / "ptb.test.txt"
        path.write_text(" N b \n a \n", encoding="utf-8")
        with raises("Received: 10 bytes with SHA-256 "):
            penn_treebank.read(data_dir)


class TestCorpora:
    def test_words_have_ids_counted_by_hand(self, data_dir):
        corpus = sources.open_corpus("ptb", level="word", data_dir=data_dir)
        assert (corpus.name, corpus.level) == ("ptb_word", "word")
        # b twice, then N and a by code point; `ba` is of validation only.
        assert corpus.vocabulary == ("<unk>", "<eos>", "b", "N", "a")
        assert corpus.train.tolist() == [4, 2, 0, 1, 2, 3, 1]
        assert corpus.validation.tolist() == [0, 2, 1]
        assert corpus.test.tolist() == [3, 4, 1, 4, 1]

    def test_characters_have_ids_counted_by_hand(self, data_dir):
        corpus = sources.open_corpus("ptb", level="char", data_dir=data_dir)
        assert (corpus.name, corpus.level) == ("ptb_char", "char")
        # Three of `_`, two of `\n` and `b`, and one of each other.
        assert "".join(corpus.vocabulary) == "_\nb<>Naknu"
        assert corpus.train.tolist() == [
            *(6, 0, 2, 0, 3, 9, 8, 7, 4, 1),
            *(2, 0, 5, 1),
        ]
        assert corpus.validation.tolist() == [2, 6, 0, 2, 1]
        assert corpus.test.tolist() == [5, 0, 6, 1, 6, 1]

    def test_max_vocabulary_is_honoured(self, data_dir):
        corpus = sources.open_corpus(
            "ptb", level="word", data_dir=data_dir, max_vocabulary=3
        )
        assert corpus.vocabulary == ("<unk>", "<eos>", "b")
        with raises(
            "train must be without characters that the vocabulary lacks. "
            "Received: train=['<', '>', 'N', 'a', 'k']."
        ):
            sources.open_corpus("ptb", data_dir=data_dir, max_vocabulary=3)


_LINES = {  # Long enough that a shuffled order would show.
    part: "".join(f" {part} w{k:02} <unk> \n" for k in range(40))
    for part in _TEXTS
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder of files and one of what `tfds.load` made of them."""
    root = tmp_path_factory.mktemp("ptb")
    with _standard(_LINES):
        folder = _write(root / "files", _LINES)
        for name in ("ptb_words", "ptb_characters"):
            _load(name, root / "data", folder)
    return folder, root / "data"


def _load(name, data_dir, manual_dir):
    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    return tfds.load(
        name,
        data_dir=data_dir,
        download_and_prepare_kwargs={"download_config": config},
    )


class TestBuilders:
    @pytest.mark.parametrize(
        ("name", "line"),
        [
            ("ptb_words", "{} w{:02} <unk>"),
            ("ptb_characters", "{}_w{:02}_<unk>"),
        ],
    )
    def test_an_example_is_a_line_and_the_order_is_kept(
        self, prepared, name, line
    ):
        splits = tfds.load(name, data_dir=prepared[1])
        assert sorted(splits) == sorted(_LINES)
        for part, rows in splits.items():
            found = list(tfds.as_numpy(rows))
            assert {tuple(row) for row in found} == {("text",)}
            assert [row["text"].decode() for row in found] == [
                line.format(part, k) for k in range(40)
            ]

    def test_words_of_tfds_and_of_the_files_are_one_corpus(self, prepared):
        folder, data_dir = prepared
        with _standard(_LINES):
            want = sources.open_corpus("ptb", level="word", data_dir=folder)
        corpus = sources.open_corpus(
            "tfds:ptb_words", level="word", data_dir=data_dir
        )
        assert corpus.name == "tfds:ptb_words"
        assert corpus.sha256 == want.sha256

    def test_characters_of_tfds_and_of_the_files_are_one_text(self, prepared):
        folder, data_dir = prepared
        with _standard(_LINES):
            want = penn_treebank.read(folder, "char")
        assert sources.tfds_parts("ptb_characters", data_dir) == want

    def test_files_are_checked(self, tmp_path):
        folder = _write(tmp_path / "files", _TEXTS)
        with raises(
            f"{folder}/ptb.train.txt must be the file of Penn Treebank as "
            "preprocessed by Mikolov, 5,101,618 bytes with SHA-256 "
        ):
            _load("ptb_words", tmp_path / "data", folder)

    def test_a_folder_without_files_is_told_what_to_put_there(self, tmp_path):
        with pytest.raises(AssertionError) as caught:
            _load("ptb_words", tmp_path / "data", tmp_path / "missing")
        for name in _NAMES.values():
            assert name in str(caught.value)

    def test_are_registered_under_their_names(self):
        assert builders.PtbWords.name == "ptb_words"
        assert builders.PtbCharacters.name == "ptb_characters"
        names = [name for name in tfds.list_builders() if "ptb" in name]
        assert names == ["ptb_characters", "ptb_words"]
