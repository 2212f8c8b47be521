"""What all methods share: an encoder, its features, and what the devices do together."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from ml_collections import ConfigDict

from fsjax.losses import LossModule
from fsjax.methods.episodes import EpisodeShape
from fsjax.methods.feature_dropout import MultiSampleDropout, NestedDropout
from fsjax.methods.implant_network import ImplantOptions
from fsjax.methods.located import Located
from fsjax.methods.rules import Rule, features_of
from fsjax.models import Encoded, Encoder, build_model

Variables = Mapping[str, Any]


class DataFacts(Protocol):
    """What a method is built for, of `fsjax.data.DataInfo`: see there."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """By label."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Training examples by class."""


@dataclasses.dataclass(frozen=True)
class Method(abc.ABC):
    """An encoder with an objective and a rule of prediction; the base of all methods.

    A subclass has `init`, `objective`, `logits` and `rule`, all of them pure; the training loop never asks which one it
    runs.

    Attributes:
      encoder: linen module, images `[batch, h, w, c]` -> `Encoded`.
      axis_name: the mapped axis that holds the devices, or None. Features are gathered over it before a loss, so
        that losses that couple the examples of a batch do not depend on the number of devices.
      loss: linen module that owns the classes' parameters; None where there is none.
      teacher: the method of another run, whose scores or features the loss reads, or None.
      feature_dropout: what is done to features before the loss, or None.
    """

    encoder: nn.Module
    axis_name: str | None = dataclasses.field(default=None, kw_only=True)
    loss: LossModule | None = dataclasses.field(default=None, kw_only=True)
    teacher: Method | None = dataclasses.field(default=None, kw_only=True)
    feature_dropout: MultiSampleDropout | NestedDropout | None = dataclasses.field(default=None, kw_only=True)

    # Whether the method trains with `config.loss`.
    reads_loss: ClassVar[bool] = False
    # Whether training must start from another run's encoder.
    needs_start = False
    # Whether it learns to tell the training classes apart: `logits` then scores them, and fails otherwise.
    has_classes: ClassVar[bool] = True
    # Whether it says where objects are, by `locate`.
    locates: ClassVar[bool] = False
    # Parts of the encoder that `config.pretrained` has weights for: where their variables are below `params["encoder"]`
    # and `batch_stats`.
    pretrained: ClassVar[Mapping[str, tuple[str, ...]]] = {"network": ("backbone",)}

    @abc.abstractmethod
    def init(self, rng: jax.Array, images: jax.Array) -> dict[str, Any]:
        """Fresh variables `{"params": {"encoder", "loss", ...}, "batch_stats": ..., ...}`.

        Args:
          rng: a key of `jax.random`.
          images: `[batch, h, w, c]` float; only the shape matters.
        """

    @abc.abstractmethod
    def objective(
        self, params: Variables, collections: Variables, batch: Mapping[str, jax.Array], *, step: jax.Array
    ) -> tuple[jax.Array, tuple[dict[str, Any], dict[str, jax.Array]]]:
        """The training loss of one device's shard of a batch, equal on all devices.

        Args:
          params: trained variables as `init` gives them.
          collections: the other variables.
          batch: "image" `[rows, h, w, c]`, "label" `[rows]`, and what `reads` names.
          step: int32 scalar, for losses with a schedule.

        Returns:
          The scalar loss, then the new collections and scalar metrics, "loss" and "accuracy" among them.
        """

    @abc.abstractmethod
    def logits(self, params: Variables, collections: Variables, images: jax.Array) -> jax.Array:
        """Scores `[batch, classes]` of normalised images for the training classes, batch norm in inference mode.

        Raises:
          UserError: if the method has no classes of its own (`has_classes`).
        """

    @abc.abstractmethod
    def rule(self, params: Variables) -> Rule:
        """The rule by which the method classifies the queries of a few-shot task."""

    def locate(self, params: Variables, collections: Variables, images: jax.Array) -> Located:
        """Where the networks see the object in normalised images `[batch, h, w, c]`, batch norm in inference mode.

        Raises:
          NotImplementedError: unless the method `locates`.
        """
        raise NotImplementedError

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Width of the features that are classified."""

    @property
    def episodes(self) -> EpisodeShape | None:
        """The episodes that a training batch is made of; None where it is made of single examples."""
        return None

    @property
    def mixup_alpha(self) -> float:
        """Mixup strength that the method asks of the data pipeline; 0 for none."""
        return 0.0

    @property
    def implants(self) -> ImplantOptions | None:
        """Options of the implants that adapt the network to each task; None for none."""
        return None

    @property
    def reads(self) -> tuple[str, ...]:
        """What of a batch the method reads besides images and labels, see `fsjax.losses.LossModule`."""
        return ()

    def encode(self, params: Variables, collections: Variables, images: jax.Array) -> Encoded:
        """Embeddings and maps of normalised images `[batch, h, w, c]`, batch norm in inference mode."""
        variables = {"params": params["encoder"], **only(collections, "batch_stats")}
        return cast(Encoded, self.encoder.apply(variables, images, train=False))

    def embed(self, params: Variables, collections: Variables, images: jax.Array) -> jax.Array:
        """Embeddings `[batch, dim]` float32 of normalised images, batch norm in inference mode."""
        return self.encode(params, collections, images).embedding

    def features(
        self, params: Variables, collections: Variables, images: jax.Array, names: tuple[str, ...]
    ) -> dict[str, jax.Array]:
        """Features of normalised images by name, see `fsjax.methods.rules.features_of`."""
        return features_of(self.encode(params, collections, images), names)

    def class_weights(self, params: Variables) -> tuple[str, jax.Array] | None:
        """Weights of the training classes that stand beside prototypes, with the name of the features they fit.

        Returns:
          The name of the features and `[classes, dim]`; None where the method has learned no such weights.
        """
        return None

    def weight_decay_mask(self, params: Variables) -> Any:
        """A tree of bools like `params`: False for the parameters that no weight decay may touch."""
        return jax.tree.map(lambda _: True, params)

    def encode_in_training(
        self, params: Variables, collections: Variables, images: jax.Array
    ) -> tuple[Encoded, dict[str, Any]]:
        """The encoder in training mode: what it says of this device's images, and its new batch statistics."""
        variables = {"params": params["encoder"], **only(collections, "batch_stats")}
        applied = self.encoder.apply(variables, images, train=True, mutable=["batch_stats"])
        return cast(tuple[Encoded, dict[str, Any]], applied)

    def gather(self, x: jax.Array) -> jax.Array:
        """The rows of all devices, in order."""
        return x if self.axis_name is None else lax.all_gather(x, self.axis_name, tiled=True)


def decay_mask(params: Variables, spared: Collection[str]) -> Any:
    """A tree of bools like `params`: False for the parameters of the loss that have one of these names."""

    def decays(path: tuple, _: Any) -> bool:
        names = [entry.key for entry in path]
        return not (names[0] == "loss" and names[-1] in spared)

    return jax.tree_util.tree_map_with_path(decays, params)


def only(variables: Variables, name: str) -> dict[str, Any]:
    """The collection of this name, if there is one."""
    return {name: variables[name]} if name in variables else {}


def build_encoder(
    config: ConfigDict, image_shape: tuple[int, int, int], axis_name: str | None
) -> tuple[Encoder, Encoded]:
    """The network that `config.model` names, and the shapes of what it says of one image.

    Args:
      config: a run's config; `model` is read.
      image_shape: (height, width, channels).
      axis_name: the mapped axis that holds the devices, or None.

    Raises:
      UserError: for an unknown network, or an option it does not have.
    """
    model = config.model
    encoder = build_model(
        model.name,
        dtype=model.dtype,
        axis_name=axis_name if model.sync_batch_norm else None,
        remat=model.remat,
        options=model.get(model.name, {}),
    )
    if config.pretrained.network and not config.pretrained.rate:
        encoder = encoder.clone(frozen=True)
    return encoder, _shapes(encoder, image_shape)


@functools.lru_cache(maxsize=8)  # asked twice at each start, and a deep network takes a second to trace
def _shapes(encoder: Encoder, image_shape: tuple[int, int, int]) -> Encoded:
    """The shapes of what a network says of one image."""
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    return jax.eval_shape(lambda rng, x: encoder.init_with_output(rng, x, train=False)[0], jax.random.key(0), image)
