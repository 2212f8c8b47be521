"""Training: `run(config, workdir)`."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

__all__ = ["run"]


def run(config: ConfigDict, path: str | Path) -> dict[str, Any]:
    """Train, or go on training; see `fsjax.training.loop.run`, which is imported here, when it is needed."""
    from fsjax.training.loop import run as start

    return start(config, path)
