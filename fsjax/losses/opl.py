"""Orthogonal projection loss: features of a class in one direction, of different classes at right angles.

Ranasinghe et al. 2021, "Orthogonal Projection Loss", ICCV; the constants of its released code:
docs/readings.md, "Orthogonal projection".
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic.similarity import unit
from fsjax.losses.base import LossOutput, matmul
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy
from fsjax.options.losses import OplOptions

# Added to the number of pairs, as in the released code.
_COUNT_EPSILON = 1e-6


class Projection(NamedTuple):
    """What `orthogonal_projection` returns, scalars all.

    Attributes:
      loss: `(1 - same) + gamma * penalty of different`.
      same: mean cosine of the pairs of one class; 0 where there is none.
      different: mean cosine of the pairs of different classes; 0 where there is none.
      positive_pairs: the number of pairs of one class, each counted once.
    """

    loss: jax.Array
    same: jax.Array
    different: jax.Array
    positive_pairs: jax.Array


def orthogonal_projection(features: jax.Array, labels: jax.Array, *, gamma: float, variant: str) -> Projection:
    """The loss of the cosines of all pairs of a batch (their Eq. 5); memory for `[batch, batch]`.

    Args:
      features: `[batch, dim]`, of the whole global batch.
      labels: `[batch]` integers.
      gamma: weight of the pairs of different classes.
      variant: how these are penalised: `"abs_of_mean"`, the absolute value of their mean cosine, as in the paper;
        `"mean_of_abs"`, the mean of absolute cosines, as in the released code for CIFAR; `"signed"`, the mean cosine
        itself, which is least for opposite directions, as in the release's root.

    Returns:
      The loss and its parts. A batch without a pair of one class has `same` 0 and so a loss of 1 and more, without
      gradient from that part.
    """
    directions = unit(features)
    cosines = matmul(directions, directions.T)
    equal = labels[:, None] == labels
    positive = equal & ~jnp.eye(labels.shape[0], dtype=bool)
    same = _mean_over(positive, cosines)
    different = _mean_over(~equal, cosines)
    if variant == "mean_of_abs":
        penalty = _mean_over(~equal, jnp.abs(cosines))
    else:
        penalty = jnp.abs(different) if variant == "abs_of_mean" else different
    pairs = jnp.sum(positive).astype(cosines.dtype) / 2
    return Projection(1 - same + gamma * penalty, same, different, pairs)


def _mean_over(pairs: jax.Array, values: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(pairs, values, 0)) / (jnp.sum(pairs) + _COUNT_EPSILON)


class OplLoss(OplOptions, LinearLoss):
    """Cross-entropy of a linear classifier plus `lam` times the orthogonal projection loss of its features.

    Features that end in a ReLU have no negative cosines: on them the three variants are one.

    The log has `same` and `different`, the mean cosines, and `positive_pairs`: with many classes a small batch may
    have few pairs of one class, or none.
    """

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]`, the whole global batch, and `labels` `[batch]`."""
        features = self.prepare(features)
        projection = orthogonal_projection(features, labels, gamma=self.gamma, variant=self.variant)
        metrics = {
            "same": projection.same,
            "different": projection.different,
            "positive_pairs": projection.positive_pairs,
        }
        return LossOutput(softmax_cross_entropy(self.logits(features), labels), self.lam * projection.loss, metrics)
