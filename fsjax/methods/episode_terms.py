"""The losses of a step's episodes, one or several: cross-entropy, Proto-Triplet and ICNN (SuSana Distancia)."""

import dataclasses
from functools import partial, reduce

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.losses.icnn import icnn_score, neighbourhoods
from fsjax.losses.proto_triplet import proto_triplet_loss
from fsjax.methods.episodes import Divided, EpisodeShape, divided, episode_shape
from fsjax.methods.rules import prototypes
from fsjax.options.methods import PrototypicalOptions

CROSS_ENTROPY = "cross_entropy"


@dataclasses.dataclass(frozen=True)
class Terms:
    """Which losses, and their options.

    Proto-Triplet and ICNN read Euclidean distances of the embeddings, whatever the similarity of the cross-entropy.
    ICNN counts once for each member of `icnn_on`, as in the released code.

    Attributes:
      options: those of the method; see also `fsjax.losses.proto_triplet` and `fsjax.losses.icnn`.
    """

    options: PrototypicalOptions = PrototypicalOptions()  # noqa: RUF009 (frozen)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the losses."""
        return self.options.losses

    def combined(
        self, cross_entropy: jax.Array, features: jax.Array, real: jax.Array, shape: EpisodeShape
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The total of a step, and the losses that it is the mean of.

        Args:
          cross_entropy: of the step, a scalar.
          features: `[rows, dim]`, see `fsjax.methods.episodes.episode_losses`.
          real: `[rows]` bool, False for padding.
          shape: of the episodes.

        Returns:
          The mean, and the scalars by name: "cross_entropy", "proto_triplet", "icnn_support" and so on.
        """
        parts, found = divided(features, real, shape), {}
        for name in self.names:
            if name == CROSS_ENTROPY:
                found[name] = cross_entropy
            elif name == "proto_triplet":
                found[name] = self._proto_triplet(parts)
            else:
                found |= {
                    f"icnn_{on}": jnp.mean(jax.vmap(partial(self._icnn, on))(parts)) for on in self.options.icnn_on
                }
        return reduce(jnp.add, found.values()) / len(found), found

    def _proto_triplet(self, parts: Divided) -> jax.Array:
        classes, present = prototypes(parts.support, parts.of_support), jnp.any(parts.of_support, axis=-1)
        losses = proto_triplet_loss(
            parts.queries, classes, parts.labels, margin=self.options.triplet_margin, present=present
        )
        # A query of padding may have no class at all; a weight of 0 would not undo what it then has.
        return jnp.sum(jnp.where(parts.of_queries, losses, 0.0)) / jnp.sum(parts.of_queries)

    def _icnn(self, on: str, parts: Divided) -> jax.Array:
        """The loss of one episode, without padding."""
        way, shot, dim = parts.support.shape
        support, of_support = parts.support.reshape(-1, dim), jnp.repeat(jnp.arange(way), shot)
        ipc = self.kept(on, shot + len(parts.queries) // way)
        score = partial(icnn_score, k=self.options.icnn_k, ipc=ipc, drop_nearest=self.options.icnn_drop_nearest)
        if on == "support":
            return score(support, of_support)["loss"]
        if on == "query_to_support":
            return score(parts.queries, parts.labels, support, of_support)["loss"]
        if on == "query_to_prototypes":
            return score(parts.queries, parts.labels, prototypes(parts.support), jnp.arange(way))["loss"]
        points = jnp.concatenate([support, parts.queries])
        return score(points, jnp.concatenate([of_support, parts.labels]))["loss"]

    def kept(self, on: str, rows: int) -> int | None:
        """ICNN's `ipc` for a member of `ICNN_ON`, in episodes of so many images per class."""
        return rows if self.options.icnn_ipc is None and on == "all" else self.options.icnn_ipc


def build_terms(config: ConfigDict, options: PrototypicalOptions) -> Terms:
    """The losses of `config.method.prototypical`.

    Raises:
      UserError: for ICNN on episodes that it cannot be of.
    """
    terms = Terms(options)
    if "icnn" in terms.names:
        _check_icnn(config, terms)
    return terms


def _check_icnn(config: ConfigDict, terms: Terms) -> None:
    for name in ("way", "shot", "query"):
        if len(set(config.episodes[name])) > 1:
            raise UserError(
                f"config.episodes.{name}={tuple(config.episodes[name])}: the loss 'icnn' counts neighbours, and the "
                "images that fill up episodes of unequal ways, shots or queries would be among them: take episodes of "
                "one size, or leave 'icnn' out of config.method.prototypical.losses"
            )
    shape = episode_shape(config)
    rows = shape.shot + shape.query
    for on in terms.options.icnn_on:
        targets = {"query_to_prototypes": shape.way, "all": shape.way * rows}.get(on, shape.way * shape.shot)
        try:
            neighbourhoods(targets, k=terms.options.icnn_k, ipc=terms.kept(on, rows))
        except UserError as error:
            raise UserError(f"config.method.prototypical.icnn_on={on!r}: {error}") from error
