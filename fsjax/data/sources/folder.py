"""A folder of class folders of image files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.pictures import decode
from fsjax.data.sources.folders import SUFFIXES, below, looking_into, not_opened
from fsjax.data.sources.layout import PARTS, folders_in, parts_in
from fsjax.data.sources.source import Part, Source, merged
from fsjax.errors import one_line


def load(config: DataConfig) -> Source:
    """The images under `config.path`; classes are the names of the folders, in alphabetical order.

    Either `path/train/CLASS/...` with `path/test/CLASS/...` (or `val`, `valid`, `validation`; with both `test` and
    `val`, the latter is the validation split), or `path/CLASS/...`. Images may lie deeper inside a class
    folder, and behind links. What is hidden, or made by a system (`@eaDir`, `$RECYCLE.BIN`), is passed over; so are
    files that are no images by their suffix, and folders beside the parts, but `describe` counts these.

    With a class split, the parts may hold different classes, as miniImageNet's usually do: all images of all of
    them become one part, and the class split divides it.

    Raises:
      DataError: for a missing root, fewer than two classes, class folders without images, folders that cannot be
        opened, two class folders that are one by links, parts of which it cannot be told what they are for, and
        (without a class split) parts with different classes.
    """
    roots = part_roots(config)
    root = Path(config.path).expanduser()
    if config.class_split.name:
        class_names = tuple(sorted({name for part in roots.values() for name in folders_in(part)}))
    else:
        class_names = class_names_of(roots["train"])
        for part in roots.values():
            _check_same_classes(class_names, class_names_of(part), roots["train"], part)
    parts: dict[str, Any] = {}
    notes = [f"folder {root}", *_beside(root, roots)]
    seen: dict[str, str] = {}
    for name, part in roots.items():
        parts[name], passed_over = _part(part, class_names, config.channels or 3, seen)
        if passed_over:
            notes.append(f"{part}: passed over {passed_over} files that are no images by their suffix")
    if config.class_split.name:
        parts = {"train": merged(list(parts.values()))}
    return Source(name=root.name, class_names=class_names, notes=tuple(notes), **parts)


def _beside(root: Path, roots: Mapping[str, Path]) -> list[str]:
    """A note on the folders that are beside the parts, and none of them."""
    with looking_into(root):
        names = [] if root in roots.values() else folders_in(root)
    others = [name for name in names if root / name not in roots.values()]
    return [f"{root}: passed over {', '.join(map(one_line, others))}, no parts by their names"] if others else []


def class_files(folder: Path, seen: dict[str, str] | None = None) -> tuple[list[Path], int]:
    """The image files below a class folder in order, and how many other files there are.

    Args:
      folder: of the class.
      seen: the real folders of classes that were read before: see `fsjax.data.sources.folders.walk`.

    Raises:
      DataError: if it holds no image, if it, or a folder in it, cannot be opened or is also of another class.
    """
    found = below(folder, seen)
    if found.closed:
        raise not_opened(found.closed)
    if not found.images:
        raise DataError(
            f"class folder {folder} holds no image ({', '.join(sorted(SUFFIXES))}): put images there, or remove it"
        )
    return found.images, found.others


def part_roots(config: DataConfig) -> dict[str, Path]:
    """The folders that hold class folders, by part: "train", "test", "validation".

    Raises:
      DataError: for a missing root, and one that cannot be opened.
    """
    if not config.path:
        raise DataError('data.name="folder" needs data.path, the folder that holds the class folders')
    with looking_into(config.path):
        return _part_roots(config)


def _part_roots(config: DataConfig) -> dict[str, Path]:
    root = Path(config.path).expanduser()
    if not root.is_dir():
        raise DataError(f"data.path={config.path} is no folder")
    roots = parts_in(root, config.train_split, config.test_split)
    if not roots:
        return {"train": root}
    if config.class_split.name:
        # All parts, by any of the usual names: it is the class split that says what they are for.
        others = [root / name for name in folders_in(root) if name.lower() in PARTS]
        roots |= {str(path): path for path in others if path not in roots.values()}
    return roots


def class_names_of(root: Path) -> tuple[str, ...]:
    """The names of the folders in a folder, in alphabetical order.

    Raises:
      DataError: for fewer than two, and for a folder that cannot be opened.
    """
    with looking_into(root):
        names = folders_in(root)
    if len(names) < 2:
        found = f"only {names[0]!r}" if names else "none"
        raise DataError(f"{root} must hold a folder for each of at least two classes; it holds {found}")
    return tuple(names)


def _check_same_classes(expected: tuple[str, ...], found: tuple[str, ...], train: Path, part: Path) -> None:
    if expected == found:
        return
    only = {train: sorted(set(expected) - set(found)), part: sorted(set(found) - set(expected))}
    words = "; ".join(
        f"{len(names)} only in {where}: {', '.join(names[:10])}{', …' if len(names) > 10 else ''}"
        for where, names in only.items()
        if names
    )
    raise DataError(f"{train} and {part} must hold the same classes: {words}")


def _part(root: Path, class_names: tuple[str, ...], channels: int, seen: dict[str, str]) -> tuple[Part, int]:
    """The images below one root, and how many files are none; `seen` are the folders that were read before."""
    paths: list[str] = []
    labels: list[int] = []
    passed_over = 0
    for label, name in enumerate(class_names):
        if not (root / name).is_dir():  # under a class split: a class of another part
            continue
        images, others = class_files(root / name, seen)
        passed_over += others
        paths += map(str, images)
        labels += [label] * len(images)
    part = Part(
        labels=np.array(labels, np.int32),
        read=lambda item: decode(paths[item], channels),
        locate=lambda item: paths[item],
        items=np.arange(len(paths)),
        channels=channels,
    )
    return part, passed_over
