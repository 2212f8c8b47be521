"""Pictures from files, as a run's network sees them."""

import contextlib
import dataclasses
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.data.config import parse_config
from fsjax.data.errors import DataError
from fsjax.data.info import DataInfo
from fsjax.data.load import view_of
from fsjax.data.pictures import LARGEST_PIXELS, decode, fitted, head_of
from fsjax.data.sources.folder import class_files, class_names_of
from fsjax.data.sources.folders import SUFFIXES, below, looking_into, not_opened
from fsjax.data.sources.layout import refuse_parts
from fsjax.data.view import View

_NAMED = 10
# Pictures that are in memory at once, at the network's size.
_CHUNK = 256
_THREADS = min(8, os.cpu_count() or 1)


def picture_files(paths: Sequence[str | Path]) -> list[Path]:
    """The image files named, and those in the folders named and below, in order; hidden ones are passed over.

    Raises:
      DataError: for a path that is not there, a folder without an image, and folders that cannot be opened.
    """
    found = named_pictures(paths)
    if found.closed:
        raise not_opened(found.closed)
    return [file for _, file in found.files]


@dataclasses.dataclass(frozen=True, eq=False)
class NamedPictures:
    """Image files that were named, or lie in folders that were.

    Attributes:
      files: names and files, in order. The name of a file is the path as given; of one in a folder, relative to the
        folder where that is the only path given, otherwise behind the folder's path as given.
      passed_over: how many files in the folders are no images by their suffix, or no files at all.
      closed: folders in the folders that cannot be opened, and why.
    """

    files: list[tuple[str, Path]]
    passed_over: int
    closed: dict[str, str]


def named_pictures(paths: Sequence[str | Path]) -> NamedPictures:
    """`picture_files` with names, and what else there is.

    Raises:
      DataError: for a path that is not there or cannot be opened, and a folder without an image.
    """
    files: list[tuple[str, Path]] = []
    closed: dict[str, str] = {}
    others = 0
    for given in map(Path, paths):
        path = given.expanduser()
        with looking_into(path):
            is_file, is_folder = path.is_file(), path.is_dir()
        if is_file:
            files.append((str(given), path))
        elif is_folder:
            found = below(path)
            if found.closed and not found.images:
                raise not_opened(found.closed)
            if not found.images:
                raise DataError(f"{path} holds no image ({', '.join(sorted(SUFFIXES))})")
            named = [file.relative_to(path) for file in found.images]
            names = [str(name if len(paths) == 1 else given / name) for name in named]
            files += zip(names, found.images, strict=True)
            others += found.others
            closed |= found.closed
        else:
            raise DataError(f"{path} is neither a file nor a folder")
    return NamedPictures(files, others, closed)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledFiles:
    """Image files in class folders.

    Attributes:
      class_names: the names of the folders, in alphabetical order.
      files: in the order of the classes.
      labels: int32 `[n]`, of the files.
      passed_over: how many files there are no images by their suffix, or no files at all.
    """

    class_names: tuple[str, ...]
    files: list[Path]
    labels: np.ndarray
    passed_over: int


def labelled_files(folder: str | Path) -> LabelledFiles:
    """The image files in a folder of class folders, read as the source "folder" reads them.

    Raises:
      DataError: for a folder that is not there, that holds the parts of a data set or fewer than two class folders, or
        one without an image, and for folders that cannot be opened.
    """
    root = Path(folder).expanduser()
    with looking_into(root):
        if not root.is_dir():
            raise DataError(f"{folder} is no folder")
        refuse_parts(root)
    names, seen = class_names_of(root), dict[str, str]()
    found = [class_files(root / name, seen) for name in names]
    labels = np.repeat(np.arange(len(names), dtype=np.int32), [len(files) for files, _ in found])
    return LabelledFiles(names, [f for files, _ in found for f in files], labels, sum(others for _, others in found))


@dataclasses.dataclass(frozen=True, eq=False)
class ReadPictures:
    """A few pictures of many, read.

    Attributes:
      start: the number of the first one's file; the files are in order.
      count: how many files these are of.
      read: int64 `[m]`, the numbers of those that could be read.
      images: uint8 `[m, *info.image_shape]`, as the network takes them.
      sizes: int64 `[m, 2]`, height and width in pixels of the upright pictures.
      thumbnails: uint8 `[h, w, channels]` each, the upright pictures in small; empty unless they are asked for.
      failed: by the number of a file that could not be read, the reason.
    """

    start: int
    count: int
    read: np.ndarray
    images: np.ndarray
    sizes: np.ndarray
    thumbnails: list[np.ndarray]
    failed: dict[int, str]


def read_pictures(
    files: Sequence[Path],
    config: Mapping[str, Any],
    info: DataInfo,
    *,
    max_pixels: int | None = None,
    thumbnail: int = 0,
    chunk: int = _CHUNK,
) -> Iterator[ReadPictures]:
    """Pictures of any size, brought to the network's as the run's own were for evaluation, some at a time.

    What is in memory does not depend on how many files there are: a chunk of pictures at the network's size, and
    those that the threads decode, of which only one at a time has more than an eighth of the pixels allowed.

    Args:
      files: image files.
      config: the run's `config.data`.
      info: of the run's data.
      max_pixels: see `fsjax.data.pictures.opened`.
      thumbnail: longer side of thumbnails in pixels; 0 for none.
      chunk: files at once.

    Yields:
      The files in order; what cannot be read is told, and not raised.
    """
    view = own_view(config, info)
    one_large = threading.Lock()

    def read(file: Path) -> tuple[np.ndarray, tuple[int, int], np.ndarray | None] | str:
        try:
            (height, width), _ = head_of(str(file), max_pixels=max_pixels)
            large = 8 * height * width > (max_pixels or LARGEST_PIXELS)
            with one_large if large else contextlib.nullcontext():
                picture = decode(str(file), info.image_shape[2], max_pixels=max_pixels)
                small = fitted(picture, thumbnail) if thumbnail else None
                image, size = view.image(picture), picture.shape[:2]
        except Exception as error:
            # Pillow and its codecs raise almost anything for a broken file.
            return reason_of(error)
        if image.shape != info.image_shape:
            height, width = info.image_shape[:2]
            return f"{size[0]}×{size[1]}, and this network takes {height}×{width} (height × width): resize it first"
        return image, size, small

    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(files), chunk):
            with warnings.catch_warnings():
                # Pillow's, for pictures that `max_pixels` allows.
                warnings.filterwarnings("ignore", "Image size .* exceeds limit")
                found = list(pool.map(read, files[start : start + chunk]))
            yield _together(found, start, info)


def _together(found: list[Any], start: int, info: DataInfo) -> ReadPictures:
    good = [n for n, one in enumerate(found) if not isinstance(one, str)]
    images = np.zeros((len(good), *info.image_shape), np.uint8)
    for row, number in enumerate(good):
        images[row] = found[number][0]
    return ReadPictures(
        start,
        len(found),
        start + np.array(good, np.int64),
        images,
        np.array([found[n][1] for n in good], np.int64).reshape(-1, 2),
        [found[n][2] for n in good if found[n][2] is not None],
        {start + n: one for n, one in enumerate(found) if isinstance(one, str)},
    )


def own_view(config: Mapping[str, Any], info: DataInfo) -> View:
    """How pictures come to the network's size.

    Args:
      config: the run's `config.data`. Where it leaves images as they are, pictures become squares of their size.
      info: of the run's data.
    """
    height, width, _ = info.image_shape
    view = view_of(parse_config(config))
    return View(height, view.fit, view.share, view.resize) if not view.image_size and height == width else view


def reason_of(error: Exception) -> str:
    """Why a picture cannot be read, in one line."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not a picture, or damaged"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


@dataclasses.dataclass(frozen=True)
class OwnPictures:
    """Pictures that were opened.

    Attributes:
      images: uint8 `[n, *info.image_shape]`, as the network takes them.
      sizes: int64 `[n, 2]`, height and width in pixels of the upright pictures.
      view: how the images came from the pictures; `view.in_pictures(boxes, sizes)` leads back.
    """

    images: np.ndarray
    sizes: np.ndarray
    view: View


def open_pictures(files: Sequence[Path], config: Mapping[str, Any], info: DataInfo) -> OwnPictures:
    """Pictures of any size, brought to the network's as the run's own were for evaluation.

    Args:
      files: image files.
      config: the run's `config.data`. Where it leaves images as they are, pictures become squares of their size.
      info: of the run's data.

    Raises:
      DataError: naming those that cannot be read, or have another shape than the network takes.
    """
    parts = list(read_pictures(files, config, info))
    failed = [f"{files[number]}: {reason}" for part in parts for number, reason in part.failed.items()]
    if failed:
        more = f"\n  and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        named = "\n  ".join(failed[:_NAMED])
        raise DataError(f"{len(failed)} of {len(files)} pictures cannot be read; mend or remove them:\n  {named}{more}")
    images = np.concatenate([np.zeros((0, *info.image_shape), np.uint8), *(part.images for part in parts)])
    sizes = np.concatenate([np.zeros((0, 2), np.int64), *(part.sizes for part in parts)])
    return OwnPictures(images, sizes, own_view(config, info))
