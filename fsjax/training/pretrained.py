"""A run that starts from weights that others trained: `config.pretrained`."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.files import write_json
from fsjax.methods.base import Method, Variables
from fsjax.models import pretrained
from fsjax.training.state import TrainState

logger = logging.getLogger("fsjax")

# Networks of config.model whose weights there are files of.
NETWORKS = ("resnet18", "resnet50", "resnet101")
_RECORD = "pretrained.json"


def find_files(config: ConfigDict) -> dict[str, Path]:
    """The files of weights that a run starts from, by part of the network; downloads what is named by a hub's name.

    Raises:
      UserError: if a file cannot be had or is of another format, if the run starts from another run, or if its network
        is of a kind that there are no such weights for.
    """
    named = {part: name for part, name in config.pretrained.items() if name}
    if named and config.start_from:
        raise UserError(
            f"config.start_from={config.start_from} and config.pretrained={named}: a run starts from another run, or "
            "from files of weights; leave one of them empty"
        )
    if "network" in named and config.model.name not in NETWORKS:
        raise UserError(
            f"config.pretrained.network={named['network']}: there are such weights for {', '.join(NETWORKS)}, and "
            f"config.model.name is {config.model.name!r}"
        )
    files = {}
    for part, name in named.items():
        try:
            files[part] = pretrained.find(name)
        except UserError as error:
            raise UserError(f"config.pretrained.{part}={error}") from error
    return files


def check_files(config: ConfigDict, files: Mapping[str, Path], method: Method, image_shape: tuple[int, ...]) -> None:
    """Check that the files fit the network, by names and shapes: no weights are read, and nothing is compiled.

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
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    variables = jax.eval_shape(method.init, jax.random.key(0), images)
    for part, path in files.items():
        pretrained.check(path, _trees(variables["params"], variables, method.pretrained[part]))


def loaded(state: TrainState, files: Mapping[str, Path], method: Method) -> tuple[TrainState, dict[str, Any]]:
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
    for part, path in files.items():
        where = method.pretrained[part]
        weights = pretrained.load(path, _trees(state.params, state.collections, where))
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
    return {"pretrained": json.loads(path.read_text())} if any(config.pretrained.values()) and path.exists() else {}


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
