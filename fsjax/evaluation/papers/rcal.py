"""Representation calibration (RCAL; Zhang et al. 2023, "When Noisy Labels Meet Long Tail Dilemmas"). Experimental.

What is here is the calibration of feature distributions and a linear classifier on it, after training: of each class
the outliers are dropped, the rest is a normal distribution, that of a rare class is averaged with those of its nearest
frequent ones, and features are drawn from it until classes are balanced. Of the paper's road only an outline could be
read, its equations were images. So these are ours: the equal weights of the average, the logistic regression, and the
defaults. Left out: the contrastive pre-training (take a run of loss "contrastive"), the term that keeps features near
those of it while the network is trained on, and mixup.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.over_split import over_examples
from fsjax.methods.base import Method, Variables


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Choices of the method.

    Attributes:
      frequent: a class with at least so many images, outliers among them, lends its distribution; others borrow.
      nearest: q, how many frequent classes a rare one borrows from, by the distance of the means.
      neighbors: of the local outlier factor; a class with no more images keeps all of them.
      seed: of the drawn features.
    """

    frequent: int = 100
    nearest: int = 2
    neighbors: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("frequent", "nearest", "neighbors"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} must be at least 1")


@dataclasses.dataclass(frozen=True)
class Normals:
    """A normal distribution of each class, float64: means `[classes, dim]`, covariances `[classes, dim, dim]` (800 MB
    for 100 classes of 1,000 dimensions), and `counts`, the images of each class, outliers among them."""

    means: np.ndarray
    covariances: np.ndarray
    counts: np.ndarray


def inliers(features: np.ndarray, *, neighbors: int) -> np.ndarray:
    """Which features `[n, dim]` of a class are no outliers by the local outlier factor (Breunig et al. 2000): bool."""
    if len(features) <= neighbors:
        return np.ones(len(features), bool)
    from sklearn.neighbors import LocalOutlierFactor

    return LocalOutlierFactor(n_neighbors=neighbors).fit_predict(features) > 0


def normals(
    features: np.ndarray, labels: np.ndarray, *, num_classes: int, neighbors: int
) -> tuple[Normals, np.ndarray]:
    """The distribution of each class's features without its outliers; a class of one image has no spread.

    Returns:
      The distributions, and bool `[n]`: which features are no outliers.

    Raises:
      UserError: for a class without images.
    """
    means, covariances, counts = [], [], []
    kept = np.zeros(len(labels), bool)
    for label in range(num_classes):
        members = np.flatnonzero(labels == label)
        if not len(members):
            raise UserError(f"class {label} has no training images, so nothing is known of its features")
        own = np.asarray(features[members], np.float64)
        inside = inliers(own, neighbors=neighbors)
        kept[members] = inside
        own = own[inside]
        means.append(own.mean(axis=0))
        centred = own - means[-1]
        covariances.append(centred.T @ centred / len(own))
        counts.append(len(members))
    return Normals(np.stack(means), np.stack(covariances), np.array(counts)), kept


def calibrated(found: Normals, *, frequent: int, nearest: int) -> Normals:
    """The distributions with those of rare classes averaged with the nearest frequent ones', all with equal weights.

    Raises:
      UserError: if no class is frequent.
    """
    lenders = np.flatnonzero(found.counts >= frequent)
    if not len(lenders):
        raise UserError(
            f"no class has {frequent} training images that are no outliers; the most are {max(found.counts)}"
        )
    means, covariances = found.means.copy(), found.covariances.copy()
    for label in np.flatnonzero(found.counts < frequent):
        distances = np.linalg.norm(found.means[lenders] - found.means[label], axis=1)
        group = [label, *lenders[np.argsort(distances, kind="stable")[:nearest]]]
        means[label], covariances[label] = found.means[group].mean(axis=0), found.covariances[group].mean(axis=0)
    return Normals(means, covariances, found.counts)


def balanced(features: np.ndarray, labels: np.ndarray, known: Normals, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The features and labels, with draws of each class's distribution up to the size of the largest class."""
    counts = np.bincount(labels, minlength=len(known.means))
    rng = np.random.default_rng(seed)
    parts, names = [features], [labels]
    for label, missing in enumerate(counts.max() - counts):
        if missing:
            mean, covariance = known.means[label], known.covariances[label]
            parts.append(rng.multivariate_normal(mean, covariance, missing, method="eigh"))
            names.append(np.full(missing, label))
    return np.concatenate(parts), np.concatenate(names)


def rcal(
    method: Method,
    params: Variables,
    collections: Variables,
    splits: data.Splits,
    chosen: Calibration,
    *,
    batch_size: int,
) -> dict:
    """Test accuracies of a run: by its own classifier, by logistic regression, and by that on balanced features.

    Args:
      method, params, collections: the run.
      splits: its data.
      chosen: choices.
      batch_size: how many images go through the network at once.

    Returns:
      "own", "plain" and "calibrated", each {"accuracy", "balanced_accuracy"} in 0..1.

    Raises:
      UserError: for data without a test part, and as `normals` and `calibrated`.
    """
    if splits.test is None or splits.info.few_shot:
        raise UserError(f"{splits.info.name}: RCAL needs test images of the training classes")

    def read(examples: data.Examples) -> tuple[np.ndarray, np.ndarray]:
        def both(images: jax.Array) -> tuple[jax.Array, jax.Array]:
            logits = method.logits(params, collections, images)
            return method.embed(params, collections, images), jnp.argmax(logits, axis=-1)

        embeddings, predicted = over_examples(both, examples, splits.info, batch_size=batch_size)
        return np.asarray(embeddings, np.float64), predicted

    from sklearn.linear_model import LogisticRegression

    (features, _), labels = read(splits.train), splits.train.labels
    (test, own), truth = read(splits.test), splits.test.labels
    scale = np.linalg.norm(features, axis=1).mean() or 1.0  # the regression's penalty is of no scale
    features, test = features / scale, test / scale
    known, kept = normals(features, labels, num_classes=splits.info.num_classes, neighbors=chosen.neighbors)
    known = calibrated(known, frequent=chosen.frequent, nearest=chosen.nearest)
    predicted = {"own": own}
    for name, (x, y) in {
        "plain": (features, labels),
        "calibrated": balanced(features[kept], labels[kept], known, seed=chosen.seed),
    }.items():
        predicted[name] = LogisticRegression(C=10.0, max_iter=1000).fit(x, y).predict(test)
    return {name: _accuracies(found == truth, truth) for name, found in predicted.items()}


def _accuracies(hits: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    by_class = [hits[truth == label].mean() for label in np.unique(truth)]
    return {"accuracy": float(hits.mean()), "balanced_accuracy": float(np.mean(by_class))}
