"""BLEU and chrF of translations, by sacrebleu, with their signatures.

Both are of detokenised text as it is: cased, with sacrebleu's own tokeniser.
sacrebleu is imported when it is used first. No TensorFlow, no Keras.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from nas_keras import libraries


@dataclasses.dataclass(frozen=True)
class TranslationScores:
    """How near translations are to their references.

    Attributes:
        bleu: 0 to 100.
        chrf: chrF2, 0 to 100.
        bleu_signature: What the figure depends on, as sacrebleu has it.
        chrf_signature: Likewise.
    """

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


def scores_of(
    translations: Sequence[str], references: Sequence[str], language: str = ""
) -> TranslationScores:
    """Returns the scores of a set of sentences.

    Args:
        translations: A text for each sentence.
        references: Their references.
        language: Of both; Chinese, Japanese and Korean have tokenisers of
            their own.

    Raises:
        ValueError: If there is another number of references, or none.
        ImportError: As `check_language`.

    Reference:
        [Post, 2018](https://arxiv.org/abs/1804.08771).
    """
    if not translations or len(translations) != len(references):
        raise ValueError(
            "translations and references must be as many, and at least one. "
            f"Received: {len(translations)} and {len(references)}."
        )
    bleu, chrf = _bleu(language), _metrics().CHRF()
    of_bleu = bleu.corpus_score(translations, [references])
    of_chrf = chrf.corpus_score(translations, [references])
    return TranslationScores(
        bleu=of_bleu.score,
        chrf=of_chrf.score,
        bleu_signature=str(bleu.get_signature()),
        chrf_signature=str(chrf.get_signature()),
    )


def check_language(language: str) -> None:
    """Makes sure that translations into a language can be scored.

    Raises:
        ImportError: If sacrebleu is not installed, or what it needs for the
            language.
    """
    _bleu(language)


def _bleu(language: str) -> Any:
    # sacrebleu takes the tokeniser from the language, "ja" and so on; of one
    # that has none of its own it uses 13a.
    code = re.split("[-_]", language)[0].lower()
    try:
        return _metrics().BLEU(trg_lang=code)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ImportError(f"BLEU of {language!r}: {reason}") from None


def _metrics() -> Any:
    with libraries.needed("BLEU needs the package sacrebleu", "translation"):
        from sacrebleu import metrics
    return metrics
