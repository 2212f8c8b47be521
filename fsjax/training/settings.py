"""The shape of a config: which keys a run reads, of which type, and what their values may be.

There are no defaults here: a config states every choice (`configs/common.py` holds what the experiments share).
"""

from collections.abc import Mapping
from typing import Any

from fsjax.errors import UserError, unknown

# A dict is a section with exactly these keys; `dict` alone is a section whose keys its owner checks (the model's
# options, a loss's, the data's).
SCHEMA: dict[str, Any] = {
    "name": str,
    "method": str,
    "seed": int,
    "model": {"name": str, "dtype": str, "sync_batch_norm": bool, "options": dict},
    "loss": dict,
    "data": dict,
    "optimizer": {
        "name": str, "learning_rate": float, "momentum": float, "nesterov": bool, "b1": float, "b2": float,
        "eps": float, "weight_decay": float, "decay_on": str, "clip_norm": float,
    },
    "schedule": {"name": str, "unit": str, "warmup": float, "boundaries": tuple, "factor": float, "final": float},
    "train": {
        "steps": int, "epochs": float, "batch_size": int, "accumulate": int, "steps_per_dispatch": int,
        "log_every": int, "eval_every": int, "checkpoint_every": int, "progress": bool,
    },
    "eval": {"batch_size": int},
    "parallel": {"backend": str, "num_devices": int},
    "figures": {"scatter": bool},
}  # fmt: skip


def check(config: Mapping[str, Any]) -> None:
    """Check a config before anything is loaded or compiled.

    Args:
      config: a run's config.

    Raises:
      UserError: naming the first key that is missing, unknown, of the wrong type or out of its range, and
        the valid ones.
    """
    _check_section(config, SCHEMA, "config")
    train = config["train"]
    if (train["steps"] > 0) == (train["epochs"] > 0):
        raise UserError(
            f"config.train.steps={train['steps']} and config.train.epochs={train['epochs']}: set one of them "
            "above 0, and the other to 0"
        )
    for key in ("batch_size", "accumulate", "steps_per_dispatch", "log_every", "checkpoint_every"):
        if train[key] < 1:
            raise UserError(f"config.train.{key}={train[key]} must be at least 1")
    if train["eval_every"] < 0:
        raise UserError(f"config.train.eval_every={train['eval_every']} must be 0 (only at the end) or more")
    if train["batch_size"] % train["accumulate"]:
        raise UserError(
            f"config.train.batch_size={train['batch_size']} cannot be divided into "
            f"config.train.accumulate={train['accumulate']} micro-batches"
        )
    if not config["optimizer"]["learning_rate"] > 0:
        raise UserError(
            f"config.optimizer.learning_rate={config['optimizer']['learning_rate']} must be above 0"
        )
    if "name" not in config["loss"]:
        raise UserError("config.loss.name is missing; see fsjax.losses.LOSSES for the names")


def _check_section(section: Any, schema: Mapping[str, Any], path: str) -> None:
    for key in section:
        if key not in schema:
            raise unknown(f"key in {path}", key, schema)
    for key, kind in schema.items():
        where = f"{path}.{key}"
        if key not in section:
            raise UserError(f"{where} is missing; {path} needs: {', '.join(schema)}")
        value = section[key]
        if isinstance(kind, dict):
            if not isinstance(value, Mapping) and not hasattr(value, "items"):
                raise UserError(f"{where}={value!r} must be a section with: {', '.join(kind)}")
            _check_section(value, kind, where)
        elif not _is_a(value, kind):
            raise UserError(f"{where}={value!r} must be a {kind.__name__}, not a {type(value).__name__}")


def _is_a(value: Any, kind: type) -> bool:
    if kind is dict:
        return hasattr(value, "items")
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is tuple:
        return isinstance(value, tuple | list)
    return isinstance(value, kind)
