"""ResNet-18, ResNet-50 and ResNet-101 in torchvision's layout, put into the trees of `fsjax.models.resnet`.

timm's `resnet50` and `resnet101` have torchvision's names, and its deep stems (`resnet50c`, `resnet101c`) theirs of
three convolutions. Which parts are read is the tree's choice: one with the first stage alone takes the first stage of
a whole network's file. Not read are the classifier (`fc.*`) and `num_batches_tracked`, which PyTorch needs for another
kind of running statistics.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fsjax.errors import UserError
from fsjax.models.pretrained.values import converted, needed_shape, sizes

# Our name of a stem's convolution: the file's names of it and of its normalisation.
_STEMS = {
    "stem": ("conv1", "bn1"),
    "stem1": ("conv1.0", "conv1.1"),
    "stem2": ("conv1.3", "conv1.4"),
    "stem3": ("conv1.6", "bn1"),
}
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_PATH = re.compile(
    r"(?:(?P<stem>stem[123]?)|stage(?P<stage>\d+)_block(?P<block>\d+)/(?P<module>conv[123]|shortcut))"
    r"/(?P<layer>conv|bn)/(?P<leaf>kernel|scale|bias|mean|var)"
)
_FLOATS = ("float16", "bfloat16", "float32", "float64")

Tree = Mapping[str, Any]


def convert(weights: Mapping[str, np.ndarray], like: Tree, *, source: str) -> dict[str, Any]:
    """A network's variables from a state dict.

    Args:
      weights: arrays by torchvision's names; convolutions are (out, in, height, width).
      like: {"params": ..., "batch_stats": ...} of a `ResNet`, arrays or shapes: what is asked for.
      source: what messages call the weights, "the file resnet50.safetensors".

    Returns:
      A tree like `like`, of float32 arrays; convolutions are (height, width, in, out).

    Raises:
      UserError: naming the first array that is missing, superfluous, of another shape, not of floating-point numbers,
        not finite, or of running variances below 0.
    """
    found = {}
    for path, name in places(weights, like, source=source).items():
        found[path] = converted(name, weights[name], source=source)
    return unflatten_dict(found)


def places(weights: Mapping[str, Any], like: Tree, *, source: str) -> dict[tuple[str, ...], str]:
    """Which array of a state dict goes where; no values are read.

    Args:
      weights: by torchvision's names, anything with a `shape` and a `dtype`.
      like, source: see `convert`.

    Returns:
      The names of the arrays by their path in `like`, in the network's order.

    Raises:
      UserError: as `convert`, but for values.
    """
    wanted = flatten_dict(like)
    placed = {path: _stored_name(path) for path in sorted(wanted, key=_order)}
    for path, name in placed.items():
        where, leaf = "/".join(path[1:]), wanted[path]
        if name not in weights:
            why = _why_missing(name, weights, placed.values())
            raise UserError(f"{source} has no {name!r}, which the network's {where} needs: {why}")
        shape, needed = tuple(weights[name].shape), needed_shape(leaf.shape)
        if shape != needed:
            raise UserError(
                f"{source}: {name!r} is {sizes(shape)}, and the network's {where} needs {sizes(needed)}: "
                + _why_other_shape(shape, needed)
            )
        if str(weights[name].dtype) not in _FLOATS:
            raise UserError(
                f"{source}: {name!r} is of dtype {weights[name].dtype}; weights of {', '.join(_FLOATS)} can be read"
            )
    _refuse_superfluous(weights, placed.values(), source)
    return placed


def _stored_name(path: tuple[str, ...]) -> str:
    """torchvision's name: ("params", "stage3_block7", "conv2", "bn", "scale") is "layer3.6.bn2.weight"."""
    parts = _parts(path)
    is_bn, leaf = parts["layer"] == "bn", _LEAVES[parts["leaf"]]
    if parts["stem"]:
        return f"{_STEMS[parts['stem']][is_bn]}.{leaf}"
    block = f"layer{parts['stage']}.{int(parts['block']) - 1}"
    if parts["module"] == "shortcut":
        return f"{block}.downsample.{int(is_bn)}.{leaf}"
    return f"{block}.{parts['layer']}{parts['module'][-1]}.{leaf}"


def _parts(path: tuple[str, ...]) -> dict[str, str]:
    where = "/".join(path[1:])
    match = _PATH.fullmatch(where)
    if match is None:
        raise UserError(f"the network has {where}, which no ResNet of torchvision has: there are no weights for it")
    return match.groupdict()


def _order(path: tuple[str, ...]) -> tuple:
    """Sorts as the network computes, and torchvision's files are written."""
    parts = _parts(path)
    block = int(parts["stage"] or 0), int(parts["block"] or 0), parts["stem"] or parts["module"]
    return *block, parts["layer"] == "bn", list(_LEAVES).index(parts["leaf"])


def _why_missing(name: str, weights: Iterable[str], needed: Iterable[str]) -> str:
    """What else the file is, as far as its names tell."""
    names = list(weights)
    if name.startswith("layer") and any(n.startswith("layer") for n in names):
        return _why_other_blocks(name, names, needed)
    if name == "conv1.0.weight" and "conv1.weight" in names:
        return "its stem is the plain one, and the network's is 'C' (the model's option stem)"
    if name == "conv1.weight" and "conv1.0.weight" in names:
        return "its stem is the one of ResNet-C, and the network's is 'plain' (the model's option stem)"
    return f"its {len(names)} arrays are called {', '.join(names[:3])}…" if names else "it is empty"


def _why_other_shape(shape: tuple[int, ...], needed: tuple[int, ...]) -> str:
    if len(shape) == 4 and shape[1] != needed[1] and shape[:1] + shape[2:] == needed[:1] + needed[2:]:
        return f"one takes {shape[1]} channels, the other {needed[1]}"
    return "it is of another network, or of another width"


def _why_other_blocks(name: str, weights: Iterable[str], needed: Iterable[str]) -> str:
    """How deep the file and the network are in the stage of an array that only one of them has."""
    layer, block = name.split(".")[:2]
    there, here = (len({n.split(".")[1] for n in names if n.startswith(f"{layer}.")}) for names in (weights, needed))
    if there != here:
        return (
            f"there are {there} blocks in its {layer}, {here} in the network's stage{layer[5:]}: it is of another depth"
        )
    return f"its {layer}.{block} is another kind of block"


def _refuse_superfluous(weights: Iterable[str], read: Iterable[str], source: str) -> None:
    """Raise a `UserError` for an array of a part that is read, for which the network has no place."""
    read = set(read)
    stages = {name.split(".")[0] for name in read if name.startswith("layer")}
    for name in weights:
        part = name.split(".")[0]
        of_later_stage = part.startswith("layer") and part not in stages
        if name in read or part == "fc" or of_later_stage or name.endswith(".num_batches_tracked"):
            continue
        why = _why_other_blocks(name, weights, read) if part in stages else "only the classifier, fc, is passed over"
        raise UserError(f"{source} has {name!r}, for which the network has no place: {why}")
