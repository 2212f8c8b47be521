"""Pictures from files, as a run's network sees them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.data.config import parse_config
from fsjax.data.errors import DataError
from fsjax.data.info import DataInfo
from fsjax.data.load import view_of
from fsjax.data.pictures import decode
from fsjax.data.sources.folder import SUFFIXES
from fsjax.data.view import View

_NAMED = 10


def picture_files(paths: Sequence[str | Path]) -> list[Path]:
    """The image files named, and those in the folders named and below, in order.

    Raises:
      DataError: for a path that is not there, and a folder without an image.
    """
    files = []
    for path in map(Path, paths):
        path = path.expanduser()
        if path.is_file():
            files.append(path)
        elif path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not found:
                raise DataError(f"{path} holds no image ({', '.join(sorted(SUFFIXES))})")
            files += found
        else:
            raise DataError(f"{path} is neither a file nor a folder")
    return files


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
      DataError: naming those that cannot be read, and for a network of images that are no squares.
    """
    height, width, channels = info.image_shape
    view = view_of(parse_config(config))
    if not view.image_size and height == width:
        view = View(height, view.fit, view.share, view.resize)
    images, failed = np.zeros((len(files), *info.image_shape), np.uint8), []
    sizes = np.ones((len(files), 2), np.int64)
    for number, file in enumerate(files):
        try:
            picture = decode(str(file), channels)
        except Exception as error:
            # Pillow and its codecs raise almost anything for a broken file.
            failed.append(f"{file}: {error or type(error).__name__}")
            continue
        sizes[number] = picture.shape[:2]
        picture = view.image(picture)
        if picture.shape != info.image_shape:
            raise DataError(
                f"{file} is {picture.shape[0]}×{picture.shape[1]}, and this network takes {height}×{width} "
                "(height × width): resize it first"
            )
        images[number] = picture
    if failed:
        more = f"\n  and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        named = "\n  ".join(failed[:_NAMED])
        raise DataError(f"{len(failed)} of {len(files)} pictures cannot be read; mend or remove them:\n  {named}{more}")
    return OwnPictures(images, sizes, view)
