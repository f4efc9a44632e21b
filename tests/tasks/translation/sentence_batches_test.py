"""Tests of nas_keras.tasks.translation.batches: batches, padding, rates."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.tasks.training.schedules import Constant
from nas_keras.tasks.training.schedules import Cosine
from nas_keras.tasks.training.schedules import Halving
from nas_keras.tasks.translation import batches as sentence_batches

_MAX_LENGTH = 30
# Lengths of the sides of pairs. A side has its end at least.
_LENGTHS = st.lists(
    st.tuples(st.integers(1, _MAX_LENGTH), st.integers(1, _MAX_LENGTH)),
    min_size=1,
    max_size=60,
).map(lambda pairs: np.array(pairs).T)
# How large a batch is: one of two limits, as a configuration has it.
_SIZES = st.one_of(
    st.fixed_dictionaries({"batch_tokens": st.integers(_MAX_LENGTH, 300)}),
    st.fixed_dictionaries({"batch_sentences": st.integers(1, 20)}),
)
_WIDTHS = st.integers(1, 12)


def _batches(lengths, epoch=0, seed=0, bucket_width=4, **size):
    return sentence_batches.batches_of(
        *lengths, epoch, seed, bucket_width=bucket_width, **size
    )


def _lists(batches):
    return [batch.tolist() for batch in batches]


# Batches.


@given(_LENGTHS, _SIZES, _WIDTHS, st.integers(0, 5), st.integers(0, 5))
def test_every_pair_is_in_exactly_one_batch(lengths, size, width, epoch, seed):
    batches = _batches(lengths, epoch, seed, width, **size)
    assert all(len(batch) for batch in batches)
    pairs = np.concatenate(batches)
    assert sorted(pairs.tolist()) == [*range(lengths.shape[1])]


@given(_LENGTHS, st.integers(_MAX_LENGTH, 300), _WIDTHS)
def test_no_side_of_a_batch_has_more_than_batch_tokens(lengths, tokens, width):
    for batch in _batches(lengths, bucket_width=width, batch_tokens=tokens):
        for side in lengths:  # Padding is counted: B times the longest.
            assert len(batch) * side[batch].max() <= tokens


@given(_LENGTHS, st.integers(1, 20), _WIDTHS)
def test_batches_of_a_bucket_have_batch_sentences_but_the_last(
    lengths, num, width
):
    batches = _batches(lengths, bucket_width=width, batch_sentences=num)
    assert max(map(len, batches)) <= num
    buckets = {}
    for batch in batches:
        bucket = lengths.max(axis=0)[batch[0]] // width
        buckets.setdefault(bucket, []).append(len(batch))
    for sizes in buckets.values():
        assert sum(size < num for size in sizes) <= 1


@given(_LENGTHS, _SIZES, _WIDTHS)
def test_longer_sides_of_a_batch_differ_by_less_than_bucket_width(
    lengths, size, width
):
    longer = lengths.max(axis=0)
    for batch in _batches(lengths, bucket_width=width, **size):
        assert np.ptp(longer[batch]) < width
        assert len({*(longer[batch] // width).tolist()}) == 1


@given(_LENGTHS, st.integers(_MAX_LENGTH, 300), _WIDTHS)
def test_batches_of_tokens_are_as_large_as_their_bucket_allows(
    lengths, tokens, width
):
    longer = lengths.max(axis=0)
    smallest = {}
    for batch in _batches(lengths, bucket_width=width, batch_tokens=tokens):
        smallest.setdefault(longer[batch[0]] // width, []).append(len(batch))
    for bucket, sizes in smallest.items():
        # So many pairs of the longest of a bucket fit whatever the order.
        least = tokens // ((bucket + 1) * width - 1)
        assert sum(size < least for size in sizes) <= 1


@given(_LENGTHS, _SIZES, st.integers(0, 3), st.integers(0, 3))
def test_batches_are_a_function_of_lengths_seed_and_epoch(
    lengths, size, epoch, seed
):
    before = lengths.copy()
    np.random.seed(epoch)  # The state of all has no part in it.
    first = _lists(_batches(lengths, epoch, seed, **size))
    np.random.seed(seed + 7)
    assert first == _lists(_batches(lengths.copy(), epoch, seed, **size))
    np.testing.assert_array_equal(lengths, before)


def test_seeds_and_epochs_have_orders_of_their_own():
    lengths = np.arange(200).reshape(2, 100) % 13 + 1
    found = {
        str(_lists(_batches(lengths, epoch, seed, batch_sentences=8)))
        for epoch in range(4)
        for seed in range(4)
    }
    assert len(found) == 16


def test_pairs_and_batches_are_both_shuffled():
    lengths = np.full((2, 100), 5)  # One bucket.
    batches = _batches(lengths, batch_sentences=10)
    assert any((np.diff(batch) < 0).any() for batch in batches)
    lengths = np.repeat(np.arange(1, 41), 10)  # A bucket for each length.
    batches = _batches((lengths, lengths), bucket_width=1, batch_sentences=10)
    order = [lengths[batch[0]] for batch in batches]
    assert sorted(order) == [*range(1, 41)]
    assert order != sorted(order)


def test_batches_by_hand():
    # Longer sides 3, 8, 3, 9, 1, 8; buckets of width 4: {3, 3, 1}, {8, 9, 8}.
    lengths = np.array([[3, 2, 1, 9, 1, 8], [1, 8, 3, 4, 1, 8]])
    batches = _batches(lengths, batch_sentences=3)
    assert sorted(map(sorted, _lists(batches))) == [[0, 2, 4], [1, 3, 5]]
    batches = _batches(lengths, batch_tokens=9)  # Three of 3, or one of 9.
    assert sorted(map(sorted, _lists(batches))) == [[0, 2, 4], [1], [3], [5]]
    batches = _batches(lengths, bucket_width=1, batch_sentences=9)
    assert sorted(map(sorted, _lists(batches))) == [[0, 2], [1, 5], [3], [4]]


@pytest.mark.parametrize("seed", range(9))
def test_a_long_pair_makes_only_its_own_batch_small(seed):
    # Of twos ten fit, and with the ten one: before it, with it, after it.
    lengths = np.array([[10] + [2] * 9] * 2)
    batches = _batches(lengths, 0, seed, bucket_width=20, batch_tokens=20)
    assert len(batches) <= 3


def test_a_pair_longer_than_batch_tokens_is_a_batch_of_its_own():
    lengths = np.array([[9, 2, 9, 2], [1, 2, 3, 1]])
    batches = _batches(lengths, batch_tokens=5, bucket_width=20)
    assert sorted(np.concatenate(batches).tolist()) == [0, 1, 2, 3]
    assert all(len(b) == 1 for b in batches if lengths[0][b].max() > 5)


# Padding.


@given(st.lists(st.lists(st.integers(1, 9)), min_size=1))
def test_sentences_are_padded_at_their_end_to_the_longest(sentences):
    array = sentence_batches.padded(sentences)
    longest = max(map(len, sentences))
    assert (array.dtype, array.shape) == (np.int32, (len(sentences), longest))
    for row, ids in zip(array.tolist(), sentences, strict=True):
        assert row == ids + [0] * (longest - len(ids))


# Rates.


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_a_constant_rate_stays(fraction):
    rate = Constant().rate_at(0.7, fraction, 1.0)
    assert rate == 0.7


@pytest.mark.parametrize(
    ("fraction", "share"),
    [
        (0.0, 1.0),
        (1 / 4, (2 + math.sqrt(2)) / 4),
        (1 / 3, 3 / 4),
        (1 / 2, 1 / 2),
        (2 / 3, 1 / 4),
        (1.0, 0.0),
    ],
)
def test_a_cosine_rate_falls_from_all_to_nothing(fraction, share):
    rate = Cosine().rate_at(0.8, fraction, 1.0)
    assert rate == pytest.approx(0.8 * share, abs=1e-12)
    assert type(rate) is float


@pytest.mark.parametrize(
    ("fraction", "halvings"),
    [
        # From 2/3 on, every twelfth of the training.
        (0.0, 0),
        (0.66, 0),
        (2 / 3, 0),
        (0.74, 0),  # 9/12 is 0.75.
        (0.76, 1),
        (0.83, 1),  # 10/12 is 0.8333.
        (0.84, 2),
        (0.91, 2),  # 11/12 is 0.9167.
        (0.92, 3),
        (0.999, 3),
        (1.0, 4),
    ],
)
def test_a_rate_is_halved_four_times_in_the_last_third(fraction, halvings):
    rate = Halving(2 / 3, 4).rate_at(1.0, fraction, 1.0)
    assert rate == 2.0**-halvings


@pytest.mark.parametrize(
    ("fraction", "halvings"),
    [
        # From 1/2 on, every twentieth of the training.
        (0.0, 0),
        (0.49, 0),
        (0.5, 0),
        (0.54, 0),
        (0.56, 1),
        (0.61, 2),
        (0.74, 4),
        (0.76, 5),
        (0.94, 8),
        (0.96, 9),
        (1.0, 10),
    ],
)
def test_a_rate_is_halved_ten_times_in_the_last_half(fraction, halvings):
    rate = Halving(1 / 2, 10).rate_at(3.0, fraction, 1.0)
    assert rate == 3.0 * 2.0**-halvings


@given(st.floats(0, 1), st.floats(0, 0.99), st.integers(0, 12))
def test_a_halved_rate_is_a_power_of_two_of_the_largest(fraction, start, num):
    rate = Halving(start, num).rate_at(1.0, fraction, 1.0)
    assert -math.log2(rate) in range(num + 1)
    if fraction < start or not num:
        assert rate == 1.0


@pytest.mark.parametrize(
    "schedule", [Cosine(), Halving(0.0, 3), Halving(2 / 3, 4)]
)
def test_a_rate_never_rises(schedule):
    rates = [schedule.rate_at(1.0, k / 500, 1.0) for k in range(501)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1.0


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 100)
)
def test_sentences_of_like_length_stand_together(lengths, num_tokens):
    batches = list(sentence_batches.places_of_like_length(lengths, num_tokens))
    order = [place for batch in batches for place in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[k] for k in order] == sorted(lengths)
    for batch, after in itertools.pairwise([*batches, None]):
        longest = lengths[batch[-1]]
        assert len(batch) == 1 or len(batch) * longest <= num_tokens
        if after is not None:  # The next sentence did not fit.
            assert (len(batch) + 1) * lengths[after[0]] > num_tokens
