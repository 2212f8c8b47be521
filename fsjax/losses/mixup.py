"""Mixup: cross-entropy of images that were mixed in pairs (Zhang et al. 2018)."""

from __future__ import annotations

import jax

from fsjax.losses.softmax import SoftmaxLoss
from fsjax.options.losses import MixupOptions


def mixed(loss_a: jax.Array, loss_b: jax.Array, lam: jax.Array) -> jax.Array:
    """Mixes the losses of a mixed image under the labels of its two images: `lam*loss_a + (1-lam)*loss_b`.

    Args:
      loss_a: `[batch]` losses under the labels of the images that entered with weight `lam`.
      loss_b: `[batch]` losses under the labels of the others.
      lam: scalar or `[batch]` in [0, 1].

    Returns:
      `[batch]` losses, not reduced.
    """
    return lam * loss_a + (1 - lam) * loss_b


class MixupLoss(MixupOptions, SoftmaxLoss):
    """Softmax cross-entropy for images mixed by the data pipeline.

    The module itself is plain cross-entropy. Who trains with it draws `lam ~ Beta(mixup_alpha, mixup_alpha)`,
    mixes the images `lam*a + (1-lam)*b`, calls the module once with the labels of a and once with those of b,
    and combines the two with `mixed`.
    """

    @property
    def asked_mixup(self) -> float:
        """See `LossModule.asked_mixup`."""
        return self.mixup_alpha
