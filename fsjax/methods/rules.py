"""How queries of a new task are classified: prototypes of the support images, and a similarity to them."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fsjax.errors import UserError, unknown
from fsjax.losses.arithmetic.similarity import SIMILARITIES, unit
from fsjax.methods.naive_bayes import task_scores
from fsjax.models import Encoded
from fsjax.models.pooling import POOLS

# What a support or a query image can be reduced to. "dense" keeps the map: each position is classified for itself.
FEATURES = ("embedding", *POOLS, "dense")
# What is made of a task's support features: a prototype per class, or a naive Bayes classifier.
HEADS = ("prototypes", "naive_bayes")
_ABSENT = -1e30


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule of prediction for few-shot tasks.

    Attributes:
      similarity: "cosine", "squared_euclid" or "euclid", between a query and the prototypes.
      support_pool: what the prototypes are means of: "gap", "gmp", "flatten", or "embedding", the encoder's own.
      query_pool: the same of the queries, or "dense": the softmax over the classes at every position of the map,
        averaged over the positions (Lifchitz et al. 2019, Eq. 14).
      tau: scale of the similarities; it decides nothing but for "dense".
      unit_support: whether support features have length 1 before they are averaged (Qi et al. 2018, Sec. 3.2).
      widths: of the parts of a feature vector; the similarities of the parts are summed. None: of the whole.
      head: of `HEADS`; "naive_bayes" reads features alone, and no similarity (`fsjax.methods.naive_bayes`).
      shrinkage: of the variances of "naive_bayes" towards their mean, from 0 to 1.
    """

    similarity: str
    support_pool: str
    query_pool: str
    tau: float
    unit_support: bool = False
    widths: tuple[int, ...] = ()
    head: str = "prototypes"
    shrinkage: float = 0.0

    def __post_init__(self) -> None:
        if self.similarity not in SIMILARITIES:
            raise unknown("similarity", self.similarity, SIMILARITIES)
        if self.query_pool not in FEATURES:
            raise unknown("query pooling", self.query_pool, FEATURES)
        if self.support_pool not in FEATURES or self.support_pool == "dense":
            raise unknown("support pooling", self.support_pool, FEATURES[:-1])
        if "flatten" in (self.support_pool, self.query_pool) and self.support_pool != self.query_pool:
            raise UserError("pooling 'flatten' makes longer vectors: use it for support and queries, or neither")
        if not self.tau > 0:
            raise UserError(f"the scale tau={self.tau} of the similarities must be above 0")
        self._check_head()

    def _check_head(self) -> None:
        if self.head not in HEADS:
            raise unknown("head", self.head, HEADS)
        if not 0 <= self.shrinkage <= 1:
            raise UserError(f"shrinkage={self.shrinkage} of the variances must be from 0 to 1")
        if self.head == "prototypes" and self.shrinkage:
            raise UserError(f"shrinkage={self.shrinkage} is of the variances of naive Bayes: take the head naive_bayes")
        if self.head == "naive_bayes" and self.support_pool != self.query_pool:
            raise UserError(
                f"pooling {self.support_pool}/{self.query_pool}: naive Bayes compares the same features of support and "
                f"queries: take {self.support_pool}/{self.support_pool}"
            )

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that the rule needs of an image."""
        return tuple(dict.fromkeys((self.support_pool, self.query_pool)))

    def scores(
        self,
        queries: jax.Array,
        classes: jax.Array,
        *,
        tau: jax.Array | float | None = None,
        present: jax.Array | None = None,
    ) -> jax.Array:
        """Scores of queries by this rule, see `class_scores`; `tau` instead of the rule's own, which is static."""
        return class_scores(
            queries,
            classes,
            similarity=self.similarity,
            tau=self.tau if tau is None else tau,
            dense=self.query_pool == "dense",
            present=present,
            widths=self.widths,
        )

    def task_scores(
        self, queries: jax.Array, support: jax.Array, real: jax.Array, *, tau: jax.Array | float | None = None
    ) -> jax.Array:
        """Scores of the queries of tasks by their support features, with the head of the rule.

        Args:
          queries: see `class_scores`.
          support: `[..., way, shot, dim]`.
          real: `[..., way, shot]` bool, False for padding.
          tau: instead of the rule's own.

        Returns:
          `[..., n, way]`.
        """
        present = jnp.any(real, axis=-1)
        if self.head == "naive_bayes":
            scores = task_scores(queries, support, real, shrinkage=self.shrinkage)
            return jnp.where(present[..., None, :], scores, _ABSENT)
        means = prototypes(support, real, unit_support=self.unit_support)
        return self.scores(queries, means, tau=tau, present=present)


def check_features(encoder: nn.Module, names: tuple[str, ...]) -> None:
    """Raise a `UserError` unless this encoder's images can be reduced so."""
    for name in names:
        if name not in FEATURES:
            raise unknown("pooling", name, FEATURES)
        if name != "embedding" and encoder.goes_on:
            raise UserError(
                f"pooling {name!r} reads the last feature maps, but this network has layers of its own after them: "
                "set the model's dim to None, hidden to () and prelu to False (of localization, emb_dim to 0), or use "
                "pooling 'embedding'"
            )


def own_pool(encoder: nn.Module) -> str:
    """The name of the features that the encoder's embedding is."""
    return "embedding" if encoder.goes_on else encoder.pool


def features_of(encoded: Encoded, names: tuple[str, ...]) -> dict[str, jax.Array]:
    """Features of images by name, float32: `[batch, dim]`, and of "dense" `[batch, positions, dim]`."""
    maps = list(encoded.maps.values())[-1]
    return {name: encoded.embedding if name == "embedding" else feature_of_maps(maps, name) for name in names}


def feature_of_maps(maps: jax.Array, name: str) -> jax.Array:
    """One of `FEATURES` but "embedding", made of maps `[batch, h, w, channels]`; shapes as for `features_of`."""
    return positions(maps) if name == "dense" else POOLS[name](maps)


def positions(maps: jax.Array) -> jax.Array:
    """Feature maps `[batch, h, w, channels]` as one vector per position, float32 `[batch, h * w, channels]`."""
    return maps.reshape(maps.shape[0], -1, maps.shape[-1]).astype(jnp.float32)


def prototypes(support: jax.Array, real: jax.Array | None = None, *, unit_support: bool = False) -> jax.Array:
    """The mean of each class's support features (Snell et al. 2017, Eq. 1).

    Args:
      support: `[..., way, shot, dim]`.
      real: `[..., way, shot]` bool, False for padding; None where all are real.
      unit_support: whether the features are brought to length 1 before.

    Returns:
      `[..., way, dim]`; of a class without any real image, 0.
    """
    support = unit(support) if unit_support else support
    if real is None:
        return jnp.mean(support, axis=-2)
    weights = real[..., None].astype(support.dtype)
    return jnp.sum(support * weights, axis=-2) / jnp.maximum(jnp.sum(weights, axis=-2), 1)


def class_scores(
    queries: jax.Array,
    classes: jax.Array,
    *,
    similarity: str,
    tau: jax.Array | float,
    dense: bool = False,
    present: jax.Array | None = None,
    widths: tuple[int, ...] = (),
) -> jax.Array:
    """Scores of queries by class; the argmax is the prediction, Eq. 13 and 14 of Lifchitz et al.

    Args:
      queries: `[..., n, dim]`; if `dense`, `[..., n, positions, dim]`.
      classes: `[..., num_classes, dim]`: prototypes, or the weights of classes.
      similarity: a key of `fsjax.losses.arithmetic.similarity.SIMILARITIES`.
      tau: scale of the similarities.
      dense: whether each position is classified for itself, and the probabilities averaged.
      present: bool `[..., num_classes]`, False for classes that a task of fewer ways lacks; None where it has all.
        They leave the softmax at each position as well: they would take probability from the others, and more at one
        position than at another.
      widths: see `Rule`.

    Returns:
      `[..., n, num_classes]` similarities; if `dense`, the logarithm of the mean probabilities. Of absent classes a
      number far below all others, and finite: a loss of it can be given the weight 0.
    """
    vectors = queries.reshape(*queries.shape[: classes.ndim - 2], -1, queries.shape[-1])
    scores = _similarities(similarity, vectors, classes, tau, widths)
    if present is not None:
        scores = jnp.where(present[..., None, :], scores, _ABSENT)
    return mean_probability(scores.reshape(*queries.shape[:-1], -1)) if dense else scores


def _similarities(
    name: str, vectors: jax.Array, classes: jax.Array, tau: jax.Array | float, widths: tuple[int, ...]
) -> jax.Array:
    """The similarities of vectors to classes, or the sum of those of their parts of these widths."""
    if not widths:
        return SIMILARITIES[name](vectors, classes, tau)
    at = np.cumsum(widths[:-1]).tolist()
    parts = zip(jnp.split(vectors, at, axis=-1), jnp.split(classes, at, axis=-1), strict=True)
    return functools.reduce(jnp.add, (SIMILARITIES[name](*pair, tau) for pair in parts))


def mean_probability(logits: jax.Array) -> jax.Array:
    """Logarithm of the softmax averaged over positions: `[..., positions, classes]` -> `[..., classes]`."""
    log_probability = jax.nn.log_softmax(logits, axis=-1)
    return jax.nn.logsumexp(log_probability, axis=-2) - jnp.log(logits.shape[-2])
