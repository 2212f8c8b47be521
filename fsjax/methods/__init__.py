"""Methods: a paper = model + objective + prediction rule.

To add one: a file with a function `build` here, and its options and line in `fsjax.options.methods`.
"""

import dataclasses

from ml_collections import ConfigDict

from fsjax.errors import UserError, unknown
from fsjax.methods.base import DataFacts, Method
from fsjax.methods.classification import Classification
from fsjax.methods.feature_dropout import NestedDropout, build_feature_dropout
from fsjax.options.methods import METHODS

__all__ = ["METHODS", "build_method"]


def build_method(config: ConfigDict, info: DataFacts, *, axis_name: str | None = None) -> Method:
    """The method that `config.method.name` names, for data described by `info`."""
    name = config.method.name
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    method = METHODS[name].load()(config, info, axis_name=axis_name)
    if not isinstance(method, Classification):
        _refuse_feature_dropout(config)
        return method
    dropout = build_feature_dropout(config)
    if isinstance(dropout, NestedDropout) and dropout.keep > method.dim:
        raise UserError(
            f"config.feature_dropout.keep={dropout.keep} is more than the {method.dim} features that there are"
        )
    return dataclasses.replace(method, seed=config.seed, feature_dropout=dropout)


def _refuse_feature_dropout(config: ConfigDict) -> None:
    if build_feature_dropout(config) is not None:
        raise UserError(
            f"config.feature_dropout.name={config.feature_dropout.name!r} is of features that a classifier sees, and "
            f"method {config.method.name!r} trains none by itself: set it to 'none'"
        )
