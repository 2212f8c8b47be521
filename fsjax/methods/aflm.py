"""AFLM: a Global and a Local branch, trained at once and fused by attention (Tang et al., "Task-Specific Few-Shot Image
Classification by Balancing Sample-Level and Class-Level Generalization")."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import chex
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.losses import LossModule, LossOutput
from fsjax.losses.cosine import MIN_TAU
from fsjax.methods.base import DataFacts, Method, Variables, build_encoder, decay_mask, only
from fsjax.methods.classification import build_config_loss
from fsjax.methods.episodes import EpisodeShape, episode_losses, episode_shape, trained_tau
from fsjax.methods.rules import Rule, own_pool
from fsjax.models import Encoded
from fsjax.models.fusion import fuse_branches
from fsjax.models.pooling import POOLS
from fsjax.options import read
from fsjax.options.methods import AflmOptions


@dataclasses.dataclass(frozen=True)
class AFLM(Method):
    """The Global loss of one branch, the Local loss of the other, and the Local loss of both side by side (Eq. 9).

    A step is a batch of several episodes. The Local losses classify the queries of each by its prototypes (Eq. 7 and
    8), with the cosine; the Global loss sees all images of the step, support and queries, with their labels among all
    base classes (Eq. 4). Queries of new tasks are classified by both branches side by side.

    Attributes:
      loss: the Global loss, of `fsjax.losses`, over the Global branch's features.
      shape: of a step's episodes.
      tau: scale of the cosines at first; each Local loss has its own.
      learn_tau: whether they are trained.
      reduction: "mean" of a loss over its images, or "sum" (Eq. 5 and 8 as printed: the Global loss then weighs
        (K + Q) / Q times as much as a Local one, and all grow with the batch).
      embedding_dim: width of the embedding, both branches.
    """

    loss: LossModule = dataclasses.field()
    shape: EpisodeShape
    tau: float
    learn_tau: bool
    reduction: str
    embedding_dim: int

    reads_loss = True
    pretrained: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # its encoder has two backbones

    @property
    def dim(self) -> int:
        """Width of the embedding, both branches."""
        return self.embedding_dim

    @property
    def episodes(self) -> EpisodeShape:
        """The episodes that a training batch is made of."""
        return self.shape

    def init(self, rng: jax.Array, images: jax.Array) -> dict[str, Any]:
        """Fresh variables, "params": {"encoder", "loss": {"global", "tau_local", "tau_cat"}}; see `Classification`."""
        encoder_rng, loss_rng = jax.random.split(rng)
        encoded, encoder_vars = self.encoder.init_with_output(encoder_rng, images, train=False)
        of_global, _ = self.branches(encoded)
        labels = jnp.zeros(images.shape[0], jnp.int32)
        loss_vars = self.loss.init(loss_rng, of_global, labels, step=jnp.int32(0))
        taus = {name: jnp.float32(self.tau) for name in ("tau_local", "tau_cat")}
        collections = {k: v for k, v in {**encoder_vars, **loss_vars}.items() if k != "params"}
        losses = {"global": loss_vars["params"], **taus}
        return {"params": {"encoder": encoder_vars["params"], "loss": losses}, **collections}

    def branches(self, encoded: Encoded) -> tuple[jax.Array, jax.Array]:
        """X_global and X_local, `[batch, dim / 2]` each: the halves of the last maps, pooled for themselves."""
        maps = list(encoded.maps.values())[-1]
        of_global, of_local = (POOLS[self.encoder.pool](half) for half in jnp.split(maps, 2, axis=-1))
        return of_global, of_local

    def objective(
        self, params: Variables, collections: Variables, batch: Mapping[str, jax.Array], *, step: jax.Array
    ) -> tuple[jax.Array, tuple[dict[str, Any], dict[str, jax.Array]]]:
        """The sum of the three losses of a step, equal on all devices.

        Args:
          params: trained variables as `init` gives them.
          collections: batch statistics, and the state of the Global loss.
          batch: "image" `[rows, h, w, c]`, in the order [episode, class, support then queries]; "label" `[rows]`, the
            base classes; "weight" `[rows]`, 0 for the padding of ragged episodes. The rows of an episode may lie on
            several devices.
          step: int32 scalar, for losses with a schedule.

        Returns:
          The scalar loss, then the new collections and scalar metrics: "loss", its parts "global", "local" and "cat",
          "accuracy" (of the queries, by both branches), "accuracy_global" (of all images, among the base classes),
          "feature_max", "tau_local", "tau_cat".
        """
        chex.assert_rank([batch["image"], batch["label"], batch["weight"]], [4, 1, 1])
        encoded, updates = self.encode_in_training(params, collections, batch["image"])
        of_global, of_local = (self.gather(x) for x in self.branches(encoded))
        labels, weights = self.gather(batch["label"]), self.gather(batch["weight"])
        losses, variables = {}, params["loss"]
        losses["global"], accuracy_global, loss_state, metrics = self._global(
            params, collections, of_global, labels, weights, step
        )
        taus = {name: trained_tau(variables[name], learn=self.learn_tau) for name in ("tau_local", "tau_cat")}
        both = jnp.concatenate([of_global, of_local], axis=-1)
        for name, features in (("local", of_local), ("cat", both)):
            per_query, hits, real = episode_losses(
                features, weights > 0, taus[f"tau_{name}"], shape=self.shape, similarity="cosine"
            )
            losses[name] = self._reduced(per_query, real)
            accuracy = jnp.sum(hits * real) / jnp.sum(real)  # of "cat", at the end
        total = losses["global"] + losses["local"] + losses["cat"]
        metrics = {
            **metrics, **losses, **taus, "loss": total, "accuracy": accuracy, "accuracy_global": accuracy_global,
            "feature_max": jnp.max(jnp.abs(both)),
        }  # fmt: skip
        return total, ({**collections, **updates, **loss_state}, metrics)

    def _global(
        self,
        params: Variables,
        collections: Variables,
        features: jax.Array,
        labels: jax.Array,
        weights: jax.Array,
        step: jax.Array,
    ) -> tuple[jax.Array, jax.Array, dict[str, Any], dict[str, jax.Array]]:
        """The Global loss and accuracy of all images of a step; the new state of the loss, and its metrics."""
        variables = {"params": params["loss"]["global"], **only(collections, "loss_state")}
        applied = self.loss.apply(variables, features, labels, step=step, mutable=["loss_state"])
        output, loss_state = cast(tuple[LossOutput, dict[str, Any]], applied)
        predicted = jnp.argmax(self._scores(variables, features), axis=-1)
        accuracy = jnp.sum((predicted == labels) * weights) / jnp.sum(weights)
        loss = self._reduced(output.per_example, weights) + output.regularizer
        return loss, accuracy, loss_state, output.metrics

    def _reduced(self, losses: jax.Array, weights: jax.Array) -> jax.Array:
        total = jnp.sum(losses * weights)
        return total / jnp.sum(weights) if self.reduction == "mean" else total

    def logits(self, params: Variables, collections: Variables, images: jax.Array) -> jax.Array:
        """Scores of the base classes `[batch, classes]`, by the Global branch and its loss's own rule."""
        of_global, _ = self.branches(self.encode(params, collections, images))
        variables = {"params": params["loss"]["global"], **only(collections, "loss_state")}
        return self._scores(variables, of_global)

    def _scores(self, variables: Variables, features: jax.Array) -> jax.Array:
        """Those of the Global loss's own rule."""
        return cast(jax.Array, self.loss.apply(variables, features, method="logits"))

    def rule(self, params: Variables) -> Rule:
        """Cosine to the prototypes of both branches' features."""
        pool = own_pool(self.encoder)
        return Rule("cosine", pool, pool, max(float(params["loss"]["tau_cat"]), MIN_TAU))

    def weight_decay_mask(self, params: Variables) -> Any:
        """No decay of the scales, nor of what the Global loss keeps from it."""
        return decay_mask(params, (*self.loss.NO_DECAY, "tau_local", "tau_cat"))


def build(config: ConfigDict, info: DataFacts, *, axis_name: str | None) -> AFLM:
    """The method that a config describes.

    Args:
      config: a run's config; `model` (of a branch), `loss` (the Global one), `episodes` and `method.aflm` are read.
      info: the data's `DataInfo`.
      axis_name: the mapped axis that holds the devices, or None for one device without an axis.

    Raises:
      UserError: for an unknown model, loss or option, episodes that cannot be, or a network that cannot be a branch.
    """
    chosen = read(AflmOptions, config.method.aflm, "config.method.aflm")
    branch, encoded = build_encoder(config, info.image_shape, axis_name)
    encoder = fuse_branches(
        branch,
        fusion=chosen.fusion,
        attention=chosen.attention,
        gate_on=chosen.gate_on,
        gate_slope=chosen.gate_slope,
        reduction=chosen.gate_reduction,
    )
    width = encoded.embedding.shape[-1]
    loss = build_config_loss(config, info, width, offers=())
    if loss.asked_mixup:
        raise UserError(f"config.loss.name={config.loss.name!r} mixes images, and episodes keep theirs apart")
    if not loss.PER_EXAMPLE and any(len(set(config.episodes[name])) > 1 for name in ("way", "shot", "query")):
        raise UserError(
            f"config.loss.name={config.loss.name!r} couples the images of a step, and those that fill up episodes of "
            "unequal ways, shots or queries would count in it: take episodes of one size, or the loss 'softmax'"
        )
    return AFLM(
        encoder,
        loss,
        episode_shape(config),
        chosen.tau,
        chosen.learn_tau,
        chosen.reduction,
        2 * width,
        axis_name=axis_name,
    )
