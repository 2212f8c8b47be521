"""Training: `run(config, workdir)`."""

from fsjax.training.loop import run

__all__ = ["run"]
