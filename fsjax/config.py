"""A run's config: its sections are the options of what uses them, and from these it is made and checked.

Recipes, the files in `configs/`, start from `base()` and state what they choose. Nothing here imports jax.

Internal: no part of the public interface.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from fsjax.data.config import DataConfig
from fsjax.data.sources import SOURCES
from fsjax.errors import UserError, unknown
from fsjax.options import Leaf, Section, Table, of_table, section
from fsjax.options.few_shot import FewShotOptions
from fsjax.options.losses import LOSSES, LossOptions
from fsjax.options.methods import METHODS, FeatureDropoutOptions, MethodOptions
from fsjax.options.metrics import METRICS
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

# Sections that are chosen from a table by their `name`.
_TABLES: dict[str, tuple[type, Table]] = {
    "method": (MethodOptions, METHODS),
    "model": (ModelOptions, MODELS),
    "loss": (LossOptions, LOSSES),
}


def options(chosen: Mapping[str, str] | None = None) -> Section:
    """Every option of a config, with what is valid for it.

    Args:
      chosen: by "method", "model" and "loss", the one of a plug-in whose options are among them.
    """
    of_plugins = chosen or {}
    return Section(
        {
            **section(RunOptions).keys,
            "pretrained": section(PretrainedOptions),
            "teacher": section(TeacherOptions),
            **{name: of_table(*of, of_plugins.get(name, "")) for name, of in _TABLES.items()},
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


def chosen(config: Mapping[str, Any]) -> dict[str, str]:
    """The names of a config's method, model and loss; of a config not checked, those that are texts."""
    found = {}
    for name in _TABLES:
        of: Any = config.get(name) if hasattr(config, "get") else None
        choice = of.get("name") if hasattr(of, "get") else None
        if isinstance(choice, str):
            found[name] = choice
    return found


def complete(config: ConfigDict) -> None:
    """Give a config the options of the plug-ins that it chooses, at their defaults where it does not say them."""
    for name, choice in chosen(config).items():
        _complete(config, name, choice)


def _complete(config: ConfigDict, name: str, choice: str) -> None:
    table = _TABLES[name][1]
    if choice in table.plugged() and hasattr(config[name].get(choice, {}), "items"):
        with config.unlocked():
            config[name][choice] = section(table[choice].options).defaults() | dict(config[name].get(choice, {}))


def plugged(config: Mapping[str, Any]) -> dict[str, str]:
    """What a config has of plug-ins, and where each comes from: {"losses smoothed": "fsjax-example 0.1"}."""
    named = [(_TABLES[name][1], choice) for name, choice in chosen(config).items()]
    named += [(SOURCES, config["data"]["name"]), *((METRICS, name) for name in config["eval"]["metrics"])]
    return {f"{table.kind} {name}": table.plugged()[name] for table, name in named if name in table.plugged()}


def absent(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What a config names that is not here: by "method", "model" and "loss" the name, and its key in `plugged`."""
    named = {name: (_TABLES[name][1], choice) for name, choice in chosen(config).items()}
    return {name: (choice, f"{table.kind} {choice}") for name, (table, choice) in named.items() if choice not in table}


def check(config: Mapping[str, Any]) -> None:
    """Check a config before anything is loaded or compiled.

    Args:
      config: a run's config.

    Raises:
      UserError: naming the first key that is missing, unknown, of the wrong type or out of its range, and what is
        valid.
    """
    options(chosen(config)).read(config, "config", whole=True)
    if not config["data"]["name"]:
        raise UserError(
            f"config.data.name is empty: name one of {', '.join(SOURCES)}, or a data set of tensorflow_datasets"
        )
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
    first, second, *_ = [*key.split("."), ""]
    node: Leaf | Section = options({first: second})
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
    _set(config, key, find(key), value)


def _set(config: ConfigDict, key: str, leaf: Leaf, value: Any) -> None:
    checked = leaf.read(value, f"config.{key}")
    *sections, last = key.split(".")
    if len(sections) == 2 and sections[0] in _TABLES:
        _complete(config, *sections)
    node = config
    for name in sections:
        node = node[name]
    with node.ignore_type():  # a config that was read from JSON has lists where tuples are meant
        node[last] = checked
    complete(config)


def set_text(config: ConfigDict, key: str, text: str) -> None:
    """`set_key` with a value as it stands on a command line.

    Raises:
      UserError: as `set_key`.
    """
    leaf = find(key)
    _set(config, key, leaf, leaf.parse(text))


def _config_dict(of: Section) -> ConfigDict:
    made = ConfigDict()
    for name, node in of.keys.items():
        if isinstance(node, Section):
            made[name] = _config_dict(node)
        else:
            (kind,) = node.scalars if node.optional else (None,)
            made[name] = placeholder(kind) if kind and node.default is None else node.default
    return made
