"""Center loss: cross-entropy that also draws features to the centre of their class (Wen et al. 2016)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fsjax.losses.base import LossOutput, matmul, one_hot
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy
from fsjax.options.losses import CenterOptions


def center_loss(features: jax.Array, labels: jax.Array, centers: jax.Array) -> jax.Array:
    """Half the squared distance from each feature to the centre of its class (Wen et al. 2016, Eq. 2).

    Args:
      features: `[batch, dim]`.
      labels: `[batch]` integers.
      centers: `[num_classes, dim]`, one centre per class.

    Returns:
      `[batch]` losses, not reduced.
    """
    return 0.5 * jnp.sum(jnp.square(features - matmul(one_hot(labels, centers), centers)), axis=-1)


def updated_centers(features: jax.Array, labels: jax.Array, centers: jax.Array, *, rate: float) -> jax.Array:
    """Moves centres towards their features, `c_j -= rate * sum_i(c_j - x_i) / (1 + n_j)` (their Eq. 4).

    Args:
      features: `[batch, dim]`, of the whole global batch.
      labels: `[batch]` integers.
      centers: `[num_classes, dim]`.
      rate: in [0, 1].

    Returns:
      The new `[num_classes, dim]` centres; those of classes that are not in the batch are unchanged.
    """
    selection = one_hot(labels, centers)
    counts = jnp.sum(selection, axis=0)
    difference = matmul(selection.T, matmul(selection, centers) - features)
    return centers - rate * difference / (1 + counts)[:, None]


class CenterLoss(CenterOptions, LinearLoss):
    """Cross-entropy plus `lam` times `center_loss`, over a linear classifier.

    The centres are not trained by gradient: `"loss_state"/"centers"` starts at zero and follows the batch by
    `updated_centers`, after the loss of that batch was computed with the old ones. As in Wen et al. (Eq. 5)
    both terms are reduced alike; ICU's Eq. 3 averages the first and sums the second.
    """

    def setup(self) -> None:
        """Makes the classifier and the centres."""
        super().setup()
        self.centers = self.variable("loss_state", "centers", jnp.zeros, (self.num_classes, self.dim))

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`; moves the centres."""
        features = self.prepare(features)
        centers = self.centers.value
        distances = center_loss(features, labels, centers)
        if self.is_mutable_collection("loss_state") and not self.is_initializing():
            moved = updated_centers(jax.lax.stop_gradient(features), labels, centers, rate=self.rate)
            self.centers.value = moved.astype(centers.dtype)
        losses = softmax_cross_entropy(self.logits(features), labels) + self.lam * distances
        return LossOutput(losses, jnp.zeros(()), {"center_distance": jnp.mean(distances)})
