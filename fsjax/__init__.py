"""fsjax: image classification in JAX where examples are few, classes look alike, or classes are unbalanced."""

from typing import Any

from fsjax.errors import UserError
from fsjax.version import __version__

__all__ = ["Run", "UserError", "__version__", "network", "restore", "starter"]


def __getattr__(name: str) -> Any:
    # Imported when first asked for: flags for XLA must be set before jax starts, and `fsjax.losses` alone is light.
    if name in ("Run", "network", "restore", "starter"):
        from fsjax import runs

        return getattr(runs, name)
    raise AttributeError(f"module 'fsjax' has no attribute {name!r}; it has: {', '.join(__all__)}")
