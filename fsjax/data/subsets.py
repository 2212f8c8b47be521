"""Which examples of a split are used: long-tailed, stratified and limited subsets, as index arrays.

All work on the labels alone, draw without replacement, and return sorted positions, so that the order of the
data on disk is kept.
"""

from collections.abc import Sequence

import numpy as np

from fsjax.data import random
from fsjax.data.errors import DataError


def longtail_counts(largest: int, *, num_classes: int, ratio: float) -> list[int]:
    """Examples a class of a long-tailed set: `int(largest · (1/ratio)^(i/(C-1)))` (docs/readings.md, "Long tails")."""
    return [int(largest * (1 / ratio) ** (i / (num_classes - 1))) for i in range(num_classes)]


def longtail(labels: np.ndarray, *, ratio: float, class_names: Sequence[str], seed: int) -> np.ndarray:
    """Positions of a long-tailed subset: class 0 keeps the most, the last class 1/ratio of that.

    The largest class has as many examples as the smallest class of `labels`, so that every class has enough.

    Raises:
      DataError: where a class would be left without examples.
    """
    members = _members(labels, len(class_names))
    largest = min(len(m) for m in members)
    counts = longtail_counts(largest, num_classes=len(class_names), ratio=ratio)
    if counts[-1] == 0:
        empty = counts.index(0)
        raise DataError(
            f"data.longtail_ratio={ratio:g} leaves class {class_names[empty]!r} without examples: the "
            f"smallest class has {largest}, which allows a ratio of at most {largest}"
        )
    kept = [_draw(m, n, random.LONGTAIL, c, seed) for c, (m, n) in enumerate(zip(members, counts, strict=True))]
    return np.sort(np.concatenate(kept))


def stratified(
    labels: np.ndarray, *, share: float, class_names: Sequence[str], seed: int, stream: int, field: str
) -> tuple[np.ndarray, np.ndarray]:
    """Two parts of a split: what stays, and a share of every class, rounded (a half up).

    A class of one example stays whole.

    Args:
      labels: `[n]` integer labels.
      share: in (0, 1).
      class_names: names of the classes, for the messages.
      seed: of the choice.
      stream: of `fsjax.data.random`, what the choice is for.
      field: of the config, for the messages.

    Raises:
      DataError: where a class of several examples would lose all of them, or nothing would be taken.
    """
    taken = []
    for c, members in enumerate(_members(labels, len(class_names))):
        count = int(share * len(members) + 0.5) if len(members) > 1 else 0
        if count and count == len(members):
            raise DataError(
                f"{field}={share:g} is too large: class {class_names[c]!r} has {len(members)} examples, and "
                "none of them would be left for training"
            )
        taken.append(_draw(members, count, stream, c, seed))
    part = np.sort(np.concatenate(taken))
    if not len(part):
        raise DataError(f"{field}={share:g} takes no example of any class: they have too few; raise it, or set it to 0")
    rest = np.setdiff1d(np.arange(len(labels)), part, assume_unique=True)
    return rest, part


def limited(labels: np.ndarray, *, limit: int, num_classes: int, seed: int) -> np.ndarray:
    """Positions of at most `limit` examples, as evenly over the classes as their sizes allow."""
    shuffled = [_draw(m, len(m), random.LIMIT, c, seed) for c, m in enumerate(_members(labels, num_classes))]
    rank = np.concatenate([np.arange(len(m)) for m in shuffled])
    # Stable: among equal ranks the classes follow each other.
    order = np.argsort(rank, kind="stable")[:limit]
    return np.sort(np.concatenate(shuffled)[order])


def _members(labels: np.ndarray, num_classes: int) -> list[np.ndarray]:
    return [np.flatnonzero(labels == c) for c in range(num_classes)]


def _draw(members: np.ndarray, count: int, stream: int, label: int, seed: int) -> np.ndarray:
    """`count` of the members without replacement, in random order, by (seed, stream, class)."""
    order = random.permutation(random.fold(random.key(seed), stream, label), len(members))
    return members[order[:count]]
