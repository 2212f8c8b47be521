"""Z-loss: a loss of the standardised output of the label, blind to shift and scale (de Brébisson & Vincent 2016).

"The Z-loss: a shift and scale invariant classification loss belonging to the Spherical Family".
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fsjax.losses.base import LossOutput
from fsjax.losses.softmax import LinearLoss
from fsjax.options.losses import ZOptions

# The least standard deviation that outputs are divided by. Outputs that are all equal, say of features that are zero,
# then have scores of 0 and a gradient of at most 1 / STD_FLOOR. Above the floor nothing changes.
STD_FLOOR = 1e-4


def z_scores(outputs: jax.Array) -> jax.Array:
    """Outputs `[batch, classes]` less their mean, over their (population) standard deviation or `STD_FLOOR`.

    The same for `c * outputs + d` with c > 0, wherever both standard deviations are above the floor.
    """
    centered = outputs - jnp.mean(outputs, axis=-1, keepdims=True)
    # The floor is under the root, whose gradient at 0 is infinite.
    variance = jnp.maximum(jnp.mean(jnp.square(centered), axis=-1, keepdims=True), STD_FLOOR**2)
    return centered / jnp.sqrt(variance)


def z_loss(outputs: jax.Array, labels: jax.Array, *, a: float, b: float) -> jax.Array:
    """`softplus(a (b - z)) / a` of the label's standardised output z.

    Args:
      outputs: `[batch, classes]`.
      labels: `[batch]` integers.
      a: how sharply the loss ends where z passes b, positive.
      b: the z from which on an example counts as solved; no z is above `sqrt(classes - 1)`.

    Returns:
      `[batch]` losses, not reduced.
    """
    chosen = jax.nn.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)
    z = jnp.sum(z_scores(outputs) * chosen, axis=-1)
    return jax.nn.softplus(a * (b - z)) / a


class ZLoss(ZOptions, LinearLoss):
    """`z_loss` of a linear classifier.

    The prediction is the argmax of the outputs, whose softmax says little: nothing in training sets their scale.
    """

    PER_EXAMPLE = True

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`."""
        return LossOutput(z_loss(self.logits(features), labels, a=self.a, b=self.b), jnp.zeros(()), {})
