"""Pairs of sentences as ids, and which of them make a batch.

Sentences of like length stand together, so that little is padding. Axes: N
pairs, B pairs of a batch, S and T steps of source and target.
"""

import dataclasses
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
from absl import logging

from nas_keras.data.parallel import Pair
from nas_keras.data.subwords import END
from nas_keras.data.subwords import PADDING
from nas_keras.data.subwords import Subwords


def batches_of(
    source_lengths: np.ndarray,
    target_lengths: np.ndarray,
    epoch: int,
    seed: int,
    batch_tokens: int = 0,
    batch_sentences: int = 0,
    bucket_width: int = 4,
) -> list[np.ndarray]:
    """Returns the batches of an epoch, each the numbers of its pairs.

    Pairs are shuffled, put into buckets by the longer of their sides, cut
    into batches, and these are shuffled. Every pair is in one batch.

    Args:
        source_lengths: int [N], subwords of the source.
        target_lengths: int [N], of the target, with its end.
        epoch: From 0; with the seed, it decides the order.
        seed: Of the training.
        batch_tokens: Most target subwords of a batch, padding included, and
            most source subwords; 0 if `batch_sentences` says how many pairs.
        batch_sentences: Pairs of a batch; the last of a bucket has fewer.
        bucket_width: Longer sides of a bucket's pairs differ by less than it.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(source_lengths))
    longer = np.maximum(source_lengths, target_lengths)[order]
    order = order[np.argsort(longer // bucket_width, kind="stable")]
    batches = []
    begin = longest = 0
    bucket = -1
    for place, pair in enumerate(order):
        length = max(source_lengths[pair], target_lengths[pair])
        now = max(longest, length)
        size = place - begin + 1
        is_full = (
            size > batch_sentences
            if batch_sentences
            else size * now > batch_tokens
        )
        if place > begin and (is_full or length // bucket_width != bucket):
            batches.append(order[begin:place])
            begin, now = place, length
        longest, bucket = now, length // bucket_width
    batches.append(order[begin:])
    return [batches[k] for k in rng.permutation(len(batches))]


def places_of_like_length(
    lengths: Sequence[int], num_tokens: int
) -> Iterator[list[int]]:
    """Yields batches of sentences as their places, the shortest first.

    Args:
        lengths: Of each sentence.
        num_tokens: Most tokens of a batch, padding included; a longer sentence
            is a batch for itself.
    """
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda k: lengths[k]):
        if batch and (len(batch) + 1) * lengths[place] > num_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def padded(sentences: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns ids of sentences as int32 [B, longest], padding at the end."""
    longest = max(map(len, sentences))
    array = np.full((len(sentences), longest), PADDING, np.int32)
    for row, ids in zip(array, sentences, strict=True):
        row[: len(ids)] = ids
    return array


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


def encoded(
    pairs: Sequence[Pair], source_subwords: Subwords, target_subwords: Subwords
) -> EncodedPairs:
    """Returns pairs as ids, of any length."""
    source = source_subwords.encode([pair[0] for pair in pairs])
    target = target_subwords.encode([pair[1] for pair in pairs])
    return EncodedPairs(
        *([[*ids, END] for ids in side] for side in (source, target))
    )
