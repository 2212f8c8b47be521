"""A run that starts from another run's encoder (Meta-Baseline: a classifier first, then episodes)."""

import json
import logging
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fsjax.data import DataInfo, default_config
from fsjax.errors import UserError
from fsjax.methods.base import Method
from fsjax.options import section
from fsjax.options.methods import METHODS
from fsjax.training import checkpoints
from fsjax.training.restored import facts_of
from fsjax.training.state import TrainState

logger = logging.getLogger("fsjax")

# What decides which images a run trains on, and how its network sees them.
_DATA = (
    "class_split", "base_holdout", "keep_test", "train_split", "test_split", "test_fraction", "validation",
    "longtail_ratio", "label_noise", "limit", "on_error", "image_size", "fit", "share", "channels", "resize",
    "normalization", "planted", "drawings",
)  # fmt: skip


def check_start(config: ConfigDict, method: Method, info: DataInfo) -> None:
    """Check `config.start_from` before anything is loaded or compiled.

    Raises:
      UserError: if the method needs it and it is empty, or it is no run of the same network on the same division of
        the same data.
    """
    if not config.start_from:
        if method.needs_start:
            raise UserError(
                f"method {config.method.name!r} goes on from a trained classifier: train one on the same data "
                "first, and give its folder: --config.start_from=runs/CLASSIFIER"
            )
        return
    directory, step = _checkpoint(config.start_from)
    config_there, info_there = facts_of(directory.parents[1], directory, step)
    there = _facts(json.loads(json.dumps(config_there.to_dict())), info_there.to_json())
    ours = _facts(json.loads(json.dumps(config.to_dict())), info.to_json())
    for name, theirs in there.items():
        if theirs != ours[name]:
            raise UserError(
                f"config.start_from={config.start_from} was trained with {name}={short(theirs)}, and this run has "
                f"{short(ours[name])}: they must be the same, or the encoder does not fit, or has learned from what "
                "is tested here"
            )


def _facts(config: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """What two runs must share if one starts from the other's encoder."""
    network = config["model"]["name"]
    facts = {"model.name": network, f"model.{network}": config["model"].get(network)}
    # Another method may have made another network of it.
    for name, choice in METHODS.items():
        chosen = config["method"].get(name) if config["method"]["name"] == name else None
        for key, leaf in section(choice.options).leaves():
            if leaf.option.shapes_network:
                facts[f"method.{name}.{key}"] = (chosen or {}).get(key)
    return facts | data_facts(config, info)


def data_facts(config: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """What decides which images, with which labels, a run trains on, and how its network sees them."""
    # A run of before a key was known has what is its default now.
    defaults = default_config()
    facts = {f"data.{name}": config["data"].get(name, defaults[name]) for name in _DATA}
    # The run's seed draws what is held out, and which labels are wrong.
    if facts["data.validation"] or facts["data.label_noise"]:
        facts["seed"] = config["seed"]
    return facts | {name: info.get(name) for name in ("name", "class_names", "validation_classes", "test_classes")}


def short(value: Any) -> str:
    """A value in a message, cut off where it is long."""
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}…"


def started(state: TrainState, run: str) -> TrainState:
    """The state with the encoder of another run: its parameters and batch statistics.

    Args:
      state: at step 0.
      run: the folder of the other run; its best checkpoint is read, or the latest where it had no validation data.

    Raises:
      UserError: if there is no such checkpoint, or it holds another network.
    """
    directory, step = _checkpoint(run)
    like = {"params": {"encoder": state.params["encoder"]}}
    if "batch_stats" in state.collections:
        like["collections"] = {"batch_stats": state.collections["batch_stats"]}
    found = checkpoints.load(directory, step, like)
    logger.info("starting from the encoder of %s, step %d", run, step)
    return state.replace(
        params={**state.params, **found["params"]},
        collections={**state.collections, **found.get("collections", {})},
    )


def _checkpoint(run: str) -> tuple[Path, int]:
    folder = Path(run).expanduser().absolute()
    for which in ("best", "latest"):
        directory = folder / "checkpoints" / which
        steps = checkpoints.steps_in(directory)
        if steps:
            return directory, steps[-1]
    raise UserError(f"config.start_from={run}: no checkpoint in {folder / 'checkpoints'}: is it the workdir of a run?")
