"""Tests of nas_keras.data.sources: files, folders, sets of TFDS, arguments."""

import contextlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.data import sources
from nas_keras.data import text

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_PARTS = ("train", "validation", "test")


def _raises(message):
    return pytest.raises(ValueError, match=re.escape(message))


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
            (b"<!DOCTYPE html>\n<p>x", "is a web page: it begins as HTML does"),
            (b" \n<HTML lang=en>", "is a web page: it begins as HTML does"),
            (b"\xef\xbb\xbf\n<html>", "is a web page: it begins as HTML does"),
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

    def test_markup_that_does_not_begin_the_file_is_text(self, tmp_path):
        path = tmp_path / "about.txt"
        path.write_text("The tag <html> begins a page.", encoding="utf-8")
        assert sources.read_text_file(path) == "The tag <html> begins a page."


def _write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    return folder


class TestReadFolder:
    @pytest.mark.parametrize(
        "names",
        [
            ("train.txt", "validation.txt", "test.txt"),
            ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
            ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
            ("training", "val", "testing"),
            ("Train.TXT", "DEV.txt", "TEST.txt"),
            ("news-2013-train_0", "news_dev1", "a test of 2 words"),
        ],
    )
    def test_a_word_of_the_name_tells_the_part(self, tmp_path, names):
        contents = ("to be\n", "or not\n", "naïve\r\n\n")
        _write(tmp_path, dict(zip(names, contents, strict=True)))
        assert sources.read_folder(str(tmp_path)) == dict(
            zip(_PARTS, contents, strict=True)
        )

    def test_other_files_hidden_ones_and_folders_are_ignored(self, tmp_path):
        files = {"train.txt": "a", "valid.txt": "b", "test.txt": "c"}
        others = ("README.md", "trainer.txt", "contest.txt", "develop.txt")
        hidden = (".train.txt.swp", ".test.txt", "._valid.txt")
        _write(tmp_path, dict.fromkeys(others + hidden, b"\xff") | files)
        (tmp_path / "train").mkdir()
        (tmp_path / "test").mkdir()
        assert list(sources.read_folder(tmp_path).values()) == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("names", "part", "allowed", "found"),
        [
            (["train", "valid"], "test", "['test', 'testing']", []),
            (["train", "test", "trial"], "validation", None, []),
            (["valid", "test"], "train", "['train', 'training']", []),
            (
                ["a.test", "b.test", "train", "val"],
                "test",
                "['test', 'testing']",
                ["a.test", "b.test"],
            ),
            (
                ["dev", "test", "train", "val"],
                "validation",
                None,
                ["dev", "val"],
            ),
            # One file would be the text that is trained on and that of scores.
            (["test", "train_valid"], "validation", None, ["train_valid"]),
            ([], "train", "['train', 'training']", []),
        ],
    )
    def test_each_part_has_one_file(
        self, tmp_path, names, part, allowed, found
    ):
        allowed = allowed or "['validation', 'valid', 'val', 'dev']"
        _write(tmp_path, dict.fromkeys(names, "to be"))
        with _raises(
            "`data_dir` must have exactly one file for each part of the text, "
            f"and none for two parts, with one of {allowed} in its name for "
            f"{part!r}. Received: data_dir={str(tmp_path)!r}, with {found} for "
            f"{part!r}, of {sorted(names)}."
        ):
            sources.read_folder(tmp_path)

    def test_a_message_names_ten_files_at_most(self, tmp_path):
        names = [f"part{k}.txt" for k in range(12)]
        _write(tmp_path, dict.fromkeys(names, "to be"))
        with _raises(f"with [] for 'train', of {sorted(names)[:10]}."):
            sources.read_folder(tmp_path)

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (
                b"<!doctype html><title>404",
                "is a web page: it begins as HTML does",
            ),
            (b"ab\xff", "has bad byte 0xff at byte offset 2"),
            ("ab".encode("utf-16-le"), "is binary: a NUL at byte offset 1"),
            (b"\n \n\r\n", "is empty or only white space"),
        ],
    )
    def test_each_file_is_text(self, tmp_path, data, problem):
        files = {"train.txt": "a", "valid.txt": data, "test.txt": "c"}
        _write(tmp_path, files)
        path = str(tmp_path / "valid.txt")
        with _raises(
            "`data_dir` must be UTF-8 text. "
            f"Received: data_dir={path!r}, which {problem}."
        ):
            sources.read_folder(tmp_path)

    @pytest.mark.parametrize("name", ["missing", "train.txt"])
    def test_must_be_a_folder(self, tmp_path, name):
        _write(tmp_path, {"train.txt": "a"})
        path = str(tmp_path / name)
        with _raises(
            f"`data_dir` must be a folder. Received: data_dir={path!r}."
        ):
            sources.read_folder(path)


class TestEmbeddedText:
    def test_is_long_english_and_the_same_each_time(self):
        source = sources.embedded_text()
        assert len(source) > 300_000
        assert source.count(" the ") > 3000
        assert source == sources.embedded_text()


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("embedded", True),
        ("tiny_shakespeare", True),
        ("ptb", True),
        ("folder", True),
        ("tfds:lm1b", True),
        ("tfds:wiki40b/en", True),
        ("tfds:", False),
        ("tfds", False),
        ("lm1b", False),
        ("Folder", False),
        ("", False),
    ],
)
def test_is_dataset_knows_the_names_of_data_sets(name, want):
    assert sources.is_dataset(name) is want


@pytest.mark.parametrize(
    "code",
    [
        "",
        "nas_keras.data.open_corpus(level='word')",
        "nas_keras.data.open_corpus('folder', data_dir='.')",
    ],
)
def test_tensorflow_keras_and_tfds_are_left_alone(tmp_path, code):
    _write(tmp_path, {"train": "ab", "dev": "a", "test": "b"})
    heavy = "('tensorflow', 'keras', 'tensorflow_datasets', 'jax', 'torch')"
    program = f"import sys, nas_keras.data\n{code}\n"
    program += f"print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "[]\n"), result.stderr


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

    def test_a_folder_keeps_its_parts_and_gives_its_name(self, tmp_path):
        files = {"train.txt": "b a\nb\n", "dev.txt": "a c\n", "test.txt": "b"}
        folder = _write(tmp_path / "mine", files)
        corpus = sources.open_corpus("folder", data_dir=folder, level="word")
        assert (corpus.name, corpus.level) == ("mine", "word")
        assert corpus.vocabulary == ("<unk>", "<eos>", "b", "a")
        assert corpus.train.tolist() == [2, 3, 1, 2, 1]
        assert corpus.validation.tolist() == [3, 0, 1]
        assert corpus.test.tolist() == [2, 1]
        corpus = sources.open_corpus(
            "folder", data_dir=folder, max_vocabulary=3
        )
        assert corpus.vocabulary == ("<unk>", "\n", "b")
        assert corpus.validation.tolist() == [0, 0, 0, 1]

    def test_a_corpus_of_the_folder_one_is_in_has_its_name(
        self, tmp_path, monkeypatch
    ):
        files = {"train.txt": "ab", "dev.txt": "a", "test.txt": "b"}
        monkeypatch.chdir(_write(tmp_path / "mine", files))
        assert sources.open_corpus("folder", data_dir=".").name == "mine"

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
                {"data_dir": "tfds", "text_file": "x.txt"},
                "`data_dir` must be left out with dataset='embedded'. "
                "Received: data_dir='tfds'.",
            ),
            (
                {"dataset": None},
                "or 'tfds:NAME'. Received: dataset=None.",
            ),
            (
                {"dataset": "TFDS:lm1b"},
                "or 'tfds:NAME'. Received: dataset='TFDS:lm1b'.",
            ),
            (
                {"dataset": "folder"},
                "`data_dir` must be given with dataset='folder'. "
                "Received: data_dir=None.",
            ),
            (
                {"dataset": "folder", "data_dir": "missing"},
                "`data_dir` must be a folder. Received: data_dir='missing'.",
            ),
            (
                {"dataset": "ptb", "data_dir": "missing"},
                "Received: data_dir='missing', where ptb.train.txt cannot be "
                "read: No such file or directory.",
            ),
            (
                {"dataset": "ptb", "data_dir": ".", "text_file": "x.txt"},
                "`dataset` must be left out with text_file='x.txt'. "
                "Received: dataset='ptb'.",
            ),
            (
                {"dataset": "folder", "data_dir": ".", "text_file": "x.txt"},
                "`dataset` must be left out with text_file='x.txt'. "
                "Received: dataset='folder'.",
            ),
            (
                {"dataset": "tfds:lm1b", "text_file": "x.txt"},
                "`dataset` must be left out with text_file='x.txt'. "
                "Received: dataset='tfds:lm1b'.",
            ),
            (
                {"dataset": "ptb", "data_dir": ".", "max_chars": 9},
                "`max_chars` must be left out with dataset='ptb', which is "
                "in parts. Received: max_chars=9.",
            ),
            (
                {"dataset": "tfds:lm1b", "max_chars": 9},
                "`max_chars` must be left out with dataset='tfds:lm1b', which "
                "is in parts. Received: max_chars=9.",
            ),
            (
                {"dataset": "ptb", "data_dir": ".", "level": "byte"},
                "`level` must be one of ('char', 'word'). "
                "Received: level='byte'.",
            ),
            (
                {"max_chars": True},
                "`max_chars` must be an integer of at least 1. "
                "Received: max_chars=True.",
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


_OWN = "own_text_of_a_test"  # No code has a data set of this name.


@pytest.fixture(scope="module")
def own_sets(tmp_path_factory):
    """A folder of sets that TFDS finds on disk only, one for each trouble."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("own")
    tfds.disable_progress_bar()

    string, parts = tfds.features.Text(), ("train", "valid", "test")

    def store(name, features, splits=parts, **options):
        def example(split, k):
            return {
                key: k if kind is np.int64 else f"{split} {k} é"
                for key, kind in features.items()
            }

        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            data_dir=folder,
            features=tfds.features.FeaturesDict(features),
            split_datasets={
                split: [(k, example(split, k)) for k in range(30)]
                for split in splits
            },
            disable_shuffling=True,
            **options,
        )

    store(_OWN, {"id": np.int64, "text": string}, config="en")
    store("no_text", {"id": np.int64, "title": string})
    store("number", {"text": np.int64})
    store("without", {"text": string}, ("train", "test"))
    store("twice", {"text": string}, ("dev", *parts))
    return folder


class TestTfdsParts:
    def test_each_example_is_a_line_of_its_part_in_order(self, own_sets):
        parts = sources.tfds_parts(f"{_OWN}/en", own_sets)
        for part, split in zip(_PARTS, ("train", "valid", "test"), strict=True):
            assert parts[part] == "".join(f"{split} {k} é\n" for k in range(30))
        assert tuple(parts) == _PARTS

    def test_a_corpus_of_a_set_has_its_parts_and_its_name(self, own_sets):
        parts = sources.tfds_parts(f"{_OWN}/en", str(own_sets))
        for level in text.LEVELS:
            corpus = sources.open_corpus(
                f"tfds:{_OWN}/en", level=level, data_dir=own_sets
            )
            assert corpus.name == f"tfds:{_OWN}/en"
            assert corpus.decode(corpus.train) == parts["train"]
            want = text.corpus_of_parts(parts, level, name="x")
            assert corpus.sha256 == want.sha256
        corpus = sources.open_corpus(
            f"tfds:{_OWN}/en", data_dir=own_sets, max_vocabulary=5
        )
        assert corpus.vocabulary_size == 5

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (
                "no_text",
                "must have a feature 'text' that is a string. Received: "
                "FeaturesDict({ 'id': int64, 'title': Text(shape=(), "
                "dtype=string), }).",
            ),
            (
                "number",
                "must have a feature 'text' that is a string. Received: "
                "FeaturesDict({ 'text': int64, }).",
            ),
            (
                "without",
                "must have one split named one of ['validation', 'valid', "
                "'val', 'dev'] for 'validation'. Received: splits ['test', "
                "'train'].",
            ),
            (
                "twice",
                "must have one split named one of ['validation', 'valid', "
                "'val', 'dev'] for 'validation'. Received: splits ['dev', "
                "'test', 'train', 'valid'].",
            ),
        ],
    )
    def test_a_set_needs_a_text_and_three_splits(self, own_sets, name, message):
        with _raises(f"dataset='tfds:{name}' {message}"):
            sources.tfds_parts(name, own_sets)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("no_such_set", "Dataset no_such_set not found."),
            ("wiki40b/xx", 'Failed to construct dataset "wiki40b"'),
            ("lm1b:0.0.9", 'Failed to construct dataset "lm1b"'),
            ("no_such_space:lm1b", "Namespace no_such_space not found."),
            ("no name", "Parsing builder name string no name failed."),
        ],
    )
    def test_an_unknown_name_is_an_error_at_once(self, tmp_path, name, reason):
        with (
            _offline(),
            _raises(
                f"dataset='tfds:{name}': TensorFlow Datasets has none of this "
                f"name: {reason}"
            ),
        ):
            sources.open_corpus(f"tfds:{name}", data_dir=tmp_path)

    def test_what_a_namespace_needs_may_be_missing(self, tmp_path):
        import tensorflow_datasets as tfds

        error = ModuleNotFoundError("No module named 'hub'")
        with (
            mock.patch.object(tfds, "builder", side_effect=error),
            _raises(
                "dataset='tfds:hub:x': TensorFlow Datasets has none of this "
                "name: No module named 'hub'"
            ),
        ):
            sources.tfds_parts("hub:x", tmp_path)

    def test_an_unprepared_set_is_an_error_at_once(self, tmp_path, caplog):
        with (
            _offline(),
            _raises(
                f"dataset='tfds:lm1b' is not at {tmp_path}/lm1b/1.1.0. "
                'Prepare it with: python -c "import tensorflow_datasets as '
                f"tfds; tfds.builder('lm1b', data_dir='{tmp_path}')."
                "download_and_prepare()\"; or use dataset='embedded'."
            ),
        ):
            sources.open_corpus("tfds:lm1b", data_dir=tmp_path)
        assert not caplog.records

    @pytest.mark.parametrize("name", ["ptb_words", "ptb_characters"])
    def test_penn_treebank_is_prepared_from_files(self, tmp_path, name):
        # TFDS alone does not know the name, and cannot download the files.
        with (
            _offline(),
            _raises(
                f"dataset='tfds:{name}' is not at {tmp_path}/{name}/1.0.0. "
                "Prepare it from your files as the docstring of "
                "nas_keras.data.builders tells, or use them with "
                "dataset='ptb'."
            ),
        ):
            sources.open_corpus(f"tfds:{name}", data_dir=tmp_path)


@contextlib.contextmanager
def _offline():
    """Fails if there is a download, a connection, or a wait for one."""
    import tensorflow_datasets as tfds

    start_s = time.monotonic()
    with (
        mock.patch.object(
            tfds.download.DownloadManager, "download"
        ) as download,
        mock.patch.object(socket.socket, "connect") as connect,
        mock.patch.object(socket, "getaddrinfo") as look_up,
    ):
        yield
    assert time.monotonic() - start_s < 10  # A download takes 205 offline.
    for call in (download, connect, look_up):
        call.assert_not_called()
