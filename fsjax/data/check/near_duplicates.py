"""Pictures that look alike: a perceptual hash, and pairs of hashes that differ in a few bits.

The hash is pHash (Zauner 2010): the grey picture at 32×32, its discrete cosine transform, of that the 8×8 lowest
frequencies, and of each whether it is above their median. It survives scaling, moderate JPEG compression, and changes
of brightness and contrast; it does not see mirrored, turned or cropped copies.
"""

import numpy as np

# Two pictures look alike if at most so many of the 64 bits differ. Measured on CIFAR-100, test against training images
# (5·10⁸ pairs): 239 pairs, of which 12 (5 %) have different labels; with 8 it would be 494, of which 47 have (of any
# two pictures 99 % have). On Tiny ImageNet, 10,000 against 20,000 images: 3 pairs, all of different labels.
NEAR_BITS = 6
_SIDE, _KEPT = 32, 8
_COSINES = np.cos(np.pi * (2 * np.arange(_SIDE) + 1) * np.arange(_KEPT)[:, None] / (2 * _SIDE))
# The bits are looked up in 4 words of 16: of 6 that differ, some word has at most one.
_WORDS, _BITS = 4, 16
_AT_ONCE = 2**21


def perceptual_hash(pixels: np.ndarray) -> np.uint64:
    """The hash of a picture, uint8 `[height, width, channels]`."""
    from PIL import Image

    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    small = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    # What symmetry makes 0 must be 0, or rounding, which is each processor's own, decides half of the bits.
    frequencies = np.round((_COSINES @ np.asarray(small, np.float64) @ _COSINES.T).ravel(), 6)
    # The first is the mean brightness: far above all others, it says nothing.
    bits = frequencies > np.median(frequencies[1:])
    return np.packbits(bits).view("<u8")[0]


def nearest(queries: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each hash, one of the others that differs from it in the fewest bits, if these are at most `NEAR_BITS`.

    Args:
      queries: uint64 `[n]`.
      others: uint64 `[m]`.

    Returns:
      int64 `[n]`, its position, -1 where there is none; and int64 `[n]`, how many bits differ (65 where there is none).
    """
    own, inverse = np.unique(queries, return_inverse=True)
    distinct, first = np.unique(others, return_index=True)
    best, distance = np.full(len(own), -1, np.int64), np.full(len(own), 65, np.int64)
    for word in range(_WORDS):
        shift = np.uint64(word * _BITS)
        keys = (distinct >> shift).astype(np.uint16)
        order = np.argsort(keys, kind="stable")
        start = np.searchsorted(keys[order], np.arange(2**_BITS + 1))
        for flip in (0, *(1 << bit for bit in range(_BITS))):
            wanted = (own >> shift).astype(np.uint16) ^ np.uint16(flip)
            _closer(own, distinct, order, start[wanted], start[wanted.astype(np.int64) + 1], best, distance)
    return np.where(best < 0, -1, first[best] if len(first) else -1)[inverse], distance[inverse]


def _closer(
    own: np.ndarray,
    distinct: np.ndarray,
    order: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    best: np.ndarray,
    distance: np.ndarray,
) -> None:
    """Replace the best of each own hash by a nearer one of the distinct hashes `order[low:high]`, in place."""
    ends = np.cumsum(high - low)
    start = 0
    while start < len(own):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
        counts = (high - low)[start:stop]
        query = np.repeat(np.arange(start, stop), counts)
        offsets = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
        other = order[np.repeat(low[start:stop], counts) + offsets]
        bits = np.bitwise_count(own[query] ^ distinct[other]).astype(np.int64)
        near = bits <= NEAR_BITS
        # The nearest comes last, and stays.
        ranked = np.flatnonzero(near)[np.argsort(-bits[near], kind="stable")]
        query, other, bits = query[ranked], other[ranked], bits[ranked]
        nearer = bits < distance[query]
        best[query[nearer]], distance[query[nearer]] = other[nearer], bits[nearer]
        start = stop
