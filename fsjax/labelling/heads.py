"""What is made of a few features of each class: classifiers of a frozen network's features, fitted in closed form or by
scikit-learn, and what each says of pictures that are left out.

All but the prototypes are linear in features of length 1. Classes count alike, however many pictures they have: nobody
knows how often each will be asked for.
"""

import dataclasses
import warnings

import numpy as np

from fsjax.errors import UserError, unknown
from fsjax.evaluation.analysis.scatter import unit_length

# In the order in which they are tried; "prototypes" is the run's own rule, "centred" the cosine to prototypes less
# their mean, see `fsjax.labelling.held_out`.
HEADS = ("prototypes", "centred", "ridge", "logistic", "naive_bayes")
LINEAR = ("ridge", "logistic", "naive_bayes")
AUTO, PROTOTYPES = "auto", "prototypes"
# For features of length 1. Chosen on photographs of birds and of everyday objects: a third and three times as much
# move accuracy by 0.3 points or less.
_RIDGE, _LOGISTIC = 0.1, 10.0
# Naive Bayes' variances, halfway to their mean: there are few pictures.
_SHRINKAGE = 0.5
# More pictures than this are left out a tenth of each class at a time, not one by one.
_EACH, _FOLDS = {"logistic": 100, "naive_bayes": 400}, 10


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """Scores of features, linear in the features at length 1.

    Attributes:
      weights: float64 `[classes, dim]`.
      bias: float64 `[classes]`.
    """

    weights: np.ndarray
    bias: np.ndarray

    def scores(self, features: np.ndarray) -> np.ndarray:
        """float64 `[n, classes]` of features `[n, dim]`."""
        return unit_length(features) @ self.weights.T + self.bias


def check_head(name: str, *, implants: bool) -> None:
    """Raise a `UserError` for an unknown head, and for one that does not go with implants."""
    if name not in (AUTO, *HEADS):
        raise unknown("head", name, (AUTO, *HEADS))
    if implants and name not in (AUTO, PROTOTYPES):
        raise UserError(f"the head {name!r} with implants, which are trained for prototypes: leave one of them out")


def fit(name: str, features: np.ndarray, labels: np.ndarray, num_classes: int) -> Linear:
    """A linear head.

    Args:
      name: of `LINEAR`.
      features: `[n, dim]`; every class has some.
      labels: ints `[n]`, 0 .. num_classes - 1.
      num_classes: at least two.
    """
    x = unit_length(features)
    if name == "ridge":
        _, alpha, _ = _ridge_solved(x, labels, num_classes)
        return Linear(alpha[:-1].T @ x, alpha[-1])
    if name == "naive_bayes":
        return _naive_bayes(x, labels, num_classes)
    basis, coordinates = _reduced(x)
    of_coordinates = _logistic(coordinates, labels, num_classes)
    return Linear(of_coordinates.weights @ basis, of_coordinates.bias)


def left_out(name: str, features: np.ndarray, labels: np.ndarray, num_classes: int, copies: np.ndarray) -> np.ndarray:
    """Scores of each picture by a linear head that is fitted without it and its copies, float64 `[n, classes]`.

    Args:
      name, features, labels, num_classes: see `fit`.
      copies: see `fsjax.labelling.held_out.first_copies`.

    Returns:
      NaN for a picture whose class has no other.
    """
    x = unit_length(features)
    folds = _folds(labels, num_classes, copies, most=_EACH.get(name, len(labels)))
    scores = np.full((len(labels), num_classes), np.nan)
    if name == "ridge":
        inverse, alpha, targets = _ridge_solved(x, labels, num_classes)
        for fold in np.unique(folds[folds >= 0]):
            (out,) = np.nonzero(folds == fold)
            scores[out] = _ridge_without(out, inverse, alpha, targets)
        return scores
    x = _reduced(x)[1] if name == "logistic" else x
    fit_to = _logistic if name == "logistic" else _naive_bayes
    for fold in np.unique(folds[folds >= 0]):
        out = folds == fold
        linear = fit_to(x[~out], labels[~out], num_classes)
        scores[out] = x[out] @ linear.weights.T + linear.bias
    return scores


def _folds(labels: np.ndarray, num_classes: int, copies: np.ndarray, *, most: int) -> np.ndarray:
    """By which fit each picture is scored, ints `[n]`; -1 for what its class cannot spare. Copies go together.

    Of at most `most` different pictures each has its own; of more, there is a fit for each tenth of every class.
    """
    first = np.unique(copies)
    of_first = labels[first]
    folds = np.arange(len(first))
    if len(first) > most:
        rank = np.zeros(len(first), int)
        for label in range(num_classes):
            (own,) = np.nonzero(of_first == label)
            rank[own] = np.arange(len(own))
        folds = rank % _FOLDS
    folds[np.bincount(of_first, minlength=num_classes)[of_first] == 1] = -1
    return folds[np.searchsorted(first, copies)]


def _ridge_solved(x: np.ndarray, labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The dual system's inverse `[n + 1, n + 1]`, its last row the bias, solution, and targets `[n, classes]`.

    Weighted squares of the differences from 1 and -1, so that classes count alike, and the weights' squares; the bias
    is free (Suykens et al. 2002, Least squares support vector machines, Sec. 3.2).
    """
    counts = np.bincount(labels, minlength=num_classes)
    of_each = counts[labels] * num_classes / len(labels)
    system = np.ones((len(x) + 1, len(x) + 1))
    system[:-1, :-1] = x @ x.T + np.diag(_RIDGE * of_each)
    system[-1, -1] = 0
    inverse, targets = np.linalg.inv(system), 2.0 * (labels[:, None] == np.arange(num_classes)) - 1
    return inverse, inverse @ np.vstack([targets, np.zeros((1, num_classes))]), targets


def _ridge_without(out: np.ndarray, inverse: np.ndarray, alpha: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """What the fit without some pictures says of them, in closed form.

    Of a group I the differences are (A⁻¹)_II⁻¹ α_I (Cawley 2006, "Leave-one-out cross-validation based model selection
    criteria for weighted LS-SVMs", Eq. 8, there of one picture).
    """
    return targets[out] - np.linalg.solve(inverse[np.ix_(out, out)], alpha[out])


def _naive_bayes(x: np.ndarray, labels: np.ndarray, num_classes: int) -> Linear:
    """A normal for each class with the variances of all (see `fsjax.methods.naive_bayes`), and equal priors."""
    sums = np.zeros((num_classes, x.shape[1]))
    np.add.at(sums, labels, x)
    means = sums / np.bincount(labels, minlength=num_classes)[:, None]
    variance = np.mean(np.square(x - means[labels]), axis=0)
    variance = (1 - _SHRINKAGE) * variance + _SHRINKAGE * np.mean(variance)
    if variance.max() < 1e-12:  # one picture of each class: there is none to be seen, and the nearest mean is left
        variance = np.ones_like(variance)
    weights = means / np.maximum(variance, 1e-12)
    return Linear(weights, -np.sum(means * weights, axis=-1) / 2)


def _logistic(x: np.ndarray, labels: np.ndarray, num_classes: int) -> Linear:
    """By scikit-learn, classes weighted to count alike."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near enough: its score decides whether it is taken
        model = LogisticRegression(C=_LOGISTIC, class_weight="balanced", max_iter=500).fit(x, labels)
    if num_classes == 2:  # one row, of the second class
        return Linear(np.vstack([0 * model.coef_, model.coef_]), np.append(0, model.intercept_))
    return Linear(model.coef_, model.intercept_)


def _reduced(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A basis `[r, dim]` of the pictures' features, and their coordinates `[n, r]`.

    The weights of a fit with their squares as a penalty lie in it: nothing is lost, and much less is computed.
    """
    left, values, basis = np.linalg.svd(x, full_matrices=False)
    kept = values > 1e-10 * max(values[0], 1e-300)
    return basis[kept], left[:, kept] * values[kept]
