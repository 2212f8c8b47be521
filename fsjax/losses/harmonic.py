"""Harmonic loss: probabilities by the inverse distance to class vectors, for many distances.

Baek et al. 2025, "Harmonic Loss Trains Interpretable AI Models"; distances other than Euclid's: "Rethinking the
Harmonic Loss via Non-Euclidean Distance Layers" (docs/readings.md, "Harmonic loss").
"""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic.distances import DISTANCES, EXPANDED, FLOOR, with_exact_own
from fsjax.losses.arithmetic.gaussian import LOG_VAR_LIMIT, clip_inward
from fsjax.losses.base import LossModule, LossOutput, matmul, one_hot
from fsjax.losses.softmax import softmax_cross_entropy
from fsjax.options.losses import HarmonicOptions


def harmonic_logits(distances: jax.Array, *, n: float) -> jax.Array:
    """`-n ln d`: the softmax of these logits is the harmonic one, `d_k^-n / Σ_j d_j^-n`.

    A factor common to all distances changes no probability.

    Args:
      distances: `[batch, classes]`; one below `FLOOR` counts as that.
      n: the harmonic exponent.

    Returns:
      `[batch, classes]` logits.
    """
    return -n * jnp.log(jnp.maximum(distances, FLOOR))


class HarmonicLoss(HarmonicOptions, LossModule):
    """Cross-entropy of `harmonic_logits`, the distances being those to `weights` `[num_classes, dim]`, one per class.

    There is no bias. The precision that the Mahalanobis distance learns is one for all classes, the identity at the
    start. Like the class vectors of all losses here, these start with a standard deviation of 1/sqrt(dim); the
    released layers have torch's 1/sqrt(3 dim), uniform.

    The distance "euclid" is the paper's formula. The released layer raises `‖x - w‖² + 1e-4` to -n, twice the paper's
    exponent: that is "squared_euclid". Released code has n = 1 for images, and dim for language models. The precision
    is exp of the parameter `log_precision` `[dim]`, kept within 10 of zero ("diag"), or F F' with the lower triangle F
    of the parameter `factor` `[dim, dim]` ("triangular").
    """

    NO_DECAY: ClassVar[tuple[str, ...]] = ("log_precision", "factor")  # a precision has no size: its scale cancels
    PER_EXAMPLE = True

    def setup(self) -> None:
        """Makes the class vectors, and the precision where the distance has one."""
        init = nn.initializers.normal(self.dim**-0.5)
        self.weights = self.param("weights", init, (self.num_classes, self.dim))
        if self.distance == "mahalanobis" and self.precision == "diag":
            self.log_precision = self.param("log_precision", nn.initializers.zeros, (self.dim,))
        elif self.distance == "mahalanobis":
            self.factor = self.param("factor", lambda _, dim: jnp.eye(dim), self.dim)

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns `[batch, num_classes]` scores; argmax is the nearest class, softmax the posterior."""
        return self._scores(self._distance(self.prepare(features), self.weights))

    def _distance(self, features: jax.Array, classes: jax.Array) -> jax.Array:
        return DISTANCES[self.distance](features, classes, **self._options())

    def _scores(self, distances: jax.Array) -> jax.Array:
        return harmonic_logits(distances, n=self.dim**0.5 if self.n is None else self.n)

    def _options(self) -> dict[str, float | str | jax.Array]:
        """What the distance takes besides the vectors."""
        if self.distance == "mahalanobis" and self.precision == "diag":
            return {"factor": jnp.exp(clip_inward(self.log_precision, -LOG_VAR_LIMIT, LOG_VAR_LIMIT) / 2)}
        if self.distance == "mahalanobis":
            return {"factor": jnp.tril(self.factor)}
        own: dict[str, dict[str, float | str | jax.Array]] = {
            "minkowski": {"p": self.p},
            "bray_curtis": {"denominator": self.bray_curtis},
        }
        return own.get(self.distance, {})

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`."""
        features = self.prepare(features)
        distances = self._distance(features, self.weights)
        if self.distance in EXPANDED:
            own = matmul(one_hot(labels, self.weights), self.weights)
            distances = with_exact_own(distances, self._distance, features, own, labels)
        return LossOutput(softmax_cross_entropy(self._scores(distances), labels), jnp.zeros(()), {})
