"""ICNN (SuSana Distancia): a score of how pure and how tight the neighbourhoods of points are, and its loss."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from fsjax.errors import UserError
from fsjax.losses.proto_triplet import distances

# In every denominator, as in the released code.
_EPSILON = 1e-7


class Neighbourhoods(NamedTuple):
    """How many neighbours the score looks at.

    Attributes:
      k: neighbours that count.
      kept: neighbours among which the nearest one of another class is sought, at least k.
      pure: whether the share of neighbours of the same class is taken to be 1: the released code does so where there
        are too few targets for k neighbours (with T prototypes only one of T - 2 neighbours can be of the same class).
    """

    k: int
    kept: int
    pure: bool


def neighbourhoods(num_targets: int, *, k: int, ipc: int | None) -> Neighbourhoods:
    """The numbers of neighbours among so many targets.

    Args:
      num_targets: T. Where k + 2 would be T or more, k is T - 2.
      k: neighbours that are asked for.
      ipc: `Neighbourhoods.kept`; None for k + 1.

    Raises:
      UserError: for fewer than 3 targets, or as few that the neighbours that are kept, and the nearest one, which is
        dropped, are not among them.
    """
    if k < 1:
        raise UserError(f"icnn_k={k}: the ICNN score needs at least 1 neighbour")
    if num_targets < 3:
        raise UserError(
            f"the ICNN score compares the neighbours of a point among at least 3 targets, and here are {num_targets}: "
            "take episodes of more ways or shots"
        )
    pure = k + 2 >= num_targets
    k = num_targets - 2 if pure else k
    kept = k + 1 if ipc is None else ipc
    if not 1 <= kept < num_targets:
        raise UserError(
            f"icnn_ipc={ipc}: with {num_targets} targets, the nearest of which is dropped, it must be from 1 to "
            f"{num_targets - 1}, or None for k + 1"
        )
    return Neighbourhoods(k, kept, pure)


def icnn_score(
    points: jax.Array,
    labels: jax.Array,
    targets: jax.Array | None = None,
    target_labels: jax.Array | None = None,
    *,
    k: int = 4,
    ipc: int | None = None,
    drop_nearest: bool = True,
) -> dict[str, jax.Array]:
    """The ICNN score and its parts, as the released code has them (docs/readings.md, "SuSana Distancia").

    With the distances d_ij of point i to its neighbours, and n_i that to the nearest of another class (infinite where
    there is none): u_ij = d_ij / n_i, divided by the largest of a point where that is above 1. Then
    "lambda_same" = 1 - the mean u to neighbours of the same class, first over those of a point, then over the points
    that have such; "lambda_diff" the same mean of d to neighbours of other classes, over the largest such d, or 1 where
    no point has any; "gamma", the mean share of the same class among the k neighbours; and
    "score" = ((lambda_same + lambda_diff) / 2 + gamma) / 2, from 0 to 1. The loss of all points is "loss" = -ln score.

    Which points are neighbours is piecewise constant: the gradient passes through the distances alone.

    Args:
      points: `[n, dim]`.
      labels: int `[n]`.
      targets: `[m, dim]`, among which the neighbours are; None for the points themselves, none being its own neighbour.
      target_labels: int `[m]`.
      k, ipc: see `neighbourhoods`.
      drop_nearest: whether a point's nearest one of other `targets` is dropped too, as the released code does, which
        was made for points that are their own nearest; not read where the points are the targets.

    Returns:
      Scalars by name: "lambda_same", "lambda_diff", "gamma", "score", "loss".
    """
    chex.assert_rank([points, labels], [2, 1])
    among_themselves = targets is None
    if targets is None:
        targets, target_labels = points, labels
    target_labels = jnp.asarray(target_labels)
    counts = neighbourhoods(targets.shape[0], k=k, ipc=ipc)
    found = distances(points, targets)
    if among_themselves:
        # A point is dropped as itself, not as the nearest: another may lie at the same place.
        found = jnp.where(jnp.eye(found.shape[0], dtype=bool), jnp.inf, found)
    first = 0 if among_themselves or not drop_nearest else 1
    _, chosen = jax.lax.top_k(-found, first + counts.kept)
    near = jnp.take_along_axis(found, chosen[:, first:], axis=1)
    same = target_labels[chosen[:, first:]] == labels[:, None]
    parts = _lambdas(near, same, counts.k)
    share = jnp.sum(same[:, : counts.k], axis=1, dtype=near.dtype) / counts.k
    parts["gamma"] = jnp.ones((), near.dtype) if counts.pure else jnp.mean(share)
    parts["score"] = ((parts["lambda_same"] + parts["lambda_diff"]) / 2 + parts["gamma"]) / 2
    return {**parts, "loss": -jnp.log(parts["score"])}


def _lambdas(near: jax.Array, same: jax.Array, k: int) -> dict[str, jax.Array]:
    """ "lambda_same" and "lambda_diff" of the distances to neighbours in order, `[n, kept]`, and of their kinds."""
    nearest_other = jnp.min(jnp.where(same, jnp.inf, near), axis=1, keepdims=True)
    near, same = near[:, :k], same[:, :k]
    relative = near / (nearest_other + _EPSILON)
    relative = relative / jnp.maximum(1.0, jnp.max(relative, axis=1, keepdims=True))
    far = jnp.where(same, 0.0, near)
    far = far / (jnp.max(far) + _EPSILON)
    diff = _mean_of_means(far, ~same)
    return {
        "lambda_same": 1 - _mean_of_means(jnp.where(same, relative, 0.0), same),
        "lambda_diff": jnp.where(jnp.all(same), 1.0, diff).astype(near.dtype),
    }


def _mean_of_means(values: jax.Array, counted: jax.Array) -> jax.Array:
    """The mean of the values `[n, k]` that count, in each row and then over the rows that have any; 0 where none do."""
    count = jnp.sum(counted, axis=1, dtype=values.dtype)
    means = jnp.sum(values, axis=1) / (count + _EPSILON)
    return jnp.sum(means) / (jnp.sum(count > 0, dtype=values.dtype) + _EPSILON)
