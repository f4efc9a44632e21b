"""Where pairs of sentences come from: Babel, files, TFDS.

`PairData` says which pairs; `open_pairs` is the same as a function. TensorFlow
Datasets is imported when a data set of it is asked for, and nothing else is.
"""

import os
import pathlib
import re
from collections.abc import Mapping

from nas_keras.data.checks import check
from nas_keras.data.checks import given_path
from nas_keras.data.embedded_pairs import embedded_pairs
from nas_keras.data.parallel import Pair
from nas_keras.data.parallel import ParallelCorpus
from nas_keras.data.parallel import parallel_corpus
from nas_keras.data.sources import PART_NAMES
from nas_keras.data.sources import TFDS
from nas_keras.data.sources import is_tfds
from nas_keras.data.sources import open_tfds
from nas_keras.data.sources import read_text_file
from nas_keras.data.sources import string_features
from nas_keras.data.sources import tfds_rows
from nas_keras.settings import Settings
from nas_keras.settings import refuse
from nas_keras.settings import setting
from nas_keras.settings import text as a_text

DATASETS = ("embedded", "files")
_Path = str | os.PathLike
_GZIP = ".gz"
# Stem, then language: `test_2016_flickr.de.gz`; or as TFDS' TranslateFolder
# has it: `de.test.txt`.
_NAMES = (
    re.compile(r"(?P<stem>.+)\.(?P<language>[^.]+)"),
    re.compile(r"(?P<language>[^.]+)\.(?P<stem>.+)\.txt"),
)


def is_pairs_dataset(name: str) -> bool:
    """Returns whether `open_pairs` knows a data set of this name."""
    return name in DATASETS or is_tfds(name)


_LANGUAGE = a_text("the name of a language", lambda v: bool(v.strip()))


class PairData(Settings):
    """Pairs of sentences for translation."""

    dataset: str = setting(
        "embedded",
        "Data set: 'embedded', phrases that Babel puts in words; 'files', "
        "files of lines in the data folder, two for each part, `train.en` and "
        "`train.de`, or `en.train.txt` and `de.train.txt`, also `.gz`; or "
        "'tfds:NAME', such as 'tfds:wmt14_translate/de-en'.",
        a_text(f"one of {DATASETS} or '{TFDS}NAME'", is_pairs_dataset),
    )
    source: str = setting(
        "en",
        "Language of the source, as its files and features are named.",
        _LANGUAGE,
    )
    target: str = setting("de", "Language of the target, likewise.", _LANGUAGE)
    test_set: str = setting(
        "",
        "Which of several test sets in files to use: the name of its files "
        "less the language; '': there is one.",
        a_text("a text, perhaps ''", lambda v: True),
    )

    def _check(self) -> None:
        if self.source == self.target:
            rule = f"another language than source={self.source!r}"
            refuse("target", rule, self.target)
        if self.test_set and self.dataset != "files":
            rule = "left out unless dataset='files'"
            refuse("test_set", rule, self.test_set)

    def open(self, data_dir: _Path | None = None) -> ParallelCorpus:
        """Returns the pairs.

        Args:
            data_dir: Folder of the pairs' files, or of TFDS data sets; None:
                TFDS's own.

        Raises:
            ValueError: If the pairs are not there, or cannot be read.
            ImportError: If Babel, which 'embedded' needs, is not installed.
        """
        return open_pairs(
            self.dataset, data_dir, self.source, self.target, self.test_set
        )


def open_pairs(
    dataset: str = "embedded",
    data_dir: _Path | None = None,
    source: str = "en",
    target: str = "de",
    test_set: str = "",
) -> ParallelCorpus:
    """Returns pairs of sentences.

    Args:
        dataset, source, target, test_set: As for `PairData`.
        data_dir: As for `PairData.open`.

    Raises:
        ValueError: If an argument is not as above, or the pairs are not there.
        ImportError: If Babel, which `"embedded"` needs, is not installed.
    """
    PairData(dataset, source, target, test_set)  # Checks them.
    if dataset == "embedded":
        rule = "left out with dataset='embedded'"
        check(data_dir is None, "data_dir", rule, str(data_dir))
        return embedded_pairs(source, target)
    if dataset == "files":
        rule = "given with dataset='files'"
        folder = pathlib.Path(given_path("data_dir", data_dir, rule))
        parts = _read_folder(folder, source, target, test_set)
        name = folder.absolute().name
    else:
        name = dataset
        parts = _read_tfds(dataset.removeprefix(TFDS), data_dir, source, target)
    return parallel_corpus(parts, source, target, name=name)


def _read_folder(
    folder: pathlib.Path, source: str, target: str, test_set: str
) -> dict[str, list[Pair]]:
    if not folder.is_dir():
        raise ValueError(
            f"data_dir must be a folder. Received: data_dir={str(folder)!r}."
        )
    languages = {
        "source": (source, _stems(folder, source)),
        "target": (target, _stems(folder, target)),
    }
    for argument, (language, stems) in languages.items():
        rule = f"the language of files in data_dir={str(folder)!r}: "
        rule += f"one of {_languages(folder)}"
        check(stems, argument, rule, language)
    parts = {}
    for part in PART_NAMES:
        stem = _stem_of(part, languages, folder, test_set)
        paths = [stems[stem] for _, stems in languages.values()]
        parts[part] = _read_pair(*paths)
    return parts


def _stems(folder: pathlib.Path, language: str) -> dict[str, pathlib.Path]:
    """Returns a language's files of parts by what stands beside its name."""
    found: dict[str, pathlib.Path] = {}
    for path in sorted(folder.iterdir()):
        for pattern in _NAMES:
            match = pattern.fullmatch(path.name.removesuffix(_GZIP))
            if (
                match
                and match["language"] == language
                and _part_of(match["stem"]) is not None
            ):
                other = found.setdefault(match["stem"], path)
                rule = f"a folder with {other.name!r} or {path.name!r}, not "
                rule += "with both"
                check(other == path, "data_dir", rule, str(folder))
    return found


def _languages(folder: pathlib.Path) -> list[str]:
    """Returns what may be languages of the files of a folder."""
    found = {
        match["language"]
        for path in folder.iterdir()
        for pattern in _NAMES
        if (match := pattern.fullmatch(path.name.removesuffix(_GZIP)))
        and _part_of(match["stem"]) is not None
    }
    return sorted(found)


def _part_of(stem: str) -> str | None:
    """Returns the part whose name a stem begins with."""
    word = re.split(r"[^a-z]", stem.lower(), maxsplit=1)[0]
    for part, names in PART_NAMES.items():
        if word in names:
            return part
    return None


def _stem_of(
    part: str,
    languages: Mapping[str, tuple[str, Mapping[str, pathlib.Path]]],
    folder: pathlib.Path,
    test_set: str,
) -> str:
    """Returns the stem of a part's two files."""
    (source, of_source), (target, of_target) = languages.values()
    stems = [stem for stem in of_source if _part_of(stem) == part]
    both = [stem for stem in stems if stem in of_target]
    if part == "test" and test_set:
        rule = f"one of the test sets in data_dir={str(folder)!r}: {both}"
        check(test_set in both, "test_set", rule, test_set)
        return test_set
    if len(both) != 1:
        others = [stem for stem in of_target if _part_of(stem) == part]
        hint = " Choose one with test_set." if part == "test" and both else ""
        raise ValueError(
            "data_dir must have one file of each language for each part, "
            f"for {part!r} with a name that begins with one of "
            f"{list(PART_NAMES[part])}. Received: "
            f"data_dir={str(folder)!r}, with {stems} of {source!r} and "
            f"{others} of {target!r}.{hint}"
        )
    return both[0]


def _read_pair(*paths: pathlib.Path) -> list[Pair]:
    """Returns the lines of two files as pairs."""
    first, second = (_lines(path) for path in paths)
    if len(first) != len(second):
        raise ValueError(
            "The two files of a part must have a line for each sentence. "
            f"Received: {len(first)} lines in {str(paths[0])!r}, "
            f"{len(second)} in {str(paths[1])!r}."
        )
    return list(zip(first, second, strict=True))


def _lines(path: pathlib.Path) -> list[str]:
    text = read_text_file(path, "data_dir", gzipped=path.suffix == _GZIP)
    # Not `splitlines`: it takes characters for line ends that are text.
    return text.removesuffix("\n").split("\n")


def _read_tfds(
    name: str, data_dir: _Path | None, source: str, target: str
) -> dict[str, list[Pair]]:
    builder = open_tfds(name, data_dir)
    languages = string_features(builder)
    for argument, language in (("source", source), ("target", target)):
        rule = f"one of the features of {TFDS}{name}: {languages}"
        check(language in languages, argument, rule, language)
    return {
        part: [
            (_line(row[source]), _line(row[target])) for row in rows
        ]
        for part, rows in tfds_rows(builder, name).items()
    }  # fmt: skip


def _line(text: bytes) -> str:
    """Returns a text as one line; it may have ends of lines in it."""
    return " ".join(text.decode("utf-8").split())
