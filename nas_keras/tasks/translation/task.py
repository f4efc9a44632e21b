"""Pairs of sentences as a task: their subwords, and pairs as ids.

No TensorFlow, no Keras. Axes: B pairs of a batch, S source and T target
subwords.
"""

import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
from absl import logging

from nas_keras.data.parallel import Pair
from nas_keras.data.parallel import ParallelCorpus
from nas_keras.data.subwords import END
from nas_keras.data.subwords import Subwords
from nas_keras.data.subwords import train_subwords
from nas_keras.tasks.translation.batches import padded
from nas_keras.tasks.translation.config import TranslationConfig
from nas_keras.tasks.translation.scores import check_language


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedPairs:
    """Pairs as ids, each sentence with its end.

    Attributes:
        source: Ids of each sentence.
        target: Ids of each translation.
    """

    source: list[list[int]]
    target: list[list[int]]

    def __len__(self) -> int:
        return len(self.source)

    @property
    def lengths(self) -> list[int]:
        """Of the longer side of each pair, its end included."""
        both = zip(self.source, self.target, strict=True)
        return [max(map(len, pair)) for pair in both]

    def up_to(self, max_length: int, name: str) -> "EncodedPairs":
        """Returns the pairs without those of a side that is too long.

        Args:
            max_length: Most subwords of a side, its end not counted.
            name: Of the pairs, for the warning that counts those left out.

        Raises:
            ValueError: If no pair is short enough.
        """
        places = [k for k, n in enumerate(self.lengths) if n <= max_length + 1]
        if not places:
            raise ValueError(
                "max_length must leave a pair to train on. Received: "
                f"max_length={max_length}, of {len(self)} pairs that are all "
                "longer."
            )
        if len(places) < len(self):
            logging.warning(
                "%s: left out %d of the %d training pairs: longer than "
                "max_length=%d subwords.",
                name,
                len(self) - len(places),
                len(self),
                max_length,
            )
        return EncodedPairs(
            *([side[k] for k in places] for side in (self.source, self.target))
        )

    def batch(self, places: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns int32 [B, S] and [B, T] of some pairs."""
        return (
            padded([self.source[k] for k in places]),
            padded([self.target[k] for k in places]),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class TranslationTask:
    """Pairs to learn from and the subwords they are made of.

    Attributes:
        corpus: The pairs as text.
        source_subwords: Those of the source.
        target_subwords: Those of the target; the same if they are shared.
        train: The training pairs that are not too long.
    """

    corpus: ParallelCorpus
    source_subwords: Subwords
    target_subwords: Subwords
    train: EncodedPairs

    @classmethod
    def of(
        cls, config: TranslationConfig, corpus: ParallelCorpus
    ) -> "TranslationTask":
        """Returns the task of a training, its subwords learnt from the pairs.

        How many pairs are too long for it is logged as a warning, and how
        many such there are among those that are scored.

        Raises:
            ValueError: If the text allows no vocabulary of this size, or no
                pair is short enough.
            ImportError: If what scores translations is not installed.
        """
        check_language(corpus.target_language)
        source, target = (
            [pair[side] for pair in corpus.train] for side in (0, 1)
        )
        size, kind = config.vocabulary_size, config.subword_kind
        if config.model.shared_embeddings:
            ours = theirs = train_subwords([*source, *target], size, kind)
        else:
            ours, theirs = (
                train_subwords(lines, size, kind) for lines in (source, target)
            )
        pairs = encoded(corpus.train, ours, theirs)
        pairs = pairs.up_to(config.max_length, corpus.name)
        task = cls(corpus, ours, theirs, pairs)
        for part in ("validation", "test"):
            task._tell_of_long_pairs(part, config.max_length)
        return task

    @property
    def sizes(self) -> tuple[int, int]:
        """V of the source and of the target."""
        return (
            self.source_subwords.vocabulary_size,
            self.target_subwords.vocabulary_size,
        )

    def encoded(self, pairs: Sequence[Pair]) -> EncodedPairs:
        """Returns pairs as ids."""
        return encoded(pairs, self.source_subwords, self.target_subwords)

    def _tell_of_long_pairs(self, part: str, max_length: int) -> None:
        lengths = self.encoded(getattr(self.corpus, part)).lengths
        num = sum(length > max_length + 1 for length in lengths)
        if num:
            logging.warning(
                "%s: %d of the %d %s pairs are longer than max_length=%d "
                "subwords; they are scored like the others.",
                *(self.corpus.name, num, len(lengths), part, max_length),
            )


def encoded(
    pairs: Sequence[Pair], source_subwords: Subwords, target_subwords: Subwords
) -> EncodedPairs:
    """Returns pairs as ids, of any length."""
    source = source_subwords.encode([pair[0] for pair in pairs])
    target = target_subwords.encode([pair[1] for pair in pairs])
    return EncodedPairs(
        *([[*ids, END] for ids in side] for side in (source, target))
    )
