"""Softmax cross-entropy over a cosine classifier with a learned scale."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic.similarity import scaled_cosine
from fsjax.losses.base import LossModule, LossOutput
from fsjax.losses.softmax import softmax_cross_entropy
from fsjax.options.losses import CosineOptions

# The learned scale never falls below this: at 0 the classifier would say nothing, and below 0 the opposite.
MIN_TAU = 1e-2


class CosineLoss(CosineOptions, LossModule):
    """Cross-entropy of scaled cosines (Qi et al. 2018; Gidaris & Komodakis 2018; Lifchitz et al. 2019, Eq. 6 to 8).

    The parameters are `weights` `[num_classes, dim]`, one vector per class and no bias, and the scalar `tau`. On
    flattened maps the cosine is that of the Frobenius product, Eq. 6.
    """

    NO_DECAY = ("tau",)
    PER_EXAMPLE = True

    def setup(self) -> None:
        """Makes the class vectors, of length about 1, and the scale."""
        init = nn.initializers.normal(self.dim**-0.5)
        self.weights = self.param("weights", init, (self.num_classes, self.dim))
        self.tau = self.param("tau", nn.initializers.constant(self.tau_init), ())

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns `[batch, num_classes]` scaled cosines."""
        return scaled_cosine(self.prepare(features), self.weights, self._scale)

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`."""
        per_example = softmax_cross_entropy(self.logits(features), labels)
        return LossOutput(per_example, jnp.zeros(()), {"tau": self._scale})

    @property
    def _scale(self) -> jax.Array:
        return jnp.maximum(self.tau, MIN_TAU)
