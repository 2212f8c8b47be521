"""The recipes, as `fsjax.configs.NAME`. In a clone they lie in the folder `configs/` at its top, where this looks.

A wheel has that folder instead of this file: see `package-dir` in pyproject.toml.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[2] / "configs")]
