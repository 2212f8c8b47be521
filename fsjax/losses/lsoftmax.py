"""Large-margin softmax: the label's angle must be m times smaller than the others' (Liu et al. 2016)."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.losses.base import LossModule, LossOutput, matmul, one_hot
from fsjax.losses.softmax import softmax_cross_entropy
from fsjax.options.losses import LSoftmaxOptions

# Under the square root of norms, so that a feature of norm zero has a gradient.
NORM_EPSILON = 1e-12


def angular_margin(cosine: jax.Array, m: int) -> jax.Array:
    """Liu et al.'s psi: `(-1)^k cos(m theta) - 2k` on `[k pi/m, (k+1) pi/m]`, monotone in theta.

    It is evaluated from the cosine alone, `cos(m theta)` as a Chebyshev polynomial and k by comparisons,
    because the gradient of the arc cosine is infinite at theta = 0 and pi.

    Args:
      cosine: cos(theta), any shape; rounding beyond [-1, 1] does no harm.
      m: the margin, an integer of at least 1.

    Returns:
      psi(theta), of the shape of `cosine`.
    """
    k = sum(
        ((cosine < math.cos(j * math.pi / m)).astype(cosine.dtype) for j in range(1, m)),
        start=jnp.zeros_like(cosine),
    )
    previous, chebyshev = jnp.ones_like(cosine), cosine
    for _ in range(m - 1):
        previous, chebyshev = chebyshev, 2 * cosine * chebyshev - previous
    return (1 - 2 * (k % 2)) * chebyshev - 2 * k


def lsoftmax_logits(
    features: jax.Array, labels: jax.Array, kernel: jax.Array, *, m: int, beta: float | jax.Array
) -> jax.Array:
    """Logits `features @ kernel` with the label's replaced by `|w||x| (beta cos + psi(theta)) / (1 + beta)`.

    Args:
      features: `[batch, dim]`.
      labels: `[batch]` integers.
      kernel: `[dim, classes]`.
      m: the margin, an integer of at least 1; at 1 nothing changes.
      beta: scalar of at least 0; the larger, the more of the plain logit is mixed in.

    Returns:
      `[batch, classes]` training logits.
    """
    logits = matmul(features, kernel)
    selection = one_hot(labels, kernel.T)
    own_weights = matmul(selection, kernel.T)
    norms = _norm(features) * _norm(own_weights)
    plain = jnp.sum(features * own_weights, axis=-1)
    own = (beta * plain + norms * angular_margin(plain / norms, m)) / (1 + beta)
    return jnp.where(selection > 0, own[:, None], logits)


def _norm(vectors: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(vectors), axis=-1) + NORM_EPSILON)


class LSoftmaxLoss(LSoftmaxOptions, LossModule):
    """L-Softmax over a linear classifier without bias, its margin phased in.

    `beta = max(beta_min, beta * (1 + beta_gamma * step)^(-beta_power))`, as in the authors' Caffe layer, with
    the values of their MNIST example as defaults (beta < 1 from about step 9,000). They advise a `beta_min`
    of 5 or 10 for hard data sets. A constant mixture is `beta_gamma=0`.
    """

    def setup(self) -> None:
        """Makes the classifier's weights."""
        self.kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.dim, self.num_classes))

    def beta_at(self, step: jax.Array) -> jax.Array:
        """Returns the weight of the plain logit at `step`."""
        decay = (1 + self.beta_gamma * jnp.asarray(step, float)) ** -self.beta_power
        return jnp.maximum(self.beta_min, self.beta * decay)

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]` at the given training step."""
        beta = self.beta_at(step)
        logits = lsoftmax_logits(self.prepare(features), labels, self.kernel, m=int(self.m), beta=beta)
        return LossOutput(softmax_cross_entropy(logits, labels), jnp.zeros(()), {"beta": beta})

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns `[batch, num_classes]` scores without margin, `features @ kernel`."""
        return matmul(self.prepare(features), self.kernel)
