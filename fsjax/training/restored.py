"""What a run's checkpoint holds, read back: its config, its data's description, and its variables."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.config import absent
from fsjax.data import DataInfo
from fsjax.errors import UserError, one_line
from fsjax.files import parse_json
from fsjax.methods import build_method
from fsjax.methods.base import Variables
from fsjax.training import checkpoints

logger = logging.getLogger("fsjax")


@dataclasses.dataclass(frozen=True)
class Restored:
    """A run's state at a checkpoint, on the default device; attributes as those of `fsjax.runs.Run`."""

    config: ConfigDict
    info: DataInfo
    step: int
    params: Variables
    collections: Variables


def restored(folder: Path, which: str = "best") -> Restored:
    """Read a run's checkpoint.

    Args:
      folder: of the run, absolute.
      which: "best" (by validation accuracy; the latest where the run had no validation data) or "latest".

    Raises:
      UserError: if there is no checkpoint in the folder, or none can be read.
    """
    if which not in ("best", "latest"):
        raise UserError(f"which={which!r} must be 'best' or 'latest'")
    directory = folder / "checkpoints" / which
    steps = checkpoints.steps_in(directory)
    if not steps and which == "best":
        directory = folder / "checkpoints" / "latest"
        steps = checkpoints.steps_in(directory)
    if not steps:
        raise UserError(f"no checkpoint in {directory}: is {folder} the workdir of a run, and has it saved one yet?")
    errors = []
    for step in reversed(steps):
        try:
            return _at_step(folder, directory, step)
        except checkpoints.DamagedError as damaged:
            checkpoints.logger.warning("%s", damaged)
            errors.append(damaged)
    raise errors[0]


def _at_step(folder: Path, directory: Path, step: int) -> Restored:
    config, info = facts_of(folder, directory, step)
    image = jax.ShapeDtypeStruct((1, *info.image_shape), jnp.float32)
    variables = jax.eval_shape(build_method(config, info).init, jax.random.key(0), image)
    params = variables.pop("params")
    state = checkpoints.load(directory, step, {"params": params, "collections": variables})
    return Restored(config, info, step, state["params"], state["collections"])


def facts_of(folder: Path, directory: Path, step: int) -> tuple[ConfigDict, DataInfo]:
    """Config and data description that were stored, with a digest, in a checkpoint; the run's files are for people.

    Where a file says something else, that is told.

    Raises:
      UserError: if the checkpoint is damaged, or of a version of fsjax that knew no methods.
    """
    facts = checkpoints.load_metadata(directory, step)
    config, info = facts["config"], facts["data"]
    for name, stored in (("config.json", config), ("data.json", info)):
        try:
            same = parse_json((folder / name).read_text(encoding="utf-8")) == stored
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            same = False
        if not same:
            logger.warning(
                "%s is damaged or was changed: it is not what the run stored in its checkpoint, which is used",
                folder / name,
            )
    if isinstance(config["method"], str):
        raise UserError(f"{folder} was written by a version of fsjax before config.method.name: train it anew")
    _check_here(folder, config, facts.get("plugins", {}))
    return ConfigDict(config), DataInfo.from_json(info)


def _check_here(folder: Path, config: Mapping[str, Any], plugins: Mapping[str, str]) -> None:
    """Raise a `UserError` for a method, network or loss that a plug-in had; what the run says of it is text alone.

    A run is no reason to import anything: who opens it says which plug-in to trust.
    """
    for name, (choice, key) in absent(config).items():
        had = plugins.get(key)
        raise UserError(
            f"{folder}: its {name} {choice!r} is not here"
            + (f"; when it was trained, {one_line(had)} had it" if had else "")
            + ": install the package that has it, or give its module by --plugin (fsjax.options.use_plugin)"
        )
