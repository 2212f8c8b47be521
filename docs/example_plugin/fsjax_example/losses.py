"""Poly-1: cross-entropy with its first polynomial term made stronger."""

import jax
import jax.numpy as jnp

from fsjax.losses.base import LossOutput
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy
from fsjax_example.options import Poly1Options


def poly1(logits: jax.Array, labels: jax.Array, *, epsilon: float) -> jax.Array:
    """`-ln p + epsilon (1 - p)` of the right class (Leng et al. 2022, Eq. 6).

    Logits `[batch, classes]`, labels `[batch]`, result `[batch]`.
    """
    right = jnp.take_along_axis(jax.nn.softmax(logits), labels[:, None], axis=-1)[:, 0]
    return softmax_cross_entropy(logits, labels) + epsilon * (1 - right)


class Poly1Loss(Poly1Options, LinearLoss):
    """`poly1` of a linear classifier."""

    PER_EXAMPLE = True  # an image's loss depends on no other image

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`."""
        losses = poly1(self.logits(features), labels, epsilon=self.epsilon)
        return LossOutput(losses, jnp.zeros(()), {})
