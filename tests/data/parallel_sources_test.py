"""Tests of opening pairs of sentences by name: arguments, and sets of TFDS."""

import pathlib

import pytest

from nas_keras.data import parallel_sources
from nas_keras.data import text
from tests.raising import raises

# Arguments.


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("embedded", True),
        ("files", True),
        ("tfds:wmt14_translate/de-en", True),
        ("tfds:", False),
        ("tfds", False),
        ("folder", False),
        ("Files", False),
        ("", False),
    ],
)
def test_is_pairs_dataset_knows_the_names_of_data_sets(name, want):
    assert parallel_sources.is_pairs_dataset(name) is want


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dataset": "wmt14"},
            "dataset must be one of ('embedded', 'files') or 'tfds:NAME'. "
            "Received: dataset='wmt14'.",
        ),
        ({"dataset": "tfds:"}, "or 'tfds:NAME'. Received: dataset='tfds:'."),
        ({"dataset": None}, "or 'tfds:NAME'. Received: dataset=None."),
        (
            {"source": ""},
            "source must be the name of a language. Received: source=''.",
        ),
        (
            {"target": None},
            "target must be the name of a language. Received: target=None.",
        ),
        (
            {"target": "en"},
            "target must be another language than source='en'. "
            "Received: target='en'.",
        ),
        (
            {"test_set": "test"},
            "test_set must be left out unless dataset='files'. "
            "Received: test_set='test'.",
        ),
        (
            {"dataset": "tfds:x", "test_set": "test"},
            "test_set must be left out unless dataset='files'. "
            "Received: test_set='test'.",
        ),
        (
            {"data_dir": pathlib.PurePosixPath("x")},
            "data_dir must be left out with dataset='embedded'. "
            "Received: data_dir='x'.",
        ),
        (
            {"dataset": "files"},
            "data_dir must be given with dataset='files'. "
            "Received: data_dir=None.",
        ),
    ],
)
def test_bad_arguments_are_errors(options, message):
    with raises(message):
        parallel_sources.open_pairs(**options)


# TFDS.

_OWN = "own_pairs_of_a_test"  # No code has a data set of this name.


@pytest.fixture(scope="module")
def own_set(tmp_path_factory):
    """A folder of a set that TFDS finds on disk only."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    folder = tmp_path_factory.mktemp("own")
    tfds.dataset_builders.store_as_tfds_dataset(
        name=_OWN,
        version="1.0.0",
        data_dir=folder,
        features=tfds.features.Translation(languages=("de", "en")),
        split_datasets={
            split: [
                (k, {"de": f" {split}. {k}", "en": f"{split}\n{k} \u00a0é"})
                for k in range(3)
            ]
            for split in ("train", "validation", "test")
        },
        disable_shuffling=True,
    )
    return folder


def test_pairs_of_tfds_are_those_of_its_splits_in_order(own_set):
    corpus = parallel_sources.open_pairs(f"tfds:{_OWN}", own_set)
    assert corpus.name == f"tfds:{_OWN}"
    for part in text.PARTS:
        assert getattr(corpus, part) == tuple(
            (f"{part} {k} é", f"{part}. {k}") for k in range(3)
        )
    turned = parallel_sources.open_pairs(f"tfds:{_OWN}", own_set, "de", "en")
    assert turned.train == tuple(pair[::-1] for pair in corpus.train)


@pytest.mark.parametrize(
    ("languages", "argument", "received"),
    [(("fr", "de"), "source", "fr"), (("en", "fr"), "target", "fr")],
)
def test_languages_are_features_of_a_set_of_tfds(
    own_set, languages, argument, received
):
    with raises(
        f"{argument} must be one of the features of tfds:{_OWN}: "
        f"['de', 'en']. Received: {argument}={received!r}."
    ):
        parallel_sources.open_pairs(f"tfds:{_OWN}", own_set, *languages)


def test_an_unknown_set_of_tfds_is_an_error(tmp_path):
    with raises(
        "dataset='tfds:no_such_set': TensorFlow Datasets has none of this name"
    ):
        parallel_sources.open_pairs("tfds:no_such_set", tmp_path)
