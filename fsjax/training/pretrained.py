"""A run that starts from weights that others trained: `config.pretrained`."""

import functools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.files import write_json
from fsjax.methods.base import Method, Variables
from fsjax.models import Encoder, pretrained
from fsjax.networks import NETWORKS as PUBLISHED
from fsjax.networks import Published
from fsjax.training.state import TrainState

logger = logging.getLogger("fsjax")

# Networks of config.model whose weights there are files of.
NETWORKS = ("resnet18", "resnet50", "resnet101")
# Keys of config.pretrained that name weights.
_PARTS = ("network", "attnet")
_RECORD = "pretrained.json"


class Weights(Protocol):
    """Weights of a part of a network."""

    @property
    def path(self) -> Path:
        """Of the file that has them."""

    def check(self, like: Variables) -> None:
        """Raise a `UserError` unless they fit `{"params": ..., "batch_stats": ...}`, arrays or shapes."""

    def load(self, like: Variables) -> dict[str, Any]:
        """Them, as `like`."""


class _FileWeights(NamedTuple):
    """Of a .safetensors file."""

    path: Path

    def check(self, like: Variables) -> None:
        pretrained.check(self.path, like)

    def load(self, like: Variables) -> dict[str, Any]:
        return pretrained.load(self.path, like)


class _PublishedWeights(NamedTuple):
    """Of a network that `fsjax.networks` names."""

    network: Published

    @property
    def path(self) -> Path:
        return Path(self.network.path or "")

    def check(self, like: Variables) -> None:
        self.load(like)

    def load(self, like: Variables) -> dict[str, Any]:
        return self.network.convert(self.network.arrays(), like, source=str(self.path))


def find_files(config: ConfigDict) -> dict[str, Weights]:
    """The weights that a run starts from, by part of the network; downloads what is named by a hub's name.

    Raises:
      UserError: if a file cannot be had or is of another format, if the run starts from another run, or if its network
        is of a kind that there are no such weights for.
    """
    named = _named(config)
    if named and config.start_from:
        raise UserError(
            f"config.start_from={config.start_from} and config.pretrained={named}: a run starts from another run, or "
            "from files of weights; leave one of them empty"
        )
    if config.pretrained.rate != 1 and not named:
        raise UserError(
            f"config.pretrained.rate={config.pretrained.rate:g} is of pretrained weights, and config.pretrained names "
            "none: set config.pretrained.network, or rate=1"
        )
    if named.get("network") in PUBLISHED:
        network = PUBLISHED[named.pop("network")]
        _check_published(config, network)
        return {"network": _PublishedWeights(network), **_files(named)}
    if "network" in named and config.model.name not in NETWORKS:
        raise UserError(
            f"config.pretrained.network={named['network']}: there are such weights for {', '.join(NETWORKS)}, and "
            f"config.model.name is {config.model.name!r}"
        )
    files = _files(named)
    if "network" in named:
        _check_architecture(config, files["network"].path)
    return files


def _check_architecture(config: ConfigDict, path: Path) -> None:
    """Raise a `UserError` for weights of another network, if the config.json beside them says so.

    timm's `resnetaa50`, `resnetblur50` and the like have the names and shapes of a `resnet50`, and compute otherwise.
    """
    name, found = config.model.name, pretrained.architecture_of(path).removeprefix("tv_")
    if found and found not in (name, f"{name}c"):
        raise UserError(
            f"config.pretrained.network={config.pretrained.network}: by the config.json beside them these are weights "
            f"of {found!r}, and config.model.name is {name!r}; even where all names and shapes fit, the two compute "
            "differently"
        )


def _named(config: ConfigDict) -> dict[str, str]:
    """The weights that a config names, by part of the network."""
    return {part: config.pretrained[part] for part in _PARTS if config.pretrained[part]}


def _files(named: Mapping[str, str]) -> dict[str, Weights]:
    """Files by part, of paths or names on the hub."""
    files: dict[str, Weights] = {}
    for part, name in named.items():
        try:
            files[part] = _FileWeights(pretrained.find(name))
        except UserError as error:
            raise UserError(f"config.pretrained.{part}={error}") from error
    return files


def _check_published(config: ConfigDict, network: Published) -> None:
    """Raise a `UserError` unless a config's network is the published one, and its images as that expects them."""
    wanted = network.config()
    keys = ["model.name", *(f"model.{network.model}.{name}" for name in network.options), "data.normalization"]
    for key in keys:
        found, expected = _value(config, key), _value(wanted, key)
        if found != expected:
            raise UserError(
                f"config.pretrained.network={network.name} needs config.{key}={expected!r}, and it is {found!r}: set "
                f"--config.{key}={str(expected).replace(' ', '')}"
            )
    if not network.is_here:
        raise UserError(f"config.pretrained.network={network.name}: its weights are not here: {network.way_out}")


def _value(config: ConfigDict, key: str) -> Any:
    """The value of a dotted key."""
    return functools.reduce(lambda tree, name: tree[name], key.split("."), config)


def check_files(config: ConfigDict, files: Mapping[str, Weights], method: Method, image_shape: tuple[int, ...]) -> None:
    """Check that the weights fit the network: nothing is compiled, and of files the headers alone are read.

    Args:
      config: the run's.
      files: see `find_files`.
      method: the run's.
      image_shape: (height, width, channels) of its images.

    Raises:
      UserError: if the method has no such part, or a file does not fit; it names the first mismatch.
    """
    if not files:
        return
    for part in files:
        if part not in method.pretrained:
            known = (
                ", ".join(f"config.pretrained.{name}" for name in method.pretrained) or "nothing of config.pretrained"
            )
            raise UserError(
                f"config.pretrained.{part}={config.pretrained[part]}: method {config.method.name!r} has no such part; "
                f"it takes {known}"
            )
    if not config.pretrained.rate and not isinstance(method.encoder, Encoder):
        raise UserError(
            f"config.pretrained.rate=0: method {config.method.name!r} has a network of its own, and cannot keep it "
            "as it is: set a small rate, such as 0.01"
        )
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    variables = jax.eval_shape(method.init, jax.random.key(0), images)
    for part, weights in files.items():
        weights.check(_trees(variables["params"], variables, method.pretrained[part]))


def loaded(state: TrainState, files: Mapping[str, Weights], method: Method) -> tuple[TrainState, dict[str, Any]]:
    """The state with the files' weights in it: parameters and batch statistics.

    Args:
      state: at step 0.
      files, method: see `check_files`.

    Returns:
      The state, and for each part {"file", "sha256", "parameters"}: what it has been started from.

    Raises:
      UserError: as `check_files`, and for weights that are not finite.
    """
    record = {}
    for part, file in files.items():
        where, path = method.pretrained[part], file.path
        weights = file.load(_trees(state.params, state.collections, where))
        state = state.replace(
            params=_placed(state.params, ("encoder", *where), weights["params"]),
            collections=_placed(state.collections, ("batch_stats", *where), weights["batch_stats"]),
        )
        count = sum(x.size for x in jax.tree.leaves(weights["params"]))
        record[part] = {"file": str(path), "sha256": pretrained.sha256(path), "parameters": count}
        logger.info(
            "pretrained %s: %s parameters from %s, SHA-256 %.12s…", part, f"{count:,}", path, record[part]["sha256"]
        )
    return state, record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Note in a run's folder what it has been started from: a run that is continued does not read the files again."""
    write_json(folder / _RECORD, record)


def recorded(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """What `write_record` noted, as "pretrained" of the run's result; {} where there is nothing to note."""
    path = folder / _RECORD
    return {"pretrained": json.loads(path.read_text())} if _named(config) and path.exists() else {}


def _trees(params: Variables, collections: Variables, where: tuple[str, ...]) -> dict[str, Any]:
    """The variables of a part of the encoder."""
    trees = {"params": params["encoder"], "batch_stats": collections["batch_stats"]}
    for name in where:
        trees = {kind: tree[name] for kind, tree in trees.items()}
    return trees


def _placed(tree: Mapping[str, Any], where: tuple[str, ...], part: Any) -> Any:
    """The tree with another part there, on the default device."""
    if not where:
        return jax.tree.map(jnp.asarray, part)
    return {**tree, where[0]: _placed(tree[where[0]], where[1:], part)}


def is_loaded(config: ConfigDict, method: Method, params: Variables) -> Any:
    """A tree of bools like `params`: True for what `config.pretrained` loads."""
    places = [("encoder", *method.pretrained[part]) for part in _named(config) if part in method.pretrained]

    def inside(path: tuple[Any, ...], _: Any) -> bool:
        names = tuple(entry.key for entry in path)
        return any(names[: len(place)] == place for place in places)

    return jax.tree_util.tree_map_with_path(inside, params)
