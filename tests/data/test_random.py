"""The counter-based generator, against jax's own and against what random numbers must look like."""

import jax
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from fsjax.data import random


def test_threefry_is_that_of_jax():
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**32, (3, 2, 50), np.uint32)
    for x0, x1 in words:
        key = int(x0[0]), int(x1[0])
        expected = threefry_2x32(np.array(key, np.uint32), np.concatenate([x0, x1]))
        np.testing.assert_array_equal(np.concatenate(random.threefry2x32(key, x0, x1)), expected)


def test_threefry_known_answer():
    # The published test vector of Random123 for 20 rounds.
    key, counter = (0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3)
    x0, x1 = random.threefry2x32(key, np.array(counter[:1], np.uint32), np.array(counter[1:], np.uint32))
    assert (x0[0], x1[0]) == (0xC4923A9C, 0x483DF7A0)


@pytest.mark.parametrize("seed", [0, 1, 2**31 + 5])
@pytest.mark.parametrize("data", [0, 7, 2**32 - 1])
def test_fold_is_fold_in(seed, data):
    expected = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), np.uint32(data))
    assert random.fold(random.key(seed), data) == tuple(map(int, jax.random.key_data(expected)))


def test_seeds_and_counters_beyond_32_bits_differ():
    keys = {random.fold(random.key(seed), 3) for seed in (5, 5 + 2**32, -5)}
    assert len(keys) == 3
    first, second = random.bits(random.key(0), np.array([1, 1 + 2**32]))
    assert first[0] != first[1] and second[0] != second[1]


def test_draws_do_not_depend_on_their_neighbours():
    base = random.fold(random.key(3), random.CROP)
    whole = random.bits(base, np.arange(100))
    part = random.bits(base, np.arange(40, 60))
    np.testing.assert_array_equal(np.array(whole)[:, 40:60], part)


def test_uniform_and_below_are_uniform():
    words = random.bits(random.key(0), np.arange(100_000))[0]
    drawn = random.uniform(words)
    assert drawn.dtype == np.float32 and 0 <= drawn.min() and drawn.max() < 1
    assert random.uniform(np.array([2**32 - 1], np.uint32))[0] < 1
    assert abs(drawn.mean() - 0.5) < 0.005 and abs(drawn.var() - 1 / 12) < 0.002
    counts = np.bincount(random.below(words, 9), minlength=9)
    assert len(counts) == 9 and np.abs(counts / 100_000 - 1 / 9).max() < 0.005


def test_permutation_is_one_and_ties_keep_their_order():
    order = random.permutation(random.key(1), 1000)
    assert sorted(order) == list(range(1000)) and (order != np.arange(1000)).any()
    words = random.bits(random.key(1), np.arange(1000))[0]
    assert order.tolist() == sorted(range(1000), key=lambda i: (words[i], i))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [random.epoch_order(seed, epoch, 200) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
