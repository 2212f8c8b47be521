"""Long-tailed, stratified and limited subsets."""

import json
from pathlib import Path

import numpy as np
import pytest

from fsjax.data import DataError, random, subsets

VECTOR = Path(__file__).parents[1] / "vectors" / "longtail_cifar_counts.json"
NAMES = tuple(f"c{i}" for i in range(10))


def labels_of(*counts, seed=0):
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(labels).astype(np.int32)


def test_longtail_counts_are_those_of_the_vector():
    expected = json.loads(VECTOR.read_text())["expected"]
    for ratio, total in zip((100, 50, 10), expected["cifar10_sums"], strict=True):
        counts = subsets.longtail_counts(5000, num_classes=10, ratio=ratio)
        assert counts == expected[f"cifar10_ratio{ratio}"] and sum(counts) == total
    first, last, total = expected["cifar100_ratio100_first5_last5_sum"]
    counts = subsets.longtail_counts(500, num_classes=100, ratio=100)
    assert (counts[:5], counts[-5:], sum(counts)) == (first, last, total)
    for ratio in (50, 10):
        counts = subsets.longtail_counts(500, num_classes=100, ratio=ratio)
        assert sum(counts) == expected[f"cifar100_ratio{ratio}_sum"]


def test_longtail_draws_without_replacement_by_seed():
    labels = labels_of(*[200] * 10)
    kept = [subsets.longtail(labels, ratio=20, class_names=NAMES, seed=seed) for seed in (0, 0, 1)]
    assert len(set(kept[0])) == len(kept[0])
    counts = np.bincount(labels[kept[0]]).tolist()
    assert counts == subsets.longtail_counts(200, num_classes=10, ratio=20)
    np.testing.assert_array_equal(kept[0], kept[1])
    assert set(kept[0]) != set(kept[2]) and len(kept[0]) == len(kept[2])


def test_longtail_starts_from_the_smallest_class():
    kept = subsets.longtail(labels_of(100, 40, 70), ratio=4, class_names=NAMES[:3], seed=0)
    assert np.bincount(labels_of(100, 40, 70)[kept]).tolist() == [40, 20, 10]


def test_longtail_that_empties_a_class_is_refused():
    with pytest.raises(DataError, match=r"longtail_ratio=50 leaves class 'c\d' without.*at most 20"):
        subsets.longtail(labels_of(*[20] * 10), ratio=50, class_names=NAMES, seed=0)


def split(labels, share, seed=0):
    return subsets.stratified(
        labels, share=share, class_names=NAMES, seed=seed, stream=random.VALIDATION, field="data.validation"
    )


def test_stratified_takes_the_share_of_every_class():
    labels = labels_of(100, 51, 10, 3, 1)
    rest, part = split(labels, 0.1)
    assert sorted([*rest, *part]) == list(range(len(labels)))
    assert np.bincount(labels[part], minlength=5).tolist() == [10, 5, 1, 0, 0]
    again, other = split(labels, 0.1)[1], split(labels, 0.1, seed=1)[1]
    np.testing.assert_array_equal(part, again)
    assert set(part) != set(other)


def test_a_class_of_one_example_stays_in_training():
    rest, part = split(labels_of(10, 1), 0.6)
    assert (labels_of(10, 1)[rest] == 1).sum() == 1
    assert len(part) == 6


def test_too_large_and_too_small_shares_are_refused():
    with pytest.raises(DataError, match=r"validation=0.9 is too large: class 'c1' has 2 examples"):
        split(labels_of(100, 2), 0.9)
    with pytest.raises(DataError, match=r"validation=0.01 takes no example"):
        split(labels_of(10, 20), 0.01)


def test_limit_is_even_over_the_classes():
    labels = labels_of(100, 50, 3)
    kept = subsets.limited(labels, limit=31, num_classes=3, seed=0)
    assert np.bincount(labels[kept]).tolist() == [14, 14, 3]
    assert len(set(kept)) == 31
    np.testing.assert_array_equal(kept, subsets.limited(labels, limit=31, num_classes=3, seed=0))
    assert set(kept) != set(subsets.limited(labels, limit=31, num_classes=3, seed=1))
