"""A run's config: its sections are the options of what uses them, and from these it is made and checked.

Recipes, the files in `configs/`, start from `base()` and state what they choose. Nothing here imports jax.

Internal: no part of the public interface.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from fsjax.data.config import DataConfig
from fsjax.errors import UserError, unknown
from fsjax.options import Leaf, Section, of_table, section
from fsjax.options.few_shot import FewShotOptions
from fsjax.options.losses import LOSSES, LossOptions
from fsjax.options.methods import METHODS, FeatureDropoutOptions, MethodOptions
from fsjax.options.models import MODELS, ModelOptions
from fsjax.options.training import (
    EpisodesOptions,
    EvalOptions,
    FiguresOptions,
    OptimizerOptions,
    ParallelOptions,
    PretrainedOptions,
    RunOptions,
    ScheduleOptions,
    TeacherOptions,
    TrainOptions,
)


def options() -> Section:
    """Every option of a config, with what is valid for it."""
    return Section(
        {
            **section(RunOptions).keys,
            "pretrained": section(PretrainedOptions),
            "teacher": section(TeacherOptions),
            "method": of_table(MethodOptions, METHODS),
            "model": of_table(ModelOptions, MODELS),
            "loss": of_table(LossOptions, LOSSES),
            "feature_dropout": section(FeatureDropoutOptions),
            "data": section(DataConfig),
            "episodes": section(EpisodesOptions),
            "optimizer": section(OptimizerOptions),
            "schedule": section(ScheduleOptions),
            "train": section(TrainOptions),
            "eval": section(EvalOptions),
            "few_shot": section(FewShotOptions),
            "parallel": section(ParallelOptions),
            "figures": section(FiguresOptions),
        }
    )


def base() -> ConfigDict:
    """A config with every option at its default; those that an experiment must choose are empty."""
    return _config_dict(options())


def check(config: Mapping[str, Any]) -> None:
    """Check a config before anything is loaded or compiled.

    Args:
      config: a run's config.

    Raises:
      UserError: naming the first key that is missing, unknown, of the wrong type or out of its range, and what is
        valid.
    """
    options().read(config, "config", whole=True)
    train = config["train"]
    if (train["steps"] > 0) == (train["epochs"] > 0):
        raise UserError(
            f"config.train.steps={train['steps']} and config.train.epochs={train['epochs']}: set one of them "
            "above 0, and the other to 0: --config.train.steps=1000 --config.train.epochs=0"
        )


def folder_of(name: str) -> str:
    """The workdir of a run that is given none, `runs/NAME`.

    Raises:
      UserError: for a `config.name` that is no name of a folder.
    """
    if not name or name in (".", "..") or "/" in name or len(name.encode("utf-8", "surrogateescape")) > 255:
        raise UserError(
            f"config.name={name!r} must be the name of a folder, since the workdir is runs/NAME: set --config.name, or "
            "--workdir"
        )
    return f"runs/{name}"


def find(key: str) -> Leaf:
    """The option of a key such as "data.augment.flip".

    Raises:
      UserError: if there is none, naming those that there are.
    """
    node: Leaf | Section = options()
    path = "config"
    for part in key.split("."):
        if isinstance(node, Leaf):
            raise UserError(f"config.{key}: {path} is a value and has no keys")
        if part not in node.keys:
            raise unknown(f"key in {path}:", part, node.keys)
        node, path = node.keys[part], f"{path}.{part}"
    if isinstance(node, Section):
        raise UserError(f"{path} is a section with: {', '.join(sorted(node.keys))}; set one of these")
    return node


def set_key(config: ConfigDict, key: str, value: Any) -> None:
    """Set the option of a key such as "data.augment.flip", checked.

    Raises:
      UserError: for an unknown key, or a value of the wrong type or out of range.
    """
    checked = find(key).read(value, f"config.{key}")
    *sections, last = key.split(".")
    node = config
    for name in sections:
        node = node[name]
    with node.ignore_type():  # a config that was read from JSON has lists where tuples are meant
        node[last] = checked


def set_text(config: ConfigDict, key: str, text: str) -> None:
    """`set_key` with a value as it stands on a command line.

    Raises:
      UserError: as `set_key`.
    """
    set_key(config, key, find(key).parse(text))


def _config_dict(of: Section) -> ConfigDict:
    made = ConfigDict()
    for name, node in of.keys.items():
        if isinstance(node, Section):
            made[name] = _config_dict(node)
        else:
            (kind,) = node.scalars if node.optional else (None,)
            made[name] = placeholder(kind) if kind and node.default is None else node.default
    return made
