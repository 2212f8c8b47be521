"""Neural collapse: do the features of a class come together, and do classes and classifier take a symmetric form?

Papyan, Han and Donoho 2020, "Prevalence of neural collapse during the terminal phase of deep learning training", NC1 to
NC4. For unbalanced data and classifiers without a bias, Dang et al. 2023 ("Neural collapse in deep linear networks:
from balanced to imbalanced data") find orthogonal class vectors of unequal lengths instead of a simplex.
"""

import dataclasses

import numpy as np

from fsjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Frame:
    """The form of one vector per class, the class means or the rows of a classifier (NC2).

    Attributes:
      norms: standard deviation of the lengths over their mean; 0 where all are of one length. Of class means: of their
        differences to their own mean.
      simplex: mean over pairs of classes of |cos + 1/(K-1)|, of the same vectors as `norms`; 0 for a simplex.
      orthogonal: mean over pairs of |cos|, of the vectors as they are: class means from the origin, for vectors that
        sum to 0 cannot be orthogonal. 0 for an orthogonal frame, whatever its lengths.

    A vector of 0 is at a right angle to all others; where all vectors are 0, there is no form: NaN.
    """

    norms: float
    simplex: float
    orthogonal: float


@dataclasses.dataclass(frozen=True)
class NeuralCollapse:
    """NC1 to NC4; all are 0 at collapse.

    Attributes:
      nc1: `tr(S_W S_B^+) / K`: the scatter of images about their class means (S_W, the mean over images), in units of
        that of the class means about theirs (S_B, the mean over classes), in the directions that the latter have.
        Infinite where all class means are the same point, NaN where all features are.
      means: NC2 of the class means.
      weights: NC2 of the classifier; None without one.
      nc3: `||W/||W|| - M/||M||||^2` (Frobenius), M the class means less their mean; 0 where the classifier is M but for
        its length, 2 where the two have nothing to do with each other, NaN where one is 0; None without a classifier.
      nc4: share of the images that the classifier does not give to the class of the nearest mean (Euclidean); None
        where nothing is predicted.
      images, classes: how many; classes without images are left out of all but the predictions.
    """

    nc1: float
    means: Frame
    weights: Frame | None
    nc3: float | None
    nc4: float | None
    images: int
    classes: int


def neural_collapse(
    features: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    predicted: np.ndarray | None = None,
) -> NeuralCollapse:
    """NC1 to NC4 of features (Papyan et al. 2020; docs/readings.md, "Geometry of features"); in float64.

    Args:
      features: `[n, dim]`, the last ones, which the classifier sees.
      labels: `[n]` integers.
      weights: `[num_classes, dim]`, one row per class, of a linear classifier.
      predicted: `[n]`, the labels that the classifier gives; None: none, and there is no NC4.

    Raises:
      UserError: for fewer than two classes with images, and for features that are not finite.
    """
    x, labels = np.asarray(features, np.float64), np.asarray(labels)
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise UserError(f"neural collapse is of at least 2 classes; these {len(x)} images are of {len(classes)}")
    check_finite(x)
    means = np.zeros((len(classes), x.shape[1]))
    np.add.at(means, index, x)
    means /= counts[:, None]
    centred = means - means.mean(axis=0)
    nc3, of_weights = None, None
    if weights is not None:
        rows = np.asarray(weights, np.float64)[classes]
        of_weights = frame(rows, rows)
        nc3 = float(np.sum((_at_norm_1(rows) - _at_norm_1(centred)) ** 2))
    nc4 = None if predicted is None else float(np.mean(predicted != classes[_nearest(x, means)]))
    rounding = _rounding(features, x, int(counts.max()))
    nc1 = _relative_scatter(x - means[index], centred, rounding)
    return NeuralCollapse(nc1, frame(centred, means), of_weights, nc3, nc4, len(x), len(classes))


def frame(centred: np.ndarray, vectors: np.ndarray) -> Frame:
    """NC2 of vectors `[classes, dim]` that are compared with a simplex, and of those compared with orthogonal ones."""
    norms = np.linalg.norm(centred, axis=1)
    spread = float(norms.std() / norms.mean()) if norms.any() else float("nan")
    return Frame(spread, _distance_from(centred, -1 / (len(centred) - 1)), _distance_from(vectors, 0.0))


def check_finite(features: np.ndarray) -> None:
    """Raise a `UserError` that counts the features `[n, dim]` that are not finite."""
    infinite = int(np.sum(~np.isfinite(features).all(axis=1)))
    if infinite:
        raise UserError(f"{infinite} of {len(features)} features are not finite: there is no geometry of them")


def directions(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[n, dim]` at length 1; zeros stay zeros, at a right angle to everything."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)


def _distance_from(vectors: np.ndarray, cosine: float) -> float:
    """Mean over pairs of how far their cosine is from this one; NaN for vectors that are all 0."""
    if not vectors.any():
        return float("nan")
    unit = directions(vectors)
    return float(np.mean(np.abs((unit @ unit.T)[~np.eye(len(unit), dtype=bool)] - cosine)))


def _at_norm_1(matrix: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(matrix)
    return matrix / norm if norm else np.full_like(matrix, np.nan)


def _rounding(features: np.ndarray, x: np.ndarray, count: int) -> float:
    """How far a mean of `count` features may be off: some units in the last place of what was given, for a large one.

    It is in proportion to the features themselves, not to what is left of them when their mean is taken away.
    """
    given = np.asarray(features).dtype
    unit = np.finfo(given if np.issubdtype(given, np.floating) else np.float64).eps
    # A sum of float64 walks off by the root of its terms; of float32 features, their own rounding is the larger.
    return float(4 * max(unit, np.finfo(np.float64).eps * np.sqrt(count)) * np.abs(x).max(initial=0.0))


def _relative_scatter(deviations: np.ndarray, centred: np.ndarray, rounding: float) -> float:
    """`tr(S_W S_B^+) / K` of deviations `[n, dim]` from class means, `centred` `[K, dim]`, known up to `rounding`.

    With the singular values s and directions v of the class means, it is the mean over images of the sum over
    directions of `(deviation · v / s)^2`: no matrix of dim x dim is made.
    """
    classes, dim = centred.shape
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    # K centred means have K - 1 directions at most. Of those, some are rounding errors: entries of that size make
    # singular values up to about this one.
    real = singular > rounding * (np.sqrt(classes) + np.sqrt(dim))
    real[classes - 1 :] = False
    if not real.any():
        return float("inf") if np.abs(deviations).max(initial=0.0) > rounding else float("nan")
    along = deviations @ (rows[real].T / singular[real])
    return float(np.sum(along**2) / len(deviations))


def _nearest(x: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The nearest of the means `[classes, dim]` to each feature, `[n]`."""
    # About the mean of the means, or what the features have in common would cost digits.
    origin = means.mean(axis=0)
    x, means = x - origin, means - origin
    return np.argmin(np.sum(means**2, axis=1) - 2 * x @ means.T, axis=1)
