"""A folder of pictures that is not as `fsjax.data.sources.folder` wants it: what it is instead, in words."""

import collections
import dataclasses
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fsjax.data.check.findings import Finding, some
from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.pictures import decode
from fsjax.data.sources.folder import load, part_roots
from fsjax.data.sources.folders import SUFFIXES, below, is_image, not_opened, walk
from fsjax.data.sources.layout import LAYOUT, PARTS, LayoutError
from fsjax.data.sources.source import Part, Source, merged
from fsjax.errors import counted, one_line

_ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz"))
_PICTURES = frozenset((".heic", ".heif", ".avif", ".jxl", ".jfif", ".jpe", ".svg", ".psd", ".cr2", ".nef", ".dng"))


@dataclasses.dataclass
class _Folder:
    """Files of a folder itself, and the folders in it."""

    images: list[str]
    others: list[str]
    inside: dict[str, "_Folder"]

    @property
    def below(self) -> int:
        """Images in it, and deeper."""
        return len(self.images) + sum(folder.below for folder in self.inside.values())

    def walk(self) -> Iterator["_Folder"]:
        yield self
        for folder in self.inside.values():
            yield from folder.walk()

    @property
    def filled(self) -> list[str]:
        """Names of the folders in it that hold images."""
        return [name for name, folder in self.inside.items() if folder.below]


def survey(config: DataConfig) -> tuple[Source | None, list[Finding]]:
    """The images of a folder, whatever is wrong with its layout; and what is.

    Args:
      config: with the name "folder".

    Returns:
      The source, its classes those folders that hold images (None if no images could be of classes), and the findings.

    Raises:
      DataError: for a missing root, and one that cannot be opened.
    """
    root = Path(config.path).expanduser()
    try:
        roots = part_roots(config)
    except LayoutError as error:
        return None, [Finding("parts", one_line(str(error)), f"fsjax reads {LAYOUT}", serious=True)]
    closed: dict[str, str] = {}
    tree = _tree(root, closed)
    findings = [*_closed(closed), *_files(tree, root)]
    if not tree.below:
        held = _held(tree)
        advice = f"the images may be elsewhere, or still packed: fsjax reads {LAYOUT}"
        what = f"{one_line(str(root))} holds no image" + (f"; it holds {held}" if held else "; it is empty")
        return None, [Finding("no images", what, advice, serious=True), *findings]
    filled = tree.filled
    if not filled:
        findings.append(
            Finding(
                "no class folders",
                f"{counted(tree.below, 'image lies', 'images lie')} in {one_line(str(root))} itself, and in no folder",
                f"make {LAYOUT}, and move each image to its class",
                serious=True,
            )
        )
        return None, findings
    if len(filled) == 1 and filled[0] != config.train_split and not config.class_split.name:
        inner = tree.inside[filled[0]]
        if len(inner.filled) < 2 and not set(map(str.lower, inner.filled)) & PARTS.keys():
            findings.append(
                Finding(
                    "one class",
                    f"all {inner.below:,} images are in one folder, {one_line(filled[0])!r}: there is one class only",
                    "put images of another class into a folder beside it",
                    serious=True,
                )
            )
            return _source(config, {"train": root}), findings
        path = root / filled[0]
        findings.append(
            Finding(
                "nested too deep",
                f"{one_line(str(root))} holds one folder, {one_line(filled[0])!r}, and the classes "
                f"({some(list(map(one_line, inner.filled)))}) are in that",
                f"give it as the path: {one_line(str(path))}; the rest of this check is of it",
                serious=True,
            )
        )
        found, more = survey(dataclasses.replace(config, path=str(path)))
        return found, findings + [finding for finding in more if finding.kind not in {f.kind for f in findings}]
    findings += _folders_in_classes(tree, roots, config)
    findings += _loose(tree, root, roots)
    findings += _of_classes(roots, config)
    try:
        return load(config), findings
    except DataError as error:
        if not any(finding.serious for finding in findings):
            findings.append(Finding("layout", one_line(str(error)), f"fsjax reads {LAYOUT}", serious=True))
        return _source(config, roots), findings


def _tree(root: Path, closed: dict[str, str] | None = None) -> _Folder:
    """What is in a folder; into `closed` goes what cannot be opened, and why."""
    folders: dict[str, _Folder] = {}
    closed = {} if closed is None else closed
    for path, _, names in walk(root, closed):
        images = [name for name in names if is_image(os.path.join(path, name))]
        folders[path] = _Folder(images, sorted(set(names) - set(images)), {})
        if path != str(root):
            folders[os.path.dirname(path)].inside[os.path.basename(path)] = folders[path]
    if str(root) not in folders:
        raise not_opened(closed)
    return folders[str(root)]


def _closed(closed: dict[str, str]) -> Iterator[Finding]:
    """Folders that cannot be opened."""
    if closed:
        yield Finding(
            "closed folders",
            f"{counted(len(closed), 'folder', 'folders')} cannot be opened, and what they hold is unknown",
            "allow them to be read, or remove them",
            serious=True,
            items=[one_line(f"{path}: {why}") for path, why in closed.items()],
        )


def _held(tree: _Folder) -> str:
    """The other files, by suffix, in words."""
    suffixes = collections.Counter(
        os.path.splitext(name)[1].lower() or "without a suffix" for folder in tree.walk() for name in folder.others
    )
    return some([f"{count:,} {one_line(suffix)}" for suffix, count in suffixes.most_common()])


def _files(tree: _Folder, root: Path) -> Iterator[Finding]:
    """Files that are no images by their suffix."""
    others = [name for folder in tree.walk() for name in folder.others]
    suffixes = {os.path.splitext(name)[1].lower() for name in others}
    if not others:
        return
    advice = []
    if suffixes & _PICTURES:
        advice.append(
            f"{some(sorted(suffixes & _PICTURES))} are pictures of formats or names that fsjax does not read: convert "
            "them, or give them their usual suffix (.jpg for .jfif and .jpe)"
        )
    if suffixes & _ARCHIVES:
        advice.append("unpack the archives if they hold images")
    known = some(sorted(SUFFIXES), len(SUFFIXES))
    yield Finding(
        "other files",
        f"{counted(len(others), 'file is', 'files are')} passed over, no images by their suffix ({known}): "
        f"{_held(tree)}",
        "; ".join(advice),
    )


def _folders_in_classes(tree: _Folder, roots: dict[str, Path], config: DataConfig) -> Iterator[Finding]:
    """Class folders that hold folders, which may be the classes."""
    if "train" in roots and roots["train"] == Path(config.path).expanduser():
        if not config.class_split.name and all(
            not tree.inside[name].images and len(tree.inside[name].filled) > 1 for name in tree.filled
        ):
            inner = [below for name in tree.filled for below in tree.inside[name].filled]
            yield Finding(
                "folders in class folders",
                f"the classes are the {len(tree.filled)} folders {some(list(map(one_line, tree.filled)))}; each holds "
                f"folders in place of images, {len(inner):,} in all ({some(list(map(one_line, inner)))})",
                "if those are the classes, move them up into the path itself",
            )


def _loose(tree: _Folder, root: Path, roots: dict[str, Path]) -> Iterator[Finding]:
    """Images, and folders, that are beside the classes and belong to none."""
    for path in dict.fromkeys((root, *roots.values())):
        folder = _at(tree, root, path)
        if folder.images:
            yield Finding(
                "images of no class",
                f"{counted(len(folder.images), 'image lies', 'images lie')} in {one_line(str(path))} itself, beside "
                "the folders, and will not be used",
                "move each to its class",
                items=[one_line(str(path / name)) for name in folder.images],
            )
    beside = [name for name in tree.filled if root / name not in roots.values()]
    if root not in roots.values() and beside:
        yield Finding(
            "folders of no part",
            f"{counted(len(beside), 'folder', 'folders')} beside {some([p.name for p in roots.values()])} will not be "
            f"used: {some(list(map(one_line, beside)))}",
            "if they are parts, set data.train_split and data.test_split to their names; if classes, move them into "
            "the parts",
        )


def _at(tree: _Folder, root: Path, path: Path) -> _Folder:
    for name in path.relative_to(root).parts:
        tree = tree.inside[name]
    return tree


def _of_classes(roots: dict[str, Path], config: DataConfig) -> Iterator[Finding]:
    """Empty class folders, classes that some parts lack, and names that can be told apart by a machine alone."""
    found = {part: _tree(path) for part, path in roots.items()}
    empty = [str(roots[p] / name) for p, t in found.items() for name, f in t.inside.items() if not f.below]
    if empty:
        yield Finding(
            "empty class folders",
            f"{counted(len(empty), 'class folder holds', 'class folders hold')} no image: "
            f"{some(list(map(one_line, empty)))}",
            "put images there, or remove them",
            serious=True,
            items=[one_line(path) for path in empty],
        )
    every = dict.fromkeys(name for tree in found.values() for name in tree.filled)
    if not config.class_split.name:
        for part, tree in found.items():
            lacking = [name for name in every if name not in tree.filled]
            if lacking and not {str(roots[part] / name) for name in lacking} <= set(empty):
                yield Finding(
                    "classes differ between parts",
                    f"{one_line(str(roots[part]))} lacks {counted(len(lacking), 'class', 'classes')} that other parts "
                    f"have: {some(list(map(one_line, lacking)))}",
                    "parts must hold the same classes: add images, or remove the class, or divide by classes with "
                    "data.class_split.name",
                    serious=True,
                )
    alike = collections.defaultdict(list)
    for name in every:
        alike[unicodedata.normalize("NFC", name).casefold().strip()].append(name)
    twins = [names for names in alike.values() if len(names) > 1]
    if twins:
        yield Finding(
            "class names alike",
            "class names that differ in case, spaces or the composition of accents only count as classes of their own: "
            + "; ".join(" / ".join(ascii(name) for name in names) for names in twins[:5]),
            "if they are one class, put their images into one folder",
        )


def _source(config: DataConfig, roots: dict[str, Path]) -> Source | None:
    """All images that are in some class folder, whatever parts lack."""
    trees = {part: _tree(path) for part, path in roots.items()}
    names = tuple(sorted({name for tree in trees.values() for name in tree.filled}))
    channels = config.channels or 3
    parts = {part: _part(roots[part], names, channels) for part, tree in trees.items() if tree.filled}
    if not parts:
        return None
    if config.class_split.name or "train" not in parts:
        parts = {"train": merged(list(parts.values()))}
    train, validation, test = (parts.get(split) for split in ("train", "validation", "test"))
    assert train is not None
    return Source(name=Path(config.path).name, class_names=names, train=train, validation=validation, test=test)


def _part(root: Path, names: tuple[str, ...], channels: int) -> Part:
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        files = below(root / name).images
        paths += map(str, files)
        labels += [label] * len(files)
    return Part(
        labels=np.array(labels, np.int32),
        read=lambda item: decode(paths[item], channels),
        locate=lambda item: paths[item],
        items=np.arange(len(paths)),
        channels=channels,
    )
