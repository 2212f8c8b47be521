"""Large-margin Gaussian mixture (L-GM) loss: a Gaussian per class, with a likelihood term (Wan et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic import gaussian
from fsjax.losses.base import LossModule, LossOutput, matmul, one_hot
from fsjax.losses.softmax import softmax_cross_entropy
from fsjax.options.losses import LgmOptions


def lgm_logits(
    features: jax.Array,
    means: jax.Array,
    log_var: jax.Array,
    *,
    labels: jax.Array | None = None,
    alpha: float | jax.Array = 0.0,
    logdet_in_logits: bool,
) -> jax.Array:
    """Logits `-(1 + alpha [k = label]) d_k - ln|Lambda_k| / 2`, d half the squared Mahalanobis distance.

    Args:
      features: `[batch, dim]`.
      means: `[classes, dim]`.
      log_var: `[classes, dim]` or `[classes]`.
      labels: `[batch]` integers, for training; None leaves the margin out.
      alpha: the margin.
      logdet_in_logits: True is the CVPR paper, False its Caffe layer and Eq. 4 of the ICU paper.

    Returns:
      `[batch, classes]`.
    """
    distances = 0.5 * gaussian.squared_mahalanobis(features, means, log_var, labels)
    if labels is not None:
        distances *= 1 + alpha * one_hot(labels, means)
    if not logdet_in_logits:
        return -distances
    return -distances - 0.5 * gaussian.log_determinant(log_var, features.shape[-1])


def negative_log_likelihood(features: jax.Array, labels: jax.Array, means: jax.Array, log_var: jax.Array) -> jax.Array:
    """Their likelihood term `d_z + ln|Lambda_z| / 2` of each example under its own class, `[batch]`."""
    own = gaussian.own_squared_mahalanobis(features, labels, means, log_var)
    log_determinant = gaussian.log_determinant(log_var, features.shape[-1])
    return 0.5 * (own + matmul(one_hot(labels, means), log_determinant))


class LgmLoss(LgmOptions, LossModule):
    """L-GM: cross-entropy of Gaussian logits with a margin, plus `lam` times the negative log-likelihood.

    The Caffe recipe for CIFAR-100, which ICU's Table 1 follows, has the options' defaults and
    `alpha_double_every=5000`. A ramp is for the start: while the means are still near one another the gradient
    `(alpha (1 - p) + lam) (x - mu)` draws the features of all classes to one point.
    """

    NO_DECAY: ClassVar[tuple[str, ...]] = ("log_var",)

    def setup(self) -> None:
        """Makes the means and, where they are trained, the variances."""
        shape = (self.num_classes, self.dim)
        self.means = self.param("means", gaussian.mean_initializer(self.mean_init_std, self.dim), shape)
        if self.covariance == "diag":
            self.raw_log_var = self.param("log_var", nn.initializers.zeros, shape)

    def log_variances(self) -> jax.Array:
        """Returns the log-variances: `[num_classes, dim]` clipped parameters, or `[num_classes]` zeros."""
        if self.covariance == "identity":
            return jnp.zeros((self.num_classes,), self.means.dtype)
        return gaussian.clip_inward(self.raw_log_var, -gaussian.LOG_VAR_LIMIT, gaussian.LOG_VAR_LIMIT)

    def ramp_at(self, step: jax.Array) -> jax.Array:
        """Returns the share of margin and likelihood that counts at `step`."""
        return jnp.minimum(step / self.ramp_steps, 1.0) if self.ramp_steps else jnp.ones(())

    def alpha_at(self, step: jax.Array) -> jax.Array:
        """Returns the margin at `step`, before the ramp."""
        if self.alpha_double_every == 0:
            return jnp.asarray(self.alpha, float)
        # 2^60 times any alpha worth the name is beyond alpha_max; without the bound the power overflows.
        doublings = jnp.minimum(step // self.alpha_double_every, 60)
        return jnp.minimum(self.alpha * 2.0**doublings, self.alpha_max)

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]` at the given training step."""
        features, log_var, ramp = self.prepare(features), self.log_variances(), self.ramp_at(step)
        alpha = ramp * self.alpha_at(step)
        logits = lgm_logits(
            features,
            self.means,
            log_var,
            labels=labels,
            alpha=alpha,
            logdet_in_logits=self.logdet_in_logits,
        )
        likelihood = negative_log_likelihood(features, labels, self.means, log_var)
        losses = softmax_cross_entropy(logits, labels) + ramp * self.lam * likelihood
        return LossOutput(losses, jnp.zeros(()), {"alpha": alpha, "likelihood": jnp.mean(likelihood)})

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns `[batch, num_classes]` scores without margin."""
        features = self.prepare(features)
        return lgm_logits(features, self.means, self.log_variances(), logdet_in_logits=self.logdet_in_logits)
