"""How a contrastive loss would see features: uniformity, tolerance, and hardness, all of features at length 1.

Wang and Isola 2020, "Understanding contrastive representation learning through alignment and uniformity on the
hypersphere" (uniformity); Wang and Liu 2021, "Understanding the behaviour of contrastive loss" (tolerance, and the
relative penalty on negatives, which a small temperature puts on the hardest ones). See
docs/readings.md, "Geometry of features".
"""

import dataclasses

import numpy as np

from fsjax.errors import UserError
from fsjax.evaluation.analysis.neural_collapse import check_finite, directions

# Up to so many features all pairs are taken, which is 50 million; of more, so many pairs at random.
EXACT_UP_TO = 10_000
RANDOM_PAIRS = 1_000_000
# Rows of similarities, or pairs, at once.
_BLOCK = 1024
_PAIRS_AT_ONCE = 2**15
_T = 2.0


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number, and its standard error where it is of a random part of what it stands for; else 0."""

    value: float
    error: float = 0.0


def uniformity(
    features: np.ndarray, *, exact_up_to: int = EXACT_UP_TO, pairs: int = RANDOM_PAIRS, seed: int = 0
) -> Estimate:
    """`ln E exp(-2 ||f - g||^2)` over pairs of different images: how evenly features cover the sphere.

    0 where all features are one, and the lower the more evenly they lie: -4 for many that do in high dimension.

    Args:
      features: `[n, dim]`.
      exact_up_to: so many features give all their pairs; more give random ones.
      pairs: how many random ones.
      seed: of these.

    Returns:
      The uniformity; of random pairs, which are independent of each other, with its standard error (delta method).

    Raises:
      UserError: for fewer than two features, or ones that are not finite.
    """
    x = _unit(features)
    if len(x) < 2:
        raise UserError(f"uniformity is of pairs of images: {len(x)} is too few")
    if len(x) <= exact_up_to:
        total = sum(_affinities(_block_distances(x, start)).sum() for start in range(0, len(x), _BLOCK))
        # Each image with itself, at distance 0, is no pair.
        return Estimate(float(np.log((total - len(x)) / (len(x) * (len(x) - 1)))))
    rng = np.random.default_rng(seed)
    first = rng.integers(len(x), size=pairs)
    second = (first + rng.integers(1, len(x), size=pairs)) % len(x)
    found = np.concatenate(
        [
            _affinities(np.sum((x[first[part]] - x[second[part]]) ** 2, axis=1, dtype=np.float64))
            for part in (slice(start, start + _PAIRS_AT_ONCE) for start in range(0, pairs, _PAIRS_AT_ONCE))
        ]
    )
    return Estimate(float(np.log(found.mean())), float(found.std(ddof=1) / found.mean() / pairs**0.5))


def tolerance(features: np.ndarray, labels: np.ndarray) -> float:
    """Mean cosine of two different images of one class, over all such pairs; NaN where no class has two images.

    Args:
      features: `[n, dim]`.
      labels: `[n]` integers.
    """
    x = _unit(features)
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, index, x)
    # ||sum f||^2 is over all pairs of a class, and each image with itself.
    total = np.sum(sums**2) - np.sum(x**2)
    pairs = np.sum(counts.astype(np.float64) * (counts - 1))
    return float(total / pairs) if pairs else float("nan")


def relative_penalty(similarities: np.ndarray, *, tau: float) -> np.ndarray:
    """The share of each negative in the gradient that InfoNCE at temperature `tau` has from all of an image's.

    `r_ij = exp(s_ij / tau) / sum_{k != i} exp(s_ik / tau)` (Wang and Liu 2021), in float64.

    Args:
      similarities: `[..., negatives]` of one image; -inf for what is none.
      tau: temperature.

    Returns:
      The same shape; the last axis sums to 1.
    """
    scaled = np.asarray(similarities, np.float64) / tau
    exponents = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def hardness(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    tau: float = 0.2,
    share: float = 0.1,
    anchors: int = 1000,
    bank: int = EXACT_UP_TO,
    seed: int = 0,
) -> Estimate:
    """How much of the penalty on an image's negatives, those of other classes, falls on its hardest ones.

    The sum of `relative_penalty` over the `share` of the negatives that are most similar to the image, mean over
    images: `share` where all negatives are alike or the temperature is high, 1 where the hardest take all. The paper
    has the relative penalty, and that the temperature says how much of it falls on hard negatives; this number for it
    is ours.

    Args:
      features: `[n, dim]`.
      labels: `[n]` integers.
      tau: temperature.
      share: of the negatives, at least one.
      anchors: images whose negatives are looked at, at most, drawn at random.
      bank: images that negatives are taken from, at most, drawn at random.
      seed: of both draws.

    Returns:
      The hardness, with its standard error over images where these are not all; NaN where the drawn part has one class.

    Raises:
      UserError: for a temperature or share that cannot be, and where no image has negatives.
    """
    if not tau > 0 or not 0 < share <= 1:
        raise UserError(
            f"hardness at temperature {tau:g} of a share of {share:g}: must be above 0, and the share in (0, 1]"
        )
    x, labels, rng = _unit(features), np.asarray(labels), np.random.default_rng(seed)
    if len(np.unique(labels)) < 2:
        raise UserError("hardness is of images of other classes: there is one class only")
    chosen = np.sort(rng.permutation(len(x))[:bank])
    anchored = chosen if len(chosen) <= anchors else np.sort(rng.permutation(chosen)[:anchors])
    found = []
    for start in range(0, len(anchored), _BLOCK):
        rows = anchored[start : start + _BLOCK]
        negative = labels[rows, None] != labels[chosen]
        found.append(_hardest(np.where(negative, x[rows] @ x[chosen].T, -np.inf), negative.sum(axis=1), tau, share))
    values = np.concatenate(found)
    if len(values) < 2:  # of a part that by chance holds one class only
        return Estimate(float("nan"))
    error = values.std(ddof=1) / len(values) ** 0.5 if len(anchored) < len(x) else 0.0
    return Estimate(float(values.mean()), float(error))


def _hardest(similarities: np.ndarray, counts: np.ndarray, tau: float, share: float) -> np.ndarray:
    """Penalty of each row's hardest negatives `[rows]`, given how many it has."""
    kept = counts > 0
    penalty = np.sort(relative_penalty(similarities[kept], tau=tau), axis=1)[:, ::-1].cumsum(axis=1)
    hardest = np.maximum(np.ceil(share * counts[kept] - 1e-9).astype(int), 1)
    return penalty[np.arange(len(penalty)), hardest - 1]


def _unit(features: np.ndarray) -> np.ndarray:
    """Features at length 1, float32 as they come of a network, float64 if they are."""
    x = np.asarray(features)
    x = x if x.dtype == np.float64 else x.astype(np.float32)
    check_finite(x)
    return directions(x)


def _block_distances(x: np.ndarray, start: int) -> np.ndarray:
    """Squared distances of some rows from all."""
    squares, rows = np.sum(x**2, axis=1), slice(start, start + _BLOCK)
    return squares[rows, None] + squares - 2 * (x[rows] @ x.T)


def _affinities(squared: np.ndarray | np.float64) -> np.ndarray:
    return np.exp(-_T * np.maximum(squared, 0), dtype=np.float64)
