"""Random numbers that are a function of a key and a counter, the same in NumPy as they would be inside a jit.

Every random decision about data (order, crops, flips, mixing) is drawn from here, so that the data of step i
depend on (seed, i) alone, on any number of processes, and another backend can draw the very same decisions.
`fold(key(seed), n)` equals the data of `jax.random.fold_in(jax.random.key(seed), n)`.
"""

import functools

import numpy as np

Key = tuple[int, int]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_WORD = 0xFFFFFFFF

# Streams: what a draw is for, folded into the seed. The numbers are part of the data of a run: never reuse
# one.
ORDER, CROP, FLIP, MIX, PARTNER, VALIDATION, LONGTAIL, LIMIT, TEST, STATISTICS, FAKE = range(11)
EPISODE, CLASSES, HOLDOUT, RECONSTRUCTED, RECONSTRUCTED_IMAGES = range(11, 16)
PLANTED, ROTATE, JITTER, LIGHTING, SESSIONS, LABEL_NOISE, CUTOUT, DRAWINGS = range(16, 24)


def threefry2x32(key: Key, x0: np.ndarray, x1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

    Args:
      key: two 32-bit words.
      x0, x1: uint32 arrays of one shape and at least one dimension, the two words of each counter.

    Returns:
      Two uint32 arrays of that shape.
    """
    words = [np.uint32(key[0]), np.uint32(key[1]), np.uint32(key[0] ^ key[1] ^ 0x1BD11BDA)]
    x0 = np.asarray(x0, np.uint32) + words[0]
    x1 = np.asarray(x1, np.uint32) + words[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation)))
        x0 = x0 + words[(group + 1) % 3]
        x1 = x1 + words[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def key(seed: int) -> Key:
    """The key of a seed: its two 32-bit halves, as `jax.random.key` has them."""
    return (seed >> 32) & _WORD, seed & _WORD


def fold(base: Key, *data: int) -> Key:
    """A new key from a key and integers below 2**64, folded in one after the other."""
    for number in data:
        base = _threefry_of_one(base, *key(int(number)))
    return base


def _threefry_of_one(key: Key, x0: int, x1: int) -> Key:
    """`threefry2x32` of one counter: on integers, since NumPy takes ten times as long to be called."""
    words = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x0, x1 = (x0 + words[0]) & _WORD, (x1 + words[1]) & _WORD
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = (x0 + x1) & _WORD
            x1 = x0 ^ ((x1 << rotation) & _WORD | x1 >> (32 - rotation))
        x0 = (x0 + words[(group + 1) % 3]) & _WORD
        x1 = (x1 + words[(group + 2) % 3] + group + 1) & _WORD
    return x0, x1


def bits(base: Key, counters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two independent uint32 draws for each counter (integers from 0 below 2**64)."""
    counters = np.asarray(counters).astype(np.uint64)
    return threefry2x32(base, (counters >> np.uint64(32)).astype(np.uint32), counters.astype(np.uint32))


def uniform(words: np.ndarray) -> np.ndarray:
    """float32 in [0, 1) from the upper 24 bits of uint32 words."""
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def below(words: np.ndarray, bound: int | np.ndarray) -> np.ndarray:
    """int32 in [0, bound) from uint32 words; the remainder, so the bias is under bound / 2**32."""
    return (words % np.asarray(bound, np.uint32)).astype(np.int32)


def permutation(base: Key, size: int) -> np.ndarray:
    """A permutation of `range(size)`, int64: the stable argsort of one 32-bit draw an element."""
    return np.argsort(bits(base, np.arange(size))[0], kind="stable")


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """The order in which an epoch visits `size` examples; cached, and not to be written to."""
    order = permutation(fold(key(seed), ORDER, epoch), size)
    order.flags.writeable = False
    return order
