"""Losses of the spherical family: class probabilities by polynomials in place of exponentials.

De Brébisson & Vincent 2016, "An Exploration of Softmax Alternatives Belonging to the Spherical Loss Family".
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fsjax.losses.base import LossOutput
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy
from fsjax.options.losses import SphericalOptions


def spherical_logits(outputs: jax.Array, *, epsilon: float) -> jax.Array:
    """Logarithm of the spherical softmax's unnormalised probability `o^2 + epsilon`; any shape."""
    return jnp.log(jnp.square(outputs) + epsilon)


def taylor_logits(outputs: jax.Array) -> jax.Array:
    """Logarithm of the Taylor softmax's unnormalised probability `1 + o + o^2 / 2`; any shape."""
    # Written as a sum of squares: nowhere below 1/2, and nothing cancels.
    return jnp.log(0.5 * (jnp.square(1 + outputs) + 1))


class SphericalLoss(SphericalOptions, LinearLoss):
    """Negative log probability of the label where probabilities are not exponential in a linear classifier's
    outputs."""

    PER_EXAMPLE = True

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns `[batch, num_classes]` scores; argmax is the prediction, softmax the posterior."""
        outputs = super().logits(features)
        return spherical_logits(outputs, epsilon=self.epsilon) if self.kind == "spherical" else taylor_logits(outputs)

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`."""
        return LossOutput(softmax_cross_entropy(self.logits(features), labels), jnp.zeros(()), {})
