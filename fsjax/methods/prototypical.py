"""Prototypical networks: an embedding trained on episodes (Snell et al. 2017)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fsjax.errors import UserError, unknown
from fsjax.losses.cosine import MIN_TAU
from fsjax.losses.similarity import SIMILARITIES
from fsjax.losses.softmax import softmax_cross_entropy
from fsjax.methods.base import Method, Variables, build_encoder, options
from fsjax.methods.rules import Rule, class_scores, own_pool, prototypes


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


@dataclasses.dataclass(frozen=True)
class Prototypical(Method):
    """Cross-entropy of the queries of an episode against the prototypes of its support images (Eq. 1, 2 and 4).

    Attributes:
      shape: of a step's episodes.
      similarity: "squared_euclid" (Snell et al.) or "cosine".
      tau: scale of the similarities, at first.
      learn_tau: whether the scale is trained.
      dim: width of the embedding.
    """

    shape: EpisodeShape
    similarity: str
    tau: float
    learn_tau: bool
    dim: int
    needs_start: bool = False

    @property
    def episodes(self) -> EpisodeShape:
        """The episodes that a training batch is made of."""
        return self.shape

    def init(self, rng: jax.Array, images: jax.Array) -> dict[str, Any]:
        """Fresh variables `{"params": {"encoder", "loss": {"tau"}}, "batch_stats": ...}`; see `Classification`."""
        variables = dict(self.encoder.init(rng, images, train=False))
        return {"params": {"encoder": variables.pop("params"), "loss": {"tau": jnp.float32(self.tau)}}, **variables}

    def objective(
        self, params: Variables, collections: Variables, batch: Mapping[str, jax.Array], *, step: jax.Array
    ) -> tuple[jax.Array, tuple[dict[str, Any], dict[str, jax.Array]]]:
        """The mean loss of all queries of a step's episodes, equal on all devices.

        Args:
          params: trained variables as `init` gives them.
          collections: batch statistics.
          batch: "image" `[rows, h, w, c]`, in the order [episode, class, support then queries]; "weight"
            `[rows]`, 0 for the padding of ragged episodes. The rows of an episode may lie on several devices.
          step: int32 scalar; unused.

        Returns:
          The scalar loss, then the new collections and scalar metrics ("loss", "accuracy", "feature_max", "tau").
        """
        encoded, updates = self.encode_in_training(params, collections, batch["image"])
        features, real = self.gather(encoded.embedding), self.gather(batch["weight"]) > 0
        tau = params["loss"]["tau"]
        tau = jnp.maximum(tau, MIN_TAU) if self.learn_tau else jax.lax.stop_gradient(tau)
        per_query, hits, weights = self.episode_losses(features, real, tau)
        count = jnp.sum(weights)
        total = jnp.sum(per_query * weights) / count
        metrics = {
            "loss": total,
            "accuracy": jnp.sum(hits * weights) / count,
            "feature_max": jnp.max(jnp.abs(features)),
            "tau": tau,
        }
        return total, ({**collections, **updates}, metrics)

    def episode_losses(
        self, features: jax.Array, real: jax.Array, tau: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The cross-entropy of each query, whether it is classified rightly, and whether it is one.

        Args:
          features: `[rows, dim]`, of the rows of a step.
          real: `[rows]` bool.
          tau: scale of the similarities.

        Returns:
          Three float arrays `[episodes, way * query]`.
        """
        shape = self.shape
        features = features.reshape(-1, shape.way, shape.shot + shape.query, features.shape[-1])
        real = real.reshape(features.shape[:-1])
        support, queries = features[:, :, : shape.shot], features[:, :, shape.shot :]
        classes = prototypes(support, real[:, :, : shape.shot])
        queries = queries.reshape(queries.shape[0], -1, queries.shape[-1])
        present = jnp.any(real[:, :, : shape.shot], axis=-1)
        logits = class_scores(queries, classes, similarity=self.similarity, tau=tau, present=present)
        labels = jnp.broadcast_to(jnp.repeat(jnp.arange(shape.way), shape.query), logits.shape[:-1])
        losses = softmax_cross_entropy(logits.reshape(-1, shape.way), labels.ravel()).reshape(labels.shape)
        hits = (jnp.argmax(logits, axis=-1) == labels).astype(losses.dtype)
        return losses, hits, real[:, :, shape.shot :].reshape(labels.shape).astype(losses.dtype)

    def logits(self, params: Variables, collections: Variables, images: jax.Array) -> jax.Array:
        """Refused: the method has no classes of its own."""
        raise UserError(
            "a network trained on episodes has no classes of its own to predict: give it support images with "
            "Run.few_shot(support, labels, queries)"
        )

    def rule(self, params: Variables) -> Rule:
        """The rule it was trained with."""
        pool = own_pool(self.encoder)
        return Rule(self.similarity, pool, pool, max(float(params["loss"]["tau"]), MIN_TAU))

    def weight_decay_mask(self, params: Variables) -> Any:
        """No decay of the scale."""
        return {"encoder": jax.tree.map(lambda _: True, params["encoder"]), "loss": {"tau": False}}


def build(config: Any, info: Any, *, axis_name: str | None) -> Prototypical:
    """The method that a config describes.

    Args:
      config: a run's config; `model`, `episodes` and `method.prototypical` are read.
      info: the data's `DataInfo`.
      axis_name: the mapped axis that holds the devices, or None for one device without an axis.

    Raises:
      UserError: for an unknown model or option, or episodes that cannot be.
    """
    chosen = options(config, "prototypical", ("similarity", "tau", "learn_tau"))
    return build_episodic(config, info, axis_name=axis_name, **chosen)


def build_episodic(
    config: Any, info: Any, *, axis_name: str | None, similarity: str, tau: float, learn_tau: bool, **more: Any
) -> Prototypical:
    """A method that trains on the episodes of `config.episodes`."""
    if similarity not in SIMILARITIES:
        raise unknown("similarity", similarity, SIMILARITIES)
    if not tau > 0:
        raise UserError(f"config.method: tau={tau}, the scale of the similarities, must be above 0")
    encoder, encoded = build_encoder(config, info, axis_name)
    shape = EpisodeShape(*(_most(config.episodes, name) for name in ("per_step", "way", "shot", "query")))
    return Prototypical(
        encoder, shape, similarity, float(tau), learn_tau, encoded.embedding.shape[-1], axis_name=axis_name, **more
    )


def _most(episodes: Any, name: str) -> int:
    value = episodes[name]
    most = max(value) if isinstance(value, tuple | list) else value
    if most < 1:
        raise UserError(f"config.episodes.{name}={value} must be at least 1")
    return most
