"""BLEU and chrF of translations, by sacrebleu, with their signatures.

Both are of detokenised text as it is: cased, with sacrebleu's own tokeniser.
sacrebleu is imported when it is used first. No TensorFlow, no Keras.
"""

import dataclasses
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
        ImportError: If sacrebleu is not installed.

    Reference:
        [Post, 2018](https://arxiv.org/abs/1804.08771).
    """
    if not translations or len(translations) != len(references):
        raise ValueError(
            "translations and references must be as many, and at least one. "
            f"Received: {len(translations)} and {len(references)}."
        )
    metrics = _metrics()
    # sacrebleu takes what sets the tokeniser from the language, "ja" and so
    # on; of those it must not know it uses 13a.
    bleu = metrics.BLEU(trg_lang=language.split("_")[0].lower())
    chrf = metrics.CHRF()
    of_bleu = bleu.corpus_score(translations, [references])
    of_chrf = chrf.corpus_score(translations, [references])
    return TranslationScores(
        bleu=of_bleu.score,
        chrf=of_chrf.score,
        bleu_signature=str(bleu.get_signature()),
        chrf_signature=str(chrf.get_signature()),
    )


def _metrics() -> Any:
    with libraries.needed("BLEU needs the package sacrebleu", "translation"):
        from sacrebleu import metrics
    return metrics
