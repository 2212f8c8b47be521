"""How many of a network's first features a run needs: nested dropout orders them (Chen et al. 2022)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from fsjax import data
from fsjax.errors import UserError
from fsjax.methods.base import Method, Variables
from fsjax.methods.classification import Classification
from fsjax.methods.feature_dropout import NestedDropout, first

# Of two widths that are as good, the smaller one: a feature more must be worth so much accuracy, as in released code.
_PRICE = 1e-5


def check_nested(method: Method, info: data.DataInfo, name: str) -> None:
    """Raise a `UserError` unless the run `name` was trained with nested dropout, and is tested on its own classes."""
    if info.few_shot:
        raise UserError(f"the validation and test images of {name} are of other classes than its classifier's")
    if not isinstance(method.feature_dropout, NestedDropout):
        raise UserError(
            f"{name} was trained without nested dropout, so its features have no order: train one with "
            "--config.feature_dropout.name=nested"
        )


def accuracy_by_width(
    method: Classification,
    params: Variables,
    collections: Variables,
    examples: data.Examples,
    info: data.DataInfo,
    batch_size: int,
) -> np.ndarray:
    """The share of images whose label is predicted from the first k features, float64 `[dim]`, k = 1 first.

    Args:
      method: of the run; its own `keep` is not used.
      params, collections: the run's variables.
      examples: images with labels.
      info: of the data, for the normalisation.
      batch_size: how many images go through the network at once.
    """
    uncut = dataclasses.replace(method, feature_dropout=None)

    @jax.jit
    def hits(batch: dict[str, jax.Array]) -> jax.Array:
        features = method.classified(method.encode(params, collections, batch["image"]))
        batch_size, count, dim = features.shape

        def of_width(width: jax.Array) -> jax.Array:
            logits = uncut.loss_logits(params, collections, first(features, width).reshape(-1, dim))
            logits = method.scores(logits.reshape(batch_size, count, -1))
            return jnp.sum((jnp.argmax(logits, axis=-1) == batch["label"]) * batch["weight"])

        return jax.lax.map(of_width, 1 + jnp.arange(features.shape[-1]))

    batches = data.eval_batches(examples, batch_size=batch_size, info=info)
    found = [np.asarray(hits({k: b[k] for k in ("image", "label", "weight")}), np.float64) for b in batches]
    return np.sum(found, axis=0) / len(examples)


def best_width(accuracies: np.ndarray) -> int:
    """The number of features with the best accuracy `[dim]`, the smaller one of two that are as good."""
    return 1 + int(np.argmax(accuracies - _PRICE * np.arange(len(accuracies))))
