"""Penn Treebank for TensorFlow Datasets, from a user's files.

Importing this module registers the data sets `ptb_words` and `ptb_characters`:

    import tensorflow_datasets as tfds
    from nas_keras.data import builders

    config = tfds.download.DownloadConfig(manual_dir="folder/of/ptb")
    data = tfds.load(
        "ptb_words",
        download_and_prepare_kwargs={"download_config": config},
    )

An example is a line, `{"text": ...}`. Only this module imports TFDS at once.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from nas_keras.data import penn_treebank

_DESCRIPTION = (
    "Penn Treebank as preprocessed by Mikolov: 42,068 lines for training, "
    "3,370 for validation, 3,761 for test; 10,000 distinct words, `<unk>` and "
    "the end of a line among them."
)


# To a type checker, which knows no TFDS, the base is an object.
class _Ptb(  # type: ignore[call-arg]
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    """The lines of three files; see `penn_treebank.py`."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put ptb.train.txt, ptb.valid.txt and ptb.test.txt, Penn Treebank as "
        "preprocessed by Mikolov, into a folder and name it as manual_dir. "
        "The text belongs to the Linguistic Data Consortium."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
            disable_shuffling=True,  # The order of lines is that of the text.
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        folder = dl_manager.manual_dir
        return {
            part: self._generate_examples(folder, part)
            for part in penn_treebank.FILES
        }

    def _generate_examples(
        self, folder: Any, part: str
    ) -> Iterator[tuple[int, dict]]:
        for place, line in enumerate(penn_treebank.lines(folder, part)):
            yield place, {"text": self._text(line)}

    def _text(self, line: str) -> str:
        raise NotImplementedError


class PtbWords(_Ptb):
    """Words, separated by blanks, a sentence each example."""

    def _text(self, line: str) -> str:
        return " ".join(line.split())


class PtbCharacters(_Ptb):
    """The same text as characters, `_` for the blank."""

    def _text(self, line: str) -> str:
        return "_".join(line.split())
