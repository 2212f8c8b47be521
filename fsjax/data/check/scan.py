"""One look at every image of a data set for its check: sizes, kinds, digests; pixels are never kept."""

import dataclasses
import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fsjax.data.check.near_duplicates import perceptual_hash
from fsjax.data.pictures import opened
from fsjax.data.sources import Part
from fsjax.errors import one_line

# What pillow calls the formats that a suffix stands for.
FORMATS = {
    ".bmp": ("BMP", "DIB"), ".gif": ("GIF",), ".jpeg": ("JPEG", "MPO"), ".jpg": ("JPEG", "MPO"), ".pgm": ("PPM",),
    ".png": ("PNG",), ".ppm": ("PPM",), ".tif": ("TIFF",), ".tiff": ("TIFF",), ".webp": ("WEBP",),
}  # fmt: skip
# Levels of 255 by which the pixels of a picture of one colour may differ in each channel: what JPEG makes of one.
FLAT = 2
# Larger pictures are decoded one at a time, so that threads do not multiply what they take.
_LARGE_PIXELS = 16 * 2**20
_CHUNK = 64
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """What was seen of all images of all splits, in columns; rows of those that cannot be read are zeros.

    Attributes:
      splits: names of the splits.
      class_names: of all of them, by the numbers in `label`.
      parts: by split.
      split: int8 `[n]`, number of the split.
      label: int32 `[n]`, number of the class in `class_names`.
      position: int64 `[n]`, where in its split an image is.
      size: int32 `[n, 2]`, height and width in pixels of the upright picture.
      digest: uint64 `[n, 2]`, of the pixels.
      hash: uint64 `[n]`, see `perceptual_hash`.
      flat: bool `[n]`, of one colour.
      kind: int16 `[n]`, number in `kinds`.
      kinds: "PNG RGBA", or "grey" and "colour" where there are no files to look at.
      lying: rows whose file's suffix is of another format than the file.
      errors: by row, why it cannot be read.
    """

    splits: tuple[str, ...]
    class_names: tuple[str, ...]
    parts: Mapping[str, Part]
    split: np.ndarray
    label: np.ndarray
    position: np.ndarray
    size: np.ndarray
    digest: np.ndarray
    hash: np.ndarray
    flat: np.ndarray
    kind: np.ndarray
    kinds: tuple[str, ...]
    lying: np.ndarray
    errors: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def readable(self) -> np.ndarray:
        """Bool `[n]`."""
        found = np.ones(len(self), bool)
        found[list(self.errors)] = False
        return found

    def where(self, row: int) -> str:
        """Where an image is from, on one line."""
        part = self.parts[self.splits[self.split[row]]]
        return one_line(part.locate(part.items[self.position[row]]))

    def counts(self, split: str) -> np.ndarray:
        """Images of each class in a split that can be read, int64 `[classes]`."""
        chosen = (self.split == self.splits.index(split)) & self.readable
        return np.bincount(self.label[chosen], minlength=len(self.class_names))


def scan(parts: Mapping[str, Part], classes: Mapping[str, Sequence[str]]) -> Scan:
    """Look at every image once, in threads.

    Args:
      parts: by split.
      classes: names by label, of each split.
    """
    names = tuple(dict.fromkeys(name for split in parts for name in classes[split]))
    number = {name: i for i, name in enumerate(names)}
    label = [np.array([number[n] for n in classes[s]], np.int32)[part.labels] for s, part in parts.items()]
    sizes = [len(part) for part in parts.values()]
    table = _Table(sum(sizes))
    alone = threading.Lock()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part, first in zip(parts.values(), np.cumsum([0, *sizes]), strict=False):
            chunks = range(0, len(part), _CHUNK)
            for found in pool.map(lambda start, p=part: _looks(p, start, alone), chunks):
                table.add(int(first), found)
    return Scan(
        splits=tuple(parts),
        class_names=names,
        parts=parts,
        split=np.repeat(np.arange(len(parts), dtype=np.int8), sizes),
        label=np.concatenate(label) if label else np.zeros(0, np.int32),
        position=np.concatenate([np.arange(n) for n in sizes]) if sizes else np.zeros(0, np.int64),
        **table.columns(),
    )


class _Table:
    """The columns of a scan, filled chunk by chunk."""

    def __init__(self, count: int) -> None:
        self._columns: dict[str, np.ndarray] = {
            "size": np.zeros((count, 2), np.int32),
            "digest": np.zeros((count, 2), np.uint64),
            "hash": np.zeros(count, np.uint64),
            "flat": np.zeros(count, bool),
            "kind": np.zeros(count, np.int16),
        }
        self._kinds: dict[str, int] = {}
        self._errors: dict[int, str] = {}
        self._lying: list[int] = []

    def add(self, first: int, found: list[tuple[int, dict[str, Any] | str]]) -> None:
        for position, facts in found:
            row = first + position
            if isinstance(facts, str):
                self._errors[row] = facts
                continue
            if facts.pop("lies"):
                self._lying.append(row)
            facts["kind"] = self._kinds.setdefault(facts["kind"], len(self._kinds))
            for name, value in facts.items():
                self._columns[name][row] = value

    def columns(self) -> dict[str, Any]:
        lying = np.array(self._lying, np.int64)
        return {**self._columns, "kinds": tuple(self._kinds), "errors": self._errors, "lying": lying}


def _looks(part: Part, start: int, alone: threading.Lock) -> list[tuple[int, dict[str, Any] | str]]:
    """What is seen of a chunk, or why it cannot be read, by position."""
    found: list[tuple[int, dict[str, Any] | str]] = []
    for position in range(start, min(start + _CHUNK, len(part))):
        item = part.items[position]
        path = part.locate(item)
        is_file = os.path.isfile(path)
        try:
            found.append((position, _look(part, item, path if is_file else "", alone)))
        except Exception as error:
            # Pillow and its codecs raise almost anything for a broken file.
            found.append((position, _reason(error, path if is_file else "")))
    return found


def _look(part: Part, item: int, path: str, alone: threading.Lock) -> dict[str, Any]:
    kind, lies, large = "", False, False
    if path:
        with opened(path) as image:
            kind, large = f"{image.format} {image.mode}", image.width * image.height > _LARGE_PIXELS
            lies = image.format not in FORMATS.get(os.path.splitext(path)[1].lower(), (image.format,))
    if large:
        with alone:
            return _facts(part.read(item)) | {"kind": kind, "lies": lies}
    facts = _facts(part.read(item))
    return facts | {"kind": kind or facts["kind"], "lies": lies}


def _facts(pixels: np.ndarray) -> dict[str, Any]:
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    spread = pixels.max(axis=(0, 1)).astype(int) - pixels.min(axis=(0, 1))
    return {
        "size": pixels.shape[:2],
        "digest": np.frombuffer(digest.digest(), np.uint64),
        "hash": perceptual_hash(pixels),
        "flat": bool((spread <= FLAT).all()),
        "kind": "grey" if pixels.shape[-1] == 1 else "colour",
    }


def _reason(error: Exception, path: str) -> str:
    """Why an image cannot be read, on one line."""
    words = str(error) or type(error).__name__
    if path:
        try:
            with open(path, "rb") as file:
                head = file.read(16)
        except OSError as unreadable:
            return f"the file cannot be opened: {unreadable.strerror}"
        if not head:
            return "the file is empty (0 bytes)"
        if head.lstrip().lower().startswith(_PAGES):
            return "it is a web page, not a picture: the download of it failed"
        if type(error).__name__ == "UnidentifiedImageError":
            return f"it is no picture of a kind that fsjax reads; it begins with {head!r}"
        words = words.replace(f" '{path}'", "").replace(path, "")
    return one_line(words)
