"""Similarities of features to class vectors: the scaled cosine, and the Euclidean distance, squared or not."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fsjax.losses.base import as_loss_dtype, matmul

# Under the square root of a norm, so that a zero vector has a gradient (docs/readings.md, "Cosine and prototypes").
_NORM_EPSILON = 1e-12


def unit(vectors: jax.Array) -> jax.Array:
    """Vectors `[..., dim]` at length 1, in float32 (float64 stays); a zero vector stays one."""
    vectors = as_loss_dtype(vectors)
    return vectors / jnp.sqrt(jnp.sum(jnp.square(vectors), axis=-1, keepdims=True) + _NORM_EPSILON)


def scaled_cosine(features: jax.Array, classes: jax.Array, tau: jax.Array | float) -> jax.Array:
    """Cosine of the angle between each feature and each class vector, times `tau` (Lifchitz et al. 2019, Eq. 7).

    Args:
      features: `[..., n, dim]`.
      classes: `[..., num_classes, dim]`, with the same leading axes.
      tau: scale, the inverse of a temperature.

    Returns:
      `[..., n, num_classes]` logits.
    """
    return tau * matmul(unit(features), jnp.swapaxes(unit(classes), -1, -2))


def negative_squared_distance(features: jax.Array, classes: jax.Array, tau: jax.Array | float) -> jax.Array:
    """`-tau · ‖feature - class‖²` (Snell et al. 2017, Sec. 2.4), shapes as in `scaled_cosine`.

    Written as a difference: expanding the square into a product loses the digits that tell close classes apart,
    and few-shot tasks have few classes.
    """
    features, classes = as_loss_dtype(features), as_loss_dtype(classes)
    difference = features[..., :, None, :] - classes[..., None, :, :]
    return -tau * jnp.sum(jnp.square(difference), axis=-1)


def negative_distance(features: jax.Array, classes: jax.Array, tau: jax.Array | float) -> jax.Array:
    """`-tau · ‖feature - class‖`, not squared; shapes as in `scaled_cosine`."""
    return -tau * jnp.sqrt(-negative_squared_distance(features, classes, 1.0) + _NORM_EPSILON)


SIMILARITIES = {"cosine": scaled_cosine, "squared_euclid": negative_squared_distance, "euclid": negative_distance}
