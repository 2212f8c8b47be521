"""A run that starts from another run's encoder (Meta-Baseline: a classifier first, then episodes)."""

import json
import logging
from pathlib import Path
from typing import Any

from fsjax.errors import UserError
from fsjax.training import checkpoints
from fsjax.training.state import TrainState

logger = logging.getLogger("fsjax")


def check_start(config: Any, method: Any) -> None:
    """Check `config.start_from` before anything is loaded or compiled.

    Raises:
      UserError: if the method needs it and it is empty, or it is no run of the same network.
    """
    if not config.start_from:
        if method.needs_start:
            raise UserError(
                f"method {config.method.name!r} goes on from a trained classifier: train one on the same data "
                "first, and give its folder: --config.start_from=runs/CLASSIFIER"
            )
        return
    directory, _ = _checkpoint(config.start_from)
    other = json.loads((directory.parents[1] / "config.json").read_text())
    own = config.to_dict()
    name = own["model"]["name"]
    ours, theirs = ([c["model"]["name"], c["model"].get(c["model"]["name"])] for c in (own, other))
    if json.dumps(ours) != json.dumps(theirs):
        raise UserError(
            f"config.start_from={config.start_from} is a run of the network {theirs[0]!r} with {theirs[1]}; this "
            f"config's is {name!r} with {ours[1]}: they must be the same"
        )
    if json.dumps(own["data"]["class_split"]) != json.dumps(other["data"].get("class_split")):
        raise UserError(
            f"config.start_from={config.start_from} was trained on another class split, "
            f"{other['data'].get('class_split')}: the classes that this run tests may have been among its own"
        )


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
        if steps and (folder / "config.json").is_file():
            return directory, steps[-1]
    raise UserError(f"config.start_from={run}: no checkpoint in {folder / 'checkpoints'}: is it the workdir of a run?")
