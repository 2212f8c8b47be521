"""Exports opened, from their folder or from memory.

Internal: `fsjax.exported` has what is public.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from .facts import checked_file, read_facts
from .layout import CLASSES, FACTS, FEATURES, ExportError, KnownClass, arrays_of
from .model import Exported
from .programs import platform_here


def load(folder: str | os.PathLike[str] | None = None, *, batch_size: int = 256) -> Exported:
    """Open an export, on the default device. Nothing in the folder is executed or unpickled but its StableHLO.

    Args:
      folder: as `fsjax export` or `Exported.save` wrote it; None: the one that this package lies in.
      batch_size: how many images go through the network at once, at most; results do not depend on it.

    Raises:
      ExportError: for a folder that is none, is damaged or of another format, and where this jax cannot read it or this
        machine's platform is none of those that it was exported for.
    """
    if batch_size < 1:
        raise ExportError(f"batch_size={batch_size} must be at least 1")
    folder = Path(__file__).parents[1] if folder is None else Path(folder).expanduser()
    facts = read_facts(folder)
    return opened(facts, {name: checked_file(folder, name, facts) for name in facts["files"]}, batch_size=batch_size)


def opened(facts: dict[str, Any], files: Mapping[str, bytes], *, batch_size: int = 256) -> Exported:
    """An export of which the files are in memory; see `load`."""
    platform = platform_here()
    if platform not in facts["platforms"]:
        raise ExportError(
            f"exported for {', '.join(facts['platforms'])}, and jax computes on {platform} here: export the run again "
            f"with --platforms {' '.join([*facts['platforms'], platform])}"
            + (", or set JAX_PLATFORMS=cpu" if "cpu" in facts["platforms"] else "")
        )
    stored = arrays_of(files[CLASSES])
    if len(facts["classes"]) != len(stored["counts"]):
        raise ExportError(
            f"{FACTS} names {len(facts['classes'])} classes, and {CLASSES} has {len(stored['counts'])}: take classes "
            "away with remove_class, or export the run again"
        )
    arrays = (stored[name] for name in ("vectors", "counts", "outputs", "weights", "bias"))
    classes = [
        KnownClass(name, vector, int(count), int(output), weights, float(bias))
        for name, vector, count, output, weights, bias in zip(facts["classes"], *arrays, strict=True)
    ]
    model = Exported(facts, files, classes, batch_size)
    _check_names(model)
    return model


def _check_names(model: Exported) -> None:
    """Raise an `ExportError` for weights or features that export.json names otherwise than the other files."""
    rule, program = model.facts["rule"], model._programs[FEATURES]
    odd = {rule["support_pool"], rule["query_pool"]} - set(jax.tree.unflatten(program.out_tree, program.out_avals))
    for name, program in model._programs.items():
        (weights, _), _ = jax.tree.unflatten(program.in_tree, program.in_avals)
        odd |= (set(weights) ^ set(model.facts["weights"][name])) | (set(weights) - set(model._weights))
    if odd:
        raise ExportError(f"{FACTS} and the other files do not agree about {min(odd)!r}: export the run again")
