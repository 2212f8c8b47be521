"""A trained run as a few small files, without checkpoints: what comes with the package, `fsjax/starter`."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from fsjax.data import DataInfo
from fsjax.errors import UserError
from fsjax.files import parse_json, write_json
from fsjax.methods import build_method
from fsjax.models.pretrained import files
from fsjax.training.restored import Restored

WEIGHTS, FACTS = "weights.safetensors", "model.json"


def write(found: Restored, folder: Path, facts: dict[str, Any]) -> None:
    """Write a run's variables in half precision, its config, and the description of its data.

    Args:
      found: the run.
      folder: to write to; files of the same names are replaced.
      facts: what else is known of it, as JSON types; beside it stand the step, and the SHA-256 of the weights.

    Raises:
      UserError: for a variable that half precision does not hold.
    """
    from safetensors.numpy import save_file

    arrays = {name: _halved(name, np.asarray(x)) for name, x in _flat(found).items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(arrays, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # it makes files for their owner alone
    write_json(folder / "config.json", found.config.to_dict())
    write_json(folder / "data.json", found.info.to_json())
    write_json(folder / FACTS, {"step": found.step, "sha256": files.sha256(folder / WEIGHTS), **facts})


def read(folder: Path) -> Restored:
    """Read what `write` wrote; the variables become float32, on the default device.

    Raises:
      UserError: if a file is missing or damaged, or is of another network than its config.
    """
    try:
        config, info, facts = (
            parse_json((folder / name).read_text("utf-8")) for name in ("config.json", "data.json", FACTS)
        )
        config, info, step, expected = ConfigDict(config), DataInfo.from_json(info), int(facts["step"]), facts["sha256"]
        found = files.sha256(folder / WEIGHTS)
    except KeyError as error:
        raise UserError(f"{folder} is not whole ({FACTS} lacks {error}): install fsjax anew") from error
    # json's errors, and those of UTF-8, are ValueErrors; a TypeError is another JSON type than an object, or its field.
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder} is not whole ({error}): install fsjax anew") from error
    if found != expected:
        raise UserError(
            f"{folder / WEIGHTS} is damaged: its SHA-256 is {found}, and {FACTS} says {expected}: install fsjax anew"
        )
    image = jax.ShapeDtypeStruct((1, *info.image_shape), jnp.float32)
    described = dict(jax.eval_shape(build_method(config, info).init, jax.random.key(0), image))
    shapes = traverse_util.flatten_dict(described, sep="/")
    stored = files.shapes(folder / WEIGHTS)
    if {name: x.shape for name, x in shapes.items()} != {name: x.shape for name, x in stored.items()}:
        raise UserError(f"{folder / WEIGHTS} is of another network than {folder / 'config.json'}: install fsjax anew")
    arrays = files.read(folder / WEIGHTS, shapes)
    placed = {name: jnp.asarray(arrays[name], x.dtype) for name, x in shapes.items()}
    variables = traverse_util.unflatten_dict(placed, sep="/")
    return Restored(config, info, step, variables.pop("params"), variables)


def _flat(found: Restored) -> dict[str, Any]:
    """The variables by path, such as "params/encoder/backbone/stage1/conv1/conv/kernel"."""
    return traverse_util.flatten_dict({"params": found.params, **found.collections}, sep="/")


def _halved(name: str, array: np.ndarray) -> np.ndarray:
    """An array in float16, if it is one of floats."""
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        halved = array.astype(np.float16)
    if not np.isfinite(halved).all():
        raise UserError(f"{name} has values up to {np.abs(array).max():g}, and half precision ends at 65504")
    return halved
