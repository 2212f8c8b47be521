"""InfoNCE of pairs of one class, beside cross-entropy (Khosla et al. 2020; Wang & Liu 2021)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic.pairs import masked_logsumexp, masked_mean, negative_pairs, positive_pairs
from fsjax.losses.arithmetic.similarity import unit
from fsjax.losses.base import LossOutput, matmul
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy
from fsjax.options.losses import ContrastiveOptions


def hardest(similarities: jax.Array, negatives: jax.Array, *, count: int) -> jax.Array:
    """The `count` negatives of largest similarity in each row, bool `[n, m]`; all where a row has no more.

    Args:
      similarities: `[n, m]`.
      negatives: bool, of the same shape.
      count: how many; those that are as similar as the last are taken too.
    """
    # By a threshold: what is chosen by index has a scatter-add for a gradient, see `one_hot`.
    candidates = jnp.where(negatives, jax.lax.stop_gradient(similarities), -jnp.inf)
    largest, _ = jax.lax.top_k(candidates, min(count, similarities.shape[-1]))
    return negatives & (candidates >= largest[..., -1:])


def info_nce(similarities: jax.Array, positives: jax.Array, negatives: jax.Array, *, tau: float) -> jax.Array:
    """`-mean_p ln(exp(s_p/tau) / (sum over positives and negatives of exp(s/tau)))` of each row.

    With one positive it is InfoNCE (Wang & Liu 2021, Eq. 1), with several the supervised contrastive loss (Khosla et
    al. 2020, Eq. 2). With the `hardest` negatives alone it is Wang & Liu's hard contrastive loss.

    Args:
      similarities: `[n, m]`, cosines.
      positives, negatives: bool, of the same shape; what is neither does not count.
      tau: temperature: the lower, the more the hardest negatives count.

    Returns:
      `[n]` losses, not reduced; 0 for a row without positives.
    """
    scaled = similarities / tau
    together = masked_logsumexp(scaled, positives | negatives)
    count = jnp.sum(positives, axis=-1)
    mean = jnp.sum(jnp.where(positives, scaled, 0), axis=-1) / jnp.maximum(count, 1)
    return jnp.where(count > 0, together - mean, 0)


def relative_penalty(similarities: jax.Array, negatives: jax.Array, *, tau: float) -> jax.Array:
    """How InfoNCE's push is shared among the negatives, `exp(s/tau) / sum over negatives` (Wang & Liu 2021, Eq. 5).

    Args:
      similarities: `[n, m]`, cosines.
      negatives: bool, of the same shape.
      tau: temperature.

    Returns:
      `[n, m]`; each row sums to 1, or is 0 where it has no negatives; 0 at what is no negative.
    """
    together = masked_logsumexp(similarities / tau, negatives)[..., None]
    return jnp.where(negatives, jnp.exp(jnp.where(negatives, similarities / tau - together, 0)), 0)


class ContrastiveLoss(ContrastiveOptions, LinearLoss):
    """Cross-entropy of a linear classifier, plus `lam` times the InfoNCE of the batch's embeddings.

    Positives of an example are the other examples of its class, negatives those of other classes. Embeddings are
    compared by the cosine, as they come from the encoder; there is no projection head, and one view of each image. The
    term is the mean over the examples that have a positive, 0 where none has; the metric `anchors` counts them.
    """

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]`, the whole global batch, and `labels` `[batch]`."""
        directions = unit(self.prepare(features))
        similarities = matmul(directions, directions.T)
        positives, negatives = positive_pairs(labels), negative_pairs(labels)
        if self.hard:
            negatives = hardest(similarities, negatives, count=self.hard)
        anchors = jnp.any(positives, axis=-1)
        term = masked_mean(info_nce(similarities, positives, negatives, tau=self.tau), anchors)
        metrics = {"info_nce": term, "anchors": jnp.sum(anchors).astype(jnp.float32)}
        return LossOutput(softmax_cross_entropy(self.logits(features), labels), self.lam * term, metrics)
