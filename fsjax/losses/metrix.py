"""Metrix: a metric loss of pairs, also with examples mixed of a positive and a negative (Venkataramanan et al. 2022).

"It Takes Two to Tango: Mixup for Deep Metric Learning", ICLR 2022. The contrastive form and the constants are those of
its released code, the multi-similarity form is written after the paper's general formula: docs/readings.md,
"MLCD and Metrix".
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic.pairs import masked_logsumexp, masked_mean, negative_pairs, positive_pairs
from fsjax.losses.arithmetic.similarity import unit
from fsjax.losses.base import LossOutput, matmul
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy
from fsjax.options.losses import MetrixOptions

# Margins of the two: of a distance, and of a cosine.
MARGINS = {"contrastive": 0.5, "multi_similarity": 0.77}
# Under the square roots, so that equal and opposite vectors have a gradient; see `fsjax.losses.arithmetic.similarity`.
_EPSILON = 1e-12


def mixed_cosines(anchors: jax.Array, positives: jax.Array, negatives: jax.Array, lam: jax.Array | float) -> jax.Array:
    """Cosine of each anchor i to each mixed example `lam · positive_i + (1 - lam) · negative_j`.

    Args:
      anchors, positives: `[n, dim]`.
      negatives: `[m, dim]`.
      lam: share of the positive in the mixed examples.

    Returns:
      `[n, m]`.
    """
    # From products of what is mixed: the mixed examples would take [n, m, dim].
    other = 1 - lam
    product = lam * jnp.sum(anchors * positives, axis=-1)[:, None] + other * matmul(anchors, negatives.T)
    of_anchors, of_positives, of_negatives = (jnp.sum(jnp.square(x), axis=-1) for x in (anchors, positives, negatives))
    square = lam**2 * of_positives[:, None] + other**2 * of_negatives
    square += 2 * lam * other * matmul(positives, negatives.T)
    lengths = jnp.sqrt(of_anchors[:, None] + _EPSILON) * jnp.sqrt(jnp.maximum(square, 0) + _EPSILON)
    return product / lengths


def unit_distance(cosines: jax.Array) -> jax.Array:
    """The Euclidean distance of two vectors of length 1, from their cosine, of any shape."""
    return jnp.sqrt(jnp.maximum(2 - 2 * cosines, 0) + _EPSILON)


def contrastive_pairs(cosines: jax.Array, share: jax.Array | float, *, margin: float) -> jax.Array:
    """Contrastive loss of pairs that are positive to a share: `share · d + (1 - share) · max(0, margin - d)`.

    Args:
      cosines: any shape; d is the distance at length 1.
      share: 1 for a positive pair, 0 for a negative one, between them for a mixed example.
      margin: distance from which on a negative is far enough.

    Returns:
      Losses of the shape of `cosines`.
    """
    distances = unit_distance(cosines)
    return share * distances + (1 - share) * jax.nn.relu(margin - distances)


def multi_similarity(
    cosines: jax.Array, positive: jax.Array, negative: jax.Array, *, beta: float, gamma: float, margin: float
) -> jax.Array:
    """Multi-similarity loss (Wang et al. 2019) of anchors whose pairs have weights.

    `ln(1 + sum_j w+_j exp(-beta (s_j - margin))) / beta + ln(1 + sum_j w-_j exp(gamma (s_j - margin))) / gamma`.

    Args:
      cosines: `[n, m]`, s of each anchor to each other example.
      positive, negative: `[n, m]`, w+ and w-, at least 0: 1 and 0 of a positive, lambda and 1 - lambda of a mixed one.
      beta, gamma: sharpness of the two sums.
      margin: cosine at which a pair counts as its weight.

    Returns:
      `[n]` losses, not reduced; a sum of no weight is 0.
    """

    def log_sum(exponents: jax.Array, weights: jax.Array) -> jax.Array:
        there = weights > 0
        return jax.nn.softplus(masked_logsumexp(exponents + jnp.log(jnp.where(there, weights, 1)), there))

    far, near = -beta * (cosines - margin), gamma * (cosines - margin)
    return log_sum(far, positive) / beta + log_sum(near, negative) / gamma


def drawn_positives(key: jax.Array, positives: jax.Array) -> jax.Array:
    """One positive of each example, drawn at random: rows of 0 and 1, `[n, m]` float32.

    Args:
      key: of `jax.random`.
      positives: bool `[n, m]`; in a row without any, what is drawn means nothing.
    """
    order = jnp.where(positives, jax.random.uniform(key, positives.shape), -1)
    return jax.nn.one_hot(jnp.argmax(order, axis=-1), positives.shape[-1])


class MetrixLoss(MetrixOptions, LinearLoss):
    """Cross-entropy of a linear classifier, plus `lam · (clean + mix_weight · mixed)` of the batch's embeddings.

    `clean` is a metric loss of all pairs of the batch, `mixed` the same loss of examples mixed for each anchor: one
    positive of it, drawn, with each of its negatives in turn, positive to a share that is drawn once a step from
    Beta(mix_alpha, mix_alpha). Only anchors with a positive and a negative count in `mixed`. Embeddings are brought to
    length 1 first, so that the longer one does not outweigh the share. All draws follow from `step` alone.

    The contrastive loss is the mean over the positive pairs plus that over the negative ones, the multi-similarity loss
    the mean over the anchors, of which the mining of pairs is left out. Where the paper also mixes inputs or feature
    maps, this loss does not: it sees embeddings, and mixed inputs would have to go through the network once more for
    each pair. `config.data.augment.mixup` mixes inputs before the network, with both labels, for any loss.
    """

    def clean(self, cosines: jax.Array, positives: jax.Array, negatives: jax.Array) -> jax.Array:
        """Returns the metric loss, a scalar, of the batch's pairs; all arguments are `[batch, batch]`."""
        if self.kind == "multi_similarity":
            return jnp.mean(self._multi_similarity(cosines, positives, negatives))
        losses = contrastive_pairs(cosines, positives.astype(cosines.dtype), margin=self._margin)
        return masked_mean(losses, positives) + masked_mean(losses, negatives)

    def mixed(self, directions: jax.Array, positives: jax.Array, negatives: jax.Array, step: jax.Array) -> jax.Array:
        """Returns the metric loss, a scalar, of anchors `[batch, dim]` and examples mixed for them at this step."""
        draw_positives, draw_share = jax.random.split(self.draw_key(step))
        share = jax.random.beta(draw_share, self.mix_alpha, self.mix_alpha, dtype=directions.dtype)
        drawn = drawn_positives(draw_positives, positives).astype(directions.dtype)
        cosines = mixed_cosines(directions, matmul(drawn, directions), directions, share)
        pairs = negatives & jnp.any(positives, axis=-1, keepdims=True)
        if self.kind == "multi_similarity":
            losses = self._multi_similarity(cosines, share * pairs, (1 - share) * pairs)
            return masked_mean(losses, jnp.any(pairs, axis=-1))
        return masked_mean(contrastive_pairs(cosines, share, margin=self._margin), pairs)

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]`, the whole global batch, and `labels` `[batch]`."""
        directions = unit(self.prepare(features))
        positives, negatives = positive_pairs(labels), negative_pairs(labels)
        clean = self.clean(matmul(directions, directions.T), positives, negatives)
        mixed = self.mixed(directions, positives, negatives, step)
        losses = softmax_cross_entropy(self.logits(features), labels)
        return LossOutput(losses, self.lam * (clean + self.mix_weight * mixed), {"clean": clean, "mixed": mixed})

    @property
    def _margin(self) -> float:
        return MARGINS[self.kind] if self.margin is None else self.margin

    def _multi_similarity(self, cosines: jax.Array, positive: jax.Array, negative: jax.Array) -> jax.Array:
        weights = (x.astype(cosines.dtype) for x in (positive, negative))
        return multi_similarity(cosines, *weights, beta=self.beta, gamma=self.gamma, margin=self._margin)
