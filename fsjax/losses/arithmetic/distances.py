"""Distances from features to class vectors.

To add one: a function `(features [batch, dim], classes [classes, dim]) -> [batch, classes]`, with options by keyword,
and a line in `DISTANCES`. Every one has a finite gradient everywhere, also where a feature is a class vector.

Euclid's, the cosine and Mahalanobis' are matrix products. The others are not, and take the difference of one feature
to all classes after the other (`by_example`): one array `[classes, dim]`, never `[batch, classes, dim]`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from fsjax.losses.arithmetic.gaussian import squared_mahalanobis
from fsjax.losses.arithmetic.similarity import scaled_cosine
from fsjax.losses.base import matmul

# No distance counts as smaller: its logarithm and its gradient stay finite.
FLOOR = 1e-6
# Added to the squared distance by the released layer of the harmonic loss (docs/readings.md, "Harmonic loss").
SQUARED_EPSILON = 1e-4


def by_example(distance: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Lifts a distance of one feature `[dim]` to classes `[classes, dim]` to a batch, one example after the other.

    Forward and backward are loops over the batch which keep no difference: memory for `[classes, dim]` and the
    result. Besides, XLA's sum over the batch in the gradient by classes, of all differences at once, is slow on CPUs.
    """

    @wraps(distance)
    def lifted(features: jax.Array, classes: jax.Array, **options: Any) -> jax.Array:
        one = jax.checkpoint(lambda feature: distance(feature, classes, **options), prevent_cse=False)
        return lax.map(one, features)

    return lifted


def euclid(features: jax.Array, classes: jax.Array) -> jax.Array:
    """`‖x - w‖`, at least `FLOOR`; for its error see `gaussian.squared_mahalanobis`."""
    # The floor is under the root, whose gradient at 0 is infinite.
    return jnp.sqrt(jnp.maximum(_squared(features, classes), FLOOR**2))


def squared_euclid(features: jax.Array, classes: jax.Array) -> jax.Array:
    """`‖x - w‖² + 1e-4`, as in the released layer of the harmonic loss."""
    return _squared(features, classes) + SQUARED_EPSILON


def _squared(features: jax.Array, classes: jax.Array) -> jax.Array:
    return squared_mahalanobis(features, classes, jnp.zeros(classes.shape[0], features.dtype))


def with_exact_own(
    distances: jax.Array, distance: Callable[..., jax.Array], features: jax.Array, own: jax.Array, labels: jax.Array
) -> jax.Array:
    """Distances with that of each feature to its own class computed from their difference, without cancellation.

    Training draws this one to 0, where the products that the others come from have no digits left.

    Args:
      distances: `[batch, classes]`, of `distance`, one of those that depend on differences alone.
      distance: with its options.
      features: `[batch, dim]`.
      own: `[batch, dim]`, the class vector of each feature's label.
      labels: `[batch]` integers.

    Returns:
      `[batch, classes]`.
    """
    origin = jnp.zeros((1, features.shape[-1]), features.dtype)
    exact = distance(features - own, origin)[:, 0]
    return jnp.where(jax.nn.one_hot(labels, distances.shape[-1], dtype=bool), exact[:, None], distances)


def cosine(features: jax.Array, classes: jax.Array) -> jax.Array:
    """`1 - cos(x, w)`; 1 for a vector of zeros."""
    return 1 - scaled_cosine(features, classes, 1.0)


def mahalanobis(features: jax.Array, classes: jax.Array, *, factor: jax.Array) -> jax.Array:
    """`sqrt((x - w) P (x - w)')` with the precision `P = F F'`, at least `FLOOR`.

    Args:
      features: `[batch, dim]`.
      classes: `[classes, dim]`.
      factor: F, `[dim, dim]`, or `[dim]` for a diagonal one.

    Returns:
      `[batch, classes]`.
    """
    if factor.ndim == 1:
        return euclid(features * factor, classes * factor)
    return euclid(matmul(features, factor), matmul(classes, factor))


@by_example
def manhattan(feature: jax.Array, classes: jax.Array) -> jax.Array:
    """`Σ |x - w|`."""
    return jnp.sum(jnp.abs(feature - classes), axis=-1)


@by_example
def chebyshev(feature: jax.Array, classes: jax.Array) -> jax.Array:
    """`max |x - w|`; where several dimensions have it they share the gradient."""
    return jnp.max(jnp.abs(feature - classes), axis=-1)


@by_example
def minkowski(feature: jax.Array, classes: jax.Array, *, p: float) -> jax.Array:
    """`(Σ |x - w|^p)^(1/p)`, p at least 1; at least `FLOOR`."""
    difference = jnp.abs(feature - classes)
    # Powers of numbers of at most 1 neither overflow nor vanish together. By which number the differences are divided
    # has no influence on the result, so that it has no gradient.
    largest = lax.stop_gradient(jnp.maximum(jnp.max(difference, axis=-1), FLOOR))
    total = jnp.sum(jnp.power(difference / largest[:, None], p), axis=-1)
    return largest * jnp.power(jnp.where(total >= 1, total, 1), 1 / p)


@by_example
def bray_curtis(feature: jax.Array, classes: jax.Array, *, denominator: str) -> jax.Array:
    """`Σ |x - w|` over `Σ (|x| + |w|)` ("abs") or `|Σ (x + w)|` ("literal"), the latter at least `FLOOR`.

    The literal form, that of counts, is no distance where features have both signs: it has no bound and is the larger
    the more x and w cancel each other.
    """
    if denominator == "abs":
        scale = jnp.sum(jnp.abs(feature)) + jnp.sum(jnp.abs(classes), axis=-1)
    else:
        scale = jnp.abs(jnp.sum(feature) + jnp.sum(classes, axis=-1))
    return jnp.sum(jnp.abs(feature - classes), axis=-1) / jnp.maximum(scale, FLOOR)


@by_example
def canberra(feature: jax.Array, classes: jax.Array) -> jax.Array:
    """`Σ (|x - w| / (|x| + |w|))`, each denominator at least `FLOOR`."""
    scale = jnp.maximum(jnp.abs(feature) + jnp.abs(classes), FLOOR)
    return jnp.sum(jnp.abs(feature - classes) / scale, axis=-1)


# Those that come from matrix products, and lose digits where a feature is much nearer to a class than to the others.
EXPANDED = ("euclid", "squared_euclid", "mahalanobis")
DISTANCES: dict[str, Callable[..., jax.Array]] = {
    "euclid": euclid,
    "squared_euclid": squared_euclid,
    "manhattan": manhattan,
    "chebyshev": chebyshev,
    "minkowski": minkowski,
    "cosine": cosine,
    "mahalanobis": mahalanobis,
    "bray_curtis": bray_curtis,
    "canberra": canberra,
}
