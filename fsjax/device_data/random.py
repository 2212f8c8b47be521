"""The generator of `fsjax.data.random` for use inside a jit: the same bits, in 32-bit integers only."""

import jax
import jax.numpy as jnp

from fsjax.data import random as host_random

# Two uint32 words: the host's key, an array of them, or an array for each.
Key = host_random.Key | jax.Array | tuple[jax.Array, jax.Array]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry2x32(key: Key, x0: jax.Array, x1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011), as `fsjax.data.random.threefry2x32`.

    jax's own primitive gives the same bits, but on CPU by a loop over rounds that XLA does not fuse.

    Args:
      key: two uint32 words.
      x0, x1: uint32 arrays of shapes that broadcast, the two words of each counter.

    Returns:
      Two uint32 arrays.
    """
    first, second = (jnp.asarray(word, jnp.uint32) for word in key)
    words = (first, second, first ^ second ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = x0 + words[0], x1 + words[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << rotation) | (x1 >> (32 - rotation)))
        x0 = x0 + words[(group + 1) % 3]
        x1 = x1 + words[(group + 2) % 3] + jnp.uint32(group + 1)
    return x0, x1


def fold(base: Key, *numbers: int | jax.Array) -> Key:
    """A new key from a key and numbers below 2**32, folded in one after the other, as `fsjax.data.random.fold`."""
    for number in numbers:
        base = threefry2x32(base, jnp.uint32(0), jnp.asarray(number, jnp.uint32))
    return base


def bits(base: Key, low: jax.Array, high: int | jax.Array = 0) -> tuple[jax.Array, jax.Array]:
    """Two independent uint32 draws for each counter `high · 2**32 + low`, as `fsjax.data.random.bits`."""
    return threefry2x32(base, jnp.asarray(high, jnp.uint32), jnp.asarray(low, jnp.uint32))


def permutation(base: Key, size: int) -> jax.Array:
    """A permutation of `range(size)`, int32, as `fsjax.data.random.permutation`."""
    return jnp.argsort(bits(base, jnp.arange(size, dtype=jnp.uint32))[0], stable=True).astype(jnp.int32)


def below(words: jax.Array, bound: int | jax.Array) -> jax.Array:
    """int32 in [0, bound) from uint32 words, as `fsjax.data.random.below`."""
    return (words % jnp.asarray(bound, jnp.uint32)).astype(jnp.int32)
