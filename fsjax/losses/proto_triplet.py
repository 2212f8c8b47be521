"""Proto-Triplet (SuSana Distancia): each query nearer to its own prototype than to any other, by a margin."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fsjax.losses.base import as_loss_dtype

# Under the square root of every distance, as in the released code: points that coincide have a gradient.
_DISTANCE_EPSILON = 1e-6


def distances(points: jax.Array, others: jax.Array) -> jax.Array:
    """sqrt(||a - b||² + 1e-6) of `[..., n, dim]` and `[..., m, dim]`: `[..., n, m]`.

    Written as a difference, like `similarity.negative_squared_distance`; it holds `[..., n, m, dim]`.
    """
    difference = as_loss_dtype(points)[..., :, None, :] - as_loss_dtype(others)[..., None, :, :]
    return jnp.sqrt(jnp.sum(jnp.square(difference), axis=-1) + _DISTANCE_EPSILON)


def proto_triplet_loss(
    queries: jax.Array,
    prototypes: jax.Array,
    labels: jax.Array,
    *,
    margin: float,
    present: jax.Array | None = None,
) -> jax.Array:
    """max(0, d(q, p_y) - min over the other classes of d(q, p_c) + margin); docs/readings.md, "SuSana Distancia".

    Args:
      queries: `[..., n, dim]`.
      prototypes: `[..., way, dim]`.
      labels: int `[n]`, or `[..., n]`: the class of each query, among the prototypes.
      margin: by which the nearest wrong prototype must be further away.
      present: bool `[..., way]`, False for prototypes of classes that an episode lacks; None where it has all.

    Returns:
      `[..., n]` losses, not reduced; 0 for episodes of one class, which has no other prototype to be kept from.
    """
    found = distances(queries, prototypes)
    own = jax.nn.one_hot(labels, prototypes.shape[-2], dtype=bool)
    others = ~own if present is None else ~own & present[..., None, :]
    nearest = jnp.min(jnp.where(others, found, jnp.inf), axis=-1)
    return jax.nn.relu(jnp.sum(jnp.where(own, found, 0.0), axis=-1) - nearest + margin)
