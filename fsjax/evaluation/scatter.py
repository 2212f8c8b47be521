"""How tightly embeddings lie about their classes: scatter within and between classes (AFLM paper, Sec. 4.1, Fig. 4)."""

import dataclasses

import numpy as np

from fsjax.errors import UserError

# Draws of the bootstrap, and the two ends of its 95 % interval.
_DRAWS = 1000
_ENDS = (2.5, 97.5)


@dataclasses.dataclass(frozen=True, eq=False)
class Scatter:
    """The scatter of embeddings.

    Attributes:
      within: mean over the images of the squared distance to their class's mean.
      between: mean over the classes of the squared distance of their mean to the mean of the class means.
      ratio: `within / between`; small where classes are tight and far apart.
      interval: the two ends of the ratio's 95 % interval, by bootstrap over the classes.
      unbiased: the ratio without what the numbers of images and classes do to it; of base classes of 50 images beside
        novel ones of 550, compare these. Images lie close to a mean that they make themselves, and means of few images
        lie apart by chance: so `within` is over n - 1 of a class's n images, `between` over all classes but one, less
        the mean of `within / n`. Infinite where the means lie no further apart than chance would have them.
      draws: float64 `[draws]`, the ratios of the bootstrap; see `quotient`.
      images, classes: how many.
    """

    within: float
    between: float
    ratio: float
    interval: tuple[float, float]
    unbiased: float
    draws: np.ndarray
    images: int
    classes: int


def scatter(embeddings: np.ndarray, labels: np.ndarray, *, normalised: bool = True, seed: int = 0) -> Scatter:
    """The scatter of embeddings within and between their classes.

    The interval says how the ratio would vary with other classes of the kind. A draw of the bootstrap has as many
    classes, with replacement; that some are in it twice makes its `between` smaller, by (classes - 1) / classes on
    average, which is undone: the interval lies about the ratio.

    Args:
      embeddings: `[n, dim]`.
      labels: `[n]` integers.
      normalised: whether the embeddings are brought to length 1 first: the cosine, by which most methods classify,
        reads nothing else. Lengths, and with them raw scatters, differ from network to network.
      seed: of the bootstrap.

    Raises:
      UserError: for fewer than two classes, and for embeddings that are not finite.
    """
    x = np.asarray(embeddings, np.float64)
    infinite = np.sum(~np.isfinite(x).all(axis=1))
    if infinite:
        raise UserError(f"{infinite} of {len(x)} embeddings are not finite: there is no scatter of them")
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    classes = len(counts)
    if classes < 2:
        raise UserError(f"a scatter between classes needs at least 2 of them; these images are of {classes}")
    x = unit_length(x) if normalised else x
    means = np.stack([x[index == k].mean(axis=0) for k in range(classes)])
    squares = np.bincount(index, weights=np.sum((x - means[index]) ** 2, axis=1))
    within, between = (float(part[0]) for part in _weighted(np.ones((1, classes)), squares, counts, means))

    draws = np.random.default_rng(seed).multinomial(classes, np.full(classes, 1 / classes), size=_DRAWS)
    # Of few classes, some draws have one only, and nothing between.
    drawn_within, drawn_between = _weighted(draws[np.sum(draws > 0, axis=1) > 1], squares, counts, means)
    # Embeddings that are all the same have no scatter at all, and 0 / 0 says so.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = drawn_within / (drawn_between * classes / (classes - 1))
        ratio = np.float64(within) / between
    low, high = np.percentile(ratios, _ENDS)
    unbiased = _unbiased(squares.sum(), between, counts)
    return Scatter(within, between, float(ratio), (float(low), float(high)), unbiased, ratios, len(x), classes)


def unit_length(x: np.ndarray) -> np.ndarray:
    """Vectors `[n, dim]` brought to length 1; zeros stay zeros."""
    return x / np.sqrt(np.sum(x**2, axis=1, keepdims=True) + 1e-12)


def _weighted(
    weights: np.ndarray, squares: np.ndarray, counts: np.ndarray, means: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scatter within and between classes that are taken so many times each.

    Args:
      weights: `[draws, classes]`, how often each class is taken.
      squares: `[classes]`, sums over a class's images of the squared distance to its mean.
      counts: `[classes]`, images of each.
      means: `[classes, dim]`.

    Returns:
      `within`, `between`: each `[draws]`.
    """
    means = means - means.mean(axis=0)  # differences of squares of what is far from 0 would lose digits
    total = weights.sum(axis=1)
    center = weights @ means / total[:, None]
    between = weights @ np.sum(means**2, axis=1) / total - np.sum(center**2, axis=1)
    return weights @ squares / (weights @ counts), between


def _unbiased(squares: float, between: float, counts: np.ndarray) -> float:
    """The ratio without bias, see `Scatter`; NaN where every class has one image."""
    images, classes = counts.sum(), len(counts)
    if images == classes:
        return float("nan")
    within = squares / (images - classes)
    between = between * classes / (classes - 1) - within * np.mean(1 / counts)
    return float(within / between) if between > 0 else float("inf")


def quotient(first: Scatter, second: Scatter) -> tuple[float, tuple[float, float]]:
    """The ratio of one run's embeddings divided by that of another's of the same classes, with its 95 % interval.

    Which classes are drawn moves both runs' ratios alike. Paired draw by draw that cancels: the interval is narrower
    than the two ratios' own, and one that leaves out 1 tells the runs apart.

    Args:
      first, second: scatters of the same classes, in one order, with one seed.

    Raises:
      UserError: for different numbers of classes.
    """
    if first.classes != second.classes:
        raise UserError(
            f"scatters of {first.classes} and {second.classes} classes cannot be paired: compare runs on the same data"
        )
    low, high = np.percentile(first.draws / second.draws, _ENDS)
    return first.ratio / second.ratio, (float(low), float(high))
