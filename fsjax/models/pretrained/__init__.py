"""Weights that others trained: found by path or by a hub's name, read without PyTorch, and put into our trees.

    path = pretrained.find("timm/resnet50.tv_in1k")
    backbone = pretrained.load(path, {"params": params["backbone"], "batch_stats": batch_stats["backbone"]})

Files that only unpickling opens are refused.
"""

from pathlib import Path
from typing import Any

from fsjax.models.pretrained.files import architecture_of, find, read, sha256, shapes
from fsjax.models.pretrained.torchvision import Tree, convert, places

__all__ = ["architecture_of", "check", "convert", "find", "load", "places", "read", "sha256", "shapes"]


def check(path: Path, like: Tree) -> list[str]:
    """The names of the arrays of a file that a network takes; reads the file's header alone.

    Args:
      path: of a .safetensors file.
      like: see `fsjax.models.pretrained.torchvision.convert`.

    Raises:
      UserError: if the file cannot be read, or does not fit; it names the first mismatch.
    """
    return list(places(shapes(path), like, source=f"the file {path}").values())


def load(path: Path, like: Tree) -> dict[str, Any]:
    """A network's variables from a file, `{"params": ..., "batch_stats": ...}`; see `check` and `convert`."""
    return convert(read(path, check(path, like)), like, source=f"the file {path}")
