"""Weights of a folder: one `model.safetensors`, or several with an index that says which holds which array."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.errors import UserError
from fsjax.models.pretrained import files, hub


def weight_files(folder: Path) -> list[Path]:
    """The files of weights of a folder; [] where it has none.

    Raises:
      UserError: for an index that cannot be read, or names files that are not there.
    """
    single, index = folder / hub.FILE, folder / hub.INDEX
    if single.is_file():
        return [single]
    if not index.is_file():
        return []
    names = sorted(set(hub.weight_map(index).values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{index} names {missing[0]}, which is not beside it: get all {len(names)} files")
    return [folder / name for name in names]


def shapes(paths: Iterable[Path]) -> dict[str, files.Stored]:
    """Shapes and dtypes of all files' arrays by name; raises as `files.shapes`, and for an array in two files."""
    found: dict[str, files.Stored] = {}
    for path in paths:
        here = files.shapes(path)
        twice = sorted(found.keys() & here.keys())
        if twice:
            raise UserError(f"{path} has {twice[0]!r}, as another file of the same index has")
        found |= here
    return found


def read(paths: Iterable[Path], names: Iterable[str]) -> Mapping[str, np.ndarray]:
    """Arrays of these names, each from the file that has it; raises as `files.read`."""
    wanted, found = set(names), dict[str, Any]()
    for path in paths:
        found |= files.read(path, sorted(wanted & files.shapes(path).keys()))
    return found
