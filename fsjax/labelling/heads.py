"""Heads: what is made of the features of a few labelled pictures, and how well each does on pictures left out.

All take the features that prototypes are means of. Copies of a picture count once. Of so few pictures in so many
dimensions a head is as good as its regularisation, so each is tested as it is used: by pictures left out.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from fsjax.errors import unknown
from fsjax.evaluation.neural_collapse import directions

# Scores `[m, classes]` of features `[m, dim]`, and the function that a head is fitted to.
Scores = Callable[[np.ndarray], np.ndarray]

# More pictures than this are left out in ten parts, not one by one; a logistic regression takes longer.
_ONE_BY_ONE = {"centred": 400, "naive_bayes": 400, "logistic": 20}
_PARTS = 10
# Of ridge regression, in units of the mean squared length of the features about their mean.
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Of logistic regression on features of length 1: the inverse of the penalty, as scikit-learn has it.
_INVERSE_PENALTY = 10.0
# Of naive Bayes: the variances of a few pictures are moved half the way to their mean.
_SHRINKAGE = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """A fitted head.

    Attributes:
      name: of `HEADS`.
      scores: float64 `[m, classes]` of features `[m, dim]`; the largest is the prediction.
      held_out: float64 `[n, classes]`, the scores of each labelled picture by the head fitted without it; of copies,
        and of the only picture of a class, they mean nothing.
    """

    name: str
    scores: Scores
    held_out: np.ndarray


def fit_head(name: str, features: np.ndarray, labels: np.ndarray, num_classes: int, *, copies: np.ndarray) -> Head:
    """Fit a head, and score each picture by one that was fitted without it.

    Args:
      name: of `HEADS`.
      features: `[n, dim]`.
      labels: ints `[n]`, 0 .. num_classes - 1; every class has one.
      num_classes: at least two.
      copies: see `fsjax.labelling.held_out.first_copies`.

    Raises:
      UserError: for an unknown name.
    """
    if name not in HEADS:
        raise unknown("head", name, HEADS)
    (own,) = np.nonzero(copies == np.arange(len(labels)))
    x, y = np.asarray(features, np.float64)[own], labels[own]
    held_out = np.full((len(labels), num_classes), np.nan)
    if name == "ridge":
        scores, held_out[own] = _ridge(x, y, num_classes)
        return Head(name, scores, held_out)
    fit = _FITS[name]
    held_out[own] = _left_out(fit, x, y, num_classes, _ONE_BY_ONE[name])
    return Head(name, fit(x, y, num_classes), held_out)


def _left_out(
    fit: Callable[[np.ndarray, np.ndarray, int], Scores], x: np.ndarray, y: np.ndarray, num_classes: int, most: int
) -> np.ndarray:
    """Scores `[n, classes]` of each by a fit without it, or without the tenth of each class that it is in."""
    found = np.full((len(x), num_classes), np.nan)
    rank = np.array([np.sum(y[:i] == y[i]) for i in range(len(y))])
    parts = np.arange(len(y)) if len(y) <= most else rank % _PARTS
    parts[np.bincount(y, minlength=num_classes)[y] == 1] = -1  # a class cannot spare its only picture
    for part in np.unique(parts[parts >= 0]):
        out = parts == part
        found[out] = fit(x[~out], y[~out], num_classes)(x[out])
    return found


def class_means(x: np.ndarray, y: np.ndarray, num_classes: int) -> np.ndarray:
    """Means `[classes, dim]` of vectors `[n, dim]` by class."""
    means = np.zeros((num_classes, x.shape[1]))
    np.add.at(means, y, x)
    return means / np.bincount(y, minlength=num_classes)[:, None]


def _centred(x: np.ndarray, y: np.ndarray, num_classes: int) -> Scores:
    """Cosine to prototypes of features less their mean over the pictures (SimpleShot's CL2N, Wang et al. 2019).

    SimpleShot's mean is of the base classes; here that of the pictures at hand stands for it, each class's share alike.
    """
    centre = class_means(x, y, num_classes).mean(axis=0)
    prototypes = directions(class_means(directions(x - centre), y, num_classes))
    return lambda queries: directions(queries - centre) @ prototypes.T


def _ridge(x: np.ndarray, y: np.ndarray, num_classes: int) -> tuple[Scores, np.ndarray]:
    """Ridge regression of the classes, one-hot, on features of length 1, with a free intercept.

    A fit without one picture need not be made: its residual is that of the whole fit over 1 - H_ii, H the matrix that
    makes fitted values of the targets (Allen 1974). The penalty is the one with the least such squared error.
    """
    x = directions(x)
    mean, target = x.mean(axis=0), np.eye(num_classes)[y]
    centred, shares = x - mean, target.mean(axis=0)
    gram = centred @ centred.T
    values, vectors = np.linalg.eigh(gram)
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for penalty in np.array(_PENALTIES) * max(np.trace(gram) / len(x), np.finfo(float).tiny):
        inverse = (vectors / (np.maximum(values, 0) + penalty)) @ vectors.T
        weights = inverse @ (target - shares)
        hat = np.diag(gram @ inverse) + 1 / len(x)
        fitted = gram @ weights + shares
        without = target - (target - fitted) / np.maximum(1 - hat, 1e-9)[:, None]
        error = float(np.sum((target - without) ** 2))
        if best is None or error < best[0]:
            best = error, weights, without
    assert best is not None
    kernel = centred.T @ best[1]
    return lambda queries: (directions(queries) - mean) @ kernel + shares, best[2]


def _logistic(x: np.ndarray, y: np.ndarray, num_classes: int) -> Scores:
    """Multinomial logistic regression on features of length 1, with L2 penalty, classes of equal weight."""
    from sklearn.linear_model import LogisticRegression

    # The penalty is of lengths alone, so the fit lies in the span of the pictures: n dimensions are enough.
    basis = np.linalg.qr(directions(x).T)[0]
    model = LogisticRegression(C=_INVERSE_PENALTY, class_weight="balanced", max_iter=1000, tol=1e-3).fit(
        directions(x) @ basis, y
    )

    def scores(queries: np.ndarray) -> np.ndarray:
        found = model.decision_function(directions(queries) @ basis)
        return np.stack([-found, found], axis=1) / 2 if num_classes == 2 else found

    return scores


def _naive_bayes(x: np.ndarray, y: np.ndarray, num_classes: int) -> Scores:
    """A normal a class, with one variance a dimension for all classes (`fsjax.methods.naive_bayes`), equally likely.

    How many pictures of a class were labelled says nothing of how many there are.
    """
    means = class_means(x, y, num_classes)
    variance = np.mean((x - means[y]) ** 2, axis=0)
    variance = (1 - _SHRINKAGE) * variance + _SHRINKAGE * variance.mean()
    if not variance.any():  # one picture a class: there is none to be seen, and the nearest mean is what is left
        variance = np.ones_like(variance)

    def scores(queries: np.ndarray) -> np.ndarray:
        a, b = queries / np.sqrt(variance), means / np.sqrt(variance)
        return -0.5 * (np.sum(a**2, axis=1)[:, None] - 2 * a @ b.T + np.sum(b**2, axis=1))

    return scores


_FITS = {"centred": _centred, "logistic": _logistic, "naive_bayes": _naive_bayes}
# What can be made of features, beside "prototypes", the method's own rule.
HEADS = (*_FITS, "ridge")
