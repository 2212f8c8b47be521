"""Where a vision transformer's parameters are in a file that Hugging Face's `transformers` wrote."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fsjax.errors import UserError
from fsjax.models.pretrained.transformers.config import Layout
from fsjax.models.pretrained.values import converted, sizes

# Where an array of ours is in the file: its name, and which of how many equal parts of it along its first axis.
Place = tuple[str, int, int]
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_WRAPPERS = re.compile(r"(?:(?:module|backbone|_orig_mod|model)\.)+")


def place_of(path: tuple[str, ...], names: Mapping[str, Any]) -> Place:
    """Where an array is in the file: ("block2", "attention", "query", "bias") is "encoder.layer.1. ... .bias"."""
    block = [names["block"].format(int(path[0][5:]) - 1)] if path[0].startswith("block") else []
    if path[-1] in names:  # an array of its own
        return ".".join([*block, names[path[-1]]]), 0, 1
    pool = [names["pool"]] if path[0] == "pool" else []
    found = names.get(f"pool.{path[-2]}", names[path[-2]]) if pool else names[path[-2]]
    name, part, parts = found if isinstance(found, tuple) else (found, 0, 1)
    leaf = _LEAVES[path[-1]]
    return ".".join([*block, *pool, name + leaf if name.endswith("_") else f"{name}.{leaf}"]), part, parts


def named(stored: Mapping[str, Any], layout: Layout) -> tuple[dict[str, str], str]:
    """Names in the file by those of the layout, and the prefix that was taken off all of them.

    Wrappers that say nothing of the network (`module.`, `_orig_mod.`, `backbone.`, `model.`) are taken off where all
    names have the same ones; then the network's own name in a larger one (`vision_model.`, `dinov2.`).
    """
    wrappers = {(m.group() if (m := _WRAPPERS.match(name)) else "") for name in stored}
    wrapper = wrappers.pop() if len(wrappers) == 1 else ""
    plain = {name.removeprefix(wrapper): name for name in stored}
    inside = any(name.startswith(layout.root) for name in plain)
    return {name.removeprefix(layout.root): full for name, full in plain.items()}, wrapper + layout.root * inside


def places(stored: Mapping[str, Any], layout: Layout, like: Any, *, source: str) -> dict[tuple[str, ...], Place]:
    """Where each of a network's parameters is, by path; no values are read.

    Args:
      stored: shapes by the file's names, see `fsjax.models.pretrained.files.Stored`.
      layout: of the network.
      like: its parameters, as shapes.
      source: what messages call the file.

    Raises:
      UserError: for the first array that is missing, of another shape, no floating-point numbers or superfluous.
    """
    names, prefix = named(stored, layout)
    found = {}
    for path, leaf in sorted(flatten_dict(like).items(), key=lambda item: _order(item[0])):
        name, part, parts = place_of(path, layout.names)
        if name not in names:
            raise UserError(
                f"{source} has no {prefix + name!r}, which {layout.kind} by its config.json needs: "
                f"its arrays are called {', '.join(list(stored)[:3])}…"
            )
        full = names[name]
        needed = _needed(path, tuple(leaf.shape), parts)
        shape = tuple(stored[full].shape)
        if tuple(n for n in shape if n != 1) != tuple(n for n in needed if n != 1):
            raise UserError(f"{source}: {full!r} is {sizes(shape)}, and its config.json asks for {sizes(needed)}")
        if str(stored[full].dtype) not in ("float16", "bfloat16", "float32", "float64"):
            raise UserError(
                f"{source}: {full!r} is of dtype {stored[full].dtype}; only floating-point weights are read"
            )
        found[path] = (full, part, parts)
    read = {full for full, _, _ in found.values()}
    for name, full in names.items():
        if full not in read and not re.fullmatch(layout.others, name):
            raise UserError(f"{source} has {full!r}, for which {layout.kind} by its config.json has no place")
    return found


def _needed(path: tuple[str, ...], here: tuple[int, ...], parts: int) -> tuple[int, ...]:
    """The shape in the file."""
    if len(here) == 4:
        here = tuple(here[i] for i in (3, 2, 0, 1))
    elif path[-1] == "kernel":
        here = here[::-1]
    return (here[0] * parts, *here[1:])


def _order(path: tuple[str, ...]) -> tuple[int, Any]:
    """Patches and tokens, blocks by number, and what follows."""
    if path[0].startswith("block"):
        return int(path[0][5:]), path
    return (0 if path[0] in ("patch", "class_token", "positions", "registers", "pre_norm") else 10**6), path


def convert(
    arrays: Mapping[str, np.ndarray], where: Mapping[tuple[str, ...], Place], like: Any, *, source: str
) -> dict[str, Any]:
    """The parameters, float32, of a tree like `like`.

    Raises:
      UserError: for numbers that are not finite.
    """
    shapes, found = flatten_dict(like), {}
    for path, (name, part, parts) in where.items():
        value = arrays[name]
        value = value[len(value) * part // parts : len(value) * (part + 1) // parts] if parts > 1 else value
        value = converted(name, value, source=source)
        if path[-1] == "kernel" and value.ndim == 2:
            value = np.ascontiguousarray(value.T)
        found[path] = value.reshape(shapes[path].shape)
    return unflatten_dict(found)
