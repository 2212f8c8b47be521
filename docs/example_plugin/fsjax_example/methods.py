"""Nearest mean: a classifier whose few-shot tasks are decided by the Euclidean distance to the class means."""

import dataclasses
from typing import Any

from fsjax.methods.base import Variables
from fsjax.methods.classification import Classification
from fsjax.methods.classification import build as build_classification
from fsjax.methods.rules import Rule


@dataclasses.dataclass(frozen=True)
class NearestMean(Classification):
    """`Classification` with another rule for new classes."""

    def rule(self, params: Variables) -> Rule:
        """The squared Euclidean distance to prototypes."""
        return dataclasses.replace(super().rule(params), similarity="squared_euclid")


def build(config: Any, info: Any, *, axis_name: str | None) -> NearestMean:
    """The method that a config describes; see `fsjax.methods.classification.build`."""
    method = build_classification(config, info, axis_name=axis_name)
    return NearestMean(method.encoder, method.loss, axis_name=axis_name)
