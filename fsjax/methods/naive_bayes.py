"""Naive Bayes over features, with one variance per dimension for all classes: a linear classifier in closed form.

The head of linear and few-shot evaluation of "Revisiting Discriminative vs. Generative Classifiers"; see
docs/readings.md, "Naive Bayes".
"""

from __future__ import annotations

import chex
import flax
import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic.similarity import negative_squared_distance
from fsjax.losses.base import as_loss_dtype, matmul

# Added to every variance, as in the released code.
VARIANCE_EPSILON = 1e-9


@flax.struct.dataclass
class GaussianNaiveBayes:
    """Statistics of features by class, and the classifier they make.

    Class k has the prior π_k, its share of the examples, and a normal of mean μ_k; the variance v of each dimension is
    Σ_k π_k (var_k + 1e-9). The score ln π_k - ½ Σ_j (x_j - μ_kj)² / v_j is the log of the joint density up to a term
    that all classes share. Nothing is trained: one pass over the examples in batches gives what all at once would.

    Attributes:
      counts: `[classes]` floats, examples of each class.
      means: `[classes, dim]`; 0 for a class without examples.
      squares: `[classes, dim]`, sums of squared differences from the class's mean.
    """

    counts: jax.Array
    means: jax.Array
    squares: jax.Array

    @classmethod
    def fit(
        cls, features: jax.Array, labels: jax.Array, *, num_classes: int, weights: jax.Array | None = None
    ) -> GaussianNaiveBayes:
        """The statistics of a batch.

        Args:
          features: `[n, dim]`.
          labels: int `[n]`.
          num_classes: how many there are, here or in other batches.
          weights: `[n]`, 0 for padding; None: all are 1.

        Returns:
          In float32, or float64 for float64 features.
        """
        chex.assert_rank([features, labels], [2, 1])
        features = as_loss_dtype(features)
        of_class = jax.nn.one_hot(labels, num_classes, dtype=features.dtype)
        of_class = of_class if weights is None else of_class * weights[:, None].astype(features.dtype)
        counts = jnp.sum(of_class, axis=0)
        means = matmul(of_class.T, features) / jnp.maximum(counts, 1)[:, None]
        # Differences from the means, rather than a difference of large sums.
        squares = matmul(of_class.T, jnp.square(features - means[labels]))
        return cls(counts, means, squares)

    def update(self, features: jax.Array, labels: jax.Array, *, weights: jax.Array | None = None) -> GaussianNaiveBayes:
        """The statistics of these and of the batch's examples; arguments as for `fit`."""
        batch = self.fit(features, labels, num_classes=self.counts.shape[0], weights=weights)
        return self.merge(batch)

    def merge(self, other: GaussianNaiveBayes) -> GaussianNaiveBayes:
        """The statistics of both (Chan, Golub & LeVeque 1983)."""
        counts = self.counts + other.counts
        share = (other.counts / jnp.maximum(counts, 1))[:, None]
        difference = other.means - self.means
        between = jnp.square(difference) * self.counts[:, None] * share
        return GaussianNaiveBayes(counts, self.means + share * difference, self.squares + other.squares + between)

    @property
    def priors(self) -> jax.Array:
        """`[classes]`, the share of each class."""
        return self.counts / jnp.sum(self.counts)

    @property
    def variance(self) -> jax.Array:
        """`[dim]`, pooled over the classes."""
        return jnp.sum(self.squares, axis=0) / jnp.sum(self.counts) + VARIANCE_EPSILON

    def scores(self, features: jax.Array) -> jax.Array:
        """Scores of features `[n, dim]`, `[n, classes]`; -inf for a class without examples."""
        scale = jnp.sqrt(self.variance)
        return jnp.log(self.priors) + negative_squared_distance(features / scale, self.means / scale, 0.5)

    def as_linear(self) -> tuple[jax.Array, jax.Array]:
        """Weights `[classes, dim]` and bias `[classes]` of the same classifier.

        Its scores differ from `scores` by -½ Σ_j x_j² / v_j, the same for all classes.
        """
        weights = self.means / self.variance
        return weights, jnp.log(self.priors) - jnp.sum(self.means * weights, axis=-1) / 2


def task_scores(queries: jax.Array, support: jax.Array, real: jax.Array, *, shrinkage: float = 0.0) -> jax.Array:
    """`GaussianNaiveBayes.scores` of the queries of many tasks, each fitted on its own support features.

    Few examples say little of a variance, and where none of a class differ in a dimension, it has 1e-9: a dimension
    that is 0 in all support images then decides by itself about queries in which it is not. Shrunk to
    (1 - s) v + s · mean_j v, no variance is below s times the mean. With one support image per class all variances are
    1e-9, whatever s is, and the classifier is the nearest prototype by Euclidean distance; with s = 1 it is so too,
    but for the priors.

    Args:
      queries: `[..., n, dim]`.
      support: `[..., way, shot, dim]`.
      real: `[..., way, shot]` bool, False for padding.
      shrinkage: s, from 0 to 1.

    Returns:
      `[..., n, way]`, in which those of classes without support images mean nothing.
    """
    support = as_loss_dtype(support)
    weights = real[..., None].astype(support.dtype)
    counts = jnp.sum(weights, axis=-2)
    total = jnp.sum(counts, axis=-2)
    means = jnp.sum(support * weights, axis=-2) / jnp.maximum(counts, 1)
    squares = jnp.sum(jnp.square(support - means[..., None, :]) * weights, axis=(-3, -2))
    variance = squares / total + VARIANCE_EPSILON
    variance = (1 - shrinkage) * variance + shrinkage * jnp.mean(variance, axis=-1, keepdims=True)
    scale = jnp.sqrt(variance)[..., None, :]
    priors = jnp.maximum(counts, 1)[..., 0] / total
    return jnp.log(priors)[..., None, :] + negative_squared_distance(queries / scale, means / scale, 0.5)
