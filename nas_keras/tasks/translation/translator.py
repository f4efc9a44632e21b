"""`Translator`: a trained translation model and its subwords, in one folder.

    Translator.load("runs/de/model").translate(["A dog runs."])

TensorFlow only. Axes: S source subwords, T target subwords.
"""

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from nas_keras import libraries
from nas_keras.data.subwords import END
from nas_keras.data.subwords import PADDING
from nas_keras.data.subwords import Subwords
from nas_keras.storage import files
from nas_keras.tasks.training.files import save_model
from nas_keras.tasks.translation.batches import padded
from nas_keras.tasks.translation.batches import places_of_like_length
from nas_keras.tasks.translation.model import TranslationModel
from nas_keras.tasks.translation.steps import compiled_search
from nas_keras.tasks.translation.steps import shifted

# Hypotheses times source subwords of a batch that is searched at once.
_BATCH_TOKENS = 8_000
_SPARE = 8  # Subwords that a translation may have beyond twice its source's.
_FILES = ("model.keras", "source.subwords", "target.subwords")
_SEARCH = ("beam", "length_penalty", "coverage_penalty")


@dataclasses.dataclass(frozen=True)
class Translation:
    """A translation that was found.

    Attributes:
        text: Detokenised.
        log_prob_nats: Of its subwords and its end.
        score: What it was chosen by: of a beam, `log_prob_nats` with the
            penalties.
    """

    text: str
    log_prob_nats: float
    score: float


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """What each subword of a translation has attended to.

    Attributes:
        source: The subwords of the source, S, with its end.
        target: Those of the translation, T, with its end.
        weights: float32 [T, S]; each row sums to 1.
    """

    source: list[str]
    target: list[str]
    weights: np.ndarray


class Translator:
    """Translates text.

    Args:
        model: A `TranslationModel`.
        source_subwords: What its source was made of.
        target_subwords: What its target was made of.
        source_language: Names that the folder keeps.
        target_language: Likewise.
        beam: Hypotheses that `translate` keeps if it is not told; 1 takes the
            likeliest subword at each step.
        length_penalty: Likewise, alpha of `translation_search.beam_search`.
        coverage_penalty: Likewise, beta there.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        model: TranslationModel,
        source_subwords: Subwords,
        target_subwords: Subwords,
        source_language: str = "",
        target_language: str = "",
        beam: int = 5,
        length_penalty: float = 1.0,
        coverage_penalty: float = 0.0,
    ):
        _check_search(beam, length_penalty, coverage_penalty)
        self.model = model
        self.source_subwords = source_subwords
        self.target_subwords = target_subwords
        self.source_language = source_language
        self.target_language = target_language
        self.beam = beam
        self.length_penalty = length_penalty
        self.coverage_penalty = coverage_penalty
        self._searches: dict[Any, Any] = {}

    def translate(
        self,
        lines: Sequence[str],
        beam: int | None = None,
        length_penalty: float | None = None,
        coverage_penalty: float | None = None,
    ) -> list[Translation]:
        """Returns the best translation of each line.

        Args:
            lines: Sentences.
            beam: In the place of the attribute; so are the next two.
            length_penalty: See `beam`.
            coverage_penalty: See `beam`.

        Raises:
            ValueError: If a line is empty, or a number out of range.
        """
        beam = self.beam if beam is None else beam
        if length_penalty is None:
            length_penalty = self.length_penalty
        if coverage_penalty is None:
            coverage_penalty = self.coverage_penalty
        _check_search(beam, length_penalty, coverage_penalty)
        sentences = self._encoded(lines)
        found: dict[int, Translation] = {}
        search = self._search(beam, length_penalty, coverage_penalty)
        lengths = [len(ids) for ids in sentences]
        for places in places_of_like_length(lengths, _BATCH_TOKENS // beam):
            source = padded([sentences[k] for k in places])
            limits = 2 * (source != PADDING).sum(axis=1) + _SPARE
            ids, log_probs, scores = map(
                np.array, search(source, limits.astype(np.int32))
            )
            texts = self.target_subwords.decode(ids[:, 0].tolist())
            for row, place in enumerate(places):
                found[place] = Translation(
                    texts[row], float(log_probs[row, 0]), float(scores[row, 0])
                )
        return [found[place] for place in range(len(lines))]

    def align(self, line: str, translation: str) -> Alignment:
        """Returns what a translation attends to when it is read out.

        Args:
            line: The source.
            translation: May be empty.

        Raises:
            ValueError: If the source is empty.
        """
        (source,) = self._encoded([line])
        (target,) = self.target_subwords.encode([translation])
        target = [*target, END]
        ids = np.array([target], np.int32)
        memory, state = self.model.encode(np.array([source], np.int32))
        decoded = self.model.decode(shifted(ids), memory, state)
        return Alignment(
            self.source_subwords.pieces(source),
            self.target_subwords.pieces(target),
            np.array(decoded.weights[0]),
        )

    def _encoded(self, lines: Sequence[str]) -> list[list[int]]:
        encoded = self.source_subwords.encode(lines)
        for number, ids in enumerate(encoded, start=1):
            if not ids:
                raise ValueError(
                    "Each line to translate must have text. Received: an "
                    f"empty line {number} of {len(lines)}."
                )
        if not encoded:
            raise ValueError("There must be a line to translate. Received: [].")
        return [[*ids, END] for ids in encoded]

    def _search(self, beam: int, alpha: float, beta: float) -> Any:
        key = (beam, alpha, beta) if beam > 1 else (1, 0.0, 0.0)
        if key not in self._searches:
            self._searches[key] = compiled_search(self.model, *key)
        return self._searches[key]

    # The folder.

    def save(
        self, folder: str | os.PathLike, config: Any, metrics: Any
    ) -> None:
        """Writes `model.keras`, the subwords, `config.json`, `metrics.json`.

        Args:
            folder: It need not exist.
            config: Of the training, JSON-able.
            metrics: Likewise.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, folder / _FILES[0])
        for name, subwords in (
            ("source", self.source_subwords),
            ("target", self.target_subwords),
        ):
            files.write_atomically(folder / f"{name}.subwords", subwords.model)
        about = {
            "source_language": self.source_language,
            "target_language": self.target_language,
            "search": {name: getattr(self, name) for name in _SEARCH},
            "sha256": {name: _digest(folder / name) for name in _FILES},
            "training": config,
        }
        files.write_json(folder / "metrics.json", metrics)
        files.write_json(folder / "config.json", about)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Translator":
        """Returns what `save` has written.

        Raises:
            ValueError: If a file is missing or damaged; the message names it.
                Or if Keras's backend is not TensorFlow.
        """
        libraries.check_tensorflow("to translate")
        folder = Path(folder)
        for name in (*_FILES, "config.json"):
            if not (folder / name).is_file():
                raise ValueError(
                    "model must be a folder that a training has written, with "
                    f"{name!r} in it. Received: model={str(folder)!r}."
                )
        config = files.read_json(folder / "config.json")
        try:
            digests = {name: config["sha256"][name] for name in _FILES}
            search = {name: config["search"][name] for name in _SEARCH}
            languages = config["source_language"], config["target_language"]
        except (KeyError, TypeError):
            raise ValueError(
                f"{folder / 'config.json'}: damaged, or not of a translator."
            ) from None
        for name, digest in digests.items():
            if digest != _digest(folder / name):
                raise ValueError(
                    f"{folder / name}: damaged, or not what config.json beside "
                    "it is of."
                )
        # A file that is whole may be of a release that this one cannot read.
        try:
            model = keras.saving.load_model(folder / _FILES[0], compile=False)
        except (ValueError, TypeError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{folder / _FILES[0]}: of another release: {reason}"
            ) from None
        source, target = (
            Subwords((folder / k).read_bytes()) for k in _FILES[1:]
        )
        return cls(model, source, target, *languages, **search)


def _check_search(
    beam: int, length_penalty: float, coverage_penalty: float
) -> None:
    if isinstance(beam, bool) or not isinstance(beam, int) or beam < 1:
        raise ValueError(
            f"beam must be an int of at least 1. Received: beam={beam!r}."
        )
    for name, value in (
        ("length_penalty", length_penalty),
        ("coverage_penalty", coverage_penalty),
    ):
        if not 0 <= value < float("inf"):
            raise ValueError(
                f"{name} must be finite and not negative. Received: "
                f"{name}={value!r}."
            )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
