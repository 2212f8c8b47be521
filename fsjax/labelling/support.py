"""The support pictures of a task: class folders, read."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fsjax import data
from fsjax.data import DataInfo
from fsjax.errors import UserError
from fsjax.labelling.held_out import first_copies

_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """A picture, or a folder, that could not be read: its name, its file, and why."""

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
      passed_over: how many files in the folder are no images by their suffix, or no files at all.
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

    @property
    def different(self) -> list[int]:
        """Pictures of each class, copies not counted."""
        labels = self.labels[np.unique(first_copies(self.images, self.labels))]
        return np.bincount(labels, minlength=len(self.class_names)).tolist()

    @functools.cached_property
    def contradictions(self) -> list[list[int]]:
        """Numbers of pictures that are the same to the network, and are in several classes."""
        first = first_copies(self.images, np.zeros_like(self.labels))
        groups = [np.flatnonzero(first == number) for number in np.flatnonzero(np.bincount(first) > 1)]
        return [group.tolist() for group in groups if len(set(self.labels[group].tolist())) > 1]


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
      shots: so many of each class, chosen at random among those that can be read; 0 for all.
      seed: of the choice.

    Raises:
      UserError: for fewer than two class folders, one without pictures or with fewer than `shots` that can be
        read, folders that cannot be opened, and where all pictures of a class cannot be read.
    """
    found, root = data.labelled_files(folder), Path(folder).expanduser()
    files, labels = found.files, found.labels
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
    images = np.concatenate([part.images for part in parts])
    if shots:
        chosen = _chosen(labels, read, found.class_names, shots, seed)
        images, read = images[np.isin(read, chosen)], chosen
    return Support(
        found.class_names,
        [names[i] for i in read],
        [files[i] for i in read],
        labels[read],
        images,
        unreadable,
        found.passed_over,
    )


def _chosen(labels: np.ndarray, read: np.ndarray, names: tuple[str, ...], shots: int, seed: int) -> np.ndarray:
    """Positions of so many pictures of each class, of those that can be read, in order."""
    chosen = []
    for label, name in enumerate(names):
        # The order is of all of them: one that breaks changes no other's place.
        own = np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels == label))
        good = own[np.isin(own, read)]
        if len(good) < shots:
            some = f" that can be read, of {len(own)}" if len(good) < len(own) else ""
            raise UserError(
                f"class {name!r} has {len(good)} support picture{'s' * (len(good) > 1)}{some}; {shots} of each class "
                f"need {shots}: add some, or ask for fewer shots"
            )
        chosen.append(np.sort(good[:shots]))
    return np.concatenate(chosen)
