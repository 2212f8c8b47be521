"""Multi-label (cluster) discrimination: positive and negative classes in two sums of their own (An et al. 2024)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic.pairs import masked_logsumexp
from fsjax.losses.arithmetic.similarity import scaled_cosine
from fsjax.losses.base import LossModule, LossOutput
from fsjax.options.losses import MlcdOptions


def mlcd_loss(scores: jax.Array, positives: jax.Array, negatives: jax.Array) -> jax.Array:
    """`ln(1 + sum_p exp(-s_p)) + ln(1 + sum_n exp(s_n))`, their Eq. 5.

    Args:
      scores: `[batch, classes]`.
      positives, negatives: bool, of the same shape; a class that is neither does not count.

    Returns:
      `[batch]` losses, not reduced; a sum over no classes is 0.
    """
    to_positives, to_negatives = masked_logsumexp(-scores, positives), masked_logsumexp(scores, negatives)
    return jax.nn.softplus(to_positives) + jax.nn.softplus(to_negatives)


def mlc_loss(scores: jax.Array, positives: jax.Array, negatives: jax.Array) -> jax.Array:
    """`ln(1 + sum_n sum_p exp(s_n - s_p))`, their Eq. 4; arguments and result as of `mlcd_loss`."""
    return jax.nn.softplus(masked_logsumexp(-scores, positives) + masked_logsumexp(scores, negatives))


def drawn_negatives(key: jax.Array, positives: jax.Array, *, share: float) -> jax.Array:
    """A random part of the classes that are not positive, for each example.

    Args:
      key: of `jax.random`.
      positives: bool `[batch, classes]`, at least one in each row.
      share: how much of the `classes - 1` others, rounded, and at least one.

    Returns:
      bool `[batch, classes]`; as many in each row, or all that there are.
    """
    classes = positives.shape[-1]
    count = min(max(1, round(share * (classes - 1))), classes)
    order = jnp.where(positives, 2.0, jax.random.uniform(key, positives.shape))
    ranks = jnp.argsort(jnp.argsort(order, axis=-1), axis=-1)
    return (ranks < count) & ~positives


class MlcdLoss(MlcdOptions, LossModule):
    """MLCD or MLC of scaled cosines to class vectors, with a random part of the other classes as negatives.

    The paper learns without labels: its classes are a million clusters of images, and the 8 clusters nearest to an
    image are its positives. Here images come with a class, and that class alone is positive: classes near to it are
    what the classifier must tell it from. `mlcd_loss` and `mlc_loss` take any positives.

    With one positive and all negatives MLC is the softmax cross-entropy. MLCD's two sums also say where the zero of a
    score is. Which negatives are drawn follows from `step` alone, so that a run can be repeated.
    """

    PER_EXAMPLE = True

    def setup(self) -> None:
        """Makes the class vectors, of length about 1."""
        init = nn.initializers.normal(self.dim**-0.5)
        self.weights = self.param("weights", init, (self.num_classes, self.dim))

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns `[batch, num_classes]` scaled cosines."""
        return scaled_cosine(self.prepare(features), self.weights, self.scale)

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`, negatives drawn for this step."""
        positives = jax.nn.one_hot(labels, self.num_classes, dtype=bool)
        negatives = drawn_negatives(self.draw_key(step), positives, share=self.negatives)
        loss = mlcd_loss if self.kind == "mlcd" else mlc_loss
        return LossOutput(loss(self.logits(features), positives, negatives), jnp.zeros(()), {})
