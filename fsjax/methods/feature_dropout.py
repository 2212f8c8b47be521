"""Dropout of the features that a loss sees: several masks at once, or the last features first."""

import dataclasses

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.options import read
from fsjax.options.methods import FeatureDropoutOptions


def multi_sample(features: jax.Array, masks: jax.Array, *, rate: float) -> jax.Array:
    """Features under several dropout masks (Inoue 2019, "Multi-Sample Dropout"); the loss is the mean of their losses.

    Args:
      features: `[batch, dim]`.
      masks: `[samples, batch, dim]` bool, True where a feature is kept.
      rate: share of features that is dropped; what is kept is divided by `1 - rate`.

    Returns:
      `[samples, batch, dim]`.
    """
    return jnp.where(masks, features / (1 - rate), 0)


def nested_probabilities(dim: int, *, mu: float, sigma: float) -> jax.Array:
    """P(k) of keeping the first k features, `exp(-((k - mu) / sigma)²)` up to a factor, k = 1..dim: `[dim]`.

    Chen et al. 2022, "Compressing Features for Learning with Noisy Labels".
    """
    return jax.nn.softmax(-jnp.square((jnp.arange(1, dim + 1) - mu) / sigma))


def first(features: jax.Array, count: jax.Array | int) -> jax.Array:
    """Features `[..., dim]` with those after the first `count` (a scalar, or one for each, `[...]`) at 0."""
    return jnp.where(jnp.arange(features.shape[-1]) < jnp.asarray(count)[..., None], features, 0)


@dataclasses.dataclass(frozen=True)
class MultiSampleDropout:
    """Several masks per step on the same features, for little more than the cost of one.

    Attributes:
      rate: share of features that is dropped, in (0, 1).
      samples: how many masks.
    """

    rate: float
    samples: int

    def versions(self, features: jax.Array, key: jax.Array) -> jax.Array:
        """`[samples, batch, dim]` of `[batch, dim]`: what the loss sees in training; `key` is of `jax.random`."""
        masks = jax.random.bernoulli(key, 1 - self.rate, (self.samples, *features.shape))
        return multi_sample(features, masks, rate=self.rate)

    def kept(self, features: jax.Array) -> jax.Array:
        """What the loss sees in evaluation: all features."""
        return features


@dataclasses.dataclass(frozen=True)
class NestedDropout:
    """The first k features, k drawn for each step: they come to be ordered by what they say, and the last ones, which
    fit noisy labels, can be left out in the end.

    Attributes:
      mu, sigma: of the draws, see `nested_probabilities`.
      keep: how many features the classifier reads in evaluation, 0 for all; embeddings always have all. `fsjax widths
        RUN` says which number is best.
    """

    mu: float
    sigma: float
    keep: int

    def versions(self, features: jax.Array, key: jax.Array) -> jax.Array:
        """`[1, batch, dim]` of `[batch, dim]`; one k for the batch, as in released code; `key` is of `jax.random`."""
        dim = features.shape[-1]
        probabilities = nested_probabilities(dim, mu=self.mu, sigma=self.sigma)
        count = 1 + jax.random.choice(key, dim, p=probabilities)
        return first(features, count)[None]

    def kept(self, features: jax.Array) -> jax.Array:
        """The first `keep` of `[..., dim]`."""
        return first(features, self.keep) if self.keep else features


def build_feature_dropout(config: ConfigDict) -> MultiSampleDropout | NestedDropout | None:
    """What `config.feature_dropout` describes; None for "none".

    Raises:
      UserError: for an unknown name, or a value out of range.
    """
    chosen = read(FeatureDropoutOptions, config.feature_dropout, "config.feature_dropout")
    if chosen.name == "none":
        return None
    if chosen.name == "multi_sample":
        return MultiSampleDropout(chosen.rate, chosen.samples)
    return NestedDropout(chosen.mu, chosen.sigma, chosen.keep)
