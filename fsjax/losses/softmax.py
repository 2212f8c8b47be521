"""Softmax cross-entropy, and the linear classifier under it and the losses derived from it."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.losses.base import LossModule, LossOutput, matmul


def log_probability(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Logarithm `[batch]` of the softmax probability of each label; `logits` is `[batch, classes]`."""
    chosen = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    return jnp.sum(jnp.where(chosen, jax.nn.log_softmax(logits), 0), axis=-1)


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Softmax cross-entropy.

    Args:
      logits: `[batch, classes]`.
      labels: `[batch]` integers.

    Returns:
      `[batch]` losses, not reduced.
    """
    return -log_probability(logits, labels)


class LinearLoss(LossModule):
    """Base of the losses over a linear classifier `features @ kernel + bias`, computed at full precision."""

    def setup(self) -> None:
        """Makes the classifier."""
        self.kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.dim, self.num_classes))
        self.bias = self.param("bias", self.bias_initializer(), (self.num_classes,))

    def bias_initializer(self) -> nn.initializers.Initializer:
        """How the bias starts; a loss with a prior overrides it."""
        return nn.initializers.zeros

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns `[batch, num_classes]` scores; argmax is the prediction, softmax the posterior."""
        return matmul(self.prepare(features), self.kernel) + self.bias


class SoftmaxLoss(LinearLoss):
    """Softmax cross-entropy over a linear classifier (the paper's Eq. 1 and its baseline)."""

    PER_EXAMPLE = True

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`."""
        return LossOutput(softmax_cross_entropy(self.logits(features), labels), jnp.zeros(()), {})
