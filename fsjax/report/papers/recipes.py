"""The configs that recipes are made of, as values: the package holds them, since the config files are not part of it.

`recipes.json` has every key of `configs.common.base()` and, for each config and variant that a table names, what it
sets over that. `python tests/report/test_papers.py` writes it, and the tests compare it with the configs.
"""

import functools
import json
from importlib.resources import files
from typing import Any

from fsjax.report.papers.tables import Training

FILE = "recipes.json"


def values(training: Training) -> dict[str, Any]:
    """The whole config of a training, by dotted key."""
    stored = _stored()
    start = {"start_from": training.start_from.folder} if training.start_from else {}
    return {**stored["base"], **stored["configs"][training.config], **dict(training.overrides), **start}


def base() -> dict[str, Any]:
    """Every key of a config with the value that it has where no config sets it."""
    return dict(_stored()["base"])


@functools.cache
def _stored() -> dict[str, dict[str, Any]]:
    return json.loads(files("fsjax.report.papers").joinpath(FILE).read_text(encoding="utf-8"))
