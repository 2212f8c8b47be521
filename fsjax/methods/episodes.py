"""What methods that train on episodes share: the shape of a step, and the loss of its queries."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.losses.cosine import MIN_TAU
from fsjax.losses.softmax import softmax_cross_entropy
from fsjax.methods.rules import class_scores, prototypes
from fsjax.options import read
from fsjax.options.training import EpisodesOptions


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


def episode_shape(config: ConfigDict) -> EpisodeShape:
    """The shape of `config.episodes`."""
    of = read(EpisodesOptions, config.episodes, "config.episodes")
    return EpisodeShape(of.per_step, max(of.way), max(of.shot), max(of.query))


def trained_tau(tau: jax.Array, *, learn: bool) -> jax.Array:
    """The scale as a loss uses it: kept above `MIN_TAU` if it is learned, else without a gradient."""
    return jnp.maximum(tau, MIN_TAU) if learn else jax.lax.stop_gradient(tau)


class Divided(NamedTuple):
    """The rows of a step by episode and class.

    Attributes:
      support: features `[episodes, way, shot, dim]`.
      of_support: bool `[episodes, way, shot]`, False for padding.
      queries: features `[episodes, way * query, dim]`.
      of_queries: bool `[episodes, way * query]`, False for padding.
      labels: int `[episodes, way * query]`, the class of each query in its episode.
    """

    support: jax.Array
    of_support: jax.Array
    queries: jax.Array
    of_queries: jax.Array
    labels: jax.Array


def divided(features: jax.Array, real: jax.Array, shape: EpisodeShape) -> Divided:
    """Rows of a step, see `episode_losses`, as support images and queries."""
    features = features.reshape(-1, shape.way, shape.shot + shape.query, features.shape[-1])
    real = real.reshape(features.shape[:-1])
    queries, of_queries = features[:, :, shape.shot :], real[:, :, shape.shot :]
    return Divided(
        features[:, :, : shape.shot],
        real[:, :, : shape.shot],
        queries.reshape(queries.shape[0], -1, queries.shape[-1]),
        of_queries.reshape(of_queries.shape[0], -1),
        jnp.broadcast_to(jnp.repeat(jnp.arange(shape.way), shape.query), (features.shape[0], shape.way * shape.query)),
    )


def episode_losses(
    features: jax.Array,
    real: jax.Array,
    tau: jax.Array | float,
    *,
    shape: EpisodeShape,
    similarity: str,
    widths: tuple[int, ...] = (),
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The cross-entropy of each query against the prototypes of its episode (Snell et al. 2017, Eq. 1 and 2).

    Args:
      features: `[rows, dim]`, of the rows of a step, in the order [episode, class, support then queries].
      real: `[rows]` bool, False for the padding of ragged episodes.
      tau: scale of the similarities.
      shape: of the episodes.
      similarity: a key of `fsjax.losses.arithmetic.similarity.SIMILARITIES`.
      widths: see `fsjax.methods.rules.Rule`.

    Returns:
      The cross-entropy of each query, whether it is classified rightly, and whether it is one: three float arrays
      `[episodes, way * query]`.
    """
    parts = divided(features, real, shape)
    classes, present = prototypes(parts.support, parts.of_support), jnp.any(parts.of_support, axis=-1)
    logits = class_scores(parts.queries, classes, similarity=similarity, tau=tau, present=present, widths=widths)
    losses = softmax_cross_entropy(logits.reshape(-1, shape.way), parts.labels.ravel()).reshape(parts.labels.shape)
    hits = (jnp.argmax(logits, axis=-1) == parts.labels).astype(losses.dtype)
    return losses, hits, parts.of_queries.astype(losses.dtype)
