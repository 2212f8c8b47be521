"""DatasetEquity: cross-entropy weighted by how rare an image's appearance is (Shrivastava et al. 2023)."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from fsjax.losses.base import LossOutput, as_loss_dtype
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy
from fsjax.options.losses import DatasetEquityOptions


def equity_weights(shares: jax.Array, *, eta: float, gamma: float) -> jax.Array:
    """Weights `(eta + (1 - p)^gamma) / (eta + 1)` of the Generalized Focal Loss (its README's formula).

    Args:
      shares: any shape, p in [0, 1], how likely an example's appearance is.
      eta: a floor; the smallest weight is `eta / (eta + 1)`.
      gamma: how fast weights fall with p; 0 makes all of them 1.

    Returns:
      Weights in (0, 1], of the shape of `shares`.
    """
    return (eta + (1 - shares) ** gamma) / (eta + 1)


class DatasetEquityLoss(DatasetEquityOptions, LinearLoss):
    """Cross-entropy of a linear classifier, less of examples whose appearance is common.

    p is the share of the training images that are in the image's appearance cluster; clusters are numbers in a file,
    `config.data.clusters`, which `fsjax cluster` makes. How the authors normalise p is not recovered:
    this share is our reading (docs/readings.md, "Bias loss and dataset equity").
    """

    PER_EXAMPLE = True
    READS: ClassVar[tuple[str, ...]] = ("cluster_share",)

    def __call__(
        self, features: jax.Array, labels: jax.Array, *, step: jax.Array, cluster_share: jax.Array
    ) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]`, `labels` `[batch]` and `cluster_share` `[batch]`."""
        weights = equity_weights(as_loss_dtype(cluster_share), eta=self.eta, gamma=self.gamma)
        losses = weights * softmax_cross_entropy(self.logits(features), labels)
        return LossOutput(losses, jnp.zeros(()), {"weight": jnp.mean(weights)})
