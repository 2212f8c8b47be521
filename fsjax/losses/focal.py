"""Focal loss: cross-entropy that fades for examples already classified well (Lin et al. 2017)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fsjax.losses.base import LossOutput
from fsjax.losses.softmax import LinearLoss, log_probability
from fsjax.options.losses import FocalOptions


def focal_loss(logits: jax.Array, labels: jax.Array, *, gamma: float) -> jax.Array:
    """Focal loss in its softmax form, `-(1 - p_y)^gamma ln p_y`.

    The gradient is that of the formula; some implementations hold `p_y` constant in it.

    Args:
      logits: `[batch, classes]`.
      labels: `[batch]` integers.
      gamma: at least 0; at 0 it is cross-entropy.

    Returns:
      `[batch]` losses, not reduced.
    """
    log_p = log_probability(logits, labels)
    # The floor keeps the power's gradient finite where p rounds to 1 and gamma is below 1.
    miss = jnp.maximum(-jnp.expm1(log_p), jnp.finfo(log_p.dtype).tiny)
    return -(miss**gamma) * log_p


def sigmoid_focal_loss(logits: jax.Array, labels: jax.Array, *, gamma: float) -> jax.Array:
    """Focal loss over one sigmoid per class, summed over the classes.

    Args:
      logits: `[batch, classes]`.
      labels: `[batch]` integers.
      gamma: at least 0; at 0 it is binary cross-entropy.

    Returns:
      `[batch]` losses, not reduced.
    """
    positive = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    margin = jnp.where(positive, logits, -logits)
    # With p = sigmoid(margin): ln(1-p) = -softplus(margin) and -ln(p) = softplus(-margin), finite for any
    # margin.
    return jnp.sum(jnp.exp(-gamma * jax.nn.softplus(margin)) * jax.nn.softplus(-margin), axis=-1)


class FocalLoss(FocalOptions, LinearLoss):
    """Softmax focal loss over a linear classifier."""

    PER_EXAMPLE = True

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`."""
        return LossOutput(focal_loss(self.logits(features), labels, gamma=self.gamma), jnp.zeros(()), {})
