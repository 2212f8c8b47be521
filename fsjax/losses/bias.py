"""Bias loss: cross-entropy weighted by the variance of an image's feature map (Abrahamyan et al. 2021)."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from fsjax.errors import UserError
from fsjax.losses.base import LossOutput, as_loss_dtype
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy
from fsjax.options.losses import BiasOptions

# Largest normalised variance. With the running minimum, a batch whose variances are nearly equal divides by next to
# nothing, and its exponential would overflow.
_LARGEST = 10.0
# The running minimum before the first batch; the mean over devices of this does not overflow.
_NO_MINIMUM = 1e30


def map_variances(maps: jax.Array) -> jax.Array:
    """Unbiased variance `[batch]` over all entries of each image's maps `[batch, ...]`.

    Raises:
      UserError: for maps of one entry, which have none.
    """
    flat = as_loss_dtype(maps).reshape(len(maps), -1)
    if flat.shape[1] < 2:
        raise UserError(f"the bias loss needs feature maps of at least 2 entries, got {tuple(maps.shape)}")
    return jnp.var(flat, axis=1, ddof=1)


def bias_weights(variances: jax.Array, *, alpha: float, beta: float, minimum: jax.Array | None = None) -> jax.Array:
    """Weights `exp(alpha · v) - beta`, v the variance less the minimum, over the range of the batch.

    Args:
      variances: `[batch]`, of the whole batch.
      alpha: how much more the images of large variance weigh.
      beta: taken from all weights.
      minimum: of the variances of earlier batches too; None: of this batch, and v is in 0..1.

    Returns:
      `[batch]`. Where all variances are equal, as in a batch of one, v is 0 and the weights are `1 - beta`.
    """
    least, largest = jnp.min(variances), jnp.max(variances)
    extent = largest - least
    base = least if minimum is None else minimum
    normalized = jnp.where(extent > 0, (variances - base) / jnp.where(extent > 0, extent, 1), 0)
    return jnp.exp(alpha * jnp.minimum(normalized, _LARGEST)) - beta


class BiasLoss(BiasOptions, LinearLoss):
    """Cross-entropy of a linear classifier, each example weighted by the variance of its last feature maps.

    No gradient goes through the weights. An image's weight depends on the whole batch. The extent "batch" takes the
    variances between the batch's smallest and largest; "global", as the authors' code by default, takes the smallest of
    all batches so far, kept in `"loss_state"/"minimum"`, and still divides by the range of the batch (up to 10 times
    it: then the authors' weights overflow). That minimum changes only where the collection is mutable.
    """

    READS: ClassVar[tuple[str, ...]] = ("maps",)

    def setup(self) -> None:
        """Makes the classifier and, for `"global"`, the running minimum."""
        super().setup()
        if self.extent == "global":
            self.minimum = self.variable("loss_state", "minimum", lambda: jnp.float32(_NO_MINIMUM))

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array, maps: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]`, the whole global batch, its `labels` and its `maps`."""
        variances = map_variances(jax.lax.stop_gradient(maps))
        weights = bias_weights(variances, alpha=self.alpha, beta=self.beta, minimum=self._minimum(variances))
        losses = weights * softmax_cross_entropy(self.logits(features), labels)
        return LossOutput(losses, jnp.zeros(()), {"weight": jnp.mean(weights), "variance": jnp.mean(variances)})

    def _minimum(self, variances: jax.Array) -> jax.Array | None:
        """The smallest variance of this batch and, for `"global"`, those before it, which it is put beside."""
        if self.extent == "batch":
            return None
        known = self.minimum.value
        least = jnp.minimum(known, jnp.min(variances))
        if self.is_mutable_collection("loss_state") and not self.is_initializing():
            self.minimum.value = least.astype(known.dtype)
        return least
