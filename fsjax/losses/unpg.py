"""UNPG: a margin softmax with the negative pairs of the batch in its denominator (Jung et al. 2022)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic.pairs import masked_logsumexp, negative_pairs
from fsjax.losses.arithmetic.similarity import unit
from fsjax.losses.base import LossOutput, matmul
from fsjax.losses.margin import MarginLoss, target_cosines
from fsjax.losses.softmax import softmax_cross_entropy
from fsjax.options.losses import UnpgOptions


def kept_pairs(similarities: jax.Array, pairs: jax.Array, *, whisker: float) -> jax.Array:
    """The pairs whose similarity is not far from the others': within `[Q1 - w IQR, Q3 + w IQR]`.

    Q1 and Q3 are the elements `int(0.25 L)` and `int(0.75 L)` of the L sorted similarities, as in the authors' code,
    and IQR their difference.

    Args:
      similarities: `[n, m]`.
      pairs: bool `[n, m]`, those that there are.
      whisker: w, of a box and whisker plot; 1.5 in the paper.

    Returns:
      bool `[n, m]`, a part of `pairs`.
    """
    # L is not known to the compiler: what is no pair is sorted to the end.
    ordered = jnp.sort(jnp.where(pairs, similarities, jnp.inf).ravel())
    count = jnp.sum(pairs)
    low, high = ordered[count // 4], ordered[(3 * count) // 4]
    reach = whisker * (high - low)
    return pairs & (similarities >= low - reach) & (similarities <= high + reach)


def pair_softmax(logits: jax.Array, labels: jax.Array, pair_logits: jax.Array, kept: jax.Array) -> jax.Array:
    """Softmax cross-entropy with further negatives in every row's denominator.

    Args:
      logits: `[batch, classes]`.
      labels: `[batch]` integers.
      pair_logits: of any shape.
      kept: bool, of the same shape: which of them are in the denominators.

    Returns:
      `[batch]` losses, not reduced; without any pair the cross-entropy of `logits`.
    """
    # The same for every row, so that one number stands for them all.
    together = masked_logsumexp(pair_logits.ravel(), kept.ravel())
    column = jnp.broadcast_to(together, (len(logits), 1))
    return softmax_cross_entropy(jnp.concatenate([logits, column], axis=-1), labels)


class UnpgLoss(UnpgOptions, MarginLoss):
    """Cross-entropy of scaled cosines with a margin at the label, and the batch's negative pairs as further classes.

    Every example's denominator holds the cosines of all pairs of the batch that are of different classes, but for
    those that `kept_pairs` leaves out. The loss is of rows, but a row depends on the whole batch. A batch of one class
    has no such pairs, and the loss is the margin softmax alone. Memory: `[batch, batch]`, and a sort of as many.
    """

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]`, the whole global batch, and `labels` `[batch]`."""
        directions, cosines = unit(self.prepare(features)), self.cosines(features)
        similarities = matmul(directions, directions.T)
        pairs = jnp.triu(negative_pairs(labels))  # each once
        kept = kept_pairs(jax.lax.stop_gradient(similarities), pairs, whisker=self.whisker)
        logits = self.harder_logits(cosines, labels, self.mean_margin)
        losses = pair_softmax(logits, labels, self.scale * similarities, kept)
        metrics = {
            "target_cosine": jnp.mean(target_cosines(cosines, labels)),
            "kept_pairs": jnp.sum(kept) / jnp.maximum(jnp.sum(pairs), 1),
        }
        return LossOutput(losses, jnp.zeros(()), metrics)
