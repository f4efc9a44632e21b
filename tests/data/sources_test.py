"""Tests of `open_corpus`: which text its arguments choose, what is refused."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from nas_keras.data import sources
from nas_keras.data import text
from tests.raising import raises

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


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
                "dataset must be one of ('embedded', 'tiny_shakespeare', "
                "'ptb', 'folder') or 'tfds:NAME'. Received: "
                "dataset='wikipedia'.",
            ),
            (
                {"dataset": "tfds:"},
                "dataset must be one of ('embedded', 'tiny_shakespeare', ",
            ),
            (
                {"dataset": "ptb"},
                "data_dir must be given with dataset='ptb'. "
                "Received: data_dir=None.",
            ),
            (
                {"dataset": "folder", "data_dir": ".", "max_chars": 9},
                "max_chars must be left out with dataset='folder', which is "
                "in parts. Received: max_chars=9.",
            ),
            (
                {"dataset": "tiny_shakespeare", "text_file": "x.txt"},
                "dataset must be left out with text_file='x.txt'. "
                "Received: dataset='tiny_shakespeare'.",
            ),
            (
                {"data_dir": "tfds"},
                "data_dir must be left out with dataset='embedded'. "
                "Received: data_dir='tfds'.",
            ),
            (
                {"data_dir": "tfds", "text_file": "x.txt"},
                "data_dir must be left out with dataset='embedded'. "
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
                "data_dir must be given with dataset='folder'. "
                "Received: data_dir=None.",
            ),
            (
                {"dataset": "folder", "data_dir": "missing"},
                "data_dir must be a folder. Received: data_dir='missing'.",
            ),
            (
                {"dataset": "ptb", "data_dir": "missing"},
                "Received: data_dir='missing', where ptb.train.txt cannot be "
                "read: No such file or directory.",
            ),
            (
                {"dataset": "ptb", "data_dir": ".", "text_file": "x.txt"},
                "dataset must be left out with text_file='x.txt'. "
                "Received: dataset='ptb'.",
            ),
            (
                {"dataset": "folder", "data_dir": ".", "text_file": "x.txt"},
                "dataset must be left out with text_file='x.txt'. "
                "Received: dataset='folder'.",
            ),
            (
                {"dataset": "tfds:lm1b", "text_file": "x.txt"},
                "dataset must be left out with text_file='x.txt'. "
                "Received: dataset='tfds:lm1b'.",
            ),
            (
                {"dataset": "ptb", "data_dir": ".", "max_chars": 9},
                "max_chars must be left out with dataset='ptb', which is "
                "in parts. Received: max_chars=9.",
            ),
            (
                {"dataset": "tfds:lm1b", "max_chars": 9},
                "max_chars must be left out with dataset='tfds:lm1b', which "
                "is in parts. Received: max_chars=9.",
            ),
            (
                {"dataset": "ptb", "data_dir": ".", "level": "byte"},
                "level must be one of ['char', 'word']. "
                "Received: level='byte'.",
            ),
            (
                {"max_chars": True},
                "max_chars must be an integer of at least 1. "
                "Received: max_chars=True.",
            ),
            (
                {"max_chars": 0},
                "max_chars must be an integer of at least 1. "
                "Received: max_chars=0.",
            ),
            ({"level": "byte"}, "level must be one of ['char', 'word']."),
            ({"max_chars": 5}, "text must be long enough for a token"),
            ({"max_vocabulary": 1}, "Received: max_vocabulary=1."),
        ],
    )
    def test_bad_arguments_are_errors(self, options, message):
        with raises(message):
            sources.open_corpus(**options)
