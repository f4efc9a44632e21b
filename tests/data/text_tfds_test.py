"""Tests of texts from TensorFlow Datasets: prepared, unprepared, unknown."""

import contextlib
import socket
from unittest import mock

import numpy as np
import pytest

from nas_keras.data import sources
from nas_keras.data import text
from tests.raising import raises

_PARTS = ("train", "validation", "test")
_OWN = "own_text_of_a_test"  # No code has a data set of this name.


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

        with mock.patch.object(
            tfds.download.DownloadManager, "download"
        ) as download:
            with raises(
                "dataset='tiny_shakespeare' is not at "
                f"{tmp_path}/tiny_shakespeare/1.0.0. Prepare it with: "
                'python -c "import tensorflow_datasets as tfds; '
                f"tfds.builder('tiny_shakespeare', data_dir='{tmp_path}')."
                "download_and_prepare()\"; or use dataset='embedded'."
            ):
                sources.open_corpus("tiny_shakespeare", data_dir=tmp_path)
        download.assert_not_called()
        assert not caplog.records

    def test_the_default_folder_is_that_of_tfds(self, tmp_path):
        import tensorflow_datasets as tfds

        builder = mock.Mock(data_path=tmp_path / "missing")
        with mock.patch.object(tfds, "builder", return_value=builder) as make:
            with raises("tfds.builder('tiny_shakespeare').download_and"):
                sources.tiny_shakespeare()
        make.assert_called_once_with("tiny_shakespeare", data_dir=None)


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
        with raises(f"dataset='tfds:{name}' {message}"):
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
            raises(
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
            raises(
                "dataset='tfds:hub:x': TensorFlow Datasets has none of this "
                "name: No module named 'hub'"
            ),
        ):
            sources.tfds_parts("hub:x", tmp_path)

    def test_an_unprepared_set_is_an_error_at_once(self, tmp_path, caplog):
        with (
            _offline(),
            raises(
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
            raises(
                f"dataset='tfds:{name}' is not at {tmp_path}/{name}/1.0.0. "
                "Prepare it from your files as the docstring of "
                "nas_keras.data.builders tells, or use them with "
                "dataset='ptb'."
            ),
        ):
            sources.open_corpus(f"tfds:{name}", data_dir=tmp_path)


@contextlib.contextmanager
def _offline():
    """Fails if there is a download or a connection."""
    import tensorflow_datasets as tfds

    with (
        mock.patch.object(
            tfds.download.DownloadManager, "download"
        ) as download,
        mock.patch.object(socket.socket, "connect") as connect,
        mock.patch.object(socket, "getaddrinfo") as look_up,
    ):
        yield
    for call in (download, connect, look_up):
        call.assert_not_called()
