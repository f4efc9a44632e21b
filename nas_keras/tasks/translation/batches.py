"""Which pairs make a batch, and its learning rate: pure functions.

Sentences of like length stand together, so that little is padding. Axes: N
pairs, B pairs of a batch, S and T steps of source and target.
"""

from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

from nas_keras.data.subwords import PADDING
from nas_keras.tasks.training.schedules import cosine
from nas_keras.tasks.training.schedules import parts_over


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


def rate_at(
    learning_rate: float,
    schedule: str,
    fraction: float,
    decay_from: float = 0.0,
    num_halvings: int = 0,
) -> float:
    """Returns the learning rate of an update, warm-up aside.

    Args:
        learning_rate: The largest.
        schedule: As in `TranslationConfig`, and the next two.
        fraction: Of the training that is done, in [0, 1].
        decay_from: See `schedule`.
        num_halvings: See `schedule`.
    """
    if schedule == "cosine":
        return learning_rate * cosine(fraction)
    if schedule == "halving" and fraction > decay_from:
        num = parts_over(fraction, decay_from, num_halvings)
        return learning_rate * 0.5**num
    return learning_rate
