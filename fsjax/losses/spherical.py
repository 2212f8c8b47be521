"""Losses of the spherical family: class probabilities by polynomials in place of exponentials.

De Brébisson & Vincent 2016, "An Exploration of Softmax Alternatives Belonging to the Spherical Loss Family".
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fsjax.losses.base import LossOutput, check_at_least, check_choice
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy


def spherical_logits(outputs: jax.Array, *, epsilon: float) -> jax.Array:
    """Logarithm of the spherical softmax's unnormalised probability `o^2 + epsilon`; any shape."""
    return jnp.log(jnp.square(outputs) + epsilon)


def taylor_logits(outputs: jax.Array) -> jax.Array:
    """Logarithm of the Taylor softmax's unnormalised probability `1 + o + o^2 / 2`; any shape."""
    # Written as a sum of squares: nowhere below 1/2, and nothing cancels.
    return jnp.log(0.5 * (jnp.square(1 + outputs) + 1))


class SphericalLoss(LinearLoss):
    """Negative log probability of the label where probabilities are not exponential in a linear classifier's outputs.

    Attributes:
      kind: `"spherical"`, (o^2 + epsilon) over its sum: even in o, so that an output far below zero is as good as one
        far above; or `"taylor"`, (1 + o + o^2 / 2) over its sum, the exponential's second-order expansion, least at -1.
      epsilon: of the spherical softmax; bounds the gradient of the loss by each output by `1 / sqrt(epsilon)`: small
        ones, such as 1e-4, make training unstable.
    """

    kind: str = "spherical"
    epsilon: float = 1.0

    PER_EXAMPLE = True

    def check_fields(self) -> None:
        """Raises UserError for an unknown kind or an epsilon that leaves a logarithm of zero."""
        check_choice("kind", self.kind, ("spherical", "taylor"))
        check_at_least("epsilon", self.epsilon, 1e-12)

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns `[batch, num_classes]` scores; argmax is the prediction, softmax the posterior."""
        outputs = super().logits(features)
        return spherical_logits(outputs, epsilon=self.epsilon) if self.kind == "spherical" else taylor_logits(outputs)

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`."""
        return LossOutput(softmax_cross_entropy(self.logits(features), labels), jnp.zeros(()), {})
