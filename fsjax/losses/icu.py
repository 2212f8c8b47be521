"""Intra-class uncertainty (ICU) loss: a Gaussian per class, its variance part of the decision (Zhu & Yu).

Equation numbers are those of "Intra-class uncertainty loss function for classification". Every class k has a
mean mu_k and a covariance Sigma_k; `log_var` is the logarithm of the variances, `[classes, dim]` for diagonal
covariances or `[classes]` for isotropic ones.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic import gaussian
from fsjax.losses.base import LossModule, LossOutput, matmul, one_hot
from fsjax.losses.softmax import softmax_cross_entropy
from fsjax.options.losses import IcuOptions


def distances(features: jax.Array, means: jax.Array, log_var: jax.Array) -> jax.Array:
    """Decision distances `((x-mu_k)' Sigma_k^-1 (x-mu_k) + ln|Sigma_k|) / 2` (Eq. 9); the least decides.

    Args:
      features: `[batch, dim]`.
      means: `[classes, dim]`.
      log_var: `[classes, dim]` or `[classes]`.

    Returns:
      `[batch, classes]`.
    """
    squared = gaussian.squared_mahalanobis(features, means, log_var)
    return 0.5 * (squared + gaussian.log_determinant(log_var, features.shape[-1]))


def training_logits(
    features: jax.Array,
    labels: jax.Array,
    means: jax.Array,
    log_var: jax.Array,
    *,
    alpha: float,
    gamma: float,
    margin_mode: str,
) -> jax.Array:
    """Negative distances with both margins on the label's: `-(1 + alpha) d_z^gamma` (Eq. 17 and 18).

    Args:
      features: `[batch, dim]`.
      labels: `[batch]` integers.
      means: `[classes, dim]`.
      log_var: `[classes, dim]` or `[classes]`.
      alpha: the margin between classes.
      gamma: the margin within a class.
      margin_mode: how Eq. 18's "ln(1+gamma)|Sigma|" is read. `"logdet_plus"`, ln((1+gamma)|Sigma|), is the
        only reading from which Eq. 21 follows; `"scaled_logdet"`, (1+gamma) ln|Sigma|, is the released
        code's; `"per_dim"` is ln|(1+gamma) Sigma|.

    Returns:
      `[batch, classes]`.
    """
    dim = features.shape[-1]
    squared = gaussian.squared_mahalanobis(features, means, log_var, labels)
    log_determinant = gaussian.log_determinant(log_var, dim)
    with_margin = {
        "logdet_plus": log_determinant + jnp.log1p(gamma),
        "scaled_logdet": (1 + gamma) * log_determinant,
        "per_dim": log_determinant + dim * jnp.log1p(gamma),
    }[margin_mode]
    own = 0.5 * (1 + alpha) * (squared + with_margin)
    return -jnp.where(one_hot(labels, means) > 0, own, 0.5 * (squared + log_determinant))


class BatchMoments(NamedTuple):
    """Moments of a batch by class, zeros for classes that are not in it.

    Attributes:
      counts: `[classes]` number of examples.
      mean_offset: `[classes, dim]` batch mean minus the class's mean parameter.
      variance: `[classes, dim]` mean squared deviation from the mean *parameter* (Eq. 13).
    """

    counts: jax.Array
    mean_offset: jax.Array
    variance: jax.Array


def batch_moments(features: jax.Array, labels: jax.Array, means: jax.Array) -> BatchMoments:
    """Moments of each class's features about its mean parameter, N in Eq. 12 and 13 being the class's count.

    Args:
      features: `[batch, dim]`, of the whole global batch.
      labels: `[batch]` integers.
      means: `[classes, dim]`.

    Returns:
      The moments. One example of a class suffices, as deviations are from the parameter, not from the batch
      mean.
    """
    selection = one_hot(labels, means)
    counts = jnp.sum(selection, axis=0)
    divisor = jnp.maximum(counts, 1)[:, None]
    deviation = features - matmul(selection, means)
    offset = matmul(selection.T, deviation) / divisor
    return BatchMoments(counts, offset, matmul(selection.T, jnp.square(deviation)) / divisor)


def moment_regularizer(
    features: jax.Array,
    labels: jax.Array,
    means: jax.Array,
    log_var: jax.Array,
    *,
    lambda_mu: float,
    lambda_sigma: float,
    reduction: str,
) -> tuple[jax.Array, jax.Array]:
    """Squared gaps between the parameters and the batch's moments (Eq. 12 to 14).

    Classes that are not in the batch contribute nothing. For isotropic covariances the batch's variance is
    the mean over dimensions; Eq. 13 as printed sums them, which is no estimate of the variance. The gradient
    with respect to the means is Eq. 15 with a minus for its second sign, which is misprinted.

    Args:
      features: `[batch, dim]`, of the whole global batch.
      labels: `[batch]` integers.
      means: `[classes, dim]`.
      log_var: `[classes, dim]` or `[classes]`.
      lambda_mu: weight of the means' term.
      lambda_sigma: weight of the variances' term.
      reduction: `"sum"` over classes and dimensions is Eq. 14; `"mean"` is over the classes that are in the
        batch and over dimensions, so that the weight depends neither on the width nor on the batch.

    Returns:
      The weighted terms of the means and of the variances, two scalars.
    """
    moments = batch_moments(features, labels, means)
    present = moments.counts > 0
    variance = moments.variance
    if log_var.ndim == 1:
        variance = jnp.mean(variance, axis=-1, keepdims=True)
        log_var = log_var[:, None]
    variance_gap = jnp.where(present[:, None], jnp.exp(log_var) - variance, 0)
    mean_term = jnp.sum(jnp.square(moments.mean_offset))
    variance_term = jnp.sum(jnp.square(variance_gap))
    if reduction == "mean":
        classes = jnp.maximum(jnp.sum(present), 1)
        mean_term /= classes * means.shape[-1]
        variance_term /= classes * log_var.shape[-1]
    return lambda_mu * mean_term, lambda_sigma * variance_term


def official_distances(features: jax.Array, means: jax.Array, log_var: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Decision distances of the authors' released code, which are not those of Eq. 9.

    There `x' Sigma_k^-1 x` is summed over all classes, and the log-determinant has the factor 1/4.

    Args:
      features: `[batch, dim]`.
      means: `[classes, dim]`.
      log_var: `[classes, dim]`.

    Returns:
      `[batch, classes]` distances less the sum over classes, and that sum, `[batch]`. They come apart because
      the sum is the same for all classes, changes no decision, and would drown the others in float32.
    """
    precision = jnp.exp(-log_var)
    weighted = means * precision
    shared = 0.5 * matmul(jnp.square(features), jnp.sum(precision, axis=0))
    linear = 0.5 * jnp.sum(means * weighted, axis=-1) - matmul(features, weighted.T)
    return linear + 0.25 * jnp.sum(log_var, axis=-1), shared


def official_training_logits(
    features: jax.Array,
    labels: jax.Array,
    means: jax.Array,
    log_var: jax.Array,
    *,
    alpha: float,
    gamma: float,
) -> jax.Array:
    """Training logits of the released code, plus the sum that all classes share (see `official_distances`).

    Args:
      features: `[batch, dim]`.
      labels: `[batch]` integers.
      means: `[classes, dim]`.
      log_var: `[classes, dim]`.
      alpha: the margin between classes.
      gamma: the margin within a class, a factor of the log-determinant.

    Returns:
      `[batch, classes]`.
    """
    own, shared = official_distances(features, means, log_var)
    intra = 0.25 * gamma * jnp.sum(log_var, axis=-1)
    margin = alpha * (own + shared[:, None]) + (1 + alpha) * intra
    return -(own + one_hot(labels, means) * margin)


def official_regularizer(
    features: jax.Array,
    labels: jax.Array,
    means: jax.Array,
    log_var: jax.Array,
    *,
    lambda_mu: float,
    lambda_sigma: float,
) -> tuple[jax.Array, jax.Array]:
    """Regulariser of the released code: batch means of `(x-mu_z)^2` and `|(x-mu_z)^2 - var_z|`.

    Args:
      features: `[batch, dim]`.
      labels: `[batch]` integers.
      means: `[classes, dim]`.
      log_var: `[classes, dim]`.
      lambda_mu: weight of the first term.
      lambda_sigma: weight of the second.

    Returns:
      The two weighted terms, scalars; each a mean over batch and dimensions.
    """
    selection = one_hot(labels, means)
    squared = jnp.square(features - matmul(selection, means))
    gap = jnp.abs(squared - matmul(selection, jnp.exp(log_var)))
    return lambda_mu * jnp.mean(squared), lambda_sigma * jnp.mean(gap)


class IcuLoss(IcuOptions, LossModule):
    """ICU: cross-entropy of Gaussian logits with two margins, plus the moments' regulariser.

    Class means start normally distributed (`mean_init_std`), variances at 1. Log-variances are clipped to [-10, 10], by
    `gaussian.clip_inward`. Of `variance_param="inv_std"`, as in the released code, only the square has a meaning, so
    that the sign is ignored, and the magnitude is kept within exp(-5) and exp(5), the same limits.

    `mode="official_code"` is what the authors released, another loss: with diagonal covariances, the intra-class margin
    of "scaled_logdet" and a regulariser averaged over batch and dimensions; `margin_mode` and `reg_reduction` are not
    used then. Of these see `training_logits` and `moment_regularizer`.
    """

    NO_DECAY: ClassVar[tuple[str, ...]] = ("log_var", "inv_std")

    def setup(self) -> None:
        """Makes the means and the variances."""
        shape = (self.num_classes, self.dim)
        self.means = self.param("means", gaussian.mean_initializer(self.mean_init_std, self.dim), shape)
        spread_shape = shape if self.covariance == "diag" else (self.num_classes,)
        initializer = nn.initializers.zeros if self.variance_param == "log_var" else nn.initializers.ones
        self.spread = self.param(self.variance_param, initializer, spread_shape)

    def log_variances(self) -> jax.Array:
        """Returns the clipped log-variances, `[num_classes, dim]` or `[num_classes]`, whatever is stored."""
        limit = gaussian.LOG_VAR_LIMIT
        if self.variance_param == "log_var":
            return gaussian.clip_inward(self.spread, -limit, limit)
        # Unlike jnp.abs, this has a gradient at 0, so that not even 0 is a dead end.
        magnitude = jnp.where(self.spread < 0, -self.spread, self.spread)
        return -2 * jnp.log(gaussian.clip_inward(magnitude, math.exp(-limit / 2), math.exp(limit / 2)))

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]`, the whole global batch, and `labels` `[batch]`."""
        batch = self.prepare(features), labels, self.means, self.log_variances()
        margins: dict[str, Any] = {"alpha": self.alpha, "gamma": self.gamma}
        weights: dict[str, Any] = {"lambda_mu": self.lambda_mu, "lambda_sigma": self.lambda_sigma}
        if self.mode == "official_code":
            logits = official_training_logits(*batch, **margins)
            reg_mean, reg_variance = official_regularizer(*batch, **weights)
        else:
            logits = training_logits(*batch, **margins, margin_mode=self.margin_mode)
            reg_mean, reg_variance = moment_regularizer(*batch, **weights, reduction=self.reg_reduction)
        return LossOutput(
            per_example=softmax_cross_entropy(logits, labels),
            regularizer=reg_mean + reg_variance,
            metrics={"reg_mean": reg_mean, "reg_variance": reg_variance},
        )

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns `[batch, num_classes]` scores without margins: minus the distances with log-determinants.

        Their softmax is the posterior under equal priors. `mode="official_code"` leaves out the term that all
        classes share.
        """
        features, log_var = self.prepare(features), self.log_variances()
        if self.mode == "official_code":
            return -official_distances(features, self.means, log_var)[0]
        return -distances(features, self.means, log_var)
