"""fsjax: image classification in JAX where examples are few, classes look alike, or classes are unbalanced.

    config = fsjax.load_config("icu_digits")           # a recipe by its name, or a config file
    fsjax.train(config, "runs/digits")
    run = fsjax.restore("runs/digits")                 # a `Run`
    run.predict(images)

What `dir(fsjax)` lists is public: these names, and the packages in which `__all__` says what is. Everything else is
internal, says so, and may change in any version. Nothing is imported before it is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fsjax.errors import UserError
from fsjax.version import __version__

if TYPE_CHECKING:
    from fsjax.config_file import load_config
    from fsjax.runs import Run, network, restore, starter
    from fsjax.training import run as train

__all__ = ["Run", "UserError", "__version__", "load_config", "network", "restore", "starter", "train"]

# Where a name comes from that is imported when it is first asked for: flags for XLA must be set before jax starts, and
# `fsjax.losses` alone is light.
_FROM = {
    "Run": ("fsjax.runs", "Run"),
    "load_config": ("fsjax.config_file", "load_config"),
    "network": ("fsjax.runs", "network"),
    "restore": ("fsjax.runs", "restore"),
    "starter": ("fsjax.runs", "starter"),
    "train": ("fsjax.training", "run"),
}
_PACKAGES = (
    "configs", "data", "evaluation", "export", "exported", "labelling", "losses", "methods", "models", "networks",
    "options", "training",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _FROM:
        module, attribute = _FROM[name]
        return getattr(importlib.import_module(module), attribute)
    if name in _PACKAGES:
        return importlib.import_module(f"fsjax.{name}")
    raise AttributeError(f"module 'fsjax' has no attribute {name!r}; it has: {', '.join(__dir__())}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_PACKAGES])
