"""The shape of a config: which keys a run reads, of which type, and what their values may be.

There are no defaults here: a config states every choice (`configs/common.py` holds what the experiments share).
"""

import math
from collections.abc import Mapping
from typing import Any

from fsjax.errors import UserError, unknown

# A dict is a section with exactly these keys; `dict` alone is a section whose keys its owner checks (the model's
# options, a loss's, a method's, the data's).
SCHEMA: dict[str, Any] = {
    "name": str,
    "seed": int,
    "start_from": str,
    "pretrained": {"network": str, "attnet": str},
    "teacher": {"run": str},
    "method": dict,
    "model": dict,
    "loss": dict,
    "feature_dropout": {"name": str, "rate": float, "samples": int, "mu": float, "sigma": float, "keep": int},
    "data": dict,
    "episodes": {"way": tuple, "shot": tuple, "query": tuple, "per_step": int},
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
    "few_shot": {
        "way": tuple, "shots": tuple, "query": tuple, "tasks": int, "implant_tasks": int, "classes": tuple,
        "seed": int, "poolings": tuple, "inference_tau": float,
        "reconstructed": {"test_base": int, "validation_base": int, "images": int, "seed": int},
        "validation": {"classes": str, "way": tuple, "shot": tuple, "query": tuple, "tasks": int},
    },
    "parallel": {"backend": str, "num_devices": int, "shard_optimizer": bool},
    "figures": {"scatter": bool},
}  # fmt: skip


# Smallest value, and the one it must stay below.
RANGES: dict[str, tuple[float, float]] = {
    **{f"train.{k}": (1, math.inf) for k in ("accumulate", "steps_per_dispatch", "log_every")},
    "train.batch_size": (0, math.inf),  # 0: the method trains on episodes
    "train.checkpoint_every": (1, math.inf),
    "train.eval_every": (0, math.inf),  # 0: only at the end
    "train.steps": (0, math.inf),
    "train.epochs": (0, math.inf),
    "eval.batch_size": (1, math.inf),
    "parallel.num_devices": (0, math.inf),
    "optimizer.momentum": (0, 1),
    "optimizer.b1": (0, 1),
    "optimizer.b2": (0, 1),
    "optimizer.weight_decay": (0, math.inf),
    "optimizer.clip_norm": (0, math.inf),
    "schedule.warmup": (0, math.inf),
}


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
    _check_ranges(config)
    if (train["steps"] > 0) == (train["epochs"] > 0):
        raise UserError(
            f"config.train.steps={train['steps']} and config.train.epochs={train['epochs']}: set one of them "
            "above 0, and the other to 0: --config.train.steps=1000 --config.train.epochs=0"
        )
    if train["batch_size"] % train["accumulate"]:
        raise UserError(
            f"config.train.batch_size={train['batch_size']} cannot be divided into "
            f"config.train.accumulate={train['accumulate']} micro-batches"
        )
    for section, keys in {
        "loss": ("name",),
        "method": ("name",),
        "model": ("name", "dtype", "sync_batch_norm"),
    }.items():
        for key in keys:
            if key not in config[section]:
                raise UserError(f"config.{section}.{key} is missing")


def _check_ranges(config: Mapping[str, Any]) -> None:
    for where, (least, below) in RANGES.items():
        section, key = where.split(".")
        value = config[section][key]
        if not least <= value < below:
            wanted = f"at least {least:g}" + (f" and below {below:g}" if below < math.inf else "")
            raise UserError(f"config.{where}={value} must be {wanted}")
    if not config["optimizer"]["learning_rate"] > 0:
        raise UserError(f"config.optimizer.learning_rate={config['optimizer']['learning_rate']} must be above 0")


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
            raise UserError(f"{where}={value!r} must be of type {kind.__name__}, not {type(value).__name__}")


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
