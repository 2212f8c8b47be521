"""A finished or running run, opened to look at and to use: `run = fsjax.restore("runs/icu")`.

Internal, but for `fsjax.restore`, `fsjax.network`, `fsjax.starter` and `fsjax.Run`.
"""

from fsjax.runs.opening import network, restore, starter
from fsjax.runs.run import Run

__all__ = ["Run", "network", "restore", "starter"]
