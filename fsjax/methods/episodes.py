"""What methods that train on episodes share: the shape of a step, and the loss of its queries."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from fsjax.errors import UserError
from fsjax.losses.cosine import MIN_TAU
from fsjax.losses.softmax import softmax_cross_entropy
from fsjax.methods.rules import class_scores, prototypes


@dataclasses.dataclass(frozen=True)
class EpisodeShape:
    """The array shape of a training step's episodes; ragged ones are padded to it.

    Attributes:
      per_step: episodes of a step (of a micro-batch, with gradient accumulation).
      way, shot, query: the most of each.
    """

    per_step: int
    way: int
    shot: int
    query: int

    @property
    def rows(self) -> int:
        """Images of a step."""
        return self.per_step * self.way * (self.shot + self.query)


def episode_shape(config: Any) -> EpisodeShape:
    """The shape of `config.episodes`.

    Raises:
      UserError: for a number below 1.
    """
    return EpisodeShape(*(_most(config.episodes, name) for name in ("per_step", "way", "shot", "query")))


def _most(episodes: Any, name: str) -> int:
    value = episodes[name]
    most = max(value) if isinstance(value, tuple | list) else value
    if most < 1:
        raise UserError(f"config.episodes.{name}={value} must be at least 1")
    return most


def check_tau(method: str, tau: float) -> None:
    """Raise a `UserError` for a scale that is not above 0."""
    if not tau > 0:
        raise UserError(f"config.method.{method}: tau={tau}, the scale of the similarities, must be above 0")


def trained_tau(tau: jax.Array, *, learn: bool) -> jax.Array:
    """The scale as a loss uses it: kept above `MIN_TAU` if it is learned, else without a gradient."""
    return jnp.maximum(tau, MIN_TAU) if learn else jax.lax.stop_gradient(tau)


def episode_losses(
    features: jax.Array, real: jax.Array, tau: jax.Array | float, *, shape: EpisodeShape, similarity: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The cross-entropy of each query against the prototypes of its episode (Snell et al. 2017, Eq. 1 and 2).

    Args:
      features: `[rows, dim]`, of the rows of a step, in the order [episode, class, support then queries].
      real: `[rows]` bool, False for the padding of ragged episodes.
      tau: scale of the similarities.
      shape: of the episodes.
      similarity: a key of `fsjax.losses.similarity.SIMILARITIES`.

    Returns:
      The cross-entropy of each query, whether it is classified rightly, and whether it is one: three float arrays
      `[episodes, way * query]`.
    """
    features = features.reshape(-1, shape.way, shape.shot + shape.query, features.shape[-1])
    real = real.reshape(features.shape[:-1])
    support, queries = features[:, :, : shape.shot], features[:, :, shape.shot :]
    of_support = real[:, :, : shape.shot]
    classes = prototypes(support, of_support)
    queries = queries.reshape(queries.shape[0], -1, queries.shape[-1])
    present = jnp.any(of_support, axis=-1)
    logits = class_scores(queries, classes, similarity=similarity, tau=tau, present=present)
    labels = jnp.broadcast_to(jnp.repeat(jnp.arange(shape.way), shape.query), logits.shape[:-1])
    losses = softmax_cross_entropy(logits.reshape(-1, shape.way), labels.ravel()).reshape(labels.shape)
    hits = (jnp.argmax(logits, axis=-1) == labels).astype(losses.dtype)
    return losses, hits, real[:, :, shape.shot :].reshape(labels.shape).astype(losses.dtype)
