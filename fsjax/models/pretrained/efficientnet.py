"""EfficientNet-Lite in the layout of the PyTorch ports, put into the trees of `fsjax.models.efficientnet`."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fsjax.errors import UserError
from fsjax.models.pretrained.values import converted, needed_shape, sizes

_LAYERS = {
    "stem": ("_conv_stem", "_bn0"),
    "head": ("_conv_head", "_bn1"),
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_BLOCK = re.compile(r"stage(\d+)_block(\d+)")

Tree = Mapping[str, Any]


def convert(weights: Mapping[str, np.ndarray], like: Tree, *, source: str) -> dict[str, Any]:
    """A network's variables from a state dict.

    Args:
      weights: arrays by the ports' names, "_blocks.0._depthwise_conv.weight"; convolutions are (out, in, height,
        width).
      like: {"params": ..., "batch_stats": ...} of an `EfficientNetLite`, arrays or shapes: what is asked for.
      source: what messages call the weights.

    Returns:
      A tree like `like`, of float32 arrays; convolutions are (height, width, in, out).

    Raises:
      UserError: naming the first array that is missing, of another shape, or of values that no such network has.
    """
    wanted = flatten_dict(like)
    blocks = sorted({_number(path[1]) for path in wanted if _BLOCK.fullmatch(path[1])})
    found = {}
    for path, leaf in wanted.items():
        name = _stored_name(path, blocks)
        if name not in weights:
            raise UserError(f"{source} has no {name!r}, which the network's {'/'.join(path[1:])} needs")
        if weights[name].shape != needed_shape(leaf.shape):
            raise UserError(
                f"{source}: {name!r} is {sizes(weights[name].shape)}, and the network's {'/'.join(path[1:])} needs "
                f"{sizes(needed_shape(leaf.shape))}: it is of another network, or of another width"
            )
        found[path] = converted(name, weights[name], source=source)
    return unflatten_dict(found)


def classifier(weights: Mapping[str, np.ndarray], *, source: str) -> dict[str, np.ndarray]:
    """The layer behind the pooling as a softmax classifier: "kernel" `[1280, classes]` and "bias" `[classes]`."""
    return {
        "kernel": np.ascontiguousarray(converted("_fc.weight", weights["_fc.weight"], source=source).T),
        "bias": converted("_fc.bias", weights["_fc.bias"], source=source),
    }


def _stored_name(path: tuple[str, ...], blocks: list[tuple[int, int]]) -> str:
    """("params", "stage2_block1", "expand", "bn", "scale") is "_blocks.1._bn0.weight": they are numbered through."""
    *_, module, layer, leaf = path
    name = f"{_LAYERS[module][layer == 'bn']}.{_LEAVES[leaf]}"
    return f"_blocks.{blocks.index(_number(path[1]))}.{name}" if _BLOCK.fullmatch(path[1]) else name


def _number(name: str) -> tuple[int, int]:
    match = _BLOCK.fullmatch(name)
    assert match is not None
    return int(match[1]), int(match[2])
