"""Networks of people's own files: a folder, or a model of the hub, in the layout of Hugging Face's `transformers`.

    fsjax.network("dinov2-small")                  # a folder with config.json and model.safetensors
    fsjax.network("hf://facebook/dinov2-small")    # downloaded

config.json tells the network, preprocessor_config.json the pictures. Nothing in a file is executed.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.config import base
from fsjax.data import DataInfo
from fsjax.errors import UserError
from fsjax.methods.episodes import episode_shape
from fsjax.methods.prototypical import Prototypical
from fsjax.models.pretrained import hub, shards, transformers
from fsjax.models.vision_transformer import VisionTransformer
from fsjax.networks.preprocessing import Preprocessing, of_transformers
from fsjax.networks.published import Opened

_SIMILARITY = "cosine"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderNetwork:
    """A network of a folder, before its weights are read.

    Attributes:
      name: as it was given.
      folder: where its files are.
      weights: the files of weights.
      layout: of config.json.
      pictures: of preprocessor_config.json.
      licence: as config.json states it; "" where it does not.
    """

    name: str
    folder: Path
    weights: tuple[Path, ...]
    layout: transformers.Layout
    pictures: Preprocessing
    licence: str

    @property
    def encoder(self) -> VisionTransformer:
        """The linen module."""
        return VisionTransformer(self.layout.shape)

    def config(self) -> ConfigDict:
        """As a run has it."""
        config, pictures = base(), self.pictures
        config.name = self.folder.name
        config.data.update(
            name=self.folder.name,
            image_size=pictures.image_size,
            fit=pictures.fit,
            share=pictures.share,
            resize=pictures.resize,
            channels=len(pictures.mean),
        )
        config.method.name = "prototypical"
        config.method.prototypical.similarity = _SIMILARITY
        return config

    def info(self) -> DataInfo:
        """As a run has it; there are no classes of its own."""
        shape = (self.pictures.image_size, self.pictures.image_size, len(self.pictures.mean))
        return DataInfo(self.folder.name, (), shape, {}, (), self.pictures.mean, self.pictures.std)

    def method(self) -> Prototypical:
        """What embeds, and compares by the cosine."""
        config, shape = self.config(), self.layout.shape
        options = config.method.prototypical
        width = shape.projection or shape.width
        return Prototypical(self.encoder, episode_shape(config), _SIMILARITY, options.tau, False, width)

    def shapes(self) -> Any:
        """The parameters, as shapes."""
        image = jax.ShapeDtypeStruct((1, *self.info().image_shape), jnp.float32)
        return jax.eval_shape(self.encoder.init, jax.random.key(0), image)["params"]

    def open(self) -> Opened:
        """The network with its weights.

        Raises:
          UserError: for files that are damaged, or that do not hold what config.json says; it names the first mismatch.
        """
        source, like = f"{self.weights[0] if len(self.weights) == 1 else self.folder}", self.shapes()
        where = transformers.places(shards.shapes(self.weights), self.layout, like, source=source)
        arrays = shards.read(self.weights, {name for name, _, _ in where.values()})
        params = jax.tree.map(jnp.asarray, transformers.convert(arrays, where, like, source=source))
        config = self.config()
        loss = {"tau": jnp.float32(config.method.prototypical.tau)}
        return Opened(config, self.info(), {"encoder": params, "loss": loss}, {})


def is_named(name: str) -> bool:
    """Whether this is a hub's name, or a folder with a network's config.json and no run's."""
    if name.startswith(hub.PREFIX):
        return True
    path = Path(name).expanduser() / hub.CONFIG
    if not path.is_file() or (path.parent / "data.json").exists():  # a run's folder has a config.json too
        return False
    return "method" not in hub.read_json(path)


def network(name: str) -> FolderNetwork:
    """The network of a folder, or of the hub: "hf://owner/model", downloaded unless it is there.

    Raises:
      UserError: for files that are missing or cannot be had, and networks and pictures that are not here.
    """
    folder = hub.download_folder(name) if name.startswith(hub.PREFIX) else Path(name).expanduser().absolute()
    config = hub.read_json(folder / hub.CONFIG)
    source = str(folder / hub.CONFIG)
    if "model_type" not in config:
        raise UserError(f"{source} has no model_type, by which Hugging Face's transformers names a network")
    layout = transformers.layout_of(config, source)
    weights = shards.weight_files(folder)
    if not weights:
        others = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pth", ".pt", ".h5", ".msgpack"))
        beside = f" (its {others[0]} is not read: unpickling runs what is in it)" if others else ""
        raise UserError(f"{folder} has neither {hub.FILE} nor {hub.INDEX}{beside}: get one of them")
    path = folder / hub.PICTURES
    if not path.is_file():
        raise UserError(
            f"{folder} has no {hub.PICTURES}, which says at which size and by which mean and deviation the network "
            "sees pictures: put it there, from where the weights are from"
        )
    pictures = of_transformers(hub.read_json(path), str(path))
    _check_size(layout, pictures, str(path))
    licence = config.get("license") if isinstance(config.get("license"), str) else ""
    return FolderNetwork(
        name=name, folder=folder, weights=tuple(weights), layout=layout, pictures=pictures, licence=str(licence or "")
    )


def _check_size(layout: transformers.Layout, pictures: Preprocessing, source: str) -> None:
    """Raise a `UserError` for sizes that the original refuses, and pictures smaller than a patch."""
    size, patch = pictures.image_size, layout.shape.patch
    if size < patch:
        raise UserError(f"{source}: pictures of {size} pixels are smaller than the network's patches of {patch}")
    if not layout.any_size and size != layout.image_size:
        raise UserError(
            f"{source}: pictures of {size} pixels, and by its config.json {layout.kind} takes image_size="
            f"{layout.image_size} alone: one of the two files is of another network"
        )
