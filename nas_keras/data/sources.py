"""Where text comes from: the standard library, files, folders, TFDS.

`TextData` says which text; `open_corpus` is the same as a function. TensorFlow
Datasets is imported when a data set of it is asked for, and nothing else is.
"""

import errno
import gzip
import os
import pathlib
import re
import zlib
from collections.abc import Iterable
from pydoc_data import topics
from typing import Any

from nas_keras.data import penn_treebank
from nas_keras.data.checks import check
from nas_keras.data.checks import check_int
from nas_keras.data.checks import given_path
from nas_keras.data.text import LEVELS
from nas_keras.data.text import PARTS
from nas_keras.data.text import Corpus
from nas_keras.data.text import build_corpus
from nas_keras.data.text import corpus_of_parts
from nas_keras.settings import Settings
from nas_keras.settings import one_of
from nas_keras.settings import optional
from nas_keras.settings import path as a_path
from nas_keras.settings import refuse
from nas_keras.settings import setting
from nas_keras.settings import text as a_text
from nas_keras.settings import whole

DATASETS = ("embedded", "tiny_shakespeare", "ptb", "folder")
TFDS = "tfds:"  # What the name of any other data set of TFDS follows.
_FROM_DATA_DIR = ("tiny_shakespeare", "ptb", "folder")

# How files and splits are named that hold a part of a text.
PART_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_Path = str | os.PathLike


def is_dataset(name: str) -> bool:
    """Returns whether `open_corpus` knows a data set of this name."""
    return name in DATASETS or is_tfds(name)


def is_tfds(name: str) -> bool:
    """Returns whether a name is that of a set of TensorFlow Datasets."""
    return name.startswith(TFDS) and name != TFDS


class TextData(Settings):
    """A text for language models, and what its tokens are.

    Example:

    >>> TextData(level="word").open().name
    'embedded'
    """

    paths = ("text_file",)  # What is known by its content instead.

    dataset: str = setting(
        "embedded",
        "Data set: 'embedded', the standard library's help; 'ptb', Penn "
        "Treebank from `ptb.{train,valid,test}.txt` in the data folder; "
        "'folder', any text from a file for each part there (see "
        "`read_folder`); 'tiny_shakespeare', or 'tfds:NAME' for any set of "
        "TensorFlow Datasets that has a text.",
        a_text(f"one of {DATASETS} or '{TFDS}NAME'", is_dataset),
    )
    text_file: str | None = setting(
        None,
        "UTF-8 file to use in place of the data set.",
        optional(a_path()),
    )
    level: str = setting("char", "What a token is.", one_of(LEVELS))
    max_vocabulary: int = setting(
        10_000,
        "Most tokens of the vocabulary, special ones included.",
        whole(2),
    )

    def _check(self) -> None:
        if self.text_file is not None and self.dataset != "embedded":
            rule = f"left out with text_file={self.text_file!r}"
            refuse("dataset", rule, self.dataset)

    def open(self, data_dir: _Path | None = None) -> Corpus:
        """Returns the text.

        Args:
            data_dir: Folder of the data set's files, or of TFDS data sets;
                None: TFDS's own.

        Raises:
            ValueError: If the text is not there, or cannot be read.
        """
        return open_corpus(
            self.dataset,
            self.text_file,
            self.level,
            self.max_vocabulary,
            data_dir=data_dir,
        )


def is_read_by_tensorflow(name: str) -> bool:
    """Returns whether TensorFlow is at work when a data set is read."""
    return is_tfds(name) or name in ("tiny_shakespeare", "cifar10")


def embedded_text() -> str:
    """Returns about 465 kB of English: the standard library's help topics.

    They differ from one Python release to the next; `Corpus.sha256` tells.
    """
    return "\n".join(text for _, text in sorted(topics.topics.items()))


def read_text_file(
    path: _Path, argument: str = "text_file", gzipped: bool = False
) -> str:
    """Returns the text of a UTF-8 file as it is, less a byte order mark.

    Args:
        path: Of the file.
        argument: What messages call it.
        gzipped: Whether the text is compressed.

    Raises:
        ValueError: If it cannot be read, is not UTF-8, or is binary, blank,
            a web page or damaged.
    """
    path = pathlib.Path(path)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError(errno.EINVAL, "not a file")  # A pipe never ends.
        data = path.read_bytes()
        if gzipped and not penn_treebank.is_html(data):
            data = gzip.decompress(data)
        text = data.decode("utf-8").removeprefix("\ufeff")
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
        problem = f"is damaged or not gzip: {e}"
    except OSError as e:
        problem = f"cannot be read: {e.strerror}"
    except UnicodeDecodeError as e:
        problem = f"has bad byte {data[e.start]:#04x} at byte offset {e.start}"
        if data.startswith(b"\x1f\x8b"):
            problem = "is compressed by gzip: unpack it first"
    else:
        if 0 in data:
            problem = f"is binary: a NUL at byte offset {data.index(0)}"
        elif penn_treebank.is_html(data):
            problem = "is a web page: it begins as HTML does"
        elif text.strip():
            return text
        else:
            problem = "is empty or only white space"
    received = f"{argument}={str(path)!r}, which {problem}"
    raise ValueError(f"{argument} must be UTF-8 text. Received: {received}.")


def read_folder(folder: _Path) -> dict[str, str]:
    """Returns the texts of a folder that has a file for each part.

    A file is that of a part whose name has the part's name as a word:
    `train.txt`, `wiki.valid.tokens`, `ptb.test.txt`; also `val`, `dev` and
    `validation`.

    Raises:
        ValueError: If a part has no file or several, two parts have one file,
            or a file is no text.
    """
    folder = pathlib.Path(folder)
    check(folder.is_dir(), "data_dir", "a folder", str(folder))
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".")
    )
    texts, taken = {}, []
    for part, names in PART_NAMES.items():
        found = [
            path
            for path in files
            if {*re.split(r"[^a-z]+", path.name.lower())} & {*names}
        ]
        if len(found) != 1 or found[0] in taken:
            raise ValueError(
                "data_dir must have exactly one file for each part of the "
                "text, and none for two parts, with one of "
                f"{list(names)} in its name for {part!r}. "
                f"Received: data_dir={str(folder)!r}, with "
                f"{[path.name for path in found]} for {part!r}, of "
                f"{[path.name for path in files[:10]]}."
            )
        taken += found
        texts[part] = read_text_file(found[0], "data_dir")
    return texts


def tiny_shakespeare(
    data_dir: _Path | None = None, download: bool = False
) -> str:
    """Returns 1.1 MB of Shakespeare: TFDS's three splits, joined in order.

    Args:
        data_dir: The folder of TFDS data sets, if not TFDS's own.
        download: Whether to fetch it where it is not there. Without a network
            that fails after minutes of retries.

    Raises:
        ValueError: If the data set is not there and `download` is false.
    """
    parts = tfds_parts("tiny_shakespeare", data_dir, download)
    return "".join(parts[part].removesuffix("\n") for part in PARTS)


def tfds_parts(
    name: str, data_dir: _Path | None = None, download: bool = False
) -> dict[str, str]:
    """Returns the texts of a data set of TensorFlow Datasets by part.

    Each example's `text` is followed by a line's end.

    Args:
        name: Of the data set and, if it has several, of its configuration:
            `"lm1b"`, `"wiki40b/en"`, `"ptb_words"`.
        data_dir: The folder of TFDS data sets, if not TFDS's own.
        download: Whether to fetch it where it is not there. Without a network
            that fails after minutes of retries.

    Raises:
        ValueError: If there is no such data set, it is not there and
            `download` is false, or it lacks a part or a feature `text`.
    """
    builder = open_tfds(name, data_dir, download)
    if "text" not in string_features(builder):
        received = " ".join(repr(builder.info.features).split())[:200]
        raise ValueError(
            f"dataset={TFDS + name!r} must have a feature 'text' that is a "
            f"string. Received: {received}."
        )
    return {
        part: "".join(row["text"].decode("utf-8") + "\n" for row in rows)
        for part, rows in tfds_rows(builder, name).items()
    }


def open_tfds(
    name: str,
    data_dir: _Path | None = None,
    download: bool = False,
    instead: str = "embedded",
) -> Any:
    """Returns the builder of a set of TensorFlow Datasets that is prepared.

    Args:
        name, data_dir, download: As for `tfds_parts`.
        instead: A data set that needs no files, for messages.

    Raises:
        ValueError: If there is no such data set, or it is not there and
            `download` is false.
    """
    import tensorflow_datasets as tfds  # Imports TensorFlow when first used.

    from nas_keras.data import builders  # noqa: F401  (registers ours)

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (
        tfds.core.DatasetNotFoundError,
        ValueError,  # Of a configuration.
        AssertionError,  # Of a version.
        ImportError,  # Of what a namespace needs.
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"dataset={TFDS + name!r}: TensorFlow Datasets has none of this "
            f"name: {reason}"
        ) from None
    # Where there is no folder, `is_prepared` logs a warning of its own.
    if not (builder.data_path.exists() and builder.is_prepared()):
        if not download:
            raise ValueError(_how_to_prepare(builder, name, data_dir, instead))
        builder.download_and_prepare()
    return builder


def string_features(builder: Any) -> list[str]:
    """Returns the names of the features of a data set that are strings."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    if not isinstance(features, tfds.features.FeaturesDict):
        return []
    infos = {
        name: feature.get_tensor_info() for name, feature in features.items()
    }
    return sorted(
        name
        for name, info in infos.items()
        if getattr(info, "shape", None) == () and info.tf_dtype.name == "string"
    )


def _how_to_prepare(
    builder: Any, name: str, data_dir: _Path | None, instead: str
) -> str:
    from nas_keras.data import builders

    dataset = name if name in DATASETS else TFDS + name
    missing = f"dataset={dataset!r} is not at {builder.data_path}. "
    if isinstance(builder, builders.PtbWords | builders.PtbCharacters):
        return missing + (
            "Prepare it from your files as the docstring of "
            "nas_keras.data.builders tells, or use them with dataset='ptb'."
        )
    where = "" if data_dir is None else f", data_dir={str(data_dir)!r}"
    return missing + (
        'Prepare it with: python -c "import tensorflow_datasets as '
        f"tfds; tfds.builder({name!r}{where})."
        f'download_and_prepare()"; or use dataset={instead!r}.'
    )


def tfds_rows(builder: Any, name: str) -> dict[str, Iterable[dict]]:
    """Returns the examples of a prepared data set by part, in their order.

    Args:
        builder: What `open_tfds` returned.
        name: Of the data set, for messages.

    Raises:
        ValueError: If a part has no split or several.
    """
    import tensorflow_datasets as tfds

    splits = sorted(builder.info.splits)
    rows = {}
    for part, names in PART_NAMES.items():
        found = [split for split in splits if split in names]
        if len(found) != 1:
            raise ValueError(
                f"dataset={TFDS + name!r} must have one split named one "
                f"of {list(names)} for {part!r}. Received: splits {splits}."
            )
        rows[part] = tfds.as_numpy(builder.as_dataset(split=found[0]))
    return rows


def open_corpus(
    dataset: str = "embedded",
    text_file: _Path | None = None,
    level: str = "char",
    max_vocabulary: int = 10_000,
    max_chars: int | None = None,
    data_dir: _Path | None = None,
) -> Corpus:
    """Returns a text.

    Args:
        dataset, text_file, level, max_vocabulary: As for `TextData`.
        max_chars: Characters of the text to use, from its start; default all.
            Only for a text that is not in parts already.
        data_dir: As for `TextData.open`.

    Raises:
        ValueError: If an argument is not as above, or the text is not there.
    """
    TextData(dataset, text_file, level, max_vocabulary)  # Checks them.
    _check_together(dataset, max_chars, data_dir)
    size: dict[str, Any] = {"max_vocabulary": max_vocabulary}
    rule = f"given with dataset={dataset!r}"
    if dataset == "ptb":
        parts = penn_treebank.read(
            given_path("data_dir", data_dir, rule), level
        )
        return corpus_of_parts(
            parts, level, name=f"ptb_{level}", has_unknown=False, **size
        )
    if dataset == "folder":
        folder = given_path("data_dir", data_dir, rule)
        name = pathlib.Path(folder).absolute().name  # That of "." is "".
        parts = read_folder(folder)
        return corpus_of_parts(parts, level, name=name, **size)
    if is_tfds(dataset):
        parts = tfds_parts(dataset.removeprefix(TFDS), data_dir)
        return corpus_of_parts(parts, level, name=dataset, **size)
    if text_file is not None:
        name, text = pathlib.Path(text_file).name, read_text_file(text_file)
    elif dataset == "tiny_shakespeare":
        name, text = dataset, tiny_shakespeare(data_dir)
    else:
        name, text = dataset, embedded_text()
    return build_corpus(text[:max_chars], level, name=name, **size)


def _check_together(
    dataset: str, max_chars: int | None, data_dir: _Path | None
) -> None:
    """Refuses arguments of `open_corpus` that do not go with a data set."""
    from_tfds = is_tfds(dataset)
    if data_dir is not None:
        rule = f"left out with dataset={dataset!r}"
        has_folder = dataset in _FROM_DATA_DIR or from_tfds
        check(has_folder, "data_dir", rule, str(data_dir))
    if max_chars is not None:
        check_int("max_chars", max_chars, 1)
        rule = f"left out with dataset={dataset!r}, which is in parts"
        in_parts = dataset in ("ptb", "folder") or from_tfds
        check(not in_parts, "max_chars", rule, max_chars)
