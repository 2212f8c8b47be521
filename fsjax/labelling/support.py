"""The support pictures of a task: class folders, read."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fsjax import data
from fsjax.data import DataInfo
from fsjax.errors import UserError

_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """A picture that could not be read: its name, its file, and why."""

    name: str
    file: Path
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class Support:
    """Labelled pictures.

    Attributes:
      class_names: the names of the class folders, in alphabetical order.
      names: of the pictures, relative to the folder.
      files: where they are.
      labels: int32 `[n]`.
      images: uint8 `[n, *image_shape]`, as the network takes them.
      unreadable: those that were left out.
      passed_over: how many files in the folder are no images by their suffix.
    """

    class_names: tuple[str, ...]
    names: list[str]
    files: list[Path]
    labels: np.ndarray
    images: np.ndarray
    unreadable: list[Unreadable]
    passed_over: int

    @property
    def counts(self) -> list[int]:
        """Pictures of each class."""
        return np.bincount(self.labels, minlength=len(self.class_names)).tolist()


def read_support(
    folder: str | Path,
    config: Mapping[str, Any],
    info: DataInfo,
    *,
    max_pixels: int | None = None,
    shots: int = 0,
    seed: int = 0,
) -> Support:
    """Read class folders of pictures.

    Args:
      folder: that holds a folder for each class.
      config, info, max_pixels: see `fsjax.data.read_pictures`.
      shots: so many of each class, chosen at random; 0 for all.
      seed: of the choice.

    Raises:
      UserError: for fewer than two class folders, one without pictures or with fewer than `shots`, and where all
        pictures of a class cannot be read.
    """
    found, root = data.labelled_files(folder), Path(folder).expanduser()
    chosen = np.arange(len(found.files)) if not shots else _chosen(found.labels, found.class_names, shots, seed)
    files, labels = [found.files[i] for i in chosen], found.labels[chosen]
    names = [str(file.relative_to(root)) for file in files]
    parts = list(data.read_pictures(files, config, info, max_pixels=max_pixels))
    failed = {number: reason for part in parts for number, reason in part.failed.items()}
    unreadable = [Unreadable(names[i], files[i], reason) for i, reason in failed.items()]
    for label, name in enumerate(found.class_names):
        own = np.flatnonzero(labels == label).tolist()
        if all(i in failed for i in own):
            reasons = "; ".join(f"{names[i]}: {failed[i]}" for i in own[:_NAMED])
            raise UserError(f"class {name!r}: none of its {len(own)} support pictures can be read: {reasons}")
    read = np.concatenate([part.read for part in parts])
    return Support(
        found.class_names,
        [names[i] for i in read],
        [files[i] for i in read],
        labels[read],
        np.concatenate([part.images for part in parts]),
        unreadable,
        found.passed_over,
    )


def _chosen(labels: np.ndarray, names: tuple[str, ...], shots: int, seed: int) -> np.ndarray:
    """Positions of so many pictures of each class, in order."""
    chosen = []
    for label, name in enumerate(names):
        own = np.flatnonzero(labels == label)
        if len(own) < shots:
            raise UserError(
                f"class {name!r} has {len(own)} support picture{'s' * (len(own) > 1)}; {shots} of each class need "
                f"{shots}: add some, or ask for fewer shots"
            )
        chosen.append(np.sort(np.random.default_rng([seed, label]).permutation(own)[:shots]))
    return np.concatenate(chosen)
