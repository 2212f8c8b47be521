"""What a trained network says of pictures: features by name, of the network as it is, or widened by implants."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fsjax.data import DataInfo, normalize
from fsjax.methods.base import Method, Variables
from fsjax.methods.implants import ImplantOptions, base_activations, implant_maps, train_implants
from fsjax.methods.located import Located
from fsjax.methods.rules import features_of
from fsjax.models import Encoded


class Features(Protocol):
    """A network: uint8 images `[n, *info.image_shape]` and names of features to the features, `[n, ...]` each."""

    def features(self, images: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Features by name, see `fsjax.methods.rules.features_of`."""


class TrainedRun(Protocol):
    """What labelling needs of a `fsjax.runs.Run`: see there."""

    @property
    def config(self) -> ConfigDict:
        """The run's config."""

    @property
    def info(self) -> DataInfo:
        """Facts about its data."""

    @property
    def params(self) -> Variables:
        """Its trained variables."""

    @property
    def collections(self) -> Variables:
        """Its other variables."""

    @property
    def method(self) -> Method:
        """Its method."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """By label."""

    @property
    def preferred_head(self) -> str:
        """The head that is taken where none can be compared."""

    def logits(self, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
        """Scores `[n, classes]` of uint8 images."""

    def locate(self, images: np.ndarray, *, batch_size: int = 256) -> Located:
        """Where objects are, in uint8 images."""


class Network:
    """A run's network as it is.

    Args:
      method, params, collections, info: a run's, see `fsjax.runs.Run`.
      batch_size: how many images go through it at once; no result depends on it.
    """

    def __init__(
        self, method: Method, params: Variables, collections: Variables, info: DataInfo, *, batch_size: int = 256
    ) -> None:
        self.method, self.params, self.collections = method, params, collections
        self.info, self.batch_size = info, batch_size
        self._features = jax.jit(method.features, static_argnames="names")

    @functools.cached_property
    def map_shape(self) -> tuple[int, int]:
        """Height and width of the last feature maps."""
        image = jax.ShapeDtypeStruct((1, *self.info.image_shape), jnp.float32)
        encoded = jax.eval_shape(self.method.encode, self.params, self.collections, image)
        return list(encoded.maps.values())[-1].shape[1:3]

    def features(self, images: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Features by name, see `fsjax.methods.rules.features_of`."""
        return self.in_batches(lambda x: self._features(self.params, self.collections, x, names=names), images)

    def in_batches(self, function: Callable[[jax.Array], Any], images: np.ndarray) -> Any:
        """What a function gives of normalised images, `[n, ...]` or a tree of such, for uint8 images `[n, ...]`."""
        # Few images are padded to a power of two, many to whole batches: few sizes to compile, little waste.
        size = min(self.batch_size, 1 << max(len(images) - 1, 0).bit_length())
        parts = []
        for start in range(0, len(images), size):
            part = normalize(images[start : start + size], self.info)
            padded = np.pad(part, [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1))
            found, real = function(jnp.asarray(padded)), slice(len(part))
            parts.append(jax.tree.map(lambda x, real=real: np.asarray(x)[real], found))
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


class Widened:
    """A ResNet-12 widened by implants that are trained on the support pictures of one task (Lifchitz et al. 2019).

    The implants are those of `fsjax.evaluation.few_shot.implanted.score_implanted` for the first task of the same seed.

    Args:
      network: as it is; nothing of it changes.
      images: uint8 `[n, *info.image_shape]`, the support pictures, at least two of each class.
      labels: ints `[n]`, 0 .. num_classes - 1.
      options: of the implants.
      num_classes: of the task.
      seed: of the numbers that the implants start from.

    Attributes:
      implants: parameters and statistics of those trained on all these pictures.
    """

    def __init__(
        self,
        network: Network,
        images: np.ndarray,
        labels: np.ndarray,
        options: ImplantOptions,
        *,
        num_classes: int,
        seed: int,
    ) -> None:
        self._network, self._options, self._seed = network, options, seed
        self._labels, self._num_classes = jnp.asarray(labels, jnp.int32), num_classes
        encoder = network.method.encoder
        self._variables = {
            "params": network.params["encoder"],
            "batch_stats": network.collections["batch_stats"],
        }
        encode = jax.jit(functools.partial(base_activations, encoder))
        self._support = network.in_batches(lambda x: encode(self._variables, x), images)

        def widened(implants: Any, variables: Any, x: jax.Array, names: tuple[str, ...]) -> dict[str, jax.Array]:
            maps = implant_maps(*implants, base_activations(encoder, variables, x), options)
            return features_of(Encoded(embedding=maps.mean((1, 2)), maps={"widened": maps}), names)

        self._features = jax.jit(widened, static_argnames="names")
        self.implants = self.trained(np.ones(len(labels), bool))

    def trained(self, kept: np.ndarray) -> Any:
        """Parameters and statistics of implants trained on the support pictures that are `kept`, bool `[n]`."""
        one_task = jax.tree.map(lambda x: jnp.asarray(x)[None], self._support)
        mask = jnp.asarray(kept, jnp.float32)[None]
        keys = jax.random.fold_in(jax.random.key(self._seed), 0)[None]
        found = train_implants(
            one_task, self._labels[None], mask, keys, options=self._options, num_ways=self._num_classes
        )
        return jax.tree.map(lambda x: x[0], found)

    def support_features(self, implants: Any, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Features of all support pictures by the network with these implants."""
        maps = implant_maps(*implants, jax.tree.map(jnp.asarray, self._support), self._options)
        found = features_of(Encoded(embedding=maps.mean((1, 2)), maps={"widened": maps}), names)
        return {name: np.asarray(x) for name, x in found.items()}

    def features(self, images: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Features by name, see `fsjax.methods.rules.features_of`."""
        return self._network.in_batches(lambda x: self._features(self.implants, self._variables, x, names), images)
