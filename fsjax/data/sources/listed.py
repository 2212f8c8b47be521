"""Image files that lists name, with their boxes in pixels: what several sources share."""

import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fsjax.data.boxes import relative, upright
from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.pictures import decode, head_of
from fsjax.data.sources.source import Part

_NAMED = 10


def find_root(config: DataConfig, candidates: Sequence[str], needed: Sequence[str], origin: str) -> Path:
    """The folder of a data set that was unpacked: `config.path`, or one of these folders in it.

    Args:
      config: of the data.
      candidates: folders below the path, "" for itself; the first that holds anything of what is needed is taken.
      needed: files and folders that it must hold.
      origin: where the data set is to be had, for the messages.

    Raises:
      DataError: for a path that is not given, no folder, or lacks any of these.
    """
    layout = f"It must hold {', '.join(needed)}. {origin}"
    if not config.path:
        raise DataError(f"data.name={config.name!r} needs data.path, the folder of the unpacked data set. {layout}")
    path = Path(config.path).expanduser()
    if not path.is_dir():
        raise DataError(f"data.path={config.path} is no folder. {layout}")
    held = {folder: [name for name in needed if (path / folder / name).exists()] for folder in candidates}
    root = max(held, key=lambda folder: len(held[folder]))
    missing = [name for name in needed if name not in held[root]]
    if missing:
        raise DataError(f"{path / root} lacks {', '.join(missing)} of data set {config.name!r}. {layout}")
    return path / root


def text_lines(path: Path) -> list[str]:
    """The lines of a list that hold anything, without spaces around them."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list: {error}") from error
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty")
    return lines


def keyed_lines(path: Path) -> dict[str, str]:
    """What follows the first word of each line of a list, by that word.

    Raises:
      DataError: for a line of one word, or a word that begins two lines.
    """
    values: dict[str, str] = {}
    for line in text_lines(path):
        key, *rest = line.split(maxsplit=1)
        if not rest:
            raise DataError(f"{path}: line {line!r} needs something after its first word")
        if key in values:
            raise DataError(f"{path} has two lines for {key}: leave one")
        values[key] = rest[0]
    return values


def values_of(keys: Sequence[str], values: Mapping[str, str], path: Path) -> list[str]:
    """The values of these keys; raises a `DataError` that names those that the list `path` lacks."""
    missing = [key for key in keys if key not in values]
    if missing:
        raise DataError(
            f"{path} has no line for {len(missing)} of {len(keys)} images: {some(missing)}. The copy is not whole: "
            "unpack it again"
        )
    return [values[key] for key in keys]


def numbers(keys: Sequence[str], texts: Sequence[str], count: int, path: Path) -> np.ndarray:
    """`count` numbers a text, float64 `[n, count]`; raises a `DataError` that names the first text that is none."""
    rows = []
    for key, text in zip(keys, texts, strict=True):
        try:
            row = [float(word) for word in text.split()]
        except ValueError:
            row = []
        if len(row) != count:
            raise DataError(f"{path}: {text!r} of {key} must be {count} number{'s' if count > 1 else ''}")
        rows.append(row)
    return np.array(rows, np.float64).reshape(-1, count)


def paths_of(folder: Path, names: Sequence[str]) -> list[str]:
    """The files of the listed images; raises a `DataError` for those elsewhere, missing or listed twice."""
    names = [posixpath.normpath(name) for name in names]  # a.jpg and ./a.jpg are one
    outside = [name for name in names if name.startswith("/") or name.split("/")[0] == ".." or os.path.isabs(name)]
    if outside:
        raise DataError(
            f"{len(outside)} of {len(names)} listed images lie outside of {folder}: {some(outside)}. Put them, or "
            "links to them, into that folder"
        )
    # One listing of the folder is far cheaper than 60,000 questions to a file system in the network.
    there = {entry.name for entry in folder.iterdir()}
    missing = [name for name in names if name not in there and not ("/" in name and (folder / name).is_file())]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} listed images are missing in {folder}: {some(missing)}. "
            "Put them there, or take them off the lists"
        )
    seen: set[str] = set()
    twice = []
    for name in names:
        if name in seen:
            twice.append(name)
        seen.add(name)
    if twice:
        raise DataError(
            f"{len(twice)} images are listed more than once: {some(twice)}. An image in two classes or two parts "
            "would spoil the test: leave one row of each"
        )
    return [str(folder / name) for name in names]


def picture_part(
    paths: Sequence[str], labels: np.ndarray, config: DataConfig, *, edges: np.ndarray | None = None, footer: int = 0
) -> Part:
    """A part of image files.

    Args:
      paths: of the files.
      labels: `[n]`.
      config: of the data; with `box_key` "" the boxes are left out.
      edges: `[n, 4]`, boxes in pixels of the pictures as they are stored: ymin, xmin, ymax, xmax, where the left edge
        of the first pixel is 0 and its right edge 1; None for pictures without boxes.
      footer: rows that are cut off at the bottom of each picture.

    Raises:
      DataError: for files whose size is needed for their box and cannot be read (unless they are to be skipped).
    """
    channels = config.channels or 3

    def kept(item: int, height: int) -> int:
        if height <= footer:
            raise DataError(f"{paths[item]} is {height} pixels high; its last {footer} rows are to be cut off")
        return height - footer

    def look(item: int) -> tuple[int, int, int]:
        (height, width), turn = head_of(paths[item])
        return kept(item, height), width, turn

    def read(item: int) -> np.ndarray:
        picture = decode(paths[item], channels)
        return picture[: kept(item, len(picture))]

    return Part(
        labels=np.asarray(labels, np.int32),
        read=read,
        locate=lambda item: paths[item],
        items=np.arange(len(paths)),
        channels=channels,
        boxes=_boxes(paths, edges, look, footer, config) if edges is not None and config.box_key else None,
        size=lambda item: look(item)[:2],
    )


def _boxes(
    paths: Sequence[str],
    edges: np.ndarray,
    look: Callable[[int], tuple[int, int, int]],
    footer: int,
    config: DataConfig,
) -> np.ndarray:
    """float32 `[n, 4]` in 0..1 of the pictures as they are read, by a look at the head of each file."""

    def box_of(number: int) -> np.ndarray | Exception:
        try:
            height, width, turn = look(number)
        except Exception as error:
            # Pillow raises almost anything for a broken file.
            return error
        whole = height + footer
        box = upright(relative(edges[number], np.array((width, whole) if turn >= 5 else (whole, width))), turn)
        # What is left of the height counts as all of it.
        return box * [whole / height, 1, whole / height, 1]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(box_of, range(len(paths))))
    failed = [f"{path} ({box})" for path, box in zip(paths, found, strict=True) if isinstance(box, Exception)]
    if failed and config.on_error != "skip":
        raise DataError(
            f"{len(failed)} of {len(paths)} images cannot be read: {some(failed)}. Mend or remove them, or set "
            'data.on_error="skip"'
        )
    # Those are skipped before anything asks for their box.
    return np.array([(0, 0, 1, 1) if isinstance(box, Exception) else box for box in found], np.float32).reshape(-1, 4)


def some(names: Sequence[str]) -> str:
    """The first ten names, in words."""
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
