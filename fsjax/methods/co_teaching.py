"""Co-teaching: two networks that choose each other's training examples (Han et al. 2018), for noisy labels."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.methods.base import DataFacts, Variables
from fsjax.methods.classification import Classification
from fsjax.methods.classification import build as build_classification
from fsjax.options import read
from fsjax.options.methods import CoTeachingOptions


@dataclasses.dataclass(frozen=True)
class CoTeaching(Classification):
    """Each of two networks learns from the examples on which the other's loss is smallest.

    Both see the same images, start differently, and are otherwise alike. Networks fit clean labels before noisy ones,
    so the share that is kept begins with all and falls to `1 - forget`. The first network is the run's: it is what is
    evaluated and restored; the second is in `params["peer"]` and the collection "peer".

    Attributes:
      forget: the share of each batch that is left out in the end, in [0, 1): the share of wrong labels, if it is known.
      gradual_steps: steps until then; 0 for at once.
    """

    forget: float = CoTeachingOptions.forget
    gradual_steps: int = CoTeachingOptions.gradual_steps

    pretrained: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # there are two networks

    def init(self, rng: jax.Array, images: jax.Array) -> dict[str, Any]:
        """Fresh variables as `Classification.init`, and those of the second network."""
        ours, theirs = (super(CoTeaching, self).init(key, images) for key in jax.random.split(rng))
        peer = {name: x for name, x in theirs.items() if name != "params"}
        return {**ours, "params": {**ours["params"], "peer": theirs["params"]}, "peer": peer}

    def objective(
        self, params: Variables, collections: Variables, batch: Mapping[str, jax.Array], *, step: jax.Array
    ) -> tuple[jax.Array, tuple[dict[str, Any], dict[str, jax.Array]]]:
        """The sum of both networks' losses, each over the examples that the other chose; see `Classification`.

        Metrics: "loss", of both; "accuracy" and "feature_max" of the first; "kept", the share of examples that is
        learned from; "agreement", the share of the first one's choice that the second makes too.
        """
        labels = self.gather(batch["label"])
        own = {name: x for name, x in collections.items() if name not in ("peer", "teacher")}
        results = [
            self._losses(p, c, batch, labels, step=step)
            for p, c in ((params, own), (params["peer"], collections["peer"]))
        ]
        (losses, _, features), (peer_losses, _, _) = results
        count = self.kept(len(labels), step)
        chosen, chosen_by_peer = smallest(losses, count), smallest(peer_losses, count)
        total = jnp.sum(losses * chosen_by_peer) / count + jnp.sum(peer_losses * chosen) / count
        logits = self.loss_logits(params, own, features)
        metrics = {
            "loss": total,
            "accuracy": jnp.mean(jnp.argmax(lax.stop_gradient(logits), axis=-1) == labels),
            "feature_max": jnp.max(jnp.abs(features)),
            "kept": count / len(labels),
            "agreement": jnp.sum(chosen * chosen_by_peer) / count,
        }
        return total, ({**collections, **results[0][1], "peer": {**collections["peer"], **results[1][1]}}, metrics)

    def kept(self, size: int, step: jax.Array) -> jax.Array:
        """How many examples of a batch of this size are learned from in a step, a float32 whole number, at least 1."""
        progress = jnp.minimum(step / self.gradual_steps, 1) if self.gradual_steps else 1.0
        return jnp.maximum(jnp.floor((1 - self.forget * progress) * size + 1e-4), 1)

    def _losses(
        self, params: Variables, collections: Variables, batch: Mapping[str, jax.Array], labels: jax.Array, *, step: Any
    ) -> tuple[jax.Array, dict[str, Any], jax.Array]:
        """Losses `[batch]` of one network, its changed collections, and its features."""
        encoded, updates = self.encode_in_training(params, collections, batch["image"])
        features = self.gather(encoded.embedding)
        key = self.draw_key(batch, step)
        output, loss_state = self.loss_output(params, collections, features, labels, step=step, key=key, read={})
        return output.per_example, {**updates, **loss_state}, features

    def weight_decay_mask(self, params: Variables) -> Any:
        """As `Classification`, of both networks."""
        own = {name: tree for name, tree in params.items() if name != "peer"}
        masks = [super(CoTeaching, self).weight_decay_mask(tree) for tree in (own, params["peer"])]
        return {**masks[0], "peer": masks[1]}


def smallest(losses: jax.Array, count: jax.Array) -> jax.Array:
    """1 for the `count` smallest of `[batch]` losses, else 0, without gradient; of equal ones the first."""
    ranks = jnp.argsort(jnp.argsort(lax.stop_gradient(losses), stable=True), stable=True)
    return (ranks < count).astype(losses.dtype)


def build(config: ConfigDict, info: DataFacts, *, axis_name: str | None) -> CoTeaching:
    """The method that a config describes; see `fsjax.methods.classification.build`.

    Raises:
      UserError: also for a loss of more than an example's own features and label, and for what is made for one network:
        mixed images, another run to start from.
    """
    chosen = read(CoTeachingOptions, config.method.co_teaching, "config.method.co_teaching")
    for name, value in (("data.augment.mixup", config.data.augment.mixup), ("start_from", config.start_from)):
        if value:
            raise UserError(
                f"config.{name}={value}: two networks that teach each other have no place for it; leave it out"
            )
    base = build_classification(config, info, axis_name=axis_name)
    loss = base.loss
    if not loss.PER_EXAMPLE or loss.READS or base.mixup_alpha:
        raise UserError(
            f"config.loss.name={config.loss.name!r}: co-teaching sorts the examples of a batch by their losses, so "
            "each must have one of its own, of features and label alone: take for example 'softmax'"
        )
    return CoTeaching(base.encoder, loss, chosen.forget, chosen.gradual_steps, axis_name=axis_name)
