"""EfficientNet-Lite's published weights in PyTorch's layout, put into the trees of `fsjax.models.efficientnet`.

The names are those of lukemelas' EfficientNet-PyTorch, of which the Lite models have a fork: "_blocks.3._expand_conv".
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fsjax.errors import UserError
from fsjax.models.pretrained.values import converted, needed_shape, sizes

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
# Our name of a convolution with its normalisation: the file's names of both.
_OUTER = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
_INNER = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
_BLOCK = re.compile(r"group(\d+)_block(\d+)")


def convert(weights: Mapping[str, np.ndarray], like: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """A backbone's variables from a state dict.

    Args:
      weights: arrays by the file's names; convolutions are (out, in, height, width).
      like: {"params": ..., "batch_stats": ...} of an `EfficientNetLite`, arrays or shapes.
      source: what messages call the weights.

    Returns:
      A tree like `like`, of float32 arrays; convolutions are (height, width, in, out).

    Raises:
      UserError: naming the first array that is missing, superfluous, of another shape, not finite, or a negative
        variance.
    """
    wanted = flatten_dict(like)
    numbers = sorted({match.groups() for path in wanted if (match := _BLOCK.fullmatch(path[1]))}, key=_as_ints)
    order = {f"group{group}_block{block}": number for number, (group, block) in enumerate(numbers)}
    found, read = {}, set()
    for path, leaf in wanted.items():
        name, where = _stored_name(path, order), "/".join(path[1:])
        read.add(name)
        if name not in weights:
            raise UserError(f"{source} has no {name!r}, which the network's {where} needs: it is of another network")
        shape, needed = tuple(weights[name].shape), needed_shape(leaf.shape)
        if shape != needed:
            raise UserError(
                f"{source}: {name!r} is {sizes(shape)}, and the network's {where} needs {sizes(needed)}: it is of "
                "another network"
            )
        found[path] = converted(name, weights[name], source=source)
    for name in weights:
        if name not in read and not name.startswith("_fc.") and not name.endswith(".num_batches_tracked"):
            raise UserError(f"{source} has {name!r}, for which the network has no place: it is of another network")
    return unflatten_dict(found)


def classifier(weights: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The linear classifier over the pooled maps: kernel `[dim, classes]` and bias `[classes]`."""
    return np.ascontiguousarray(weights["_fc.weight"].T), weights["_fc.bias"]


def _as_ints(numbers: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(map(int, numbers))


def _stored_name(path: tuple[str, ...], order: Mapping[str, int]) -> str:
    """("params", "group2_block1", "expand", "bn", "scale") is "_blocks.1._bn0.weight"."""
    *module, layer, leaf = path[1:]
    names = _OUTER[module[0]] if len(module) == 1 else _INNER[module[1]]
    prefix = "" if len(module) == 1 else f"_blocks.{order[module[0]]}."
    return f"{prefix}{names[layer == 'bn']}.{_LEAVES[leaf]}"
