"""Imprinted weights: a cosine classifier whose new classes get their mean direction as weights (Qi et al. 2018)."""

import dataclasses

from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.losses.cosine import CosineLoss
from fsjax.methods.base import DataFacts, Variables
from fsjax.methods.classification import Classification
from fsjax.methods.classification import build as build_classification
from fsjax.methods.rules import Rule


@dataclasses.dataclass(frozen=True)
class ImprintedWeights(Classification):
    """A cosine classifier on the base classes; `W' = (W, P)` with `P` the normalised means of normalised embeddings.

    Its prototypes differ from those of prototypical networks in that each support image counts alike, however
    long its embedding is. The fine-tuning of all weights on base and novel images that may follow in the paper is
    not done: evaluation is that of imprinting alone.
    """

    def rule(self, params: Variables) -> Rule:
        """Cosine to the means of embeddings of length 1."""
        return dataclasses.replace(super().rule(params), unit_support=True)


def build(config: ConfigDict, info: DataFacts, *, axis_name: str | None) -> ImprintedWeights:
    """The method that a config describes; see `fsjax.methods.classification.build`.

    Raises:
      UserError: also for another loss than "cosine", whose weights are no directions.
    """
    method = build_classification(config, info, axis_name=axis_name)
    if not isinstance(method.loss, CosineLoss):
        raise UserError(
            f"config.loss.name={config.loss.name!r}: imprinted weights are directions of a cosine classifier; "
            "use --config.loss.name=cosine"
        )
    return ImprintedWeights(method.encoder, method.loss, axis_name=axis_name)
