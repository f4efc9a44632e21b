"""Penn Treebank as preprocessed by Mikolov, from a user's three files.

The text belongs to the Linguistic Data Consortium and is not free to copy, so
nothing here fetches it. What is read is held against the sizes and SHA-256 of
the standard files: a figure on a part of them compares with no paper's.

Reference:
    [Mikolov et al., 2010](https://doi.org/10.21437/Interspeech.2010-343); the
    characters as in
    [Mikolov et al., 2012](https://www.fit.vut.cz/~imikolov/rnnlm/char.pdf).
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator

from nas_keras.data.checks import check
from nas_keras.data.text import LEVELS


@dataclasses.dataclass(frozen=True)
class TextFile:
    """A file of the standard set: its name, and how it is known."""

    name: str
    num_bytes: int
    sha256: str


# 929,589, 73,760 and 82,430 words with one `<eos>` a line; 10,000 distinct.
FILES = {
    "train": TextFile(
        "ptb.train.txt",
        5_101_618,
        "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    ),
    "validation": TextFile(
        "ptb.valid.txt",
        399_782,
        "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    ),
    "test": TextFile(
        "ptb.test.txt",
        449_945,
        "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
    ),
}


def read(data_dir: str | os.PathLike, level: str = "word") -> dict[str, str]:
    """Returns the texts of Penn Treebank by part.

    Args:
        data_dir: Folder of `ptb.train.txt`, `ptb.valid.txt`, `ptb.test.txt`.
        level: `"word"`: the text as it is. `"char"`: as in the standard
            `ptb.char.*.txt`, each line of words becomes the characters of
            its words with `_` between them.

    Raises:
        ValueError: If the level is another, or a file is missing or is not
            the standard one; the message says what it is.
    """
    check(level in LEVELS, "level", f"one of {LEVELS}", level)
    texts = {
        part: "".join(f"{line}\n" for line in lines(data_dir, part))
        for part in FILES
    }
    return characters(texts) if level == "char" else texts


def characters(texts: dict[str, str]) -> dict[str, str]:
    """Returns lines of words as lines of characters, `_` between words."""
    return {
        part: "".join(
            "_".join(line.split()) + "\n" for line in text.splitlines()
        )
        for part, text in texts.items()
    }


def lines(data_dir: str | os.PathLike, part: str) -> Iterator[str]:
    """Yields the lines of one part, checked; raises as `read` does."""
    yield from _checked(pathlib.Path(data_dir), FILES[part]).splitlines()


def is_html(data: bytes) -> bool:
    """Returns whether a file is a web page: a failed download often is."""
    start = data[:200].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype", b"<html"))


def _checked(folder: pathlib.Path, file: TextFile) -> str:
    path = folder / file.name
    try:
        data = path.read_bytes()
    except OSError as error:
        names = ", ".join(file.name for file in FILES.values())
        raise ValueError(
            f"data_dir must be a folder with {names}. Received: "
            f"data_dir={str(folder)!r}, where {file.name} cannot be read: "
            f"{error.strerror}."
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        what = ", a web page" if is_html(data) else ""
        raise ValueError(
            f"{path} must be the file of Penn Treebank as preprocessed by "
            f"Mikolov, {file.num_bytes:,} bytes with SHA-256 {file.sha256}. "
            f"Received: {len(data):,} bytes with SHA-256 {digest}{what}. "
            "For another text of your own use dataset='folder'."
        )
    return data.decode("utf-8")
