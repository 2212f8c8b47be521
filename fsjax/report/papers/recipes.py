"""The configs of a paper's tables as flat values, in the types that a run's `config.json` gives back."""

import functools
import importlib
import json
from typing import Any

from ml_collections import ConfigDict

from fsjax.config_file import load_config
from fsjax.report.collect import flat
from fsjax.report.papers.tables import Training


def values(training: Training) -> dict[str, Any]:
    """The whole config of a training, by dotted key; what the recipe leaves out is as in the base."""
    start = {"start_from": training.start_from.folder} if training.start_from else {}
    return {**_base(), **_recipe(training.config), **dict(training.overrides), **start}


def base() -> dict[str, Any]:
    """Every key of a config with the value that it has where no config sets it."""
    return dict(_base())


@functools.cache
def _base() -> dict[str, Any]:
    return _flat(importlib.import_module("fsjax.configs.common").base())


@functools.cache
def _recipe(text: str) -> dict[str, Any]:
    return _flat(load_config(text))


def _flat(config: ConfigDict) -> dict[str, Any]:
    return flat(json.loads(json.dumps(config.to_dict())))
