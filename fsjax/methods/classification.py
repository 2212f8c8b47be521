"""Classification: an encoder and a loss that owns the class parameters (softmax, ICU, L-GM, ...)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax import lax

from fsjax.errors import unknown
from fsjax.losses import LOSSES, LossOutput, build_loss, mixed
from fsjax.models import MODELS, build_model

Variables = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Classification:
    """Image -> embedding -> loss; the loss's own rule predicts.

    The three functions that a training step needs are pure; the loop never asks which method it runs.

    Attributes:
      encoder: linen module, images `[batch, h, w, c]` -> `Encoded`.
      loss: linen module of `fsjax.losses`, features and labels -> `LossOutput`.
      axis_name: the mapped axis that holds the devices, or None. Features are gathered over it before the
        loss, so that losses that couple the examples of a batch (ICU's moments) do not depend on the
        number of devices.
    """

    encoder: Any
    loss: Any
    axis_name: str | None = None

    @property
    def mixup_alpha(self) -> float:
        """Mixup strength that the loss asks of the data pipeline; 0 for none."""
        return float(getattr(self.loss, "mixup_alpha", 0.0))

    @property
    def dim(self) -> int:
        """Width of the embedding."""
        return self.loss.dim

    def init(self, rng: jax.Array, images: jax.Array) -> dict[str, Any]:
        """Fresh variables `{"params": {"encoder", "loss"}, "batch_stats": ..., "loss_state": ...}`.

        Args:
          rng: a key of `jax.random`.
          images: `[batch, h, w, c]` float; only the shape matters.
        """
        encoder_rng, loss_rng = jax.random.split(rng)
        encoded, encoder_vars = self.encoder.init_with_output(encoder_rng, images, train=False)
        loss_vars = self.loss.init(
            loss_rng, encoded.embedding, jnp.zeros(images.shape[0], jnp.int32), step=jnp.int32(0)
        )
        collections = {k: v for k, v in {**encoder_vars, **loss_vars}.items() if k != "params"}
        return {"params": {"encoder": encoder_vars["params"], "loss": loss_vars["params"]}, **collections}

    def objective(
        self, params: Variables, collections: Variables, batch: Mapping[str, jax.Array], *, step: jax.Array
    ) -> tuple[jax.Array, tuple[dict[str, Any], dict[str, jax.Array]]]:
        """The training loss of one device's shard of a batch, equal on all devices.

        Args:
          params: trained variables as `init` gives them.
          collections: the other variables: batch statistics, state of the loss.
          batch: "image" `[batch, h, w, c]`, "label" `[batch]`; mixed batches also have "mixed_label" and
            "mix", both `[batch]` (mixup: image = mix·a + (1−mix)·b).
          step: int32 scalar, for losses with a schedule.

        Returns:
          The scalar loss, then the new collections and scalar metrics ("loss", "accuracy", "feature_max"
          and the loss's own).
        """
        chex.assert_rank([batch["image"], batch["label"]], [4, 1])
        encoded, updates = self.encoder.apply(
            {"params": params["encoder"], **_only(collections, "batch_stats")},
            batch["image"],
            train=True,
            mutable=["batch_stats"],
        )
        gather = self._gather
        features = gather(encoded.embedding)
        variables = {"params": params["loss"], **_only(collections, "loss_state")}
        labels = gather(batch["label"])

        def against(labels: jax.Array) -> tuple[LossOutput, dict[str, Any]]:
            return self.loss.apply(variables, features, labels, step=step, mutable=["loss_state"])

        logits = lax.stop_gradient(self.loss.apply(variables, features, method="logits"))
        predicted = jnp.argmax(logits, axis=-1)
        output, loss_state = against(labels)
        hits = (predicted == labels).astype(features.dtype)
        if "mixed_label" in batch:
            # Both sets of labels meet the same state of the loss; all that they give is mixed as the images were.
            mix, other = gather(batch["mix"]).astype(features.dtype), gather(batch["mixed_label"])
            share = jnp.mean(mix)
            second, second_state = against(other)
            output = LossOutput(
                mixed(output.per_example, second.per_example, mix),
                mixed(output.regularizer, second.regularizer, share),
                jax.tree.map(lambda a, b: mixed(a, b, share), output.metrics, second.metrics),
            )
            loss_state = jax.tree.map(lambda a, b: mixed(a, b, share), loss_state, second_state)
            hits = mixed(hits, (predicted == other).astype(features.dtype), mix)
        total = jnp.mean(output.per_example) + output.regularizer
        metrics = {
            **output.metrics,
            "loss": total,
            "accuracy": jnp.mean(hits),
            "feature_max": jnp.max(jnp.abs(features)),
        }
        return total, ({**collections, **updates, **loss_state}, metrics)

    def embed(self, params: Variables, collections: Variables, images: jax.Array) -> jax.Array:
        """Embeddings `[batch, dim]` float32 of normalised images, batch norm in inference mode."""
        variables = {"params": params["encoder"], **_only(collections, "batch_stats")}
        return self.encoder.apply(variables, images, train=False).embedding

    def logits(self, params: Variables, collections: Variables, images: jax.Array) -> jax.Array:
        """Scores `[batch, classes]` by the loss's own rule; their argmax is the prediction."""
        features = self.embed(params, collections, images)
        variables = {"params": params["loss"], **_only(collections, "loss_state")}
        return self.loss.apply(variables, features, method="logits")

    def weight_decay_mask(self, params: Variables) -> Any:
        """A tree of bools like `params`: False for the parameters that the loss keeps from weight decay."""

        def decays(path: tuple, _: Any) -> bool:
            names = [entry.key for entry in path]
            return not (names[0] == "loss" and names[-1] in self.loss.NO_DECAY)

        return jax.tree_util.tree_map_with_path(decays, params)

    def _gather(self, x: jax.Array) -> jax.Array:
        return x if self.axis_name is None else lax.all_gather(x, self.axis_name, tiled=True)


def build(config: Any, info: Any, *, axis_name: str | None) -> Classification:
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
    model = config.model
    _check_sections("config.model", model, ("name", "dtype", "sync_batch_norm", *MODELS))
    _check_sections("config.loss", config.loss, ("name", *LOSSES))
    encoder = build_model(
        model.name,
        dtype=model.dtype,
        axis_name=axis_name if model.sync_batch_norm else None,
        options=model.get(model.name, {}),
    )
    image = jax.ShapeDtypeStruct((1, *info.image_shape), jnp.float32)
    encoded = jax.eval_shape(lambda rng, x: encoder.init_with_output(rng, x, train=False)[0], jax.random.key(0), image)
    loss = build_loss(
        config.loss.name,
        num_classes=info.num_classes,
        dim=encoded.embedding.shape[-1],
        class_counts=info.class_counts,
        options=config.loss.get(config.loss.name, {}),
    )
    return Classification(encoder, loss, axis_name)


def _check_sections(path: str, section: Any, known: tuple[str, ...]) -> None:
    for key in section:
        if key not in known:
            raise unknown(f"key in {path}:", key, known)


def _only(variables: Variables, name: str) -> dict[str, Any]:
    return {name: variables[name]} if name in variables else {}
