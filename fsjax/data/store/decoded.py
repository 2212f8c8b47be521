"""A decoded data set in a folder: plain .npy files, opened memory-mapped, and a manifest with a checksum of each.

The folder needs nothing but NumPy to be read, and may be carried to another machine.
"""

import contextlib
import hashlib
import io
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fsjax.data.errors import DataError
from fsjax.data.examples import Reference, failures, find_reference, read_item, unreadable
from fsjax.data.sources import Part, Source
from fsjax.data.view import View
from fsjax.files import parse_json

# Of the layout: to be counted up when it changes.
FORMAT = 1
_MANIFEST = "manifest.json"
# Says of which files the checksums were compared, so that the next process need not read all of them.
_CHECKED = "checked.json"
_SPLITS = ("train", "validation", "test")
# Images that are decoded before they are written: as many as keep all cores at work, in as many bytes at most.
_CHUNK, _CHUNK_BYTES = 256, 2**28


class DamagedError(Exception):
    """A file of a decoded data set is missing, or is not what was written."""


def write(folder: Path, source: Source, view: View, *, skip: bool, facts: Mapping[str, Any]) -> None:
    """Decode a source into a new folder, a few images at a time.

    Args:
      folder: where; it must not be there. The manifest is written last.
      source: the data set; items of its parts are 0, 1, ...
      view: how its pictures come to the network's size.
      skip: note images that cannot be read, so that reading them fails again, instead of refusing them.
      facts: what the manifest is to hold besides, plain types.

    Raises:
      DataError: for images that cannot be read, and for such of different sizes.
      OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True)
    files = _Files(folder)
    reference = find_reference(source.train, view.image_size)
    parts = {split: part for split in _SPLITS if (part := getattr(source, split)) is not None}
    content = {
        "format": FORMAT,
        **facts,
        "source": {name: getattr(source, name) for name in ("name", "class_names", "notes", "version")},
        "parts": {split: _write_part(files, split, part, view, reference, skip) for split, part in parts.items()},
        "sha256": files.checksums,
    }
    text = json.dumps({"content": content, "sha256": _checksum(content)}, indent=1)
    (folder / _MANIFEST).write_text(text, encoding="utf-8")


def manifest(folder: Path) -> dict[str, Any]:
    """What the manifest of a decoded data set holds.

    Raises:
      DamagedError: for a manifest that is not what was written.
      FileNotFoundError: if there is no such folder.
    """
    if not os.path.isdir(folder):  # of a path, it raises where the folder above cannot be read
        raise FileNotFoundError(folder)
    try:
        stored = parse_json((folder / _MANIFEST).read_text(encoding="utf-8"))
        content, checksum = stored["content"], stored["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{folder / _MANIFEST} is damaged: {error}") from error
    if _checksum(content) != checksum:
        raise DamagedError(f"{folder / _MANIFEST} is damaged: its checksum differs")
    return content


def read(folder: Path) -> Source:
    """The source that was written, its images memory-mapped.

    All files are read for their checksums, but for those whose size and times are as when that was last done.

    Raises:
      DamagedError: for a file that is not what was written.
    """
    content = manifest(folder)
    _check(folder, content)
    stored = content["source"]
    return Source(
        name=stored["name"],
        class_names=tuple(stored["class_names"]),
        notes=tuple(stored["notes"]),
        version=stored["version"],
        **{split: _read_part(folder, split, facts) for split, facts in content["parts"].items()},
    )


def _check(folder: Path, content: Mapping[str, Any]) -> None:
    """Raise a `DamagedError` unless all files are what was written; leaves a note of those that are."""

    def state(name: str) -> list[int]:
        try:
            stat = (folder / name).stat()
        except OSError as error:
            raise DamagedError(f"{folder / name} cannot be read: {error.strerror}") from error
        # The last is the inode's, which a copy that keeps the other has anew.
        return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]

    def compare(name: str) -> None:
        try:
            with (folder / name).open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DamagedError(f"{folder / name} cannot be read: {error.strerror}") from error
        if found != content["sha256"][name]:
            raise DamagedError(f"{folder / name} is damaged: its checksum differs")

    checksums = content["sha256"]
    now = {name: [checksum, *state(name)] for name, checksum in checksums.items()}  # before they are read
    try:
        before = parse_json((folder / _CHECKED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    if before == now:
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compare, checksums))
    new = folder / f".{_CHECKED}.{uuid.uuid4().hex}"
    with contextlib.suppress(OSError):  # of a folder that is only read, all is compared each time
        new.write_text(json.dumps(now), encoding="utf-8")
        new.replace(folder / _CHECKED)


class _Files:
    """New .npy files of a folder, written from first to last byte, with the checksum of each.

    A file that is mapped while it is written would end the process where the disk is full.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.checksums: dict[str, str] = {}

    @contextlib.contextmanager
    def opened(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[Callable[[np.ndarray], None]]:
        """A function that appends rows to the array."""
        digest, header = hashlib.sha256(), io.BytesIO()
        described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, described)
        with (self.folder / name).open("wb") as stream:

            def append(rows: np.ndarray | bytes) -> None:
                content = rows if isinstance(rows, bytes) else np.ascontiguousarray(rows).tobytes()
                stream.write(content)
                digest.update(content)

            append(header.getvalue())
            yield append
            stream.flush()
            os.fsync(stream.fileno())
        self.checksums[name] = digest.hexdigest()

    def save(self, name: str, array: np.ndarray) -> None:
        """A whole array."""
        with self.opened(name, array.shape, array.dtype) as append:
            append(array)


def _write_part(files: _Files, split: str, part: Part, view: View, reference: Reference, skip: bool) -> dict[str, Any]:
    """Writes the files of a part; what the manifest tells of it."""
    if not np.array_equal(part.items, np.arange(len(part))):
        raise ValueError(f"the items of {split} are not 0, 1, ...: rows of the decoded images could not be found")
    sizes = np.zeros((len(part), 2), np.int64)
    failed: dict[int, DataError] = {}
    bytes_each = max(1, int(np.prod(reference.shape)))
    chunk = max(_CHUNK, min(_CHUNK * (os.cpu_count() or 1), _CHUNK_BYTES // bytes_each))
    with files.opened(f"{split}.images.npy", (len(part), *reference.shape), np.dtype(np.uint8)) as append:
        for start in range(0, len(part), chunk):
            rows = range(start, min(start + chunk, len(part)))
            images, broken = _decode(part, rows, view, reference, sizes)
            append(images)
            failed |= broken
    if failed and not skip:
        raise unreadable(part, failed)
    names = [part.locate(item).encode("utf-8", "surrogateescape") for item in part.items]
    files.save(f"{split}.labels.npy", part.labels)
    files.save(f"{split}.sizes.npy", sizes)
    files.save(f"{split}.names.npy", np.array(names, np.bytes_))
    if part.boxes is not None:
        files.save(f"{split}.boxes.npy", part.boxes)
    return {
        "channels": part.channels,
        "image_shape": None if part.image_shape is None else [int(n) for n in part.image_shape],
        "boxes": part.boxes is not None,
        "failed": {str(row): str(error) for row, error in failed.items()},
    }


def _decode(
    part: Part, rows: range, view: View, reference: Reference, sizes: np.ndarray
) -> tuple[np.ndarray, dict[int, DataError]]:
    """The images of these rows as the network sees them, and errors by row; fills in the pictures' sizes."""
    images = np.zeros((len(rows), *reference.shape), np.uint8)
    others: dict[int, np.ndarray] = {}

    def load(number: int) -> None:
        picture = read_item(part, rows[number])
        sizes[rows[number]] = picture.shape[:2]
        image = view.image(picture)
        if image.shape == reference.shape:
            images[number] = image
        else:
            others[number] = image

    failed = failures(load, len(rows))
    if others:
        number = min(others)
        reference.check(others[number], part, rows[number])
    return images, {rows[number]: error for number, error in failed.items()}


def _read_part(folder: Path, split: str, facts: Mapping[str, Any]) -> Part:
    """The part of these files: its images are read as they were decoded, and fail where they could not be."""

    def load(name: str, mode: Literal["r"] | None = None) -> np.ndarray:
        # A plain view: slices of `np.memmap` are slow to make.
        return np.load(folder / f"{split}.{name}.npy", mmap_mode=mode, allow_pickle=False).view(np.ndarray)

    images, names, sizes = (load(name, "r") for name in ("images", "names", "sizes"))
    failed = {int(row): message for row, message in facts["failed"].items()}

    def image(item: int) -> np.ndarray:
        if item in failed:
            raise DataError(failed[int(item)])
        return images[item]

    return Part(
        labels=load("labels"),
        read=image,
        locate=lambda item: names[item].decode("utf-8", "surrogateescape"),
        items=np.arange(len(images)),
        channels=facts["channels"],
        image_shape=None if facts["image_shape"] is None else tuple(facts["image_shape"]),
        boxes=load("boxes") if facts["boxes"] else None,
        size=lambda item: tuple(sizes[item].tolist()),
        viewed=True,
        images=images,
    )


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
