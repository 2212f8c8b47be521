"""Pairs of a batch, and sums of exponentials over some of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

# Stands for minus infinity in the logarithm of a sum, with finite gradients.
_NOTHING = -1e30


def positive_pairs(labels: jax.Array) -> jax.Array:
    """Which pairs are of two examples of one class, bool `[batch, batch]`; `labels` is `[batch]`."""
    return (labels[:, None] == labels) & ~jnp.eye(len(labels), dtype=bool)


def negative_pairs(labels: jax.Array) -> jax.Array:
    """Which pairs are of different classes, bool `[batch, batch]`; `labels` is `[batch]`."""
    return labels[:, None] != labels


def masked_logsumexp(values: jax.Array, mask: jax.Array) -> jax.Array:
    """`ln sum exp` over the last axis, of the values where `mask` is True; about -1e30 where there are none.

    Args:
      values: `[..., n]`.
      mask: bool, of the same shape.

    Returns:
      `[...]`; its gradient is finite, and 0 outside of the mask.
    """
    return jax.nn.logsumexp(jnp.where(mask, values, _NOTHING), axis=-1)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of the values where `mask` is True, a scalar; 0 where there are none."""
    return jnp.sum(jnp.where(mask, values, 0)) / jnp.maximum(jnp.sum(mask), 1)
