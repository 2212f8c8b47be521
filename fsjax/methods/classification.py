"""Classification: an encoder and a loss that owns the class parameters (softmax, cosine, ICU, L-GM, ...)."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, cast

import chex
import jax
import jax.numpy as jnp
from jax import lax
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.losses import LossModule, LossOutput, build_loss, mixed
from fsjax.losses.cosine import MIN_TAU, CosineLoss
from fsjax.methods.base import DataFacts, Method, Variables, build_encoder, decay_mask, only
from fsjax.methods.rules import Rule, own_pool
from fsjax.models import Encoded
from fsjax.options.losses import CosineOptions

TEACHER = ("teacher_logits", "teacher_features", "teacher_means")
# Scale of the similarities where the loss has learned none: the paper's at the start on miniImageNet.
_TAU = CosineOptions.tau_init


@dataclasses.dataclass(frozen=True)
class Classification(Method):
    """Image -> embedding -> loss; the loss's own rule predicts.

    With the loss "softmax" or "cosine" and a pooling of the encoder ("gap", "gmp", "flatten") these are the linear and
    cosine classifier baselines of few-shot learning (Lifchitz et al. 2019, Eq. 6 to 8).

    Attributes:
      loss: linen module of `fsjax.losses`, features and labels -> `LossOutput`.
      seed: of what the loss and the dropout of features draw.
      teacher: the method of another run, for losses that read its scores or features; its variables are the collection
        "teacher": {"params", "collections"}, and {"means"} `[num_classes, dim]` if the loss reads "teacher_means".
      feature_dropout: what is done to features before the loss, or None.
    """

    loss: LossModule = dataclasses.field()
    seed: int = dataclasses.field(default=0, kw_only=True)

    reads_loss = True
    # What a loss can read of a batch besides features and labels, see `LossModule`.
    OFFERS: ClassVar[tuple[str, ...]] = ("index", "cluster_share", "maps", *TEACHER)

    @property
    def dim(self) -> int:
        """Width of the features that the loss sees."""
        return self.loss.dim

    @property
    def mixup_alpha(self) -> float:
        """Mixup strength that the loss asks of the data pipeline; 0 for none."""
        return self.loss.asked_mixup

    def init(self, rng: jax.Array, images: jax.Array) -> dict[str, Any]:
        """Fresh variables `{"params": {"encoder", "loss"}, "batch_stats": ..., "loss_state": ...}`.

        Args:
          rng: a key of `jax.random`.
          images: `[batch, h, w, c]` float; only the shape matters.
        """
        encoder_rng, loss_rng = jax.random.split(rng)
        encoded, encoder_vars = self.encoder.init_with_output(encoder_rng, images, train=False)
        features = self.classified(encoded)[:, 0]
        labels = jnp.zeros(images.shape[0], jnp.int32)
        batch = {"image": images, "index": labels, "cluster_share": jnp.zeros(len(images))}
        read: dict[str, Any] = self.read_by_loss(batch, encoded, {})
        loss_vars = self.loss.init(loss_rng, features, labels, step=jnp.int32(0), **read)
        collections = {k: v for k, v in {**encoder_vars, **loss_vars}.items() if k != "params"}
        return {"params": {"encoder": encoder_vars["params"], "loss": loss_vars["params"]}, **collections}

    def objective(
        self, params: Variables, collections: Variables, batch: Mapping[str, jax.Array], *, step: jax.Array
    ) -> tuple[jax.Array, tuple[dict[str, Any], dict[str, jax.Array]]]:
        """The training loss of one device's shard of a batch, equal on all devices.

        Args:
          params: trained variables as `init` gives them.
          collections: the other variables: batch statistics, state of the loss.
          batch: "image" `[batch, h, w, c]`, "label" `[batch]`, and "index" or "cluster_share" `[batch]` if the loss
            reads them; mixed batches also have "mixed_label" and "mix", both `[batch]` (mixup: image = mix·a +
            (1−mix)·b).
          step: int32 scalar, for losses with a schedule.

        Returns:
          The scalar loss, then the new collections and scalar metrics ("loss", "accuracy", "feature_max"
          and the loss's own).
        """
        chex.assert_rank([batch["image"], batch["label"]], [4, 1])
        encoded, updates = self.encode_in_training(params, collections, batch["image"])
        features = self.gather(self.classified(encoded))
        count = features.shape[1]
        features = features.reshape(-1, features.shape[-1])
        labels = jnp.repeat(self.gather(batch["label"]), count)
        read = self.read_by_loss(batch, encoded, collections)
        read = {name: x if name == "teacher_means" else self.gather(x) for name, x in read.items()}

        key = self.draw_key(batch, step)

        def against(labels: jax.Array) -> tuple[LossOutput, dict[str, Any]]:
            return self.loss_output(params, collections, features, labels, step=step, key=key, read=read)

        logits = lax.stop_gradient(self.loss_logits(params, collections, features))
        predicted = jnp.argmax(logits, axis=-1)
        output, loss_state = against(labels)
        hits = (predicted == labels).astype(features.dtype)
        if "mixed_label" in batch:
            # Both sets of labels meet the same state of the loss; all that they give is mixed as the images were.
            mix = jnp.repeat(self.gather(batch["mix"]).astype(features.dtype), count)
            other, share = jnp.repeat(self.gather(batch["mixed_label"]), count), jnp.mean(mix)
            second, second_state = against(other)
            output = LossOutput(
                mixed(output.per_example, second.per_example, mix),
                mixed(output.regularizer, second.regularizer, share),
                jax.tree.map(lambda a, b: mixed(a, b, share), output.metrics, second.metrics),
            )
            loss_state = jax.tree.map(lambda a, b: mixed(a, b, share), loss_state, second_state)
            hits = mixed(hits, (predicted == other).astype(features.dtype), mix)
        more, own_metrics = self.auxiliary(params, collections, batch["image"], encoded)
        total = self.reduce(output.per_example) + output.regularizer + more
        metrics = {
            **output.metrics,
            **own_metrics,
            "loss": total,
            "accuracy": jnp.mean(hits),
            "feature_max": jnp.max(jnp.abs(features)),
        }
        return total, ({**collections, **updates, **loss_state}, metrics)

    def draw_key(self, batch: Mapping[str, jax.Array], step: jax.Array) -> jax.Array:
        """The key of a micro-batch's draws, equal on all devices: of the run's seed, the step, and "turn", which of the
        step's micro-batches it is, if the batch says it."""
        key = jax.random.fold_in(jax.random.key(self.seed, impl="threefry2x32"), step)
        return jax.random.fold_in(key, batch.get("turn", 0))

    def loss_output(
        self,
        params: Variables,
        collections: Variables,
        features: jax.Array,
        labels: jax.Array,
        *,
        step: jax.Array,
        key: jax.Array,
        read: Mapping[str, jax.Array],
    ) -> tuple[LossOutput, dict[str, Any]]:
        """The loss of features `[batch, dim]`, the mean over their versions under dropout, and its new state."""
        variables = {"params": params["loss"], **only(collections, "loss_state")}
        of_loss, of_dropout = jax.random.split(key)

        def of(features: jax.Array) -> tuple[LossOutput, dict[str, Any]]:
            given: dict[str, Any] = {"step": step, **read}
            applied = self.loss.apply(
                variables, features, labels, mutable=["loss_state"], rngs={"loss": of_loss}, **given
            )
            return cast(tuple[LossOutput, dict[str, Any]], applied)

        if self.feature_dropout is None:
            return of(features)
        results = [of(version) for version in self.feature_dropout.versions(features, of_dropout)]
        return jax.tree.map(lambda *parts: sum(parts) / len(parts), *results)

    def loss_logits(self, params: Variables, collections: Variables, features: jax.Array) -> jax.Array:
        """Scores of features `[batch, dim]` by the loss's own rule."""
        variables = {"params": params["loss"], **only(collections, "loss_state")}
        kept = features if self.feature_dropout is None else self.feature_dropout.kept(features)
        return cast(jax.Array, self.loss.apply(variables, kept, method="logits"))

    @property
    def reads(self) -> tuple[str, ...]:
        """What the loss reads of a batch besides features and labels."""
        return self.loss.READS

    def read_by_loss(
        self, batch: Mapping[str, jax.Array], encoded: Encoded, collections: Variables
    ) -> dict[str, jax.Array]:
        """What the loss reads of this device's part of a batch besides features and labels, by name.

        Without the collection "teacher", as before the first step, the teacher says zeros and has the student's width.
        """
        rows, dim, classes = len(batch["image"]), encoded.embedding.shape[-1], self.loss.num_classes
        dim = self.loss.teacher_width(dim)
        found = {
            "index": lambda: batch["index"],
            "cluster_share": lambda: batch["cluster_share"],
            "maps": lambda: list(encoded.maps.values())[-1],
            "teacher_logits": lambda: jnp.zeros((rows, classes)),
            "teacher_features": lambda: jnp.zeros((rows, dim)),
            "teacher_means": lambda: jnp.zeros((classes, dim)),
        }
        if "teacher" in collections:
            teacher: Any = self.teacher
            of_teacher = lax.stop_gradient(collections["teacher"])
            known = (of_teacher["params"], of_teacher["collections"], batch["image"])
            found |= {
                "teacher_logits": lambda: teacher.logits(*known),
                "teacher_features": lambda: teacher.embed(*known),
                "teacher_means": lambda: of_teacher["means"],
            }
        return {name: found[name]() for name in self.reads}

    def auxiliary(
        self, params: Variables, collections: Variables, images: jax.Array, encoded: Encoded
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """What a method adds to the loss of a batch, a scalar equal on all devices, with its metrics; here nothing."""
        return jnp.zeros(()), {}

    def classified(self, encoded: Encoded) -> jax.Array:
        """What the loss classifies of each image: `[batch, count, dim]`, here one vector, the embedding."""
        return encoded.embedding[:, None]

    def reduce(self, losses: jax.Array) -> jax.Array:
        """The losses of all vectors of a batch as one number, here their mean."""
        return jnp.mean(losses)

    def scores(self, logits: jax.Array) -> jax.Array:
        """Logits of all vectors of each image, `[batch, count, classes]`, as scores `[batch, classes]`."""
        return logits[:, 0]

    def logits(self, params: Variables, collections: Variables, images: jax.Array) -> jax.Array:
        """Scores `[batch, classes]` by the loss's own rule; their argmax is the prediction."""
        features = self.classified(self.encode(params, collections, images))
        batch, count, dim = features.shape
        logits = self.loss_logits(params, collections, features.reshape(batch * count, dim))
        return self.scores(logits.reshape(batch, count, -1))

    def rule(self, params: Variables) -> Rule:
        """Cosine to the prototypes of embeddings."""
        pool = own_pool(self.encoder)
        return Rule("cosine", pool, pool, self.scale(params))

    def scale(self, params: Variables) -> float:
        """The scale that the loss has learned for its cosines, if it has one."""
        return max(float(params["loss"]["tau"]), MIN_TAU) if isinstance(self.loss, CosineLoss) else _TAU

    def class_weights(self, params: Variables) -> tuple[str, jax.Array] | None:
        """The weights of a cosine classifier; no other loss's parameters are comparable with prototypes."""
        if not isinstance(self.loss, CosineLoss):
            return None
        return own_pool(self.encoder), params["loss"]["weights"]

    def weight_decay_mask(self, params: Variables) -> Any:
        """A tree of bools like `params`: False for the parameters that the loss keeps from weight decay."""
        return decay_mask(params, self.loss.NO_DECAY)


def build(config: ConfigDict, info: DataFacts, *, axis_name: str | None) -> Classification:
    """The method that a config describes.

    Args:
      config: a run's config; `model` and `loss` are read.
      info: the data's `DataInfo`.
      axis_name: the mapped axis that holds the devices, or None for one device without an axis.

    Returns:
      A `Classification`.

    Raises:
      UserError: for an unknown model or loss, or an option it does not have.
    """
    encoder, encoded = build_encoder(config, info.image_shape, axis_name)
    loss = build_config_loss(config, info, encoded.embedding.shape[-1], offers=Classification.OFFERS)
    return Classification(encoder, loss, axis_name=axis_name)


def build_config_loss(config: ConfigDict, info: DataFacts, dim: int, *, offers: Collection[str]) -> LossModule:
    """The loss that `config.loss` names, for features of this width.

    Args:
      config: a run's config.
      info: the data's `DataInfo`.
      dim: width of the features.
      offers: what of a batch the method can give to the loss, see `LossModule`.

    Raises:
      UserError: for an unknown loss or option, and for a loss that reads what the method does not offer.
    """
    loss = build_loss(
        config.loss.name,
        num_classes=info.num_classes,
        dim=dim,
        class_counts=info.class_counts,
        num_examples=sum(info.class_counts),
        options=config.loss.get(config.loss.name, {}),
    )
    for name in loss.READS:
        if name not in offers:
            raise UserError(
                f"config.loss.name={config.loss.name!r} reads {name!r} of each image, which method "
                f"{config.method.name!r} does not have: take another loss, or method 'classification'"
            )
        if name in TEACHER and not config.teacher.run:
            raise UserError(
                f"config.loss.name={config.loss.name!r} learns from a teacher: train one on the same data first, and "
                "give its folder: --config.teacher.run=runs/TEACHER"
            )
    return loss
