"""Dense classification: every position of the last feature maps is classified (Lifchitz et al. 2019, Sec. 3.1)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.losses.cosine import CosineLoss
from fsjax.methods.base import DataFacts, Variables, build_encoder
from fsjax.methods.classification import Classification, build_config_loss
from fsjax.methods.rules import Rule, check_features, mean_probability, positions
from fsjax.models import Encoded
from fsjax.options import read
from fsjax.options.methods import DenseOptions


@dataclasses.dataclass(frozen=True)
class DenseClassification(Classification):
    """The loss of every position of the maps against the image's label, with one set of class weights.

    Eq. 9 and 10 with the loss "cosine"; any other loss takes its place.

    Attributes:
      reduction: "mean" over images and positions, or "sum" as Eq. 10 has it (the learning rate depends on it).
    """

    reduction: str

    OFFERS = ()  # what an image has once its many positions have not

    def classified(self, encoded: Encoded) -> jax.Array:
        """The vectors at all positions of the last maps, `[batch, h * w, channels]`."""
        return positions(list(encoded.maps.values())[-1])

    def reduce(self, losses: jax.Array) -> jax.Array:
        """The mean or the sum over images and positions."""
        return jnp.sum(losses) if self.reduction == "sum" else jnp.mean(losses)

    def scores(self, logits: jax.Array) -> jax.Array:
        """Logarithm of the probabilities averaged over the positions, as Eq. 14 does for new classes."""
        return mean_probability(logits)

    def rule(self, params: Variables) -> Rule:
        """Support images averaged over their positions, queries classified densely: the paper's choice."""
        return Rule("cosine", "gap", "dense", self.scale(params))

    def class_weights(self, params: Variables) -> tuple[str, jax.Array] | None:
        """The class weights; they were trained on positions, and meet averages of positions as well."""
        return ("gap", params["loss"]["weights"]) if isinstance(self.loss, CosineLoss) else None


def build(config: ConfigDict, info: DataFacts, *, axis_name: str | None) -> DenseClassification:
    """The method that a config describes; see `fsjax.methods.classification.build`.

    Raises:
      UserError: also for a network with layers after its maps.
    """
    chosen = read(DenseOptions, config.method.dense, "config.method.dense")
    encoder, loss = dense_parts(config, info, axis_name)
    return DenseClassification(encoder, loss, reduction=chosen.reduction, axis_name=axis_name)


def dense_parts(config: ConfigDict, info: DataFacts, axis_name: str | None) -> tuple[Any, Any]:
    """An encoder that ends with feature maps, and the loss of their positions."""
    encoder, encoded = build_encoder(config, info.image_shape, axis_name)
    check_features(encoder, ("dense",))
    channels = list(encoded.maps.values())[-1].shape[-1]
    return encoder, build_config_loss(config, info, channels, offers=DenseClassification.OFFERS)
