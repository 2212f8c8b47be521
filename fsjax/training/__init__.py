"""Training: `run(config, workdir)`."""

from pathlib import Path
from typing import Any

__all__ = ["run"]


def run(config: Any, path: str | Path) -> dict[str, Any]:
    """Train, or go on training; see `fsjax.training.loop.run`, which is imported here, when it is needed."""
    from fsjax.training.loop import run as start

    return start(config, path)
