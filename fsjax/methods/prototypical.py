"""Prototypical networks: an embedding trained on episodes (Snell et al. 2017)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.losses.cosine import MIN_TAU
from fsjax.methods.base import DataFacts, Method, Variables, build_encoder, decay_mask
from fsjax.methods.episode_terms import CROSS_ENTROPY, Terms, build_terms
from fsjax.methods.episodes import EpisodeShape, episode_losses, episode_shape, trained_tau
from fsjax.methods.rules import Rule, own_pool
from fsjax.options import read
from fsjax.options.methods import PrototypicalOptions


@dataclasses.dataclass(frozen=True)
class Prototypical(Method):
    """Cross-entropy of the queries of an episode against the prototypes of its support images (Eq. 1, 2 and 4).

    With other `terms` the loss is the mean of several, as in "SuSana Distancia is all you need".

    Attributes:
      shape: of a step's episodes.
      similarity: "squared_euclid" (Snell et al.), "euclid" or "cosine".
      tau: scale of the similarities, at first.
      learn_tau: whether the scale is trained.
      embedding_dim: width of the embedding.
      terms: the losses.
      widths: see `fsjax.methods.rules.Rule`.
    """

    shape: EpisodeShape
    similarity: str
    tau: float
    learn_tau: bool
    embedding_dim: int
    needs_start: bool = False
    terms: Terms = Terms()  # noqa: RUF009 (frozen)
    widths: tuple[int, ...] = ()

    has_classes = False

    @property
    def dim(self) -> int:
        """Width of the embedding."""
        return self.embedding_dim

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
          The scalar loss, then the new collections and scalar metrics ("loss", "accuracy", "feature_max", "tau", and
          each of several losses by its name).
        """
        encoded, updates = self.encode_in_training(params, collections, batch["image"])
        features, real = self.gather(encoded.embedding), self.gather(batch["weight"]) > 0
        tau = trained_tau(params["loss"]["tau"], learn=self.learn_tau)
        per_query, hits, weights = episode_losses(
            features, real, tau, shape=self.shape, similarity=self.similarity, widths=self.widths
        )
        count = jnp.sum(weights)
        total, parts = jnp.sum(per_query * weights) / count, dict[str, jax.Array]()
        if self.terms.names != (CROSS_ENTROPY,):
            total, parts = self.terms.combined(total, features, real, self.shape)
        metrics = {
            **parts,
            "loss": total,
            "accuracy": jnp.sum(hits * weights) / count,
            "feature_max": jnp.max(jnp.abs(features)),
            "tau": tau,
        }
        return total, ({**collections, **updates}, metrics)

    def logits(self, params: Variables, collections: Variables, images: jax.Array) -> jax.Array:
        """Refused: the method has no classes of its own."""
        raise UserError(
            "a network trained on episodes has no classes of its own to predict: give it support images with "
            "Run.few_shot(support, labels, queries)"
        )

    def rule(self, params: Variables) -> Rule:
        """The rule it was trained with."""
        pool = own_pool(self.encoder)
        return Rule(self.similarity, pool, pool, max(float(params["loss"]["tau"]), MIN_TAU), widths=self.widths)

    def weight_decay_mask(self, params: Variables) -> Any:
        """No decay of the scale."""
        return decay_mask(params, ("tau",))


def build(config: ConfigDict, info: DataFacts, *, axis_name: str | None) -> Prototypical:
    """The method that a config describes.

    Args:
      config: a run's config; `model`, `episodes` and `method.prototypical` are read.
      info: the data's `DataInfo`.
      axis_name: the mapped axis that holds the devices, or None for one device without an axis.

    Raises:
      UserError: for an unknown model, loss or option, or episodes that cannot be.
    """
    chosen = read(PrototypicalOptions, config.method.prototypical, "config.method.prototypical")
    return build_episodic(
        config,
        info,
        axis_name=axis_name,
        similarity=chosen.similarity,
        tau=chosen.tau,
        learn_tau=chosen.learn_tau,
        terms=build_terms(config, chosen),
    )


def build_episodic(
    config: ConfigDict,
    info: DataFacts,
    *,
    axis_name: str | None,
    similarity: str,
    tau: float,
    learn_tau: bool,
    **more: Any,
) -> Prototypical:
    """A method that trains on the episodes of `config.episodes`."""
    encoder, encoded = build_encoder(config, info.image_shape, axis_name)
    return Prototypical(
        encoder,
        episode_shape(config),
        similarity,
        tau,
        learn_tau,
        encoded.embedding.shape[-1],
        axis_name=axis_name,
        **more,
    )
