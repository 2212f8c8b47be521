"""Distances to Gaussian classes as matrix products, exact enough for float32.

The squared Mahalanobis distance of all examples to all classes, `sum_d (x_d - mu_kd)^2 / var_kd`, written as
a difference needs a `[batch, classes, dim]` array. Expanding the square gives two matrix products, but loses
digits when the terms are much larger than their sum. Distances do not change when features and means are
moved together, so both are first moved by the mean of the class means.

What error remains: a few units in the last place (about 1e-7 in float32) of
`sum_d (|x_d - r_d| + |mu_kd - r_d|)^2 / var_kd`, r being the mean of the class means. So it depends on how
far the classes spread about their common centre, not on how far from the origin they lie; the relative error
is large only for a class that is much nearer to the feature than to the centre. The class of the label, for
which that is what training aims at, is computed from the difference itself and has no such error.

Everywhere `log_var` is `[classes, dim]` (diagonal covariances) or `[classes]` (isotropic ones, log of the
variance of each dimension).
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.losses.base import matmul, one_hot

# A variance of 22,000 or its inverse: wide enough for any sensible features, and products stay finite.
LOG_VAR_LIMIT = 10.0


def squared_mahalanobis(
    features: jax.Array, means: jax.Array, log_var: jax.Array, labels: jax.Array | None = None
) -> jax.Array:
    """Squared Mahalanobis distance from every feature to every class.

    Args:
      features: `[batch, dim]`.
      means: `[classes, dim]`.
      log_var: `[classes, dim]` or `[classes]`.
      labels: `[batch]` classes whose distance is to be computed without cancellation, or None.

    Returns:
      `[batch, classes]`, never negative; error bound in the module's docstring.
    """
    center = jax.lax.stop_gradient(jnp.mean(means, axis=0))
    x, mu = features - center, means - center
    precision = jnp.exp(-log_var)
    if log_var.ndim == 1:
        x_norm, mu_norm = jnp.sum(jnp.square(x), axis=-1), jnp.sum(jnp.square(mu), axis=-1)
        squared = (x_norm[:, None] - 2 * matmul(x, mu.T) + mu_norm) * precision
    else:
        weighted = mu * precision
        squared = matmul(jnp.square(x), precision.T) - 2 * matmul(x, weighted.T) + jnp.sum(mu * weighted, axis=-1)
    # Rounding can leave a small negative number. Its value is wrong but its gradient is not: the gradient's
    # own error is as small as the rounding, while cutting it off would cost the square root of that.
    squared += jax.lax.stop_gradient(jnp.maximum(squared, 0) - squared)
    if labels is None:
        return squared
    own = own_squared_mahalanobis(features, labels, means, log_var)
    return jnp.where(one_hot(labels, means) > 0, own[:, None], squared)


def own_squared_mahalanobis(features: jax.Array, labels: jax.Array, means: jax.Array, log_var: jax.Array) -> jax.Array:
    """Squared Mahalanobis distance `[batch]` from each feature to its label's class, without cancellation."""
    selection = one_hot(labels, means)
    squared = jnp.square(features - matmul(selection, means))
    if log_var.ndim == 1:
        return jnp.sum(squared, axis=-1) * matmul(selection, jnp.exp(-log_var))
    return jnp.sum(squared * matmul(selection, jnp.exp(-log_var)), axis=-1)


def log_determinant(log_var: jax.Array, dim: int) -> jax.Array:
    """Logarithm of the covariances' determinants, `[classes]`."""
    return dim * log_var if log_var.ndim == 1 else jnp.sum(log_var, axis=-1)


def mean_initializer(std: float | None, dim: int) -> nn.initializers.Initializer:
    """Normal initializer of class means; `std=None` is `1/sqrt(dim)`.

    With features of unit variance per dimension, that default makes the logits at the start differ by about 1
    whatever the width, where a standard deviation of 1 would make them differ by `sqrt(dim)`. Tried with ICU
    on scikit-learn's digits (two hidden layers of 128, Adam, 600 steps of 128, two seeds): test accuracy 98.0
    and 98.2 % against 97.2 and 97.7 % with a standard deviation of 1 in 128 dimensions (first loss 2.4
    against 14), and no difference in 2 dimensions (95.2 and 94.7 % against 95.0 and 95.2 %).
    """
    return nn.initializers.normal(dim**-0.5 if std is None else std)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def clip_inward(value: jax.Array, low: float, high: float) -> jax.Array:
    """Clips to `[low, high]`, with the gradient at and beyond a limit where descent leads back inside.

    `jnp.clip` has no gradient beyond its limits, so that a parameter which once crossed one would never move
    again.
    """
    return jnp.clip(value, low, high)


def _clip_inward_forward(value: jax.Array, low: float, high: float) -> tuple[jax.Array, jax.Array]:
    return jnp.clip(value, low, high), value


def _clip_inward_backward(low: float, high: float, value: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    outward = ((value >= high) & (cotangent < 0)) | ((value <= low) & (cotangent > 0))
    return (jnp.where(outward, 0, cotangent),)


clip_inward.defvjp(_clip_inward_forward, _clip_inward_backward)
