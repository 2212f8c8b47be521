"""The sampler inside a jit, against that of NumPy, which is checked against whole shuffles."""

import functools

import jax
import numpy as np
import pytest

from fsjax import device_data
from fsjax.data import EpisodeSpec, class_table, draw_episodes
from fsjax.data import random as host_random
from fsjax.device_data import random


def table_of(classes, least, most):
    rng = np.random.default_rng(classes)
    counts = rng.integers(least, most + 1, classes)
    return class_table(rng.permutation(np.repeat(np.arange(classes), counts)), classes)


SPECS = [
    (EpisodeSpec(5, 5, 15), table_of(20, 20, 60)),
    (EpisodeSpec(5, 1, 15), table_of(5, 16, 16)),
    (EpisodeSpec(2, 3, 0), table_of(4, 3, 5)),
    (EpisodeSpec((5, 10), (1, 5), (5, 15)), table_of(12, 20, 60)),
    (EpisodeSpec((2, 7), 1, (0, 2)), table_of(9, 3, 4)),
    (EpisodeSpec(100, 1, 2), table_of(130, 3, 20)),
    (EpisodeSpec(2, 60, 40), table_of(3, 100, 140)),
]


@functools.partial(jax.jit, static_argnames=("spec", "count"))
def draw(table, start, seed, *, spec, count):
    return device_data.draw_episodes(table, spec, seed=seed, start=start, count=count)


def assert_equal(given, episodes):
    for array, name in zip(given, ("classes", "support", "query"), strict=True):
        assert array.dtype == np.int32
        np.testing.assert_array_equal(array, getattr(episodes, name))


@pytest.mark.parametrize(("spec", "table"), SPECS, ids=lambda v: str(v) if isinstance(v, EpisodeSpec) else "")
def test_episodes_are_those_of_numpy(spec, table):
    for seed, start in ((0, 0), (2**40 + 9, 2**31 + 5)):
        words = np.array(host_random.key(seed), np.uint32)
        given = draw(table, np.uint32(start), words, spec=spec, count=6)
        assert_equal(given, draw_episodes(table, spec, seed=seed, start=start, count=6))


def test_arguments_may_be_known_to_the_compiler():
    spec, table = SPECS[0]
    given = jax.jit(lambda: device_data.draw_episodes(table, spec, seed=-7, start=3, count=4))()
    assert_equal(given, draw_episodes(table, spec, seed=-7, start=3, count=4))


def test_episodes_may_be_drawn_chunk_by_chunk():
    spec, table = SPECS[0]

    def chunk(start):
        return device_data.draw_episodes(table, spec, seed=1, start=start, count=5)

    chunks = jax.jit(lambda: jax.lax.map(chunk, np.arange(10, 30, 5, dtype=np.int32)))()
    given = [array.reshape(20, *array.shape[2:]) for array in chunks]
    assert_equal(given, draw_episodes(table, spec, seed=1, start=10, count=20))


def test_the_generator_is_that_of_numpy():
    rng = np.random.default_rng(0)
    key, x0, x1 = rng.integers(0, 2**32, (3, 100), np.uint32)
    pair = tuple(map(int, key[:2]))
    for given, expected in zip(random.threefry2x32(pair, x0, x1), host_random.threefry2x32(pair, x0, x1), strict=True):
        np.testing.assert_array_equal(given, expected)
    assert tuple(map(int, random.fold(pair, 2**32 - 3))) == host_random.fold(pair, 2**32 - 3)
    bounds = rng.integers(1, 2**31, 100)
    np.testing.assert_array_equal(random.below(x0, bounds), host_random.below(x0, bounds))
